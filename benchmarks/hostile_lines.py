"""Command lines as a slip, a script or an enemy would type them; see ``fuzz.py``."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

LONG = "x" * 5000
HUGE = "9" * 30


@dataclass
class Line:
    """A command line; which of its words are wrong, and what it may write."""

    command: str
    args: list[str]
    wrong: list[str] = field(default_factory=list)
    may_write: list[str] = field(default_factory=list)
    #: Whether status 1 is right, too: the database isn't one, or there is nothing to be found.
    may_fail: bool = False


# Names that our own files have while they are written, too.
_MINE = (
    *("out.png.part", "q.csv.part", "out.part", "site.part", "site.new", "site.old", "mine.txt"),
)


def furnish(folder: Path, sound: Path) -> None:
    """What stands in the folder: the database, data, a model, and files of the user's own."""
    for source, name in {"sound.db": "oip.db", "sound.keras": "m.keras"}.items():
        shutil.copyfile(sound / source, folder / name)
    shutil.copyfile(sound / "digits.npz", folder / "digits.npz")
    for name in _MINE:
        (folder / name).write_text("the user's own")
    for name in ("full", "taken.part"):
        (folder / name).mkdir()
        (folder / name / "mine.txt").write_text("the user's own")
    (folder / "noise.db").write_bytes(bytes(range(256)) * 40)
    (folder / "empty.db").touch()


