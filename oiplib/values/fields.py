"""Checks of a description's fields: each returns the value in its one canonical type."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import InputError


def choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """`InputError` unless the value is one of the choices."""
    if value not in choices:
        raise InputError(f"unknown {name} {value!r}: choose one of {', '.join(choices)}")


def instance(name: str, value: object, kind: type) -> None:
    """`InputError` unless the value is of a class."""
    if not isinstance(value, kind):
        raise InputError(f"{name} must be a {kind.__name__}, not {type(value).__name__}")


def sequence(name: str, value: Any) -> Sequence[Any]:
    """The value, if it is a list or a tuple."""
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{name} must be a sequence, not {value!r}")
    return value


#: The largest whole number that a database keeps.
LARGEST = 2**63 - 1
#: How many of anything somebody may ask for that takes time or memory; more is a slip.
MANY = 10**6


def count(name: str, value: Any, low: int, high: int = LARGEST) -> int:
    """The value as a whole number from `low` to `high`."""
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} must be a whole number, not {value!r}") from None
    if isinstance(value, bool) or whole != value:
        raise InputError(f"{name} must be a whole number, not {value!r}")
    if whole < low:
        raise InputError(f"{name} must be at least {low}, not {whole}")
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
        raise InputError(f"{name} must be a number, not {value!r}") from None
    if not math.isfinite(number):
        raise InputError(f"{name} must be finite, not {number}")
    if not (low <= number <= high and above < number < below):
        limits = [("at least", low), ("at most", high), ("above", above), ("below", below)]
        wanted = " and ".join(f"{word} {limit:g}" for word, limit in limits if math.isfinite(limit))
        raise InputError(f"{name} must be {wanted}, not {number:g}")
    return number
