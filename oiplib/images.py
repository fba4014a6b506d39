"""What every image of the engine goes through: one way to resize, one to standardize."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._tf import tf

Shape = tuple[int, int, int]


def standardize(images: Any) -> Any:
    """Give each image mean 0 and standard deviation 1.

    Parameters
    ----------
    images : tensor or array, (n, height, width, channels)

    Returns
    -------
    tensor, float32, same shape
        ``(x - mean) / max(std, 1 / sqrt(size))`` per image, all channels together; for 28x28
        grey pixels the bound is 1/28. A constant image becomes (about) 0. The articles train on
        standardized images; doing it per image, as TensorFlow's function of that name does,
        is our choice.
    """
    return tf.image.per_image_standardization(images)


def standardized(images: np.ndarray, batch_size: int = 4096) -> np.ndarray:
    """`standardize` for arrays of any length and type, in batches; returns an array."""
    out = np.empty(images.shape, np.float32)
    for first in range(0, len(images), batch_size):
        out[first : first + batch_size] = standardize(images[first : first + batch_size])
    return out


def resize(grids: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize bicubically, each grid by itself.

    Parameters
    ----------
    grids : array, (n, rows, columns, channels)

    Returns
    -------
    array, float32, (n, height, width, channels)
    """
    return np.asarray(tf.image.resize(grids, (height, width), method="bicubic"))
