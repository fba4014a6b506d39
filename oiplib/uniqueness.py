"""How alike OIPs are, wherever in the image their pattern stands."""

from __future__ import annotations

import numpy as np
from scipy import fft


def similarities(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The largest normalized cross-correlation of each image of `a` with each of `b`.

    One image is moved over the other, zeros around both; the sum of products is divided by the
    two images' norms. So a moved copy is the more alike the less of it is cut off, brightness
    and contrast don't matter, and a negative is not alike.

    Parameters
    ----------
    a : array, (n, height, width, channels)
    b : array, (m, height, width, channels)

    Returns
    -------
    array, float32, (n, m), in [0, 1]
    """
    size = tuple(fft.next_fast_len(2 * side - 1, real=True) for side in a.shape[1:3])
    first, second = (_spectra(images, size) for images in (a, b))
    found = np.empty((len(a), len(b)), np.float32)
    for i, spectrum in enumerate(first):
        product = (spectrum * second.conj()).sum(axis=-1)
        found[i] = fft.irfft2(product, size, axes=(1, 2), workers=-1).max(axis=(1, 2))
    return np.clip(found, 0, 1)


def _spectra(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Fourier transforms of the images with mean 0 and norm 1, padded by zeros."""
    each = (1, 2, 3)
    centred = images - images.mean(axis=each, keepdims=True)
    norm = np.sqrt(np.square(centred).sum(axis=each, keepdims=True))
    scaled = (centred / np.maximum(norm, 1e-12)).astype(np.float32)
    return np.asarray(fft.rfft2(scaled, size, axes=(1, 2), workers=-1))
