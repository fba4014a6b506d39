"""The chapters of the book, listed once, each with what must be computed for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..errors import InputError
from ..values import Maps
from . import answers, legible, questions, reproduction, selecting, trainings, trust, unique
from .study import Study


@dataclass(frozen=True)
class Need:
    """Something that chapters show: how it is computed, and said in a few words.

    Attributes
    ----------
    name : str
    compute : function
        Of a study and some of its maps; gets or computes, and says in a few words what.
    """

    name: str
    compute: Callable[[Study, list[int]], str]


@dataclass(frozen=True)
class Chapter:
    """A notebook of the book, by the name of its template, and the `NEEDS` that it shows."""

    name: str
    needs: tuple[str, ...]


def _networks(study: Study, maps: list[int]) -> str:
    if study.is_trained and study.network.spec is None:
        return "none beside the model"
    new = trainings.train_all(study)
    return f"{len(new)} trained side by side" if new else "stored already"


def _network(study: Study, maps: list[int]) -> str:
    was_trained = study.is_trained
    accuracy = study.train().accuracy
    score = "" if accuracy is None else f", {accuracy:.2%} of the test images right"
    return ("stored already" if was_trained else "trained") + score


def _screening(study: Study, maps: list[int]) -> str:
    was_screened = study.is_screened
    n_patterns = study.screening().n_patterns
    return f"{n_patterns:,} patterns" + (", stored already" if was_screened else "")


def _fluctuations(study: Study, maps: list[int]) -> str:
    return _searched(study.derive_from_fluctuations(maps), maps)


def _patterns(study: Study, maps: list[int]) -> str:
    return _searched(study.derive_from_patterns(maps), maps)


def _searched(new: list[int], maps: list[int]) -> str:
    if not new:
        return f"{len(maps)} maps, stored already"
    return f"{len(new)} maps" + (f" of {len(maps)}" if len(new) < len(maps) else "")


def _layers(study: Study, maps: list[int]) -> str:
    searched, shown = [], answers.shown_before(study)
    for other in shown:
        asked = [map for map in maps if map < other.layer.n_maps]
        new = other.search(other.spec.scan, asked, "Precursor scan")
        if new:
            searched.append(f"{len(new)} maps of {other.layer.name}")
    return ", ".join(searched) or ("stored already" if shown else "none before this one")


def _selection(study: Study, maps: list[int]) -> str:
    ways = selecting.judged(study, maps)
    n_starts = sum(way.n_maps * way.n_starts for way in ways)
    return f"{n_starts:,} starts ascended, none dropped, in {len(ways)} ways"


def _data(study: Study, maps: list[int]) -> str:
    if not study.has_data:
        return "none: the network came as a model, without data"
    n_images = questions.reaction(study, "data").n_images
    return f"{n_images:,} training images shown to all maps"


def _reactions(study: Study, maps: list[int]) -> str:
    table = questions.map_table(study, maps)
    kind = "images" if study.has_data else "fluctuations"
    responding = sum(row[kind] > 0 for row in table)
    images = "training image" if study.has_data else "random image"
    return f"{responding} of {len(table)} maps respond to some {images}"


def _variety(study: Study, maps: list[int]) -> str:
    varieties = questions.varieties(study, maps)
    n_starts = sum(row.n_starts for row in varieties.values())
    return f"{n_starts:,} restarts of {len(varieties)} maps"


def _legible(study: Study, maps: list[int]) -> str:
    new = legible.derive_legible(study, maps)
    return f"{len(new)} maps under {len(unique.PRIORS)} priors" if new else "stored already"


def _priors(study: Study, maps: list[int]) -> str:
    by_prior = unique.restarted(study)
    found = [questions.varieties(part, maps) for parts in by_prior.values() for part in parts]
    n_trainings = len(found) // len(by_prior)
    n_starts = next(iter(by_prior.values()))[0].spec.variety.n_starts
    restarts = f"{n_starts} restarts" if any(found) else "no restarts"
    return f"{restarts} of each map in {n_trainings} training{'s' * (n_trainings > 1)}"


def _reproduction(study: Study, maps: list[int]) -> str:
    if study.network.spec is None:
        return "none: the network came as a model"
    new = reproduction.derive_as_articles(study, maps)
    new += reproduction.derive_variants(study, maps)
    n_left = len(reproduction.left_by_trials(study, maps))
    return f"article X for {n_left} maps that article IX left" if new else "stored already"


def _trust(study: Study, maps: list[int]) -> str:
    n_oips = sum(len(of_prior.tested) for of_prior in trust.trust(study, maps))
    return f"{n_oips} OIPs put to the test"


def _trainings(study: Study, maps: list[int]) -> str:
    if study.network.spec is None:
        return "none: the network came as a model"
    studies = trainings.trainings(study)
    layers = trainings.correspondences(study)
    others = [each.network for each in studies if each.network.id != study.network.id]
    accuracies = ", ".join(f"{network.accuracy:.2%}" for network in others)
    return f"{len(others)} more networks ({accuracies}), {len(layers)} layers compared"


#: All that chapters need, in the order in which it is computed.
NEEDS = (
    # All at once: a training keeps a single core busy.
    Need("networks", _networks),
    Need("network", _network),
    Need("screening", _screening),
    Need("fluctuations", _fluctuations),
    Need("patterns", _patterns),
    Need("layers", _layers),
    Need("data", _data),
    Need("reactions", _reactions),
    Need("variety", _variety),
    Need("trainings", _trainings),
    Need("selection", _selection),
    Need("reproduction", _reproduction),
    Need("legible", _legible),
    Need("priors", _priors),
    Need("trust", _trust),
)

_OIPS = ("network", "screening", "fluctuations", "patterns")

#: The chapters in the order of the book.
CHAPTERS = (
    Chapter("01-network", ("network",)),
    Chapter("activations", ("network", "data")),
    Chapter("02-fluctuations", ("network",)),
    Chapter("03-oip", ("network", "fluctuations")),
    Chapter("04-precursor", (*_OIPS, "selection", "reactions")),
    Chapter("reproduction", (*_OIPS, "variety", "reproduction")),
    Chapter("layers", (*_OIPS, "layers")),
    Chapter("legible", (*_OIPS, "legible", "priors")),
    Chapter("07-uniqueness", (*_OIPS, "variety", "priors")),
    Chapter("repetition", _OIPS),
    Chapter("08-two-trainings", ("networks", "network", "trainings")),
    Chapter("beside", ("networks", "network", "trainings")),
    Chapter("trust", (*_OIPS, "networks", "legible", "trainings", "trust")),
    Chapter("classes", (*_OIPS, "data")),
    Chapter("query", (*_OIPS, "variety")),
)

#: The template that is executed for each map.
MAP_CHAPTER = Chapter("05-map", (*_OIPS, "reactions", "variety", "legible"))

#: Set in the environment of a kernel before which all that it shows was computed.
PREPARED = "OIP_PREPARED"

#: The names of all templates.
NOTEBOOKS = tuple(chapter.name for chapter in (*CHAPTERS, MAP_CHAPTER))


def prepare(study: Study, names: str | Iterable[str] = NOTEBOOKS, maps: Maps = None) -> list[int]:
    """Compute and store what chapters show of some maps, for all maps together.

    Parameters
    ----------
    study
        Whose network and layer.
    names
        Of one chapter, or several; all by default.
    maps
        Which maps; all of the layer by default.

    Returns
    -------
    list of int
        The maps.

    Raises
    ------
    InputError
        If there is no such chapter, or no such map.
    """
    indices = study.check_maps(maps)
    needs = needs_of([names] if isinstance(names, str) else names)
    if os.environ.get(PREPARED):
        return indices
    for need in needs:
        need.compute(study, indices)
    return indices


def needs_of(names: Iterable[str]) -> list[Need]:
    """What some chapters need, each once, in the order in which it is computed.

    Raises
    ------
    InputError
        If there is no such chapter.
    """
    by_name = {chapter.name: chapter for chapter in (*CHAPTERS, MAP_CHAPTER)}
    wanted: set[str] = set()
    for name in names:
        if name not in by_name:
            raise InputError(f"unknown notebook {name!r}: choose one of {', '.join(by_name)}")
        wanted.update(by_name[name].needs)
    return [need for need in NEEDS if need.name in wanted]
