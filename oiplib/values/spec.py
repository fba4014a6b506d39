"""Specs: frozen descriptions with one canonical text, and its hash as their identity.

A result's identity is the hash of everything that it was made from, so asking for the same
result again finds the stored one. A field at its default is left out of the hashed text. So a
new field renames nothing that is stored; in return a default must never change (a test holds
them all).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ..errors import InputError, OipError
from .texts import parsed


class Text:
    """Base of values that specs hold by their text, as people type it."""


@dataclass(frozen=True)
class Spec:
    """Base of all specs: canonical JSON, hash, and the way back."""

    _kinds: ClassVar[dict[str, type[Spec]]] = {}

    def __init_subclass__(cls) -> None:
        Spec._kinds[cls.__name__] = cls

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain JSON values, nested specs included, with the spec's ``kind``."""
        values = {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return {"kind": type(self).__name__, **values}

    def to_json(self) -> str:
        """The canonical text: JSON with sorted keys and no spaces, without fields at their default.

        Examples
        --------
        >>> from oiplib import GridSpec
        >>> GridSpec(rows=4).to_json()
        '{"kind":"GridSpec","rows":4}'
        """
        return json.dumps(_canonical(self), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @property
    def sha256(self) -> str:
        """The spec's identity: the SHA-256 of its canonical text, 64 characters."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def default_of(self, name: str) -> Any:
        """What a field is where nobody names it; nothing equals it where it must be named."""
        (field,) = (f for f in dataclasses.fields(self) if f.name == name)
        if field.default is not dataclasses.MISSING:
            return field.default
        if field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
        return dataclasses.MISSING

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated anew."""
        return dataclasses.replace(self, **changes)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The spec that `to_json` wrote.

        Raises
        ------
        InputError
            If the text isn't JSON, or describes no spec of this class.
        """
        try:
            return cls.from_dict(parsed(text))
        except InputError:
            raise
        except OipError as error:
            raise InputError(f"not the JSON of a {cls.__name__}: {error}") from None

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """The spec that `to_dict` took apart; `InputError` if it is no spec of this class."""
        try:
            spec = _unplain(values)
        except TypeError as error:
            raise InputError(f"no {cls.__name__}: {str(error)[:200]}") from None
        except RecursionError:
            raise InputError(f"no {cls.__name__}: it is nested too deep") from None
        if not isinstance(spec, cls):
            raise InputError(f"no {cls.__name__}: {str(values)[:80]}")
        return spec

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Text) else value


def _canonical(value: Any) -> Any:
    """As `_plain`, without the fields that are at their default."""
    if isinstance(value, tuple):
        return [_canonical(item) for item in value]
    if not isinstance(value, Spec):
        return _plain(value)
    fields = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
    named = {name: _canonical(item) for name, item in fields if item != value.default_of(name)}
    return {"kind": type(value).__name__, **named}


def _unplain(value: Any) -> Any:
    """Lists stay lists: a spec turns them into tuples when it validates them."""
    if isinstance(value, list):
        return [_unplain(item) for item in value]
    if not isinstance(value, dict):
        return value
    fields = {name: _unplain(item) for name, item in value.items() if name != "kind"}
    kind = Spec._kinds.get(str(value.get("kind", "")))
    if kind is None:
        raise TypeError(f"unknown kind {value.get('kind')!r}")
    return kind(**fields)
