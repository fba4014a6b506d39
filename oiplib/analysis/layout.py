"""Layout: places on a grid for some images, such that alike ones are neighbours; smaller images."""

from __future__ import annotations

import numpy as np
from scipy import optimize


def layout(alike: np.ndarray, columns: int) -> np.ndarray:
    """Places on a grid for some images, such that alike ones are neighbours.

    Classical multidimensional scaling gives each image a point in the plane; the points are
    then moved to the cells of a grid by a linear assignment that keeps them as near as it can.

    Parameters
    ----------
    alike : array, (n, n), in [0, 1]
        Similarities, such as those of `similarities`.
    columns
        Of the grid.

    Returns
    -------
    array of int, (n,)
        For each cell, row by row, which image stands there.
    """
    n = len(alike)
    if n < 3:
        return np.arange(n)
    distances = np.square(1 - (alike + alike.T) / 2)
    np.fill_diagonal(distances, 0)
    centre = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(-centre @ distances @ centre / 2)
    plane = vectors[:, :-3:-1] * np.sqrt(np.maximum(values[:-3:-1], 0))
    # Of each axis only the order counts, so that the points fill the grid evenly.
    ranks = plane.argsort(axis=0).argsort(axis=0) / max(1, n - 1)
    rows = -(-n // columns)
    cells = np.array([(k // columns, k % columns) for k in range(n)])
    cells = cells / np.maximum((rows - 1, columns - 1), 1)
    apart = np.square(cells[:, None] - ranks[None]).sum(axis=-1)
    return np.asarray(optimize.linear_sum_assignment(apart)[1])


def shrunk(images: np.ndarray, most: int) -> np.ndarray:
    """Images of at most some size: each of their pixels is the mean of a square of pixels.

    Parameters
    ----------
    images : array, (n, height, width, channels)
    most
        Their largest height and width, 1 or more. Images that are no larger stay as they are.
        Of larger ones the last rows and columns that fill no square are left out.

    Returns
    -------
    array, (n, smaller height, smaller width, channels)
        Of the same type; whole numbers are rounded.

    Examples
    --------
    >>> shrunk(np.arange(16.0).reshape(1, 4, 4, 1), 2).ravel().tolist()
    [2.5, 4.5, 10.5, 12.5]
    """
    n, height, width, channels = images.shape
    side = -(-max(height, width) // most)
    if side == 1:
        return images
    # A strip may be thinner than a square.
    rows, columns = (min(side, length) for length in (height, width))
    cut = images[:, : height // rows * rows, : width // columns * columns]
    blocks = cut.reshape(n, height // rows, rows, width // columns, columns, channels)
    means = blocks.mean(axis=(2, 4))
    return (means if images.dtype.kind == "f" else np.round(means)).astype(images.dtype)
