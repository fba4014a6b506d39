"""What `faults.py` kills: commands, and the databases from which they begin."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oiplib import (
    AscentSpec,
    ClimbSpec,
    CnnSpec,
    FluctuationSpec,
    GridSpec,
    RungSpec,
    ScanSpec,
    StudySpec,
    TrialSpec,
    VarietySpec,
)
from oiplib.engine import data

_FIRST = AscentSpec(6, 0.3, n_steps=0, objective="pre-activation")
_CLIMB = ClimbSpec((_FIRST, AscentSpec(11, 0.3, n_steps=0, schedule="cosine")))

#: A study of a small network, with little of everything.
SPEC = StudySpec(
    cnn=CnnSpec(dataset="DIGITS", maps=(4, 4, 6), dense=(8,), epochs=2),
    trials=TrialSpec(FluctuationSpec(), n_trials=3, ascent=AscentSpec(n_epochs=20, n_steps=3)),
    scan=ScanSpec(
        GridSpec((0.2, 0.8), 3, 3),
        rungs=(
            RungSpec(8, _FIRST),
            RungSpec(4, AscentSpec(11, 0.2, n_steps=2, schedule="cosine")),
        ),
        n_oips=3,
    ),
    variety=VarietySpec(n_starts=6, climb=_CLIMB, n_unlike=2),
    compared=VarietySpec(n_starts=4, climb=_CLIMB, n_unlike=0),
)


@dataclass(frozen=True)
class Base:
    """A folder with a database: another base, some commands in it, and perhaps a second database.

    Attributes
    ----------
    of, commands
        The base from which it is made, and how.
    other
        The base whose database stands in it as ``other.db``.
    """

    of: str = "empty"
    commands: tuple[tuple[str, ...], ...] = ()
    other: str = ""

    def add(self, folder: Path, other: Path | None) -> None:
        """Put the databases that come from elsewhere into the folder."""
        if other is not None:
            shutil.copyfile(other / "oip.db", folder / "other.db")


BASES = {
    "trained": Base(commands=(("tiny", SPEC.to_json()),)),
    "derived": Base("trained", (("derive",),)),
    "asked": Base("derived", (("restart",), ("react",))),
    "half": Base("trained", (("derive", "--origin", "fluctuation", "--maps", "0-2"),), "asked"),
    "finished": Base("asked", (("prepare", "0,1"),)),
}


@dataclass(frozen=True)
class Scenario:
    """A command that is killed.

    Attributes
    ----------
    name, command
        What it is called, and its arguments; see `killing.Plan`.
    base
        Where it begins.
    share
        Of how many of a thousand kills.
    is_fresh
        Whether it starts as a process of its own, because it starts others.
    whole
        Folders that are there as a whole or not at all.
    is_once
        Whether it refuses, with status 2, to do again what is done.
    """

    name: str
    command: tuple[str, ...]
    base: str
    share: int
    is_fresh: bool = False
    whole: tuple[str, ...] = ()
    is_once: bool = False

    @property
    def is_on_server(self) -> bool:
        """Whether a PostgreSQL server is its database, too."""
        return self.name in ("train", "screen", "derive", "restart", "reactions", "merge")

    @property
    def is_of_oip(self) -> bool:
        """Whether it is a command of ``oip``, which listens to signals."""
        return self.name not in ("restart", "reactions")


_PATTERNS = ("derive", "--origin", "pattern")
_TEXTS = ("--objective", "Conv2D_3:1 - Conv2D_3:2", "--objective", "Classes:4", "--prior", "smooth")

#: All of them, by name.
SCENARIOS = {
    each.name: each
    for each in (
        Scenario("train", ("train", "--dataset", "{digits}", "--epochs", "2"), "empty", 200),
        Scenario("screen", ("screen", "--values", "0.2,0.8", "--grid", "1x17"), "trained", 150),
        Scenario("derive", ("derive",), "trained", 180),
        Scenario("article", (*_PATTERNS, "--strategy", "article", "--maps", "0,1"), "trained", 30),
        Scenario("objective", (*_PATTERNS, *_TEXTS), "trained", 30),
        Scenario("restart", ("restart",), "derived", 105),
        Scenario("reactions", ("react",), "derived", 60),
        Scenario("merge", ("merge", "{db}", "other.db"), "half", 160),
        Scenario("query", ("query", "--out", "oips.csv"), "derived", 20),
        Scenario("export", ("export", "out"), "derived", 40, whole=("out",), is_once=True),
        Scenario("compare", ("compare",), "derived", 6),
        Scenario("run", ("run", "07-uniqueness", "05-map", "--maps", "0,1"), "derived", 12, True),
        Scenario("book", ("book", "--maps", "0,1"), "finished", 5, True, ("site",)),
    )
}


def write_digits(path: Path) -> None:
    """A data set of a few hundred real digits."""
    mnist = data.load("mnist")
    np.savez(
        path,
        x_train=mnist.train_images[:640, ..., 0],
        y_train=mnist.train_labels[:640],
        x_test=mnist.test_images[:100, ..., 0],
        y_test=mnist.test_labels[:100],
    )
