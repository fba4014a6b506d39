"""The main job: from nothing to the database and the site."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import book
from .study import Maps, Study, Summary
from .trainings import correspondences, trainings


@dataclass(frozen=True)
class Stage:
    """One stage of the job: what it did, and how long that took (in seconds)."""

    name: str
    result: str
    seconds: float


def reproduce(
    study: Study, site: Path, maps: Maps = None, say: Callable[[Stage], None] = lambda _: None
) -> tuple[list[Stage], Summary]:
    """Train, screen, derive OIPs, judge how they were selected, run the notebooks, build.

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
    """
    stages: list[Stage] = []

    def stage(name: str, work: Callable[[], str]) -> None:
        begin = time.perf_counter()
        result = work()
        stages.append(Stage(name, result, time.perf_counter() - begin))
        say(stages[-1])

    stage("network", lambda: _network(study))
    chosen = study.check_maps(maps)
    stage("screening", lambda: _screening(study))
    stage("fluctuations", lambda: _searched(study.derive_from_fluctuations(chosen), chosen))
    stage("patterns", lambda: _searched(study.derive_from_patterns(chosen), chosen))
    stage("layers", lambda: _layers(study, chosen))
    stage("selection", lambda: _selection(study, chosen))
    stage("reactions", lambda: _reactions(study, chosen))
    stage("variety", lambda: _variety(study, chosen))
    stage("trainings", lambda: _trainings(study))
    stage("book", lambda: _book(study, site, chosen))
    return stages, study.summary(chosen)


def _network(study: Study) -> str:
    known = study.is_trained
    accuracy = study.network.accuracy
    told = "" if accuracy is None else f", {accuracy:.2%} of the test images right"
    return ("stored already" if known else "trained") + told


def _screening(study: Study) -> str:
    known = study.is_screened
    screening = study.screening()
    return f"{screening.n_patterns:,} patterns" + (", stored already" if known else "")


def _searched(new: list[int], maps: list[int]) -> str:
    if not new:
        return f"{len(maps)} maps, stored already"
    return f"{len(new)} maps" + (f" of {len(maps)}" if len(new) < len(maps) else "")


def _layers(study: Study, maps: list[int]) -> str:
    new = []
    for other in study.earlier_layers():
        some = [map for map in maps if map < other.layer.n_maps]
        new.append(f"{len(other.derive_from_patterns(some))} maps of {other.layer.name}")
    return ", ".join(new) if any(not told.startswith("0 ") for told in new) else "stored already"


def _selection(study: Study, maps: list[int]) -> str:
    scans = study.selection(maps)["race"]
    starts = sum(len(scan.rungs[0].starts) for scan in scans)
    return f"{starts:,} starts of {len(scans)} maps ascended twice, none dropped"


def _reactions(study: Study, maps: list[int]) -> str:
    table = study.map_table(maps)
    responding = sum(row.get("digits", 0) > 0 for row in table)
    return f"{responding} of {len(table)} maps respond to some training image"


def _variety(study: Study, maps: list[int]) -> str:
    found = study.varieties(maps)
    return f"{sum(row.n_starts for row in found.values()):,} restarts of {len(found)} maps"


def _trainings(study: Study) -> str:
    others = [each.network for each in trainings(study) if each.network.id != study.network.id]
    accuracies = ", ".join(f"{network.accuracy:.2%}" for network in others)
    layers = correspondences(study)
    return f"{len(others)} more networks ({accuracies}), {len(layers)} layers compared"


def _book(study: Study, site: Path, maps: list[int]) -> str:
    executed, built = book.build(study, site, maps)
    notebooks = f"{executed} notebooks executed" if executed else "notebooks up to date"
    return f"{notebooks}, {'site built' if built else 'site up to date'}"
