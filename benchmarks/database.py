"""How a database of 100,000 OIPs answers: ``python benchmarks/database.py``, to DATABASE.md.

The OIPs are those of the database at hand, many times over, with other keys and losses; every
row has its image, frames and trace. Times are shares of what we allow: 50 ms for the OIPs of a
map, a second for opening.
"""

from __future__ import annotations

import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy import event

from oiplib import OipFilter, Store, Study

HERE = Path(__file__).parent
N = 100_000


def enlarge(source: Path, path: Path, n: int = N) -> None:
    """Copy a database and repeat its OIPs until there are n of them."""
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(path)) as copy:
        original.backup(copy)
        (known,) = copy.execute("SELECT count(*) FROM oips").fetchone()
        columns = [row[1] for row in copy.execute("PRAGMA table_info(oips)") if row[1] != "id"]
        changed = {"key": "key || '-' || n", "loss": "loss * (1 - n / 1e6)"}
        values = ", ".join(changed.get(name, name) for name in columns)
        quoted = ", ".join(f'"{name}"' for name in columns)
        copy.execute("CREATE TEMP TABLE times (n INTEGER)")
        copy.executemany("INSERT INTO times VALUES (?)", [(k,) for k in range(1, n // known + 1)])
        copy.execute(
            f"INSERT INTO oips ({quoted}) SELECT {values} FROM oips CROSS JOIN times "
            f"ORDER BY n, id LIMIT {n - known}"
        )
        copy.commit()


def median(work: Callable[[], object], times: int = 15) -> float:
    """Seconds that it takes."""
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return statistics.median(found)


def plans(store: Store, wanted: OipFilter) -> list[str]:
    """How SQLite goes about each statement of a query."""
    asked: list[tuple[str, tuple[object, ...]]] = []

    def note(connection, cursor, statement, parameters, context, many) -> None:  # type: ignore[no-untyped-def]
        asked.append((statement, parameters))

    event.listen(store._engine, "before_cursor_execute", note)
    store.oip_rows(wanted)
    event.remove(store._engine, "before_cursor_execute", note)
    statement, parameters = next(
        each for each in asked if "FROM oips" in each[0] and "oips.loss" in each[0]
    )
    with closing(sqlite3.connect(store.name)) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return [row[3] for row in rows]


def main() -> None:
    """Measure, and write what was measured."""
    source = Path(Study().store.name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.db"
        enlarge(source, path)
        opening = median(lambda: Store(path).oip_rows(OipFilter(maps=[0], limit=1)))
        store = Store(path)
        map = store.oip_rows(OipFilter(limit=1))[0]["map"]
        of_map = OipFilter(maps=[map])
        queries = {
            "all OIPs of a map": of_map,
            "the best of a map": OipFilter(maps=[map], best=True),
            "the best of every map": OipFilter(best=True),
            "the 20 largest losses": OipFilter(sort="loss", limit=20),
            "those of a map that were revived": OipFilter(maps=[map], origin="revival"),
            "those that grew from one pattern": OipFilter(start=1000),
        }
        rows = [
            (
                name,
                len(store.oip_rows(wanted)),
                median(lambda wanted=wanted: store.oip_rows(wanted)),
            )
            for name, wanted in queries.items()
        ]
        (n,) = sqlite3.connect(path).execute("SELECT count(*) FROM oips").fetchone()
        size = path.stat().st_size
        plan = plans(store, of_map)
    lines = [
        "# A large database",
        "",
        f"{n:,} OIPs, {size / 2**30:.1f} GiB; by `python benchmarks/database.py` (`make bench`).",
        "",
        "| query, from Python | rows | share of 50 ms |",
        "|---|---|---|",
        *(f"| {name} | {found:,} | {seconds / 0.05:.2f} |" for name, found, seconds in rows),
        "",
        f"Opening it and asking for a first OIP takes {opening:.3f} of the second allowed.",
        "",
        "How SQLite finds the OIPs of a map:",
        "",
        *(f"    {line}" for line in plan),
    ]
    HERE.joinpath("DATABASE.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
