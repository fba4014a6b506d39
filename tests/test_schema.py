"""A database is taken as ours only if it has our layout, word for word, and our schema."""

import os
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest

from oiplib import OipError, OipFilter, Store, Study


def layout(path):
    listed = rows(path, "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {name: " ".join(sql.split()) for name, sql in listed}


def rows(path, sql):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("99", "newer oiplib .* upgrade oiplib"),
        ("11", r"before 1\.0 \(its schema is 11, .* make it anew, with 'oip reproduce'"),
        ("", "damaged"),
        ("x' --", "damaged"),
    ],
)
def test_a_schema_of_another_number_is_refused(copy, number, message):
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (number,))
    before = copy.read_bytes()
    with pytest.raises(OipError, match=message):
        Study(copy)
    assert copy.read_bytes() == before


@pytest.mark.parametrize("create", [False, True])
def test_a_refused_file_stays_in_the_mode_that_it_has(copy, create):
    """A downloaded file has no log beside it; to read it for the refusal makes none."""
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '11'")
        connection.commit()
        connection.execute("PRAGMA journal_mode = DELETE")
    before = copy.read_bytes()
    assert before[18:20] == b"\1\1"
    with pytest.raises(OipError, match=r"before 1\.0"):
        Store(copy, create=create)
    assert copy.read_bytes() == before


def test_a_schema_from_before_there_were_numbers_is_refused(copy, oip_here):
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("DROP TABLE alembic_version")
    before = copy.read_bytes()
    for create in (False, True):
        with pytest.raises(OipError, match=r"before 1\.0"):
            Store(copy, create=create)
    done = oip_here("query", "--db", copy)
    assert done.returncode == 1
    assert "make it anew" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert copy.read_bytes() == before


def test_views_say_what_the_tables_hold(copy, tiny_study):
    listed = rows(copy, "SELECT id, map, loss, origin, pattern, trial FROM oip_list ORDER BY id")
    plain = sorted(tiny_study.rows(), key=lambda row: row["id"])
    numbers = [(row["start"].get("index"), row["start"].get("trial")) for row in plain]
    assert listed == [
        (row["id"], row["map"], row["loss"], row["origin"], *number)
        for row, number in zip(plain, numbers, strict=True)
    ]
    best = tiny_study.store.oip_rows(OipFilter(best=True))
    assert rows(copy, "SELECT id FROM best_oips ORDER BY map") == [(row["id"],) for row in best]
    of_maps = rows(copy, "SELECT map, found_by, n_oips, best_oip FROM maps ORDER BY map")
    first_origin = {map: by for by, maps in tiny_study.summary().found.items() for map in maps}
    ids = {row["map"]: row["id"] for row in best}
    for map, by, n, id in of_maps:
        assert by == first_origin.get(map, "nothing")
        assert n == sum(row["map"] == map for row in plain)
        assert id == ids.get(map)
    assert [map for map, *_ in of_maps] == tiny_study.searched_maps()
    assert rows(copy, "SELECT dataset, seed FROM network_list")[0][1] == 0
    assert {row[0] for row in rows(copy, "SELECT status FROM run_list")} == {"done"}


#: What strangers plant, and what they are told.
PLANTED = {
    "CREATE TRIGGER doubles AFTER INSERT ON oips BEGIN UPDATE oips SET loss = 2 * loss; END":
        "has a trigger, 'doubles'",
    "CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) "
    "SELECT i FROM n": "has a view, 'endless'",
    "CREATE TABLE notes (text)": "has a table, 'notes'",
    "CREATE INDEX heavy ON oips (hex(image))": "has an index, 'heavy'",
    "DROP VIEW maps": "lacks the view maps",
    "ALTER TABLE oips ADD COLUMN more GENERATED ALWAYS AS (hex(zeroblob(900000000)))":
        "has a table 'oips' that isn't oiplib's",
    "CREATE VIRTUAL TABLE words USING fts5(text)": "has a table, 'words'",
}  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED)
def test_a_file_with_anything_that_oiplib_does_not_make_is_refused(copy, oip_here, planted):
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute(planted)
        connection.commit()
    with pytest.raises(OipError, match=PLANTED[planted]) as refused:
        Store(copy)
    assert "\n" not in str(refused.value)
    done = oip_here("check", "--db", copy)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {copy} {PLANTED[planted]}")
    assert done.stderr.count("\n") == 1


