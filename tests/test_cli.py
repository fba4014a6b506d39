import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from oiplib.cli import main

COMMANDS = sorted(main.commands)


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


def test_all_commands_are_there():
    promised = {"train", "screen", "derive", "query", "show", "replay", "check", "merge", "export"}
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
    failed(oip_here("derive", "--db", "new.db", "--maps", "0-999"), 2, "choose 0 to 127")
    assert oip_here("query", "--db", "new.db", "--format", "json", check=0).stdout == "[]\n"
    (tmp_path / "bad.keras").write_text("no model")
    failed(oip_here("train", "--db", "new.db", "--model", "bad.keras"), 2, "loaded safely")


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
