"""Random start images with fluctuations on several length scales (article IX)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from ..values import FluctuationStart, Start
from .images import Shape, resize, standardized


@dataclass(frozen=True)
class Joining:
    """Images that join climbing ones, each at a step.

    Attributes
    ----------
    which : int64, (m,)
        Which ascent each joins. An ascent and a step together occur once.
    steps : int64, (m,)
        Before the loss of which step; 1 at least.
    images : float32, (m, height, width, channels)
        What is added, in units of the climbing image's deviation.
    """

    which: np.ndarray
    steps: np.ndarray
    images: np.ndarray


def fluctuation_images(starts: Sequence[FluctuationStart], shape: Shape) -> np.ndarray:
    """The start images of n (map, trial) pairs.

    For each length scale a grid of uniform random values is resized bicubically to the size of
    the image. The sum of the scales, weighted by their factors, is smoothed if the fluctuations
    say so, and standardized. Every pair has its own random stream below the root seed, so an image
    doesn't depend on the other images of the call.

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
    return standardized(_sums(starts, shape))


def joining(starts: Sequence[Start], shape: Shape) -> Joining | None:
    """What joins the images that climb from some starts: the length scales not in the start.

    A scale is weighted by its factor as in a mixture: joined before the first step, it would make
    the start the mixture of all scales.

    Parameters
    ----------
    starts
        The n starts; only those with fluctuations that say so are joined by something.
    shape
        Height, width and channels of the images.

    Returns
    -------
    Joining or None
        None if nothing joins.

    Examples
    --------
    >>> from oiplib.values import FluctuationSpec
    >>> start = FluctuationStart(FluctuationSpec(join_epochs=(0, 50, 100, 400)), 120, 0)
    >>> joining([start], (28, 28, 1)).steps
    array([50])
    """
    joined = [
        (i, start)
        for i, start in enumerate(starts)
        if isinstance(start, FluctuationStart) and start.fluctuation.joining
    ]
    if not joined:
        return None
    # As standardizing divides by it.
    least = 1 / np.sqrt(np.prod(shape))
    deviations = np.maximum(_sums([start for _, start in joined], shape).std(axis=(1, 2, 3)), least)
    added: dict[tuple[int, int], np.ndarray] = {}
    for (i, start), deviation in zip(joined, deviations, strict=True):
        for epoch in sorted(set(start.fluctuation.joining.values())):
            scales = _sums([start], shape, epoch)[0]
            added[i, epoch] = (scales - scales.mean()) / deviation
    which, steps = np.array(list(added), np.int64).T
    return Joining(which, steps, np.array(list(added.values()), np.float32))


def _sums(starts: Sequence[FluctuationStart], shape: Shape, epoch: int = 0) -> np.ndarray:
    """The weighted sums of the scales that join at an epoch, smoothed; 0 for those of the start."""
    height, width, _ = shape
    sums = np.zeros((len(starts), *shape), np.float32)
    for scale, members, values in _drawn(starts, shape):
        factors = np.array([_factor(starts[i], scale, epoch) for i in members])
        resized = resize(values.astype(np.float32), height, width)
        sums[members] += factors.astype(np.float32)[:, None, None, None] * resized
    for i, start in enumerate(starts):
        if start.fluctuation.smoothing:
            size = start.fluctuation.smoothing
            sums[i] = gaussian_filter(sums[i], (size, size, 0), mode="nearest")
    return sums


def _drawn(
    starts: Sequence[FluctuationStart], shape: Shape
) -> Iterator[tuple[int, list[int], np.ndarray]]:
    """For each grid of each scale the scale, the starts that have it, and their values."""
    streams = [_stream(start) for start in starts]
    # Scales with factor 0 draw numbers too, so that a factor doesn't change the other scales.
    for scale in range(max((len(s.fluctuation.grids) for s in starts), default=0)):
        for grid in sorted({s.fluctuation.grids[scale] for s in starts if _has_grid(s, scale)}):
            members = [i for i, s in enumerate(starts) if _has_grid(s, scale, grid)]
            yield scale, members, np.stack([streams[i].random((*grid, shape[2])) for i in members])


def _factor(start: FluctuationStart, scale: int, epoch: int) -> float:
    """The weight of a scale among those that join at an epoch."""
    fluctuation = start.fluctuation
    return fluctuation.factors[scale] if fluctuation.joining.get(scale, 0) == epoch else 0.0


def _has_grid(start: FluctuationStart, scale: int, grid: tuple[int, int] | None = None) -> bool:
    """Whether a start has this grid, or any grid, at a length scale."""
    grids = start.fluctuation.grids
    return scale < len(grids) and grid in (None, grids[scale])


def _stream(start: FluctuationStart) -> np.random.Generator:
    key = (start.map, start.trial)
    return np.random.default_rng(np.random.SeedSequence(start.fluctuation.seed, spawn_key=key))
