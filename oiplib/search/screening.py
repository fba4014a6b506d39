"""Screening: one forward pass of very many coarse patterns, for all maps of a layer (article X)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.images import from_standard
from ..engine.objectives import Responding
from ..engine.patterns import block_size, distinct_blocks, pattern_images
from ..engine.threads import side_by_side
from ..errors import InputError
from ..progress import SILENT
from ..values import GridSpec, ScreeningSpec


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
    histogram : int64, (maps, classes)
        Number of positive responses between successive `histogram_edges`. The outermost
        classes take what lies beyond.
    """

    n_patterns: int
    n_reacting: np.ndarray
    top_indices: np.ndarray
    top_responses: np.ndarray
    top_preactivations: np.ndarray
    histogram: np.ndarray


def screen(
    layer: Responding,
    spec: ScreeningSpec,
    part: tuple[int, int] | None = None,
    progress: Any = SILENT,
) -> Screening:
    """Show the distinct patterns of a grid to a layer, in one pass for all its maps.

    Parameters
    ----------
    layer
        Whose maps, or an objective.
    spec
        The grid, and what is kept of the responses.
    part
        First index and the one after the last; the whole grid by default. However a grid is
        cut, `merged` parts give the same screening.
    progress
        A progress bar that counts the grid's patterns.

    Raises
    ------
    InputError
        If the part has no distinct pattern.

    Examples
    --------
    >>> from oiplib import GridSpec, LayerMaps, ScreeningSpec
    >>> from oiplib.engine.tf import keras
    >>> image = keras.Input((8, 8, 1))
    >>> start = keras.initializers.GlorotUniform(seed=0)
    >>> conv = keras.layers.Conv2D(2, 3, activation="relu", kernel_initializer=start, name="conv")
    >>> layer = LayerMaps(keras.Model(image, conv(image)), "conv")
    >>> screening = screen(layer, ScreeningSpec(GridSpec(values=(0.2, 0.8), rows=2, columns=2)))
    >>> screening.n_patterns, screening.top_indices.shape[0]
    (14, 2)
    """
    total, edges = None, histogram_edges(spec)
    seen, last = part or (0, spec.grid.n_patterns)

    def screen_block(indices: np.ndarray) -> Screening:
        images = pattern_images(spec.grid, indices, layer.image_shape)
        responses, before = layer.respond(from_standard(images, layer.inputs))
        block = Screening(
            len(indices),
            (responses > 0).sum(axis=0),
            np.broadcast_to(indices, (layer.n_maps, len(indices))),
            responses.T,
            before.T,
            _histogram(responses, edges),
        )
        return merged([block], spec.n_top)

    size = block_size(layer.image_shape)
    blocks, same_blocks = itertools.tee(distinct_blocks(spec.grid, seen, last, size))
    for block, indices in zip(side_by_side(screen_block, blocks), same_blocks, strict=True):
        total = merged([total, block], spec.n_top) if total else block
        progress.update(int(indices[-1]) + 1 - seen)
        seen = int(indices[-1]) + 1
    progress.update(last - seen)
    if total is None:
        raise InputError("this part of the grid has no distinct pattern")
    return total


def merged(parts: Sequence[Screening], n_top: int) -> Screening:
    """The screening of several parts of a grid, given in the order of their indices.

    Examples
    --------
    >>> from oiplib import GridSpec, LayerMaps, ScreeningSpec
    >>> from oiplib.engine.tf import keras
    >>> image = keras.Input((8, 8, 1))
    >>> start = keras.initializers.GlorotUniform(seed=0)
    >>> conv = keras.layers.Conv2D(2, 3, activation="relu", kernel_initializer=start, name="conv")
    >>> layer = LayerMaps(keras.Model(image, conv(image)), "conv")
    >>> spec = ScreeningSpec(GridSpec(values=(0.2, 0.8), rows=2, columns=2))
    >>> parts = [screen(layer, spec, part) for part in ((0, 8), (8, 16))]
    >>> merged(parts, spec.n_top).n_patterns == screen(layer, spec).n_patterns
    True
    """
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


def histogram_edges(spec: ScreeningSpec) -> np.ndarray:
    """Bounds of the classes of a screening's histogram, equal on a logarithmic scale.

    They are fixed by the spec, so that histograms of parts of a grid can be added.

    Returns
    -------
    array, float64, (classes + 1,)
    """
    low, high = spec.decades
    return np.asarray(10.0 ** np.linspace(low, high, (high - low) * spec.n_bins + 1))


def parts_of(grid: GridSpec) -> list[tuple[int, int]]:
    """The parts in which a grid is screened, each a unit of work of its own."""
    size = max(65536, -(-grid.n_patterns // 64))
    return [(i, min(i + size, grid.n_patterns)) for i in range(0, grid.n_patterns, size)]


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


def _histogram(responses: np.ndarray, edges: np.ndarray) -> np.ndarray:
    n_bins = len(edges) - 1
    n_maps = responses.shape[1]
    bins = np.clip(np.searchsorted(edges, responses, side="right") - 1, 0, n_bins - 1)
    flat = (bins + n_bins * np.arange(n_maps))[responses > 0]
    return np.bincount(flat, minlength=n_maps * n_bins).reshape(n_maps, n_bins)
