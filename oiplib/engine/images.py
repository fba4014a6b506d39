"""The engine's one way to resize images, and to make them what a network takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..values.inputs import Inputs
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


def to_inputs(
    pixels: np.ndarray,
    inputs: Inputs,
    pixel_range: tuple[float, float] | None = None,
    batch_size: int = 4096,
) -> np.ndarray:
    """A data set's images as a network takes them.

    Parameters
    ----------
    pixels : array, (n, height, width, channels), of any type
    inputs
        What the network takes.
    pixel_range
        Smallest and largest value that a pixel can have; (0, 255) by default.
    batch_size
        Images at a time.

    Returns
    -------
    array, float32, same shape

    Examples
    --------
    >>> to_inputs(np.array([0, 255], np.uint8).reshape(1, 1, 2, 1), Inputs(-1, 1)).ravel().tolist()
    [-1.0, 1.0]
    """
    if inputs.is_standardized:
        return standardized(pixels, batch_size)
    low, high = pixel_range or (0.0, 255.0)
    bottom, top = (np.array(limit, np.float64) for limit in inputs.limits())
    out = np.empty(pixels.shape, np.float32)
    for first in range(0, len(pixels), batch_size):
        part = slice(first, first + batch_size)
        share = (pixels[part].astype(np.float64) - low) / (high - low)
        out[part] = bottom + (top - bottom) * share
    return out


def from_standard(images: np.ndarray, inputs: Inputs) -> np.ndarray:
    """Standardized images within a network's inputs: two deviations reach the limits.

    Parameters
    ----------
    images : array, (n, height, width, channels), standardized
    inputs
        What the network takes.

    Returns
    -------
    array, float32, same shape
        Cut off at the limits; the images themselves where the network takes standardized ones.

    Examples
    --------
    >>> from_standard(np.array([[[[-1.0], [3.0]]]], np.float32), Inputs(0, 1)).ravel().tolist()
    [0.25, 1.0]
    """
    if inputs.is_standardized:
        return images
    bottom, top = (np.array(limit, np.float32) for limit in inputs.limits())
    return np.clip((bottom + top) / 2 + unit(inputs) * images, bottom, top)


def unit(inputs: Inputs) -> np.ndarray:
    """What counts as 1 in the size of a step: a quarter of the range, float32 (1 or channels,).

    For standardized images it is their standard deviation, 1.
    """
    bottom, top = (np.array(limit, np.float32) for limit in inputs.limits())
    return (top - bottom) / np.float32(4)


def project(images: Any, inputs: Inputs) -> Any:
    """The nearest images that the network takes: standardized, or cut off at the limits.

    Parameters
    ----------
    images : tensor, (n, height, width, channels)

    Returns
    -------
    tensor, float32, same shape
    """
    if inputs.is_standardized:
        return standardize(images)
    bottom, top = (np.array(limit, np.float32) for limit in inputs.limits())
    return tf.clip_by_value(images, bottom, top)


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
