"""Whatever a file or a command line says: an answer, or an error of ours. A longer run of the
same kind, with whole files and forked processes, is `benchmarks/fuzz.py`.

The examples are the same in every run: a fixed number, drawn by a fixed seed.
"""

import importlib
import pkgutil
import signal
import sqlite3
import struct
import zlib
from contextlib import closing, contextmanager, suppress

import click
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

import oiplib
from oiplib import OipError, OipFilter, Store
from oiplib.cli import main, options
from oiplib.store.arrays import Array, packed, unpacked
from oiplib.values import (
    Inputs,
    Spec,
    climb_of,
    objective_of,
    parse_ranges,
    prior_of,
    start_of,
)

# Hypothesis draws constants of the modules that are loaded, so nothing may be loaded on the way.
for _module in pkgutil.walk_packages(oiplib.__path__, "oiplib."):
    if not _module.name.endswith(("__main__", "plugins")):
        importlib.import_module(_module.name)


def fixed(n):
    """So many examples, always the same ones."""
    return settings(
        max_examples=n,
        derandomize=True,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@contextmanager
def soon(seconds=20):
    """What takes longer is an error: a test that hangs says nothing."""

    def late(*_):
        raise AssertionError(f"not ended after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def answers(function, *args):
    """What a function gives; None where it refuses with one line of ours."""
    try:
        with soon():
            return function(*args)
    except OipError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 20_000
    return None


# --- texts ---

HUGE, LONG = "9" * 5000, "x" * 5000
#: Pieces from which the grammars of objectives, priors, inputs, maps and sizes are made.
PIECES = (
    *("Conv2D_3", "Classes", ":", "@", ",", "[", "]", "*", "+", "-", '"', " ", "..", "(", ")", "x"),
    *(
        "mean",
        "deviation",
        "standardized",
        "smooth",
        "jitter",
        "none",
        "l2",
        "colours",
        "variation",
    ),
    *(
        "0",
        "1",
        "0.5",
        "255",
        "1e308",
        "1e999",
        "nan",
        "inf",
        "\u0663",
        "²",
        "1e-99",
        "9" * 40,
        "/",
    ),
    *("é", "\0"),
)
texts = st.one_of(st.text(max_size=20), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))

READERS = {
    "objective": objective_of,
    "prior": prior_of,
    "inputs": Inputs.parse,
    "maps": parse_ranges,
    "numbers": options.numbers,
    "size": options.size,
    "grid": lambda text: options.pair(text.lower(), "x", "no grid"),
    "spec": Spec.from_json,
}


@pytest.mark.parametrize("reader", READERS)
@fixed(60)
@given(text=texts)
@example(HUGE)
@example(f"{HUGE}x1")
@example(f"Conv2D_3:{HUGE}")
@example(f"Conv2D_3:0@{HUGE},0")
@example("1e999*Classes:4")
@example("Classes:1 - " * 1000)
@example("smooth(1e999)")
@example("jitter(1e999)")
@example("²")
@example("[" * 100_000)
def test_a_text_is_read_or_refused(reader, text):
    answers(READERS[reader], text)


@fixed(100)
@given(text=texts)
def test_what_was_read_has_a_text_that_is_read_as_the_same(text):
    for read in (objective_of, prior_of, Inputs.parse):
        value = answers(read, text)
        if value is not None:
            assert read(str(value)) == value


# --- specs and starts as JSON ---

plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([2**62, -(10**400), 10**400, 1e308, "nan", "1" * 5000]),
)
kinds = st.one_of(plain, st.sampled_from(sorted(Spec._kinds)), st.just([]), st.just({}))
fields = st.sampled_from(
    sorted({name for kind in Spec._kinds.values() for name in kind.__dataclass_fields__})
)
json_values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(fields | st.text(max_size=3), inner, max_size=4)
        | st.tuples(kinds, st.dictionaries(fields, inner, max_size=4)).map(
            lambda pair: {**pair[1], "kind": pair[0]}
        )
    ),
    max_leaves=12,
)


def nested(n):
    value = 0
    for _ in range(n):
        value = {"kind": "PatternStart", "index": 0, "grid": value}
    return value


@fixed(150)
@given(values=json_values)
@example({"kind": []})
@example({"kind": {}})
@example({"kind": "GridSpec", 1: 2})
@example({"kind": "GridSpec", "rows": 99_999, "columns": 99_999})
@example({"kind": "GridSpec", "rows": 10**400})
@example({"kind": "FluctuationSpec", "factors": [10**400] * 4})
@example({"kind": "FluctuationSpec", "grids": [[1e308, 1]] * 4})
@example({"kind": "AscentSpec", "epsilon": 10**400})
@example({"kind": "AscentSpec", "objective": []})
@example({"kind": "AscentSpec", "prior": 7})
def test_json_is_a_spec_of_ours_or_is_refused(values):
    for read in (Spec.from_dict, start_of, climb_of):
        spec = answers(read, values)
        if spec is not None:
            assert type(spec).from_dict(spec.to_dict()) == spec
            assert len(spec.sha256) == 64


