"""How an image is shown: its pixels as grey values or colours, and as a file."""

from __future__ import annotations

import base64
import io

import numpy as np

from .values import Inputs


def scaled(image: np.ndarray, inputs: Inputs | None = None) -> np.ndarray:
    """An image as computed, as a picture in [0, 1].

    Parameters
    ----------
    image : array, (height, width, channels)
    inputs
        What the image's network takes. A range of pixels is drawn back: its ends become 0 and
        1. A standardized image, the default, has no range: 0 becomes the middle, 0.5, and its
        value farthest from 0 becomes 0 or 1. So the grey of the ground is the same in all
        pictures.

    Examples
    --------
    >>> scaled(np.array([-1.0, 0.0, 2.0])).tolist()
    [0.25, 0.5, 1.0]
    >>> scaled(np.array([[[51.0]]]), Inputs(0, 255)).tolist()
    [[[0.2]]]
    """
    if inputs is not None and not inputs.is_standardized:
        bottom, top = (np.array(limit) for limit in inputs.limits())
        return np.clip((image - bottom) / (top - bottom), 0, 1)
    return 0.5 + image / max(2 * float(np.abs(image).max()), 1e-12)


def enhanced(image: np.ndarray, inputs: Inputs | None = None, share: float = 0.04) -> np.ndarray:
    """An image with its contrast enhanced, as the articles show OIPs a second time.

    Parameters
    ----------
    image : array, (height, width, channels)
    inputs
        As for `scaled`.
    share
        The share of the values farthest from the middle that become 0 or 1.

    Returns
    -------
    array, same shape, in [0, 1]

    Examples
    --------
    >>> enhanced(np.array([-1.0, 0.0, 1.0, 1.0, 4.0]), share=0.25).tolist()
    [0.0, 0.5, 1.0, 1.0, 1.0]
    """
    pixels = scaled(image, inputs)
    return np.clip(0.5 + contrast_gain(image, inputs, share) * (pixels - 0.5), 0, 1)


def contrast_gain(image: np.ndarray, inputs: Inputs | None = None, share: float = 0.04) -> float:
    """How many times `enhanced` puts each pixel as far from the middle as `scaled` does.

    Examples
    --------
    >>> contrast_gain(np.array([-1.0, 0.0, 1.0, 1.0, 4.0]), share=0.25)
    4.0
    """
    far = float(np.quantile(np.abs(scaled(image, inputs) - 0.5), 1 - share))
    return 0.5 / max(far, 1e-6)


def displayable(
    image: np.ndarray, contrast: bool = False, inputs: Inputs | None = None
) -> np.ndarray:
    """The pixels to show: the image as computed, or with enhanced contrast.

    Parameters
    ----------
    image : array, (height, width, channels)
    contrast
        Whether to enhance the contrast.
    inputs
        As for `scaled`.

    Returns
    -------
    array in [0, 1]
        Three channels are colours, (height, width, 3). Any other number of channels is averaged
        to grey, (height, width).

    Examples
    --------
    >>> displayable(np.ones((28, 28, 1))).shape
    (28, 28)
    """
    pixels = enhanced(image, inputs) if contrast else scaled(image, inputs)
    return pixels if pixels.shape[-1] == 3 else pixels.mean(axis=-1)


def on_one_scale(images: np.ndarray, like: np.ndarray, inputs: Inputs | None = None) -> np.ndarray:
    """Images that turn into one another, as pictures that don't flicker: uint8 of the same shape.

    Parameters
    ----------
    images : array, (n, height, width, channels)
    like : array, (height, width, channels)
        The image whose scale all have. What is farther from the middle is cut off.
    inputs
        As for `scaled`.

    Examples
    --------
    >>> on_one_scale(np.array([[-1.0, 0.0], [1.0, 8.0]]), np.array([-2.0, 1.0])).tolist()
    [[64, 128], [191, 255]]
    """
    if inputs is None or inputs.is_standardized:
        images = np.clip(images / max(float(np.abs(like).max()), 1e-12), -1, 1)
        inputs = Inputs(-1, 1)
    return np.round(255 * scaled(images, inputs)).astype(np.uint8)


