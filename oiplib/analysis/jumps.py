"""Does a map jump on the way from a real image to a grown one?

Whoever builds a network that answers real images in one way and grown images in another has to
switch between the two somewhere (Geirhos et al. 2024 do it by a circuit of ReLUs). An honest map
changes bit by bit if one image turns into another bit by bit; a map behind a switch jumps. Some
honest maps change steeply, too, but then they do so for more than one tiny step. So a step counts
only by how far its change lies outside of the range of those around it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

#: Images on the whole way, and then on its step that stands out most, ends among them.
N_ON_WAY = 256, 16

# Images are asked for together up to so many numbers: 16 MB. They are at least so many, too.
_NUMBERS, _FEWEST = 2**22, 64

# A switch may lie on the edge of two steps, so a step is compared with those that are two away.
_AWAY = 2


def jumps(
    response: Callable[[np.ndarray], np.ndarray], real: np.ndarray, grown: np.ndarray
) -> np.ndarray:
    """How far a map's response jumps in a tiny step on the way from real images to a grown one.

    A step is a 4,000th of the way: the product of `N_ON_WAY`. What switches more slowly may be
    missed.

    Parameters
    ----------
    response
        From images (n, height, width, channels) to a map's responses (n,).
    real : array, (images, height, width, channels)
        Images that excite the map: its responses to them are above 0.
    grown : array, (height, width, channels)
        Where the ways from each of these end.

    Returns
    -------
    array, (images,)
        How far the change in the step that stands out most lies outside of the range of those
        around it, over the response to the real image: 1 if all of that is lost at once, or as
        much is gained.

    Examples
    --------
    A map that answers the mean, and one that answers nothing beyond 1.5:

    >>> real, grown = np.ones((1, 2, 2, 1)), np.full((2, 2, 1), 2.0)
    >>> mean = lambda images: images.mean(axis=(1, 2, 3))
    >>> print(f"{jumps(mean, real, grown)[0]:.4f}")
    0.0000
    >>> print(f"{jumps(lambda images: (mean(images) < 1.5) * 1.0, real, grown)[0]:.4f}")
    1.0000
    """
    begin, end = np.zeros(len(real)), np.ones(len(real))
    for n in N_ON_WAY:
        shares = np.linspace(begin, end, n, axis=1)
        standing_out = _standing_out(np.diff(_on_ways(response, real, grown, shares)))
        most = standing_out.argmax(axis=1)[:, None]
        begin, end = (np.take_along_axis(shares, k, axis=1)[:, 0] for k in (most, most + 1))
    return np.asarray(standing_out.max(axis=1).astype(float) / response(real))


def _on_ways(
    response: Callable[[np.ndarray], np.ndarray],
    real: np.ndarray,
    grown: np.ndarray,
    shares: np.ndarray,
) -> np.ndarray:
    """The responses where the grown image has some shares: (ways, steps), like the shares.

    The images of all ways are asked for together: a network takes full batches only.
    """
    share = shares.astype(real.dtype).reshape(-1, 1, 1, 1)
    way = np.repeat(np.arange(len(real)), shares.shape[1])
    n_parts = -(-len(way) // max(_FEWEST, _NUMBERS // grown.size))
    responses = [
        response((1 - share[some]) * real[way[some]] + share[some] * grown)
        for some in np.array_split(np.arange(len(way)), n_parts)
    ]
    return np.concatenate(responses).reshape(shares.shape)


def _standing_out(changes: np.ndarray) -> np.ndarray:
    """How far each change lies outside of the range of the two around it: (ways, steps).

    Where a slope only turns into another one, as at the kink of a ReLU, that is 0.
    """
    around = np.pad(changes, ((0, 0), (_AWAY, _AWAY)))
    before, after = around[:, : -2 * _AWAY], around[:, 2 * _AWAY :]
    above, below = changes - np.maximum(before, after), np.minimum(before, after) - changes
    return np.maximum(0, np.maximum(above, below))
