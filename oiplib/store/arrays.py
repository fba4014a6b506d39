"""Arrays in database columns: NumPy's own ``.npy`` bytes by zlib, with declared type and rank.

The format can't carry code (pickle is refused), and Python reads it without us:
``np.load(io.BytesIO(zlib.decompress(value)))``. Older databases hold some arrays without zlib.
"""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import LargeBinary
from sqlalchemy.types import TypeDecorator

from ..errors import OipError

# A query that needs no arrays doesn't wait for NumPy; SQLAlchemy evaluates columns' annotations.
if TYPE_CHECKING:
    import numpy as np

    NumpyArray: TypeAlias = np.ndarray
else:
    NumpyArray = Any

_MAGIC = b"\x93NUMPY"
# No array of ours is larger; a few bytes from a stranger could swell beyond the memory.
_LARGEST = 1 << 30


def is_packed(value: bytes) -> bool:
    """Whether bytes look like those of an array."""
    return value.startswith((_MAGIC, b"\x78\x9c"))


def packed(array: np.ndarray) -> bytes:
    """An array as bytes."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return zlib.compress(buffer.getvalue())


def unpacked(value: bytes) -> np.ndarray:
    """The array that `packed` took apart.

    Raises
    ------
    OipError
        If the bytes are none.
    """
    import numpy as np

    try:
        if not value.startswith(_MAGIC):
            value = zlib.decompressobj().decompress(value, _LARGEST)
        return np.asarray(np.load(io.BytesIO(value), allow_pickle=False))
    except (ValueError, EOFError, OSError, TypeError, zlib.error) as error:
        raise OipError(f"the database holds a damaged array: {error}") from None


class Array(TypeDecorator[NumpyArray]):
    """A column of arrays of one type and rank.

    Parameters
    ----------
    dtype : str
        For example ``float32``.
    ndim : int
        Number of axes.
    """

    impl = LargeBinary
    cache_ok = True

    def __init__(self, dtype: str, ndim: int) -> None:
        super().__init__()
        self.dtype, self.ndim = dtype, ndim

    def compare_values(self, x: Any, y: Any) -> bool:
        """Whether a row needs to be written, because its array is another one."""
        import numpy as np

        return np.array_equal(x, y)

    def process_bind_param(self, value: np.ndarray | None, dialect: Any) -> bytes | None:
        """Bytes to be stored."""
        if value is None:
            return None
        if value.ndim != self.ndim:
            raise ValueError(f"an array with {self.ndim} axes is needed, not {value.shape}")
        import numpy as np

        return packed(np.ascontiguousarray(value, self.dtype))

    def process_result_value(self, value: bytes | None, dialect: Any) -> np.ndarray | None:
        """The stored array.

        Raises
        ------
        OipError
            If the bytes are no array of the declared type and rank.
        """
        if value is None:
            return None
        array = unpacked(value)
        if array.dtype != self.dtype or array.ndim != self.ndim:
            raise OipError(
                f"the database holds an array of {array.dtype} with {array.ndim} axes where "
                f"{self.dtype} with {self.ndim} belongs"
            )
        return array
