"""Is the selection any good? Asked of every training, with both ways to go on after ten steps.

For many maps a few starts, drawn from the patterns to which the map responds, climb to the end;
none is dropped. So it shows which of them a selection after ten steps would have missed. The same
ascents are repeated from starts that are moved by rounding alone: what ends otherwise then, no
selection can foresee.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..analysis.estimates import Answer, Estimate, drawn, over_maps
from ..analysis.selection import Selection, avoided, selection, standings
from ..values import Maps, RungSpec, ScanSpec, rungs_of
from .study import Study
from .trainings import others

#: Noise on a start that is no more than rounding, where an image has a deviation of 1.
ROUNDING = 1e-7

# How many starts race for each that is drawn here, and how many are drawn at least; patterns that
# are looked at for each start, as some maps respond to few.
_SHARE, _LEAST, _OVERSAMPLING = 8, 6, 256


@dataclass(frozen=True)
class Way:
    """First steps and an ending, each as the ``article`` or the ``race`` has them.

    How many maps are asked, of how many the ascents are repeated, and how many the other trainings
    are asked, drawn by a fixed seed: the article's ending takes more than ten times as many steps.
    """

    first: str
    ending: str

    asked: ClassVar[dict[str, int]] = {"article": 48, "race": 96}
    repeated: ClassVar[dict[str, int]] = {"article": 12, "race": 24}
    elsewhere: ClassVar[dict[str, int]] = {"article": 12, "race": 24}


#: All that are asked.
WAYS = (Way("article", "article"), Way("article", "race"), Way("race", "race"))


@dataclass(frozen=True)
class Judged:
    """How well the losses after ten steps select the starts that end highest.

    Attributes
    ----------
    way : Way
    steps : tuple of int
        After how many steps the starts were compared with their end, and how many that has.
    n_maps, n_starts, n_repeated : int
        Maps that were judged, starts of each, maps whose ascents were repeated.
    correlation : Answer
        Rank correlation between the losses after ten steps and at the end, median over maps.
    leader, random : Answer
        By how much the start that leads after ten steps, and one drawn at random, end below the
        best of all, relative to that; mean over maps.
    gained : Answer
        The difference, map by map; 0 by chance.
    avoided : Answer
        What share of the misses of random starts the leaders don't miss; 0 by chance.
    again, again_correlation, again_avoided : Estimate
        What is missed if the final losses of the repetition select, and how these agree with the
        final losses: what a selection misses that has seen the whole ascent, but for rounding.
    rounding : Estimate
        By how much the final loss of a start changes in the repetition, relative to it: what nine
        tenths of the starts stay below. Most don't change at all: the gradient of a network of
        ReLUs changes in jumps, so near ascents take the same steps and meet.
    """

    way: Way
    steps: tuple[int, int]
    n_maps: int
    n_starts: int
    n_repeated: int
    correlation: Answer
    leader: Answer
    random: Answer
    gained: Answer
    avoided: Answer
    again: Estimate
    again_correlation: Estimate
    again_avoided: Estimate
    rounding: Estimate


def judged(study: Study, maps: Maps = None) -> list[Judged]:
    """How well both articles' and the race's first steps select; what isn't stored is computed.

    Parameters
    ----------
    study
        Whose layer.
    maps
        Which maps; all by default. Some of them are drawn, fewer for the article's ending and in
        the other trainings.

    Returns
    -------
    list of Judged
        One for each of `WAYS`. Ways are left out in which no map could be judged: because the
        study's race has a single rung, or hardly any pattern excites a map.
    """
    indices = study.check_maps(maps)
    found = []
    for way in WAYS:
        spec = scan_spec(study, way)
        if len(spec.rungs) < 2:
            continue
        ended = _losses(study, spec, drawn(indices, way.asked[way.ending]))
        moved = drawn(indices, way.repeated[way.ending])
        again = _losses(study, spec.replace(noise=ROUNDING), moved)
        elsewhere = [
            selection(_pairs(_losses(part, scan_spec(part, way), _asked_elsewhere(indices, way))))
            for part in others(study)
        ]
        here = selection(_pairs(ended))
        if here.n_maps > 1:  # one alone has no interval
            found.append(_judged(way, spec, here, elsewhere, ended, again))
    return found


def scan_spec(study: Study, way: Way) -> ScanSpec:
    """The scan by which a way to select is judged: no start is dropped, and no OIP is kept.

    The article's ending has twice as many epochs as the study's trials, as in the articles.
    Patterns begin without noise, whatever the study's do: only so can rounding be told from it.
    """
    scan = study.spec.scan
    raced = scan.rungs if scan.strategy == "race" else rungs_of("race")
    ten = rungs_of("article")[0].ascent
    n_left = 2 * study.spec.trials.ascent.n_epochs - ten.n_epochs + 1
    first = {"article": ten, "race": raced[0].ascent}[way.first]
    ending = [ten.replace(n_epochs=max(2, n_left))]
    if way.ending == "race":
        ending = [rung.ascent for rung in raced[1:]]
    n_starts = max(_LEAST, raced[0].n_starts // _SHARE)
    return ScanSpec(
        scan.grid,
        "race",
        tuple(RungSpec(n_starts, ascent) for ascent in (first, *ending)),
        n_oips=0,
        seed=scan.seed,
        oversampling=_OVERSAMPLING,
        responding=True,
    )


def _asked_elsewhere(indices: Sequence[int], way: Way) -> list[int]:
    return drawn(indices, way.elsewhere[way.ending])


def _losses(study: Study, spec: ScanSpec, maps: Sequence[int]) -> dict[int, np.ndarray]:
    """Map -> losses of its starts at each rung, (rungs, starts), in the order of the starts."""
    title = f"Selection in {study.network.name}"
    study.search(spec, list(maps), title, keep_screening=False)
    scans = {scan.map: scan for scan in study.store.scans(study.layer.id, spec.sha256)}
    return {
        map: standings([(rung.steps, rung.starts, rung.losses) for rung in scans[map].rungs])
        for map in maps
    }


def _pairs(losses: dict[int, np.ndarray]) -> list[np.ndarray]:
    """Of each map the losses after the first steps, and the final ones."""
    return [of_map[[1, -1]] for of_map in losses.values()]


def _judged(
    way: Way,
    spec: ScanSpec,
    here: Selection,
    elsewhere: Sequence[Selection],
    ended: dict[int, np.ndarray],
    again: dict[int, np.ndarray],
) -> Judged:
    both = [np.stack([of_map[-1], ended[map][-1]]) for map, of_map in again.items()]
    repeated = selection(both)
    changes = [np.abs(now[end > 0] / end[end > 0] - 1) for now, end in both]
    each = [here, *(selected for selected in elsewhere if selected.n_maps)]
    steps = [rung.ascent.n_epochs - 1 for rung in spec.rungs]
    return Judged(
        way=way,
        steps=(steps[0], sum(steps)),
        n_maps=here.n_maps,
        n_starts=spec.rungs[0].n_starts,
        n_repeated=repeated.n_maps,
        correlation=Answer(
            over_maps(here.correlations, np.nanmedian),
            tuple(float(np.nanmedian(selected.correlations)) for selected in each),
            chance=0.0,
        ),
        leader=_mean([selected.leader for selected in each]),
        random=_mean([selected.random for selected in each]),
        gained=_mean([selected.gained for selected in each]),
        avoided=Answer(
            over_maps(here.both, avoided),
            tuple(avoided(selected.both[:, 0]) for selected in each),
            chance=0.0,
        ),
        again=over_maps(repeated.leader, np.mean),
        again_correlation=over_maps(repeated.correlations, np.nanmedian),
        again_avoided=over_maps(repeated.both, avoided),
        rounding=over_maps(changes, _nine_tenths),
    )


def _nine_tenths(values: np.ndarray) -> float:
    return float(np.quantile(values, 0.9))


def _mean(of_networks: Sequence[np.ndarray]) -> Answer:
    means = tuple(float(values.mean()) for values in of_networks)
    return Answer(over_maps(of_networks[0], np.mean), means)
