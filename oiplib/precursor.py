"""The precursor scan: which of very many coarse patterns lets an OIP grow (article X).

Screening answers for all maps at once which patterns they respond to. A scan then lets the
responding patterns of a map compete and ascends the best to the end. A start with response 0
and gradient 0 can't move, so leaving it out changes nothing (exact pruning).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .ascent import BATCH_SIZE, Ascents, ascend, chain, check_maps
from .errors import InputError
from .fluctuations import fluctuation_images
from .patterns import cells_of, distinct, distinct_blocks, pattern_images
from .progress import SILENT
from .responses import LayerMaps
from .specs import (
    AscentSpec,
    FluctuationStart,
    GridSpec,
    PatternStart,
    ScanSpec,
    Start,
    TrialSpec,
)
from .threads import side_by_side

# Ten classes a decade: fixed, so that histograms of parts of a scan can be added.
HISTOGRAM_EDGES = 10.0 ** np.linspace(-4, 4, 81)

#: Maps whose starts race in the same batches, at least.
RACE_GROUP = 16

#: Correlation from which on two coarse patterns count as alike.
ALIKE = 0.9

# Pairs whose start images are held at the same time.
_PAIRS = 32 * BATCH_SIZE


@dataclass(frozen=True)
class Screening:
    """How all maps of a layer respond to the distinct patterns of a grid, or of a part of it.

    Attributes
    ----------
    n_patterns : int
        How many distinct patterns were shown.
    n_reacting : int64, (maps,)
        To how many of them each map responds (response > 0).
    top_indices : int64, (maps, k)
        The patterns that suit each map best: those with the strongest responses, then, among
        those without a response, those with the largest pre-activations.
    top_responses, top_preactivations : float32, (maps, k)
        How the map answers them.
    histogram : int64, (maps, 80)
        Number of positive responses between successive `HISTOGRAM_EDGES`, the outermost
        classes taking what lies beyond.
    """

    n_patterns: int
    n_reacting: np.ndarray
    top_indices: np.ndarray
    top_responses: np.ndarray
    top_preactivations: np.ndarray
    histogram: np.ndarray


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
    """What a scan found for one map: all its rungs, and the finalists with their ascents."""

    map: int
    rungs: tuple[Rung, ...]
    starts: tuple[Start, ...]
    ascents: Ascents


def screen(
    layer: LayerMaps,
    grid: GridSpec,
    part: tuple[int, int] | None = None,
    n_top: int = 256,
    progress: Any = SILENT,
) -> Screening:
    """Show the distinct patterns of a grid to a layer, in one pass for all its maps.

    Parameters
    ----------
    part
        First index and the one after the last; the whole grid by default. However a grid is
        cut, `merged` parts give the same screening.
    n_top
        How many of the best patterns to keep per map.
    progress
        A progress bar that counts the grid's patterns.
    """
    total = None
    seen, last = part or (0, grid.n_patterns)

    def answers(indices: np.ndarray) -> Screening:
        responses, before = layer.respond(pattern_images(grid, indices, layer.image_shape))
        block = Screening(
            len(indices),
            (responses > 0).sum(axis=0),
            np.broadcast_to(indices, (layer.n_maps, len(indices))),
            responses.T,
            before.T,
            _histogram(responses),
        )
        return merged([block], n_top)

    blocks, told = itertools.tee(distinct_blocks(grid, seen, last))
    for block, indices in zip(side_by_side(answers, blocks), told, strict=True):
        total = merged([total, block], n_top) if total else block
        progress.update(int(indices[-1]) + 1 - seen)
        seen = int(indices[-1]) + 1
    progress.update(last - seen)
    if total is None:
        raise InputError("this part of the grid has no distinct pattern")
    return total


def merged(parts: Sequence[Screening], n_top: int = 256) -> Screening:
    """The screening of several parts of a grid, given in the order of their indices."""
    indices, responses, before = (
        np.concatenate([getattr(part, f"top_{name}") for part in parts], axis=1)
        for name in ("indices", "responses", "preactivations")
    )
    best = _strongest(np.where(responses > 0, responses, before), n_top)
    return Screening(
        sum(part.n_patterns for part in parts),
        np.sum([part.n_reacting for part in parts], axis=0),
        np.take_along_axis(indices, best, axis=1),
        np.take_along_axis(responses, best, axis=1),
        np.take_along_axis(before, best, axis=1),
        np.sum([part.histogram for part in parts], axis=0),
    )


def parts_of(grid: GridSpec) -> list[tuple[int, int]]:
    """The parts in which a grid is screened, each a unit of work of its own."""
    size = max(65536, -(-grid.n_patterns // 64))
    return [(i, min(i + size, grid.n_patterns)) for i in range(0, grid.n_patterns, size)]


def scan(
    layer: LayerMaps,
    spec: ScanSpec,
    maps: Sequence[int],
    screening: Screening | None = None,
    progress: Any = SILENT,
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
        That of the grid, if it is at hand; only the race needs it.
    progress
        A progress bar that counts maps.

    Yields
    ------
    MapScan
        For each map in the given order. The article's strategy finds no finalists for a map
        that reacts to no pattern.
    """
    chosen = check_maps(maps, layer.n_maps)
    if spec.strategy == "article":
        return _article_scan(layer, spec, chosen, progress)
    return _race(layer, spec, chosen, screening or screen(layer, spec.grid), progress)