def in_bytes(image: np.ndarray, inputs: Inputs | None = None) -> np.ndarray:
    """An image on the way of an ascent as it is stored: uint8 of the same shape.

    A range of pixels is drawn back to 0 to 255. Of a standardized image the smallest value
    becomes 0 and the largest 255; `from_bytes` undoes that.

    Examples
    --------
    >>> in_bytes(np.array([-1.0, 0.2, 1.0])).tolist()
    [0, 153, 255]
    """
    if inputs is not None and not inputs.is_standardized:
        return np.round(255 * scaled(image, inputs)).astype(np.uint8)
    low, high = float(image.min()), float(image.max())
    return np.round(255 * ((image - low) / max(high - low, 1e-12))).astype(np.uint8)


def from_bytes(pictures: np.ndarray, inputs: Inputs) -> np.ndarray:
    """Images on the way of an ascent, from how `in_bytes` stored them, but for the rounding.

    A standardized image has mean 0 and standard deviation 1, which says what its smallest and
    its largest value were.

    Parameters
    ----------
    pictures : uint8, (n, height, width, channels)
    inputs
        What the network takes.

    Returns
    -------
    float32, same shape

    Examples
    --------
    >>> image = np.array([-1.0, 1.0, -1.0, 1.0]).reshape(1, 2, 2, 1)
    >>> from_bytes(in_bytes(image), Inputs()).ravel().tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """
    values = pictures.astype(np.float32)
    if not inputs.is_standardized:
        bottom, top = (np.array(limit, np.float32) for limit in inputs.limits())
        return np.asarray(bottom + values / 255 * (top - bottom), np.float32)
    axes = tuple(range(1, values.ndim))
    values -= values.mean(axis=axes, keepdims=True)
    return np.asarray(values / np.maximum(values.std(axis=axes, keepdims=True), 1e-6))


def png(
    image: np.ndarray, contrast: bool = False, zoom: int = 1, inputs: Inputs | None = None
) -> bytes:
    """An image as a PNG; each of its pixels becomes a square of `zoom` by `zoom` pixels.

    Examples
    --------
    >>> png(np.eye(3)[..., None], zoom=2)[:4]
    b'\\x89PNG'
    """
    from PIL import Image

    picture = Image.fromarray(_pixels(image, contrast, inputs))
    if zoom > 1:
        picture = picture.resize(
            (picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST
        )
    buffer = io.BytesIO()
    picture.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def data_uri(image: np.ndarray, contrast: bool = False, inputs: Inputs | None = None) -> str:
    """An image as a ``data:`` address, which holds it as a WebP of the same size, without loss.

    Examples
    --------
    >>> data_uri(np.eye(3)[..., None])[:23]
    'data:image/webp;base64,'
    """
    return uri_of(_pixels(image, contrast, inputs))


def uri_of(pixels: np.ndarray, quality: int | None = None) -> str:
    """A picture as a ``data:`` address, which holds what `webp` gives.

    Examples
    --------
    >>> uri_of(np.zeros((28, 28), np.uint8))[:23]
    'data:image/webp;base64,'
    """
    return "data:image/webp;base64," + base64.b64encode(webp(pixels, quality)).decode()


def webp(pixels: np.ndarray, quality: int | None = None) -> bytes:
    """A picture as a WebP, without loss if no quality is asked for: a sixth less than a PNG.

    Parameters
    ----------
    pixels : uint8, (height, width) or (height, width, 3)
    quality
        From 0 to 100.

    Examples
    --------
    >>> webp(np.zeros((28, 28), np.uint8))[8:12]
    b'WEBP'
    """
    from PIL import Image

    buffer = io.BytesIO()
    how = {"lossless": True} if quality is None else {"quality": quality}
    Image.fromarray(pixels).save(buffer, "webp", method=4, **how)
    return buffer.getvalue()


def _pixels(image: np.ndarray, contrast: bool, inputs: Inputs | None) -> np.ndarray:
    return np.round(255 * displayable(image, contrast, inputs)).astype(np.uint8)
