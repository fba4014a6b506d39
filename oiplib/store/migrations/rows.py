"""What several revisions need: rewriting JSON and arrays row by row, replacing tables.

Revisions speak SQLite's words for types. In PostgreSQL they are run from schema 5 on.

Of the rest of the package, which goes on changing while they stay, revisions use only how arrays
are read, and errors.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from alembic import op
from sqlalchemy import text

# PostgreSQL's words for the types that revisions name.
_POSTGRESQL = {
    "id INTEGER NOT NULL": "id SERIAL NOT NULL",
    "BLOB": "BYTEA",
    "DOUBLE": "DOUBLE PRECISION",
    "DATETIME": "TIMESTAMP",
}


def define(ddl: str) -> None:
    """Make a table or a column, whose types are SQLite's, in the database at hand."""
    if _is_postgresql():
        for ours, theirs in _POSTGRESQL.items():
            ddl = re.sub(rf"\b{ours}\b", theirs, ddl)
    op.execute(ddl)


def rewrite(table: str, columns: str, new: Callable[..., dict[str, Any]]) -> None:
    """Set columns of each row to what `new` makes of the named ones."""
    connection = op.get_bind()
    ids = connection.execute(text(f"SELECT id FROM {table}")).scalars().all()
    for id in ids:
        old = connection.execute(text(f"SELECT {columns} FROM {table} WHERE id = :i"), {"i": id})
        changes = new(*old.one())
        assigned = ", ".join(f"{name} = :{name}" for name in changes)
        connection.execute(
            text(f"UPDATE {table} SET {assigned} WHERE id = :i"), changes | {"i": id}
        )


def recreate(table: str, ddl: str, columns: str, values: str | None = None) -> None:
    """Make a table anew by `ddl`, in which it is called ``new_<table>``, and move the rows."""
    define(ddl)
    op.execute(f"INSERT INTO new_{table} ({columns}) SELECT {values or columns} FROM {table}")
    # To SQLite, which isn't to look at references meanwhile, they are names of tables.
    references = _unlinked(table) if _is_postgresql() else []
    op.execute(f"DROP TABLE {table}")
    op.execute(f"ALTER TABLE new_{table} RENAME TO {table}")
    if _is_postgresql():
        _rename_parts(table)
    for reference in references:
        op.execute(reference)


def _is_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _unlinked(table: str) -> list[str]:
    """Drop the references to a table; returns the statements that make them anew."""
    named = (
        "SELECT CAST(conrelid AS regclass), conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE contype = 'f' AND confrelid = CAST(:table AS regclass)"
    )
    references = op.get_bind().execute(text(named), {"table": table}).all()
    for source, name, _ in references:
        op.execute(f"ALTER TABLE {source} DROP CONSTRAINT {name}")
    return [
        f"ALTER TABLE {source} ADD CONSTRAINT {name} {what}" for source, name, what in references
    ]


def _rename_parts(table: str) -> None:
    """Constraints and the sequence of a table that was ``new_<table>``; its numbers go on."""
    named = (
        "SELECT conname FROM pg_constraint "
        "WHERE conrelid = CAST(:table AS regclass) AND starts_with(conname, 'new_')"
    )
    for name in op.get_bind().execute(text(named), {"table": table}).scalars().all():
        op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {name} TO {name.removeprefix('new_')}")
    op.execute(f"ALTER SEQUENCE new_{table}_id_seq RENAME TO {table}_id_seq")
    op.execute(f"SELECT setval('{table}_id_seq', max(id)) FROM {table}")


def canonical(spec: Any) -> str:
    """The JSON text of a spec, by whose hash it is known."""
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256(told: str) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(told.encode()).hexdigest()
