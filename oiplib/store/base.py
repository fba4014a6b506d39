"""What all tables have in common: types, and rows whose values are looked at when they come in."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar

from sqlalchemy import BigInteger, DateTime, Float, Integer, LargeBinary, String, event
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm.exc import DetachedInstanceError
from sqlalchemy.types import JSON, TypeDecorator

from ..errors import OipError
from .arrays import Packed, unpacked


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC, whatever the database makes of time zones."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """UTC without a zone."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """UTC with its zone."""
        return None if value is None else value.replace(tzinfo=UTC)

    def result_processor(self, dialect: Any, coltype: Any) -> Any:
        """As SQLAlchemy's own, with an error of ours where a file holds no moment."""
        process = super().result_processor(dialect, coltype)
        assert process is not None

        def read(value: Any) -> Any:
            try:
                return process(value)
            except (ValueError, TypeError, AttributeError, OverflowError):
                raise OipError(f"{str(value)[:40]!r} is no moment") from None

        return read


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        dict[str, Any]: JSON,
        datetime: UtcTime,
        bytes: LargeBinary,
    }

    def __getattribute__(self, name: str) -> Any:
        """A value of the row; an error of ours where it wasn't loaded, or is a damaged array.

        Rows are handed out without a connection, so nothing is loaded later. An array is unpacked
        when it is asked for the first time.
        """
        try:
            value = super().__getattribute__(name)
        except DetachedInstanceError:
            raise OipError(
                f"{name} of this {type(self).__name__.lower()} wasn't loaded: "
                "ask the store for the row itself"
            ) from None
        if type(value) is Packed:
            try:
                value = vars(self)[name] = unpacked(*value, self.sizes())
            except (OipError, TypeError) as error:  # a stranger's row may hold anything
                raise OipError(f"{self.row_name}: {name}: {error}") from None
        return value

    @property
    def row_name(self) -> str:
        """What messages call the row."""
        return f"{self.__tablename__} row {vars(self).get('id')}"

    def sizes(self) -> dict[str, int]:
        """How long the axes of the row's arrays must be, as far as the row tells."""
        return {}


# Of a text but an architecture's, in characters.
_LONGEST_TEXT = 1_000_000


@event.listens_for(Base, "load", propagate=True)
def _check_types(row: Base, _: Any) -> None:
    """Raise `OipError` if a value is missing or isn't of its column's type.

    SQLite lets in anything, and who edits a file can take out what keeps NULL away.
    """
    values = vars(row)
    for key, name, kind, may_be_missing in _columns(type(row)):
        if key not in values:  # it wasn't asked for
            continue
        value = values[key]
        if value is None and not may_be_missing:
            raise OipError(f"{row.row_name}: {name} is missing")
        if value is not None and kind is not None and type(value) is not kind:
            wanted = {int: "a whole number", float: "a number", str: "a text"}[kind]
            raise OipError(f"{row.row_name}: {name} is {str(value)[:40]!r}, and not {wanted}")
        if type(value) is str and len(value) > _LONGEST_TEXT and name != "architecture":
            raise OipError(f"{row.row_name}: {name} has {len(value):,} characters")


@cache
def _columns(kind: type[Base]) -> list[tuple[str, str, type | None, bool]]:
    """The columns: attribute, name, type of numbers and texts, whether NULL is allowed."""
    columns = [(attribute.key, attribute.columns[0]) for attribute in kind.__mapper__.column_attrs]
    kinds: dict[type, type] = {Integer: int, BigInteger: int, Float: float, String: str}
    return [
        (
            key,
            str(column.name),
            kinds.get(type(column.type)),
            bool(getattr(column, "nullable", True)),
        )
        for key, column in columns
    ]
