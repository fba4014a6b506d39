"""Whether a file has the layout that oiplib makes, and nothing else.

A stranger's file may hold triggers that change what is written to it, views that never end, or
tables with our names that compute something else. Such a file is refused, not mended.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, text

from ..errors import OipError

_Layout = dict[tuple[str, str], str]


def check_layout(connection: Connection, name: str, expected: _Layout) -> None:
    """Raise `OipError` unless a database holds what is expected, word for word."""
    fault = next(_faults(layout_of(connection), expected), None)
    if fault is not None:
        raise OipError(f"{name} {fault}: don't trust it, and get it from where it was made")


def check_version_table(connection: Connection, name: str, expected: str) -> None:
    """Raise `OipError` unless the table with the schema's number is ours: it is read first."""
    listed = connection.execute(
        text("SELECT type, sql FROM sqlite_master WHERE lower(name) = 'alembic_version'")
    ).all()
    if [(kind, _plain(sql)) for kind, sql in listed] != [("table", _plain(expected))]:
        raise OipError(f"{name} has a table 'alembic_version' that isn't oiplib's: don't trust it")


def layout_of(connection: Connection) -> _Layout:
    """What an SQLite file defines: kind and name -> SQL, without regard to spaces."""
    listed = connection.execute(text("SELECT type, name, sql FROM sqlite_master"))
    return {(str(kind), str(name)): _plain(sql) for kind, name, sql in listed}


def _faults(found: Mapping[tuple[str, str], str], expected: _Layout) -> Iterator[str]:
    for (kind, name), sql in found.items():
        # SQLite's own: a key's index, which has no SQL, and the numbers of its planner.
        if name.startswith("sqlite_") and (kind, sql) in (("index", ""), ("table", _OWN.get(name))):
            continue
        if (kind, name) not in expected:
            yield f"has {_a(kind)}, {_shown(name)}, which oiplib doesn't make"
        elif sql != expected[kind, name]:
            yield f"has {_a(kind)} {_shown(name)} that isn't oiplib's"
    for kind, name in expected:
        if (kind, name) not in found:
            yield f"lacks the {kind} {name}"


def _plain(sql: Any) -> str:
    # To SQLite only these are spaces; others that Python knows are letters of a name.
    return re.sub(r"[ \t\n\f\r]+", " ", str(sql or "")).strip(" ")


def _a(kind: str) -> str:
    return f"an {kind}" if kind == "index" else f"a {kind}"


def _shown(name: str) -> str:
    return repr(name[:60])


#: Tables that SQLite makes by itself, by ANALYZE and for numbers that are never used twice.
_OWN = {
    "sqlite_sequence": "CREATE TABLE sqlite_sequence(name,seq)",
    "sqlite_stat1": "CREATE TABLE sqlite_stat1(tbl,idx,stat)",
    "sqlite_stat4": "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)",
}
