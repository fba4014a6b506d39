"""Are OIPs unique? What many restarts of each map say, for all maps together.

The article shows that different starts lead five of its maps to images of one overall form, and
asks whether OIPs are unique. Here are the answers for many maps and many starts: how similar
two OIPs of a map are, how many distinct patterns a map has, how far apart these stand in the
image, how much the losses differ, and whether something else excites the map, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .nulls import diagonal_and_rest

#: Numbers the patterns: (similarities of all pairs, number of images, threshold) -> (images,).
Clustering = Callable[[np.ndarray, int, float], np.ndarray]


class MapRestarts(Protocol):
    """What is known of one map. Any object with these attributes will do.

    Attributes
    ----------
    losses : array, (n,)
        What each of n restarts reached; n is 2 or more.
    patterns : array of int, (n,)
        Which distinct pattern each restart shows, by its pixels; 0 is the commonest.
    peaks, features : arrays, (n (n - 1) / 2,), in [0, 1]
        Similarities of all pairs of restarts, in the order of ``numpy.triu_indices(n, 1)``: of
        their pixels, and of what goes into the layer.
    shifts : array of int, (n (n - 1) / 2, 2)
        By how many rows and columns the patterns of each pair stand apart.
    unlike_losses : array, (m,)
        Losses of further OIPs, which were kept away from all these patterns.
    unlike_alike : array, (m,), in [0, 1]
        Their similarity to the pattern that they resemble most.
    """

    @property
    def losses(self) -> np.ndarray: ...
    @property
    def patterns(self) -> np.ndarray: ...
    @property
    def peaks(self) -> np.ndarray: ...
    @property
    def features(self) -> np.ndarray: ...
    @property
    def shifts(self) -> np.ndarray: ...
    @property
    def unlike_losses(self) -> np.ndarray: ...
    @property
    def unlike_alike(self) -> np.ndarray: ...


class LayerNull(Protocol):
    """How similar OIPs of different maps are. Any object with these attributes will do.

    Attributes
    ----------
    peaks, features : arrays of int, (maps, classes)
        How many pairs of an OIP of each map and one of another have a similarity in each of some
        equal classes from 0 to 1: by their pixels, and by what goes into the layer.
    threshold, feature_threshold : float, in [0, 1]
        Two OIPs show the same pattern if they are more similar than this.
    """

    @property
    def peaks(self) -> np.ndarray: ...
    @property
    def features(self) -> np.ndarray: ...
    @property
    def threshold(self) -> float: ...
    @property
    def feature_threshold(self) -> float: ...


@dataclass(frozen=True)
class OneSpace:
    """How similar OIPs are by their pixels, or by what goes into the layer.

    Attributes
    ----------
    within : array, float64, (pairs,), in [0, 1]
        Similarities of two OIPs of the same map; the pairs of all maps, map after map.
    null : array, float64, (null pairs,), in [0, 1]
        Of two OIPs of different maps, sorted; each rounded to the middle of its class.
    threshold : float
        Above it two OIPs show the same pattern.
    n_patterns : array of int, (maps,)
        How many distinct patterns each map has.
    """

    within: np.ndarray
    null: np.ndarray
    threshold: float
    n_patterns: np.ndarray

    def share_of_maps(self, least: int, most: float = np.inf) -> float:
        """Share of the maps that have from `least` to `most` distinct patterns, both included."""
        return float(((self.n_patterns >= least) & (self.n_patterns <= most)).mean())


@dataclass(frozen=True)
class Uniqueness:
    """How unique the OIPs of some maps are.

    Attributes
    ----------
    pixels, features : OneSpace
        Compared by their pixels, and by what goes into the layer.
    n_starts : array of int, (maps,)
        Restarts of each map.
    commonest : array, (maps,), in [0, 1]
        Share of a map's OIPs that show its commonest pattern, by pixels.
    shifts : array, (alike pairs,)
        By how many pixels the patterns of two OIPs of a map stand apart, where the OIPs are more
        similar than the threshold.
    median_losses : array, (maps,), in [0, 1]
        The median and the smallest loss of a map's OIPs, relative to the largest.
    unlike_losses : array, (maps with such an OIP,)
        The largest loss of a really different OIP, relative to the largest of the restarts. Maps
        without one are missing.
    """

    pixels: OneSpace
    features: OneSpace
    n_starts: np.ndarray
    commonest: np.ndarray
    shifts: np.ndarray
    median_losses: np.ndarray
    unlike_losses: np.ndarray


def uniqueness(maps: Sequence[MapRestarts], null: LayerNull, clustering: Clustering) -> Uniqueness:
    """How unique the OIPs of some maps are, from many restarts of each.

    Parameters
    ----------
    maps
        What is known of each map; at least one map.
    null
        The layer's null, from which the thresholds come.
    clustering
        How to tell patterns apart by features. By pixels it is done already, in the same way.
    """
    in_features = [
        clustering(one.features, len(one.losses), null.feature_threshold) for one in maps
    ]
    distances = [np.hypot(*one.shifts.T.astype(float))[one.peaks > null.threshold] for one in maps]
    return Uniqueness(
        pixels=OneSpace(
            within=np.concatenate([one.peaks for one in maps]).astype(float),
            null=class_middles(null.peaks.sum(axis=0)),
            threshold=null.threshold,
            n_patterns=np.array([one.patterns.max() + 1 for one in maps], int),
        ),
        features=OneSpace(
            within=np.concatenate([one.features for one in maps]).astype(float),
            null=class_middles(null.features.sum(axis=0)),
            threshold=null.feature_threshold,
            n_patterns=np.array([patterns.max() + 1 for patterns in in_features], int),
        ),
        n_starts=np.array([len(one.losses) for one in maps]),
        commonest=np.array([np.mean(one.patterns == 0) for one in maps]),
        shifts=np.concatenate(distances),
        median_losses=np.array([np.median(one.losses) / one.losses.max() for one in maps]),
        unlike_losses=_unlike_losses(maps, null.threshold),
    )


def class_middles(counts: np.ndarray) -> np.ndarray:
    """Similarities that were counted in equal classes from 0 to 1: each as its class' middle."""
    return np.repeat((np.arange(len(counts)) + 0.5) / len(counts), counts)


