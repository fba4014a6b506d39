"""What several revisions need: rewriting JSON and arrays row by row.

Of the rest of the package, which goes on changing while they stay, revisions use only how arrays
are read, and errors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from alembic import op
from sqlalchemy import text


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
    op.execute(ddl)
    op.execute(f"INSERT INTO new_{table} ({columns}) SELECT {values or columns} FROM {table}")
    op.execute(f"DROP TABLE {table}")
    op.execute(f"ALTER TABLE new_{table} RENAME TO {table}")


def canonical(spec: Any) -> str:
    """The JSON text of a spec, by whose hash it is known."""
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256(told: str) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(told.encode()).hexdigest()