def test_a_deep_spec_is_refused():
    for read in (Spec.from_dict, start_of, climb_of):
        assert answers(read, nested(5000)) is None


@pytest.mark.parametrize("kind", sorted(Spec._kinds))
@fixed(15)
@given(data=st.data())
def test_any_value_of_a_field_is_taken_or_refused(kind, data):
    name = data.draw(st.sampled_from(list(Spec._kinds[kind].__dataclass_fields__)))
    values = {"kind": kind, name: data.draw(json_values)}
    spec = answers(Spec.from_dict, values)
    if spec is not None:
        assert Spec.from_json(spec.to_json()) == spec


# --- arrays ---


def npy(shape, descr, body, version=b"\x01\x00"):
    """An array's bytes, whose header says whatever."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + body


sides = st.sampled_from([0, 1, 2, 3, -1, 1 << 20, 1 << 40, 1 << 80, 2.5, True, None, "3"])
DESCRS = (
    *(
        "<f4",
        ">f4",
        "<i8",
        "|u1",
        "|O",
        "<U9",
        "|S5",
        "|V8",
        "<M8[s]",
        "<c16",
        "f4" * 50,
        "(2,3)f4",
    ),
    *("__import__('os')", [("x", "<f4")], 7, None),
)


@fixed(150)
@given(
    shape=st.lists(sides, max_size=4).map(tuple) | sides,
    descr=st.sampled_from(DESCRS),
    body=st.binary(max_size=40),
    is_packed=st.booleans(),
)
@example((1 << 40,), "<f4", b"", True)
@example((1 << 80,), "<f4", b"", True)
@example((-1,), "<f4", b"", False)
def test_an_arrays_bytes_are_an_array_or_are_refused(shape, descr, body, is_packed):
    value = npy(shape, descr, body)
    value = zlib.compress(value) if is_packed else value
    answers(unpacked, value)
    for dtype, axes in (("float32", ("height", "width", "channels")), ("int64", ("steps",))):
        array = answers(lambda: unpacked(value, dtype, axes))  # noqa: B023 - called at once
        assert array is None or (array.dtype == dtype and array.ndim == len(axes))


@fixed(150)
@given(place=st.integers(0, 10_000), flip=st.integers(1, 255), cut=st.integers(0, 30))
def test_a_damaged_array_is_refused_or_has_its_shape(place, flip, cut):
    whole = packed(np.arange(60, dtype=np.float32).reshape(3, 4, 5))
    damaged = bytearray(whole[: len(whole) - cut])
    damaged[place % len(damaged)] ^= flip
    array = answers(unpacked, bytes(damaged), "float32", ("height", "width", "channels"))
    assert cut == 0 or array is None  # a stream that is cut short doesn't pass
    assert array is None or array.size <= 60


@fixed(100)
@given(value=st.binary(max_size=80) | st.text(max_size=5) | st.integers() | st.floats())
def test_what_is_no_array_is_refused(value):
    answers(Array("float32", "height", "width").process_result_value, value, None)


# --- rows ---


class Raw(bytes):
    """Bytes that are stored as if they were text."""


class Long(str):
    """A long text that is shown short."""

    def __repr__(self):
        return f"{self[:9]}...({len(self)})"


CELLS = (
    *("{}", "[]", "7", "null", '{"kind": []}', '{"a": NaN}', Long("[" * 100_000), Long(HUGE)),
    *(Long('"' + "x" * 99_999 + '"'), Long('{"a": ' + HUGE + "}"), "never", "\x1b[2J", "a\nb"),
    *("0001-01-01 00:00:00.000000", "9999-12-31 23:59:59.999999", float("inf")),
    *(Raw(b"\xff\xfe"), Raw(b"a\0b")),
)
cells = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.binary(max_size=9),
    st.text(max_size=9),
    st.sampled_from(CELLS),
)


@pytest.fixture(scope="module")
def plain_file(tiny_study, tmp_path_factory, copied):
    """The study's database as one file, and its columns."""
    path = copied(tiny_study.store.name, tmp_path_factory.mktemp("hostile") / "sound.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        tables = ("oips", "runs", "layers", "networks", "scans", "studies")
        columns = [
            (table, column[1])
            for table in tables
            for column in connection.execute(f"PRAGMA table_info({table})")
            if column[1] not in ("id", "weights", "architecture")
        ]
    return path, columns


def spoiled(path, content, table, column, value):
    path.write_bytes(content.read_bytes())
    with closing(sqlite3.connect(path)) as connection, suppress(sqlite3.IntegrityError), connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        place = "CAST(? AS TEXT)" if isinstance(value, Raw) else "?"
        connection.execute(f"UPDATE {table} SET {column} = {place}", (value,))
    return path


def read_all(path):
    store = Store(path)
    try:
        for read in (store.networks, lambda: store.oip_rows(OipFilter()), lambda: store.oip(1)):
            answers(read)
        oip = answers(store.oip, 2)
        if oip is not None:
            answers(lambda: oip.caption)
            answers(store.run, oip.run_id)
            answers(oip.row)
    finally:
        store.close()


@pytest.fixture
def row_spoiled(plain_file, tmp_path):
    """A function that puts a value into a column of some table, and gives the database's path."""

    def spoil(place, value):
        content, columns = plain_file
        return spoiled(tmp_path / "row.db", content, *columns[place % len(columns)], value)

    return spoil


@fixed(50)
@given(place=st.integers(0, 999), value=cells)
def test_a_damaged_row_is_read_or_named(row_spoiled, place, value):
    answers(read_all, row_spoiled(place, value))


@fixed(25)
@given(place=st.integers(0, 999), value=cells)
def test_reading_commands_meet_damage_with_one_line(row_spoiled, place, value):
    path = row_spoiled(place, value)
    for command in ("query", "query --format csv", "query --format json", "show 2"):
        with soon():
            done = CliRunner().invoke(main, [*command.split(), "--db", str(path)])
        said(done)


# --- command lines ---


def said(done):
    """A result's message: no traceback, one line, status 0, 1 or 2."""
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert done.exit_code in (0, 1, 2)
    if done.exit_code:
        message = done.stderr[done.stderr.rindex("Error: ") :]
        assert message.count("\n") == 1, message
    return done.exit_code


WORDS = (
    *("-", "/", ".", "/proc/self/x", "x" * 5000, "9" * 30, "-1", "0", "1", "nan", "inf", "1e999"),
    *("--", "full", "a\nb", "\x1b[2J", "?mode=memory", "%20", "new.db"),
)
words = st.one_of(texts, st.sampled_from(WORDS))
#: Commands that only read.
READING = ("query", "show", "export")


@pytest.mark.parametrize("command", READING)
@fixed(30)
@given(data=st.data())
def test_any_words_are_an_answer_or_wrong_usage(command, plain_file, tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "oip.db"
    if not path.exists():
        path.write_bytes(plain_file[0].read_bytes())
    params = [p for p in main.commands[command].params if p.name not in ("db", "out", "npy", "png")]
    args = [command]
    for param in data.draw(st.lists(st.sampled_from(params), max_size=3, unique=True)):
        value = data.draw(words)
        if isinstance(param, click.Argument):
            args += ["--", value] if "--" not in args else []
        else:
            args += [param.opts[0]] if param.is_flag else [f"{param.opts[0]}={value}"]
    at = args.index("--") if "--" in args else len(args)
    args = [*args[:at], "--db", "oip.db", *args[at:]]
    if command == "show" and "--" not in args:
        args += ["--", "1"]
    if command == "export":
        args += [] if "--" in args else ["--", "full"]
        (tmp_path / "full" / "mine").mkdir(parents=True, exist_ok=True)
    said(CliRunner().invoke(main, [arg.replace("\0", "") for arg in args]))
    assert path.read_bytes() == plain_file[0].read_bytes()


#: What tests/test_cli.py doesn't try.
WRONG = (
    *("show x", "show 0", "replay --sample 0", f"replay --sample {10**30} 1"),
    *("query --maps 0-99999999", "query --prior jitter(1e999)", "query --out /", "query --out ."),
    *("query --out=", "screen --workers 0", "screen --cluster x --workers 1", "screen --grid 0x0"),
    *(f"screen --grid {HUGE}x1", "derive --epsilon nan", "derive --maps 5-3"),
    *("train --image-size ² --model m.keras", "train --dataset=", f"train --dataset {LONG}.npz"),
    *("export /", "export .", f"export {LONG}", "book --site /proc/x", f"book --network {10**30}"),
    *("book --maps 9-3", "serve --port -1"),
)


@pytest.mark.parametrize("line", WRONG, ids=lambda line: line[:40])
def test_wrong_words_are_refused_before_anything_is_done(line, plain_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "oip.db").write_bytes(plain_file[0].read_bytes())
    with soon():
        done = CliRunner().invoke(main, line.split())
    assert said(done) == 2, done.stderr
    left = {each.name for each in tmp_path.iterdir()} - {"oip.db-wal", "oip.db-shm"}
    assert left == {"oip.db"}