def rewrite(path, name, old, new):
    """Change the text by which a file defines something, as no statement of SQL would."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        change = "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE name = ?"
        connection.execute(change, (old, new, name))
        connection.commit()


@pytest.mark.parametrize(
    ("name", "text", "other"),
    [
        ("best_oips", "AS ranked\nWHERE place = 1", 'AS "ranked WHERE place = 1"'),
        ("scans", "map INTEGER", 'map "INTEGER"'),
        ("rungs", "steps INTEGER NOT NULL", 'steps "INTEGER NOT NULL"'),
        # Not a space to SQLite, so a part of a name.
        ("oips", "frames BLOB NOT NULL", "frames BLOB\u00a0NOT\u00a0NULL"),
    ],
)
def test_signs_that_change_a_meaning_are_seen(copy, name, text, other):
    before = layout(copy)[name]
    rewrite(copy, name, text, other)
    assert rows(copy, f"SELECT sql FROM sqlite_master WHERE name = '{name}'") != [(before,)]
    with pytest.raises(OipError, match=f"{name}'? that isn't oiplib's|'{name}' that isn't"):
        Store(copy)


@pytest.mark.parametrize("make", [Store, lambda path: Store(path, create=True)])
def test_the_number_of_a_schema_is_not_read_from_a_strangers_table(copy, make):
    """Reading it would compute what the table says: hours, or gigabytes."""
    slow = "hex(zeroblob(499999990))"
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("DROP TABLE alembic_version")
        connection.execute(
            f"CREATE TABLE alembic_version (x, version_num GENERATED ALWAYS AS ({slow}))"
        )
        connection.execute("INSERT INTO alembic_version (x) VALUES (1)")
        connection.commit()
    with pytest.raises(OipError, match="a table 'alembic_version' that isn't oiplib's"):
        make(copy)


def test_a_journal_that_names_a_file_of_the_users_is_refused(copy, oip_here):
    """SQLite would take it for the leftover of a crash, and delete that file."""
    thesis = copy.parent / "thesis.txt"
    thesis.write_text("mine")
    page_size = struct.unpack(">H", copy.read_bytes()[16:18])[0]
    magic = bytes.fromhex("d9d505f920a163d7")
    header = magic + struct.pack(">IIIII", 0, 1, copy.stat().st_size // page_size, 512, page_size)
    name = str(thesis).encode()
    record = struct.pack(">I", 0x40000000 // page_size + 1) + name
    record += struct.pack(">II", len(name), sum(name)) + magic
    Path(f"{copy}-journal").write_bytes(header.ljust(512, b"\0") + record)
    link = copy.parent / "link.db"
    link.symlink_to(copy)
    for path in (copy, link):
        for create in (False, True):
            with pytest.raises(OipError, match="comes with a journal that names another file"):
                Store(path, create=create)
    assert oip_here("query", "--db", copy).returncode == 1
    assert thesis.read_text() == "mine"


@pytest.mark.parametrize("ending", ["-journal", "-wal"])
def test_a_pipe_beside_a_file_is_refused(copy, ending):
    """SQLite would wait for somebody to write into it."""
    os.mkfifo(f"{copy}{ending}")
    with pytest.raises(OipError, match=f"{ending} isn't a file"):
        Store(copy)


def test_a_file_of_somebody_else_is_not_changed_by_a_refusal(tmp_path):
    path = tmp_path / "mine.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(OipError, match="not one of oiplib's"):
        Store(path, create=True)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["mine.db"]


def test_numbers_of_sqlites_planner_are_no_strangers(copy):
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("ANALYZE")
        connection.commit()
    Store(copy).close()
