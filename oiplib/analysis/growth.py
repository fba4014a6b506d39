"""Growth: does the loss of an ascent grow as in article IX?

How large a loss gets depends on the trained network. So what is compared is the course: the loss
at each step over the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Steps at which article IX printed the loss of its map 120, in 600 steps of size 0.01
#: ("Creation of a OIP-pattern out of random fluctuations").
ARTICLE_STEPS = (0, 9, 18, 36, 72, 144, 288, 599)

#: What it printed there as "present loss_val".
ARTICLE_LOSSES = (
    7.3800406,
    16.631456,
    28.324467,
    67.79664,
    157.14531,
    272.91815,
    319.47913,
    327.4784,
)

#: Change of the article's loss in its last step ("loss_diff"), relative to the loss: 6.3e-05.
ARTICLE_LAST_CHANGE = 0.020477295 / ARTICLE_LOSSES[-1]


@dataclass(frozen=True)
class Growth:
    """The course of some ascents beside that of article IX.

    Attributes
    ----------
    steps : int, (8,)
        `ARTICLE_STEPS`.
    article : float, (8,)
        The article's losses over its last one.
    relative : float, (ascents, 8)
        The losses of each compared ascent over its last one.
    quartiles : float, (3, 8)
        First quartile, median and third quartile of `relative`; NaN without an ascent.
    difference : float, (8,)
        The median minus the article's.
    last_change : float
        Change of the loss in the last step, relative to the loss; the median of the ascents.
        The article's is `ARTICLE_LAST_CHANGE`.
    """

    steps: np.ndarray
    article: np.ndarray
    relative: np.ndarray
    quartiles: np.ndarray
    difference: np.ndarray
    last_change: float

    @property
    def n_ascents(self) -> int:
        """How many ascents were compared."""
        return len(self.relative)

    @property
    def largest_difference(self) -> float:
        """The largest distance from the article at any of the steps, without its sign."""
        return float(np.abs(self.difference).max())


def compared_with_article(traces: Sequence[np.ndarray]) -> Growth:
    """The course of some ascents beside the one that article IX printed.

    Parameters
    ----------
    traces : arrays, (steps,)
        The loss at each step, one array per ascent. An ascent that has not as many steps as
        the article's, 600, can't be compared and is left out; so is one that ends without a
        response.

    Returns
    -------
    Growth
        With `n_ascents` 0 and NaN in place of numbers if no ascent can be compared.

    Examples
    --------
    >>> steady = np.linspace(1 / 600, 1, 600)
    >>> growth = compared_with_article([steady, 5 * steady, steady[:100]])
    >>> growth.n_ascents
    2
    >>> growth.quartiles[1].round(3)
    array([0.002, 0.017, 0.032, 0.062, 0.122, 0.242, 0.482, 1.   ])
    >>> growth.difference.round(3)
    array([-0.021, -0.034, -0.055, -0.145, -0.358, -0.592, -0.494,  0.   ])
    """
    steps = np.array(ARTICLE_STEPS)
    article = np.array(ARTICLE_LOSSES)
    article /= article[-1]
    comparable = [trace for trace in traces if len(trace) == steps[-1] + 1 and trace[-1] > 0]
    if not comparable:
        missing = np.full((3, len(steps)), np.nan)
        return Growth(steps, article, np.empty((0, len(steps))), missing, missing[1], np.nan)
    relative = np.array([trace[steps] / trace[-1] for trace in comparable])
    quartiles = np.quantile(relative, [0.25, 0.5, 0.75], axis=0)
    changes = [(trace[-1] - trace[-2]) / trace[-1] for trace in comparable]
    return Growth(
        steps, article, relative, quartiles, quartiles[1] - article, float(np.median(changes))
    )
