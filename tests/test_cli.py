import csv
import io
import json
import logging
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from oiplib import Store, Study
from oiplib.cli import main

COMMANDS = sorted(main.commands)

JSON_ROWS = "query", "--format", "json", "--db"


@pytest.fixture(scope="module")
def db(tiny_study, tmp_path_factory, copied):
    # Not the one that this process has open: closing any other handle of a file drops a process'
    # locks, and the commands of these tests would take it for theirs alone.
    return str(copied(tiny_study.store.name, tmp_path_factory.mktemp("cli") / "oip.db"))


def failed(done, status, told):
    """One line on stderr that says what and what to do, no traceback."""
    assert done.returncode == status, done.stdout + done.stderr
    assert told in done.stderr
    message = done.stderr[done.stderr.index("Error: ") :]
    assert message.count("\n") == 1, message
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_shows_an_example(command):
    done = CliRunner().invoke(main, [command, "--help"] if command else ["--help"])
    assert done.exit_code == 0
    assert "Example: oip" in " ".join(done.output.split())


def test_the_list_of_commands_is_not_cut_off():
    short = CliRunner().invoke(main, ["-h"], terminal_width=80).output
    assert short == CliRunner().invoke(main, ["--help"], terminal_width=80).output
    listed = short[short.index("Commands:") : short.index("Example:")].splitlines()[1:]
    lines = [line for line in listed if line.strip()]
    assert len(lines) == len(COMMANDS)
    assert all(line.endswith(".") and not line.endswith("...") for line in lines)


def test_info_tells_what_a_database_holds(oip_here, db, tiny_study, tmp_path):
    told = json.loads(oip_here("info", "--db", db, "--format", "json", check=0).stdout)
    assert told["bytes"] == Path(db).stat().st_size
    assert told["networks"][0]["test accuracy"] == tiny_study.network.accuracy
    (layer,) = (row for row in told["layers"] if row["layer"] == "Conv2D_3")
    maps = {oip.map for oip in tiny_study.oips(prior=None)}
    assert (layer["maps"], layer["with an OIP"]) == (12, len(maps))
    assert told["stored"]["OIPs"] == len(json.loads(oip_here(*JSON_ROWS, db).stdout))
    shown = oip_here("info", "--db", db, check=0).stdout
    assert f"{told['networks'][0]['test accuracy']:.2%}" in shown
    assert f"tensorflow {told['versions']['tensorflow']}" in shown
    empty = tmp_path / "empty.db"
    Store(empty, create=True).close()
    assert "no networks" in oip_here("info", "--db", empty, check=0).stdout


def test_what_is_printed_as_a_table_is_there_as_json(oip_here, db, tiny_study):
    rows = json.loads(oip_here(*JSON_ROWS, db).stdout)
    told = json.loads(oip_here("show", 1, "--db", db, "--format", "json", check=0).stdout)
    (row,) = (row for row in rows if row["id"] == 1)
    assert row.items() <= told.items()
    told = json.loads(oip_here("replay", 1, 2, "--db", db, "--format", "json", check=0).stdout)
    assert [(each["id"], each["holds"]) for each in told["replayed"]] == [(1, True), (2, True)]
    assert told["versions that differ"] == {}


def test_derive_lists_what_it_derived(oip_here, db, tiny_study):
    """Not an OIP of another origin that is better, and a revival is of a pattern."""
    origins = {"fluctuation": {"fluctuation"}, "pattern": {"pattern", "revival"}}
    for origin, allowed in origins.items():
        asked = ("derive", "--origin", origin, "--db", db)
        listed = json.loads(oip_here(*asked, "--format", "json", check=0).stdout)
        all_rows = [row for row in tiny_study.rows() if row["origin"] in allowed]
        best = {
            row["map"]: max(r["loss"] for r in all_rows if r["map"] == row["map"])
            for row in all_rows
        }
        assert {row["map"]: row["loss"] for row in listed} == best
        told = oip_here(*asked, check=0).stdout
        assert f"{len(best)} of 12 maps have an OIP by {origin}; above" in told


