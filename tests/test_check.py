"""A sound database passes; each damage is named with its row, and no code is run."""

import io
import json
import sqlite3
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import select

from oiplib import PatternStart, Store
from oiplib.cli import main
from oiplib.store import Scan, Screening, sqlite_versions
from oiplib.study.check import problems
from oiplib.study.rows import oip_key
from oiplib.values import Channel, Spec, parse_objective


def blob(values, allow_pickle=False):
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values), allow_pickle=allow_pickle)
    return buffer.getvalue()


class Bomb:
    """Would write a file when it is unpickled."""

    def __reduce__(self):
        return (open, ("bomb-went-off", "w"))


def lambda_model():
    from oiplib.engine.tf import keras

    image = keras.Input((28, 28, 1))
    model = keras.Model(image, keras.layers.Lambda(lambda x: x * 2)(image))
    return json.dumps(json.loads(model.to_json()))


IMAGE = np.zeros((28, 28, 1), np.float32)
NOT_FINITE = np.full((28, 28, 1), np.nan, np.float32)


NOTHING = '{"kind": "Nothing"}'

#: What is set in a row, to which values, and what is said of the row. A row of its own for each.
OIP_DAMAGES = [
    ("image = ?", b"", "the database holds a"),
    ("image = ?", b"nonsense", "the database holds a"),
    ("image = ?", blob(IMAGE)[:-9], "the database holds a"),
    ("image = ?", blob([Bomb()], True), "the database holds a"),
    ("image = ?", blob(IMAGE[0]), "with 2 axes where float32"),
    ("image = ?", blob(IMAGE + 1j), "an array of complex"),
    ("image = ?", blob(IMAGE[1:]), "image: it has the shape (27,"),
    ("image = ?", blob(NOT_FINITE), "image has values that"),
    ("trace = ?", blob(np.zeros(3, "f4")), "trace: it has the"),
    ("loss = 2 * loss", None, "its trace ends at"),
    ("loss = 'much'", None, ""),
    ("map = 12", None, "there is no map 12 in Conv2D_3"),
    ("map = -1", None, "there is no map -1"),
    ("steps = 9999", None, "trace: it has the shape"),
    ("start = '{}'", None, ""),
    ("start = 'no json'", None, ""),
    ("start = '[1]'", None, ""),
    ("spec = ?", NOTHING, ""),
    ("spec_sha256 = 'ab'", None, "its ascents aren't those"),
    ("key = 'ab'", None, "its key isn't that of"),
    ("layer_id = 99", None, "names a row of layers that"),
    ("created = 'never'", None, "'never' is no moment"),
    ("created = '2999-01-01 00:00:00.000000'", None, "created is no moment"),
    ("report_steps = ?", blob(np.arange(3)), ""),
    ("map = 'one'", None, "map is 'one', and not a whole number"),
    ("origin = x'00'", None, "origin is "),
    ("stop_reason = 'converged'", None, "it can't have ended by 'converged'"),
    ("created = '2026-01-02 00:00:00.000000'", None, "it was created before run"),
    ("origin = CASE origin WHEN 'revival' THEN 'pattern' ELSE 'revival' END", None, "its origin"),
]
OTHER_DAMAGES = [
    ("scans", 1, "map = 99", None, "there is no map 99"),
    ("scans", 2, "spec_sha256 = 'ab'", None, "its spec isn't the one"),
    ("scans", 3, "origin = 'selection'", None, "its origin isn't selection"),
    ("scans", 4, "spec = ?", NOTHING, ""),
    ("rungs", 6, "scan_id = 7, number = 9", None, "its rungs are missing"),
    (
        "rungs",
        5,
        "losses = ?",
        blob(np.zeros(1, "f4")),
        "rung 0: losses has 1 starts, and starts has",
    ),
    ("rungs", 9, "steps = -4", None, "less than no steps"),
    ("rungs", 2, "starts = ?", blob(np.full(3, 10**15)), "aren't 3 at most, each once"),
    ("rungs", 11, "steps = 'many'", None, "steps is 'many', and not a whole number"),
    ("screenings", 1, "last = 5000", None, "it isn't part of a grid"),
    ("screenings", 1, "n_patterns = 9999", None, "it says that it showed 9999 patterns"),
    ("screenings", 1, "run_id = 1", None, "run 1, which made it, is one of the kind"),
    ("screenings", 1, "edges = ?", blob(np.arange(81.0)[::-1]), "the edges of its histogram"),
    ("screenings", 1, "histogram = ?", blob([[1]]), "histogram: it has the"),
    ("screenings", 1, "spec_sha256 = 'ab'", None, "its spec isn't the one"),
    ("runs", 1, "seconds = -1", None, "it took -1"),
    ("runs", 2, "seconds = NULL", None, "it is done, and took no time"),
    ("runs", 3, "spec = '[]'", None, ""),
    ("runs", 4, "environment = '7'", None, "a JSON text is needed"),
    ("runs", 1, "kind = 'mine'", None, "its kind isn't one of"),
    ("runs", 2, "started = '1999-01-01 00:00:00.000000'", None, "started is no moment"),
    ("runs", 2, "error = ?", "x" * 5000, "its error has 5,000 characters"),
    ("nulls", 1, "threshold = 0.001", None, "the threshold of its peaks isn't"),
    ("nulls", 1, "spec_sha256 = 'ab'", None, "its spec isn't the one"),
    ("varieties", 1, "peaks = ?", blob(np.zeros(1, "f2")), "peaks: it has the"),
    ("varieties", 2, "map = 99", None, "there is no map 99"),
    ("varieties", 3, "n_patterns = 50", None, "don't show 50 patterns"),
    ("varieties", 4, "spec_sha256 = 'ab'", None, "its spec isn't the one"),
    ("varieties", 7, "median = 0.01", None, "its median isn't 0.01"),
    ("varieties", 5, "best_loss = 99", None, "its best_loss isn't 99"),
    ("varieties", 6, "null_id = 9", None, "names a row of nulls that"),
    ("studies", 1, "spec_sha256 = 'ab'", None, "its spec isn't the one"),
]
NETWORK_DAMAGES = [
    ("networks", 1, "weights = ?", b"PK", "the stored"),
    ("networks", 1, "weights_sha256 = 'ab'", None, "its weights aren't"),
    ("networks", 1, "sha256 = 'ab'", None, "its SHA-256 isn't that of its weights, arch"),
    ("networks", 1, "architecture = replace(architecture, 'relu', 'gelu')", None, "its SHA-256"),
    ("networks", 1, "architecture = '{}'", None, ""),
    ("networks", 1, "architecture = ?", lambda_model, ""),
    ("networks", 1, "dataset = json_set(dataset, '$.noun', 'a <b>')", None, "must be one word"),
    ("networks", 1, "dataset = json_set(dataset, '$.classes[0]', 7)", None, "is no name"),
    ("networks", 1, "created = ''", None, "'' is no moment"),
    ("networks", 1, "accuracy = 0.5", None, "its accuracy is 0.5, and its training ended at"),
    ("networks", 1, 'history = \'{"loss": ["x"]}\'', None, "isn't a number per epoch"),
    ("networks", 1, "dataset = json_set(dataset, '$.more', 7)", None, "holds something else"),
    ("layers", 5, "n_maps = 1000000000", None, "n_maps is 1000000000: 1 to 1000000 can be"),
    ("layers", 5, "position = 99", None, "aren't numbered from 0 on"),
    ("networks", 1, "history = '[1]'", None, ""),
    ("networks", 1, "name = '<script>'", None, "'<script>' is no name"),
    ("networks", 1, "image_height = 27", None, "images of another size"),
    ("layers", 5, "name = 'a&b'", None, "networks row 1: 'a&b' is no name"),
    ("layers", 5, "n_maps = 13", None, "networks row 1: its layers aren't those of its model"),
]


