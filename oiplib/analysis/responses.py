"""Responses: to how many images maps respond, to which most, and which class they prefer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError

#: A map that responds to a smaller share of the images than this responds rarely.
RARE = 0.01


@dataclass(frozen=True)
class Responding:
    """How many of the images that maps were shown got a response.

    Attributes
    ----------
    n_images : int
        All images of all maps.
    n_responses : int
        Images to which their map responds.
    n_first : int
        Maps that respond to the first of their images.
    n_any : int
        Maps that respond to at least one.
    """

    n_images: int
    n_responses: int
    n_first: int
    n_any: int

    @property
    def share(self) -> float:
        """Share of the images to which their map responds, in [0, 1]."""
        return self.n_responses / self.n_images


def responding(own_losses: np.ndarray) -> Responding:
    """How many of the images that each map was shown got a response (article IX).

    Parameters
    ----------
    own_losses : array, (maps, trials)
        The response of each map to images of its own; 0 is none.

    Raises
    ------
    InputError
        If there is no map, or no image.

    Examples
    --------
    >>> responding(np.array([[0.0, 2.0], [1.0, 3.0], [0.0, 0.0]]))
    Responding(n_images=6, n_responses=3, n_first=1, n_any=2)
    """
    if own_losses.ndim != 2 or not own_losses.size:
        raise InputError(f"responses of shape {own_losses.shape}: give (maps, trials), 1 or more")
    responds = own_losses > 0
    return Responding(
        responds.size,
        int(responds.sum()),
        int(responds[:, 0].sum()),
        int(responds.any(axis=1).sum()),
    )


@dataclass(frozen=True)
class ResponseShares:
    """To which share of some images, the same for all, each map responds.

    Attributes
    ----------
    of_maps : float, (maps,), in [0, 1]
    mean : float, in [0, 1]
        Share of all pairs of a map and an image that have a response.
    n_rare : int
        Maps that respond to less than `RARE` of the images, silent ones included.
    n_silent : int
        Maps that respond to none.
    """

    of_maps: np.ndarray
    mean: float
    n_rare: int
    n_silent: int


def response_shares(n_responses: np.ndarray, n_images: int) -> ResponseShares:
    """To which share of the images that all maps were shown each responds (article X).

    Parameters
    ----------
    n_responses : array of int, (maps,)
        To how many of the images each map responds.
    n_images
        How many images there are, 1 or more.

    Raises
    ------
    InputError
        If there is no map, or no image.

    Examples
    --------
    >>> shares = response_shares(np.array([0, 5, 500, 1000]), 1000)
    >>> shares.n_rare, shares.n_silent, round(shares.mean, 3)
    (2, 1, 0.376)
    """
    if n_images < 1 or not n_responses.size:
        raise InputError(f"{n_images} images of {n_responses.size} maps: give 1 or more of each")
    shares = n_responses / n_images
    return ResponseShares(
        shares, float(shares.mean()), int((shares < RARE).sum()), int((n_responses == 0).sum())
    )


@dataclass(frozen=True)
class StrongestMaps:
    """The maps of a layer that respond most to one image.

    Attributes
    ----------
    maps : int, (n,)
        These maps, in the order of their numbers.
    silent_share : float, in [0, 1]
        Share of all maps of the layer that respond at none of their positions.
    """

    maps: np.ndarray
    silent_share: float


def strongest_maps(activations: np.ndarray, n: int = 24) -> StrongestMaps:
    """The maps of a layer that respond most to one image (part IV of the articles).

    Parameters
    ----------
    activations : array, (height, width, maps)
        Of one image, position by position.
    n
        How many maps to list, if there are so many. Of equal responses the first maps count.

    Examples
    --------
    >>> activations = np.array([[[0.0, 2.0, 0.0, 1.0]], [[0.0, 2.0, 5.0, 0.0]]])
    >>> strongest_maps(activations, n=2)
    StrongestMaps(maps=array([1, 2]), silent_share=0.25)
    """
    responses = activations.mean(axis=(0, 1))
    order = np.argsort(-responses, kind="stable")
    silent = activations.max(axis=(0, 1)) <= 0
    return StrongestMaps(np.sort(order[:n]), float(silent.mean()))


@dataclass(frozen=True)
class Favourites:
    """Which class of images each map prefers.

    Attributes
    ----------
    relative : float, (maps, classes)
        Mean response to each class over the largest for that map; 0 for a silent map.
    favourites : int, (maps,)
        The class with the largest mean response; -1 for a silent map.
    order : int, (maps,)
        The maps by their favourite class, those of one class by their number; silent maps last.
    shares : float, (maps,)
        What the favourite has of a map's summed mean responses: 1 / classes is no preference,
        1 is one class alone. NaN for a silent map.
    n_maps : int, (classes,)
        How many maps have this favourite.
    """

    relative: np.ndarray
    favourites: np.ndarray
    order: np.ndarray
    shares: np.ndarray
    n_maps: np.ndarray


def favourites(class_means: np.ndarray) -> Favourites:
    """Which class of images each map prefers (part VI of the articles).

    A map that responds to no class is *silent*: it prefers none, and counts for none.

    Parameters
    ----------
    class_means : array, (maps, classes), 0 or more
        Mean response of each map to the images of each class.

    Examples
    --------
    >>> preferences = favourites(np.array([[1.0, 3.0], [0.0, 0.0], [2.0, 0.0]]))
    >>> preferences.favourites, preferences.order, preferences.n_maps
    (array([ 1, -1,  0]), array([2, 0, 1]), array([1, 1]))
    >>> preferences.shares
    array([0.75,  nan, 1.  ])
    """
    n_classes = class_means.shape[1]
    largest = class_means.max(axis=1)
    silent = largest <= 0
    favourite = class_means.argmax(axis=1)
    shares = largest / np.maximum(class_means.sum(axis=1), 1e-12)
    return Favourites(
        relative=class_means / np.maximum(largest, 1e-12)[:, None],
        favourites=np.where(silent, -1, favourite),
        order=np.argsort(np.where(silent, n_classes, favourite), kind="stable"),
        shares=np.where(silent, np.nan, shares),
        n_maps=np.bincount(favourite[~silent], minlength=n_classes),
    )
