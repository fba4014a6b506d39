"""The side of ``faults.py`` that is killed: a command that counts its writes, and dies at one.

A write is a statement that changes a database, a commit, one of SQLite's own calls that change a
file (it lets a program put its own functions in their place), or a file that Python opens for
writing, renames or removes. At the write that was chosen the process kills itself. Every
second time a call of SQLite's has then written half of its bytes.

What was committed is noted in a journal, which holds whatever becomes of the database.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

import oiplib.cli
from oiplib import Store, Study, StudySpec
from oiplib.study.chapters import prepare
from oiplib.study.check import problems
from oiplib.study.questions import reaction, varieties
from oiplib.study.selecting import WAYS, scan_spec

_CHANGING = ("INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER")
_FILE_EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link")


@dataclass(frozen=True)
class Plan:
    """What a process does.

    Attributes
    ----------
    command
        Arguments of ``oip``, or the name of one of `FUNCTIONS` with its arguments.
    folder
        Where it works, and whose files count.
    db
        The database, as ``OIP_DB``.
    journal
        The file of what was committed, a JSON list a line.
    mark
        Stands in the environment of all processes that it starts.
    at
        The write at which it dies; 0 for none. None where a signal will come: then SQLite's own
        calls aren't counted, since Ctrl-C would be lost in a function that SQLite calls.
    """

    command: tuple[str, ...]
    folder: str
    db: str
    journal: str
    mark: str
    at: int | None = 0


class Writes:
    """Counts writes, and kills the process at one of them."""

    def __init__(self, at: int) -> None:
        self.n, self.at, self.counts = 0, at, True

    def one(self, before: Callable[[], Any] = lambda: None) -> None:
        """Count a write that is about to happen; `before` is done if the process dies at it."""
        if not self.counts:
            return
        self.n += 1
        if self.n == self.at:
            self.counts = False
            if self.n % 2:
                before()
            os.kill(os.getpid(), signal.SIGKILL)


def act(plan: Plan) -> None:
    """Do what is planned as a process of its own, and end it."""
    if os.getpid() != os.getsid(0):
        os.setsid()
    os.chdir(plan.folder)
    log = os.open(f"{plan.journal}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.environ.update(OIP_DB=plan.db, OIP_FAULTS=plan.mark)
    journal = os.open(plan.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    writes = Writes(plan.at or 0)
    _note_units(lambda lines: os.write(journal, lines.encode()))
    event.listen(Engine, "before_cursor_execute", _statements(writes))
    event.listen(Engine, "commit", lambda made: _is_kept(made) and writes.one())
    sys.addaudithook(_files(writes, plan.folder))
    try:
        with nullcontext() if plan.at is None else _calls_of_sqlite(writes):
            name, *arguments = plan.command
            # Signals that come before this line aren't the command's to answer.
            os.write(journal, (json.dumps(["begins", os.getpid()]) + "\n").encode())
            if name in FUNCTIONS:
                FUNCTIONS[name](*arguments)
            else:
                oiplib.cli.main(list(plan.command), prog_name="oip")
    finally:
        writes.counts = False
        os.write(journal, (json.dumps(["writes", writes.n]) + "\n").encode())


def main() -> None:
    """Do the plan that stands in the first argument as JSON."""
    plan = json.loads(sys.argv[1])
    act(Plan(**{**plan, "command": tuple(plan["command"])}))


def as_argument(plan: Plan) -> str:
    """A plan for `main`."""
    return json.dumps(asdict(plan))


# --- what counts as a write ---


def _statements(writes: Writes) -> Callable[..., None]:
    def before(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        is_change = statement.lstrip().upper().startswith(_CHANGING)
        if is_change and _is_kept(connection):
            writes.one()

    return before


def _is_kept(connection: Any) -> bool:
    """Whether a database isn't in memory only."""
    return bool(connection.engine.url.database)


