"""Tables and views of a database, made where there are none, brought up where they are older.

A database carries the number of its schema. The first four schemas had none; those are known
by what they lack. oiplib has kept databases in PostgreSQL since the fifth.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from filecmp import cmp
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, inspect, text

from ..errors import OipError
from ..files import scratch_in
from .address import begin_to_write
from .answers import Variety
from .layout import check_layout, check_older, check_version_table, layout_of
from .views import VIEWS

#: The number of the schema of `tables` and `answers`, as a revision in ``migrations/versions``.
NUMBER = "11"

_FIRST_TABLES = {"networks", "layers", "runs", "screenings", "scans", "rungs", "oips"}
_VERSION_TABLE = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
# Any number will do, as long as it is always this one.
_POSTGRESQL_LOCK = "SELECT pg_advisory_xact_lock(1302)"

_log = logging.getLogger("oiplib")


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
        If it is empty and nothing may be made, isn't one of ours, is newer than this code, can't
        be upgraded, or is a file that holds anything else.
    """
    with engine.connect() as connection:
        number = number_of(connection, name)
    if number is None and not create:
        raise OipError(f"{name} is empty: fill it with 'oip reproduce'")
    if number is None:
        with engine.execution_options(writes=True).begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(_POSTGRESQL_LOCK)
            if number_of(connection, name) is None:  # else another process was faster
                _make(connection)
    elif number != NUMBER:
        _upgrade(engine, name, number)
    elif engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            check_layout(connection, name, _expected())


def number_of(connection: Connection, name: str) -> str | None:
    """The number of a database's schema; None if it has no tables.

    Raises
    ------
    OipError
        If it is somebody else's, damaged, or newer than this code.
    """
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return None
    if not tables >= _FIRST_TABLES:
        raise OipError(f"{name} is a database, but not one of oiplib's: name another")
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
        return number
    if connection.dialect.name != "sqlite":
        raise OipError(
            f"{name} has a schema without a number, from before oiplib kept databases in "
            "PostgreSQL: name another"
        )
    if "reactions" not in tables:
        return "1"
    if "spec_sha256" in {column["name"] for column in inspect(connection).get_columns("oips")}:
        return "4"
    scans = "SELECT sql FROM sqlite_master WHERE name = 'scans'"
    return "3" if "'selection'" in str(connection.execute(text(scans)).scalar()) else "2"


def _make(connection: Connection) -> None:
    Variety.metadata.create_all(connection)  # all tables: `answers` builds upon `tables`
    connection.execute(text(_VERSION_TABLE))
    _stamp(connection, NUMBER)
    _make_views(connection)


@cache
def _expected() -> dict[tuple[str, str], str]:
    """The layout of a file that was just made."""
    with create_engine("sqlite://").begin() as connection:
        _make(connection)
        return layout_of(connection)


