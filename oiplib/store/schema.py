"""Tables and views of a database: made where there are none, compared with ours where there are.

A database carries the number of its schema. Those that were made before 1.0 are refused: what is
in them can be made again from its specs.
"""

from __future__ import annotations

import re
from functools import cache

from sqlalchemy import Connection, Engine, create_engine, inspect, text

from ..errors import OipError
from .answers import Variety
from .layout import check_layout, check_version_table, layout_of
from .views import VIEWS

#: The number of the schema of `tables` and `answers`; that of 1.0 is the first one kept.
NUMBER = "12"

_FIRST_TABLES = {"networks", "layers", "runs", "screenings", "scans", "rungs", "oips"}
# The table's name and form are Alembic's, so that it can bring up later schemas.
_VERSION_TABLE = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
# Any number will do, as long as it is always this one.
_POSTGRESQL_LOCK = "SELECT pg_advisory_xact_lock(1302)"


def prepare(engine: Engine, name: str, create: bool) -> None:
    """See to it that a database has our tables, in the schema of today.

    Parameters
    ----------
    engine
        The database; transactions with the option ``writes`` take its lock at their beginning.
    name
        What messages call it.
    create
        Whether to make the tables where there are none.

    Raises
    ------
    OipError
        If it is empty and nothing may be made, isn't one of ours, is older or newer than this
        code, or is a file that holds anything else.
    """
    with engine.connect() as connection:
        is_there = has_tables(connection, name)
    if not is_there and not create:
        raise OipError(f"{name} is empty: fill it with 'oip reproduce'")
    if not is_there:
        with engine.execution_options(writes=True).begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(_POSTGRESQL_LOCK)
            if not has_tables(connection, name):  # else another process was faster
                _make(connection)
    elif engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            check_layout(connection, name, _expected())


def has_tables(connection: Connection, name: str) -> bool:
    """Whether a database has our tables, of today's schema, or none at all.

    Raises
    ------
    OipError
        If it is somebody else's, damaged, or of another schema.
    """
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return False
    if not tables >= _FIRST_TABLES:
        raise OipError(f"{name} is a database, but not one of oiplib's: name another")
    number: object = "before 5"  # the first ones had none
    if "alembic_version" in tables:
        if connection.dialect.name == "sqlite":
            check_version_table(connection, name, _VERSION_TABLE)
        numbers = connection.execute(text("SELECT version_num FROM alembic_version LIMIT 2")).all()
        number = numbers[0][0] if len(numbers) == 1 else None
        if not (isinstance(number, str) and re.fullmatch("[1-9][0-9]{0,3}", number)):
            raise OipError(f"{name} is damaged: its schema has the number {str(number)[:40]!r}")
        if int(number) > int(NUMBER):
            raise OipError(
                f"{name} was made by a newer oiplib (its schema is {number}, this one's {NUMBER}): "
                "upgrade oiplib"
            )
    if number != NUMBER:
        raise OipError(
            f"{name} was made by an oiplib before 1.0 (its schema is {number}, this one's "
            f"{NUMBER}): move it away and make it anew, with 'oip reproduce' or the commands that "
            "made it; the oiplib that made it still opens it"
        )
    return True


def _make(connection: Connection) -> None:
    Variety.metadata.create_all(connection)  # all tables: `answers` builds upon `tables`
    connection.execute(text(_VERSION_TABLE))
    connection.execute(text("INSERT INTO alembic_version VALUES (:number)"), {"number": NUMBER})
    _make_views(connection)


@cache
def _expected() -> dict[tuple[str, str], str]:
    """The layout of a file that was just made."""
    with create_engine("sqlite://").begin() as connection:
        _make(connection)
        return layout_of(connection)


def _make_views(connection: Connection) -> None:
    for name, (_, query) in VIEWS.items():
        connection.execute(text(f"CREATE VIEW {name} AS {query.strip()}"))
