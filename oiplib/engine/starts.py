"""The images of starts of any kind, rebuilt from their numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..values import FluctuationStart, Inputs, Start
from .fluctuations import fluctuation_images
from .images import from_standard
from .patterns import pattern_images


def start_images(
    starts: Sequence[Start], shape: tuple[int, int, int], inputs: Inputs
) -> np.ndarray:
    """The images of some starts, as a network takes them: (n, height, width, channels)."""
    images = np.empty((len(starts), *shape), np.float32)
    for i, start in enumerate(starts):
        if isinstance(start, FluctuationStart):
            images[i] = fluctuation_images([start], shape)[0]
        else:
            pattern = np.array([start.index])
            images[i] = pattern_images(start.grid, pattern, shape, start.noise, start.seed)[0]
    return from_standard(images, inputs)
