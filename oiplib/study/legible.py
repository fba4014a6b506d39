"""Patterns that people can read: beside the strongest OIP of a map a legible and a steady one.

A prior leads an image to look like something that can be read, or that bears being moved. It
costs response. What it costs and what it gives is told here, from OIPs that races found under
each of the priors, and from restarts under them in every training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..analysis.estimates import Answer, Estimate, over_maps
from ..store import Oip, Variety
from ..values import ConditionSpec, Maps, seed_of
from .questions import varieties
from .study import Study
from .unique import PRIORS, restarted

# The network is asked for images together up to so many numbers: it takes full batches only.
_NUMBERS = 2**22


@dataclass(frozen=True)
class Held:
    """Which share of their response images keep, one value a map.

    Attributes
    ----------
    moved, noisy : array, (maps,)
        In the mean of all shifts by at most a pixel, none among them; of noisy copies.
    """

    moved: np.ndarray
    noisy: np.ndarray


@dataclass(frozen=True)
class Led:
    """What a prior costs and gives.

    Attributes
    ----------
    name : str
        One of `unique.PRIORS`.
    oips : dict
        Map -> its OIP with the largest loss under this prior.
    loss : Estimate
        Loss of these OIPs over that of the strongest of the map, in the median.
    least : float
        The smallest such share.
    moved, noisy : Estimate
        Share of their response that they keep, in the median; see `Held`.
    restarts_loss, restarts_moved, restarts_noisy : Answer
        The same for the best of some restarts of each map, in every training.
    """

    name: str
    oips: dict[int, Oip]
    loss: Estimate
    least: float
    moved: Estimate
    noisy: Estimate
    restarts_loss: Answer
    restarts_moved: Answer
    restarts_noisy: Answer


def derive_legible(study: Study, maps: Maps = None) -> list[int]:
    """A race under each prior for all maps; returns those that weren't searched so before."""
    searched = [study.derive_from_patterns(maps, prior) for prior in PRIORS.values()]
    return sorted({map for of_prior in searched for map in of_prior})


def legible(study: Study, maps: Maps = None) -> list[Led]:
    """What each of `unique.PRIORS` costs and gives.

    Parameters
    ----------
    study
        Whose layer; all must be derived already, see `derive_legible`.
    maps
        Which maps; all by default. Those without an OIP under any of the priors are left out.

    Returns
    -------
    list of Led
        The strongest first. Empty if no map has an OIP.
    """
    indices = study.check_maps(maps)
    best = {
        name: {oip.of_map: oip for oip in study.oips(best=True, prior=prior)}
        for name, prior in PRIORS.items()
    }
    shown = [map for map in indices if all(map in of_prior for of_prior in best.values())]
    if not shown:
        return []
    strongest = np.array([best["strongest"][map].loss for map in shown])
    restarts = {
        name: [_best_restarts(part, maps) for part in parts]
        for name, parts in restarted(study).items()
    }
    found = []
    for name, of_prior in best.items():
        images = np.array([of_prior[map].image for map in shown])
        ratios = np.array([of_prior[map].loss for map in shown]) / strongest
        held = held_by(study, images, shown, [_seed(of_prior[map]) for map in shown])
        of_networks = [
            _beside(*pair) for pair in zip(restarts[name], restarts["strongest"], strict=True)
        ]
        found.append(
            Led(
                name=name,
                oips={map: of_prior[map] for map in shown},
                loss=over_maps(ratios),
                least=float(ratios.min()),
                moved=over_maps(held.moved),
                noisy=over_maps(held.noisy),
                restarts_loss=_answer([ratio for ratio, _ in of_networks]),
                restarts_moved=_answer([held.moved for _, held in of_networks]),
                restarts_noisy=_answer([held.noisy for _, held in of_networks]),
            )
        )
    return found


def held_by(
    study: Study,
    images: np.ndarray,
    maps: Sequence[int],
    seeds: Sequence[int],
    spec: ConditionSpec | None = None,
) -> Held:
    """Which share of their response images keep when they are moved, or noise is put on them.

    Parameters
    ----------
    study
        Whose layer.
    images : array, (n, height, width, channels), as the network takes them
        What leaves at one side comes back at the other.
    maps
        Whose response, of each image; above 0.
    seeds
        The number of each image, from which its noise comes: it doesn't depend on the others.
    spec
        How far images are moved, and how much noise there is.
    """
    from ..engine.images import project, unit

    spec = spec or ConditionSpec()
    reach = range(-spec.pixels, spec.pixels + 1)
    moved = [np.roll(images, (down, right), (1, 2)) for down in reach for right in reach]
    streams = [np.random.default_rng([spec.seed, seed]) for seed in seeds]
    size, shape = spec.noise * unit(study.inputs), images.shape[1:]
    noisy = []
    for _ in range(spec.n_noisy):
        noise = np.array([stream.standard_normal(shape, np.float32) for stream in streams])
        noisy.append(np.asarray(project(images + size * noise, study.inputs)))
    sets = [images, *moved, *noisy]
    n_at_once = max(1, _NUMBERS // images.size)
    responses, *altered = (
        of_set
        for first in range(0, len(sets), n_at_once)
        for of_set in _responses(study, sets[first : first + n_at_once], maps)
    )
    shares = [
        # In double precision, so that the sum doesn't depend on how many images there are.
        np.mean(of_sets, axis=0, dtype=float) / responses
        for of_sets in (altered[: len(moved)], altered[len(moved) :])
    ]
    return Held(*(values.astype(np.float32) for values in shares))


def _responses(study: Study, sets: Sequence[np.ndarray], maps: Sequence[int]) -> np.ndarray:
    """Of each map to its image in some sets of images: (sets, maps)."""
    of_all = study.engine(np.concatenate(sets)).reshape(len(sets), len(maps), -1)
    return np.asarray(of_all[:, np.arange(len(maps)), np.asarray(maps)])


@dataclass(frozen=True)
class _Best:
    """The best restart of each map: (maps,), their losses, and their pictures' shares kept."""

    maps: list[int]
    losses: np.ndarray
    held: Held


def _best_restarts(part: Study, maps: Maps) -> _Best:
    rows = varieties(part, maps)
    if not rows:
        return _Best([], np.empty(0), Held(np.empty(0), np.empty(0)))
    pictures, losses = zip(*(_best_kept(row) for row in rows.values()), strict=True)
    images = part.inputs_of(np.array(pictures), (0.0, 255.0))
    return _Best(list(rows), np.array(losses), held_by(part, images, list(rows), list(rows)))


def _best_kept(row: Variety) -> tuple[np.ndarray, float]:
    """The strongest restart of the patterns of which a picture is kept: picture and loss."""
    of_patterns = [row.losses[row.patterns == k].max() for k in range(len(row.images))]
    best = int(np.argmax(of_patterns))
    return row.images[best], float(of_patterns[best])


def _seed(oip: Oip) -> int:
    return seed_of(oip.start)


def _beside(led: _Best, strongest: _Best) -> tuple[np.ndarray, Held]:
    """The losses of restarts under a prior over those without one, for maps that have both."""
    losses = dict(zip(strongest.maps, strongest.losses, strict=True))
    both = [i for i, map in enumerate(led.maps) if map in losses]
    ratios = np.array([led.losses[i] / losses[led.maps[i]] for i in both])
    return ratios, Held(led.held.moved[both], led.held.noisy[both])


def _answer(of_networks: Sequence[np.ndarray]) -> Answer:
    medians = tuple(float(np.median(values)) if len(values) else np.nan for values in of_networks)
    return Answer(over_maps(of_networks[0]), medians)
