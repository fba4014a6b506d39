"""Neighbours: the OIPs that are most similar to one, and the most similar pairs of all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .similarity import similarities


@dataclass(frozen=True)
class Neighbours:
    """The images most similar to one image, the most similar first.

    Attributes
    ----------
    indices : array of int, (n,)
        Which images.
    alike : array, float32, (n,), in [0, 1]
        Their similarity to the one image.
    """

    indices: np.ndarray
    alike: np.ndarray


@dataclass(frozen=True)
class SimilarPairs:
    """The most similar pairs of some images, the most similar first.

    Attributes
    ----------
    indices : array of int, (n, 2)
        Which two images; the smaller number stands first.
    alike : array, (n,), in [0, 1]
        Similarity of each pair.
    median, largest : float, in [0, 1]
        Of all pairs, not only of those listed. NaN where there are no pairs.
    """

    indices: np.ndarray
    alike: np.ndarray
    median: float
    largest: float


def nearest(image: np.ndarray, images: np.ndarray, n: int = 6) -> Neighbours:
    """Which images are most similar to one image.

    Parameters
    ----------
    image : array, (height, width, channels)
        The best OIP of a map.
    images : array, (m, height, width, channels)
        The best OIPs of other maps.
    n
        How many to list, if there are so many. Of equally similar images the first come first.

    Examples
    --------
    >>> stripes, dots = np.zeros((2, 6, 6, 1))
    >>> stripes[:, ::3], dots[::3, ::3] = 1, 1
    >>> nearest(stripes, np.array([dots, stripes]), n=1).indices
    array([1])
    """
    alike = similarities(image[None], images)[0]
    order = np.argsort(-alike, kind="stable")[:n]
    return Neighbours(order, alike[order])


def most_similar_pairs(alike: np.ndarray, n: int = 8) -> SimilarPairs:
    """Which two of some images are most similar.

    Parameters
    ----------
    alike : array, (m, m), in [0, 1]
        Similarities; what stands above the diagonal counts.
    n
        How many pairs to list, if there are so many. Of equally similar pairs the first come
        first, row by row.

    Examples
    --------
    >>> alike = np.array([[1.0, 0.2, 0.9], [0.2, 1.0, 0.4], [0.9, 0.4, 1.0]])
    >>> pairs = most_similar_pairs(alike, n=2)
    >>> pairs.indices.tolist(), pairs.median
    ([[0, 2], [1, 2]], 0.4)
    """
    first, second = np.triu_indices(len(alike), 1)
    of_pairs = alike[first, second]
    order = np.argsort(-of_pairs, kind="stable")[:n]
    any_pairs = len(of_pairs) > 0
    return SimilarPairs(
        indices=np.stack([first[order], second[order]], axis=1),
        alike=of_pairs[order],
        median=float(np.median(of_pairs)) if any_pairs else np.nan,
        largest=float(of_pairs.max()) if any_pairs else np.nan,
    )
