"""How an image is shown: its pixels as grey values or colours, and as a PNG."""

from __future__ import annotations

import base64
import io

import numpy as np


def scaled(image: np.ndarray) -> np.ndarray:
    """An image as computed, its values stretched to [0, 1]: smallest to 0, largest to 1.

    Examples
    --------
    >>> scaled(np.array([-1.0, 0.0, 1.0])).tolist()
    [0.0, 0.5, 1.0]
    """
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


def displayable(image: np.ndarray, contrast: bool = False) -> np.ndarray:
    """The pixels to show: the image as computed, or with enhanced contrast.

    Parameters
    ----------
    image : array, (height, width, channels)
    contrast
        Whether to enhance the contrast.

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
    pixels = enhanced(image) if contrast else scaled(image)
    return pixels if pixels.shape[-1] == 3 else pixels.mean(axis=-1)


def in_bytes(image: np.ndarray) -> np.ndarray:
    """An image as computed, as uint8 of the same shape: darkest value 0, brightest 255.

    Examples
    --------
    >>> in_bytes(np.array([-1.0, 0.2, 1.0])).tolist()
    [0, 153, 255]
    """
    return np.round(255 * scaled(image)).astype(np.uint8)


def png(image: np.ndarray, contrast: bool = False, zoom: int = 1) -> bytes:
    """An image as a PNG; each of its pixels becomes a square of `zoom` by `zoom` pixels.

    Examples
    --------
    >>> png(np.eye(3)[..., None], zoom=2)[:4]
    b'\\x89PNG'
    """
    from PIL import Image

    pixels = np.round(255 * displayable(image, contrast)).astype(np.uint8)
    picture = Image.fromarray(pixels)
    if zoom > 1:
        picture = picture.resize(
            (picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST
        )
    buffer = io.BytesIO()
    picture.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def data_uri(image: np.ndarray, contrast: bool = False) -> str:
    """An image as a ``data:`` address, which holds it as a PNG of the same size.

    Examples
    --------
    >>> data_uri(np.eye(3)[..., None])[:22]
    'data:image/png;base64,'
    """
    return "data:image/png;base64," + base64.b64encode(png(image, contrast)).decode()
