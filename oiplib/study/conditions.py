"""Can you trust an OIP? What becomes of it where something small is different.

Its start is moved a little and climbs again; it is moved by a pixel, and noise is put on it; the
matched map of another training is asked; and in each layer before its own it is asked whether it
excites the same maps as real images (Geirhos et al. 2024).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..analysis.paths import Path, path
from ..store import Condition, Oip, Store
from ..values import ConditionSpec, Maps, seed_of, stages_of
from .answers import MOST_COMPARED, spread
from .legible import held_by
from .questions import earlier_layers, reaction
from .study import Study
from .unique import PRIORS
from .units import MovedUnit
from .work import Work

#: An image that correlates with another one better than this shows the same.
SAME = 0.99

# Ascents at a time, whose frames are in memory.
_GROUP = 512


@dataclass(frozen=True)
class Tested:
    """An OIP and how far it can be trusted."""

    oip: Oip
    condition: Condition

    @property
    def same(self) -> np.ndarray:
        """By how much the start was moved -> which share of the ascents ended in the same image."""
        return np.asarray((self.condition.alike > SAME).mean(axis=1))

    def text(self) -> str:
        """Both in a few words, beside what it keeps of its response when it is moved."""
        draws = self.condition.alike.shape[1]
        again = ", ".join(
            f"{share * draws:.0f} of {draws} by {move:g}"
            for move, share in zip(ConditionSpec().moves, self.same, strict=True)
        )
        return (
            f"ascents from a start that is moved a little end in the same image: {again}; moved "
            f"by a pixel it keeps {self.condition.moved:.0%} of its response, under noise "
            f"{self.condition.noisy:.0%}"
        )

    @property
    def losses(self) -> np.ndarray:
        """What the ascents from moved starts reached, over the OIP's own: (moves, draws)."""
        return np.asarray(self.condition.losses / self.oip.loss)


def conditions(
    study: Study, maps: Maps = None, priors: Sequence[str] = tuple(PRIORS)
) -> dict[str, dict[int, Tested]]:
    """How far the best OIP of each map can be trusted, under each of `unique.PRIORS`.

    What isn't stored yet is computed.

    Parameters
    ----------
    study
        Whose layer.
    maps
        Which maps; all by default. Those without an OIP are left out.
    priors
        Names of some of `unique.PRIORS`.

    Returns
    -------
    dict
        Name of a prior -> map -> its best OIP, tested.
    """
    indices, spec = set(study.check_maps(maps)), ConditionSpec()
    best = {
        name: {
            oip.of_map: oip
            for oip in study.oips(best=True, prior=PRIORS[name])
            if oip.map in indices
        }
        for name in priors
    }
    ids = [oip.id for of_prior in best.values() for oip in of_prior.values()]
    stored = study.store.conditions(ids, spec.sha256)
    for of_prior in best.values():
        missing = [oip for oip in of_prior.values() if oip.id not in stored]
        if missing:
            with study.alone(f"trust|{spec.sha256}"):
                done = study.store.conditions([oip.id for oip in missing], spec.sha256)
                missing = [oip for oip in missing if oip.id not in done]
                if missing:
                    _test(study, spec, missing)
    stored = study.store.conditions(ids, spec.sha256)
    return {
        name: {map: Tested(oip, stored[oip.id]) for map, oip in of_prior.items()}
        for name, of_prior in best.items()
    }


def stored_condition(store: Store, oip: Oip) -> Tested | None:
    """How far an OIP can be trusted, if it was put to the test."""
    condition = store.conditions([oip.id], ConditionSpec().sha256).get(oip.id)
    return None if condition is None else Tested(oip, condition)


def paths(study: Study, oips: Sequence[Oip]) -> tuple[list[int], list[Path]]:
    """On which path OIPs excite their maps, in each convolutional layer before their own.

    Parameters
    ----------
    study
        Whose OIPs.
    oips
        What is told of one doesn't depend on the others.

    Returns
    -------
    list of int
        Numbers of the OIPs of which it can be told: whose maps respond to all of their strongest
        real images. Empty if the network came without data, or there are fewer than two such maps.
    list of Path
        One a layer, the first layer first.
    """
    if not study.has_data:
        return [], []
    seen = reaction(study, "data")
    excited = np.flatnonzero(seen.top_responses.min(axis=1) > 0)
    excited = excited[spread(len(excited), MOST_COMPARED)]
    told = [i for i, oip in enumerate(oips) if oip.of_map in excited]
    n_images = seen.top_images.shape[1]
    if not told or min(len(excited), n_images) < 2:
        return [], []
    images = np.array([oips[i].image for i in told])
    pictures = np.concatenate([seen.pictures(map) for map in excited.tolist()])
    real = study.inputs_of(pictures, (0.0, 255.0))
    rows = np.searchsorted(excited, [oips[i].of_map for i in told])
    return told, [
        path(earlier.engine(images), rows, earlier.engine(real).reshape(len(excited), n_images, -1))
        for earlier in reversed(earlier_layers(study))
    ]


def _test(study: Study, spec: ConditionSpec, oips: Sequence[Oip]) -> None:
    """Compute and store how far some OIPs, one a map, can be trusted."""
    maps = [oip.of_map for oip in oips]
    with study.running("trust", spec) as run_id:
        seeds = [seed_of(oip.start) for oip in oips]
        held = held_by(study, np.array([oip.image for oip in oips]), maps, seeds, spec)
        told, of_layers = paths(study, oips)
        of_oips = {
            i: [[of.own[k], of.others[k], of.real[k], of.foreign[k]] for of in of_layers]
            for k, i in enumerate(told)
        }
        again = _climbed_again(study, spec, oips)
        study.store.add(
            *(
                Condition(
                    oip_id=oip.id,
                    run_id=run_id,
                    spec=spec.to_dict(),
                    spec_sha256=spec.sha256,
                    moved=float(held.moved[i]),
                    noisy=float(held.noisy[i]),
                    losses=again[oip.id][0],
                    alike=again[oip.id][1],
                    path=np.array(of_oips.get(i, []), np.float32).reshape(-1, 4),
                )
                for i, oip in enumerate(oips)
            )
        )


def _climbed_again(
    study: Study, spec: ConditionSpec, oips: Sequence[Oip]
) -> Mapping[int, tuple[np.ndarray, np.ndarray]]:
    """By id of an OIP: losses from moved starts, and how the images correlate with the OIP."""
    n_each, layer = len(spec.moves) * spec.n_draws, study.layer.name
    by_id = {oip.id: oip for oip in oips}
    same_climb: dict[str, list[int]] = {}
    for oip in oips:
        same_climb.setdefault(json.dumps(oip.spec, sort_keys=True), []).append(oip.id)
    size = max(1, _GROUP // n_each)
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def unit(group: tuple[int, ...]) -> MovedUnit:
        moved = [by_id[id] for id in group]
        return MovedUnit(
            layer,
            spec,
            maps=tuple(oip.of_map for oip in moved),
            starts=tuple(oip.start for oip in moved),
            stages=stages_of(moved[0].spec),
            oips=np.array([oip.image for oip in moved]),
        )

    def keep(group: tuple[int, ...], of_oips: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        found.update(zip(group, of_oips, strict=True))

    work = Work(
        name=f"moved|{study.network.sha256}|{layer}|{spec.sha256}",
        subject=study.subject,
        groups=[
            tuple(ids[first : first + size])
            for ids in same_climb.values()
            for first in range(0, len(ids), size)
        ],
        unit=unit,
        keep=keep,
    )
    study.carry_out(work, "Moved starts", "ascents", size=lambda id: n_each)
    return found
