"""How alike OIPs are, wherever in the image their pattern stands."""

from __future__ import annotations

import numpy as np
from scipy import fft, optimize
from scipy.cluster import hierarchy
from scipy.spatial import distance


def similarities(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The largest normalized cross-correlation of each image of `a` with each of `b`.

    One image is moved over the other, zeros around both; the sum of products is divided by the
    two images' norms. So a moved copy is the more alike the less of it is cut off, brightness
    and contrast don't matter, and a negative is not alike.

    Parameters
    ----------
    a : array, (n, height, width, channels)
    b : array, (m, height, width, channels)

    Returns
    -------
    array, float32, (n, m), in [0, 1]
    """
    return aligned(a, b)[0]


def aligned(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How alike images are at best, and by how much one must be moved for that.

    Parameters
    ----------
    a, b
        As for `similarities`.

    Returns
    -------
    peaks : array, float32, (n, m), in [0, 1]
        As `similarities`.
    shifts : array of int, (n, m, 2)
        By how many rows and columns the pattern of `a` stands further down and right than
        that of `b`.
    """
    size = _padded(a)
    first, second = (_spectra(images, size) for images in (a, b))
    peaks = np.empty((len(a), len(b)), np.float32)
    shifts = np.empty((len(a), len(b), 2), int)
    for i, spectrum in enumerate(first):
        product = (spectrum * second.conj()).sum(axis=-1)
        flat = fft.irfft2(product, size, axes=(1, 2), workers=-1).reshape(len(b), -1)
        best = flat.argmax(axis=1)
        peaks[i] = flat[np.arange(len(b)), best]
        # Shifts to the other side stand at the end of each axis.
        moved = np.stack(np.unravel_index(best, size), axis=-1)
        shifts[i] = np.where(moved > np.array(size) // 2, moved - size, moved)
    return np.clip(peaks, 0, 1), shifts


def of_pairs(a: np.ndarray, b: np.ndarray, chunk: int = 512) -> np.ndarray:
    """How alike the first of `a` is to the first of `b`, the second to the second, and so on.

    Parameters
    ----------
    a, b : arrays, (n, height, width, channels)
    chunk
        Pairs that are in memory at a time.

    Returns
    -------
    array, float32, (n,), in [0, 1]
    """
    size = _padded(a)
    found = np.empty(len(a), np.float32)
    for first in range(0, len(a), chunk):
        part = slice(first, first + chunk)
        product = (_spectra(a[part], size) * _spectra(b[part], size).conj()).sum(axis=-1)
        found[part] = fft.irfft2(product, size, axes=(1, 2), workers=-1).max(axis=(1, 2))
    return np.clip(found, 0, 1)


def other_maps(maps: np.ndarray, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of OIPs of different maps, by which to judge those of the same: a null.

    Parameters
    ----------
    maps : array of int
        The map of each OIP; at least two different ones.
    n
        How many pairs.

    Returns
    -------
    two arrays of int, (n,)
        Which OIPs.
    """
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, len(maps), (2, n))
    while (same := maps[first] == maps[second]).any():
        second[same] = rng.integers(0, len(maps), same.sum())
    return first, second


def clusters(alike: np.ndarray, threshold: float) -> np.ndarray:
    """Which of some images show the same pattern: they are alike in the mean of their pairs.

    Parameters
    ----------
    alike : array, (n, n), in [0, 1]
        Similarities.
    threshold
        How alike two clusters must be, in the mean of all pairs between them, to be one.

    Returns
    -------
    array of int, (n,)
        Numbers of clusters from 0 on, the largest first.
    """
    n = len(alike)
    if n < 2:
        return np.zeros(n, int)
    apart = np.clip(1 - (alike + alike.T) / 2, 0, 1)
    np.fill_diagonal(apart, 0)
    tree = hierarchy.linkage(distance.squareform(apart, checks=False), "average")
    labels = hierarchy.fcluster(tree, 1 - threshold, "distance") - 1
    order = np.argsort(-np.bincount(labels), kind="stable")
    return np.argsort(order)[labels]


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


def _padded(images: np.ndarray) -> tuple[int, int]:
    height, width = images.shape[1:3]
    fast = [fft.next_fast_len(2 * side - 1, real=True) for side in (height, width)]
    return fast[0], fast[1]


def _spectra(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Fourier transforms of the images with mean 0 and norm 1, padded by zeros."""
    each = (1, 2, 3)
    centred = images - images.mean(axis=each, keepdims=True)
    norm = np.sqrt(np.square(centred).sum(axis=each, keepdims=True))
    scaled = (centred / np.maximum(norm, 1e-12)).astype(np.float32)
    return np.asarray(fft.rfft2(scaled, size, axes=(1, 2), workers=-1))
