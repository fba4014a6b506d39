"""How sure a number is: an interval over maps, a range over trainings, and what chance gives.

A layer's maps are a sample of the maps that training makes, so a number about them has an
interval over maps. That interval knows nothing of the next training, which varies more; so an
answer also names the same number of every trained network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

#: Share of repetitions that an interval holds.
LEVEL = 0.95

# Statistics that can be asked of each row of a table at once.
_BY_ROW = (np.median, np.mean, np.nanmedian)

# Of a bootstrap: draws of as many maps with replacement. From fewer maps than this its interval
# would be far too narrow, so there is none.
_DRAWS, _LEAST = 2000, 8


@dataclass(frozen=True)
class Estimate:
    """A number, and the interval in which it would lie with other maps of the same kind.

    Attributes
    ----------
    value, low, high : float
        All NaN where there was nothing to estimate it from.
    n : int
        From how many maps.
    """

    value: float
    low: float
    high: float
    n: int

    def text(self, form: str = ".0%") -> str:
        """The value, and its interval in brackets.

        Examples
        --------
        >>> Estimate(0.14, 0.09, 0.21, 126).text()
        '14% (9% to 21%)'
        >>> share([]).text()
        'no values'
        """
        if math.isnan(self.value):
            return "no values"
        return f"{self.value:{form}} ({self.interval(form) or _few(self.n)})"

    def interval(self, form: str = ".0%") -> str:
        """Its ends; empty where there are too few maps for an interval."""
        return "" if math.isnan(self.low) else f"{self.low:{form}} to {self.high:{form}}"


def _few(n: int) -> str:
    return f"of {n} maps" if n > 1 else "of one map"


NOTHING = Estimate(math.nan, math.nan, math.nan, 0)


def drawn(maps: Sequence[int], n: int) -> list[int]:
    """So many of the maps by a fixed seed, or all: where a question is too dear to ask each.

    Each map has its own lot. So one that is drawn among many maps is also drawn among a few of
    them, and what is computed for a part of a layer serves the whole.

    Examples
    --------
    >>> drawn(range(128), 4), drawn([3, 5], 4)
    ([29, 53, 66, 119], [3, 5])
    """
    lots = {map: np.random.default_rng((0, map)).random() for map in maps}
    return sorted(sorted(lots, key=lots.__getitem__)[:n])


def share(holds: Sequence[bool] | np.ndarray) -> Estimate:
    """The share of maps of which something holds, with Wilson's interval.

    A bootstrap would give the same but at 0 and 1, where it knows no doubt.

    Parameters
    ----------
    holds : bool, (maps,)

    Examples
    --------
    >>> share([True] * 14 + [False] * 86).text()
    '14% (9% to 22%)'
    >>> share([False] * 50).text()
    '0% (0% to 7%)'
    """
    n = len(holds)
    if not n:
        return NOTHING
    test = stats.binomtest(int(np.sum(holds)), n)
    low, high = test.proportion_ci(LEVEL, method="wilson")
    return Estimate(float(np.mean(holds)), float(low), float(high), n)


def over_maps(
    of_maps: Sequence[np.ndarray] | np.ndarray,
    statistic: Callable[[np.ndarray], float] = np.median,
    seed: int = 0,
) -> Estimate:
    """A number made from the values of all maps, with its interval by bootstrap over maps.

    Maps are drawn, never single values: those of one map belong together.

    Parameters
    ----------
    of_maps : sequence of arrays, or array, (maps, ...)
        The values of each map, which are joined along the first axis: as many of each as there
        are, or a single one. A map without any is left out.
    statistic
        From joined values to a number.
    seed
        Of the draws.

    Examples
    --------
    >>> over_maps(np.arange(101.0)).text(".0f")
    '50 (41 to 59)'
    >>> over_maps([np.array([1.0, 3.0]), np.array([2.0])], np.mean).value
    2.0
    """
    parts = [np.atleast_1d(values) for values in of_maps if np.size(values)]
    if not parts:
        return NOTHING
    joined = np.concatenate(parts)
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(parts), (_DRAWS if len(parts) >= _LEAST else 0, len(parts)))
    drawn: Sequence[float | np.floating] | np.ndarray
    if joined.ndim == 1 and len(joined) == len(parts) and statistic in _BY_ROW:
        drawn = statistic(joined[draws], axis=1)
    elif joined.ndim == 1 and statistic is np.median and not np.isnan(joined).any():
        drawn = _medians(joined, np.repeat(np.arange(len(parts)), [*map(len, parts)]), draws)
    elif len(joined) == len(parts):
        drawn = [statistic(values) for values in joined[draws]]
    else:
        drawn = [statistic(np.concatenate([parts[i] for i in of_draw])) for of_draw in draws]
    value = float(statistic(joined))
    edges = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    low, high = np.nanquantile(np.asarray(drawn), edges) if len(drawn) else (math.nan, math.nan)
    return Estimate(value, float(low), float(high), len(parts))


def _medians(values: np.ndarray, maps: np.ndarray, draws: np.ndarray) -> list[np.floating]:
    """The median of all values of the maps that are drawn: sorted once, then counted.

    Parameters
    ----------
    values, maps : array, (values,)
        Each value, and the number of its map.
    draws : array of int, (draws, maps)
    """
    order = np.argsort(values)
    values, maps = values[order], maps[order]
    medians = []
    for drawn in draws:
        up_to = np.cumsum(np.bincount(drawn, minlength=draws.shape[1])[maps])
        middle = np.searchsorted(up_to, [(up_to[-1] - 1) // 2, up_to[-1] // 2], side="right")
        medians.append(np.mean(values[middle]))
    return medians


@dataclass(frozen=True)
class Answer:
    """A number of the studied network, beside the same of all its trainings and of chance.

    Attributes
    ----------
    here : Estimate
        Of the studied network, with its interval over maps.
    networks : tuple of float
        The same number of every training, the studied network among them. One value if there is
        no other.
    chance : float
        The same where there is nothing to find; NaN where that has no meaning.
    """

    here: Estimate
    networks: tuple[float, ...] = ()
    chance: float = math.nan

    def text(self, form: str = ".0%") -> str:
        """The value, and in brackets its interval, the range over trainings and the null.

        Examples
        --------
        >>> Answer(Estimate(0.14, 0.09, 0.21, 126), (0.14, 0.055, 0.1), chance=0.05).text()
        '14% (9% to 21% over maps, 6% to 14% over 3 trainings, by chance 5%)'
        >>> Answer(Estimate(0.14, 0.09, 0.21, 126), (0.14,)).text()
        '14% (9% to 21% over maps, of one training)'
        """
        if math.isnan(self.here.value):
            return "no values"
        interval = self.here.interval(form)
        parts = [f"{interval} over maps" if interval else _few(self.here.n)]
        known = [value for value in self.networks if not math.isnan(value)]
        if len(known) > 1:
            ends = f"{min(known):{form}} to {max(known):{form}}"
            parts.append(f"{ends} over {len(known)} trainings")
        else:
            parts.append("of one training")
        if not math.isnan(self.chance):
            parts.append(f"by chance {self.chance:{form}}")
        return f"{self.here.value:{form}} ({', '.join(parts)})"

    def span(self, form: str = ".0%") -> str:
        """The range over trainings alone; the value where there is one training.

        Examples
        --------
        >>> Answer(Estimate(0.14, 0.09, 0.21, 126), (0.14, 0.055, 0.1)).span()
        '6% to 14%'
        """
        known = [value for value in self.networks if not math.isnan(value)]
        ends = [f"{end(known or [self.here.value]):{form}}" for end in (min, max)]
        return " to ".join(dict.fromkeys(ends))
