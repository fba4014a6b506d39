"""Arrays in database columns: NumPy's own ``.npy`` bytes by zlib, with declared type and axes.

The format can't carry code (pickle is refused), and Python reads it without us:
``np.load(io.BytesIO(zlib.decompress(value)))``.
What an array says of itself is compared with what it must be before memory is asked for.
"""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

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
# In bytes. SQLite keeps no larger ones. Where the row doesn't tell how long each axis must be, a
# few bytes from a stranger could swell that far, so the limit is lower there.
_LARGEST = 1_000_000_000
_LARGEST_UNKNOWN = 1 << 28
# The header of such an array has 128 bytes.
_LONGEST_HEADER = 1024
_MOST_AXES = 8
# So many packed bytes become 4 MB at most.
_PIECE = 1 << 12


class Header(NamedTuple):
    """What an array says of itself, and its bytes behind that, which aren't read yet."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_transposed: bool
    pieces: Iterator[bytes]


class Packed(NamedTuple):
    """An array as a row holds it until somebody asks for it."""

    value: bytes
    dtype: str
    axes: tuple[str, ...]


def is_packed(value: bytes) -> bool:
    """Whether bytes look like those of an array."""
    return value.startswith((_MAGIC, b"\x78\x9c"))


def packed(array: np.ndarray) -> bytes:
    """An array as bytes.

    Raises
    ------
    OipError
        If it is larger than any that would be read again.
    """
    import numpy as np

    if array.nbytes > _LARGEST:
        raise OipError(f"an array of {array.nbytes / 1e6:.0f} MB is too large to be stored")
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return zlib.compress(buffer.getvalue())


def header_of(value: bytes) -> Header:
    """The header of an array that was packed; nothing else is unpacked.

    Raises
    ------
    OipError
        If the bytes don't begin like an array of numbers or texts.
    """
    from numpy.lib import format as npy

    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        pieces, head = _pieces(value), b""
        while len(head) < _LONGEST_HEADER and (piece := next(pieces, b"")):
            head += piece
        file = io.BytesIO(head)
        read_header = readers[npy.read_magic(file)]
        shape, is_transposed, dtype = read_header(file, max_header_size=_LONGEST_HEADER)
    except Exception as error:  # NumPy reads it by Python's parser, which raises nearly anything
        raise _damaged(error) from None
    is_sensible = len(shape) <= _MOST_AXES and all(type(n) is int and n >= 0 for n in shape)
    if dtype.hasobject or not dtype.itemsize or not is_sensible:
        raise _damaged("it holds no numbers")
    return Header(dtype, shape, is_transposed, chain([head[file.tell() :]], pieces))


def unpacked(
    value: bytes,
    dtype: str | None = None,
    axes: tuple[str, ...] = (),
    sizes: Mapping[str, int] | None = None,
) -> np.ndarray:
    """The array that `packed` took apart.

    Parameters
    ----------
    value
        Bytes, whoever wrote them.
    dtype, axes
        Its type and the names of its axes; of any type and rank without them.
    sizes
        How long some of the axes must be.

    Raises
    ------
    OipError
        If the bytes are no array, or another one than it must be.
    """
    import numpy as np

    header = header_of(value)
    if dtype is not None and (header.dtype != dtype or len(header.shape) != len(axes)):
        raise OipError(
            f"the database holds an array of {header.dtype} with {len(header.shape)} axes where "
            f"{dtype} with {len(axes)} belongs"
        )
    known = sizes or {}
    named = zip(axes, header.shape, strict=False)
    wanted = tuple(known.get(axis, n) for axis, n in named) if axes else header.shape
    if wanted != header.shape:
        raise OipError(f"it has the shape {header.shape}, not {wanted}")
    n_bytes = math.prod(header.shape) * header.dtype.itemsize
    limit = _LARGEST if axes and all(axis in known for axis in axes) else _LARGEST_UNKNOWN
    if math.prod(max(n, 1) for n in header.shape) * header.dtype.itemsize > limit:
        raise OipError(f"it has the shape {header.shape}, and no array of ours is as large")
    array = np.empty(header.shape, header.dtype, "F" if header.is_transposed else "C")
    memory = array.reshape(-1, order="A").view(np.uint8) if n_bytes else np.empty(0, np.uint8)
    filled = 0
    try:
        for piece in header.pieces:
            if filled + len(piece) > n_bytes:
                raise ValueError("it is longer than it says")
            memory[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
            filled += len(piece)
    except (ValueError, zlib.error) as error:
        raise _damaged(error) from None
    if filled < n_bytes:
        raise _damaged("it is cut short")
    return array


def _pieces(value: bytes) -> Iterator[bytes]:
    """The bytes inside, little by little, so that few bytes can't become very many."""
    if value.startswith(_MAGIC):
        yield value
        return
    unzip = zlib.decompressobj()
    for place in range(0, len(value), _PIECE):
        if piece := unzip.decompress(value[place : place + _PIECE]):
            yield piece
        if unzip.unused_data or (unzip.eof and place + _PIECE < len(value)):
            raise ValueError("something follows its end")
    if not unzip.eof:
        raise ValueError("it is cut short")


def _damaged(reason: object) -> OipError:
    line = " ".join(str(reason).split())[:100]
    return OipError(f"the database holds a damaged array: {line}")


class Array(TypeDecorator[NumpyArray]):
    """A column of arrays of one type.

    Rows hold such an array as `Packed`. `Base` unpacks it when it is asked for, since only the
    row knows its shape.

    Parameters
    ----------
    dtype : str
        For example ``float32``.
    axes : str
        The names of its axes. How long they are says `Base.sizes`, where that is known.
    """

    impl = LargeBinary
    cache_ok = True

    def __init__(self, dtype: str, *axes: str) -> None:
        super().__init__()
        self.dtype, self.axes = dtype, axes

    def compare_values(self, x: Any, y: Any) -> bool:
        """Whether a row needs to be written, because its array is another one."""
        import numpy as np

        return np.array_equal(x, y)

    def process_bind_param(self, value: np.ndarray | Packed | None, dialect: Any) -> bytes | None:
        """Bytes to be stored; those of an array that is still packed are stored as they are."""
        if value is None or isinstance(value, Packed):
            return None if value is None else value.value
        if value.ndim != len(self.axes):
            raise ValueError(f"an array with {len(self.axes)} axes is needed, not {value.shape}")
        import numpy as np

        array = np.ascontiguousarray(value, self.dtype)
        if not np.isfinite(array).all():
            raise OipError(
                "a result has values that aren't finite, so nothing of it is stored: look at the "
                "network's weights and at the size of the steps"
            )
        return packed(array)

    def process_result_value(self, value: bytes | None, dialect: Any) -> Any:
        """The stored array, still packed.

        Raises
        ------
        OipError
            If it isn't bytes.
        """
        if value is None:
            return None
        if not isinstance(value, bytes):
            raise OipError(f"the database holds {str(value)[:40]!r} where an array belongs")
        return Packed(value, self.dtype, self.axes)