_INTEGERS = (
    *("", "-1", "-" + HUGE, HUGE, "1e3", "0x10", "1.5", "nan", "inf", "one", "\u0661", " ", "--"),
    *("1_0 0", str(2**63), "\u0663" * 40, "+", "\x1b[2J"),
)
_FLOATS = (
    *("", "nan", "-nan", "inf", "-inf", "1e999", "0", "-1", "-1e308", "much", "1e", "0x1p3"),
    "\u2212" + "1",
)
_MAPS = (
    *("", "-", "5-3", "0-999999999999", "0-99999999", "-1", "1,,2", "1-2-3", "x", "0;1", HUGE),
    *("1.5", "\u0663-x", ",".join(["0"] * 20_000) + ",", "\x1b[2J", "0 1", "99"),
)
_PATHS_IN = (
    *("", "-", "/", ".", "..", "full", "/proc/self/mem", "/proc/1/environ", "/dev/zero", LONG),
    *(f"{LONG}/a", "nowhere.db", "no/folder/x.db", "mine.txt", "noise.db", "empty.db", "a\nb", "~"),
    *("%s", "m.keras"),
)
# Nothing here could do harm, even if root writes it: no device, no folder of the system.
_PATHS_OUT = (
    *("", ".", "full", "/proc/self/x", "/proc/x", "/sys/x", LONG, f"{LONG}/a", "no/folder/x"),
    "mine.txt/x",
)
_URLS = (
    *("sqlite://", "sqlite:///", "://", "mysql://x", "postgresql://nobody@localhost:1/x"),
    *("http://example.invalid", "sqlite:///nowhere.db", "postgresql://[", "sqlite+nothing:///x"),
    "postgresql://h:port/x",
)
_OBJECTIVES = (
    *("", ":", "x", "Conv2D_3", "Conv2D_3:", "Conv2D_3:99", "Conv2D_3:-1", f"Conv2D_3:{HUGE}"),
    *(f"Conv2D_3:{'9' * 5000}", "Conv2D_3:0@9,9", f"Conv2D_3:0@{'9' * 5000},0", "Nowhere:0"),
    *("Classes:cat", "Classes:4 - Classes:4", "0*Classes:4", "1e308*Classes:4", "1e999*Classes:4"),
    *("1e-99*Classes:1", "9" * 5000 + "*Classes:4", "Dense_1:[1,2]", "Dense_1:[nan,0,0,0,0,0,0,0]"),
    *("Dense_1:[]", "Dense_1:[" + "1," * 20_000 + "1]", "+".join(["Classes:4"] * 5000) + "-"),
    *("-" * 20_000, "(" * 9000, "2*" * 9000 + "Classes:1", '"', '"Conv2D_3":"'),
    *("Classes:4 Classes:5", "Classes:4 + ", "\x1b[2J:0", "Classes:\u0663", "Classes:4@0,0"),
    *("Conv2D_3:0@\u0663,0", "Classes:1 - " * 3000),
)
_PRIORS = (
    *("", "x", "smooth(", "smooth(9)", "smooth(-1)", "smooth(nan)", "smooth(1e999)", "jitter(65)"),
    *("jitter(1.5)", "jitter(1e999)", "colours(1)", "smooth+smooth", "+", "scaling(2)"),
    *("rotation(999)", "l2(-1)", "variation(1e999)", "smooth+" * 5000),
    *("smooth(" + "1" * 5000 + ")", "none+smooth", "smooth(--1)", "jitter(..)", "l2(1e308)"),
    *("variation(1e308)", "\x1b[2J"),
)
_GRIDS = (
    *("", "x", "0x0", "-1x3", "3", "3x", "99999x99999", f"{HUGE}x{HUGE}", f"{'9' * 5000}x1"),
    *("3x3x3", "axb", "1e3x2", "63x1", "8x7", "\u0663x", "3.0x3", "0x9", "4096x4096"),
)
_VALUES = (
    *("", ",", "nan,inf", "0,nan", "0.5", "0.8,0.2", "0.2,0.2", "-1,1", "0,1e999", "a,b"),
    *("0," * 20_000 + "1", ",".join(str(i / 99) for i in range(99)), "0;1"),
)
_CLUSTERS = (
    *("", ":", "://", "tcp://", "tcp://127.0.0.1:1", "http://127.0.0.1:1", "tcp://127.0.0.1:none"),
    *("tcp://127.0.0.1:99999999", "inproc://1", LONG, "127.0.0.1", "\x1b[2J", "a\nb"),
)
_INPUTS = (
    *("", "x", "..", "0..", "..1", "1..0", "0..0", "0..1e999", "-1e308..1e308", "nan..1"),
    *("0..1 mean 1", "0..1 mean 1,2 deviation 1", "0..1 mean 0 deviation 0"),
    *("0..1 mean 0,0 deviation 1,1", "0..255" * 999, "0..1 mean " + "1," * 9000),
    *("0..1 mean 0 deviation 1e-99", "." * 20_000, "1" * 20_000 + "..2"),
)
_SIZES = (
    *("", "x", "0", "-1x5", "64x", "99999x99999", HUGE, "64x64x3", "1e2", "²", "\u0663", "28x28"),
    "1000000",
)
_TEXTS = ("", "x", LONG, "\x1b[2J", "Conv2D_9", "a\nb", "'; DROP TABLE oips; --", "\u202e", "-")
_DATASETS = (
    *("", "birds", "nowhere.npz", "full", "/", "-", LONG, f"{LONG}.npz", "mine.txt", "oip.db"),
    *("/dev/zero", "a\nb.npz", "m.keras"),
)
_MODELS_OUT = (*_PATHS_OUT, "saved.h5", "no/saved.keras", f"{LONG}.keras", "mine.txt/a.keras")

