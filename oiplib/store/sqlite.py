"""Which SQLite wrote a file and which reads it."""

from __future__ import annotations

from .connection import Connected

# Where the file's header keeps the version of the SQLite that wrote it.
_WRITER = 96
# Versions in which a write-ahead log may be begun anew while another program writes to it.
_RACE = (3, 7, 0), (3, 51, 2)


def sqlite_versions(store: Connected) -> str:
    """Which SQLite wrote a file last and which reads it, and what is known to be wrong with them.

    Returns
    -------
    str
        A line; empty for a database that is no SQLite file.
    """
    if not store.is_file:
        return ""
    with open(store.name, "rb") as file:
        file.seek(_WRITER)
        number = int.from_bytes(file.read(4), "big")
    writer = number // 1_000_000, number // 1000 % 1000, number % 1000
    with store.session() as session:
        text = str(session.connection().exec_driver_sql("SELECT sqlite_version()").scalar())
    reader = tuple(int(part) for part in text.split(".")[:3])
    line = f"written last by SQLite {'.'.join(map(str, writer))}, read by {text}"
    if any(_RACE[0] <= version <= _RACE[1] for version in (writer, reader)):
        line += (
            "; those before 3.51.3 can, very rarely, damage a file that several programs write at "
            "the same time: keep copies"
        )
    return line
