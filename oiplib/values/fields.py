"""Checks of a description's fields: each returns the value in its one canonical type."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import InputError


def choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """`InputError` unless the value is one of the choices."""
    if value not in choices:
        raise InputError(f"unknown {name} {_shown(value)}: choose one of {', '.join(choices)}")


def instance(name: str, value: object, kind: type) -> None:
    """`InputError` unless the value is of a class."""
    if not isinstance(value, kind):
        raise InputError(f"{name} must be a {kind.__name__}, not {type(value).__name__}")


def sequence(name: str, value: Any) -> Sequence[Any]:
    """The value, if it is a list or a tuple."""
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{name} must be a sequence, not {_shown(value)}")
    return value


def text(name: str, value: Any) -> str:
    """The value, if it is a text that isn't empty and no longer than a path may be."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
        raise InputError(f"{name} must be a text of 1 to {_LONGEST:,} characters")
    return value


def _shown(value: object) -> str:
    """A value in a message, however large it is."""
    try:
        return repr(value)[:80]
    except (RecursionError, ValueError):
        return f"a {type(value).__name__} that is too large to be shown"


#: The largest whole number that a database keeps.
LARGEST = 2**63 - 1
#: How many of anything somebody may ask for that takes time or memory; more is a slip.
MANY = 10**6
# Of a text, in characters.
_LONGEST = 4096


def count(name: str, value: Any, low: int, high: int = LARGEST) -> int:
    """The value as a whole number from `low` to `high`."""
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} must be a whole number, not {_shown(value)}") from None
    if isinstance(value, bool) or whole != value:
        raise InputError(f"{name} must be a whole number, not {_shown(value)}")
    if whole < low:
        raise InputError(f"{name} must be at least {low}, not {_shown(whole)}")
    if whole > high:
        raise InputError(f"{name} must be at most {high:,}")
    return whole


def number(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> float:
    """The value as a finite number within some limits."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a number, not {_shown(value)}") from None
    except OverflowError:
        raise InputError(f"{name} must be finite") from None
    if not math.isfinite(number):
        raise InputError(f"{name} must be finite, not {number}")
    if not (low <= number <= high and above < number < below):
        limits = [("at least", low), ("at most", high), ("above", above), ("below", below)]
        wanted = " and ".join(f"{word} {limit:g}" for word, limit in limits if math.isfinite(limit))
        raise InputError(f"{name} must be {wanted}, not {number:g}")
    return number