@pytest.fixture
def damaged(copy):
    """A function that spoils rows of a copy of the database, and returns its path."""

    def spoil(damages):
        with closing(sqlite3.connect(copy)) as connection, connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            for table, row, change, value, _ in damages:
                values = () if value is None else (value() if callable(value) else value,)
                sql = f"UPDATE {table} SET {change} WHERE id = {row}"
                assert connection.execute(sql, values).rowcount == 1, sql
        return copy

    return spoil


def assert_told(path, damages):
    lines = list(problems(Store(path)))
    for table, row, change, _, reason in damages:
        where = {"layers": "", "rungs": "scans row"}.get(table, f"{table} row {row}: ")
        assert any(line.startswith(where) and reason in line for line in lines), (change, lines)


def test_a_sound_database_passes(copy, oip):
    lines = oip("check", "--db", copy.name, check=0).stdout.splitlines()
    assert lines[0].startswith("written last by SQLite 3.")
    assert lines[1:] == ["copy.db is sound"]


def test_edges_of_another_processor_are_sound(copy):
    """Logarithms differ there in the last bit."""
    with Store(copy).session(writes=True) as session:
        for screening in session.scalars(select(Screening)):
            screening.edges = np.nextafter(screening.edges, np.inf)
    assert list(problems(Store(copy))) == []


