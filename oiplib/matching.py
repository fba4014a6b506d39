"""Whose maps correspond: do two trainings find the same filters?

Maps of two networks are put into correspondence one to one, such that the sum of how well they
suit each other is largest (linear assignment; Li et al. 2016 did so for AlexNet). What suits is
told by activations for the same images, or by responses to each other's OIPs. An assignment
always finds partners, also where there is nothing to find. Two nulls tell what they are worth:
the same networks with what belongs together torn apart, and networks that were not trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import optimize

from .errors import InputError
from .progress import SILENT
from .responses import LayerMaps

#: Share of a null's pairs that stay below the threshold.
QUANTILE = 0.95


def correlations(
    layers: Sequence[LayerMaps], images: np.ndarray, batch_size: int = 250, progress: Any = SILENT
) -> tuple[np.ndarray, np.ndarray]:
    """Correlation of each map with each, position by position, over some images.

    Parameters
    ----------
    layers
        Layers of several networks; their maps are counted through.
    images : array, (n, height, width, channels), standardized
    progress
        A progress bar that counts images.

    Returns
    -------
    correlations, shuffled : arrays, float32, (maps, maps), in [-1, 1]
        Rows and columns go over the maps of all layers. For `shuffled` the second of a pair sees
        another image than the first. A map that never changes correlates with nothing.

    Raises
    ------
    InputError
        If the layers' maps have different sizes.
    """
    n_maps = sum(layer.n_maps for layer in layers)
    products = np.zeros((2, n_maps, n_maps))
    total, count = np.zeros(n_maps), 0
    for first in range(0, len(images), batch_size):
        part = images[first : first + batch_size]
        found = [layer.activations(part) for layer in layers]
        if len({values.shape[:-1] for values in found}) > 1:
            raise InputError("only layers whose maps have the same size can be compared")
        together = np.concatenate(found, axis=-1)
        flat, other = (values.reshape(-1, n_maps) for values in (together, np.roll(together, 1, 0)))
        products += flat.T @ flat, flat.T @ other
        total += flat.sum(axis=0, dtype=np.float64)
        count += len(flat)
        progress.update(len(part))
    means = total / count
    covariances = products / count - np.outer(means, means)
    spread = np.sqrt(np.maximum(np.diagonal(covariances[0]), 0))
    # Sums in single precision leave a trace of variance where there is none.
    alive = spread > 1e-4 * np.sqrt(np.diagonal(products[0]) / count) + 1e-12
    norms = np.outer(spread, spread)
    whole = np.where(np.outer(alive, alive), covariances / np.where(norms > 0, norms, 1), 0)
    return tuple(np.clip(whole, -1, 1).astype(np.float32))


def mutual(
    first_on_second: np.ndarray, second_on_first: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """How well maps of two networks suit each other by their responses to each other's OIPs.

    Parameters
    ----------
    first_on_second : array, (n, m)
        Response to the OIP of each map of the first network, of each map of the second; relative
        to the strongest that this map gives, in [0, 1].
    second_on_first : array, (m, n)
        The other way round.
    seed
        Of the shuffle.

    Returns
    -------
    scores, shuffled : arrays, float32, (n, m)
        The mean of both ways; for `shuffled` the OIPs of each network were dealt out anew among
        its maps.
    """
    rng = np.random.default_rng(seed)
    dealt = [values[rng.permutation(len(values))] for values in (first_on_second, second_on_first)]
    pairs = ((first_on_second, second_on_first), dealt)
    scores, shuffled = ((a + b.T).astype(np.float32) / 2 for a, b in pairs)
    return scores, shuffled


def assigned(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The one-to-one correspondence with the largest sum.

    Parameters
    ----------
    scores : array, (n, m)

    Returns
    -------
    partners : int, (n,)
        Of each map of the first network the one of the second; -1 where none is left.
    values : float, (n,)
        Their scores, NaN without a partner.
    """
    rows, columns = optimize.linear_sum_assignment(scores, maximize=True)
    partners, values = np.full(len(scores), -1), np.full(len(scores), np.nan)
    partners[rows], values[rows] = columns, scores[rows, columns]
    return partners, values


def threshold(nulls: Sequence[np.ndarray], quantile: float = QUANTILE) -> float:
    """What a share of the pairs that were assigned in the strictest of some nulls stays below.

    Parameters
    ----------
    nulls : score matrices (n, m)
    """
    return max(float(np.nanquantile(assigned(null)[1], quantile)) for null in nulls)


def matched(scores: np.ndarray, limit: float) -> np.ndarray:
    """The partners of `assigned` whose score is above a limit, -1 for all other maps."""
    partners, values = assigned(scores)
    return np.where(np.nan_to_num(values, nan=-np.inf) > limit, partners, -1)
