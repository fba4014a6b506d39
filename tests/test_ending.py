"""Processes that end before their work: nothing stays behind, and the next one says so."""

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from oiplib import Store, Study
from oiplib.study.runs import environment, running

OIP = Path(sys.executable).with_name("oip")


def marked(mark):
    """The living processes that have a mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            is_alive = process.status() != psutil.STATUS_ZOMBIE
            if is_alive and process.environ().get("OIP_TEST_MARK") == mark:
                found.append(process)
        except psutil.Error:
            pass
    return found


def until(is_so, seconds=60):
    """Wait until something is so; whether it came to be."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_nothing_outlives_a_command_that_is_ended(copy, tmp_path, number):
    mark = f"{tmp_path}"
    command = [OIP, "run", "05-map", "--maps", "0-11", "--out", "out", "--db", copy]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "OIP_TEST_MARK": mark},
        # Under nohup it would be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        **pipes,
    )
    # Driver, workers, what kernels are copied from, and kernels: the first notebook is finished.
    at_work = lambda: len(marked(mark)) >= 4 and list(tmp_path.glob("out/maps/*.ipynb"))  # noqa: E731
    assert until(at_work, 120)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert until(lambda: not marked(mark), 30), marked(mark)
    if number != signal.SIGKILL:
        assert process.returncode == 1
        assert err == (
            "Error: stopped; what is finished is kept, the next call goes on from there\n"
        )
    # A worker has written nothing half; what it worked on is no result.
    results = (tmp_path / "out").glob("*.ipynb"), (tmp_path / "out" / "maps").glob("*.ipynb")
    assert not [path for found in results for path in found if path.stat().st_size == 0]


def test_what_a_user_lets_be_ignored_stays_ignored(copy, tmp_path):
    """As by nohup: a closed terminal doesn't end the work."""
    program = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
        "from oiplib.cli import main; "
        "from oiplib.cli import ask; "
        "ask.tables.say = lambda *a, **k: print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN);"
        f"main(['query', '--limit', '1', '--db', {str(copy)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


def test_what_hangs_on_a_line_ends_when_it_is_cut():
    program = (
        "from oiplib.lifeline import end_with_input; end_with_input(); "
        "import time; print('ready', flush=True); time.sleep(600)"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", program], **pipes)
    assert process.stdout.readline() == b"ready\n"
    process.stdin.close()
    assert process.wait(timeout=60) == 1
    process.stdout.close()


def test_what_hangs_on_a_line_may_end_before():
    program = "from oiplib.lifeline import end_with_input; end_with_input()"
    command = [sys.executable, "-c", program]
    done = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.wait(timeout=60) == 0
    assert done.stderr.read() == b""
    done.stdin.close()
    done.stderr.close()


# --- runs that were killed ---


BEGINS = """
import os, signal, sys
from oiplib import Store
from oiplib.study.runs import environment
Store(sys.argv[1]).start_run("derive", None, environment())
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_is_told_at_the_next_opening(copy, caplog):
    done = subprocess.run([sys.executable, "-c", BEGINS, str(copy)])
    assert done.returncode == -signal.SIGKILL
    with running(Store(copy), "derive") as alive:
        with caplog.at_level(logging.WARNING, "oiplib"):
            store = Store(copy, create=True)
        killed = alive - 1
        assert f"run {killed} was killed" in caplog.text
        assert (store.run(killed).status, store.run(alive).status) == ("interrupted", "running")
        assert store.run(killed).error == "its process was killed"
    assert store.run(alive).status == "done"
    assert store.end_killed_runs() == []


def test_a_run_of_another_machine_is_left_alone(copy):
    store = Store(copy)
    run = store.start_run("derive", None, environment())
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute(
            "UPDATE runs SET environment = json_set(environment, '$.process.machine', 'other', "
            "'$.process.pid', 1073741824) WHERE id = ?",
            (run,),
        )
    assert store.end_killed_runs() == []


# --- locks ---


def test_a_writer_waits_for_a_lock_and_says_so(copy, tiny_study, caplog):
    with closing(sqlite3.connect(copy, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(4, lambda: other.execute("ROLLBACK"))
        timer.start()
        with caplog.at_level(logging.WARNING, "oiplib"):
            run = Store(copy).start_run("derive", None, environment())
        timer.join()
    assert caplog.text.count("is being written by another program: waiting for it") == 1
    assert Store(copy).run(run).status == "running"


def test_a_run_that_is_stopped_while_it_ends_does_not_go_on(copy, monkeypatch):
    store, end, begun = Store(copy, create=True), Store.end_run, []

    def pressed(self, run_id, status, error=None):
        if status == "done":
            raise KeyboardInterrupt
        end(self, run_id, status, error)

    monkeypatch.setattr(Store, "end_run", pressed)
    with pytest.raises(KeyboardInterrupt), running(store, "train") as run_id:
        begun.append(run_id)
    assert store.run(begun[0]).status == "interrupted"


@pytest.mark.parametrize("name", ["a?b.db", "100%41.db", "a#b c.db", "ä'\".db"])
def test_a_file_of_any_name_is_opened(copy, name):
    path = copy.rename(copy.with_name(name))
    assert Study(Store(path)).oips(best=True)
    names = {p.name for p in path.parent.iterdir() if p.name.startswith(name[:3])}
    assert {name} <= names <= {name, f"{name}-wal", f"{name}-shm"}