def test_each_damaged_oip_is_told(damaged):
    damages = [("oips", row, *damage) for row, damage in enumerate(OIP_DAMAGES, 2)]
    assert_told(damaged(damages), damages)


def test_each_damage_of_other_rows_is_told(damaged):
    assert_told(damaged(OTHER_DAMAGES), OTHER_DAMAGES)


@pytest.mark.parametrize("damage", NETWORK_DAMAGES, ids=lambda damage: damage[2])
def test_each_damaged_network_is_told(damaged, damage):
    assert_told(damaged([damage]), [damage])


#: A damage for each table that commands read.
ONE_A_TABLE = {
    "an array": ("oips", 2, "image = ?", blob([Bomb()], True), ""),
    "a start": ("oips", 2, "start = '{}'", None, ""),
    "scans": ("scans", 1, "spec = '[]'", None, ""),
    "rungs": (
        "rungs",
        1,
        "losses = ?",
        blob(np.zeros(1, "f4")),
        "rung 0: losses has 1 starts, and starts has",
    ),
    "screenings": ("screenings", 1, "histogram = ?", blob([[1]]), "histogram: it has the"),
    "weights": ("networks", 1, "weights = ?", b"PK", "the stored"),
    "code": ("networks", 1, "architecture = ?", lambda_model, ""),
    "layers": ("layers", 5, "name = 'a&b'", None, "no name"),
    "runs": ("runs", 3, "environment = '7'", None, ""),
    "varieties": ("varieties", 1, "peaks = ?", b"nonsense", ""),
    "nulls": ("nulls", 1, "peaks = ?", b"nonsense", ""),
    "studies": ("studies", 1, "spec = '{}'", None, ""),
}


@pytest.mark.parametrize("what", ONE_A_TABLE)
def test_commands_meet_damage_with_one_line(damaged, tmp_path, monkeypatch, what):
    """A command that meets the damage says so in a line; one that doesn't may answer."""
    monkeypatch.chdir(tmp_path)
    path = damaged([ONE_A_TABLE[what]])
    for command in ("query", "show 2", "replay 2", "export out", "derive --maps 0"):
        done = CliRunner().invoke(main, [*command.split(), "--db", str(path)])
        assert done.exception is None or isinstance(done.exception, SystemExit), command
        if done.exit_code:
            message = done.stderr.splitlines()
            assert message[-1].startswith("Error: "), done.stderr
    assert not (tmp_path / "bomb-went-off").exists()


# --- what looks right, and isn't ---


