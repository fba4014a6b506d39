"""Nulls: what numbers are worth, beside the same numbers where there is nothing to find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Share of a null that stays below its threshold.
QUANTILE = 0.95


@dataclass(frozen=True)
class AgainstNull:
    """Values, their null, and how many values the null doesn't explain.

    Attributes
    ----------
    values : array, (n,)
    null : array, (m,)
    threshold : float
        A share of the null, by default 95 %, stays below it. NaN where the null is empty.
    above : float, in [0, 1]
        Share of the values that are larger than the threshold. NaN where there are no values or
        no null.
    """

    values: np.ndarray
    null: np.ndarray
    threshold: float
    above: float


def against_null(values: np.ndarray, null: np.ndarray, quantile: float = QUANTILE) -> AgainstNull:
    """Compare values with their null.

    Parameters
    ----------
    values : array, (n,)
    null : array, (m,)
    quantile
        Share of the null that stays below the threshold, in [0, 1].

    Examples
    --------
    >>> result = against_null(np.array([0.5, 2.0, 3.0]), np.linspace(0, 1, 101))
    >>> print(f"{result.threshold:.2f} {result.above:.2f}")
    0.95 0.67
    """
    if not len(null):
        return AgainstNull(values, null, np.nan, np.nan)
    threshold = np.quantile(null, quantile)
    above = float((values > threshold).mean()) if len(values) else np.nan
    return AgainstNull(values, null, float(threshold), above)


def diagonal_and_rest(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split what belongs together, on the diagonal, from everything that doesn't: the null.

    Parameters
    ----------
    matrix : array, (n, n)

    Returns
    -------
    diagonal : array, (n,)
    rest : array, (n (n - 1),)
        Row by row.

    Examples
    --------
    >>> diagonal_and_rest(np.array([[1, 2], [3, 4]]))
    (array([1, 4]), array([2, 3]))
    """
    on_diagonal = np.eye(len(matrix), dtype=bool)
    return matrix[on_diagonal], matrix[~on_diagonal]
