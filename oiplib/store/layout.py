"""Whether a file has the layout that oiplib makes, and nothing else.

A stranger's file may hold triggers that change what is written to it, views that never end, or
tables with our names that compute something else. Such a file is refused, not mended.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, text

from ..errors import OipError

_Layout = dict[tuple[str, str], str]

# Elsewhere quotes have a meaning: they can make a condition a part of a name.
_QUOTED = re.compile(
    '"(networks|layers|runs|studies|screenings|scans|rungs|oips|reactions|nulls|varieties|'
    'correspondences|baselines|conditions|alembic_version)"'
)


def check_layout(connection: Connection, name: str, expected: _Layout) -> None:
    """Raise `OipError` unless a database holds what is expected, word for word."""
    fault = next(_faults(layout_of(connection), expected), None)
    if fault is not None:
        raise OipError(f"{name} {fault}: don't trust it, and get it from where it was made")


def check_older(connection: Connection, name: str, number: str) -> None:
    """Raise `OipError` unless a file of an older schema holds what an oiplib of its time made.

    Its views are left out: they are dropped unread.
    """
    if layout_sha256(connection) != _OLDER.get(number):
        for kind, what in layout_of(connection):
            if kind.lower() == "trigger":
                raise OipError(f"{name} has a trigger, {_shown(what)}, which oiplib never makes")
        raise OipError(
            f"{name} has an older schema, and tables that no oiplib made: don't trust it, and get "
            "it from where it was made"
        )


def layout_sha256(connection: Connection) -> str:
    """The beginning of a hash of all that a file defines but views."""
    lines = sorted(
        f"{kind} {name} {sql}"
        for (kind, name), sql in layout_of(connection).items()
        # SQLite goes by the text, whatever the kind says.
        if not (kind == "view" and sql.startswith("CREATE VIEW "))
        and not (kind == "index" and sql == "")  # those of keys follow from their tables
        and sql != _OWN.get(name)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def check_version_table(connection: Connection, name: str, expected: str) -> None:
    """Raise `OipError` unless the table with the schema's number is ours: it is read first."""
    listed = connection.execute(
        text("SELECT type, sql FROM sqlite_master WHERE lower(name) = 'alembic_version'")
    ).all()
    if [(kind, _plain(sql)) for kind, sql in listed] != [("table", _plain(expected))]:
        raise OipError(f"{name} has a table 'alembic_version' that isn't oiplib's: don't trust it")


def layout_of(connection: Connection) -> _Layout:
    """What an SQLite file defines: kind and name -> SQL, without regard to spaces.

    Quotes around the names of our tables don't count: SQLite puts them there when it renames one.
    """
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
    return re.sub(r"[ \t\n\f\r]+", " ", _QUOTED.sub(r"\1", str(sql or ""))).strip(" ")


def _a(kind: str) -> str:
    return f"an {kind}" if kind == "index" else f"a {kind}"


def _shown(name: str) -> str:
    return repr(name[:60])


# The layouts of older schemas, by number; an upgrade leaves the same as making one anew did.
_OLDER = {
    "1": "7eedec62673a3943",
    "2": "deee31b38c92f194",
    "3": "1006746537f9f3b4",
    "4": "082e8442f3f7b0ab",
    "5": "5e6e7ac468e2b7ce",
    "6": "bdbd2f0591cd1541",
    "7": "710e4f7d7a2c283f",
    "8": "32eb9c7933b32783",
    "9": "115e88bf4dc92c74",
    "10": "c5fcce75348cb985",
}

#: Tables that SQLite makes by itself, by ANALYZE and for numbers that are never used twice.
_OWN = {
    "sqlite_sequence": "CREATE TABLE sqlite_sequence(name,seq)",
    "sqlite_stat1": "CREATE TABLE sqlite_stat1(tbl,idx,stat)",
    "sqlite_stat4": "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)",
}