@pytest.fixture
def forged(copy, tiny_study):
    """A function that changes a stored OIP, and returns what the check says of it."""

    def forge(change, id=2):
        with Store(copy).session(writes=True) as session:
            oip = session.get(type(tiny_study.store.oip(1)), id)
            change(oip)
        return list(problems(Store(copy)))

    return forge


def test_a_loss_that_is_wrong_by_a_thousandth_is_told(forged):
    def change(oip):
        trace = oip.trace.copy()
        trace[-1] *= np.float32(1.001)
        oip.trace, oip.loss = trace, float(trace[-1])

    (line,) = forged(change)
    assert line.startswith("oips row 2: its loss is ")


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        (
            "DELETE FROM rungs; DELETE FROM scans WHERE origin = 'pattern'",
            "oips row 2: no scan that is stored has found it",
        ),
        ("UPDATE rungs SET number = number + 100", "its rungs aren't numbered from 0 on"),
        ("UPDATE runs SET seconds = 1e300", "it took 1e+300 seconds"),
    ],
)
def test_what_belongs_to_searches_is_told(copy, sql, told):
    with closing(sqlite3.connect(copy)) as connection:
        (row,) = connection.execute("SELECT origin FROM oips WHERE id = 2").fetchone()
        connection.executescript(sql.replace("'pattern'", f"'{row}'"))
        connection.execute("DELETE FROM oips WHERE id > 2")  # of many, it would take longer
        connection.commit()
    assert any(told in line for line in problems(Store(copy)))


def test_a_losing_end_and_a_wrong_response_of_a_pattern_are_told(copy):
    with Store(copy, create=True).session(writes=True) as session:
        screening = session.get(Screening, 1)
        screening.top_responses = np.full_like(screening.top_responses, 99)
        races = [scan for scan in session.scalars(select(Scan)) if scan.origin == "pattern"]
        race = next(scan for scan in races if len(scan.rungs) > 1)
        race.rungs[-1].losses = race.rungs[-1].losses * 2
        told = f"scans row {race.id}: its last rung ends at"
    lines = list(problems(Store(copy)))
    assert any(line.startswith(told) for line in lines)
    assert any("screenings row 1: map 0 responds to its best pattern" in line for line in lines)


def test_top_patterns_that_are_none_are_told(copy):
    with Store(copy, create=True).session(writes=True) as session:
        screening = session.get(Screening, 1)
        indices, answers = screening.top_indices.copy(), screening.top_responses.copy()
        indices[:, 1:], answers[:, 1:] = 10**15, 1e30
        screening.top_indices, screening.top_responses = indices, answers
    lines = list(problems(Store(copy)))
    assert "screenings row 1: its top patterns aren't in the grid, each once" in lines
    assert any("aren't in the order of what maps answer to them" in line for line in lines)


def test_a_last_image_on_the_way_that_is_another_is_told(forged, tiny_study):
    with_frames = next(oip.id for oip in tiny_study.oips(best=True) if len(oip.frames))

    def change(oip):
        oip.frames = np.full_like(oip.frames, 7)

    told = "its last image on the way isn't the one that it ended with"
    assert f"oips row {with_frames}: {told}" in forged(change, with_frames)


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", "loss"])
def test_a_history_with_markup_or_without_an_end_is_told(copy, name):
    with closing(sqlite3.connect(copy)) as connection, connection:
        (text,) = connection.execute("SELECT history FROM networks WHERE id = 1").fetchone()
        history = json.loads(text)
        history[name] = [1.0] * len(history["loss"])
        changed = json.dumps(history)
        if name == "loss":
            changed = changed.replace("[1.0", "[1e999", 1)
        connection.execute("UPDATE networks SET history = ? WHERE id = 1", (changed,))
    told = "1e999 is no number" if name == "loss" else "is no name for"
    assert any(told in line for line in problems(Store(copy)))


