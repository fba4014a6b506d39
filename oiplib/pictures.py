"""How an image is shown: its pixels as grey values or colours, and as a PNG."""

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
        1. A standardized image, the default, has none: its smallest value becomes 0, its
        largest 1.

    Examples
    --------
    >>> scaled(np.array([-1.0, 0.0, 1.0])).tolist()
    [0.0, 0.5, 1.0]
    >>> scaled(np.array([[[51.0]]]), Inputs(0, 255)).tolist()
    [[[0.2]]]
    """
    if inputs is not None and not inputs.is_standardized:
        bottom, top = (np.array(limit) for limit in inputs.limits())
        return np.clip((image - bottom) / (top - bottom), 0, 1)
    low, high = float(image.min()), float(image.max())
    return (image - low) / max(high - low, 1e-12)


def enhanced(image: np.ndarray, share: float = 0.02) -> np.ndarray:
    """An image with its contrast enhanced, as the articles show OIPs a second time.

    Parameters
    ----------
    image : array, (height, width, channels)
    share
        The share of the darkest values that become 0, and of the brightest that become 1.

    Returns
    -------
    array, same shape, in [0, 1]

    Examples
    --------
    >>> enhanced(np.arange(5.0), share=0.25).tolist()
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    low, high = np.quantile(image, [share, 1 - share])
    return np.clip((image - low) / max(high - low, 1e-12), 0, 1)


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
    if contrast:
        pixels = enhanced(image if inputs is None else scaled(image, inputs))
    else:
        pixels = scaled(image, inputs)
    return pixels if pixels.shape[-1] == 3 else pixels.mean(axis=-1)


def in_bytes(image: np.ndarray, inputs: Inputs | None = None) -> np.ndarray:
    """An image as computed, as uint8 of the same shape: `scaled` from 0 to 255.

    Examples
    --------
    >>> in_bytes(np.array([-1.0, 0.2, 1.0])).tolist()
    [0, 153, 255]
    """
    return np.round(255 * scaled(image, inputs)).astype(np.uint8)


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

    pixels = np.round(255 * displayable(image, contrast, inputs)).astype(np.uint8)
    picture = Image.fromarray(pixels)
    if zoom > 1:
        picture = picture.resize(
            (picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST
        )
    buffer = io.BytesIO()
    picture.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def data_uri(image: np.ndarray, contrast: bool = False, inputs: Inputs | None = None) -> str:
    """An image as a ``data:`` address, which holds it as a PNG of the same size.

    Examples
    --------
    >>> data_uri(np.eye(3)[..., None])[:22]
    'data:image/png;base64,'
    """
    return "data:image/png;base64," + base64.b64encode(png(image, contrast, inputs=inputs)).decode()
