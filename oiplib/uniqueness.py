"""How alike OIPs are, wherever in the image their pattern stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage, optimize
from scipy.cluster import hierarchy
from scipy.spatial import distance


@dataclass(frozen=True)
class Spectra:
    """Fourier transforms of images with mean 0 and norm 1, zeros around them.

    Attributes
    ----------
    values : complex64, (n, rows, columns, channels)
    size : (rows, columns)
        Of the images with the zeros.
    """

    values: np.ndarray
    size: tuple[int, int]


def spectra_of(images: np.ndarray) -> Spectra:
    """`Spectra` of images (n, height, width, channels)."""
    each, size = (1, 2, 3), _padded(images)
    centred = images - images.mean(axis=each, keepdims=True)
    norm = np.sqrt(np.square(centred).sum(axis=each, keepdims=True))
    scaled = (centred / np.maximum(norm, 1e-12)).astype(np.float32)
    return Spectra(fft.rfft2(scaled, size, axes=(1, 2), workers=-1), size)


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
    first, second = spectra_of(a), spectra_of(b)
    peaks = np.empty((len(a), len(b)), np.float32)
    shifts = np.empty((len(a), len(b), 2), int)
    for i, spectrum in enumerate(first.values):
        product = (spectrum * second.values.conj()).sum(axis=-1)
        peaks[i], shifts[i] = _peaks(product, first.size)
    return peaks, shifts


def all_pairs(spectra: Spectra) -> tuple[np.ndarray, np.ndarray]:
    """`aligned` for each two of n images, once.

    Returns
    -------
    peaks : array, float32, (n (n - 1) / 2,), in [0, 1]
    shifts : array of int, (n (n - 1) / 2, 2)
        Both in the order of ``numpy.triu_indices(n, 1)``.
    """
    i, j = np.triu_indices(len(spectra.values), 1)
    return _peaks(_products(spectra.values, spectra.values, i, j), spectra.size)


def of_pairs(a: Spectra, b: Spectra, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How alike some images of `a` are to some of `b`.

    Parameters
    ----------
    first, second : arrays of int, (n,)
        Which of `a` and which of `b`, pair by pair.

    Returns
    -------
    array, float32, (n,), in [0, 1]
    """
    return _peaks(_products(a.values, b.values, first, second), a.size)[0]


def of_classes(counts: np.ndarray) -> np.ndarray:
    """Similarities that were counted in equal classes from 0 to 1: each as its class' middle."""
    return np.repeat((np.arange(len(counts)) + 0.5) / len(counts), counts)


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


def shoved(
    images: np.ndarray, others: Sequence[np.ndarray], spectra: Sequence[Spectra], limit: float
) -> np.ndarray:
    """Images changed by as little as makes each unlike some other ones.

    Where the similarity with another image is above the limit, the other image, moved to where
    they are most alike, is taken out of it until the limit is reached: a projection.

    Parameters
    ----------
    images : array, (n, height, width, channels), each with mean 0
    others : n arrays, (k, height, width, channels), each image with mean 0
        From which each of the images shall differ; k may vary.
    spectra
        `spectra_of` each of the `others`.
    limit
        Largest similarity, in [0, 1].

    Returns
    -------
    array, (n, height, width, channels)
    """
    own = spectra_of(images)
    products = [
        (one[None] * known.values.conj()).sum(axis=-1)
        for one, known in zip(own.values, spectra, strict=True)
    ]
    peaks, shifts = _peaks(np.concatenate(products), own.size)
    which = np.repeat(np.arange(len(images)), [len(other) for other in others])
    flat = np.concatenate(others)
    changed = images.copy()
    for pair in np.flatnonzero(peaks > limit):
        image, other = changed[which[pair]], _moved(flat[pair], shifts[pair])
        # What was cut off counts in the similarity, but can't be taken out.
        length = np.linalg.norm(other)
        most = limit * np.linalg.norm(flat[pair]) / length
        along = (image * other).sum() / length
        rest = np.sqrt(max(0.0, np.square(image).sum() - along**2))
        if most < 1 and along > most * np.linalg.norm(image):
            image += (most * rest / np.sqrt(1 - most**2) - along) / length * other
    return changed


