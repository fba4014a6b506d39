"""The precursor scan: which of very many coarse patterns lets an OIP grow (article X).

Screening answers for all maps at once which patterns they respond to. A scan then lets the
responding patterns of a map compete and ascends the best to the end. A start with response 0
and gradient 0 can't move, so leaving it out changes nothing (exact pruning).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .ascent import BATCH_SIZE, Ascents, ascend, check_maps
from .fluctuations import fluctuation_images
from .patterns import distinct_blocks, pattern_images
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

# Ten classes a decade: fixed, so that histograms of parts of a scan can be added.
HISTOGRAM_EDGES = 10.0 ** np.linspace(-4, 4, 81)

# Pairs whose start images are held at the same time.
_PAIRS = 64 * BATCH_SIZE


@dataclass(frozen=True)
class Screening:
    """How all maps of a layer respond to the distinct patterns of a grid.

    Attributes
    ----------
    n_patterns : int
        How many distinct patterns were shown.
    n_reacting : int64, (maps,)
        To how many of them each map responds (response > 0).
    top_indices : int64, (maps, k)
        The patterns with the strongest responses, strongest first; -1 where fewer react.
    top_responses : float32, (maps, k)
        Their responses, 0 where fewer react.
    histogram : int64, (maps, 80)
        Number of positive responses between successive `HISTOGRAM_EDGES`, the outermost
        classes taking what lies beyond.
    """

    n_patterns: int
    n_reacting: np.ndarray
    top_indices: np.ndarray
    top_responses: np.ndarray
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


def screen(layer: LayerMaps, grid: GridSpec, n_top: int = 16, progress: Any = SILENT) -> Screening:
    """Show all distinct patterns of a grid to a layer, in one pass for all its maps.

    Parameters
    ----------
    n_top
        How many of the strongest patterns to keep per map.
    progress
        A progress bar that counts the grid's patterns.
    """
    n_patterns, n_bins = 0, len(HISTOGRAM_EDGES) - 1
    n_reacting = np.zeros(layer.n_maps, np.int64)
    histogram = np.zeros((layer.n_maps, n_bins), np.int64)
    top_indices = np.full((layer.n_maps, n_top), -1, np.int64)
    top_responses = np.zeros((layer.n_maps, n_top), np.float32)
    for indices, responses in _respond(layer, grid, progress):
        n_patterns += len(indices)
        n_reacting += (responses > 0).sum(axis=0)
        histogram += _histogram(responses)
        best = np.argsort(-responses, axis=0, kind="stable")[:n_top].T
        found = np.take_along_axis(responses.T, best, axis=1)
        # Earlier patterns stand first, so that equal responses keep the order of the indices.
        all_indices = np.concatenate([top_indices, np.where(found > 0, indices[best], -1)], axis=1)
        all_responses = np.concatenate([top_responses, np.maximum(found, 0)], axis=1)
        best = np.argsort(-all_responses, axis=1, kind="stable")[:, :n_top]
        top_indices = np.take_along_axis(all_indices, best, axis=1)
        top_responses = np.take_along_axis(all_responses, best, axis=1)
    return Screening(n_patterns, n_reacting, top_indices, top_responses, histogram)


def scan(
    layer: LayerMaps, spec: ScanSpec, maps: Sequence[int], progress: Any = SILENT
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
    progress
        A progress bar that counts maps.

    Yields
    ------
    MapScan
        For each map in the given order; without finalists if the map reacts to no pattern.
    """
    return _STRATEGIES[spec.strategy](layer, spec, check_maps(maps, layer.n_maps), progress)


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


def _article_scan(
    layer: LayerMaps, spec: ScanSpec, maps: np.ndarray, progress: Any
) -> Iterator[MapScan]:
    """All patterns that a map responds to take a few steps; the best few go to the end."""
    selection = AscentSpec(n_epochs=spec.n_select, epsilon=spec.ascent.epsilon, n_steps=0)
    candidates = _candidates(layer, spec.grid, maps)
    for group in _groups(np.arange(len(maps)), BATCH_SIZE // spec.n_keep):
        indices = np.concatenate([candidates[i] for i in group])
        owners = np.concatenate([np.full(len(candidates[i]), maps[i]) for i in group])
        losses = _losses_of_patterns(layer, spec.grid, indices, owners, selection)
        best = np.concatenate(
            [_best(np.flatnonzero(owners == maps[i]), losses, spec.n_keep) for i in group]
        )
        images = pattern_images(spec.grid, indices[best], layer.image_shape)
        ascents = ascend(layer, images, owners[best], spec.ascent)
        for i in group:
            own, finalists = owners == maps[i], owners[best] == maps[i]
            rung = Rung(spec.n_select - 1, indices[own], losses[own])
            starts = tuple(PatternStart(spec.grid, int(k)) for k in indices[best[finalists]])
            yield MapScan(int(maps[i]), (rung,), starts, ascents.take(finalists))
            progress.update(1)


_Strategy = Callable[[LayerMaps, ScanSpec, np.ndarray, Any], Iterator[MapScan]]
_STRATEGIES: dict[str, _Strategy] = {"article": _article_scan}


def _respond(
    layer: LayerMaps, grid: GridSpec, progress: Any = SILENT
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The distinct patterns' indices and the responses to them, block by block."""
    for indices in distinct_blocks(grid):
        yield indices, layer(pattern_images(grid, indices, layer.image_shape))
        progress.update(len(indices))


def _candidates(layer: LayerMaps, grid: GridSpec, maps: np.ndarray) -> list[np.ndarray]:
    """For each map the distinct patterns that the ascent can move."""
    blocks: list[list[np.ndarray]] = [[] for _ in maps]
    for indices, responses in _respond(layer, grid):
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


def _histogram(responses: np.ndarray) -> np.ndarray:
    n_bins = len(HISTOGRAM_EDGES) - 1
    n_maps = responses.shape[1]
    bins = np.clip(np.searchsorted(HISTOGRAM_EDGES, responses, side="right") - 1, 0, n_bins - 1)
    flat = (bins + n_bins * np.arange(n_maps))[responses > 0]
    return np.bincount(flat, minlength=n_maps * n_bins).reshape(n_maps, n_bins)