#: Option or argument -> values that are right, values that are wrong.
VALUES: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "db": (["oip.db", "./oip.db"], [*_PATHS_IN, *_URLS]),
    "maps": (["0", "0-4", "1,3", " 2 "], _MAPS),
    "repeated": (["0", "4"], [*_INTEGERS, "99"]),
    "objectives": (["Classes:4", "Conv2D_3:0@0,0"], _OBJECTIVES),
    "objective": (["Classes:4 - Classes:9", "Conv2D_3:1"], _OBJECTIVES),
    "prior": (["smooth", "none"], _PRIORS),
    "origin": (["fluctuation"], ["", "x", "FLUCTUATION ", "both,pattern"]),
    "trials": (["1", "2"], [*_INTEGERS, "0", str(10**12)]),
    "steps": (["2", "5"], [*_INTEGERS, "0", str(10**18)]),
    "epsilon": (["0.01", "0.5"], [*_FLOATS, "1e308"]),
    "strategy": (["race"], ["", "x", "article,race"]),
    "layer": (["Conv2D_3"], list(_TEXTS)),
    "network": (["1"], [*_INTEGERS, "0", "999"]),
    "model": ([], [*_PATHS_IN[:15], "digits.npz", "none.keras", "full.keras"]),
    "inputs": (["standardized", "0..1"], _INPUTS),
    "image_size": ([], _SIZES),
    "dataset": (["digits.npz"], _DATASETS),
    "data": ([], ["nowhere", "mine.txt", LONG, "-"]),
    "epochs": (["1"], [*_INTEGERS, "0", str(10**18)]),
    "seed": (["0", "3"], [*_INTEGERS[:2], "-7", "x", "1.5", "nan"]),
    "save": (["saved.keras"], _MODELS_OUT),
    "values": (["0,1", "0.2,0.8"], _VALUES),
    "grid": (["2x2", "3x3"], _GRIDS),
    "workers": (["1"], [*_INTEGERS, "0", HUGE]),
    "cluster": ([], _CLUSTERS),
    "form": (["json", "csv", "table"], ["", "xml", "JSON ", "parquet,csv"]),
    "out": (["q.csv", "new-out.txt"], _PATHS_OUT),
    "stop_reason": (["converged"], ["", "x", "never"]),
    "least": (["0", "1e-3", "-1"], ["", "much", "1e", "nan", "-nan"]),
    "largest": (["0", "1e9"], ["", "much", "1e", "nan"]),
    "start": (["0", "5"], [*_INTEGERS]),
    "spec": (["", "ab"], ["\x1b[2J", LONG]),
    "sort": (["loss", "id"], ["", "x", "map"]),
    "limit": (["0", "3"], [*_INTEGERS]),
    "folder": (["out", "new folder"], _PATHS_OUT),
    "host": ([], ["999.1.1.1", "", "nowhere.invalid", LONG, "::::"]),
    "port": ([], ["-1", "65536", "x", "", HUGE]),
    "id": (["1", "2"], [*_INTEGERS, "0", "999", str(2**62)]),
    "png": (["out.png", "two.png"], _PATHS_OUT),
    "npy": (["out.npy"], _PATHS_OUT),
    "ids": (["1", "2 3"], [*_INTEGERS, "0", "999", str(2**62)]),
    "sample": (["1", "2"], [*_INTEGERS, "0"]),
    "tolerance": (["0", "0.1"], ["-1", "nan", "much", ""]),
    "target": (["new.db"], [*_PATHS_IN[:13], *_URLS]),
    "others": (["oip.db"], [*_PATHS_IN, *_URLS, "new.db"]),
    "notebooks": ([], ["09-birds", "", "../x", LONG, "01-network.ipynb", "/"]),
    "site": ([], ["/proc/x", "full", "mine.txt", "/sys/x", LONG, "mine.txt/x"]),
}

#: Right but long, so never called without a mistake.
SLOW = {"run", "book", "reproduce", "compare", "serve", "train"}
#: These make a database where there is none, and train a network in it.
CREATING = {"train", "screen", "derive", "run", "reproduce"}
# Names under which they would do so.
_NEW = (
    *("nowhere.db", "a\nb", "~", "%s", "empty.db", "-", "sqlite://", "sqlite:///"),
    "sqlite:///nowhere.db",
)
#: Options that name a file that is read, so that status 1 tells of it.
READ = {"db", "others", "target", "data", "dataset", "model"}
#: Texts that ask for nothing that is wrong by itself.
_IDLE = {("spec", LONG), ("spec", "\x1b[2J")}
#: In Python digits of other scripts are digits, too.
_FINE = {"\u0661", "\u0663", "Classes:\u0663", "Conv2D_3:0@\u0663,0"}


