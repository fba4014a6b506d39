"""The benchmark that kills commands finds what is wrong, so a green run of it means something."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
import faults
import workbench
from faults import Kill, Tally
from scenarios import SPEC, Scenario

TRAINING = Scenario("training", ("tiny", SPEC.to_json()), "empty", 1)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return workbench.Bench(tmp_path_factory.mktemp("faults"))


def change(bench, sql):
    with closing(sqlite3.connect(bench.work / "oip.db")) as connection, connection:
        assert connection.execute(sql).rowcount > 0


def tried(bench, *kills):
    """The faults of a training that is killed; that its run isn't ended is another matter."""
    tally = Tally()
    faults.tried(bench, TRAINING, kills, tally, is_checked=True)
    assert tally.kills == len(kills)
    return [(fault.kind, fault.what) for fault in tally.faults if fault.kind != "disorder"]


def test_a_killed_training_that_is_whole_has_no_fault(bench):
    n_writes = bench.unbroken(TRAINING).n_writes
    assert n_writes > 100
    assert tried(bench, Kill(10), Kill(n_writes // 2)) == []


def test_what_was_committed_and_is_gone_is_lost(bench, monkeypatch):
    unsound, n_writes = bench.unsound, bench.unbroken(TRAINING).n_writes

    def spoiled(fully):
        change(bench, "DELETE FROM layers WHERE name = 'Conv2D_2'")
        return unsound(fully)

    monkeypatch.setattr(bench, "unsound", spoiled)
    found = tried(bench, Kill(n_writes - 1))
    assert ("lost", "1 rows of layers") in found
    assert ("unequal", "1 layers: missing") in found
    assert any(kind == "unsound" for kind, _ in found)


def test_what_differs_from_the_unbroken_study_and_what_is_left_is_told(bench):
    unbroken = bench.unbroken(TRAINING)
    bench.reset("empty")
    bench.done(TRAINING.command)
    assert list(faults._after_end(bench, unbroken)) == []
    change(bench, "UPDATE networks SET accuracy = accuracy / 2")
    change(bench, "UPDATE runs SET status = 'running'")
    (bench.work / "oips.csv.part").touch()
    assert list(faults._after_end(bench, unbroken)) == [
        ("unequal", "1 networks: accuracy differ"),
        ("leftover", "oips.csv.part"),
        ("disorder", "a run (train) says that it goes on, though nothing does"),
    ]


def test_a_process_that_is_left_is_found_and_ended(bench, monkeypatch):
    monkeypatch.setattr(workbench, "GRACE", 0.2)
    bench.reset("empty")
    command = bench.started(("query",))
    assert command.ended(60) == 1
    assert command.left() == []
    left = subprocess.Popen(["sleep", "60"], env={"OIP_FAULTS": command.mark})
    assert command.left() == ["sleep 60"]
    assert left.wait(10) < 0
