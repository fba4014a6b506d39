"""How an image is shown: its pixels as grey values or colours, and as a PNG."""

from __future__ import annotations

import base64
import io

import numpy as np


def scaled(image: np.ndarray) -> np.ndarray:
    """An image as computed: its values from smallest to largest, as [0, 1]."""
    low, high = float(image.min()), float(image.max())
    return (image - low) / max(high - low, 1e-12)


def enhanced(image: np.ndarray, share: float = 0.02) -> np.ndarray:
    """An image with its contrast enhanced, as the articles show OIPs a second time.

    Parameters
    ----------
    image : array, (height, width, channels)
    share
        Which share of the darkest and of the brightest values is clipped.

    Returns
    -------
    array, same shape, in [0, 1]
    """
    low, high = np.quantile(image, [share, 1 - share])
    return np.clip((image - low) / max(high - low, 1e-12), 0, 1)


def displayable(image: np.ndarray, contrast: bool = False) -> np.ndarray:
    """What is shown of an image: as computed, or with enhanced contrast.

    Returns
    -------
    array in [0, 1]
        Colours as (height, width, 3), all else as grey (height, width): other numbers of
        channels are averaged.
    """
    pixels = enhanced(image) if contrast else scaled(image)
    return pixels if pixels.shape[-1] == 3 else pixels.mean(axis=-1)


def in_bytes(image: np.ndarray) -> np.ndarray:
    """An image as computed, its darkest value as 0 and its brightest as 255; same shape."""
    return np.round(255 * scaled(image)).astype(np.uint8)


def png(image: np.ndarray, contrast: bool = False, zoom: int = 1) -> bytes:
    """An image as a PNG, `zoom` pixels wide and high for each of its own."""
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
    """An image as a ``data:`` address of a PNG, one pixel a pixel."""
    return "data:image/png;base64," + base64.b64encode(png(image, contrast)).decode()
