"""How many filters do two trainings share? As many as a null allows to say, and by chance.

`matching` puts the maps of two networks into correspondence. What the score of a pair is worth
depends on the null that it is held against: pairs of networks that weren't trained; a trained one
with others that weren't; or each map with its own partners in networks that weren't trained. Each
gives another share, so all are told, above what chance gives by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .estimates import Estimate, over_maps
from .matching import QUANTILE, assigned

#: A map that is active at fewer positions hardly ever responds, and can hardly be matched.
RARE = 0.001


@dataclass(frozen=True)
class Pair:
    """Which maps of two networks an assignment puts together.

    Attributes
    ----------
    partners : array of int, (n,)
        Of each map of the first network the one of the second.
    scores : array, (n,)
        How well they suit each other.
    """

    partners: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray) -> Pair:
        """The pairs that an assignment finds in a matrix of scores (n, m)."""
        return cls(*assigned(scores))


@dataclass(frozen=True)
class Limit:
    """From which score on maps count as matched, by a null.

    Attributes
    ----------
    scores : array, (n,)
        One for each map; the same for all where the null is pooled.
    chance : float
        Share of the null itself that lies above: what is matched where there is nothing to find.
    """

    scores: np.ndarray
    chance: float


def pooled(nulls: Sequence[Pair], n_maps: int, quantile: float = QUANTILE) -> Limit:
    """The limit that a share of all pairs of some networks stays below, for all maps alike.

    Parameters
    ----------
    nulls
        Pairs of networks of which one or both weren't trained; at least one.
    n_maps
        Of the networks that are judged.
    quantile
        The share, in (0, 1).

    Examples
    --------
    >>> null = Pair(np.arange(4), np.array([0.1, 0.2, 0.3, 0.4]))
    >>> pooled([null], 4, quantile=0.5).scores
    array([0.25, 0.25, 0.25, 0.25])
    """
    scores = np.concatenate([pair.scores for pair in nulls])
    limit = np.nanquantile(scores, quantile) if len(scores) else np.nan
    return Limit(np.full(n_maps, limit), 1 - quantile)


def own(nulls: Sequence[Pair]) -> Limit:
    """The limit of each map: the best score of its partners in networks that weren't trained.

    Parameters
    ----------
    nulls
        Pairs of the network that is judged with each of k others; at least one.

    Returns
    -------
    Limit
        By chance one more partner would be the best of k + 1.

    Examples
    --------
    >>> own([Pair(np.arange(2), np.array([0.1, 0.4])), Pair(np.arange(2), np.array([0.3, 0.2]))])
    Limit(scores=array([0.3, 0.4]), chance=0.3333333333333333)
    """
    return Limit(np.max([pair.scores for pair in nulls], axis=0), 1 / (len(nulls) + 1))


def shared(
    pairs: Sequence[Pair],
    limits: Sequence[tuple[Limit, Limit]],
    counted: Sequence[tuple[np.ndarray, np.ndarray]],
) -> Estimate:
    """The share of maps that two trainings share, above chance, with its interval over maps.

    Each pair of maps is judged from both sides, so that it doesn't matter which network is the
    first.

    Parameters
    ----------
    pairs
        Of trainings that differ in the same way; at least one.
    limits
        Of each pair, for the maps of the first network and for those of the second; all with the
        same chance.
    counted : bool, (n,) and (n,)
        Which maps of the first and of the second network of each pair count.

    Returns
    -------
    Estimate
        0 where as many are matched as by chance, 1 where all are. It may be below 0.
    """
    matched = []
    for pair, (here, there), counts in zip(pairs, limits, counted, strict=True):
        both = np.stack([pair.scores > here.scores, pair.scores > there.scores[pair.partners]])
        counting = np.stack([counts[0], counts[1][pair.partners]])
        n_counting = counting.sum(axis=0)
        matched.append((both & counting).sum(axis=0)[n_counting > 0] / n_counting[n_counting > 0])
    of_maps = over_maps(np.concatenate(matched), np.mean)
    chance = limits[0][0].chance
    value, low, high = (
        (share - chance) / (1 - chance) for share in (of_maps.value, of_maps.low, of_maps.high)
    )
    return Estimate(value, low, high, of_maps.n)


def found_of_known(
    pairs: Sequence[Pair], limits: Sequence[Limit], counted: Sequence[np.ndarray]
) -> Estimate:
    """Of maps that keep their number in the other training, the share that a limit finds.

    Between trainings with equal initial weights these are the same filters, but for chance; so
    this tells how many of the filters that are shared the rule misses.

    Parameters
    ----------
    pairs
        Of trainings with equal initial weights.
    limits
        Of each pair.
    counted : bool, (n,)
        Which maps of the first network of each pair count.
    """
    found = [
        (pair.scores > limit.scores)[(pair.partners == np.arange(len(pair.partners))) & counts]
        for pair, limit, counts in zip(pairs, limits, counted, strict=True)
    ]
    return over_maps(np.concatenate(found).astype(float), np.mean)
