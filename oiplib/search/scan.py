"""The precursor scan: which of very many coarse patterns lets an OIP grow (article X).

Screening answers for all maps at once which patterns they respond to. A scan then lets the
responding patterns of a map compete and ascends the best to the end. A start with response 0
and gradient 0 can't move, so leaving it out changes nothing (exact pruning).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.ascent import Ascents, ascend, go_on, have_no_gradient
from ..engine.fluctuations import fluctuation_images, joining
from ..engine.images import from_standard
from ..engine.objectives import Responding
from ..engine.patterns import (
    block_size,
    cells_of,
    distinct,
    distinct_blocks,
    pattern_images,
)
from ..progress import SILENT
from ..values import (
    AscentSpec,
    FluctuationStart,
    ScanSpec,
    Start,
    TrialSpec,
    seed_of,
)
from .screening import Screening, screen

# Batches of starts whose images are held at the same time.
_BATCHES = 32

# So many batches a group of maps fills, so that as many threads climb side by side.
_AT_LEAST = 2

# So many sizes of a group are looked at.
_MORE = 4


@dataclass(frozen=True)
class Rung:
    """The starts of one map that came as far as this, and how they stood.

    Attributes
    ----------
    steps : int
        Steps taken up to here.
    starts : int64, (n,)
        Pattern indices or trial numbers.
    losses : float32, (n,)
    """

    steps: int
    starts: np.ndarray
    losses: np.ndarray


@dataclass(frozen=True)
class MapScan:
    """What a scan found for one map: all its rungs, and the finalists with their ascents.

    Attributes
    ----------
    map : int
    rungs : tuple of Rung
    starts : tuple of Start
        Where the finalists began.
    ascents : Ascents
    revived : bool, (finalists,)
        Whether a start gave the response no gradient, so that it was led to where there is one.
    """

    map: int
    rungs: tuple[Rung, ...]
    starts: tuple[Start, ...]
    ascents: Ascents
    revived: np.ndarray


def scan(
    layer: Responding,
    spec: ScanSpec,
    maps: Sequence[int],
    screening: Screening | None = None,
    progress: Any = SILENT,
    starts: Sequence[np.ndarray] = (),
) -> Iterator[MapScan]:
    """Scan the patterns of a grid for starts of some maps' OIPs.

    Maps are worked on in groups that fill the batches; what is found for a map doesn't depend
    on the group.

    Parameters
    ----------
    spec
        Grid, strategy and ascents.
    maps
        Which maps, each in [0, layer.n_maps).
    screening
        That of `spec.screening`, if it is at hand; only the race needs it.
    progress
        A progress bar that counts maps.
    starts
        For each map the patterns that race, if they are chosen already: its `race_starts`.

    Yields
    ------
    MapScan
        For each map in the given order. The article's strategy finds no finalists for a map
        that reacts to no pattern.

    Examples
    --------
    >>> from oiplib import GridSpec, LayerMaps, ScanSpec
    >>> from oiplib.engine.tf import keras
    >>> image = keras.Input((8, 8, 1))
    >>> start = keras.initializers.GlorotUniform(seed=0)
    >>> conv = keras.layers.Conv2D(2, 3, activation="relu", kernel_initializer=start, name="conv")
    >>> layer = LayerMaps(keras.Model(image, conv(image)), "conv")
    >>> found = scan(layer, ScanSpec(GridSpec(values=(0.2, 0.8), rows=2, columns=2)), maps=[0, 1])
    >>> [(of_map.map, len(of_map.rungs)) for of_map in found]
    [(0, 4), (1, 4)]
    """
    map_indices = layer.map_array(maps)
    if spec.strategy == "article":
        return _article_scan(layer, spec, map_indices, progress)
    if spec.responding:
        starts = _responding_starts(layer, spec, map_indices)
    elif not starts:
        starts = race_starts(spec, map_indices.tolist(), screening or screen(layer, spec.screening))
    return _race(layer, spec, map_indices, starts, progress)


def units_of(
    layer: Responding, spec: TrialSpec | ScanSpec, maps: Sequence[int], n_workers: int = 1
) -> list[list[int]]:
    """The maps in groups that fill a layer's batches. Each can be searched on its own.

    Where many workers wait, a group may fill a single batch, so that more of them get one.
    """
    size = _trials_size(layer, spec) if isinstance(spec, TrialSpec) else _scan_size(layer, spec)
    size = min(size, max(size // _AT_LEAST, -(-len(maps) // max(1, n_workers))))
    return [group.tolist() for group in _groups(layer.map_array(maps), size)]


def race_starts(spec: ScanSpec, maps: Sequence[int], screening: Screening) -> list[np.ndarray]:
    """The patterns that race for each map: half by strength and difference, half at random.

    Parameters
    ----------
    spec
        The race.
    maps
        Which maps.
    screening
        That of `spec.screening`.

    Returns
    -------
    list of int64, (n,)
    """
    return [_race_starts(spec, int(map), screening) for map in maps]


def try_fluctuations(
    layer: Responding, spec: TrialSpec, maps: Sequence[int], progress: Any = SILENT
) -> Iterator[MapScan]:
    """Show each map some random fluctuation images and ascend those it responds to (article IX).

    Parameters, and what is yielded, are as in `scan`. Where no OIPs are kept, there are no
    finalists, and a second rung has the losses with which the ascents ended.

    Examples
    --------
    >>> from oiplib import AscentSpec, LayerMaps, TrialSpec
    >>> from oiplib.engine.tf import keras
    >>> image = keras.Input((8, 8, 1))
    >>> start = keras.initializers.GlorotUniform(seed=0)
    >>> conv = keras.layers.Conv2D(2, 3, activation="relu", kernel_initializer=start, name="conv")
    >>> layer = LayerMaps(keras.Model(image, conv(image)), "conv")
    >>> found = try_fluctuations(layer, TrialSpec(n_trials=3, ascent=AscentSpec(10)), maps=[0, 1])
    >>> [(of_map.map, len(of_map.rungs[0].starts)) for of_map in found]
    [(0, 3), (1, 3)]
    """
    for group in _groups(layer.map_array(maps), _trials_size(layer, spec)):
        starts = [
            FluctuationStart(spec.fluctuation, int(map), trial)
            for map in group
            for trial in range(spec.n_trials)
        ]
        images = from_standard(fluctuation_images(starts, layer.image_shape), layer.inputs)
        owners = np.array([start.map for start in starts])
        losses = layer(images)[np.arange(len(owners)), owners]
        movable = _movable(layer, losses)
        # A length scale that joins may lead to a response where the start has none.
        climbing = np.flatnonzero(movable | bool(spec.fluctuation.joining))
        of_climbing = [starts[i] for i in climbing]
        ascents = ascend(
            layer,
            images[climbing],
            owners[climbing],
            spec.ascent,
            seeds=_seeds(of_climbing, spec.ascent),
            joining=joining(of_climbing, layer.image_shape),
        )
        for map in group:
            of_map = owners == map
            own = np.flatnonzero(of_map[climbing])
            rungs = [Rung(0, np.arange(spec.n_trials), losses[of_map])]
            if not spec.keeps_oips:
                trials = np.array([of_climbing[i].trial for i in own], np.int64)
                rungs.append(Rung(spec.ascent.n_epochs - 1, trials, ascents.losses[own]))
                own = own[:0]
            finalists = tuple(of_climbing[i] for i in own)
            revived = ~movable[climbing[own]]
            yield MapScan(int(map), tuple(rungs), finalists, ascents.take(own), revived)
            progress.update(1)


def _race(
    layer: Responding, spec: ScanSpec, maps: np.ndarray, starts: Sequence[np.ndarray], progress: Any
) -> Iterator[MapScan]:
    """Starts climb in rungs, the weaker dropped at each; batches are filled across maps.

    A start's second rung begins where its first ended. Any start may become a finalist,
    whether the map responds to it or not: the first rung climbs the pre-activation.
    """
    for places in _groups(np.arange(len(maps)), _scan_size(layer, spec)):
        group = maps[places]
        indices = np.concatenate([starts[i] for i in places])
        owners = np.repeat(group, [len(starts[i]) for i in places])
        images = _pattern_starts(layer, spec, indices)
        rungs: dict[int, list[Rung]] = {int(map): [] for map in group}
        climbed: Ascents | None = None
        for number, rung in enumerate(spec.rungs):
            if climbed is not None:
                losses = climbed.losses
                kept = _best_of_each(group, owners, losses, rung.n_starts)
                climbed, indices, owners = climbed.take(kept), indices[kept], owners[kept]
            seeds = _pattern_seeds(spec, indices, rung.ascent)
            if climbed is None:
                climbed = ascend(layer, images, owners, rung.ascent, seeds=seeds)
            else:
                climbed = go_on(layer, climbed, owners, rung.ascent, seeds=seeds)
            n_steps = climbed.traces.shape[1] - 1
            for map in group:
                of_map = owners == map
                if number == 0:
                    rungs[map].append(Rung(0, indices[of_map], climbed.traces[of_map, 0]))
                rungs[map].append(Rung(n_steps, indices[of_map], climbed.losses[of_map]))
        assert climbed is not None
        final = _best_of_each(group, owners, climbed.losses, spec.n_oips)
        revived = _dead(layer, spec, indices[final], owners[final], climbed.take(final))
        for map in group:
            of_map = owners[final] == map
            kept = final[of_map]
            finalists = tuple(spec.start(int(k)) for k in indices[kept])
            of_finalists = climbed.take(kept)
            yield MapScan(int(map), tuple(rungs[map]), finalists, of_finalists, revived[of_map])
            progress.update(1)


def _race_starts(spec: ScanSpec, map: int, screening: Screening) -> np.ndarray:
    """The starts of one map: half by strength and difference, half at random."""
    n = spec.rungs[0].n_starts
    strong = _different(spec, screening.top_indices[map], n - n // 2)
    rng = np.random.default_rng(np.random.SeedSequence(spec.seed, spawn_key=(map,)))
    drawn = np.unique(rng.integers(0, spec.grid.n_patterns, spec.oversampling * n))
    rng.shuffle(drawn)
    drawn = drawn[distinct(spec.grid, drawn) & ~np.isin(drawn, strong)]
    return np.concatenate([strong, drawn[: n - len(strong)]])


def _responding_starts(layer: Responding, spec: ScanSpec, maps: np.ndarray) -> list[np.ndarray]:
    """For each map patterns to which it responds, drawn at random: as many as race, or fewer."""
    n = spec.rungs[0].n_starts
    rng = np.random.default_rng(spec.seed)
    drawn = np.unique(rng.integers(0, spec.grid.n_patterns, spec.oversampling * n))
    drawn = drawn[distinct(spec.grid, drawn)]
    size = block_size(layer.image_shape)
    blocks = (drawn[first : first + size] for first in range(0, len(drawn), size))
    # Noise may silence a start; but which ones are drawn mustn't hang on it.
    responding = _candidates(layer, spec.replace(noise=0.0), maps, blocks)
    streams = [np.random.SeedSequence(spec.seed, spawn_key=(map,)) for map in maps.tolist()]
    return [
        np.random.default_rng(stream).permutation(of_map)[:n]
        for stream, of_map in zip(streams, responding, strict=True)
    ]


def _different(spec: ScanSpec, indices: np.ndarray, n: int) -> np.ndarray:
    """The first n patterns whose correlation with each one before is at most `spec.alike`."""
    cells = np.array(spec.grid.values)[cells_of(spec.grid, indices)]
    cells -= cells.mean(axis=1, keepdims=True)
    cells /= np.linalg.norm(cells, axis=1, keepdims=True)
    alike = cells @ cells.T > spec.alike
    kept: list[int] = []
    for i in range(len(indices)):
        if len(kept) < n and not alike[i, kept].any():
            kept.append(i)
    return indices[kept]


def _best_of_each(group: np.ndarray, owners: np.ndarray, losses: np.ndarray, n: int) -> np.ndarray:
    """For each map in turn its n starts with the largest losses, largest first."""
    return np.concatenate([_best(np.flatnonzero(owners == map), losses, n) for map in group])


def _article_scan(
    layer: Responding, spec: ScanSpec, maps: np.ndarray, progress: Any
) -> Iterator[MapScan]:
    """All patterns that a map responds to take a few steps; the best few go to the end."""
    select, final = spec.rungs
    blocks = distinct_blocks(spec.grid, size=block_size(layer.image_shape))
    candidates = _candidates(layer, spec, maps, blocks)
    for group in _groups(np.arange(len(maps)), _scan_size(layer, spec)):
        indices = np.concatenate([candidates[i] for i in group])
        owners = np.concatenate([np.full(len(candidates[i]), maps[i]) for i in group])
        losses = _losses_of_patterns(layer, spec, indices, owners)
        best = _best_of_each(maps[group], owners, losses, final.n_starts or len(owners))
        images = _pattern_starts(layer, spec, indices[best])
        seeds = _pattern_seeds(spec, indices[best], final.ascent)
        ascents = ascend(layer, images, owners[best], final.ascent, seeds=seeds)
        for map in maps[group]:
            of_map, finalists = owners == map, np.flatnonzero(owners[best] == map)
            n_steps = (select.ascent.n_epochs - 1, final.ascent.n_epochs - 1)
            rungs = (
                Rung(n_steps[0], indices[of_map], losses[of_map]),
                Rung(n_steps[1], indices[best[finalists]], ascents.losses[finalists]),
            )
            kept = _best(finalists, ascents.losses, spec.n_oips)
            starts = tuple(spec.start(int(k)) for k in indices[best[kept]])
            revived = np.zeros(len(starts), bool)
            yield MapScan(int(map), rungs, starts, ascents.take(kept), revived)
            progress.update(1)


def _candidates(
    layer: Responding, spec: ScanSpec, maps: np.ndarray, blocks: Iterable[np.ndarray]
) -> list[np.ndarray]:
    """For each map those patterns, of some blocks, that the ascent can move."""
    movable: list[list[np.ndarray]] = [[np.empty(0, np.int64)] for _ in maps]
    for indices in blocks:
        responses = layer(_pattern_starts(layer, spec, indices))
        for of_map, map in zip(movable, maps, strict=True):
            of_map.append(indices[_movable(layer, responses[:, map])])
    return [np.concatenate(of_map) for of_map in movable]


def _losses_of_patterns(
    layer: Responding, spec: ScanSpec, indices: np.ndarray, maps: np.ndarray
) -> np.ndarray:
    """Losses of patterns after the first rung, each for its map."""
    ascent = spec.rungs[0].ascent
    losses = np.empty(len(indices), np.float32)
    n_held = _BATCHES * layer.batch_size
    for first in range(0, len(indices), n_held):
        part = slice(first, first + n_held)
        images = _pattern_starts(layer, spec, indices[part])
        seeds = _pattern_seeds(spec, indices[part], ascent)
        losses[part] = ascend(layer, images, maps[part], ascent, seeds=seeds).losses
    return losses


def _pattern_starts(layer: Responding, spec: ScanSpec, indices: np.ndarray) -> np.ndarray:
    """The images of patterns as a scan starts from them, within the network's inputs."""
    images = pattern_images(spec.grid, indices, layer.image_shape, spec.noise, spec.seed)
    return from_standard(images, layer.inputs)