def try_fluctuations(
    layer: LayerMaps, spec: TrialSpec, maps: Sequence[int], progress: Any = SILENT
) -> Iterator[MapScan]:
    """Show each map some random fluctuation images and ascend those it responds to (article IX).

    Parameters, and what is yielded, are as in `scan`.
    """
    for group in _groups(check_maps(maps, layer.n_maps), 2 * BATCH_SIZE // spec.n_trials):
        starts = [
            FluctuationStart(spec.fluctuation, int(map), trial)
            for map in group
            for trial in range(spec.n_trials)
        ]
        images = fluctuation_images(starts, layer.image_shape)
        own = np.array([start.map for start in starts])
        losses = layer(images)[np.arange(len(own)), own]
        alive = np.flatnonzero(_movable(layer, losses))
        ascents = ascend(layer, images[alive], own[alive], spec.ascent)
        for map in group:
            shown = own == map
            rung = Rung(0, np.arange(spec.n_trials), losses[shown])
            chosen = tuple(starts[i] for i in alive[shown[alive]])
            yield MapScan(int(map), (rung,), chosen, ascents.take(shown[alive]))
            progress.update(1)


def _race(
    layer: LayerMaps, spec: ScanSpec, maps: np.ndarray, screening: Screening, progress: Any
) -> Iterator[MapScan]:
    """Starts climb in rungs, the weaker dropped at each; batches are filled across maps.

    A start's second rung begins where its first ended. Any start may become a finalist,
    whether the map responds to it or not: the first rung climbs the pre-activation.
    """
    # Where few start, more maps race together: also the last rung shall fill its batches.
    for group in _groups(maps, max(RACE_GROUP, BATCH_SIZE // spec.rungs[-1].n_starts)):
        starts = [_race_starts(spec, int(map), screening) for map in group]
        indices = np.concatenate(starts)
        owners = np.repeat(group, [len(own) for own in starts])
        images = pattern_images(spec.grid, indices, layer.image_shape)
        rungs: dict[int, list[Rung]] = {int(map): [] for map in group}
        climbed: Ascents | None = None
        for number, rung in enumerate(spec.rungs):
            if climbed is not None:
                losses = climbed.losses
                kept = _best_of_each(group, owners, losses, rung.n_starts)
                climbed, indices, owners = climbed.take(kept), indices[kept], owners[kept]
                images = climbed.images
            found = ascend(layer, images, owners, rung.ascent)
            climbed = chain(climbed, found) if climbed else found
            n_steps = climbed.traces.shape[1] - 1
            for map in group:
                own = owners == map
                if number == 0:
                    rungs[map].append(Rung(0, indices[own], climbed.traces[own, 0]))
                rungs[map].append(Rung(n_steps, indices[own], climbed.losses[own]))
        assert climbed is not None
        final = _best_of_each(group, owners, climbed.losses, spec.n_oips)
        for map in group:
            own = final[owners[final] == map]
            chosen = tuple(PatternStart(spec.grid, int(k)) for k in indices[own])
            yield MapScan(int(map), tuple(rungs[map]), chosen, climbed.take(own))
            progress.update(1)


def _race_starts(spec: ScanSpec, map: int, screening: Screening) -> np.ndarray:
    """The starts of one map: half chosen for strength and for difference, half at random."""
    n = spec.rungs[0].n_starts
    strong = _different(spec.grid, screening.top_indices[map], n - n // 2)
    rng = np.random.default_rng(np.random.SeedSequence(spec.seed, spawn_key=(map,)))
    # A small grid may not have enough patterns for all.
    drawn = np.unique(rng.integers(0, spec.grid.n_patterns, 8 * n))
    rng.shuffle(drawn)
    drawn = drawn[distinct(spec.grid, drawn) & ~np.isin(drawn, strong)]
    return np.concatenate([strong, drawn[: n - len(strong)]])


def _different(grid: GridSpec, indices: np.ndarray, n: int) -> np.ndarray:
    """The first n of the patterns that are correlated by less than `ALIKE` with all before."""
    cells = np.array(grid.values)[cells_of(grid, indices)]
    cells -= cells.mean(axis=1, keepdims=True)
    cells /= np.linalg.norm(cells, axis=1, keepdims=True)
    alike = cells @ cells.T > ALIKE
    chosen: list[int] = []
    for i in range(len(indices)):
        if len(chosen) < n and not alike[i, chosen].any():
            chosen.append(i)
    return indices[chosen]


def _best_of_each(group: np.ndarray, owners: np.ndarray, losses: np.ndarray, n: int) -> np.ndarray:
    """For each map in turn its n starts with the largest losses, largest first."""
    return np.concatenate([_best(np.flatnonzero(owners == map), losses, n) for map in group])


def _article_scan(
    layer: LayerMaps, spec: ScanSpec, maps: np.ndarray, progress: Any
) -> Iterator[MapScan]:
    """All patterns that a map responds to take a few steps; the best few go to the end."""
    select, final = spec.rungs
    candidates = _candidates(layer, spec.grid, maps)
    for group in _groups(np.arange(len(maps)), BATCH_SIZE // max(1, final.n_starts)):
        indices = np.concatenate([candidates[i] for i in group])
        owners = np.concatenate([np.full(len(candidates[i]), maps[i]) for i in group])
        losses = _losses_of_patterns(layer, spec.grid, indices, owners, select.ascent)
        best = _best_of_each(maps[group], owners, losses, final.n_starts or len(owners))
        images = pattern_images(spec.grid, indices[best], layer.image_shape)
        ascents = ascend(layer, images, owners[best], final.ascent)
        for map in maps[group]:
            own, finalists = owners == map, np.flatnonzero(owners[best] == map)
            n_steps = (select.ascent.n_epochs - 1, final.ascent.n_epochs - 1)
            rungs = (
                Rung(n_steps[0], indices[own], losses[own]),
                Rung(n_steps[1], indices[best[finalists]], ascents.losses[finalists]),
            )
            kept = _best(finalists, ascents.losses, spec.n_oips)
            starts = tuple(PatternStart(spec.grid, int(k)) for k in indices[best[kept]])
            yield MapScan(int(map), rungs, starts, ascents.take(kept))
            progress.update(1)


def _candidates(layer: LayerMaps, grid: GridSpec, maps: np.ndarray) -> list[np.ndarray]:
    """For each map the distinct patterns that the ascent can move."""
    blocks: list[list[np.ndarray]] = [[] for _ in maps]
    for indices in distinct_blocks(grid):
        responses = layer(pattern_images(grid, indices, layer.image_shape))
        for block, map in zip(blocks, maps, strict=True):
            block.append(indices[_movable(layer, responses[:, map])])
    return [np.concatenate(block) for block in blocks]


def _losses_of_patterns(
    layer: LayerMaps, grid: GridSpec, indices: np.ndarray, maps: np.ndarray, spec: AscentSpec
) -> np.ndarray:
    losses = np.empty(len(indices), np.float32)
    for first in range(0, len(indices), _PAIRS):
        part = slice(first, first + _PAIRS)
        images = pattern_images(grid, indices[part], layer.image_shape)
        losses[part] = ascend(layer, images, maps[part], spec).losses
    return losses


def _movable(layer: LayerMaps, responses: np.ndarray) -> np.ndarray:
    """Which starts the plain ascent may move: with ReLU, those with a response."""
    return (responses != 0) | (not layer.silent_is_dead)


def _best(chosen: np.ndarray, losses: np.ndarray, n: int) -> np.ndarray:
    """The n of the chosen with the largest losses, largest first."""
    return chosen[np.argsort(-losses[chosen], kind="stable")][:n]


def _groups(maps: np.ndarray, size: int) -> Iterator[np.ndarray]:
    size = max(1, size)
    return (maps[first : first + size] for first in range(0, len(maps), size))


def _strongest(keys: np.ndarray, n: int) -> np.ndarray:
    """Positions of the n largest keys of each row, largest first; of equal keys the earlier.

    Parameters
    ----------
    keys : float32, (rows, columns)

    Returns
    -------
    integers, (rows, n), or all columns where there are fewer
    """
    # Key and position in one integer: the order of the bits of positive floats is their own,
    # that of negative ones is reversed.
    bits = np.ascontiguousarray(keys, np.float32).view(np.int32)
    ordered = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int64) << 32
    ordered |= 0xFFFFFFFF - np.arange(keys.shape[1])
    if keys.shape[1] > n:
        ordered = np.partition(ordered, -n, axis=1)[:, -n:]
    return 0xFFFFFFFF - (np.sort(ordered, axis=1)[:, ::-1] & 0xFFFFFFFF)


def _histogram(responses: np.ndarray) -> np.ndarray:
    n_bins = len(HISTOGRAM_EDGES) - 1
    n_maps = responses.shape[1]
    bins = np.clip(np.searchsorted(HISTOGRAM_EDGES, responses, side="right") - 1, 0, n_bins - 1)
    flat = (bins + n_bins * np.arange(n_maps))[responses > 0]
    return np.bincount(flat, minlength=n_maps * n_bins).reshape(n_maps, n_bins)
