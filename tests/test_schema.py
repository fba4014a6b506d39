"""Databases of each earlier schema, made by the code of their time, are brought up whole."""

import io
import json
import os
import re
import sqlite3
import struct
import subprocess
import sys
import tracemalloc
import zlib
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from alembic.script import ScriptDirectory

from oiplib import CnnSpec, OipError, OipFilter, Store, Study
from oiplib.store import merge, schema
from oiplib.study.chapters import CHAPTERS, MAP_CHAPTER, prepare
from oiplib.study.check import problems
from oiplib.study.networks import training_keys
from oiplib.study.questions import null, varieties
from oiplib.study.replay import replay
from oiplib.study.rows import oip_key
from oiplib.values import Spec, parse_objective, rungs_of, start_of

KEPT = Path(__file__).parent / "schemas"
NUMBERS = sorted(
    re.findall(r"schema-(\d+)", " ".join(path.name for path in KEPT.iterdir())), key=int
)


#: Layer and network of the study in the latest of them.
STUDIED = "Conv2D_3", "digits-0"

#: What chapters needed that is computed in the same way today.
ASKED_THEN = {
    *("network", "screening", "fluctuations", "patterns", "layers", "data", "reactions"),
    "variety",
}

#: What an upgrade may never change.
FACTS = "SELECT id, map, origin, loss, steps, start, image, trace, created FROM oips"


def rows(path, sql):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def facts(path):
    """`FACTS`, with each start as a value: its text names fields that are newer than the row."""
    return [
        (*before, start_of(json.loads(start)), *after)
        for *before, start, image, trace, created in rows(path, FACTS)
        for after in [(image, trace, created)]
    ]


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
    before = facts(path)
    store = Store(path)
    assert caplog.messages[0].startswith(f"{path}: upgraded from schema {number} to")
    assert facts(path) == before
    assert facts(f"{path}.schema-{number}") == before
    assert list(problems(store)) == []
    Store(tmp_path / "new.db", create=True).close()
    assert layout(path) == layout(tmp_path / "new.db")
    study = Study(store)
    assert study.derive_from_fluctuations([0]) == []
    assert study.derive_from_patterns([0, 5]) == []
    caplog.clear()
    Store(path).close()
    assert not caplog.messages


@pytest.mark.parametrize("number", NUMBERS)
def test_identities_hold_after_an_upgrade(old, number):
    path = old(number)
    Store(path).close()
    with_specs = ("studies", "screenings", "scans", "oips", "reactions", "nulls", "varieties")
    n_specs = 0
    for table in with_specs:
        for text, sha256 in rows(path, f"SELECT spec, spec_sha256 FROM {table}"):
            spec = Spec.from_dict(json.loads(text))
            assert spec.sha256 == sha256
            assert spec.to_dict() == json.loads(text)  # all its fields are named
            n_specs += 1
    assert n_specs > 0
    made_from = rows(
        path,
        'SELECT "key", networks.sha256, objective, start, oips.spec FROM oips '
        "JOIN layers ON layers.id = layer_id JOIN networks ON networks.id = network_id",
    )
    assert made_from
    for key, network, objective, start, climb in made_from:
        parts = start_of(json.loads(start)), Spec.from_dict(json.loads(climb))
        assert oip_key(network, parse_objective(objective), *parts) == key


def test_oips_of_older_schemas_can_be_made_again(old, tmp_path):
    """All in one database; where two schemas have an OIP in common, rounding may differ."""
    united, kept = Store(tmp_path / "united.db", create=True), {}
    for number in NUMBERS:
        store = Store(old(number))
        merge(united, store)
        for oip in store.oips(OipFilter()):
            same = kept.setdefault(oip.key, oip)
            assert oip.loss == pytest.approx(same.loss, rel=1e-5)
            assert np.corrcoef(oip.image.ravel(), same.image.ravel())[0, 1] > 1 - 1e-5
    in_one = united.oips(OipFilter())
    assert {oip.key for oip in in_one} == set(kept)
    # The latest holds many networks and layers: one of them is made again.
    again = [
        oip.id
        for oip in in_one
        if len(oip.image) == 28 or (oip.layer.name, oip.layer.network.name) == STUDIED
    ]
    assert len(again) > 20
    for replayed in replay(united, again):
        assert replayed.holds(1e-5)