def _seeds(starts: Sequence[Start], ascent: AscentSpec) -> np.ndarray | None:
    """The numbers of starts from which all chance comes, if the ascent has any."""
    if not ascent.prior.disturbs:
        return None
    return np.array([seed_of(start) for start in starts], np.uint64)


def _pattern_seeds(spec: ScanSpec, indices: np.ndarray, ascent: AscentSpec) -> np.ndarray | None:
    if not ascent.prior.disturbs:
        return None
    return _seeds([spec.start(int(index)) for index in indices], ascent)


def _dead(
    layer: Responding, spec: ScanSpec, indices: np.ndarray, maps: np.ndarray, ascents: Ascents
) -> np.ndarray:
    """Which starts gave their map no gradient; with ReLU, those without a response."""
    if layer.silent_is_dead:
        return np.asarray(ascents.traces[:, 0] == 0)
    return have_no_gradient(layer, _pattern_starts(layer, spec, indices), maps)


def _movable(layer: Responding, responses: np.ndarray) -> np.ndarray:
    """Which starts the plain ascent may move: with ReLU, those with a response."""
    return (responses != 0) | (not layer.silent_is_dead)


def _best(candidates: np.ndarray, losses: np.ndarray, n: int) -> np.ndarray:
    """The n candidates with the largest losses, largest first."""
    return candidates[np.argsort(-losses[candidates], kind="stable")][:n]


def _trials_size(layer: Responding, spec: TrialSpec) -> int:
    return _AT_LEAST * layer.batch_size // spec.n_trials


def _scan_size(layer: Responding, spec: ScanSpec) -> int:
    """So many maps are scanned together that even the last rung fills batches for two threads.

    Where few maps do so, some more of them may leave fewer places of the batches empty.
    """
    n_starts, places = max(1, spec.rungs[-1].n_starts), _AT_LEAST * layer.batch_size
    fewest = max(1, places // n_starts)
    return min(range(fewest, fewest + _MORE), key=lambda n: -(-n * n_starts // places) * places / n)


def _groups(maps: np.ndarray, size: int) -> Iterator[np.ndarray]:
    size = max(1, size)
    return (maps[first : first + size] for first in range(0, len(maps), size))
