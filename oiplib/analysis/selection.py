"""Selection: do a few steps show which start ends highest?

Article X lets every start take ten steps and ascends the best to the end. It doubts whether
these are the right ones. What a selection misses shows only where no start was dropped: then the
losses after a few steps stand beside the final losses of the same starts.

A selection is between two others. One draws a start at random. The other one repeats the whole
ascents from starts that are moved by rounding alone, and takes the start that ended highest: no
selection can know more than such a repetition.

A scan of one map comes as its rungs: for each the steps taken so far, the numbers of the starts
that came as far, and their losses. The last rung holds the final losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import stats

from ..errors import InputError

#: Rungs of one map's scan, in order: (steps, starts (n,), losses (n,)).
Rungs: TypeAlias = Sequence[tuple[int, np.ndarray, np.ndarray]]

#: A map with fewer starts isn't judged.
FEWEST = 4


@dataclass(frozen=True)
class Selection:
    """What losses after some steps tell about the final ones, map by map.

    Attributes
    ----------
    correlations : float, (maps,), in [-1, 1]
        `rank_correlation` with the final losses; NaN where all starts stand alike.
    leader : float, (maps,), in [0, 1]
        By how much the start that stands first ends below the best of all, relative to that.
    random : float, (maps,), in [0, 1]
        The same for a start drawn at random: the expectation.
    """

    correlations: np.ndarray
    leader: np.ndarray
    random: np.ndarray

    @property
    def n_maps(self) -> int:
        """How many maps were judged."""
        return len(self.leader)

    @property
    def gained(self) -> np.ndarray:
        """(maps,): how much less than a random start the first one misses; 0 by chance."""
        return np.asarray(self.random - self.leader)

    @property
    def both(self) -> np.ndarray:
        """(maps, 1, 2): `leader` and `random`, for `avoided` over maps."""
        return np.stack([self.leader, self.random], axis=1)[:, None]


@dataclass(frozen=True)
class BestLosses:
    """How near the best start of a map comes to its final loss, rung by rung.

    Attributes
    ----------
    medians : float, (rungs,)
        Best loss after each rung over the best final one, median over the maps; NaN without
        a map.
    n_maps : int
        How many maps have a response in the end; the others don't count.
    """

    medians: np.ndarray
    n_maps: int


def selection(pairs: Sequence[np.ndarray]) -> Selection:
    """How well losses select the starts that end highest.

    Parameters
    ----------
    pairs
        Of each map (2, n): by what its starts are selected, and their final losses. Maps with
        fewer than `FEWEST` starts, or without a response in the end, are left out.
    """
    judged = [pair for pair in pairs if pair.shape[1] >= FEWEST and pair[1].max() > 0]
    return Selection(
        correlations=np.array([rank_correlation(*pair) for pair in judged]),
        leader=np.array([missed(*pair) for pair in judged]),
        random=np.array([missed_at_random(final) for _, final in judged]),
    )


def avoided(both: np.ndarray) -> float:
    """Which share of what random starts miss the first ones don't, over maps: 1 misses nothing.

    Parameters
    ----------
    both : array, (maps, 2)
        What the first and a random start miss.

    Returns
    -------
    float
        0 by chance; NaN where random starts miss nothing.

    Examples
    --------
    >>> avoided(np.array([[0.0, 0.1], [0.1, 0.3]]))
    0.75
    """
    leader, random = both.mean(axis=0)
    return float(1 - leader / random) if random > 0 else float("nan")


def best_after_each_rung(scans: Sequence[Rungs]) -> BestLosses:
    """How near the best start of a map comes to its final loss, rung by rung.

    Parameters
    ----------
    scans
        The rungs of each map; weaker starts may have been dropped from one rung to the next.
    """
    n_rungs = min((len(rungs) for rungs in scans), default=0)
    best = [[losses.max(initial=0) for _, _, losses in rungs] for rungs in scans]
    relative = [
        [of_rung / of_map[-1] for of_rung in of_map[:n_rungs]] for of_map in best if of_map[-1] > 0
    ]
    if not relative:
        return BestLosses(np.full(n_rungs, np.nan), 0)
    return BestLosses(np.median(relative, axis=0), len(relative))


def standings(rungs: Rungs) -> np.ndarray:
    """Losses of the starts at each rung, each start in a column of its own.

    Parameters
    ----------
    rungs
        Of one map; each rung holds the same starts, in whatever order.

    Returns
    -------
    array, (rungs, n)
        Columns in the order of the starts' numbers.

    Raises
    ------
    InputError
        If a rung lacks a start.
    """
    orders = [np.argsort(starts) for _, starts, _ in rungs]
    numbers = [starts[order] for (_, starts, _), order in zip(rungs, orders, strict=True)]
    if not all(np.array_equal(of_rung, numbers[-1]) for of_rung in numbers):
        raise InputError("only a scan from which no start was dropped shows what is missed")
    return np.array([losses[order] for (*_, losses), order in zip(rungs, orders, strict=True)])


def rank_correlation(standing: np.ndarray, final: np.ndarray) -> float:
    """Spearman's rank correlation between losses after some steps and the final ones.

    Parameters
    ----------
    standing, final : arrays, (n,)
        Start by start.

    Returns
    -------
    float
        In [-1, 1]; NaN where all stand alike, as starts without a response do.

    Examples
    --------
    >>> round(rank_correlation(np.array([1, 2, 3]), np.array([10, 20, 90])), 9)
    1.0
    >>> rank_correlation(np.array([0, 0, 0]), np.array([10, 20, 90]))
    nan
    """
    if any(len(losses) < 2 or np.ptp(losses) == 0 for losses in (standing, final)):
        return float("nan")
    return float(stats.spearmanr(standing, final).statistic)


def missed(standing: np.ndarray, final: np.ndarray) -> float:
    """By how much the start that stands first ends below the best of all, relative to that.

    Parameters
    ----------
    standing, final : arrays, (n,)
        Start by start; the best final loss is above 0. Of equal standings the earlier is first.

    Examples
    --------
    >>> missed(np.array([5, 4, 3]), np.array([15, 10, 20]))
    0.25
    """
    return float(1 - final[standing.argmax()] / final.max())


def missed_at_random(final: np.ndarray) -> float:
    """The same for a start drawn at random: the expectation.

    Examples
    --------
    >>> missed_at_random(np.array([10, 15, 20]))
    0.25
    """
    return float(1 - final.mean() / final.max())
