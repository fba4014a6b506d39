"""The main job: from nothing to the database and the site."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .publish import book
from .study.chapters import NOTEBOOKS, needs_of
from .study.read import Summary
from .study.study import Study
from .values import Maps


@dataclass(frozen=True)
class Stage:
    """One stage of the job: what it did, and how long that took (in seconds)."""

    name: str
    result: str
    seconds: float


def reproduce(
    study: Study,
    site: Path,
    maps: Maps = None,
    say: Callable[[Stage], None] = lambda _: None,
    address: str | None = None,
) -> tuple[list[Stage], Summary]:
    """Compute all that the chapters of the book show, run the notebooks, build the site.

    What the database and the site hold already is not done again.

    Parameters
    ----------
    study
        What to do, and the database.
    site
        Folder of the site.
    maps
        Maps to be searched and shown; all of the layer by default.
    say
        Called with each stage when it is done.
    address
        Where the site will be; see `oiplib.publish.book.build`.

    Raises
    ------
    InputError
        If there is no such map.
    """
    stages: list[Stage] = []
    indices = study.check_maps(maps)

    def stage(name: str, work: Callable[[], str]) -> None:
        begin = time.perf_counter()
        result = work()
        stages.append(Stage(name, result, time.perf_counter() - begin))
        say(stages[-1])

    for need in needs_of(NOTEBOOKS):
        stage(need.name, partial(need.compute, study, indices))
    stage("book", lambda: _book(study, site, indices, address))
    return stages, study.summary(indices)


def _book(study: Study, site: Path, maps: list[int], address: str | None) -> str:
    n_executed, built = book.build(study, site, maps, address, is_prepared=True)
    notebooks = f"{n_executed} notebooks executed" if n_executed else "notebooks up to date"
    return f"{notebooks}, {'site built' if built else 'site up to date'}"
