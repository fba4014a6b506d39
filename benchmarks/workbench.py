"""A folder in which commands are killed, and what is found there afterwards."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from content import Content, content, differences, running
from killing import Plan, act, as_argument
from scenarios import BASES, Scenario, write_digits
from server import Server
from sqlalchemy import NullPool, create_engine, inspect

from oiplib.store.schema import NUMBER

HERE = Path(__file__).parent

# For how many seconds processes may be left, and how long a command may take.
GRACE, LONGEST = 10, 900

# What the process has imported of which commands are copies.
_PRELOADED = [
    "killing",
    "oiplib.engine.tf",
    "oiplib.search.scan",
    "oiplib.study.trainings",
]

# All processes import what stands here, and the package beside it. Killed ones don't clean up; what
# tracks their semaphores for them needn't say so.
_ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)]),
    "PYTHONWARNINGS": "ignore:resource_tracker:UserWarning",
}

# Files that are compared by their names only: databases, logs, and what a build leaves for itself.
_OPEN_FILES = (".db", ".log")
_OWN_FOLDERS = ("site.work/build/", "site.work/source/")


class Wrong(Exception):
    """A command doesn't do what it should although nobody kills it."""


@dataclass(frozen=True)
class Unbroken:
    """What a command made that nobody killed."""

    content: Content
    files: dict[str, str]
    n_writes: int
    seconds: float


class Command:
    """A process that does a plan: a copy of one that has loaded all and done nothing, or a new one.

    Its session is its own. Whatever it starts has its mark in the environment.
    """

    def __init__(self, plan: Plan, is_fresh: bool) -> None:
        self.mark = plan.mark
        if is_fresh:
            program = [sys.executable, str(HERE / "killing.py"), as_argument(plan)]
            env = {**os.environ, **_ENVIRONMENT, "OIP_FAULTS": plan.mark}
            self._process: Any = subprocess.Popen(program, start_new_session=True, env=env)
        else:
            self._process = _forkserver().Process(target=act, args=(plan,))
            self._process.start()
        self.pid = self._process.pid

    def ended(self, seconds: float) -> int | None:
        """Its exit status, negative for a signal; None if it goes on after some seconds."""
        if isinstance(self._process, subprocess.Popen):
            with suppress(subprocess.TimeoutExpired):
                return self._process.wait(max(seconds, 0.01))
            return None
        self._process.join(seconds)
        return self._process.exitcode

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self.ended(GRACE)

    def others(self) -> dict[int, str]:
        """The other processes of its session or with its mark: number -> what they are."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError):
                state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
                is_of = int(session) == self.pid or self._is_marked(folder)
                if is_of and state not in "ZX" and int(folder.name) != self.pid:
                    found[int(folder.name)] = _role(folder)
        return found

    def left(self) -> list[str]:
        """The processes that outlive it by `GRACE` seconds; they are ended here."""
        until = time.monotonic() + GRACE
        while (found := self.others()) and time.monotonic() < until:
            time.sleep(0.05)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return sorted(found.values())

    def _is_marked(self, folder: Path) -> bool:
        return f"OIP_FAULTS={self.mark}".encode() in (folder / "environ").read_bytes()


@cache
def _forkserver() -> Any:
    """The way to processes that have loaded all; what they come from starts here."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    before = dict(os.environ)
    os.environ.update(_ENVIRONMENT)
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return context


def _role(folder: Path) -> str:
    """What a process does, in a few words."""
    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    roles = {
        "resource_tracker import": "resource tracker",
        "forkserver import": "kernel or its fork server",
    }
    roles |= {"spawn_main": "worker", "jupyter_book": "Jupyter Book", "git ": "git"}
    return next((role for part, role in roles.items() if part in line), line[:60].strip())


