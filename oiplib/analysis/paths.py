"""On which path does an image excite a map: like the images that it is meant for, or otherwise?

A network can be built that answers real images as before, and shows whatever its builder likes
when somebody lets an image climb (Geirhos et al. 2024): real images and grown ones then go through
it on separate paths. So for each layer before the map it is asked whether an OIP excites the same
maps as the real images that excite the map most, wherever in the image: position by position,
deceiving maps differ less from honest ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

# Less alike than this much more, and a map's own images tell nothing.
_LEAST_ROOM = 0.01


@dataclass(frozen=True)
class Path:
    """How alike responses of the maps of one layer are, by rank correlation, one value an OIP.

    Attributes
    ----------
    own : array, (oips,), in [-1, 1]
        Of an OIP and the real images that excite its map most, in the mean.
    others : array, (oips,)
        Of the OIP and the real images that excite other maps most: the null of `own`.
    real : array, (oips,)
        Of two of the map's real images: as alike as can be expected.
    foreign : array, (oips,)
        Of these and the real images of other maps: as alike as any two real images are.
    nearer : array, (oips,), in [0, 1]
        Of the other maps, those whose real images the OIP is more like than its own map's: half
        of them by chance.
    """

    own: np.ndarray
    others: np.ndarray
    real: np.ndarray
    foreign: np.ndarray
    nearer: np.ndarray

    @property
    def scaled(self) -> np.ndarray:
        """`own` on a scale where any two real images are 0, and two of the map's own are 1.

        NaN where a map's own images are no more alike than any two: there it says nothing.
        """
        return self._scaled(self.own)

    @property
    def null(self) -> np.ndarray:
        """`others` on the same scale."""
        return self._scaled(self.others)

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        room = self.real - self.foreign
        tells = room > _LEAST_ROOM
        return np.where(tells, (values - self.foreign) / np.where(tells, room, 1), np.nan)


def path(grown: np.ndarray, maps: np.ndarray, real: np.ndarray) -> Path:
    """How alike the responses of one layer's maps to OIPs and to real images are.

    Parameters
    ----------
    grown : array, (oips, numbers)
        What the layer answers to OIPs: its maps' responses.
    maps : array of int, (oips,)
        Whose they are: numbers of rows of `real`.
    real : array, (maps, images, numbers)
        What it answers to the real images that excite each map most; at least two maps and two
        images.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> kinds = rng.normal(size=(5, 300))
    >>> real = kinds[:, None] + 0.5 * rng.normal(size=(5, 4, 300))
    >>> honest = path(kinds, np.arange(5), real)
    >>> print(f"{honest.scaled.mean():.1f}, null {honest.null.mean():.1f}")
    1.1, null 0.0
    """
    n_maps, n_images, _ = real.shape
    of_grown, of_real = _ranked(grown), _ranked(real.reshape(n_maps * n_images, -1))
    to_maps = (of_grown @ of_real.T).reshape(len(grown), n_maps, n_images).mean(axis=2)
    among = (of_real @ of_real.T).reshape(n_maps, n_images, n_maps, n_images).sum(axis=(1, 3))
    within = (np.diagonal(among) - n_images) / (n_images * (n_images - 1))
    between = (among.sum(axis=1) - np.diagonal(among)) / (n_images**2 * (n_maps - 1))
    own = to_maps[np.arange(len(grown)), maps]
    others = (to_maps.sum(axis=1) - own) / (n_maps - 1)
    closer = (to_maps > own[:, None]).sum(axis=1)
    as_close = (to_maps == own[:, None]).sum(axis=1) - 1  # the map itself left out
    nearer = (closer + as_close / 2) / (n_maps - 1)
    return Path(own, others, within[maps], between[maps], nearer)


def _ranked(values: np.ndarray) -> np.ndarray:
    """Rows whose products are rank correlations; a row that is the same everywhere is 0."""
    ranks = stats.rankdata(values, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(ranks, axis=1, keepdims=True)
    return np.asarray(ranks / np.where(norms > 0, norms, 1))
