"""Arrays in database columns: NumPy's own ``.npy`` bytes, with declared type and rank.

The format can't carry code (pickle is refused), and any NumPy reads it without us.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from sqlalchemy import LargeBinary
from sqlalchemy.types import TypeDecorator

from ..errors import OipError


class Array(TypeDecorator[np.ndarray]):
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

    def process_bind_param(self, value: np.ndarray | None, dialect: Any) -> bytes | None:
        """Bytes to be stored."""
        if value is None:
            return None
        if value.ndim != self.ndim:
            raise ValueError(f"an array with {self.ndim} axes is needed, not {value.shape}")
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(value, self.dtype), allow_pickle=False)
        return buffer.getvalue()

    def process_result_value(self, value: bytes | None, dialect: Any) -> np.ndarray | None:
        """The stored array.

        Raises
        ------
        OipError
            If the bytes are no array of the declared type and rank.
        """
        if value is None:
            return None
        try:
            array = np.load(io.BytesIO(value), allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise OipError(f"the database holds a damaged array: {error}") from None
        if array.dtype != self.dtype or array.ndim != self.ndim:
            raise OipError(
                f"the database holds an array of {array.dtype} with {array.ndim} axes where "
                f"{self.dtype} with {self.ndim} belongs"
            )
        return array
