"""Coarse patterns: a few grey values in each cell of a small grid (article X).

A pattern is its index. Nothing is enumerated in advance, so grids with millions of patterns
cost no memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from .images import Shape, resize, standardized
from .specs import GridSpec


def pattern_images(grid: GridSpec, indices: np.ndarray, shape: Shape) -> np.ndarray:
    """Some patterns of a grid, resized bicubically and standardized.

    Parameters
    ----------
    grid
        Which values in how many cells.
    indices : integers, (n,)
        Which patterns, each in [0, grid.n_patterns).
    shape
        Height, width and channels of the images; all channels show the same pattern.

    Returns
    -------
    array, float32, (n, height, width, channels), standardized
    """
    height, width, channels = shape
    values = np.array(grid.values, np.float32)[cells_of(grid, indices)]
    cells = values.reshape(-1, grid.rows, grid.columns, 1)
    return standardized(np.repeat(resize(cells, height, width), channels, axis=3))


def distinct(grid: GridSpec, indices: np.ndarray) -> np.ndarray:
    """Which patterns to keep: one of each family that standardizes to the same image.

    Two patterns look the same after standardizing if one's values are an increasing affine map
    of the other's. Constant patterns vanish. Of 3 values on 3x3 cells, 18660 patterns of 19683
    stay. Whether a pattern stays depends only on the set of values it uses.

    Returns
    -------
    array, bool, (n,)
    """
    used = np.bitwise_or.reduce(np.left_shift(1, cells_of(grid, indices)), axis=1)
    return _kept_sets(grid.values)[used]


def distinct_blocks(
    grid: GridSpec, first: int = 0, last: int | None = None, size: int = 4096
) -> Iterator[np.ndarray]:
    """Indices of the distinct patterns in [first, last), block by block.

    Yields
    ------
    array, int64
        The distinct ones among the next `size` indices, if there are any.
    """
    last = grid.n_patterns if last is None else last
    for begin in range(first, last, size):
        indices = np.arange(begin, min(begin + size, last), dtype=np.int64)
        kept = indices[distinct(grid, indices)]
        if len(kept):
            yield kept


def cells_of(grid: GridSpec, indices: np.ndarray) -> np.ndarray:
    """Which value each cell has: (n, rows * columns), the most significant digit first."""
    n_cells = grid.rows * grid.columns
    powers = len(grid.values) ** np.arange(n_cells - 1, -1, -1, dtype=np.int64)
    return np.asarray(indices, np.int64)[:, None] // powers % len(grid.values)


def _kept_sets(values: tuple[float, ...]) -> np.ndarray:
    """For each set of values, as bits: is it the first of those with the same proportions?"""
    kept = np.zeros(2 ** len(values), bool)
    seen = set()
    for size in range(2, len(values) + 1):
        for chosen in itertools.combinations(range(len(values)), size):
            low, high = values[chosen[0]], values[chosen[-1]]
            proportions = tuple(round((values[i] - low) / (high - low), 9) for i in chosen)
            if proportions not in seen:
                seen.add(proportions)
                kept[sum(1 << i for i in chosen)] = True
    return kept
