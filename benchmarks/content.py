"""What a database holds, without what differs from time to time: numbers of rows, runs, moments."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, Table, UniqueConstraint, select

from oiplib.store.base import Base

Row = dict[str, Any]
Content = dict[str, dict[str, Row]]

# Rows that tell of the work; which work was done is compared, not how often it was begun.
_RUNS = "runs"
_VOLATILE = ("id", "run_id", "created", "asked", "started", "seconds", "environment", "error")


def content(connection: Connection) -> Content:
    """All rows of all tables: table -> a row's name -> its values, foreign keys being names.

    Studies also say at which place they were asked, from the last on.
    """
    names: dict[str, dict[int, str]] = {}
    found: Content = {}
    for table in Base.metadata.sorted_tables:
        rows = [row._asdict() for row in connection.execute(select(table).order_by(table.c.id))]
        if table.name == "studies":
            for place, row in enumerate(sorted(rows, key=lambda row: row["asked"], reverse=True)):
                row["place"] = place
        named, of_table = [_plain(table, row, names) for row in rows], {}
        names[table.name] = {}
        for row, values in zip(rows, named, strict=True):
            name = " ".join(str(values[column]) for column in _identity(table))
            names[table.name][row["id"]] = name
            assert table.name == _RUNS or name not in of_table, f"{table.name}: two rows of {name}"
            of_table[name] = values
        found[table.name] = of_table
    return found


def running(connection: Connection) -> list[str]:
    """The runs that say that they go on, each in words."""
    runs = Base.metadata.tables[_RUNS]
    query = select(runs.c.kind).where(runs.c.status == "running").order_by(runs.c.id)
    return [f"a run ({kind}) says that it goes on" for (kind,) in connection.execute(query)]


def differences(there: Content, here: Content) -> list[str]:
    """What is another here than there, a line for each row."""
    lines = []
    for table in there:
        for name in sorted(there[table].keys() | here[table].keys()):
            a, b = there[table].get(name), here[table].get(name)
            if a is None or b is None:
                lines.append(f"{table}: {'missing' if b is None else 'too many'}")
            elif a != b:
                columns = [column for column in a if a[column] != b[column]]
                lines.append(f"{table}: {', '.join(columns)} differ")
    return lines


def _identity(table: Table) -> list[str]:
    """The columns that tell a row from all others of its table."""
    by_hand = {"networks": ["sha256"], _RUNS: ["kind", "spec"]}
    unique = [c for c in table.constraints if isinstance(c, UniqueConstraint)]
    return by_hand.get(table.name) or [column.name for column in unique[0].columns]


def _plain(table: Table, row: Row, names: dict[str, dict[int, str]]) -> Row:
    """A row's values as texts; large ones as their hash."""
    values = {}
    for column in table.columns:
        if column.name in _VOLATILE or (table.name == _RUNS and column.name == "status"):
            continue
        value = row[column.name]
        for key in column.foreign_keys:
            value = names[key.column.table.name][value]
        values[column.name] = _text(value)
    return values | ({"place": row["place"]} if "place" in row else {})


def _text(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.dtype.str.encode() + repr(value.shape).encode() + value.tobytes()
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, (dict, list)):
        return json.dumps(value, sort_keys=True)
    return value.isoformat() if isinstance(value, datetime) else value
