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
from oiplib import InputError, OipError, OipFilter, Store
from oiplib.cli import main, options
from oiplib.store.arrays import Array, packed, unpacked
from oiplib.study.check import problems
from oiplib.values import (
    GridSpec,
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
    if "migrations" not in _module.name and not _module.name.endswith(("__main__", "plugins")):
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
def soon(seconds=5):
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

HUGE = "9" * 5000
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
        "٣",
        "²",
        "1e-99",
        "9" * 40,
        "/",
        "é",
        "\0",
    ),
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
@fixed(150)
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


@fixed(150)
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
jsons = st.recursive(
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


@fixed(300)
@given(values=jsons)
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
@fixed(40)
@given(data=st.data())
def test_any_value_of_a_field_is_taken_or_refused(kind, data):
    name = data.draw(st.sampled_from(list(Spec._kinds[kind].__dataclass_fields__)))
    values = {"kind": kind, name: data.draw(jsons)}
    spec = answers(Spec.from_dict, values)
    if spec is not None:
        assert Spec.from_json(spec.to_json()) == spec


@fixed(30)
@given(side=st.integers(1, 10**12), other=st.integers(1, 10**12))
def test_a_grid_is_counted_before_its_patterns_are(side, other):
    with suppress(InputError), soon():
        assert GridSpec((0.2, 0.8), side, other).n_patterns <= 2**62


# --- arrays ---


def npy(shape, descr, body, version=b"\x01\x00"):
    """An array's bytes, whose header says whatever."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + body


sides = st.sampled_from([0, 1, 2, 3, -1, 1 << 20, 1 << 40, 1 << 80, 2.5, True, None, "3"])
descrs = st.sampled_from(
    [
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
        [("x", "<f4")],
        "f4" * 50,
        "(2,3)f4",
        "__import__('os')",
        7,
        None,
    ]
)


@fixed(250)
@given(
    shape=st.lists(sides, max_size=4).map(tuple) | sides,
    descr=descrs,
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


def test_a_small_file_takes_little_memory():
    """Type and shape are compared before anything is unpacked."""
    import tracemalloc

    packer = zlib.compressobj(9)
    bomb = packer.compress(npy((1 << 28,), "<f4", b"")) + packer.compress(bytes(1 << 26))
    bomb += packer.flush()
    tracemalloc.start()
    with pytest.raises(OipError):
        unpacked(bomb, "float32", ("height", "width", "channels"))
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()


# --- rows ---


class Raw(bytes):
    """Bytes that are stored as if they were text."""


class Long(str):
    """A long text that is shown short."""

    def __repr__(self):
        return f"{self[:9]}...({len(self)})"


DEEP = Long("[" * 100_000)
cells = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.binary(max_size=9),
    st.text(max_size=9),
    st.sampled_from(
        [
            "{}",
            "[]",
            "7",
            "null",
            '{"kind": []}',
            '{"a": NaN}',
            DEEP,
            Long('"' + "x" * 99_999 + '"'),
            "0001-01-01 00:00:00.000000",
            "9999-12-31 23:59:59.999999",
            "never",
            "\x1b[2J",
            "a\nb",
            Raw(b"\xff\xfe"),
            Raw(b"a\0b"),
            float("inf"),
            Long(HUGE),
            Long('{"a": ' + HUGE + "}"),
        ]
    ),
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


@fixed(150)
@given(place=st.integers(0, 999), value=cells)
def test_a_damaged_row_is_read_or_named(plain_file, tmp_path, place, value):
    content, columns = plain_file
    table, column = columns[place % len(columns)]
    path = spoiled(tmp_path / "row.db", content, table, column, value)
    answers(read_all, path)


@fixed(60)
@given(place=st.integers(0, 999), value=cells)
def test_reading_commands_meet_damage_with_one_line(plain_file, tmp_path, place, value):
    content, columns = plain_file
    table, column = columns[place % len(columns)]
    path = spoiled(tmp_path / "row.db", content, table, column, value)
    for command in ("query", "query --format csv", "query --format json", "show 2"):
        with soon():
            done = CliRunner().invoke(main, [*command.split(), "--db", str(path)])
        said(done)


#: Columns of a row that `oip check` must name when they hold a value of another kind.
TOLD = [
    ("oips", "loss", "much"),
    ("oips", "created", "never"),
    ("oips", "start", DEEP),
    ("oips", "steps", 2**62),
    ("runs", "environment", DEEP),
    ("runs", "kind", "pillage"),
    ("runs", "started", "never"),
    ("networks", "history", "[1]"),
    ("networks", "dataset", "7"),
    ("scans", "spec", DEEP),
    ("studies", "asked", 7),
    ("oips", "created", "0001-01-01 00:00:00.000000"),
    ("networks", "created", "9999-12-31 23:59:59.999999"),
    ("layers", "position", "first"),
    ("runs", "seconds", "much"),
    ("rungs", "steps", -4),
    ("rungs", "number", "x"),
]


@pytest.mark.parametrize(("table", "column", "value"), TOLD)
def test_check_names_a_value_of_another_kind(plain_file, tmp_path, table, column, value):
    path = tmp_path / "row.db"
    path.write_bytes(plain_file[0].read_bytes())
    with closing(sqlite3.connect(path)) as connection, connection:
        # Without OIPs that are sound nothing is computed, which is quick.
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("DELETE FROM oips WHERE id != 2")
        row = 2 if table == "oips" else 1
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE id = {row}", (value,))
    (first, *_) = [*problems(Store(path)), "nothing"]
    assert first != "nothing"


# --- command lines ---


def said(done):
    """A result's message: no traceback, one line, status 0, 1 or 2."""
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert done.exit_code in (0, 1, 2)
    if done.exit_code:
        message = done.stderr[done.stderr.rindex("Error: ") :]
        assert message.count("\n") == 1, message
    return done.exit_code


words = st.one_of(
    texts,
    st.sampled_from(
        [
            "-",
            "/",
            ".",
            "/proc/self/x",
            "x" * 5000,
            "9" * 30,
            "-1",
            "0",
            "1",
            "nan",
            "inf",
            "1e999",
            "--",
            "full",
            "a\nb",
            "\x1b[2J",
            "?mode=memory",
            "%20",
            "new.db",
        ]
    ),
)
#: Commands that only read, and those that do and whose options are refused before they compute.
READING = ("query", "show", "export")


@pytest.mark.parametrize("command", READING)
@fixed(80)
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


WRONG = {
    "show": [["9" * 30], [str(2**63)], ["-1"], ["x"], ["0"]],
    "replay": [
        ["9" * 30],
        ["--sample", "0"],
        ["--sample", "9" * 30, "1"],
        ["--tolerance", "nan", "1"],
    ],
    "query": [
        ["--map", "9" * 30],
        ["--network", "9" * 30],
        ["--start", "9" * 30],
        ["--limit", "9" * 30],
        ["--least", "nan"],
        ["--maps", "0-99999999"],
        ["--objective", f"Conv2D_3:{HUGE}"],
        ["--prior", "jitter(1e999)"],
        ["--out", "/"],
        ["--out", ""],
        ["--out", "."],
    ],
    "screen": [
        ["--grid", "99999x99999"],
        ["--grid", f"{HUGE}x1"],
        ["--values", "nan,inf"],
        ["--shard", "0/0"],
        ["--shard", "3/2"],
        ["--grid", "0x0"],
    ],
    "derive": [
        ["--trials", "9" * 30],
        ["--steps", str(10**18)],
        ["--epsilon", "1e308"],
        ["--epsilon", "nan"],
        ["--maps", "5-3"],
        ["--network", "9" * 30],
        ["--trials", str(10**12)],
    ],
    "train": [
        ["--epochs", str(10**18)],
        ["--seed", "-1"],
        ["--image-size", "²", "--model", "m.keras"],
        ["--dataset", ""],
        ["--dataset", "x" * 5000 + ".npz"],
    ],
    "export": [["/"], [""], ["."], ["x" * 5000]],
    "check": [["--db", "/"], ["--db", "x" * 5000], ["--db", "postgresql://["]],
    "book": [["--site", "/proc/x"], ["--network", "9" * 30], ["--maps", "9-3"]],
    "serve": [["--port", "-1"], ["--db", "/"]],
}


@pytest.mark.parametrize(
    ("command", "args"),
    [(command, args) for command in WRONG for args in WRONG[command]],
    ids=lambda value: value if isinstance(value, str) else " ".join(v[:20] for v in value),
)
def test_wrong_words_are_refused_before_anything_is_done(
    command, args, plain_file, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "oip.db").write_bytes(plain_file[0].read_bytes())
    with soon(10):
        done = CliRunner().invoke(main, [command, *args])
    expected = (1, 2) if command in ("check", "serve") else (2,)
    assert said(done) in expected, done.stderr
    left = {each.name for each in tmp_path.iterdir()} - {"oip.db-wal", "oip.db-shm"}
    assert left == {"oip.db"}