def _moved(image: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """An image further down and right by so many pixels, zeros where it doesn't reach."""
    out = np.zeros_like(image)
    (to_y, from_y), (to_x, from_x) = (_parts(int(by)) for by in shift)
    out[to_y, to_x] = image[from_y, from_x]
    return out


def _parts(by: int) -> tuple[slice, slice]:
    if by >= 0:
        return slice(by, None), slice(None, -by or None)
    return slice(None, by), slice(-by, None)


def repetition(images: np.ndarray, least: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """How much of each image's pattern stands in it a second time, and how far away.

    The image is correlated with itself, moved. Each shift's value is divided by the norms of
    the two parts that lie upon each other, so that it is 1 where the pattern repeats
    perfectly, whatever is cut off. The value at a shift counts if it is larger than at all
    eight neighbours, if at least a quarter of the image lies upon itself, and if every way from
    there to no shift at all leads through less than half of it: a line that is moved along
    itself is no repetition.

    Parameters
    ----------
    images : array, (n, height, width, channels)
    least
        Smallest shift that counts, in pixels.

    Returns
    -------
    peaks : array, float32, (n,), in [0, 1]
        The largest such value; 0 where there is none.
    shifts : array of int, (n, 2)
        Rows (0 or more) and columns (0 or more, where there are no rows) of that shift.
    """
    n, height, width, _ = images.shape
    size = _padded(images)
    centred = images - images.mean(axis=(1, 2, 3), keepdims=True)

    def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        first, second = (fft.rfft2(x, size, axes=(1, 2), workers=-1) for x in (a, b))
        product = (first * second.conj()).sum(axis=-1)
        return np.asarray(fft.irfft2(product, size, axes=(1, 2), workers=-1))

    energy, ones = np.square(centred), np.ones_like(centred)
    shared = correlation(energy, ones) * correlation(ones, energy)
    values = correlation(centred, centred) / np.sqrt(np.maximum(shared, 1e-12))
    # The lower half of the shifts: the upper one is its mirror image.
    values = np.roll(values, width - 1, axis=2)[:, :height, : 2 * width - 1]
    rows, columns = np.meshgrid(np.arange(height), np.arange(1 - width, width), indexing="ij")
    overlap = (height - rows) * (width - np.abs(columns)) / (height * width)
    allowed = (overlap >= 0.25) & (np.hypot(rows, columns) >= least)
    # Row 0 has the mirrored row 1 above it.
    whole = np.concatenate([values[:, 1:2, ::-1], values], axis=1)
    around = ndimage.maximum_filter(whole, (0, 3, 3), mode="constant", cval=-1)[:, 1:]
    peaks, shifts = np.zeros(n, np.float32), np.zeros((n, 2), int)
    for i in range(n):
        higher = np.flatnonzero(allowed & (values[i] >= around[i]) & (values[i] > 0))
        for place in higher[np.argsort(-values[i].ravel()[higher])]:
            y, x = np.unravel_index(place, values[i].shape)
            regions, _ = ndimage.label(whole[i] > values[i, y, x] / 2)
            if regions[y + 1, x] != regions[1, width - 1]:
                right = columns[y, x]
                peaks[i], shifts[i] = min(values[i, y, x], 1), (y, right if y else abs(right))
                break
    return peaks, shifts


def equally_coarse(images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Random images as coarse as some others: a null for `repetition`.

    Each has the power spectrum of its model, averaged over all directions, and random phases:
    light and dark change over the same distances, but nothing is there twice by intent.

    Parameters
    ----------
    images : array, (n, height, width, channels)

    Returns
    -------
    array, float32, same shape
    """
    rng = np.random.default_rng(seed)
    size = _padded(images)
    power = np.square(np.abs(spectra_of(images).values))
    fy, fx = np.meshgrid(fft.fftfreq(size[0]), fft.rfftfreq(size[1]), indexing="ij")
    ring = np.round(np.hypot(fy, fx) * max(size)).astype(int)
    counts = np.bincount(ring.ravel())
    out = np.empty(images.shape, np.float32)
    for i, one in enumerate(power):
        noise = fft.rfft2(rng.normal(size=(*size, images.shape[-1])), axes=(0, 1))
        for c in range(images.shape[-1]):
            mean = np.bincount(ring.ravel(), one[..., c].ravel()) / np.maximum(counts, 1)
            noise[..., c] *= np.sqrt(mean[ring])
        whole = fft.irfft2(noise, size, axes=(0, 1))
        out[i] = whole[: images.shape[1], : images.shape[2]]
    return out


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


def _peaks(products: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The largest correlation of each pair, from its spectrum, and at which shift it is."""
    flat = fft.irfft2(products, size, axes=(1, 2), workers=-1).reshape(len(products), -1)
    best = flat.argmax(axis=1)
    # Shifts to the other side stand at the end of each axis.
    moved = np.stack(np.unravel_index(best, size), axis=-1)
    shifts = np.where(moved > np.array(size) // 2, moved - size, moved)
    return np.clip(flat[np.arange(len(flat)), best], 0, 1), shifts


def _products(a: np.ndarray, b: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spectra of the correlations of some pairs, summed over the channels."""
    _, height, width, channels = a.shape
    if channels < 8:
        return np.asarray((a[first] * b[second].conj()).sum(axis=-1))
    # With many channels it is faster to compute all pairs by a matrix product per frequency.
    of_a, of_b = (x.reshape(len(x), -1, channels).transpose(1, 0, 2) for x in (a, b))
    whole = of_a @ of_b.conj().transpose(0, 2, 1)
    return np.asarray(whole[:, first, second].T.reshape(-1, height, width))


def _padded(images: np.ndarray) -> tuple[int, int]:
    height, width = images.shape[1:3]
    fast = [fft.next_fast_len(2 * side - 1, real=True) for side in (height, width)]
    return fast[0], fast[1]
