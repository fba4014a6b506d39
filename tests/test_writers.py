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
# each time that they were asked something else.
PROGRAM = """
import sys
from oiplib import FluctuationSpec, Study
study = Study(sys.argv[1])
ascent = study.spec.trials.ascent.replace(n_epochs=9)
trials = study.spec.trials.replace(n_trials=1, ascent=ascent)
for seed in range(int(sys.argv[2])):
    study_of_seed = study.replace(trials=trials.replace(fluctuation=FluctuationSpec(seed=seed)))
    study_of_seed.note_asked()
    if study.search(study_of_seed.spec.trials):
        print(seed, flush=True)
"""


@pytest.fixture
def emptied(copy):
    """The tiny network without any scan."""
    with closing(sqlite3.connect(copy)) as connection, connection:
        for table in ("oips", "rungs", "scans"):
            connection.execute(f"DELETE FROM {table}")
    return copy


def started(path, n_searches):
    command = [sys.executable, "-c", PROGRAM, str(path), str(n_searches)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **pipes)


def rows(path, sql):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize("n_searches", [10, pytest.param(150, marks=pytest.mark.slow)])
def test_two_processes_write_one_study_at_once(emptied, tmp_path, copied, n_searches):
    writers = [started(emptied, n_searches) for _ in range(2)]
    for writer in writers:
        _, err = writer.communicate()
        assert writer.returncode == 0, err
    specs = rows(emptied, "SELECT spec_sha256, count(DISTINCT map), count(*) FROM scans GROUP BY 1")
    assert [spec[1:] for spec in specs] == [(12, 12)] * n_searches
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
        writer = started(emptied, 10_000)
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
