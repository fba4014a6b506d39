"""Processes that write one study at the same time, and processes that are killed while they do."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from oiplib import Study, TrialSpec
from oiplib.study.check import problems

# Searches for one seed after the other; both writers do the same ones in the same order, and note
# each time that they were asked something else. The clock runs from the first search on.
PROGRAM = """
import sys, time
from oiplib import FluctuationSpec, Study
study, seed, until = Study(sys.argv[1]), 0, float("inf")
ascent = study.spec.trials.ascent.replace(n_epochs=9)
trials = study.spec.trials.replace(n_trials=1, ascent=ascent)
while time.time() < until:
    study_of_seed = study.replace(trials=trials.replace(fluctuation=FluctuationSpec(seed=seed)))
    study_of_seed.note_asked()
    new, seed = study.search(study_of_seed.spec.trials), seed + 1
    until = min(until, time.time() + float(sys.argv[2]))
    if new:
        print(seed, flush=True)
print(seed)
"""


@pytest.fixture
def emptied(copy):
    """The tiny network without any scan."""
    with closing(sqlite3.connect(copy)) as connection, connection:
        for table in ("oips", "rungs", "scans"):
            connection.execute(f"DELETE FROM {table}")
    return copy


def started(path, seconds):
    command = [sys.executable, "-c", PROGRAM, str(path), str(seconds)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **pipes)


def rows(path, sql):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_two_processes_write_one_study_at_once(emptied, tmp_path, copied, seconds):
    writers = [started(emptied, seconds) for _ in range(2)]
    done = []
    for writer in writers:
        out, err = writer.communicate()
        assert writer.returncode == 0, err
        done.append(int(out.split()[-1]))
    n = max(done)
    assert min(done) > 5
    specs = rows(emptied, "SELECT spec_sha256, count(DISTINCT map), count(*) FROM scans GROUP BY 1")
    assert [spec[1:] for spec in specs] == [(12, 12)] * n
    assert list(problems(Study(emptied).store)) == []

    alone = copied(emptied, tmp_path / "alone.db")
    study = Study(alone)
    # Of every tenth search all is thrown away and done again, by one process.
    tenths = rows(alone, "SELECT spec_sha256, spec, max(run_id) FROM scans GROUP BY 1")[::10]
    for sha256, _, _ in tenths:
        with closing(sqlite3.connect(alone)) as connection, connection:
            scans = "SELECT id FROM scans WHERE spec_sha256 = ?"
            connection.execute(
                "DELETE FROM oips WHERE start -> 'fluctuation' = "
                "(SELECT spec -> 'fluctuation' FROM scans WHERE spec_sha256 = ?)",
                (sha256,),
            )
            connection.execute(f"DELETE FROM rungs WHERE scan_id IN ({scans})", (sha256,))
            connection.execute("DELETE FROM scans WHERE spec_sha256 = ?", (sha256,))
    for _, spec, _ in tenths:
        assert len(study.search(TrialSpec.from_json(spec))) == 12
    oips = "SELECT key, loss, image, trace FROM oips ORDER BY key"
    assert rows(alone, oips) == rows(emptied, oips)


@pytest.mark.parametrize("n_kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_any_moment_the_file_is_sound_and_loses_nothing(emptied, n_kills):
    moments, kept = random.Random(0), set()
    for _ in range(n_kills):
        writer = started(emptied, 60)
        writer.stdout.readline()  # TensorFlow is loaded, and searches are being stored
        time.sleep(moments.uniform(0, 0.5))
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        assert rows(emptied, "PRAGMA integrity_check") == [("ok",)]
        assert list(problems(Study(emptied).store)) == []
        now = set(rows(emptied, "SELECT id, key, loss, image FROM oips"))
        assert kept <= now
        assert len(now) > len(kept)
        kept = now
    counts = rows(emptied, "SELECT count(*) FROM rungs GROUP BY scan_id")
    assert {n for (n,) in counts} == {1}
