"""The engine's one way to resize images, and its one way to standardize them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .tf import tf

Shape = tuple[int, int, int]


def standardize(images: Any) -> Any:
    """Give each image mean 0 and standard deviation 1.

    Parameters
    ----------
    images : tensor or array, (n, height, width, channels)

    Returns
    -------
    tensor, float32, same shape
        ``(x - mean) / max(std, 1 / sqrt(size))`` per image, all channels together. For 28x28
        grey pixels the bound is 1/28. A constant image becomes (about) 0.

    Notes
    -----
    The articles train on standardized images. Standardizing each image by itself is our choice;
    TensorFlow's ``per_image_standardization`` does so.

    Examples
    --------
    >>> grey = np.array([3.0, 5.0], np.float32).reshape(1, 1, 2, 1)
    >>> standardize(grey).numpy().ravel().tolist()
    [-1.0, 1.0]
    """
    return tf.image.per_image_standardization(images)


def standardized(images: np.ndarray, batch_size: int = 4096) -> np.ndarray:
    """`standardize` for any number of images of any type, in batches; returns an array.

    Examples
    --------
    >>> standardized(np.array([3, 5], np.uint8).reshape(1, 1, 2, 1)).ravel().tolist()
    [-1.0, 1.0]
    """
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

    Examples
    --------
    >>> resize(np.ones((5, 3, 3, 1)), 28, 28).shape
    (5, 28, 28, 1)
    """
    return np.asarray(tf.image.resize(grids, (height, width), method="bicubic"))
