"""Restarts: where many random images end, and ascents kept away from what they end at.

Random restarts show too little of what a unit responds to (Cadena et al. 2018). So after them
come ascents that are kept away from the patterns found. They tell at which loss a really
different pattern exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.ascent import climb, climber, moves_of
from ..engine.fluctuations import fluctuation_images
from ..engine.images import from_standard, project
from ..engine.layers import LayerMaps
from ..engine.threads import side_by_side
from ..progress import SILENT
from ..values import ClimbSpec, FluctuationStart, NullSpec, VarietySpec, seed_of
from .similarity import Apart, similarities
from .variety import square

# So many batches of restarts climb at a time, of as many maps as they hold.
_BATCHES = 8
# The same of ascents that are kept away from patterns: one batch for each of two threads.
_UNLIKE_BATCHES = 2


@dataclass(frozen=True)
class Restarts:
    """Where the ascents of one map ended that climbed from many random images.

    Attributes
    ----------
    map : int
    starts : int64, (n,)
        Numbers of the trials. Those that did not come to excite the map are missing.
    losses : float32, (n,)
    images : float32, (n, height, width, channels)
    """

    map: int
    starts: np.ndarray
    losses: np.ndarray
    images: np.ndarray


@dataclass(frozen=True)
class Unlike:
    """Where ascents of one map ended that were kept away from its known patterns.

    Attributes
    ----------
    losses : float32, (n,)
    alike : float32, (n,), in [0, 1]
        Similarity of each to the restarts of one pattern, in the mean; that of the pattern
        that it resembles most.
    images : float32, (n, height, width, channels)
    """

    losses: np.ndarray
    alike: np.ndarray
    images: np.ndarray


def restart(
    layer: LayerMaps, spec: NullSpec, maps: Sequence[int], progress: Any = SILENT
) -> Iterator[Restarts]:
    """Let many random images climb towards each map, each start with its own number.

    Where some don't excite the map in the end, further ones take their place, until
    `spec.tries` times as many as wanted were tried. What is found for a map doesn't depend on
    the other maps.

    Parameters
    ----------
    layer
        Whose maps.
    spec
        The starts, and how they climb.
    maps
        Which maps, each in [0, layer.n_maps).
    progress
        A progress bar that counts maps.
    """
    for group in units_of(layer, spec, maps):
        parts: dict[int, list[Restarts]] = {map: [] for map in group}
        for begin in range(0, spec.tries * spec.n_starts, spec.n_starts):
            lacking = [
                map
                for map, of_map in parts.items()
                if sum(len(part.starts) for part in of_map) < spec.n_starts
            ]
            if lacking:
                for part in _restarted_once(layer, spec, np.array(lacking), begin):
                    parts[part.map].append(part)
        for map, of_map in parts.items():
            yield _joined(map, of_map, spec.n_starts)
            progress.update(1)


def units_of(layer: LayerMaps, spec: NullSpec, maps: Sequence[int]) -> list[list[int]]:
    """The maps in groups that fill some batches. Each can be restarted on its own."""
    indices = layer.map_array(maps).tolist()
    size = max(1, _BATCHES * layer.batch_size // spec.n_starts)
    return [indices[first : first + size] for first in range(0, len(indices), size)]


def unlike_size(layer: LayerMaps, spec: VarietySpec) -> int:
    """How many maps `unlike` works on together, so that they fill some batches."""
    return max(1, _UNLIKE_BATCHES * layer.batch_size // max(1, spec.n_unlike))


def unlike(
    layer: LayerMaps,
    spec: VarietySpec,
    restarts: Sequence[Restarts],
    peaks: Sequence[np.ndarray],
    patterns: Sequence[np.ndarray],
    threshold: float,
    progress: Any = SILENT,
) -> Iterator[Unlike]:
    """Climb once more, kept away from the patterns that the restarts led to.

    After each step, an image that is too much like a typical restart of a pattern is changed
    by as little as brings it back to the limit, `spec.margin` times the threshold.

    Parameters
    ----------
    layer
        Whose maps.
    spec
        How many starts, and how they climb. Their numbers lie beyond those of all restarts.
    restarts, peaks, patterns
        Restarts of some maps, the similarities of all their pairs, the pattern of each.
    threshold
        Similarity from which on two OIPs show the same pattern.
    progress
        A progress bar that counts maps.
    """
    if not spec.n_unlike:
        none = np.empty(0, np.float32)
        yield from (Unlike(none, none, of_map.images[:0]) for of_map in restarts)
        return
    first_trial = spec.tries * spec.n_starts
    trials = range(first_trial, first_trial + spec.n_unlike)
    size = unlike_size(layer, spec)
    for first in range(0, len(restarts), size):
        group, labels = restarts[first : first + size], patterns[first : first + size]
        typical = {
            of_map.map: _typical(of_map, label, square(of_pairs, len(label)), spec.n_typical)
            for of_map, label, of_pairs in zip(
                group, labels, peaks[first : first + size], strict=True
            )
        }
        starts = _starts(spec.null, np.array(list(typical)), trials)
        owners = np.array([start.map for start in starts])
        ended = _kept_away(layer, spec, starts, typical, spec.margin * threshold)
        losses = layer(ended)[np.arange(len(ended)), owners]
        for of_map, label in zip(group, labels, strict=True):
            mine = owners == of_map.map
            alike = similarities(ended[mine], of_map.images)
            means = [alike[:, label == pattern].mean(axis=1) for pattern in np.unique(label)]
            yield Unlike(losses[mine], np.max(means, axis=0), ended[mine])
            progress.update(1)


def _restarted_once(
    layer: LayerMaps, spec: NullSpec, maps: np.ndarray, begin: int
) -> Iterator[Restarts]:
    """`spec.n_starts` restarts of each map from a trial's number on, without those that failed."""
    starts = _starts(spec, maps, range(begin, begin + spec.n_starts))
    images, owners = _images_of(layer, starts)
    ended = climb(layer, images, owners, spec.climb.stages, seeds=_seeds(starts, spec.climb))
    for map in maps:
        alive = np.flatnonzero((owners == map) & ended.rose)
        trials = begin + alive % spec.n_starts
        yield Restarts(int(map), trials, ended.losses[alive], ended.images[alive])