def test_quiet_leaves_out_notes_and_comes_to_an_end(oip_here, db, caplog):
    from oiplib import progress

    log = logging.getLogger("oiplib")
    level = log.level
    asked = ("query", "--db", db, "--best", "--limit", 1)
    assert oip_here(*asked, "-q", check=0).stdout == oip_here(*asked, check=0).stdout
    assert log.level == level
    with progress.silenced():
        assert progress.bar(3, "Work", "units").disable


FILTERS = {
    ("--stop-reason", "n_epochs"): lambda row: row["stop_reason"] == "n_epochs",
    ("--start", "1"): lambda row: 1 in (row["start"].get("trial"), row["start"].get("index")),
    ("--origin", "pattern"): lambda row: row["origin"] == "pattern",
}


@pytest.mark.parametrize("asked", FILTERS)
def test_query_shows_what_a_filter_lets_through(oip_here, db, tiny_study, asked):
    rows = json.loads(oip_here(*JSON_ROWS, db, *asked, check=0).stdout)
    expected = {row["id"] for row in tiny_study.rows() if FILTERS[asked](row)}
    assert {row["id"] for row in rows} == expected
    assert expected


def test_query_bounds_the_loss(oip_here, db, tiny_study):
    losses = sorted(row["loss"] for row in tiny_study.rows())
    low, high = losses[3], losses[-3]
    asked = ("--least", repr(low), "--largest", repr(high))
    rows = json.loads(oip_here(*JSON_ROWS, db, *asked, check=0).stdout)
    assert sorted(row["loss"] for row in rows) == [x for x in losses if low <= x <= high]


def test_query_by_spec_and_by_its_beginning(oip_here, db, tiny_study):
    climb = tiny_study.spec.scan.climb.sha256
    expected = {row["id"] for row in tiny_study.rows() if row["spec_sha256"] == climb}
    for beginning in (climb, climb[:9]):
        rows = json.loads(oip_here(*JSON_ROWS, db, "--spec", beginning, check=0).stdout)
        assert {row["id"] for row in rows} == expected != set()


@pytest.mark.parametrize(
    ("by", "key"),
    [
        ("loss", lambda row: -row["loss"]),
        ("steps", lambda row: row["steps"]),
        ("id", lambda row: row["id"]),
        ("created", lambda row: -datetime.fromisoformat(row["created"]).timestamp()),
    ],
)
def test_query_sorts(oip_here, db, by, key):
    rows = json.loads(oip_here(*JSON_ROWS, db, "--sort", by, check=0).stdout)
    assert len(rows) > 5
    assert [key(row) for row in rows] == sorted(key(row) for row in rows)


def test_train_saves_a_network_of_a_seed(oip_here, digits, tmp_path):
    few = tmp_path / "few.npz"
    with np.load(digits) as arrays:
        np.savez(few, **{name: arrays[name][:200] for name in arrays})
    asked = ("train", "--dataset", few, "--epochs", 1, "--seed", 5, "--save", "cnn.keras")
    oip_here(*asked, "--db", "seed.db", "--quiet", check=0)
    (network,) = Store(tmp_path / "seed.db").networks()
    assert (network.spec["weights_seed"], network.spec["order_seed"]) == (5, 5)
    assert (tmp_path / "cnn.keras").stat().st_size > 100_000
    oip_here("train", "--model", "cnn.keras", "--inputs", "standardized", "--db", "its.db", check=0)
    (taken,) = Store(tmp_path / "its.db").networks()
    assert taken.weights_sha256 == network.weights_sha256


def test_derive_by_the_articles_strategy(oip_here, copy, tiny_study):
    asked = ("derive", "--origin", "pattern", "--maps", "3", "--strategy", "article")
    oip_here(*asked, "--db", copy, check=0)
    (scan,) = Study(copy).scans("pattern", 3)
    assert scan.spec["strategy"] == "article"
    assert scan.rungs[0].steps == 9  # each pattern climbs ten epochs first, the start among them


def test_every_option_is_used_by_a_test():
    """By its long name, in a command or in the README, which is run."""
    texts = [path.read_text() for path in Path(__file__).parent.glob("test_*.py")]
    texts.append((Path(__file__).parent.parent / "README.md").read_text())
    used = {name for text in texts for name in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)}
    options = {
        name
        for command in main.commands.values()
        for option in command.params
        for name in option.opts
        if name.startswith("--")
    }
    assert sorted(options - used) == []


