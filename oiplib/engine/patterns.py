"""Coarse patterns: a few grey values in each cell of a small grid (article X).

An index describes a pattern completely. No list of patterns is ever made, so even grids with
millions of them cost no memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from ..values import GridSpec
from .images import Shape, resize, standardized

# In bytes.
_LARGEST_BLOCK = 2**26


def pattern_images(
    grid: GridSpec, indices: np.ndarray, shape: Shape, noise: float = 0.0, seed: int = 0
) -> np.ndarray:
    """The images of patterns: resized bicubically and standardized.

    Parameters
    ----------
    grid
        The grey values and the cells.
    indices : integers, (n,)
        The patterns, each in [0, grid.n_patterns).
    shape
        Height, width and channels of the images. All channels show the same pattern.
    noise
        Deviation of normal noise that is put on the standardized images, which are then
        standardized again. Each channel has its own. A coarse pattern has many equal pixels, so
        poolings meet exact ties, which the last bit of a sum decides; noise removes them.
    seed
        Of the noise. Every pattern has its own stream below it, so its image doesn't depend on
        the others.

    Returns
    -------
    array, float32, (n, height, width, channels), standardized

    Examples
    --------
    >>> pattern_images(GridSpec(), np.array([1, 3730]), (28, 28, 1)).shape
    (2, 28, 28, 1)
    """
    height, width, channels = shape
    values = np.array(grid.values, np.float32)[cells_of(grid, indices)]
    cells = values.reshape(-1, grid.rows, grid.columns, 1)
    images = standardized(np.repeat(resize(cells, height, width), channels, axis=3))
    if not noise:
        return images
    for image, index in zip(images, np.asarray(indices).tolist(), strict=True):
        stream = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))
        image += np.float32(noise) * stream.standard_normal(shape, np.float32)
    return standardized(images)


def distinct(grid: GridSpec, indices: np.ndarray) -> np.ndarray:
    """Whether to keep each pattern: one of each family that standardizes to the same image.

    Two patterns look the same after standardizing if one's values are an increasing affine map
    of the other's. Constant patterns are dropped: standardizing leaves nothing of them. Whether
    a pattern is kept depends only on the set of values that its cells use.

    Returns
    -------
    array, bool, (n,)

    Examples
    --------
    >>> grid = GridSpec(values=(0.2, 0.5, 0.8), rows=3, columns=3)
    >>> grid.n_patterns, int(distinct(grid, np.arange(grid.n_patterns)).sum())
    (19683, 18660)
    """
    value_sets = np.bitwise_or.reduce(np.left_shift(1, cells_of(grid, indices)), axis=1)
    return _kept_sets(grid.values)[value_sets]


def distinct_blocks(
    grid: GridSpec, first: int = 0, last: int | None = None, size: int = 4096
) -> Iterator[np.ndarray]:
    """Indices of the distinct patterns in [first, last), block by block.

    Yields
    ------
    array, int64
        The distinct ones among the next `size` indices, if there are any.

    Examples
    --------
    >>> [block.tolist() for block in distinct_blocks(GridSpec((0.2, 0.8), 1, 2))]
    [[1, 2]]
    """
    last = grid.n_patterns if last is None else last
    for begin in range(first, last, size):
        indices = np.arange(begin, min(begin + size, last), dtype=np.int64)
        distinct_indices = indices[distinct(grid, indices)]
        if len(distinct_indices):
            yield distinct_indices


def block_size(shape: Shape) -> int:
    """How many images of patterns are made at a time: 4096, or what fits into 64 MB.

    Examples
    --------
    >>> block_size((28, 28, 1)), block_size((224, 224, 3))
    (4096, 111)
    """
    height, width, channels = shape
    return max(1, min(4096, _LARGEST_BLOCK // (4 * height * width * channels)))


def cells_of(grid: GridSpec, indices: np.ndarray) -> np.ndarray:
    """The cells of patterns, each as the index of its value.

    They are the pattern's index written in base ``len(grid.values)``, the most significant
    place first.

    Returns
    -------
    array, int64, (n, rows * columns)

    Examples
    --------
    >>> cells_of(GridSpec((0.2, 0.8), rows=2, columns=2), np.array([5])).tolist()
    [[0, 1, 0, 1]]
    """
    n_cells = grid.rows * grid.columns
    powers = len(grid.values) ** np.arange(n_cells - 1, -1, -1, dtype=np.int64)
    return np.asarray(indices, np.int64)[:, None] // powers % len(grid.values)


def _kept_sets(values: tuple[float, ...]) -> np.ndarray:
    """Whether each set of values is the first one with its proportions.

    The index of a set has a bit for each value: bit i is 1 if the set contains ``values[i]``.
    """
    is_kept = np.zeros(2 ** len(values), bool)
    earlier_proportions = set()
    for size in range(2, len(values) + 1):
        for value_set in itertools.combinations(range(len(values)), size):
            low, high = values[value_set[0]], values[value_set[-1]]
            proportions = tuple(round((values[i] - low) / (high - low), 9) for i in value_set)
            if proportions not in earlier_proportions:
                earlier_proportions.add(proportions)
                is_kept[sum(1 << i for i in value_set)] = True
    return is_kept