def line(seed: int, number: int) -> Line:
    """The line of a number."""
    from oiplib.cli import main

    rng = random.Random(f"{seed}:line:{number}")
    names = list(main.commands)
    command = names[number % len(names)]
    made = Line(command, [command])
    if rng.random() < 0.05:
        return _malformed(made, rng)
    params = main.commands[command].params
    n_wrong = rng.choice([0, 1, 1, 1, 2]) if command not in SLOW else rng.choice([1, 1, 2])
    chosen = [p for p in params if p.name != "db" and (p.required or rng.random() < 0.25)]
    able = [p for p in params if VALUES.get(str(p.name), ([], []))[1]]
    if command in SLOW and command != "train":  # where it isn't looked at soon, all would be done
        able = [p for p in able if p.name not in ("data", "spec")]
    wrong = rng.sample(able, min(n_wrong, len(able)))
    chosen += [p for p in wrong if p not in chosen]
    words: list[str] = []
    for param in chosen:
        _add(made, param, param in wrong, rng, words)
    if not any(param.name == "db" for param in chosen) and any(p.name == "db" for p in params):
        made.args += rng.choice([["--db", "oip.db"], []])
    named = " ".join(made.args)
    if command == "derive" and "--maps" not in named and "--objective" not in named:
        made.args += ["--maps", "0"]
    if command == "replay" and not words and "--sample" not in named and "--all" not in named:
        made.args += ["--sample", "1"]
    made.args += ["--", *words] if words else []
    if command in {*CREATING, "book", "compare", "merge"}:
        made.may_write += [*_with_log("oip.db"), *_with_log("new.db")]
    return made


def _with_log(db: str) -> list[str]:
    """The files of an SQLite database."""
    return [db, f"{db}-wal", f"{db}-shm"]


def _add(
    made: Line, param: click.Parameter, is_wrong: bool, rng: random.Random, words: list[str]
) -> None:
    """Add an option or an argument, right or wrong."""
    name = str(param.name)
    right, wrong = VALUES.get(name, ([], []))
    if isinstance(param, click.Option) and param.is_flag:
        if name != "everything":  # to replay all takes long
            made.args.append(param.opts[0])
        return
    if not is_wrong and not right:
        return
    value = rng.choice(list(wrong if is_wrong else right))
    makes_it = name == "target" or (name == "db" and made.command in CREATING)
    if makes_it and value in _NEW:
        value = "noise.db"
    if made.command in SLOW and value in _FINE:
        value = "x"
    if name == "out" and made.command == "run" and value == "full":
        value = "/proc/x"  # notebooks may stand beside other files
    if name == "data" and made.command != "train":
        return  # it is looked at when it is needed, which takes long
    if is_wrong and (name, value) not in _IDLE and value not in _FINE:
        made.wrong.append(f"{name}={value[:40]!r}")
        made.may_fail |= name in READ
    if not is_wrong and name in ("out", "save", "png", "npy", "folder", "target"):
        made.may_write.append(value)
    if name in ("target", "db"):
        made.may_write += [*_with_log(value), *_with_log("nowhere.db")]
    if isinstance(param, click.Argument):
        words += [value] if is_wrong or name != "ids" else value.split()
    elif rng.random() < 0.5 or value.startswith("-"):
        made.args.append(f"{param.opts[0]}={value}")
    else:
        made.args += [param.opts[0], value]


_EXTRA = (
    *(["--nothing"], ["a", "b", "c", "d"], ["-x"], ["--db"], ["--=x"], ["-"], ["\x1b[2J"]),
    *(["--db=oip.db", "--db"], ["--" + LONG], ["--maps"], ["-999"], ["--help", "--nothing"]),
)


def _malformed(made: Line, rng: random.Random) -> Line:
    """Unknown options, too many words, none at all."""
    takes_names = made.command in ("run", "merge", "export", "replay", "show")
    extra = rng.choice(_EXTRA)
    made.args += extra
    if extra[0] == "--help":
        return made
    if takes_names and not extra[0].startswith("--"):
        made.may_write = list(extra)  # it may be a name
    else:
        made.wrong.append(f"{extra[0][:40]!r}")
    return made