def _stamp(connection: Connection, number: str) -> None:
    connection.execute(text("DELETE FROM alembic_version"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:number)"), {"number": number})


def _make_views(connection: Connection) -> None:
    for name, (_, query) in VIEWS.items():
        connection.execute(text(f"CREATE VIEW {name} AS {query.strip()}"))


def _drop_views(connection: Connection) -> None:
    """Drop a file's views, whatever they are; on a server ours, since others may have theirs."""
    on_server = connection.dialect.name == "postgresql"
    for name in reversed([*VIEWS] if on_server else inspect(connection).get_view_names()):
        connection.execute(text(f"DROP VIEW IF EXISTS {name}"))


def _upgrade(engine: Engine, name: str, number: str) -> None:
    if engine.dialect.name == "postgresql":
        _upgrade_on_server(engine.url, name, number)
    elif engine.dialect.name != "sqlite" or engine.url.database in (None, "", ":memory:"):
        raise OipError(
            f"{name} has the older schema {number}: only SQLite files and PostgreSQL are upgraded"
        )
    elif "immutable" in engine.url.query:
        raise OipError(
            f"{name} has the older schema {number} and can't be upgraded here: copy it to a "
            "folder that you may write"
        )
    else:
        _upgrade_file(Path(str(engine.url.database)), name, number)


def _upgrade_on_server(url: URL, name: str, number: str) -> None:
    with _undone_by_errors(name, number), _alone_on_server(url) as connection:
        now = str(number_of(connection, name))
        if now == NUMBER:  # another process was faster
            return
        _run_revisions(connection, now)
    _log.warning("%s: upgraded from schema %s to %s", name, number, NUMBER)


def _upgrade_file(file: Path, name: str, number: str) -> None:
    backup = None
    try:
        with _undone_by_errors(name, number), _alone(file) as connection:
            now = str(number_of(connection, name))
            if now == NUMBER:  # another process was faster
                return
            check_older(connection, name, now)
            backup = _backup(file, now)
            _run_revisions(connection, now)
            check_layout(connection, name, _expected())
    except OipError:
        if backup is not None:
            backup.unlink()
        raise
    # What the old tables took is given back, unless others are at work.
    with suppress(sqlite3.Error), closing(sqlite3.connect(file)) as direct:
        direct.execute("VACUUM")
    _log.warning("%s: upgraded from schema %s to %s; as it was: %s", name, number, NUMBER, backup)


@contextmanager
def _undone_by_errors(name: str, number: str) -> Iterator[None]:
    try:
        yield
    except OipError:
        raise
    except Exception as error:  # a stranger's rows can stop a migration in any way
        raise OipError(
            f"{name} has the older schema {number} and can't be upgraded, it is as it was: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        ) from None


@contextmanager
def _alone(file: Path) -> Iterator[Connection]:
    """A transaction that keeps all others out, without foreign keys: tables are replaced."""
    engine = create_engine(URL.create("sqlite", database=str(file)), poolclass=NullPool)

    def begin_by_hand(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA trusted_schema = OFF")  # the file may be a stranger's

    event.listen(engine, "connect", begin_by_hand)
    event.listen(engine, "begin", begin_to_write)
    with engine.begin() as connection:
        yield connection


@contextmanager
def _alone_on_server(url: URL) -> Iterator[Connection]:
    """A transaction that keeps all others out, waits for them, and reads JSON as its text."""
    engine = create_engine(
        url,
        poolclass=NullPool,
        isolation_level="READ COMMITTED",  # who has waited sees what the other one did
        json_deserializer=lambda told: told if isinstance(told, str) else told.decode(),
    )
    with engine.begin() as connection:
        connection.exec_driver_sql(_POSTGRESQL_LOCK)
        ours = {*Variety.metadata.tables, "alembic_version"}
        tables = sorted(ours.intersection(inspect(connection).get_table_names()))
        connection.exec_driver_sql(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
        yield connection


def _run_revisions(connection: Connection, number: str) -> None:
    from alembic import command
    from alembic.config import Config

    _drop_views(connection)
    if not inspect(connection).has_table("alembic_version"):
        connection.execute(text(_VERSION_TABLE))
        _stamp(connection, number)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, NUMBER)
    _make_views(connection)


def _backup(file: Path, number: str) -> Path:
    """Copy a database, with what is in its log, beside it; returns the copy's path.

    Its lock is held, so that nobody writes, nor makes another copy. A copy of an upgrade that was
    killed is taken for this one.
    """
    target, n = file.with_name(f"{file.name}.schema-{number}"), 1
    try:
        with scratch_in(file.parent) as folder:
            scratch = folder / file.name
            with (
                closing(sqlite3.connect(file)) as source,
                closing(sqlite3.connect(scratch)) as copy,
            ):
                source.backup(copy)
            while target.exists() and not cmp(scratch, target, shallow=False):
                target, n = file.with_name(f"{file.name}.schema-{number}.{n}"), n + 1
            if not target.exists():
                scratch.rename(target)
    except (OSError, sqlite3.Error) as error:
        raise OipError(f"{file} has an older schema, and there can be no backup: {error}") from None
    return target