def _unlike_losses(maps: Sequence[MapRestarts], threshold: float) -> np.ndarray:
    """Of each map that has a really different OIP: its loss over the best of the restarts."""
    ratios = []
    for one in maps:
        best = best_unlike(one.unlike_losses, one.unlike_alike, threshold)
        if best is not None:
            ratios.append(float(one.unlike_losses[best]) / float(one.losses.max()))
    return np.array(ratios, float)


def best_unlike(losses: np.ndarray, alike: np.ndarray, threshold: float) -> int | None:
    """Which OIP that was kept away from a map's patterns is really different and the strongest.

    Parameters
    ----------
    losses : array, (m,)
    alike : array, (m,), in [0, 1]
        Similarity of each to the pattern that it resembles most.
    threshold
        Only OIPs less similar than this are really different.

    Returns
    -------
    int or None
        None if no OIP is really different.

    Examples
    --------
    >>> best_unlike(np.array([3.0, 1.0, 2.0]), np.array([0.8, 0.1, 0.2]), 0.5)
    2
    """
    different = np.flatnonzero(alike < threshold)
    return int(different[losses[different].argmax()]) if len(different) else None


def pattern_sizes(patterns: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many OIPs of a map show each pattern, and the largest loss among them.

    Parameters
    ----------
    patterns : array of int, (n,)
        Which pattern each OIP shows, from 0 on; no number is left out.
    losses : array, (n,)

    Returns
    -------
    sizes : array of int, (patterns,)
    best_losses : array, (patterns,)

    Examples
    --------
    >>> pattern_sizes(np.array([0, 1, 0]), np.array([2.0, 1.0, 3.0]))
    (array([2, 1]), array([3., 1.]))
    """
    sizes = np.bincount(patterns)
    return sizes, np.array([losses[patterns == k].max() for k in range(len(sizes))])


def foreign_losses(responses: np.ndarray) -> np.ndarray:
    """How strongly the OIPs of other maps excite a map, relative to its best OIP: a null.

    Parameters
    ----------
    responses : array, (n, n)
        Response to the best OIP of each of n maps (rows), of the same n maps (columns). The
        diagonal, each map's response to its best OIP, is above 0.

    Returns
    -------
    array, (n (n - 1),)
        Row by row without the diagonal; empty for a single map.

    Examples
    --------
    >>> foreign_losses(np.array([[2.0, 1.0], [0.5, 4.0]]))
    array([0.25, 0.25])
    """
    return diagonal_and_rest(responses / np.diag(responses))[1]