@pytest.mark.parametrize("column", ["image", "created", "spec"])
def test_what_is_missing_is_told(copy, oip, column):
    """Whoever takes out what keeps NULL away, and puts it back, leaves our layout."""
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'oips'").fetchone()
        kind = {"image": "BLOB", "created": "DATETIME", "spec": "JSON"}[column]
        open_sql = sql.replace(f"{column} {kind} NOT NULL", f"{column} {kind}")
        assert open_sql != sql
        for text, change in (
            (open_sql, f"UPDATE oips SET {column} = NULL WHERE id = 2"),
            (sql, ""),
        ):
            connection.execute("PRAGMA writable_schema = RESET")
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'oips'", (text,))
            (version,) = connection.execute("PRAGMA schema_version").fetchone()
            connection.execute(f"PRAGMA schema_version = {version + 1}")
            connection.execute("PRAGMA writable_schema = RESET")
            connection.execute(change)
    assert f"oips row 2: {column} is missing" in list(problems(Store(copy)))
    done = oip("show", 2, "--db", copy, check=1)
    assert done.stderr == f"Error: oips row 2: {column} is missing; 'oip check' tells all\n"


def test_an_oip_under_another_layer_is_told(forged, tiny_study):
    other = tiny_study.store.layer(1, "Conv2D_2").id
    found = forged(lambda oip: setattr(oip, "layer_id", other))
    assert [line for line in found if "is no objective of Conv2D_2" in line]


def rekeyed(oip):
    """The key that belongs to what a row says now."""
    network = oip.layer.network.sha256
    start, climb = oip.start, Spec.from_dict(oip.spec)
    oip.key = oip_key(network, parse_objective(oip.objective), start, climb)


def test_an_oip_under_another_layer_with_a_new_key_is_told(forged, tiny_study):
    other = tiny_study.store.layer(1, "Conv2D_2")

    def change(oip):
        oip.map, network = 1, oip.layer.network.sha256
        start, climb = oip.start, Spec.from_dict(oip.spec)
        objective = Channel(other.name, 1)
        oip.layer_id, oip.objective = other.id, str(objective)
        oip.key = oip_key(network, objective, start, climb)

    assert "oips row 2: no scan that is stored has found it" in forged(change)


def test_a_changed_start_is_told_with_its_old_key_and_with_a_new_one(forged, tiny_study):
    pattern = next(oip for oip in tiny_study.oips() if oip.origin == "pattern")

    def change(oip):
        start = oip.start
        oip.start_fields = PatternStart(start.grid, start.index ^ 1).to_dict()

    def change_whole(oip):
        oip.start_fields = pattern.start_fields
        change(oip)
        rekeyed(oip)

    assert f"oips row {pattern.id}: its key isn't that of" in forged(change, pattern.id)[0]
    found = forged(change_whole, pattern.id)
    assert [line[: line.index(" is ")] for line in found] == [
        f"oips row {pattern.id}: the loss of its start"
    ]


def test_a_truncated_file_is_an_error_not_a_crash(copy, oip):
    data = copy.read_bytes()
    copy.write_bytes(data[: len(data) // 2])
    done = oip("check", "--db", copy, check=1)
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr


def test_a_process_has_one_sqlite_whatever_it_imports_first():
    """TensorFlow brings another copy, which would take the place of Python's own."""
    programs = (
        "import sqlite3; print(sqlite3.sqlite_version)",
        "import oiplib.engine.tf, sqlite3; print(sqlite3.sqlite_version)",
    )
    told = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
        for program in programs
    ]
    assert told[0] == told[1]


def test_the_check_says_which_sqlite_wrote_and_reads(copy):
    line = sqlite_versions(Store(copy))
    version = sqlite3.sqlite_version
    assert line.startswith(f"written last by SQLite {version}, read by {version}")
    is_known_to_race = (3, 7, 0) <= sqlite3.sqlite_version_info <= (3, 51, 2)
    assert ("keep copies" in line) == is_known_to_race
