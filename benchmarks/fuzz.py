"""Hostile files and command lines: ``python benchmarks/fuzz.py [--files 300] [--lines 1000]``.

Two seeded generators stand in ``hostile_files.py`` and ``hostile_lines.py``; what they put into
files is in ``hostile_values.py``, ``hostile_tables.py`` and ``hostile_models.py``. Each file and
each line is a case with a number, so that ``--only file:17`` and ``--only line:203`` repeat one.
A case is given to ``oip`` in a process forked from this one, which has TensorFlow loaded and
computed nothing. Faults are: a traceback, another exit status than 0, 1 and 2, ten seconds or a
GiB more than the same command takes with the sound file, code of the file that ran, a file of the
user's that changed, wrong input that isn't refused by one line and status 2, and a file that
`oip check` calls sound though a value in it is another one.

The figures are written to ``FUZZ.md``. Exit status 1 if there are faults.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hostile_files
import hostile_lines
from hostile_values import SPRUNG

HERE = Path(__file__).parent
GIB = 1 << 30

#: What a call may need more than the same call with the sound file.
SECONDS, BYTES = 10.0, GIB
#: What a command needs that computes something.
USUAL_BYTES = 600 << 20
#: When a call is ended.
LAST_SECOND, LAST_BYTE = 60.0, 6 * GIB

#: What is asked of each hostile database. {id} is the row that was damaged, or the first.
COMMANDS: dict[str, tuple[str, ...]] = {
    "check": ("check", "--db={db}"),
    "query": ("query", "--db={db}"),
    "query csv": ("query", "--db={db}", "--format", "csv"),
    "query json": ("query", "--db={db}", "--format", "json"),
    "show": ("show", "{id}", "--db={db}"),
    "replay": ("replay", "{id}", "--db={db}"),
    "export": ("export", "out", "--db={db}"),
    "merge": ("merge", "--", "new.db", "{db}"),
    "screen": ("screen", "--db={db}"),
    "derive": ("derive", "--maps", "0", "--db={db}"),
    "Store": ("Store",),
    "Study": ("Study",),
}
#: Those that never write to the database.
READING = ("check", "query", "query csv", "query json", "show", "export", "Store")


@dataclass
class Call:
    """What came of a call."""

    args: list[str]
    status: int | None
    seconds: float
    cpu_seconds: float
    bytes: int
    stdout: str
    stderr: str

    def faults(self, like: Call | None = None) -> Iterator[tuple[str, str]]:
        """Kind and detail of what no call may do; beside the same call with the sound file."""
        size = like.bytes if like else USUAL_BYTES
        seconds = self.seconds - (like.seconds if like else 0)
        # On a busy machine all take longer; one that waits for nothing is ended, and counts.
        works = self.cpu_seconds - (like.cpu_seconds if like else SECONDS / 2) > SECONDS / 2
        if "Traceback" in self.stdout + self.stderr:
            yield "traceback", last_place(self.stderr)
        elif self.status is not None and self.status not in (0, 1, 2):
            yield "status", f"{self.status}: {self.stderr[-80:]!r}"
        if seconds > SECONDS and (works or self.status is None):
            yield "time", f"{self.seconds:.0f} s" + (", killed" if self.status is None else "")
        if self.bytes > size + BYTES:
            yield "memory", f"{(self.bytes - size) / GIB:.1f} GiB"
        shown = self.stdout + self.stderr
        escape = re.search(r".{0,30}[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e].{0,20}", shown)
        if escape:
            yield "escapes", repr(escape[0])
        if len(self.stderr) > 20_000:
            yield "long message", f"{len(self.stderr)} letters on stderr"


@dataclass
class Fault:
    """One fault: which case, which command, what happened."""

    case: str
    what: str
    command: str
    kind: str
    detail: str


@dataclass
class Figures:
    """What a run has counted."""

    n_cases: Counter[str] = field(default_factory=Counter)
    n_calls: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    most_seconds: float = 0.0
    most_bytes: int = 0

    def count(self, call: Call) -> None:
        """Add a call."""
        self.n_calls += 1
        self.statuses["killed" if call.status is None else str(call.status)] += 1
        self.most_seconds = max(self.most_seconds, call.seconds)
        self.most_bytes = max(self.most_bytes, call.bytes)


def last_place(stderr: str) -> str:
    """Where in oiplib an error came up, and which."""
    places = re.findall(r'File ".*?oiplib/([\w/]+\.py)", line (\d+)', stderr)
    lines = [line for line in stderr.strip().splitlines() if line and not line.startswith(" ")]
    return f"{':'.join(places[-1]) if places else '?'} {lines[-1][:150] if lines else ''}"


def call(args: Sequence[str], folder: Path, last_second: float = LAST_SECOND) -> Call:
    """Call ``oip`` with some arguments, in a folder, in a forked process."""
    said = tempfile.mkdtemp(prefix="said-", dir=folder.parent)
    begun = time.monotonic()
    pid = os.fork()
    if not pid:
        _be_oip(args, folder, said)
    status, usage, most = None, None, 0
    while usage is None:
        done, raw, used = os.wait4(pid, os.WNOHANG)
        if done:
            usage, status = used, os.waitstatus_to_exitcode(raw)
            break
        most = max(most, _rss(pid))
        if time.monotonic() - begun > last_second or most > LAST_BYTE:
            os.killpg(pid, signal.SIGKILL)
            usage, status = os.wait4(pid, 0)[2], None
        time.sleep(0.005)
    seconds = time.monotonic() - begun
    with suppress(ProcessLookupError):  # what it left behind
        os.killpg(pid, signal.SIGKILL)
    texts = [
        (Path(said) / name).read_text("utf-8", "replace")[-200_000:] for name in ("out", "err")
    ]
    shutil.rmtree(said)
    cpu = usage.ru_utime + usage.ru_stime
    return Call(list(args), status, seconds, cpu, max(most, usage.ru_maxrss * 1024), *texts)


def _be_oip(args: Sequence[str], folder: Path, said: str) -> None:
    """In the forked process: do as the command ``oip`` would, and end."""
    status = 1
    try:
        os.setsid()
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{said}/{name}", os.O_WRONLY | os.O_CREAT), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        status = _ended(_python(args[0], args[1]) if args[0] in _PYTHON else _command(args))
        gc.collect()  # what is open is closed, as at the end of a process
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
        status = 1
    finally:
        os._exit(status)


def _ended(work: Callable[[], None]) -> int:
    try:
        work()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1 if end.code else 0
    return 0


def _command(args: Sequence[str]) -> Callable[[], None]:
    from oiplib.cli import main

    return lambda: main(list(args), prog_name="oip")


def _python(name: str, db: str) -> Callable[[], None]:
    from oiplib import OipError

    def work() -> None:
        try:
            _PYTHON[name](db)
        except OipError as error:
            print(f"Error: {error}", file=sys.stderr)
            sys.exit(1)

    return work


def _read_store(db: str) -> None:
    from oiplib import OipFilter, Store

    store = Store(db)
    for network in store.networks():
        print(network.name)
    for oip in store.oips(OipFilter()):
        print(oip.caption, oip.image.shape)


def _read_study(db: str) -> None:
    from oiplib import Study

    study = Study(db)
    print(study.summary(), len(study.rows()), study.class_names, study.searched_maps())


_PYTHON: dict[str, Callable[[str], None]] = {"Store": _read_store, "Study": _read_study}


def _rss(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, IndexError):
        return 0


def apart(work: Callable[[], Any]) -> Any:
    """What a function gives in a forked process, whose memory goes with it; None if it fails."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            with open(writing, "wb") as file:
                pickle.dump(work(), file)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        made = file.read()
    os.waitpid(pid, 0)
    return pickle.loads(made) if made else None