def quick_or_slow(numbers):
    """The first and the last in the quick suite, all others in the slow one."""
    marks = {number: [pytest.mark.slow] for number in numbers[1:-1]}
    return [pytest.param(number, marks=marks.get(number, [])) for number in numbers]


@pytest.mark.parametrize("number", quick_or_slow(NUMBERS))
def test_a_search_goes_on_in_an_older_database(old, number):
    study = Study(Store(old(number)))
    assert study.scans("pattern", 3) == []
    assert study.derive_from_patterns([0, 3, 5]) == [3]
    assert study.oips(3)
    (scan,) = study.scans("pattern", 3)
    assert scan.rungs
    assert list(problems(study.store)) == []


@pytest.fixture
def latest(old, tmp_path, monkeypatch, mnist):
    """A database of the schema before this one, with all that it could hold, and its data set."""
    monkeypatch.chdir(tmp_path)
    arrays = {}
    for part, n, images, labels in (
        ("train", 300, mnist.train_images, mnist.train_labels),
        ("test", 100, mnist.test_images, mnist.test_labels),
    ):
        arrays |= {f"x_{part}": images[:n, 3:25, 3:25, 0], f"y_{part}": labels[:n]}
    np.savez("digits.npz", **arrays)
    return old("8")


@pytest.mark.parametrize("has_data", [True, False])
def test_a_study_goes_on_without_computing_what_is_stored(latest, tmp_path, has_data):
    if not has_data:
        (tmp_path / "digits.npz").unlink()
    study = Study(latest)
    # Maps that gained little weren't raced again with smaller steps in those days.
    assert study.derive_from_patterns([0, 5]) == []
    n_runs = rows(latest, "SELECT count(*) FROM runs")
    chapters = [c.name for c in (*CHAPTERS, MAP_CHAPTER) if ASKED_THEN.issuperset(c.needs)]
    assert len(chapters) > 5
    assert prepare(study, chapters, [0, 5]) == [0, 5]
    assert sorted(varieties(study)) == list(range(8))
    assert rows(latest, "SELECT count(*) FROM runs") == n_runs
    if has_data:
        # The file's content is part of a training's identity.
        for row in study.store.networks():
            assert row.spec_sha256 in training_keys(CnnSpec.from_dict(row.spec))


def test_what_a_search_was_made_for_is_told_by_its_spec(latest):
    """Purposes are gone: a scan for a comparison is one that keeps no frames."""
    study = Study(latest)
    searched = "SELECT layer_id, map FROM scans WHERE {} ORDER BY 1, 2"
    before = rows(f"{latest}.schema-8", searched.format("origin = 'comparison'"))
    spec = study.spec.scan.compared()
    assert rows(latest, searched.format(f"spec_sha256 = '{spec.sha256}'")) == before != []
    before = rows(f"{latest}.schema-8", searched.format("origin = 'selection'"))
    raced, specs = study.spec.scan.rungs, []
    for first in (rungs_of("article")[0], raced[0]):
        undropped = [rung.replace(n_starts=2 * raced[0].n_starts) for rung in (first, *raced[1:])]
        specs.append(study.spec.scan.replace(rungs=undropped, n_oips=0).sha256)
    of_selection = "spec_sha256 IN ('{}', '{}')".format(*specs)
    assert rows(latest, searched.format(of_selection)) == before != []


def test_the_null_of_an_older_database_is_the_one_that_is_computed_today(latest):
    study = Study(latest)
    stored = null(study)
    (of_maps,) = {row.null_id for row in varieties(study).values()}
    assert of_maps == stored.id
    with closing(sqlite3.connect(latest)) as connection, connection:
        connection.execute("DELETE FROM varieties")
        connection.execute("DELETE FROM nulls")
    again = null(study)
    assert (again.id, again.run_id) != (stored.id, stored.run_id)
    assert again.n_starts.tolist() == stored.n_starts.tolist()
    # Elsewhere rounding may carry a similarity into the next class.
    for name in ("peaks", "features"):
        moved = np.abs(np.cumsum(getattr(again, name) - getattr(stored, name), axis=1))
        assert moved.max() <= 1
    assert again.threshold == pytest.approx(stored.threshold, abs=0.011)
    assert again.feature_threshold == pytest.approx(stored.feature_threshold, abs=0.011)