def test_all_commands_are_there():
    promised = {
        "info",
        "train",
        "screen",
        "derive",
        "query",
        "show",
        "replay",
        "check",
        "merge",
        "export",
    }
    assert promised | {"serve", "run", "book", "reproduce"} <= set(COMMANDS)


def test_json_has_the_promised_fields(oip, db):
    rows = json.loads(oip("query", "--db", db, "--format", "json", check=0).stdout)
    promised = {*["id", "network", "layer", "map", "loss", "steps", "stop_reason"]}
    promised |= {"origin", "start", "spec", "created"}
    assert rows
    for row in rows:
        assert promised <= set(row)
        assert row["origin"] in ("fluctuation", "pattern", "revival")
        assert row["loss"] > 0
        assert isinstance(row["start"], dict)


def test_formats_show_the_same_rows(oip_here, db):
    asked = ("query", "--db", db, "--map", 3, "--layer", "Conv2D_3", "--network", 1)
    rows = json.loads(oip_here(*asked, "--format", "json", check=0).stdout)
    table = list(csv.DictReader(io.StringIO(oip_here(*asked, "--format", "csv", check=0).stdout)))
    assert [int(row["id"]) for row in table] == [row["id"] for row in rows]
    assert [json.loads(row["start"]) for row in table] == [row["start"] for row in rows]
    shown = oip_here(*asked, check=0).stdout.splitlines()
    assert [int(line.split()[0]) for line in shown[2:]] == [row["id"] for row in rows]
    best = json.loads(oip_here(*asked, "--best", "--format", "json", check=0).stdout)
    assert best == rows[:1]


def test_rows_are_written_to_files(oip_here, db, tmp_path):
    import pyarrow.parquet

    asked = ("query", "--db", db, "--maps", "3-6")
    rows = json.loads(oip_here(*asked, "--format", "json", check=0).stdout)
    for form in ("json", "csv", "table"):
        told = oip_here(*asked, "--format", form, "--out", f"oips.{form}", check=0).stdout
        assert told == f"{len(rows)} OIPs in oips.{form}\n"
        shown = oip_here(*asked, "--format", form, check=0).stdout
        assert (tmp_path / f"oips.{form}").read_text() == shown
    oip_here(*asked, "--format", "parquet", "--out", "oips.parquet", check=0)
    table = pyarrow.parquet.read_table(tmp_path / "oips.parquet").to_pylist()
    for name in ("start", "spec"):
        assert [json.loads(row.pop(name)) for row in table] == [row.pop(name) for row in rows]
    assert table == rows
    failed(oip_here(*asked, "--format", "parquet"), 2, "name a file with --out")
    failed(oip_here(*asked, "--format", "csv", "--out", "no/folder.csv"), 2, "can't be written")


def test_the_database_is_named_by_option_environment_or_folder(oip, db, tmp_path):
    asked = ("query", "--best", "--format", "json")
    by_option = oip(*asked, "--db", db, check=0).stdout
    assert oip(*asked, OIP_DB=db, check=0).stdout == by_option
    failed(oip(*asked), 1, "there is no database oip.db")
    shutil.copy(db, tmp_path / "oip.db")
    assert oip(*asked, check=0).stdout == by_option


