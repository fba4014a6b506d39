"""How alike OIPs are, wherever in the image their pattern stands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.cluster import hierarchy
from scipy.spatial import distance

# By how much a similarity may be wrong, and more.
_ROUNDING = 1e-4

# So many pairs are looked at together.
_PAIRS = 64


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
    size = padded_size(images)
    return Spectra(fft.rfft2(_scaled(images), size, axes=(1, 2), workers=-1), size)


def _scaled(images: np.ndarray) -> np.ndarray:
    """Each image with mean 0 and norm 1."""
    each = 1, 2, 3
    centred = images - images.mean(axis=each, keepdims=True)
    norm = np.sqrt(np.square(centred).sum(axis=each, keepdims=True))
    return np.asarray((centred / np.maximum(norm, 1e-12)).astype(np.float32))


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
    conjugate = second.values.conj()
    for i, spectrum in enumerate(first.values):
        product = (spectrum * conjugate).sum(axis=-1)
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
    labels = hierarchy.fcluster(merges(alike), 1 - threshold, "distance") - 1
    order = np.argsort(-np.bincount(labels), kind="stable")
    return np.argsort(order)[labels]


def merges(alike: np.ndarray) -> np.ndarray:
    """In which order images become one cluster, and how unlike those are that do: SciPy's linkage.

    Parameters
    ----------
    alike : array, (n, n), in [0, 1]
        Similarities of at least two images.

    Returns
    -------
    array, (n - 1, 4)
    """
    apart = np.clip(1 - (alike + alike.T) / 2, 0, 1)
    np.fill_diagonal(apart, 0)
    return np.asarray(hierarchy.linkage(distance.squareform(apart, checks=False), "average"))


class Apart:
    """Keeps images that move unlike some other ones.

    An image of norm 1 can't become more alike to another one than by the length of its way. So
    most pairs needn't be looked at after a short step.

    Parameters
    ----------
    others : mapping of int to arrays, (k, height, width, channels), each image with mean 0
        By owner, from which images those of the owner shall differ; k may vary.
    owners : array of int, (n,)
        Whose each of the moving images is.
    limit
        Largest similarity, in [0, 1].
    """

    def __init__(self, others: Mapping[int, np.ndarray], owners: np.ndarray, limit: float) -> None:
        of_owner, first = {}, 0
        for owner, images in others.items():
            of_owner[owner] = np.arange(first, first + len(images))
            first += len(images)
        self._limit = limit
        self._others = np.concatenate(list(others.values()))
        self._spectra = spectra_of(self._others).values.conj()
        self._pairs = np.array(
            [(image, other) for image, owner in enumerate(owners) for other in of_owner[owner]]
        ).reshape(-1, 2)
        #: How alike each pair can be at most.
        self._most = np.full(len(self._pairs), np.inf)
        self._before = np.zeros(0)

    def shoved(self, images: np.ndarray) -> np.ndarray:
        """Images changed by as little as makes each unlike the others of its owner.

        Where the similarity with another image is above the limit, the other image, moved to
        where they are most alike, is taken out of it until the limit is reached: a projection.

        Parameters
        ----------
        images : array, (n, height, width, channels), each with mean 0
            Those of the last call, after a step; any at first.

        Returns
        -------
        array, (n, height, width, channels)
        """
        scaled, size = _scaled(images), padded_size(images)
        if len(self._before):
            ways = np.linalg.norm((scaled - self._before).reshape(len(images), -1), axis=1)
            self._most += ways[self._pairs[:, 0]]
        self._before = scaled
        near = np.flatnonzero(self._most > self._limit - _ROUNDING)
        changed = images.copy()
        if not len(near):
            return changed
        of_images = fft.rfft2(scaled, size, axes=(1, 2))
        # Few pairs at a time stay in the processor's cache.
        for first in range(0, len(near), _PAIRS):
            pairs = near[first : first + _PAIRS]
            which, other = self._pairs[pairs].T
            products = self._spectra[other]
            products *= of_images[which]
            # Batches are looked at side by side, so each has a single thread.
            alike, shifts = _peaks(_over_channels(products), size, n_threads=1)
            self._most[pairs] = alike
            for k in np.flatnonzero(alike > self._limit):
                _shove(changed[which[k]], self._others[other[k]], shifts[k], self._limit)
        return changed


def _shove(image: np.ndarray, other: np.ndarray, shift: np.ndarray, limit: float) -> None:
    """Change an image until it is no more alike to another one, at a shift, than the limit."""
    moved = _moved(other, shift)
    # What was cut off counts in the similarity, but can't be taken out.
    length, whole = _norm(moved), _norm(other)
    most = limit * whole / length
    along = np.vdot(image, moved) / length
    norm = _norm(image)
    rest = math.sqrt(max(0.0, norm**2 - along**2))
    if most < 1 and along > most * norm:
        image += (most * rest / math.sqrt(1 - most**2) - along) / length * moved


def _norm(image: np.ndarray) -> float:
    return math.sqrt(np.vdot(image, image))


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


def _over_channels(products: np.ndarray) -> np.ndarray:
    """The sum over the last axis, which mostly has a single place."""
    return np.asarray(products[..., 0] if products.shape[-1] == 1 else products.sum(axis=-1))


def _peaks(
    products: np.ndarray, size: tuple[int, int], n_threads: int = -1
) -> tuple[np.ndarray, np.ndarray]:
    """The largest correlation of each pair, from its spectrum, and at which shift it is."""
    flat = fft.irfft2(products, size, axes=(1, 2), workers=n_threads).reshape(len(products), -1)
    best = flat.argmax(axis=1)
    # Shifts to the other side stand at the end of each axis.
    moved = np.stack(np.unravel_index(best, size), axis=-1)
    shifts = np.where(moved > np.array(size) // 2, moved - size, moved)
    return np.clip(flat[np.arange(len(flat)), best], 0, 1), shifts


def _products(a: np.ndarray, b: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spectra of the correlations of some pairs, summed over the channels."""
    _, height, width, channels = a.shape
    if channels < 8:
        return _over_channels(a[first] * b[second].conj())
    # With many channels it is faster to compute all pairs by a matrix product per frequency.
    of_a, of_b = (x.reshape(len(x), -1, channels).transpose(1, 0, 2) for x in (a, b))
    whole = of_a @ of_b.conj().transpose(0, 2, 1)
    return np.asarray(whole[:, first, second].T.reshape(-1, height, width))


def padded_size(images: np.ndarray) -> tuple[int, int]:
    height, width = images.shape[1:3]
    fast = [fft.next_fast_len(2 * side - 1, real=True) for side in (height, width)]
    return fast[0], fast[1]
