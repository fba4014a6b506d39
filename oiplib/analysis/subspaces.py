"""How alike two layers are as wholes, whichever maps carry what they tell.

Maps need not correspond one to one for two layers to tell the same: each map of one may be a
mixture of maps of the other. Two measures see that, and need only covariances: SVCCA (Raghu et
al. 2017) and linear CKA (Kornblith et al. 2019).
"""

from __future__ import annotations

import numpy as np

#: Share of each layer's variance that SVCCA keeps; the rest counts as noise.
KEPT = 0.99


def svcca(first: np.ndarray, between: np.ndarray, second: np.ndarray, kept: float = KEPT) -> float:
    """Mean canonical correlation of the directions that carry most of two layers' variance.

    Parameters
    ----------
    first, second : arrays, (n, n) and (m, m)
        Covariances of the maps of each layer.
    between : array, (n, m)
        Covariances of each map of the first with each of the second.
    kept
        Share of the variance that is kept, in (0, 1].

    Returns
    -------
    float, in [0, 1]
        1 if one layer is a linear function of the other; NaN if one never changes.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(1000, 3))
    >>> y = x @ np.array([[2.0, 1, 0], [0, 1, 1], [1, 0, 3]])
    >>> print(f"{svcca(np.cov(x.T), np.cov(x.T, y.T)[:3, 3:], np.cov(y.T), kept=1):.2f}")
    1.00
    """
    whiten_first, whiten_second = _whitening(first, kept), _whitening(second, kept)
    if not whiten_first.size or not whiten_second.size:
        return float("nan")
    correlations = np.linalg.svd(whiten_first.T @ between @ whiten_second, compute_uv=False)
    return float(np.clip(correlations, 0, 1).mean())


def linear_cka(first: np.ndarray, between: np.ndarray, second: np.ndarray) -> float:
    """Linear centred kernel alignment of two layers; parameters as `svcca`.

    Returns
    -------
    float, in [0, 1]
        1 if the layers differ by a rotation and a factor only; NaN if one never changes.

    Examples
    --------
    >>> cov = np.diag([2.0, 1.0])
    >>> linear_cka(cov, cov, cov), linear_cka(cov, np.zeros((2, 2)), cov)
    (1.0, 0.0)
    """
    size = np.linalg.norm(first) * np.linalg.norm(second)
    return float(np.linalg.norm(between) ** 2 / size) if size > 0 else float("nan")


def _whitening(covariance: np.ndarray, kept: float) -> np.ndarray:
    """What turns maps into uncorrelated directions of variance 1, the strongest only: (n, k)."""
    variances, directions = np.linalg.eigh(np.asarray(covariance, np.float64))
    variances, directions = np.maximum(variances[::-1], 0), directions[:, ::-1]
    total = variances.sum()
    if not total > 0:
        return np.empty((len(variances), 0))
    n = int(np.searchsorted(np.cumsum(variances) / total, kept - 1e-12)) + 1
    n = min(n, int((variances > 1e-12 * variances[0]).sum()))
    return np.asarray(directions[:, :n] / np.sqrt(variances[:n]))