@pytest.mark.parametrize("command", ["query --best", "show 1", "query --format csv"])
def test_reading_commands_do_not_load_tensorflow(command, db):
    program = (
        "import sys; from oiplib.cli import main\n"
        f"try: main({command.split()!r} + ['--db', {db!r}])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'tensorflow', 'keras', 'matplotlib', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_importing_the_package_does_not_load_tensorflow():
    program = "import sys, oiplib; oiplib.Study; oiplib.AscentSpec; oiplib.Store; dir(oiplib)\n"
    program += "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_show_tells_and_draws(oip, db, tmp_path, tiny_study):
    done = oip("show", 1, "--db", db, "--png", "a.png", "--npy", "a.npy", check=0)
    assert "map 0 of Conv2D_3, network 1" in done.stdout
    assert "made on  CPU" in done.stdout
    assert "replay   oip replay 1" in done.stdout
    assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    image = np.load(tmp_path / "a.npy")
    assert image.tobytes() == tiny_study.store.oip(1).image.tobytes()
    assert not list(tmp_path.glob("*.part"))


def test_a_model_of_the_users_is_screened_and_searched(oip, tmp_path, tiny_study):
    from oiplib.engine import network

    network.save(tiny_study.model, tmp_path / "my.keras")
    taken = ("train", "--model", "my.keras", "--inputs", "standardized", "--db", "my.db")
    done = oip(*taken, check=0)
    assert done.stdout.startswith("network 1 (my)")
    told = oip("screen", "--db", "my.db", "--values", "0,1", "--grid", "2x2", check=0).stdout
    assert "Conv2D_3 of network 1: 14 distinct patterns" in told
    search = ("derive", "--db", "my.db", "--maps", "2-4", "--origin", "fluctuation")
    told = oip(*search, "--steps", 20, "--trials", 2, check=0)
    assert "of 3 maps have an OIP" in told.stdout
    assert told.stderr == ""


def test_wrong_usage_is_one_line_and_status_2(oip_here, db, tmp_path):
    failed(oip_here("query", "--db", db, "--map", 12, "--layer", "Conv2D_3"), 2, "choose 0 to 11")
    failed(oip_here("query", "--db", db, "--map", 12), 2, "no map 12 in Conv2D_3: choose 0 to 11")
    failed(oip_here("query", "--db", db, "--layer", "Conv2D_9"), 2, "choose one of Conv2D_1")
    failed(oip_here("query", "--db", db, "--network", 5), 2, "choose one of 1")
    failed(oip_here("query", "--db", db, "--format", "xml"), 2, "'table', 'json', 'csv', 'parquet'")
    failed(oip_here("show", 100000, "--db", db), 2, "choose 1 to")
    failed(oip_here("show", 1, "--db", db, "--png", "no/folder.png"), 2, "can't be written")
    failed(oip_here("run", "09-birds", "--db", db), 2, "choose one of 01-network")
    failed(oip_here("derive", "--db", db, "--maps", "0-12"), 2, "choose 0 to 11")
    failed(oip_here("derive", "--db", db, "--maps", "some"), 2, "write them like")
    failed(oip_here("derive", "--db", db, "--layer", "Conv2D_4"), 2, "choose one of Conv2D_1")
    failed(oip_here("derive", "--db", db, "--network", 9), 2, "choose one of 1")
    failed(oip_here("screen", "--db", db, "--grid", "3"), 2, "write it like 3x3")
    failed(oip_here("screen", "--db", db, "--values", "0.5,0.2"), 2, "increasing")
    failed(oip_here("train", "--db", "new.db", "--dataset", "birds"), 2, "choose one of mnist")
    failed(oip_here("train", "--db", "new.db", "--epochs", 0), 2, "at least 1")
    failed(oip_here("reproduce", "--maps", "x"), 2, "write them like")
    failed(oip_here("book", "--db", db, "--maps", ""), 2, "'' names no maps")
    failed(oip_here("derive", "--db", "new.db", "--maps", "0-999"), 2, "choose 0 to 127")
    assert oip_here("query", "--db", "new.db", "--format", "json", check=0).stdout == "[]\n"
    (tmp_path / "bad.keras").write_text("no model")
    failed(oip_here("train", "--db", "new.db", "--model", "bad.keras"), 2, "loaded safely")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("replay -- 9223372036854775808", "is not in the range"),
        ("replay -- -1", "is not in the range"),
        (f"query --map {10**25}", "is not in the range"),
        (f"query --limit {10**25}", "is not in the range"),
        ("query --least nan", "no finite number"),
        ("query --start 9223372036854775807 --largest inf", "no finite number"),
        ("replay 1 --tolerance nan", "no finite number"),
        ("screen --grid 99999x99999", "must be at most"),
        ("screen --values nan,inf", "must be finite"),
        ("derive --epsilon 1e308", "epsilon must be"),
        (f"derive --steps {10**18}", "n_epochs must be at most"),
        (f"derive --trials {10**12}", "n_trials must be at most"),
        (f"train --seed {10**30}", "seed must be at most"),
        (f"derive --objective Conv2D_3:{'9' * 5000}", "is no objective"),
        (f"derive --objective {'9' * 20000}..2", "is no objective"),
        ("query --objective zz:3", "unknown layer 'zz': choose one of Conv2D_1"),
        (f"train --model x.keras --image-size {'9' * 5000}", "is no image size"),
        (f"derive --maps {'1,' * 100000}", "at most 100,000 characters"),
        (f"show 1 --npy {'x' * 5000}", "File name too long"),
        (f"train --data {'x' * 5000}", "is no folder"),
        ("serve --host 999.1.1.1", "can't be served at"),
    ],
    ids=lambda text: text[:40],
)
def test_absurd_values_are_wrong_usage(oip_here, db, line, told):
    failed(oip_here(*line.split(" "), "--db", db), 2, told)


