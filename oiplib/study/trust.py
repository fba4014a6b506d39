"""How far OIPs can be trusted, in numbers: what `conditions` found of each, put together.

The condition of the strongest OIPs is asked of every training; all else of the studied one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..analysis.estimates import Answer, Estimate, over_maps
from ..analysis.jumps import jumps
from ..analysis.paths import Path
from ..store import Oip
from ..values import ConditionSpec, Maps
from .answers import MOST_COMPARED, compared_trainings, spread
from .conditions import Tested, conditions, paths
from .questions import earlier_layers, reaction
from .study import Study
from .trainings import others
from .unique import PRIORS

#: A map that jumps by more of its response isn't to be trusted. `benchmarks/DECEIT.md` says how far
#: below honest maps stay, and how far above those that were built to deceive.
SUSPICIOUS = 0.1

# The strongest real images of a map from which a way leads to its OIP.
_N_WAYS = 5


@dataclass(frozen=True)
class Trust:
    """How far the best OIPs under a prior can be trusted.

    Attributes
    ----------
    name : str
        One of `unique.PRIORS`.
    tested : dict
        Map -> its OIP, tested.
    same : dict
        By how much starts were moved -> share of the ascents that end in the same image.
    losses : dict
        By how much starts were moved -> what the ascents reach, over the OIP's own loss, in the
        median.
    moved, noisy : Estimate
        Share of its response that an OIP keeps when it is moved by a pixel, and under noise, in
        the median.
    """

    name: str
    tested: dict[int, Tested]
    same: dict[float, Answer]
    losses: dict[float, Estimate]
    moved: Estimate
    noisy: Estimate


@dataclass(frozen=True)
class Elsewhere:
    """How strongly OIPs excite maps of other trainings, relative to these maps' own best OIPs.

    Attributes
    ----------
    matched : Answer
        Of the map that corresponds to the OIP's own, in the median; the networks are the other
        trainings.
    null : Estimate
        The same for the other matched maps.
    """

    matched: Answer
    null: Estimate


def trust(study: Study, maps: Maps = None) -> list[Trust]:
    """How far the best OIPs under each prior can be trusted; what isn't stored is computed.

    Returns
    -------
    list of Trust
        The strongest first. Priors under which there is no OIP are left out.
    """
    found = []
    for name, tested in conditions(study, maps).items():
        if not tested:
            continue
        in_trainings = [tested]
        if name == next(iter(PRIORS)):
            in_trainings += [conditions(part, priors=[name])[name] for part in others(study)]
        moves = ConditionSpec().moves
        found.append(
            Trust(
                name=name,
                tested=tested,
                same={move: _same(in_trainings, k) for k, move in enumerate(moves)},
                losses={
                    move: over_maps([each.losses[k] for each in tested.values()])
                    for k, move in enumerate(moves)
                },
                moved=over_maps(np.array([each.condition.moved for each in tested.values()])),
                noisy=over_maps(np.array([each.condition.noisy for each in tested.values()])),
            )
        )
    return found


def paths_by_layer(study: Study, oips: Sequence[Oip]) -> dict[str, Path]:
    """Name of an earlier layer -> on which path OIPs excite their maps there."""
    told, of_layers = paths(study, oips)
    names = [earlier.layer.name for earlier in reversed(earlier_layers(study))]
    return dict(zip(names, of_layers, strict=True)) if told else {}


def elsewhere(study: Study, oips: Sequence[Oip]) -> Elsewhere | None:
    """How strongly OIPs excite the maps of other trainings that correspond to their own.

    Parameters
    ----------
    study
        Whose trainings are stored and compared; one whose network came as a model has no others.
    oips
        Of maps of this study; those of unmatched maps are left out.

    Returns
    -------
    Elsewhere or None
        None if no other training has two of these maps.
    """
    matched: dict[int, list[float]] = {}
    null: dict[int, list[float]] = {}
    medians = []
    by_network = {part.network.id: part for part in others(study)}
    for pair in compared_trainings(study):
        if study.network.id not in pair.networks:
            continue
        side = pair.networks.index(study.network.id)
        other = by_network[pair.networks[1 - side]]
        partners = {int(line[side]): int(line[1 - side]) for line in pair.pairs}
        shown = [oip for oip in oips if oip.of_map in partners]
        if len(shown) < 2:
            continue
        asked = [partners[oip.of_map] for oip in shown]
        best = np.array([pair.oips[1 - side][map].loss for map in asked])
        relative = other.engine(np.array([oip.image for oip in shown]))[:, asked] / best
        own = np.diagonal(relative)
        medians.append(float(np.median(own)))
        for k, oip in enumerate(shown):
            matched.setdefault(oip.of_map, []).append(own[k])
            null.setdefault(oip.of_map, []).extend(np.delete(relative[k], k))
    if not matched:
        return None
    of_partners, rest = (
        over_maps([np.array(values) for values in of.values()]) for of in (matched, null)
    )
    return Elsewhere(Answer(of_partners, tuple(medians)), rest)


def switching(study: Study, oips: Sequence[Oip]) -> dict[int, float]:
    """How far maps jump between real images and their OIPs: who is more than `SUSPICIOUS`?

    Such a map answers real images in one way and grown ones in another, so its OIP tells nothing
    of what it is for.

    Parameters
    ----------
    study
        Whose OIPs; without data there is nothing to compare with.
    oips
        One a map; of more than `MOST_COMPARED` so many, evenly spread.

    Returns
    -------
    dict
        Map -> its largest jump on the way from one of its strongest real images to its OIP, over
        its response to that image; see `jumps`. Maps that no real image excites are left out.
    """
    from ..engine.images import project

    if not study.has_data:
        return {}
    seen, found = reaction(study, "data"), {}
    for oip in [oips[i] for i in spread(len(oips), MOST_COMPARED)]:
        map = oip.of_map
        excite = seen.top_responses[map][:_N_WAYS] > 0
        if not excite.any():
            continue

        def response(images: np.ndarray, map: int = map) -> np.ndarray:
            of_maps = study.engine(np.asarray(project(images, study.inputs)))
            return np.asarray(of_maps[:, map])

        real = study.inputs_of(seen.pictures(map)[:_N_WAYS][excite], (0.0, 255.0))
        found[map] = float(np.max(jumps(response, real, oip.image)))
    return found


def _same(in_trainings: Sequence[dict[int, Tested]], move: int) -> Answer:
    shares = [[each.same[move] for each in of.values()] for of in in_trainings if of]
    return Answer(
        over_maps(np.array(shares[0]), np.mean), tuple(float(np.mean(of)) for of in shares)
    )
