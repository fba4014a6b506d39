"""Databases of each earlier schema, made by the code of their time, are brought up whole."""

import lzma
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from oiplib import OipError, OipFilter, Store, Study
from oiplib.check import problems
from oiplib.replay import replay
from oiplib.store import schema

KEPT = Path(__file__).parent / "schemas"
NUMBERS = sorted(re.findall(r"schema-(\d+)", " ".join(path.name for path in KEPT.iterdir())))


@pytest.fixture
def old(tmp_path):
    """A function that gives a database of a schema."""

    def unpacked(number):
        path = tmp_path / "old.db"
        path.write_bytes(lzma.decompress((KEPT / f"schema-{number}.db.xz").read_bytes()))
        return path

    return unpacked


def rows(path, sql):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def layout(path):
    listed = rows(path, "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {name: " ".join(sql.replace('"', "").split()) for name, sql in listed}


def test_each_schema_but_the_last_is_kept():
    assert [*NUMBERS, schema.NUMBER] == [str(n) for n in range(1, len(NUMBERS) + 2)]
    scripts = ScriptDirectory(str(Path(schema.__file__).parent / "migrations"))
    assert scripts.get_heads() == [schema.NUMBER]


@pytest.mark.parametrize("number", NUMBERS)
def test_an_older_database_is_upgraded_whole(old, tmp_path, number, caplog):
    path = old(number)
    facts = "SELECT id, map, origin, loss, steps, start, image, trace, created FROM oips"
    before = rows(path, facts)
    store = Store(path)
    assert caplog.messages[0].startswith(f"{path}: upgraded from schema {number} to")
    assert rows(path, facts) == before
    assert rows(f"{path}.schema-{number}", facts) == before
    assert list(problems(store)) == []
    Store(tmp_path / "new.db", create=True).close()
    assert layout(path) == layout(tmp_path / "new.db")
    for again in replay(store, store.oip_ids()):
        assert again.holds(1e-5)

    study = Study(store)
    assert study.derive_from_fluctuations([0]) == []
    assert study.derive_from_patterns([0, 5]) == []
    assert study.derive_from_patterns([3]) == [3]
    assert len(study.rows()) > len(before)
    caplog.clear()
    Store(path).close()
    assert not caplog.messages


def test_what_its_log_holds_is_upgraded_and_backed_up(old):
    path = old("4")
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("UPDATE networks SET name = 'renamed'")
        writer.commit()
        assert Store(path).networks()[0].name == "renamed"
        assert rows(f"{path}.schema-4", "SELECT name FROM networks") == [("renamed",)]


def test_two_processes_may_open_it_at_once(old):
    path = old("1")
    program = f"from oiplib import Store; print(len(Store({str(path)!r}).oip_ids()))"
    opened = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert {process.communicate()[0] for process in opened} == {"6\n"}
    assert list(problems(Store(path))) == []
    assert [p.name for p in path.parent.glob("old.db.*")] == ["old.db.schema-1"]


def test_an_upgrade_that_fails_changes_nothing(old):
    path = old("1")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute('UPDATE scans SET spec = \'{"kind": "Nothing"}\' WHERE id = 2')
    before = path.read_bytes()
    with pytest.raises(OipError, match=r"can't be upgraded, it is as it was: KeyError"):
        Store(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "told"),
    [("99", "newer oiplib .* upgrade oiplib"), ("", "damaged"), ("x' --", "damaged")],
)
def test_a_schema_of_another_number_is_refused(copy, number, told):
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (number,))
    before = copy.read_bytes()
    with pytest.raises(OipError, match=told):
        Study(copy)
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
    told = rows(copy, "SELECT map, found_by, n_oips, best_oip FROM maps ORDER BY map")
    found = {map: by for by, maps in tiny_study.summary().found.items() for map in maps}
    ids = {row["map"]: row["id"] for row in best}
    for map, by, n, id in told:
        assert by == found.get(map, "nothing")
        assert n == sum(row["map"] == map for row in plain)
        assert id == ids.get(map)
    assert [map for map, *_ in told] == tiny_study.searched_maps()
    assert rows(copy, "SELECT dataset, seed FROM network_list")[0][1] == 0
    assert {row[0] for row in rows(copy, "SELECT status FROM run_list")} == {"done"}