@pytest.mark.parametrize(
    ("target", "told"),
    [("x" * 5000, "there is no database"), ("a\nb", "there is no database a b"), (".", "a file")],
)
def test_absurd_databases_are_told_in_one_line(oip_here, target, told):
    done = oip_here("query", "--db", target)
    failed(done, done.returncode, told)
    failed(oip_here("query", "--db", "postgresql://h:port/x"), 2, "neither a file nor")


def test_signs_that_a_terminal_obeys_are_not_printed(oip_here, copy):
    with closing(sqlite3.connect(copy)) as connection, connection:
        environment = {"device": "\x1b[2J\x9b31m", "python": "\u202e3.11", "threads": "2\n3"}
        connection.execute("UPDATE runs SET environment = ?", (json.dumps(environment),))
    shown = oip_here("show", 1, "--db", copy, check=0).stdout
    assert not set("\x1b\x9b\u202e") & set(shown)
    assert "2 3 threads" in shown


def test_a_fault_of_ours_is_one_line_that_names_a_log(oip_here, db, monkeypatch, tmp_path):
    monkeypatch.setattr(Store, "oip_rows", lambda *_: 1 / 0)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    done = oip_here("query", "--db", db)
    failed(done, 1, "a fault of oiplib's (ZeroDivisionError: division by zero)")
    (log,) = tmp_path.glob("oip-*.log")
    assert str(log) in done.stderr
    assert "Traceback" in log.read_text()


def test_a_command_leaves_signals_as_they_were(oip_here, db):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    oip_here("query", "--db", db, check=0)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


def test_failures_are_one_line_and_status_1(oip_here, db, tmp_path):
    (tmp_path / "noise.db").write_bytes(os.urandom(5000))
    failed(oip_here("query", "--db", "noise.db"), 1, "not a database")
    failed(oip_here("book", "--db", "none.db"), 1, "there is no database")
    damaged = tmp_path / "mnist"
    damaged.mkdir()
    (damaged / "train-images-idx3-ubyte").write_bytes(b"\0" * 100)
    failed(oip_here("train", "--db", "new.db", "--data", "mnist"), 1, "missing in mnist")
    failed(oip_here("train", "--db", "no/folder/oip.db"), 1, "unable to open")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anything")
def test_a_database_that_cannot_be_written_can_be_read(oip, db, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(db, folder / "oip.db")
    (folder / "oip.db").chmod(0o400)
    folder.chmod(0o500)
    oip("query", "--db", folder / "oip.db", check=0)
    failed(oip("derive", "--trials", 9, "--db", folder / "oip.db"), 1, "can't be written")


def test_failures_leave_nothing_half_written(oip_here, tmp_path, db):
    before = Path(db).read_bytes()
    oip_here("derive", "--db", db, "--maps", "0-12", check=2)
    oip_here("show", 1, "--db", db, "--npy", "no/folder.npy", check=2)
    assert Path(db).read_bytes() == before
    assert not list(tmp_path.iterdir())


_PRESSED_WHILE_LOADING = """
import os, signal, sys

class Pressed:
    def find_spec(self, name, path=None, target=None):
        if name == "oiplib.cli.make":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
sys.meta_path.insert(0, Pressed())
from oiplib.__main__ import main
main()
"""


def test_ctrl_c_while_the_commands_are_loaded_shows_no_traceback():
    done = subprocess.run(
        [sys.executable, "-c", _PRESSED_WHILE_LOADING], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: stopped before anything was begun\n"
