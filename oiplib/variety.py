"""How many different patterns excite a map: many restarts, and a search away from what they find.

Random restarts show too little of what a unit responds to (Cadena et al. 2018). So after them
come ascents that are kept away from the patterns found, which tell at which loss a really
different one exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .ascent import BATCH_SIZE, check_maps, climb, climber
from .fluctuations import fluctuation_images
from .images import standardized
from .progress import SILENT, bar
from .responses import LayerMaps
from .specs import FluctuationStart, VarietySpec
from .uniqueness import (
    all_pairs,
    clusters,
    of_pairs,
    shoved,
    similarities,
    spectra_of,
)

# So many times the wanted number of starts is tried at most.
_MOST = 4

# Maps whose restarts climb in the same batches.
_GROUP = 16

# What is kept away from typical restarts of a pattern is then away from the pattern's mean.
_MARGIN = 0.9

# From so many restarts of each pattern are ascents kept away.
_TYPICAL = 4

#: Share of the null's pairs that stay below the threshold.
QUANTILE = 0.99

#: Classes from 0 to 1 in which the null's pairs are counted.
N_CLASSES = 200


@dataclass(frozen=True)
class Restarts:
    """Where the ascents of one map ended that climbed from many random images.

    Attributes
    ----------
    map : int
    starts : int64, (n,)
        Numbers of the trials; those that did not come to excite the map are missing.
    losses : float32, (n,)
    images : float32, (n, height, width, channels)
    """

    map: int
    starts: np.ndarray
    losses: np.ndarray
    images: np.ndarray


@dataclass(frozen=True)
class Pairs:
    """How alike restarts of a map are, each two of them, in one space.

    Attributes
    ----------
    peaks : float32, (pairs,), in [0, 1]
        In the order of ``numpy.triu_indices``.
    shifts : int, (pairs, 2)
    null : float32, (pairs,), in [0, 1]
        As many pairs of an OIP of this map with one of another (some of each, all with all).
    """

    peaks: np.ndarray
    shifts: np.ndarray
    null: np.ndarray


@dataclass(frozen=True)
class Unlike:
    """Where ascents of one map ended that were kept away from its known patterns.

    Attributes
    ----------
    losses : float32, (n,)
    alike : float32, (n,), in [0, 1]
        How alike each is, in the mean, to the restarts of the pattern that it resembles most.
    images : float32, (n, height, width, channels)
    """

    losses: np.ndarray
    alike: np.ndarray
    images: np.ndarray


@dataclass(frozen=True)
class MapVariety:
    """What restarts, and a search away from what they found, tell of one map.

    Attributes
    ----------
    restarts : Restarts
    pixels, features : Pairs
        How alike the restarts are, by their pixels and by what goes into the layer.
    null_pixels, null_features : int64, (N_CLASSES,)
        `histogram` of the nulls.
    limit, feature_limit : float
        The thresholds that come from the nulls of all maps together.
    patterns : int, (n,)
        Which distinct pattern each restart shows, by its pixels; 0 is the commonest.
    unlike : Unlike
    """

    restarts: Restarts
    pixels: Pairs
    features: Pairs
    null_pixels: np.ndarray
    null_features: np.ndarray
    limit: float
    feature_limit: float
    patterns: np.ndarray
    unlike: Unlike


def explore(layer: LayerMaps, spec: VarietySpec, maps: Sequence[int]) -> list[MapVariety]:
    """How different the patterns are that excite each of some maps.

    Parameters
    ----------
    spec
        How many starts, and how they climb.
    maps
        Which maps, each in [0, layer.n_maps); each is the others' null.

    Returns
    -------
    list
        Without the maps that hardly any start came to excite; empty, if fewer than two are left.
    """
    with bar(len(maps), "Restarts", "maps") as progress:
        tried = list(restart(layer, spec, maps, progress))
    found = [each for each in tried if len(each.starts) > 1]
    if len(found) < 2:
        return []
    with bar(2 * len(found), "Similarities", "maps") as progress:
        pixels = compare([each.images for each in found], progress=progress)
        inside = [layer.features(each.images) for each in found]
        features = compare(inside, progress=progress)
    nulls, limits = [], []
    for space in (pixels, features):
        nulls.append([histogram(pairs.null) for pairs in space])
        limits.append(threshold(np.sum(nulls[-1], axis=0)))
    labels = [
        patterns(pairs.peaks, len(each.starts), limits[0])
        for pairs, each in zip(pixels, found, strict=True)
    ]
    with bar(len(found), "Unlike these", "maps") as progress:
        other = list(unlike(layer, spec, found, pixels, labels, limits[0], progress))
    return [
        MapVariety(
            restarts=each,
            pixels=pixels[k],
            features=features[k],
            null_pixels=nulls[0][k],
            null_features=nulls[1][k],
            limit=limits[0],
            feature_limit=limits[1],
            patterns=labels[k],
            unlike=other[k],
        )
        for k, each in enumerate(found)
    ]


def restart(
    layer: LayerMaps, spec: VarietySpec, maps: Sequence[int], progress: Any = SILENT
) -> Iterator[Restarts]:
    """Let many random images climb towards each map, each start with its own number.

    Where some don't excite the map in the end, further ones take their place, up to four times
    as many as are wanted.

    Parameters
    ----------
    spec
        The starts, and how they climb.
    maps
        Which maps, each in [0, layer.n_maps).
    progress
        A progress bar that counts maps.
    """
    chosen = check_maps(maps, layer.n_maps)
    for first in range(0, len(chosen), _GROUP):
        group = chosen[first : first + _GROUP]
        found: dict[int, list[Restarts]] = {int(map): [] for map in group}
        for begin in range(0, _MOST * spec.n_starts, spec.n_starts):
            lacking = [
                m
                for m, own in found.items()
                if sum(len(part.starts) for part in own) < spec.n_starts
            ]
            if lacking:
                for part in _once(layer, spec, np.array(lacking), begin):
                    found[part.map].append(part)
        for map, parts in found.items():
            yield _joined(map, parts, spec.n_starts)
            progress.update(1)


def _once(layer: LayerMaps, spec: VarietySpec, maps: np.ndarray, begin: int) -> Iterator[Restarts]:
    """As many restarts as asked for of some maps, from a number on; those that failed are out."""
    images, owners = _starts(layer, spec, maps, range(begin, begin + spec.n_starts))
    ended = climb(layer, images, owners, spec.climb.stages)
    for map in maps:
        own = np.flatnonzero((owners == map) & (ended.losses > 0))
        yield Restarts(int(map), begin + own % spec.n_starts, ended.losses[own], ended.images[own])


def _joined(map: int, parts: Sequence[Restarts], n: int) -> Restarts:
    starts, losses, images = (
        np.concatenate([getattr(part, name) for part in parts])[:n]
        for name in ("starts", "losses", "images")
    )
    return Restarts(map, starts, losses, images)


def compare(images: Sequence[np.ndarray], seed: int = 0, progress: Any = SILENT) -> list[Pairs]:
    """How alike the images of each map are, and how alike those of different maps.

    Parameters
    ----------
    images : sequence of arrays, (n, height, width, channels)
        Those of each map; at least two maps. OIPs, or what the network makes of them.
    seed
        Of the pairs of the null.
    progress
        A progress bar that counts maps.
    """
    rng = np.random.default_rng(seed)
    every = np.concatenate(images)
    ends = np.cumsum([len(own) for own in images])
    found = []
    for own, end in zip(images, ends, strict=True):
        n = len(own)
        others = rng.integers(0, len(every) - n, n // 2)
        others[others >= end - n] += n  # any but this map's
        spectra, of_others = spectra_of(own), spectra_of(every[others])
        peaks, shifts = all_pairs(spectra)
        mine, theirs = (k.ravel()[: len(peaks)] for k in np.indices((n, len(others))))
        found.append(Pairs(peaks, shifts, of_pairs(spectra, of_others, mine, theirs)))
        progress.update(1)
    return found


def histogram(null: np.ndarray) -> np.ndarray:
    """Counts of similarities in `N_CLASSES` equal classes from 0 to 1."""
    return np.histogram(null, N_CLASSES, (0, 1))[0]


def threshold(null: np.ndarray, quantile: float = QUANTILE) -> float:
    """The upper bound of the class below which so large a share of the null's counts lies."""
    share = np.cumsum(null) / max(1, null.sum())
    return float((np.searchsorted(share, quantile) + 1) / N_CLASSES)


