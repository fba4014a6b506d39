"""OIPs beside the images that excite a map most, and whether maps have a favourite class.

A feature visualization need not tell what a unit does with real images (Geirhos et al. 2024,
"Don't trust your eyes"). So an OIP is compared with the images of the data set to which its map
responds most, and the classes of these images are counted.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .nulls import AgainstNull, against_null, diagonal_and_rest


def resemblance(alike: np.ndarray) -> AgainstNull:
    """How similar each map's OIP is to the nearest of the images that excite the map most.

    The null are the same images, and the OIPs of all other maps.

    Parameters
    ----------
    alike : array, (n, n, k), in [0, 1]
        Similarity of the OIP of each map (first axis) to the k images that excite each map most
        (second and third axis).

    Returns
    -------
    AgainstNull
        `values`, (n,): each map's OIP and the nearest of the map's images. `null`, (n (n - 1),):
        each OIP and the nearest of each other map's images. `above`: share of the maps whose
        OIP resembles their images better than 95 % of the null.

    Raises
    ------
    InputError
        If there isn't one OIP for each map.

    Examples
    --------
    Two maps, two images each; the OIP of map 0 is equal to the second image of map 0.

    >>> alike = np.array([[[0.2, 1.0], [0.1, 0.3]], [[0.4, 0.2], [0.0, 0.3]]])
    >>> result = resemblance(alike)
    >>> result.values, result.null, result.above
    (array([1. , 0.3]), array([0.3, 0.4]), 0.5)
    """
    if alike.ndim != 3 or alike.shape[0] != alike.shape[1]:
        raise InputError(
            f"similarities of shape {alike.shape} can't be compared: the shape must be "
            "(maps, maps, images), with the OIPs of the same maps on the first axis"
        )
    return against_null(*diagonal_and_rest(alike.max(axis=2)))


def loss_ratio(losses: np.ndarray, strongest: np.ndarray) -> np.ndarray:
    """How many times as strongly an OIP excites its map as the strongest image does.

    Parameters
    ----------
    losses : array, (maps,)
        Of the maps' OIPs.
    strongest : array, (maps,), above 0
        Each map's response to the image of the data set that excites it most.

    Returns
    -------
    array, (maps,)

    Raises
    ------
    InputError
        If a map responds to no image.

    Examples
    --------
    >>> loss_ratio(np.array([6.0, 1.0]), np.array([2.0, 4.0]))
    array([3.  , 0.25])
    """
    if not np.all(strongest > 0):
        raise InputError(
            "only maps that respond to an image of the data set have a loss ratio; leave out "
            f"number {np.flatnonzero(~(strongest > 0)).tolist()} of those given"
        )
    return losses / strongest


def purity(labels_of_top: np.ndarray) -> np.ndarray:
    """How many of a map's strongest images show the same class.

    Parameters
    ----------
    labels_of_top : array of int, (maps, k), 0 or larger
        Classes of the k images that excite each map most.

    Returns
    -------
    array, (maps,), in (0, 1]
        Share of the commonest class; 1 if all images show the same class.

    Examples
    --------
    >>> purity(np.array([[3, 3, 3, 3], [0, 1, 1, 2]]))
    array([1. , 0.5])
    """
    commonest = np.array([np.bincount(labels).max() for labels in labels_of_top])
    return commonest / labels_of_top.shape[1]


def purity_by_chance(
    labels: np.ndarray, k: int, n_draws: int = 10_000, seed: int = 0
) -> np.ndarray:
    """The null of `purity`: images drawn at random from the data set, with replacement.

    Parameters
    ----------
    labels : array of int, (images,), 0 or larger
        Classes of all images of the data set.
    k
        Images in a draw: as many as were counted of each map.
    n_draws
        How often k images are drawn.
    seed
        Of the draws.

    Returns
    -------
    array, (n_draws,), in (0, 1]
    """
    rng = np.random.default_rng(seed)
    return purity(labels[rng.integers(0, len(labels), (n_draws, k))])


def selectivity(class_means: np.ndarray) -> np.ndarray:
    """Class selectivity: a map's favourite class against all others (Morcos et al. 2018).

    It is the mean response to the favourite class, less that to the other classes, divided by
    the sum of both.

    Parameters
    ----------
    class_means : array, (maps, classes)
        Mean response of each map to the images of each class; at least two classes. A map that
        responds to nothing, or with less than 0 to a class, has no selectivity: NaN.

    Returns
    -------
    array, (maps,), in [0, 1]
        0 without a preference, 1 if the map responds to one class only.

    Raises
    ------
    InputError
        If there are fewer than two classes.

    Examples
    --------
    >>> selectivity(np.array([[2.0, 2.0, 2.0], [0.0, 5.0, 0.0], [3.0, 1.0, 1.0]]))
    array([0. , 1. , 0.5])
    """
    n_classes = class_means.shape[1]
    if n_classes < 2:
        raise InputError("class selectivity compares classes: the data set must have two or more")
    favourite = class_means.max(axis=1)
    others = (class_means.sum(axis=1) - favourite) / (n_classes - 1)
    both = favourite + others
    has_one = (both > 0) & (class_means.min(axis=1) >= 0)
    return np.where(has_one, (favourite - others) / np.where(has_one, both, 1), np.nan)
