"""Whose maps correspond: do two trainings find the same filters?

Maps of two networks are put into correspondence one to one, such that the sum of how well they
suit each other is largest (linear assignment; Li et al. 2016 did so for AlexNet). Two maps suit
each other if they are active for the same images, or respond to each other's OIPs. An assignment
always finds partners, also where there is nothing to find. Two nulls tell what they are worth:
the same networks with what belongs together torn apart, and networks that were not trained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import optimize

from ..errors import InputError
from ..progress import SILENT
from .nulls import AgainstNull, against_null, diagonal_and_rest
from .similarity import similarities

if TYPE_CHECKING:  # who reads stored scores needs no TensorFlow
    from ..engine.layers import LayerMaps

#: Share of a null's pairs that stay below the threshold.
QUANTILE = 0.95


@dataclass(frozen=True)
class Correlated:
    """What maps of several networks have in common, position by position, over some images.

    Rows and columns go over the maps of all layers.

    Attributes
    ----------
    whole : array, float32, (maps, maps), in [-1, 1]
        Correlation of each map with each. A map that never changes correlates with nothing.
    shuffled : array, float32, (maps, maps), in [-1, 1]
        The same where the second of a pair sees another image than the first.
    covariances : array, float64, (maps, maps)
    active : array, float64, (maps,), in [0, 1]
        Share of all positions at which a map is above 0.
    """

    whole: np.ndarray
    shuffled: np.ndarray
    covariances: np.ndarray
    active: np.ndarray


def correlations(
    layers: Sequence[LayerMaps],
    images: np.ndarray,
    batch_size: int = 250,
    least_spread: float = 1e-4,
    progress: Any = SILENT,
) -> Correlated:
    """Correlation of each map with each, position by position, over some images.

    Parameters
    ----------
    layers
        Layers of several networks; their maps are counted through.
    images : array, (n, height, width, channels), standardized
    batch_size
        Images per pass. For ``shuffled`` each is paired with the one before it in the pass.
    least_spread
        A map whose deviation is below this share of its root mean square counts as constant.
    progress
        A progress bar that counts images.

    Raises
    ------
    InputError
        If the layers' maps have different sizes.
    """
    n_maps = sum(layer.n_maps for layer in layers)
    products = np.zeros((2, n_maps, n_maps))
    total, n_active, count = np.zeros(n_maps), np.zeros(n_maps), 0
    for first in range(0, len(images), batch_size):
        part = images[first : first + batch_size]
        activations = [layer.activations(part) for layer in layers]
        if len({values.shape[:-1] for values in activations}) > 1:
            raise InputError("only layers whose maps have the same size can be compared")
        together = np.concatenate(activations, axis=-1)
        flat, other = (values.reshape(-1, n_maps) for values in (together, np.roll(together, 1, 0)))
        products += flat.T @ flat, flat.T @ other
        total += flat.sum(axis=0, dtype=np.float64)
        n_active += (flat > 0).sum(axis=0)
        count += len(flat)
        progress.update(len(part))
    means = total / count
    covariances = products / count - np.outer(means, means)
    spread = np.sqrt(np.maximum(np.diagonal(covariances[0]), 0))
    # Sums in single precision leave a trace of variance where there is none.
    alive = spread > least_spread * np.sqrt(np.diagonal(products[0]) / count) + 1e-12
    norms = np.outer(spread, spread)
    whole = np.where(np.outer(alive, alive), covariances / np.where(norms > 0, norms, 1), 0)
    correlated, torn_apart = np.clip(whole, -1, 1).astype(np.float32)
    return Correlated(correlated, torn_apart, covariances[0], n_active / count)


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
    """The score that a share of the assigned pairs stays below, in the strictest of some nulls.

    Parameters
    ----------
    nulls : score matrices (n, m)
    """
    return max(float(np.nanquantile(assigned(null)[1], quantile)) for null in nulls)


def matched(scores: np.ndarray, limit: float) -> np.ndarray:
    """The partners of `assigned` whose score is above a limit, -1 for all other maps."""
    partners, values = assigned(scores)
    return np.where(np.nan_to_num(values, nan=-np.inf) > limit, partners, -1)


@dataclass(frozen=True)
class AssignedPairs:
    """Scores of the pairs that an assignment finds in a layer, and their two nulls.

    Attributes
    ----------
    trained : array, float64, (pairs,)
        Of all pairs of trainings, one after the other.
    untrained : array, float64, (null pairs,)
        Of networks that were not trained, each two of them.
    shuffled : array, float64, (null pairs,)
        Of the trainings, where what belongs together was torn apart.
    """

    trained: np.ndarray
    untrained: np.ndarray
    shuffled: np.ndarray

    def share_above(self, limit: float) -> float:
        """Share of the pairs of trained networks whose score is above a limit."""
        return float(np.mean(self.trained > limit))


def assigned_pairs(
    trained: Sequence[np.ndarray], shuffled: Sequence[np.ndarray], untrained: np.ndarray
) -> AssignedPairs:
    """The scores of all pairs that the assignments of a layer find.

    Parameters
    ----------
    trained : score matrices (n, m)
        One for each two trainings; at least one.
    shuffled : score matrices (n, m)
        Of the same trainings, where what belongs together was torn apart.
    untrained : array, (pairs of networks, n)
        Scores of the pairs that assignments found in networks that were not trained.

    Examples
    --------
    >>> scores, null = np.array([[0.9, 0.1], [0.2, 0.6]]), np.array([[0.3, 0.2], [0.1, 0.4]])
    >>> pairs = assigned_pairs([scores, scores], [null, null], np.array([[0.3, 0.4]]))
    >>> pairs.trained, pairs.share_above(0.7)
    (array([0.9, 0.6, 0.9, 0.6]), 0.5)
    """
    return AssignedPairs(
        trained=np.concatenate([_pair_scores(scores) for scores in trained]),
        untrained=np.asarray(untrained, float).ravel(),
        shuffled=np.concatenate([_pair_scores(scores) for scores in shuffled]),
    )


def _pair_scores(scores: np.ndarray) -> np.ndarray:
    """Scores of the assigned pairs, without the maps for which no partner is left."""
    partners, values = assigned(scores)
    return values[partners >= 0]


@dataclass(frozen=True)
class KeptOrder:
    """How many matched maps keep their number in the other training.

    Attributes
    ----------
    n_kept, n_matched : int
    """

    n_kept: int
    n_matched: int

    @property
    def share(self) -> float:
        """Of the matched maps, those that keep their number; NaN where none is matched."""
        return self.n_kept / self.n_matched if self.n_matched else math.nan


def kept_order(partners: np.ndarray) -> KeptOrder:
    """How many matched maps have a partner of the same number.

    Parameters
    ----------
    partners : array of int, (n,)
        Partner of each map, -1 where there is none; see `matched`.

    Examples
    --------
    >>> kept_order(np.array([0, 2, 1, -1]))
    KeptOrder(n_kept=1, n_matched=3)
    """
    kept = partners == np.arange(len(partners))
    return KeptOrder(int(kept.sum()), int((partners >= 0).sum()))


class Spread(NamedTuple):
    """Mean, least and most of some shares; all NaN where there is none."""

    mean: float
    least: float
    most: float

    def text(self, form: str = ".0%") -> str:
        """The mean, and the least and the most in brackets.

        Examples
        --------
        >>> spread([0.25, 0.5, 0.75]).text()
        '50% (25% to 75%)'
        >>> spread([]).text()
        'no values'
        """
        if math.isnan(self.mean):
            return "no values"
        return f"{self.mean:{form}} ({self.least:{form}} to {self.most:{form}})"


def spread(shares: Sequence[float]) -> Spread:
    """Mean, least and most of some shares, such as those of all pairs of trainings.

    Parameters
    ----------
    shares : sequence, (n,)
        NaN doesn't count.

    Examples
    --------
    >>> spread([0.5, float("nan"), 1.0])
    Spread(mean=0.75, least=0.5, most=1.0)
    """
    values = [share for share in shares if not math.isnan(share)]
    if not values:
        return Spread(math.nan, math.nan, math.nan)
    return Spread(math.fsum(values) / len(values), min(values), max(values))


def matched_pairs(
    partners: np.ndarray, first_maps: Sequence[int], second_maps: Sequence[int]
) -> np.ndarray:
    """Matched maps of two networks that both have an OIP.

    Parameters
    ----------
    partners : array of int, (n,)
        Partner of each map of the first network, -1 where there is none; see `matched`.
    first_maps, second_maps
        Maps of each network that have an OIP, in any order.

    Returns
    -------
    array of int, (pairs, 2)
        Map of the first network and its partner, in the order of the first.

    Examples
    --------
    >>> matched_pairs(np.array([2, -1, 0]), first_maps=[0, 1, 2], second_maps=[1, 2])
    array([[0, 2]])
    """
    maps = np.arange(len(partners))
    with_oips = np.isin(maps, first_maps) & np.isin(partners, second_maps)
    return np.stack([maps[with_oips], partners[with_oips]], axis=1)


def closest_first(pairs: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Pairs of maps in the order of their scores, the largest first.

    Parameters
    ----------
    pairs : array of int, (pairs, 2)
        See `matched_pairs`. Pairs with the same score keep their order.
    scores : array, (n, m)

    Examples
    --------
    >>> closest_first(np.array([[0, 0], [1, 1]]), np.array([[0.7, 0.1], [0.0, 0.9]]))
    array([[1, 1],
           [0, 0]])
    """
    return pairs[np.argsort(-scores[pairs[:, 0], pairs[:, 1]], kind="stable")]


def similarity_of_matched(trainings: Sequence[tuple[np.ndarray, np.ndarray]]) -> AgainstNull:
    """How similar the best OIPs of matched maps are, against maps paired at random.

    Parameters
    ----------
    trainings : sequence of pairs of arrays, (pairs, height, width, channels)
        For each two networks the best OIPs of the matched maps of the first, and of their
        partners in the same order. Both arrays may be empty.

    Returns
    -------
    AgainstNull
        `values`, float32: similarity of each matched pair, two networks after two networks.
        `null`, float32: of the OIP of each matched map and those of all partners but its own.
        `above`: share of the matched pairs that are above 95 % of the null.
    """
    of_partners, of_others = [np.empty(0, np.float32)], [np.empty(0, np.float32)]
    for first, second in trainings:
        if len(first):
            alike, others = diagonal_and_rest(similarities(first, second))
            of_partners.append(alike)
            of_others.append(others)
    return against_null(np.concatenate(of_partners), np.concatenate(of_others))
