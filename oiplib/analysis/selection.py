"""Selection: do a few steps show which start ends highest?

Article X lets every start take ten steps and ascends the best eight to the end. It doubts
whether these are the right ones. What a selection misses shows only where no start was dropped:
then the losses after a few steps stand beside the final losses of the same starts.

A scan of one map comes as its rungs: for each the steps taken so far, the numbers of the starts
that came as far, and their losses. The last rung holds the final losses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any, TypeAlias

import numpy as np
from scipy import stats

from ..errors import InputError
from .numbers import Quartiles, quartiles

#: Rungs of one map's scan, in order: (steps, starts (n,), losses (n,)).
Rungs: TypeAlias = Sequence[tuple[int, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Selection:
    """What the losses after some steps tell about the final ones, map by map.

    A map is compared if more than `kept` of its starts have a response in the end; the other
    starts of it don't count.

    Attributes
    ----------
    kept : int
        How many leaders would go on.
    steps : int, (k,)
        The steps after which the starts are compared with how they end.
    correlations : float, (maps, k), in [-1, 1]
        `rank_correlation` with the final losses; NaN where all starts stand alike.
    reached : float, (maps, k), in [0, 1]
        `leaders_share`: the best final loss among the leaders, over the best of all starts.
    places : float, (maps, k), in [0, 1)
        `winners_places`: the share of starts that stood before the later winner.
    by_chance : float, (maps,), in [0, 1]
        What as many starts drawn at random reach: `best_of_random` over the best.
    """

    kept: int
    steps: np.ndarray
    correlations: np.ndarray
    reached: np.ndarray
    places: np.ndarray
    by_chance: np.ndarray

    @property
    def n_maps(self) -> int:
        """How many maps were compared."""
        return len(self.by_chance)

    @property
    def missed(self) -> np.ndarray:
        """(maps, k): by how much of the best final loss the leaders stay below it."""
        return 1 - self.reached

    @property
    def correlation_quartiles(self) -> tuple[Quartiles, ...]:
        """Over the maps, one for each of `steps`."""
        return tuple(quartiles(column) for column in self.correlations.T)

    @property
    def median_reached(self) -> np.ndarray:
        """(k,): median of `reached` over the maps; NaN without a map."""
        return _over_maps(np.median, self.reached)

    @property
    def least_reached(self) -> np.ndarray:
        """(k,): `reached` on the worst map; NaN without a map."""
        return _over_maps(np.min, self.reached)

    @property
    def median_places(self) -> np.ndarray:
        """(k,): median of `places` over the maps; NaN without a map."""
        return _over_maps(np.median, self.places)

    @property
    def median_by_chance(self) -> float:
        """Median of `by_chance` over the maps; NaN without a map."""
        return float(np.median(self.by_chance)) if self.n_maps else float("nan")


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


def selection(scans: Sequence[Rungs], kept: int = 8) -> Selection:
    """How well the losses after some steps select the starts that end highest (article X).

    Parameters
    ----------
    scans
        The rungs of each map. No start was dropped: each rung holds the same ones.
    kept
        How many leaders would go on; the article's 8.

    Raises
    ------
    InputError
        If there is no scan, if the scans have different steps, or if starts were dropped.
    """
    steps = _common_steps(scans)
    all_losses = [losses for losses in map(standings, scans) if losses.shape[1] > kept]
    shape = (len(all_losses), len(steps) - 1)
    correlations, reached, places = np.empty((3, *shape))
    for i, (*standing, final) in enumerate(all_losses):
        correlations[i] = [rank_correlation(losses, final) for losses in standing]
        reached[i] = [leaders_share(losses, final, kept) for losses in standing]
        places[i] = winners_places(all_losses[i])
    by_chance = [best_of_random(final, kept) / final.max() for *_, final in all_losses]
    return Selection(kept, np.array(steps[:-1]), correlations, reached, places, np.array(by_chance))


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
    """Losses of the starts that respond in the end, each start in a column of its own.

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
    losses = np.array([of_rung[order] for (*_, of_rung), order in zip(rungs, orders, strict=True)])
    return losses[:, losses[-1] > 0]


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


def leaders_share(standing: np.ndarray, final: np.ndarray, n: int) -> float:
    """The best final loss among the n starts that lead after some steps, over the best of all.

    Parameters
    ----------
    standing, final : arrays, (n,)
        Start by start; the best final loss is above 0. Of equal standings the earlier leads.

    Examples
    --------
    >>> leaders_share(np.array([5, 4, 3]), np.array([10, 15, 20]), 2)
    0.75
    """
    leaders = np.argsort(-standing, kind="stable")[:n]
    return float(final[leaders].max() / final.max())


def winners_places(losses: np.ndarray) -> np.ndarray:
    """The share of starts that stood before the later winner.

    Parameters
    ----------
    losses : array, (rungs, n)
        Such as those of `standings`; the last rung is the end.

    Returns
    -------
    array, (rungs - 1,), in [0, 1)

    Examples
    --------
    >>> winners_places(np.array([[4, 3, 2, 1], [1, 5, 9, 2], [1, 2, 3, 4]]))
    array([0.75, 0.5 ])
    """
    winner = losses[-1].argmax()
    return np.asarray((losses[:-1] > losses[:-1, [winner]]).mean(axis=1))


def best_of_random(values: np.ndarray, n: int) -> float:
    """Expected largest of n values that are drawn without replacement.

    The largest of them is at most the k-th smallest of all N values in C(k, n) of the C(N, n)
    draws.

    Raises
    ------
    InputError
        If there are no n values.

    Examples
    --------
    >>> best_of_random(np.array([1, 2, 3]), 1)
    2.0
    >>> best_of_random(np.array([1, 2, 3]), 3)
    3.0
    """
    total = len(values)
    if not 1 <= n <= total:
        raise InputError(f"{n} of {total} values can't be drawn: choose 1 to {total}")
    at_most = np.array([comb(k, n) / comb(total, n) for k in range(total + 1)])
    return float(np.sum(np.diff(at_most) * np.sort(values)))


def _common_steps(scans: Sequence[Rungs]) -> list[int]:
    steps = {tuple(number for number, _, _ in rungs) for rungs in scans}
    if not steps:
        raise InputError("there is no scan to judge")
    if len(steps) > 1:
        raise InputError("the scans took different steps: choose the maps of one search")
    return list(steps.pop())


def _over_maps(of_column: Callable[..., Any], values: np.ndarray) -> np.ndarray:
    """A number of each column; NaN where there is no map."""
    if not len(values):
        return np.full(values.shape[1], np.nan)
    return np.asarray(of_column(values, axis=0))
