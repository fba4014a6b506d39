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

from oiplib import Study
from oiplib.check import problems

# Searches for one seed after the other; both writers do the same ones in the same order.
PROGRAM = """
import sys, time
from oiplib import FluctuationSpec, Study
study, until, seed = Study(sys.argv[1]), float(sys.argv[2]), 0
trials = study.spec.trials
while time.time() < until:
    study.spec = study.spec.replace(trials=trials.replace(
        n_trials=1, fluctuation=FluctuationSpec(seed=seed), ascent=trials.ascent.replace(n_epochs=9)
    ))
    new, seed = study.derive_from_fluctuations(), seed + 1
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
    command = [sys.executable, "-c", PROGRAM, str(path), str(time.time() + seconds)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **pipes)


def asked(path, sql):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_two_processes_write_one_study_for_a_minute(emptied, tmp_path, copied):
    writers = [started(emptied, 60) for _ in range(2)]
    done = []
    for writer in writers:
        out, err = writer.communicate()
        assert writer.returncode == 0, err
        done.append(int(out.split()[-1]))
    n = max(done)
    assert min(done) > 5
    specs = asked(
        emptied, "SELECT spec_sha256, count(DISTINCT map), count(*) FROM scans GROUP BY 1"
    )
    assert [spec[1:] for spec in specs] == [(12, 12)] * n
    assert list(problems(Study(emptied).store)) == []

    alone = copied(emptied, tmp_path / "alone.db")
    study = Study(alone)
    # Of every tenth search all is thrown away and done again, by one process.
    chosen = asked(alone, "SELECT spec_sha256, spec, max(run_id) FROM scans GROUP BY 1")[::10]
    for sha256, _, _ in chosen:
        with closing(sqlite3.connect(alone)) as connection, connection:
            scans = "SELECT id FROM scans WHERE spec_sha256 = ?"
            connection.execute(
                "DELETE FROM oips WHERE start -> 'fluctuation' = "
                "(SELECT spec -> 'fluctuation' FROM scans WHERE spec_sha256 = ?)",
                (sha256,),
            )
            connection.execute(f"DELETE FROM rungs WHERE scan_id IN ({scans})", (sha256,))
            connection.execute("DELETE FROM scans WHERE spec_sha256 = ?", (sha256,))
    for _, spec, _ in chosen:
        study.spec = study.spec.replace(trials=type(study.spec.trials).from_json(spec))
        assert len(study.derive_from_fluctuations()) == 12
    oips = "SELECT key, loss, image, trace FROM oips ORDER BY key"
    assert asked(alone, oips) == asked(emptied, oips)


def test_killed_at_twenty_moments_the_file_is_sound_and_loses_nothing(emptied):
    moments, kept = random.Random(0), set()
    for _ in range(20):
        writer = started(emptied, 60)
        writer.stdout.readline()  # TensorFlow is loaded, and searches are being stored
        time.sleep(moments.uniform(0, 0.5))
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        assert asked(emptied, "PRAGMA integrity_check") == [("ok",)]
        assert list(problems(Study(emptied).store)) == []
        now = set(asked(emptied, "SELECT id, key, loss, image FROM oips"))
        assert kept <= now
        assert len(now) > len(kept)
        kept = now
    counts = asked(emptied, "SELECT count(*) FROM rungs GROUP BY scan_id")
    assert {n for (n,) in counts} == {1}
