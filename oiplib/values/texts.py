"""JSON from files that anyone may have written: of a bounded size and depth."""

from __future__ import annotations

import json
import math
from typing import Any

from ..errors import OipError

# What we write is some kilobytes long and some ten levels deep; a network with inner models, more.
_LARGEST = 4_000_000
_DEEPEST = 64
_MOST_DIGITS = 300


def parsed(text: str | bytes, largest: int = _LARGEST, finite: bool = True) -> Any:
    """The values of a JSON text.

    Parameters
    ----------
    text
        What somebody wrote.
    largest
        How many characters it may have.
    finite
        Whether infinity and NaN, which aren't JSON, are refused.

    Raises
    ------
    OipError
        If it isn't JSON, is too long or nested too deep, or holds what is no number.

    Examples
    --------
    >>> parsed('{"rows": 3}')
    {'rows': 3}
    """
    if not isinstance(text, (str, bytes)):
        raise OipError(f"a JSON text is needed, not {str(text)[:40]!r}")
    if len(text) > largest:
        raise OipError(f"its JSON has {len(text):,} characters, and {largest:,} are the most")
    try:
        if finite:
            values = json.loads(
                text, parse_constant=_not_finite, parse_float=_finite, parse_int=_whole
            )
        else:
            values = json.loads(text, parse_int=_whole)
    except RecursionError:
        raise OipError("its JSON is nested too deep") from None
    except ValueError as error:
        raise OipError(f"its JSON can't be read: {str(error)[:80]}") from None
    level = [values]
    for _ in range(_DEEPEST):
        if not level:
            return values
        level = [inner for value in level for inner in _inside(value)]
    raise OipError("its JSON is nested too deep")


def _inside(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _not_finite(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _whole(text: str) -> int:
    """A whole number that a float can hold, too."""
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"{text[:20]}... is too large a number")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _not_finite(text)