def test_varieties_that_were_judged_by_a_part_of_the_layer_are_dropped(latest):
    by_spec = "SELECT count(*), min(n_starts) FROM varieties GROUP BY spec_sha256 ORDER BY 1"
    assert rows(latest, by_spec) == [(2, 3), (8, 4)]
    store = Store(latest)
    assert rows(latest, by_spec) == [(8, 4)]
    assert rows(latest, "SELECT count(*) FROM nulls") == [(1,)]
    study = Study(store)
    fewer = study.replace(variety=study.spec.variety.replace(n_starts=3))
    assert store.varieties(study.layer.id, fewer.spec.variety.sha256) == {}


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
    ("number", "message"),
    [("99", "newer oiplib .* upgrade oiplib"), ("", "damaged"), ("x' --", "damaged")],
)
def test_a_schema_of_another_number_is_refused(copy, number, message):
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (number,))
    before = copy.read_bytes()
    with pytest.raises(OipError, match=message):
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


@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 200), "i8"), ((1 << 20,), "i8"), ((200,), "U3000")]
)
def test_a_null_of_an_older_file_that_swells_is_refused(old, shape, dtype):
    path, buffer = old("8"), io.BytesIO()
    np.save(buffer, np.zeros(shape, dtype))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE varieties SET null_peaks = ?", (zlib.compress(buffer.getvalue()),)
        )
        # As if the layer had one map, so that this is a whole null.
        connection.execute("DELETE FROM varieties WHERE id > (SELECT min(id) FROM varieties)")
        connection.execute("UPDATE layers SET n_maps = 1")
    with pytest.raises(OipError, match="a null's counts have the shape"):
        Store(path)
    assert rows(path, "SELECT version_num FROM alembic_version") == [("8",)]


@pytest.mark.parametrize("ending", ["-journal", "-wal"])
def test_a_pipe_beside_a_file_is_refused(copy, ending):
    """SQLite would wait for somebody to write into it."""
    os.mkfifo(f"{copy}{ending}")
    with pytest.raises(OipError, match=f"{ending} isn't a file"):
        Store(copy)


def test_frames_of_an_older_file_that_swell_stay_as_they_are(old):
    path = old("4")
    frames = zlib.compress(npy(np.zeros((2**20, 8, 8, 1), "u1")))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE oips SET frames = ? WHERE id = 1", (frames,))
    tracemalloc.start()
    try:
        Store(path)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()
    assert rows(path, "SELECT frames FROM oips WHERE id = 1") == [(frames,)]


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


SLOW = "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT count(*) FROM n)"


@pytest.mark.parametrize(
    ("planted", "message"),
    [
        ([f"CREATE TRIGGER t AFTER UPDATE ON oips BEGIN SELECT {SLOW}; END"], "a trigger, 't'"),
        (
            [
                f"CREATE TRIGGER t BEFORE UPDATE ON networks BEGIN SELECT {SLOW}; END",
                "PRAGMA writable_schema = ON",
                "UPDATE sqlite_master SET type = 'TRIGGER' WHERE name = 't'",
            ],
            "a trigger, 't'",
        ),
        (["ALTER TABLE oips ADD COLUMN more GENERATED ALWAYS AS (hex(image))"], "no oiplib made"),
        (["CREATE INDEX heavy ON oips (hex(image))"], "no oiplib made"),
        (["CREATE TABLE notes (text)"], "no oiplib made"),
    ],
)
def test_an_older_file_with_anything_else_is_not_upgraded(old, planted, message):
    """The file is as it was, nothing in it has run, and no backup is left."""
    path = old(NUMBERS[-1])
    with closing(sqlite3.connect(path)) as connection:
        for sql in planted:
            connection.execute(sql)
        connection.commit()
    before = path.read_bytes()
    for create in (False, True):
        with pytest.raises(OipError, match=message):
            Store(path, create=create)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert rows(path, "SELECT count(*) FROM oips")[0][0] > 0
    assert len(path.read_bytes()) == len(before)
    assert not list(path.parent.glob("*.schema-*"))


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
