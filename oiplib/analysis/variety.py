"""How different the patterns are that excite a map, judged by a null: OIPs of other maps.

Two OIPs show the same pattern if they are more alike than nearly all pairs of OIPs of different
maps. That null is a layer's own: it is computed once, from all its maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.threads import side_by_side
from ..progress import SILENT
from .similarity import all_pairs, clusters, merges, of_pairs, spectra_of


@dataclass(frozen=True)
class Pairs:
    """How alike some images of one map are, each two of them.

    Attributes
    ----------
    peaks : float32, (pairs,), in [0, 1]
        In the order of ``numpy.triu_indices``.
    shifts : int, (pairs, 2)
        By how many rows and columns the first image's pattern stands further down and right.
    """

    peaks: np.ndarray
    shifts: np.ndarray


def pairs_within(images: np.ndarray) -> Pairs:
    """How alike the images of one map are: (n, height, width, channels), n at least 2."""
    return Pairs(*all_pairs(spectra_of(images)))


def pairs_between(
    images: Sequence[np.ndarray], seed: int = 0, progress: Any = SILENT
) -> list[np.ndarray]:
    """How alike images of each map are to images of other maps, drawn at random: a null.

    Parameters
    ----------
    images : sequence of arrays, (n, height, width, channels)
        Those of each map; at least two maps. OIPs, or what the network makes of them.
    seed
        Of the draws.
    progress
        A progress bar that counts maps.

    Returns
    -------
    list of arrays, float32, (n (n - 1) / 2,), in [0, 1]
        For each map as many pairs as its own images make. All its images are paired with each
        of n / 2 images of other maps, as far as that many pairs reach.
    """
    rng = np.random.default_rng(seed)
    every = np.concatenate(images)
    ends = np.cumsum([len(of_map) for of_map in images])
    drawn = []
    for of_map, end in zip(images, ends, strict=True):
        n = len(of_map)
        others = rng.integers(0, len(every) - n, n // 2)
        others[others >= end - n] += n  # any but this map's
        drawn.append((of_map, others))

    def between(of_map: np.ndarray, others: np.ndarray) -> np.ndarray:
        n = len(of_map)
        mine, theirs = (k.ravel()[: n * (n - 1) // 2] for k in np.indices((n, len(others))))
        return of_pairs(spectra_of(of_map), spectra_of(every[others]), mine, theirs)

    similarities = []
    for of_map in side_by_side(lambda each: between(*each), drawn):
        similarities.append(of_map)
        progress.update(1)
    return similarities


def counted(similarities: np.ndarray, n_classes: int) -> np.ndarray:
    """Counts of similarities in equal classes from 0 to 1: int64, (n_classes,)."""
    return np.histogram(similarities, n_classes, (0, 1))[0]


def threshold(counts: np.ndarray, quantile: float) -> float:
    """The upper bound of the class below which a share of the null's counts lies.

    Parameters
    ----------
    counts : integers, (classes,)
        Similarities in equal classes from 0 to 1.
    quantile
        The share, in (0, 1].

    Examples
    --------
    >>> threshold(np.array([98, 1, 1, 0]), 0.99)
    0.5
    """
    share = np.cumsum(counts) / max(1, counts.sum())
    return float((np.searchsorted(share, quantile) + 1) / len(counts))


def square(pairs: np.ndarray, n: int) -> np.ndarray:
    """The symmetric matrix (n, n) of what is known of all pairs; the diagonal is 1."""
    whole = np.eye(n, dtype=np.float32)
    i, j = np.triu_indices(n, 1)
    whole[i, j] = whole[j, i] = pairs
    return whole


def patterns(pairs: np.ndarray, n: int, limit: float) -> np.ndarray:
    """The number of the pattern that each of n images shows, the commonest being 0.

    Parameters
    ----------
    pairs : array, (n (n - 1) / 2,), in [0, 1]
        Similarities of all pairs, in the order of ``numpy.triu_indices``.
    n
        How many images.
    limit
        Similarity from which on two images show the same pattern.

    Returns
    -------
    array of int, (n,)
    """
    return clusters(square(pairs, n), limit)


def furthest_apart(pairs: np.ndarray, n: int) -> float:
    """How unlike the two groups are that come together last: with a limit of up to 1 minus that
    all images show one pattern.

    Parameters
    ----------
    pairs, n
        As for `patterns`; at least two images.

    Examples
    --------
    >>> pairs = np.array([0.75, 0.25, 0.25])
    >>> furthest_apart(pairs, 3)
    0.75
    >>> patterns(pairs, 3, 0.25), patterns(pairs, 3, 0.26)
    (array([0, 0, 0]), array([0, 0, 1]))
    """
    return float(merges(square(pairs, n))[-1, 2])