# --- files ---


class Files:
    """Gives hostile files to the commands."""

    def __init__(self, sound: Path, scratch: Path, seed: int, thorough: bool) -> None:
        self.sound, self.scratch, self.seed, self.thorough = sound, scratch, seed, thorough
        self.cases = hostile_files.Cases(sound, seed)
        self._like: dict[str, Call] = {}

    def like(self, name: str) -> Call:
        """The same command with the sound file."""
        if name not in self._like:
            with folder_in(self.scratch) as folder:
                hostile_files.copy(self.sound / "sound.db", folder / "sound.db")
                done = call(self.args(name, "sound.db", 1), folder)
            assert done.status == 0, (name, done)
            self._like[name] = done
        return self._like[name]

    @staticmethod
    def args(name: str, db: str, id: int) -> list[str]:
        """The arguments of a command."""
        if name in _PYTHON:
            return [name, db]
        return [part.replace("{db}", db).replace("{id}", str(id)) for part in COMMANDS[name]]

    def run(self, number: int, figures: Figures) -> None:
        """One case: made, and given to the commands."""
        with folder_in(self.scratch) as folder:
            case = apart(lambda: self.cases.make(number, folder))
            if case is None:
                fault = Fault(f"file:{number}", "could not be made", "-", "generator", "see above")
                figures.faults.append(fault)
                return
            figures.n_cases[case.family] += 1
            for name, args in self._asked(case, number):
                for each in folder.iterdir():
                    if each.name in ("out", "new.db", "new.db-wal", "new.db-shm"):
                        shutil.rmtree(each) if each.is_dir() else each.unlink()
                before = digest(folder / case.file) if case.is_ours else ""
                done = call(args, folder)
                figures.count(done)
                like = self.like(name) if case.args is None else None
                found = [*done.faults(like), *self._lies(case, name, done)]
                found += _sprung(folder)
                if before and name in READING and digest(folder / case.file) != before:
                    found.append(("changed", "the database of the user's"))
                for kind, detail in found:
                    what = f"{case.family}: {case.what}"
                    figures.faults.append(Fault(f"file:{number}", what, name, kind, detail))

    def _asked(self, case: hostile_files.Case, number: int) -> Iterator[tuple[str, list[str]]]:
        if case.args is not None:
            yield case.args[0], list(case.args)
            return
        names = list(COMMANDS)
        if not self.thorough:
            others = names[4:]
            one = others[number // 3 % len(others)]
            names = ["check", names[1 + number % 3], *dict.fromkeys([one, *case.commands[:2]])]
        for name in names:
            yield name, self.args(name, case.file, case.id)

    @staticmethod
    def _lies(case: hostile_files.Case, name: str, done: Call) -> Iterator[tuple[str, str]]:
        if case.expects == "refused" and done.status == 0:
            yield "taken", done.stdout[-100:].strip()
        if case.expects == "sound" and done.status not in (0, None):
            yield "refused", done.stderr.strip()[-200:]
        if case.expects == "lie" and name == "check" and done.status == 0:
            yield "lie", case.reason
        if name == "check" and done.status == 0:
            is_whole = "written last by SQLite" in done.stdout
            if not is_whole or not done.stdout.endswith("is sound\n"):
                yield "no verdict", done.stdout[:100]
        if name == "check" and done.status not in (0, None):
            last = done.stderr.strip().splitlines()[-1:] or [""]
            if not last[0].startswith("Error: "):
                yield "no message", last[0][:100]


def _sprung(folder: Path) -> Iterator[tuple[str, str]]:
    """Whether code of a file ran: it would make another one, here or beside."""
    for path in (folder / SPRUNG, folder.parent / SPRUNG):
        if path.is_dir():
            path.rmdir()
        elif path.exists():
            path.unlink()
        else:
            continue
        yield "code ran", f"it made {path}"


def digest(path: Path) -> str:
    """The hash of a file; nothing of what is none."""
    if not path.is_file() or path.is_symlink():
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class folder_in:
    """A folder that is gone afterwards."""

    def __init__(self, scratch: Path) -> None:
        self._whole = Path(tempfile.mkdtemp(prefix="case-", dir=scratch))

    def __enter__(self) -> Path:
        folder = self._whole / "here"
        folder.mkdir()
        return folder

    def __exit__(self, *_: Any) -> None:
        if not os.environ.get("FUZZ_KEEP"):
            shutil.rmtree(self._whole, ignore_errors=True)


# --- lines ---


class Lines:
    """Gives strange command lines to ``oip``."""

    def __init__(self, sound: Path, scratch: Path, seed: int) -> None:
        self.sound, self.scratch, self.seed = sound, scratch, seed

    def run(self, number: int, figures: Figures) -> None:
        """One line, in a folder with a copy of the database and a few files of the user's."""
        line = hostile_lines.line(self.seed, number)
        figures.n_cases[line.command] += 1
        with folder_in(self.scratch) as folder:
            hostile_lines.furnish(folder, self.sound)
            before = {path: digest(path) for path in sorted(folder.rglob("*"))}
            done = call(line.args, folder, 30.0)
            figures.count(done)
            found = [*done.faults(), *self._refusal(line, done)]
            for path in sorted(set(folder.iterdir()) | set(before)):
                name = str(path.relative_to(folder))
                if name.endswith(("-wal", "-shm")):  # SQLite's own, until the next one closes it
                    continue
                if any(name == each or name.startswith(f"{each}/") for each in line.may_write):
                    continue
                if path not in before:
                    found.append(("left", name[:80]))
                elif digest(path) != before[path] or not path.exists():
                    found.append(("changed", name[:80]))
            shown = " ".join(
                arg if len(arg) < 60 else f"{arg[:40]}...({len(arg)})" for arg in line.args
            )
            for kind, detail in found:
                figures.faults.append(Fault(f"line:{number}", shown, line.command, kind, detail))

    @staticmethod
    def _refusal(line: hostile_lines.Line, done: Call) -> Iterator[tuple[str, str]]:
        if done.status == 0 and line.wrong:
            yield "taken", f"wrong: {', '.join(line.wrong)[:120]}"
        if done.status == 1 and line.wrong and not line.may_fail:
            yield (
                "status 1",
                f"wrong: {', '.join(line.wrong)[:80]}; said: {done.stderr.strip()[-120:]}",
            )
        if done.status in (1, 2):
            start = done.stderr.rfind("Error: ")
            if start < 0 or done.stderr[start:].count("\n") != 1:
                yield "no one line", done.stderr[-150:]


# --- all of it ---


def main() -> None:
    """Parse the options, run the cases, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", metavar="file:N or line:N")
    parser.add_argument("--cache", type=Path, help="where the sound database is kept")
    parser.add_argument("--thorough", action="store_true", help="every command for every file")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.make:
        hostile_files.make_sound(chosen.make)
        return
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        sound = chosen.cache or Path(scratch) / "sound"
        if not (sound / "sound.db").exists():
            sound.mkdir(parents=True, exist_ok=True)
            subprocess.run([sys.executable, __file__, "--make", str(sound)], check=True)
        every = [("file", chosen.files), ("line", chosen.lines)]
        names = chosen.only or [f"{kind}:{i}" for kind, n in every for i in range(n)]
        figures = {"file": Figures(), "line": Figures()}
        begun = time.monotonic()
        _run(names, figures, sound.resolve(), Path(scratch), chosen)
    _report(figures, time.monotonic() - begun, chosen)
    sys.exit(1 if any(each.faults for each in figures.values()) else 0)


def _run(
    names: Sequence[str], figures: dict[str, Figures], sound: Path, scratch: Path, chosen: Any
) -> None:
    os.environ.update(TQDM_DISABLE="1", TF_CPP_MIN_LOG_LEVEL="3", OIP_CACHE=str(scratch / "cache"))
    for name in ("OIP_DB", "OIP_DATA"):
        os.environ.pop(name, None)
    import matplotlib.pyplot  # noqa: F401
    import pandas  # noqa: F401
    import sqlalchemy.dialects.sqlite  # noqa: F401

    import oiplib.cli
    import oiplib.engine.tf
    import oiplib.publish.export
    import oiplib.study.check  # noqa: F401

    files = Files(sound, scratch, chosen.seed, chosen.thorough)
    lines = Lines(sound, scratch, chosen.seed)
    for i, name in enumerate(names):
        kind, number = name.split(":")
        n_faults = len(figures[kind].faults)
        (files if kind == "file" else lines).run(int(number), figures[kind])
        for fault in figures[kind].faults[n_faults:]:
            print(_in_words(fault), flush=True)
        if sys.stderr.isatty():
            print(f"\r{i + 1} of {len(names)}", end="", file=sys.stderr)


def _in_words(fault: Any) -> str:
    return (
        f"{fault.case:9} {fault.command:10} {fault.kind:10} {fault.detail[:150]!s} "
        f"<- {fault.what[:150]}"
    )


def _report(figures: dict[str, Figures], seconds: float, chosen: Any) -> None:
    lines = [
        "# Hostile files and command lines",
        "",
        f"`python benchmarks/fuzz.py --files {chosen.files} --lines {chosen.lines} --seed "
        f"{chosen.seed}`, {seconds / 60:.0f} minutes.",
        "",
        "| | files | command lines |",
        "|---|---|---|",
    ]
    columns = figures["file"], figures["line"]

    def row(name: str, value: Callable[[Figures], object]) -> None:
        lines.append(f"| {name} | {' | '.join(str(value(column)) for column in columns)} |")

    row("cases", lambda f: sum(f.n_cases.values()))
    row("calls", lambda f: f.n_calls)
    row("exit status 0, 1, 2", lambda f: ", ".join(str(f.statuses[s]) for s in "012"))
    row("longest call", lambda f: f"{f.most_seconds:.1f} s")
    row("largest call", lambda f: f"{f.most_bytes / GIB:.2f} GiB")
    kinds = sorted({fault.kind for column in columns for fault in column.faults})
    for kind in kinds:
        row(f"fault: {kind}", lambda f, kind=kind: sum(each.kind == kind for each in f.faults))
    row("faults", lambda f: len(f.faults))
    faults = [fault for column in columns for fault in column.faults]
    lines += ["", "```", *(_in_words(fault) for fault in faults), "```"] if faults else []
    text = "\n".join(lines) + "\n"
    print("\n" + text)
    if not chosen.only:
        (HERE / "FUZZ.md").write_text(text)


if __name__ == "__main__":
    main()