def _joined(map: int, parts: Sequence[Restarts], n: int) -> Restarts:
    starts, losses, images = (
        np.concatenate([getattr(part, name) for part in parts])[:n]
        for name in ("starts", "losses", "images")
    )
    return Restarts(map, starts, losses, images)


def _kept_away(
    layer: LayerMaps,
    spec: VarietySpec,
    starts: Sequence[FluctuationStart],
    typical: dict[int, np.ndarray],
    limit: float,
) -> np.ndarray:
    """Where images end that may not come near the typical restarts of their maps."""
    images, owners = _images_of(layer, starts)
    seeds = _seeds(starts, spec.climb)
    avoided = {map: _centred(layer, patterns) for map, patterns in typical.items()}
    size = layer.batch_size
    # Compiled before the threads begin.
    stages = [(each, climber(layer, each.objective, each.prior)) for each in spec.climb.stages]

    def climb_away(part: slice) -> None:
        apart = Apart(avoided, owners[part], limit)
        padded = np.resize(np.arange(len(images))[part], size)
        active, previous = np.ones(size, bool), np.full(size, np.inf, np.float32)
        n_steps = 0
        for stage, take_step in stages:
            for epsilon in stage.epsilons:
                moves = moves_of(stage.prior, seeds, padded, n_steps)
                step = np.array([epsilon], np.float32)
                stepped = take_step(
                    images[padded], owners[padded], active, previous, step, 0.0, moves
                )[0].numpy()[: len(images[part])]
                centred = _centred(layer, stepped)
                shoved_away = apart.shoved(centred)
                images[part] = project(shoved_away + (stepped - centred), layer.inputs)
                n_steps += 1

    parts = [slice(first, first + size) for first in range(0, len(images), size)]
    for _ in side_by_side(climb_away, parts):
        pass
    return images


def _centred(layer: LayerMaps, images: np.ndarray) -> np.ndarray:
    """Images with mean 0. Standardized ones have it, and keep their last bit."""
    if layer.inputs.is_standardized:
        return images
    return images - images.mean(axis=(1, 2, 3), keepdims=True)


def _starts(spec: NullSpec, maps: np.ndarray, trials: Sequence[int]) -> list[FluctuationStart]:
    return [FluctuationStart(spec.fluctuation, int(m), t) for m in maps for t in trials]


def _images_of(
    layer: LayerMaps, starts: Sequence[FluctuationStart]
) -> tuple[np.ndarray, np.ndarray]:
    """The images of some starts, within the network's inputs, and whose they are."""
    images = from_standard(fluctuation_images(starts, layer.image_shape), layer.inputs)
    return images, np.array([start.map for start in starts])


def _seeds(starts: Sequence[FluctuationStart], climb: ClimbSpec) -> np.ndarray | None:
    if not any(stage.prior.disturbs for stage in climb.stages):
        return None
    return np.array([seed_of(start) for start in starts], np.uint64)


def _typical(restarts: Restarts, labels: np.ndarray, alike: np.ndarray, n: int) -> np.ndarray:
    """Of each pattern the n restarts that are most like the others of it, as images."""
    kept: list[int] = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        mean_alike = alike[np.ix_(members, members)].mean(axis=1)
        kept.extend(members[np.argsort(-mean_alike, kind="stable")[:n]])
    return restarts.images[kept]
