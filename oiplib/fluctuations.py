"""Random start images with fluctuations on several length scales (article IX)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .images import Shape, resize, standardized
from .specs import FluctuationStart


def fluctuation_images(starts: Sequence[FluctuationStart], shape: Shape) -> np.ndarray:
    """The images of some (map, trial) pairs.

    For each length scale a grid of uniform random values is resized bicubically to the image's
    size; the sum of the scales, weighted by their factors, is standardized. Every pair has a
    random stream of its own below the root seed, so an image doesn't depend on which others
    are made beside it.

    Parameters
    ----------
    starts
        What to make, n of them.
    shape
        Height, width and channels of the images; the channels fluctuate independently.

    Returns
    -------
    array, float32, (n, height, width, channels), standardized
    """
    height, width, channels = shape
    sums = np.zeros((len(starts), *shape), np.float32)
    streams = [_stream(start) for start in starts]
    # Scales with factor 0 draw their numbers too: the others don't change with the factors.
    for scale in range(max((len(s.fluctuation.grids) for s in starts), default=0)):
        for grid in sorted({s.fluctuation.grids[scale] for s in starts if _has(s, scale)}):
            chosen = [i for i, s in enumerate(starts) if _has(s, scale, grid)]
            values = np.stack([streams[i].random((*grid, channels)) for i in chosen])
            factors = np.array([starts[i].fluctuation.factors[scale] for i in chosen])
            resized = resize(values.astype(np.float32), height, width)
            sums[chosen] += factors.astype(np.float32)[:, None, None, None] * resized
    return standardized(sums)


def _has(start: FluctuationStart, scale: int, grid: tuple[int, int] | None = None) -> bool:
    grids = start.fluctuation.grids
    return scale < len(grids) and grid in (None, grids[scale])


def _stream(start: FluctuationStart) -> np.random.Generator:
    key = (start.map, start.trial)
    return np.random.default_rng(np.random.SeedSequence(start.fluctuation.seed, spawn_key=key))
