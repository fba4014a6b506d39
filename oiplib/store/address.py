"""Where a database is: its URL, how connections begin, what its errors mean to a user."""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from ..errors import InputError, OipError

_log = logging.getLogger("oiplib")

#: How long reading waits for a lock, in milliseconds.
BUSY_TIMEOUT = 30_000
# With it a journal ends that names another file (sqlite.org/fileformat2.html).
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
# How long writing waits before it says that it waits.
_PATIENCE = 2_000


def database_url(target: str | os.PathLike[str] | None) -> URL:
    """The URL of a database that is named by a path or a URL, else by ``OIP_DB``, else oip.db."""
    if target is not None and not os.fspath(target):
        raise InputError("an empty text names no database: name a file or a URL")
    text = os.fspath(target or os.environ.get("OIP_DB") or "oip.db")
    try:
        url = make_url(text) if "://" in text else URL.create("sqlite", database=text)
        if url.get_backend_name() == "sqlite" and url.query:
            raise InputError(f"{text}: an SQLite file is named without options: leave out ?...")
        return url
    except InputError:
        raise
    except (ArgumentError, ValueError):
        raise InputError(f"{text} is neither a file nor a database URL") from None


def is_file(url: URL) -> bool:
    """Whether a database is one file."""
    return url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")


def immutable_url(url: URL) -> URL:
    """The URL by which a file is read in a folder that can't be written.

    SQLite would want to put its write-ahead log beside it; without one, nobody is writing.
    """
    path = Path(os.path.abspath(str(url.database)))
    as_this_user = {"effective_ids": True} if os.access in os.supports_effective_ids else {}
    log = path.with_name(path.name + "-wal")
    if (
        not os.path.isfile(path)
        or os.path.exists(log)
        or os.access(path.parent, os.W_OK, **as_this_user)
    ):
        return url
    flags = {"immutable": "1", "uri": "true"}
    return URL.create("sqlite", database=path.as_uri(), query=flags)


def check_journal(name: str) -> None:
    """Raise `OipError` if the journal beside an SQLite file names another file, or is none.

    Whoever reads the database first rolls back what the journal holds, and SQLite then deletes the
    file that it names: any file of the user's. Journals of ours name none, since no transaction
    writes to two databases.
    """
    path = os.path.realpath(name) + "-journal"
    for beside in (path, os.path.realpath(name) + "-wal"):
        if os.path.lexists(beside) and not os.path.isfile(beside):
            raise OipError(f"{beside} isn't a file, and SQLite would read it: remove it")
    try:
        with open(path, "rb") as journal:
            journal.seek(-len(_JOURNAL_MAGIC), os.SEEK_END)
            names_a_file = journal.read() == _JOURNAL_MAGIC
    except OSError:  # there is none, or it is too short
        return
    if names_a_file:
        raise OipError(
            f"{name} comes with a journal that names another file, which SQLite would delete: "
            f"don't trust them. Without {path} the database can be read as it is"
        )


def begin(connection: Connection) -> None:
    """Begin a transaction; one that ``writes`` keeps other writers out from here on."""
    if connection.get_execution_options().get("writes"):
        begin_to_write(connection)
    else:
        connection.exec_driver_sql("BEGIN")


def begin_to_write(connection: Connection) -> None:
    """Begin a transaction that keeps other writers out; waits until they have finished.

    What is to be written is a finished unit of work, which shouldn't be lost because somebody
    else takes long. Ctrl-C still ends the waiting.
    """
    is_told = False
    while True:
        try:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {_PATIENCE}")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            break
        except OperationalError as error:
            if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
                raise
        if not is_told:
            name = connection.engine.url.database
            _log.warning("%s is being written by another program: waiting for it", name)
            is_told = True
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {BUSY_TIMEOUT}")


def pragmas(connection: Any, record: Any) -> None:
    """What every connection to an SQLite file needs."""
    connection.isolation_level = None  # transactions begin where `begin` says
    # `trusted_schema` stays on: our own views read JSON, which SQLite 3.40 doesn't count as safe.
    # What a file defines is compared with our layout, word for word, before anything reads it.
    for pragma in ("foreign_keys = ON", f"busy_timeout = {BUSY_TIMEOUT}", "cell_size_check = ON"):
        connection.execute(f"PRAGMA {pragma}")


def writing_pragmas(connection: Any, record: Any) -> None:
    """What a connection needs beside that if it may write."""
    pragmas(connection, record)
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


def explained(name: str, error: SQLAlchemyError) -> OipError:
    """One line on what a user can do about a database that doesn't work."""
    original = getattr(error, "orig", None)
    if isinstance(original, OipError):  # of a value on its way in
        return original
    reason = " ".join(str(original or error).split())
    hints = {
        "unable to open": "check that the folder exists and can be written",
        "readonly": "it can't be written: check its permissions, or name another with --db",
        "not a database": "it is some other file or damaged: name another with --db",
        "malformed": "it is damaged: go back to a copy",
        "no such": "it was made by another version of oiplib",
        "locked": "another program is writing it: try again",
        "full": "make room on the disk",
    }
    hint = next((hint for word, hint in hints.items() if word in reason), "")
    return OipError(f"database {name}: {reason}{'; ' if hint else ''}{hint}")
