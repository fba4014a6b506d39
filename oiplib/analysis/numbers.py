"""Numbers as the chapters state them: a median, and the quartiles beside it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Quartiles(NamedTuple):
    """First quartile, median and third quartile; all NaN where there was no value."""

    first: float
    median: float
    third: float

    def text(self, form: str = ".2f") -> str:
        """The median, and the quartiles in brackets.

        Parameters
        ----------
        form
            Format of each number, such as ``.2f`` or ``.0%``.

        Examples
        --------
        >>> Quartiles(0.38, 0.4, 0.44).text()
        '0.40 (quartiles 0.38 to 0.44)'
        >>> quartiles([]).text()
        'no values'
        """
        if np.isnan(self.median):
            return "no values"
        return f"{self.median:{form}} (quartiles {self.first:{form}} to {self.third:{form}})"


def quartiles(values: ArrayLike) -> Quartiles:
    """First quartile, median and third quartile of some values, interpolated linearly.

    Parameters
    ----------
    values : numbers, any shape
        NaN stands for a missing value and is left out.

    Returns
    -------
    Quartiles
        All three are NaN if no value is left.

    Examples
    --------
    >>> quartiles([1, 2, 3, 4, 5])
    Quartiles(first=2.0, median=3.0, third=4.0)
    >>> quartiles([1, 2, 3, 4, 5, float("nan")]).median
    3.0
    """
    numbers = np.asarray(values)
    present = numbers[~np.isnan(numbers)]
    if not present.size:
        return Quartiles(np.nan, np.nan, np.nan)
    first, median, third = np.quantile(present, [0.25, 0.5, 0.75])
    return Quartiles(float(first), float(median), float(third))