def square(pairs: np.ndarray, n: int) -> np.ndarray:
    """The symmetric matrix (n, n) of what is known of all pairs; each is equal to itself: 1."""
    whole = np.eye(n, dtype=np.float32)
    i, j = np.triu_indices(n, 1)
    whole[i, j] = whole[j, i] = pairs
    return whole


def patterns(pairs: np.ndarray, n: int, limit: float) -> np.ndarray:
    """The number of the pattern that each of n restarts shows, the commonest being 0."""
    return clusters(square(pairs, n), limit)


def unlike(
    layer: LayerMaps,
    spec: VarietySpec,
    found: Sequence[Restarts],
    pairs: Sequence[Pairs],
    labels: Sequence[np.ndarray],
    limit: float,
    progress: Any = SILENT,
) -> Iterator[Unlike]:
    """Climb once more, kept away from the patterns that the restarts led to.

    After each step an image that is more like a typical restart of a pattern than the limit is
    changed by as little as brings it back to the limit.

    Parameters
    ----------
    spec
        How many starts, and how they climb; their numbers lie beyond all restarts'.
    found, pairs, labels
        Restarts of some maps, how alike they are, and which pattern each shows.
    limit
        Largest similarity.
    progress
        A progress bar that counts maps.
    """
    trials = range(_MOST * spec.n_starts, _MOST * spec.n_starts + spec.n_unlike)
    size = max(1, BATCH_SIZE // spec.n_unlike)
    for first in range(0, len(found), size):
        group, of_group = found[first : first + size], labels[first : first + size]
        known = [
            _typical(own, label, square(pair.peaks, len(label)))
            for own, label, pair in zip(group, of_group, pairs[first : first + size], strict=True)
        ]
        maps = np.array([own.map for own in group])
        images, owners = _starts(layer, spec, maps, trials)
        by_map = dict(zip(maps, known, strict=True))
        ended = _kept_away(layer, spec, images, owners, by_map, _MARGIN * limit)
        losses = layer(ended)[np.arange(len(ended)), owners]
        for own, label in zip(group, of_group, strict=True):
            mine = owners == own.map
            alike = similarities(ended[mine], own.images)
            means = [alike[:, label == pattern].mean(axis=1) for pattern in np.unique(label)]
            yield Unlike(losses[mine], np.max(means, axis=0), ended[mine])
            progress.update(1)


def _kept_away(
    layer: LayerMaps,
    spec: VarietySpec,
    images: np.ndarray,
    owners: np.ndarray,
    known: dict[int, np.ndarray],
    limit: float,
) -> np.ndarray:
    """Where images end that may not come near the known patterns of their maps."""
    spectra = {map: spectra_of(patterns) for map, patterns in known.items()}
    apart = [known[map] for map in owners]
    of_apart = [spectra[map] for map in owners]
    for first in range(0, len(images), BATCH_SIZE):
        part = slice(first, first + BATCH_SIZE)
        padded = np.resize(np.arange(len(images))[part], BATCH_SIZE)
        active, previous = np.ones(BATCH_SIZE, bool), np.full(BATCH_SIZE, np.inf, np.float32)
        for stage in spec.climb.stages:
            go = climber(layer, stage.objective)
            for epsilon in stage.epsilons:
                step = np.array([epsilon], np.float32)
                moved = go(images[padded], owners[padded], active, previous, step, 0.0)[0]
                away = moved.numpy()[: len(images[part])]
                images[part] = standardized(shoved(away, apart[part], of_apart[part], limit))
    return images


def _starts(
    layer: LayerMaps, spec: VarietySpec, maps: np.ndarray, trials: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    starts = [FluctuationStart(spec.fluctuation, int(m), t) for m in maps for t in trials]
    images = fluctuation_images(starts, layer.image_shape)
    return images, np.array([start.map for start in starts])


def _typical(found: Restarts, labels: np.ndarray, alike: np.ndarray) -> np.ndarray:
    """Images of the restarts that are most like the others of their pattern, some of each."""
    chosen: list[int] = []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        middle = alike[np.ix_(own, own)].mean(axis=1)
        chosen.extend(own[np.argsort(-middle, kind="stable")[:_TYPICAL]])
    return found.images[chosen]