def _files(writes: Writes, folder: str) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook for the files in a folder."""

    def heard(name: str, args: tuple[Any, ...]) -> None:
        if name == "open":
            path, mode, flags = args
            changes = (
                flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
                if mode is None
                else (set(mode) & set("wax+"))
            )
        else:
            path, changes = args[0] if args else None, name in _FILE_EVENTS
        is_file = isinstance(path, (str, os.PathLike))
        if changes and is_file and os.path.abspath(path).startswith(folder):
            writes.one()

    return heard


_ANY = ctypes.c_void_p


class _Vfs(ctypes.Structure):
    """SQLite's ``sqlite3_vfs``, up to the function that replaces its calls of the system."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("sizes", ctypes.c_int * 2),
        *((f"pointer_{k}", ctypes.c_void_p) for k in range(16)),
        ("set_call", ctypes.CFUNCTYPE(*(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p), _ANY)),
        ("get_call", ctypes.CFUNCTYPE(*(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p))),
    )


# Calls that change a file, and their arguments; all but the last two begin with a descriptor.
_CALLS: dict[str, Any] = {
    "write": (ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t),
    "pwrite": (*(ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t), ctypes.c_int64),
    "ftruncate": (ctypes.c_int, ctypes.c_int, ctypes.c_int64),
    "unlink": (ctypes.c_int, ctypes.c_char_p),
}
_CALLS["pwrite64"] = _CALLS["pwrite"]


@contextmanager
def _calls_of_sqlite(writes: Writes) -> Iterator[None]:
    """Count SQLite's calls of the system that change a file."""
    library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    vfs = library.sqlite3_vfs_find(None)
    kept = []  # as long as SQLite may call them
    for name, types in _CALLS.items():
        address = vfs.contents.get_call(vfs, name.encode())
        if address:
            kept.append(_counted(ctypes.CFUNCTYPE(*types), address, "write" in name, writes))
            replacement = ctypes.cast(kept[-1], ctypes.c_void_p)
            vfs.contents.set_call(vfs, name.encode(), replacement)
    assert kept, "this SQLite doesn't let its calls be replaced"
    try:
        yield
    finally:
        vfs.contents.set_call(vfs, None, None)  # its own again


def _counted(kind: Any, address: int, has_bytes: bool, writes: Writes) -> Any:
    """A call of the system that counts itself, and at its death has done half of its work."""
    original = kind(address)

    def call(*args: Any) -> int:
        half = (*args[:2], args[2] // 2, *args[3:]) if has_bytes else None
        writes.one(lambda: half and original(*half))
        return int(original(*args))

    return kind(call)


# --- what is noted ---


def _note_units(write: Callable[[str], Any]) -> None:
    """Note which rows were added or deleted, after each commit."""

    def flushed(session: Session, context: Any) -> None:
        lines = session.info.setdefault("units", [])
        for rows, is_there in ((session.new, True), (session.deleted, False)):
            lines += [json.dumps([row.__tablename__, row.id, is_there]) for row in rows]

    def committed(session: Session) -> None:
        write("".join(f"{line}\n" for line in session.info.pop("units", [])))

    event.listen(Session, "after_flush", flushed)
    event.listen(Session, "after_commit", committed)
    event.listen(Session, "after_rollback", lambda session: session.info.pop("units", None))


# --- what is not a command of its own ---


def _train(spec: str) -> None:
    Study(None, StudySpec.from_json(spec)).train()


def _react() -> None:
    study = Study()
    for kind in ("data", "fluctuation"):
        reaction(study, kind)
    study.search(scan_spec(study, WAYS[-1]), keep_screening=False)


def _check() -> None:
    found = list(problems(Store()))
    if found:
        sys.exit("\n".join(found))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "tiny": _train,
    "restart": lambda: varieties(Study()),
    "react": _react,
    "prepare": lambda maps: prepare(Study(), maps=maps),
    "sound": _check,
}


if __name__ == "__main__":
    main()