class Bench:
    """A folder with databases from which commands begin, and one in which they work."""

    def __init__(self, root: Path, server: Server | None = None, prefix: str = "") -> None:
        self.root, self.server, self.prefix = root, server, prefix
        self.work, self.journal = root / "work", root / "journal"
        self._unbroken: dict[str, Unbroken] = {}
        self._last: Command | None = None
        (root / "bases" / "empty").mkdir(parents=True)
        write_digits(root / "digits.npz")
        if server is not None:
            server.make(f"{prefix}base_empty")

    @property
    def url(self) -> str:
        """The database in which commands work."""
        return (
            self.server.url(f"{self.prefix}work")
            if self.server
            else f"sqlite:///{self.work}/oip.db"
        )

    def reset(self, base: str) -> None:
        """Begin anew with a base."""
        source = self._base(base)
        for path in (self.work, self.journal):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        Path(f"{self.journal}.log").unlink(missing_ok=True)
        shutil.copytree(source, self.work)
        if self.server:
            self.server.make(f"{self.prefix}work", f"{self.prefix}base_{base}")

    def started(
        self, command: Sequence[str], at: int | None = 0, is_fresh: bool = False
    ) -> Command:
        """A command that has begun in the work folder, and will die at a write."""
        db = self.url if self.server else "oip.db"
        given = {"{db}": db, "{digits}": str(self.root / "digits.npz")}
        words = tuple(
            given.get(word, word.replace("DIGITS", given["{digits}"])) for word in command
        )
        plan = Plan(words, str(self.work), db, str(self.journal), uuid.uuid4().hex, at)
        self._last = Command(plan, is_fresh)
        return self._last

    def wait_for_begin(self, process: Command) -> None:
        """Wait until a command that was started begins its work."""
        until = time.monotonic() + LONGEST
        while ["begins", process.pid] not in self._journaled() and time.monotonic() < until:
            if process.ended(0.01) is not None:
                return

    def done(self, command: Sequence[str], is_fresh: bool = False) -> float:
        """Do a command to its end; returns the seconds that it took."""
        began = time.perf_counter()
        process = self.started(command, is_fresh=is_fresh)
        status, took = process.ended(LONGEST), time.perf_counter() - began
        left = process.left()
        if (status, left) != (0, []):
            raise Wrong(f"{command[0]} ends with {status}, leaves {left}: {self.last_line()}")
        return took

    def unbroken(self, scenario: Scenario) -> Unbroken:
        """What the command makes that isn't killed; files that differ from time to time are out."""
        if scenario.name not in self._unbroken:
            made: list[Unbroken] = []
            for _ in range(2 if scenario.is_fresh else 1):
                self.reset(scenario.base)
                took = self.done(scenario.command, scenario.is_fresh)
                if faults := list(self.unsound(fully=True)):
                    raise Wrong(f"it isn't sound: {faults[0]}")
                counts = (units[1] for units in self._journaled() if units[0] == "writes")
                n_writes = next(counts, 0)  # none if somebody has ended all
                made.append(Unbroken(self.content() or {}, self.files(), n_writes, took))
            if lines := differences(made[0].content, made[-1].content):
                raise Wrong(f"it makes something else each time: {lines[0]}")
            alike = {
                name: digest if made[-1].files.get(name) == digest else ""
                for name, digest in made[0].files.items()
            }
            self._unbroken[scenario.name] = replace(made[-1], files=alike)
        return self._unbroken[scenario.name]

    def end(self) -> None:
        """End what was started last, and what that has started."""
        if self._last is not None:
            self._last.kill()
            self._last.left()

    def keep(self, folder: Path | None, name: str) -> None:
        """Copy the work folder as it is now, with what was printed."""
        if folder is not None:
            shutil.copytree(self.work, folder / name, dirs_exist_ok=True)
            (folder / f"{name}.log").write_text(self._printed())

    def content(self) -> Content | None:
        """What the database holds; None where there are no tables of today."""
        if self.server is None and self._number() != NUMBER:
            return None
        with self._connection() as connection:
            is_made = inspect(connection).has_table("networks")
            return content(connection) if is_made else None

    def running(self) -> list[str]:
        """The runs that say that they go on."""
        if self.content() is None:
            return []
        with self._connection() as connection:
            return running(connection)

    def files(self) -> dict[str, str]:
        """The files of the work folder: name -> hash of what they hold."""
        found = {}
        for path in sorted(self.work.rglob("*")):
            name = str(path.relative_to(self.work))
            is_log_of_sqlite = name.endswith(("-wal", "-shm")) or _is_over(path)
            if path.is_file() and not name.startswith(_OWN_FOLDERS) and not is_log_of_sqlite:
                found[name] = _digest(path)
        return found

    def unsound(self, fully: bool) -> Iterator[str]:
        """What is wrong with the database."""
        if self.server is None and (self.work / "oip.db").exists():
            with closing(sqlite3.connect(self.work / "oip.db")) as connection:
                for pragma in ("integrity_check", "foreign_key_check"):
                    rows = connection.execute(f"PRAGMA {pragma}").fetchall()
                    yield from (f"{pragma}: {row}" for row in rows if row != ("ok",))
        try:
            has_tables = self.content() is not None
        except Exception as error:  # whatever a torn row raises
            yield f"can't be read: {type(error).__name__}: {error}"
            return
        if fully and has_tables:
            process = self.started(["sound"])
            if process.ended(LONGEST) != 0:
                yield f"oip check: {self.last_line()}"

    def notebooks(self) -> dict[str, int]:
        """The executed notebooks: name -> the moment at which they were written."""
        found = (path for path in self.work.rglob("*.ipynb") if len(path.suffixes) == 1)
        names = ((str(path.relative_to(self.work)), path) for path in found)
        return {
            name: path.stat().st_mtime_ns
            for name, path in names
            if not name.startswith(_OWN_FOLDERS)
        }

    def lost(self) -> list[str]:
        """What was committed and isn't there: the table of each such row."""
        units = {(table, id): state for table, id, *state in self._journaled() if state}
        there: dict[str, set[int]] = defaultdict(set)
        if self.content() is not None:
            with self._connection() as connection:
                for table in {table for table, _ in units}:
                    rows = connection.exec_driver_sql(f"SELECT id FROM {table}")
                    there[table] = {row[0] for row in rows}
        return [
            table
            for (table, id), (is_there,) in units.items()
            if is_there and id not in there[table]
        ]

    def last_line(self) -> str:
        """The last that was printed."""
        lines = self._printed().split("\n")
        return next((line for line in reversed(lines) if line.strip()), "")

    def tracebacks(self) -> list[str]:
        """Where the tracebacks that were printed end: file, line and function."""
        _, *printed = self._printed().split("Traceback (most")
        places = (re.findall(r'File "(.*?)", (line \d+, in .*)', each) for each in printed)
        return [f"{Path(of[-1][0]).name}, {of[-1][1]}" for of in places if of]

    def _printed(self) -> str:
        log = Path(f"{self.journal}.log")
        return log.read_text(errors="replace") if log.exists() else ""

    def _journaled(self) -> list[list[Any]]:
        if not self.journal.exists():  # it died before it began
            return []
        return [json.loads(line) for line in self.journal.read_text().splitlines()]

    def _connection(self) -> Any:
        return create_engine(self.url, poolclass=NullPool).connect()

    def _number(self) -> str | None:
        """The number of a file's schema; None if there is no file or nothing in it."""
        if not (self.work / "oip.db").exists():
            return None
        database = closing(sqlite3.connect(self.work / "oip.db"))
        with database as connection, suppress(sqlite3.OperationalError):
            return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])
        return None

    def _base(self, name: str) -> Path:
        """The folder of a base, made if need be from another one."""
        folder = self.root / "bases" / name
        if not folder.exists():
            base = BASES[name]
            other = self._base(base.other) if base.other else None
            server, self.server = self.server, None
            self.reset(base.of)
            for command in base.commands:
                self.done(command)
            base.add(self.work, other)
            if (self.work / "oip.db").exists():
                with closing(sqlite3.connect(self.work / "oip.db")) as connection:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self.work.rename(folder)
            self.server = server
        copied = f"{self.prefix}base_{name}"
        if self.server and copied not in self.server.made:
            shutil.rmtree(self.work, ignore_errors=True)
            shutil.copytree(folder, self.work)
            self.server.make(f"{self.prefix}work")
            self.done(["merge", "{db}", "oip.db"])
            self.server.make(copied, f"{self.prefix}work")
        return folder


def _is_over(path: Path) -> bool:
    """Whether a file is a journal that SQLite doesn't need, and removes when it writes again."""
    if not path.name.endswith("-journal"):
        return False
    with path.open("rb") as file:
        return file.read(1) in (b"", b"\0")


def _digest(path: Path) -> str:
    """What a file holds, as a hash; of an archive its members, of a notebook all but its key.

    The key of a notebook follows from numbers of rows, which others may have.
    """
    if path.suffix == ".ipynb":
        with suppress(ValueError):
            notebook = json.loads(path.read_bytes())
            notebook["metadata"].pop("oiplib", None)
            return hashlib.sha256(json.dumps(notebook, sort_keys=True).encode()).hexdigest()
    if path.suffix in (".keras", ".zip"):
        with suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            return repr(archive.namelist())
    is_open = path.name.endswith(_OPEN_FILES)
    return "" if is_open else hashlib.sha256(path.read_bytes()).hexdigest()
