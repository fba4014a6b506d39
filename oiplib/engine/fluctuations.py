"""Random start images with fluctuations on several length scales (article IX)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..values import FluctuationStart
from .images import Shape, resize, standardized


def fluctuation_images(starts: Sequence[FluctuationStart], shape: Shape) -> np.ndarray:
    """The start images of n (map, trial) pairs.

    For each length scale a grid of uniform random values is resized bicubically to the size of
    the image. The sum of the scales, weighted by their factors, is standardized. Every pair has
    its own random stream below the root seed, so an image doesn't depend on the other images of
    the call.

    Parameters
    ----------
    starts
        The n starts: each has a map, a trial and what its fluctuations look like.
    shape
        Height, width and channels of the images. The channels fluctuate independently.

    Returns
    -------
    array, float32, (n, height, width, channels), standardized

    Examples
    --------
    >>> from oiplib.values import FluctuationSpec
    >>> start = FluctuationStart(FluctuationSpec(seed=3), map=120, trial=0)
    >>> fluctuation_images([start], (28, 28, 1)).shape
    (1, 28, 28, 1)
    """
    height, width, channels = shape
    sums = np.zeros((len(starts), *shape), np.float32)
    streams = [_stream(start) for start in starts]
    # Scales with factor 0 draw numbers too, so that a factor doesn't change the other scales.
    for scale in range(max((len(s.fluctuation.grids) for s in starts), default=0)):
        for grid in sorted({s.fluctuation.grids[scale] for s in starts if _has_grid(s, scale)}):
            members = [i for i, s in enumerate(starts) if _has_grid(s, scale, grid)]
            values = np.stack([streams[i].random((*grid, channels)) for i in members])
            factors = np.array([starts[i].fluctuation.factors[scale] for i in members])
            resized = resize(values.astype(np.float32), height, width)
            sums[members] += factors.astype(np.float32)[:, None, None, None] * resized
    return standardized(sums)


def _has_grid(start: FluctuationStart, scale: int, grid: tuple[int, int] | None = None) -> bool:
    """Whether a start has this grid, or any grid, at a length scale."""
    grids = start.fluctuation.grids
    return scale < len(grids) and grid in (None, grids[scale])


def _stream(start: FluctuationStart) -> np.random.Generator:
    key = (start.map, start.trial)
    return np.random.default_rng(np.random.SeedSequence(start.fluctuation.seed, spawn_key=key))
