"""Repetition: does a pattern stand in its image a second time, how far away, how long its waves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from ..errors import InputError
from .similarity import padded_size, spectra_of


@dataclass(frozen=True)
class Repetitions:
    """How much patterns repeat within their images, beside random images as coarse as these.

    Attributes
    ----------
    peaks, shifts : arrays, (n,) and (n, 2)
        `repetition` of each image.
    null : float32, (n_nulls n,), in [0, 1]
        The peaks of the random images.
    threshold : float
        The value that a share of the null stays below.
    repeats : bool, (n,)
        Whose peak is above the threshold.
    distances : float, (n,)
        Length of each image's shift in pixels; 0 without a peak.
    on_grid : bool, (n,)
        Whose shift is a whole multiple of the layer's stride, in rows and in columns.
    null_on_grid : float, in [0, 1]
        Share of the random images with such a shift; NaN if none of them has a peak.
    """

    peaks: np.ndarray
    shifts: np.ndarray
    null: np.ndarray
    threshold: float
    repeats: np.ndarray
    distances: np.ndarray
    on_grid: np.ndarray
    null_on_grid: float

    @property
    def share(self) -> float:
        """Share of the images that repeat, in [0, 1]."""
        return float(self.repeats.mean())

    @property
    def repeats_on_grid(self) -> float:
        """Share of those that repeat whose shift is on the grid; NaN if none repeats."""
        return _share(self.on_grid, self.repeats)


def repetition_against_null(
    images: np.ndarray, stride: int, n_nulls: int = 20, quantile: float = 0.95
) -> Repetitions:
    """Which patterns repeat more than random images of the same coarseness do, and how far away.

    Random images have peaks, too, and the higher the narrower the range of their wavelengths.
    So the null is `equally_coarse`.

    Parameters
    ----------
    images : array, (n, height, width, channels), n of 1 or more
    stride
        How many pixels apart two neighbouring positions of the layer look.
    n_nulls
        Random images for each image, 1 or more; their seeds are 0 to n_nulls - 1.
    quantile
        Share of the random images whose peak stays below the threshold.

    Raises
    ------
    InputError
        If there is no image.
    """
    if not len(images):
        raise InputError("there is no image to measure")
    peaks, shifts = repetition(images)
    nulls = [repetition(equally_coarse(images, seed)) for seed in range(n_nulls)]
    null, null_shifts = (np.concatenate(parts) for parts in zip(*nulls, strict=True))
    threshold = float(np.quantile(null, quantile))
    return Repetitions(
        peaks,
        shifts,
        null,
        threshold,
        repeats=peaks > threshold,
        distances=np.hypot(*shifts.T),
        on_grid=_on_grid(peaks, shifts, stride),
        null_on_grid=_share(_on_grid(null, null_shifts, stride), null > 0),
    )


def repetition(images: np.ndarray, least: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """How much of each image's pattern stands in it a second time, and how far away.

    The image is correlated with itself, moved. Each shift's value is divided by the norms of
    the two parts that lie upon each other, so that it is 1 where the pattern repeats
    perfectly, whatever is cut off. The value at a shift counts if it is larger than at all
    eight neighbours, if at least a quarter of the image lies upon itself, and if every way from
    there to no shift at all leads through less than half of it: a line that is moved along
    itself is no repetition.

    Parameters
    ----------
    images : array, (n, height, width, channels)
    least
        Smallest shift that counts, in pixels.

    Returns
    -------
    peaks : array, float32, (n,), in [0, 1]
        The largest such value; 0 where there is none.
    shifts : array of int, (n, 2)
        Rows (0 or more) and columns (0 or more, where there are no rows) of that shift.
    """
    n, height, width, _ = images.shape
    size = padded_size(images)
    centred = images - images.mean(axis=(1, 2, 3), keepdims=True)

    def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        first, second = (fft.rfft2(x, size, axes=(1, 2), workers=-1) for x in (a, b))
        product = (first * second.conj()).sum(axis=-1)
        return np.asarray(fft.irfft2(product, size, axes=(1, 2), workers=-1))

    energy, ones = np.square(centred), np.ones_like(centred)
    shared = correlation(energy, ones) * correlation(ones, energy)
    values = correlation(centred, centred) / np.sqrt(np.maximum(shared, 1e-12))
    # The lower half of the shifts: the upper one is its mirror image.
    values = np.roll(values, width - 1, axis=2)[:, :height, : 2 * width - 1]
    rows, columns = np.meshgrid(np.arange(height), np.arange(1 - width, width), indexing="ij")
    overlap = (height - rows) * (width - np.abs(columns)) / (height * width)
    allowed = (overlap >= 0.25) & (np.hypot(rows, columns) >= least)
    # Row 0 has the mirrored row 1 above it.
    whole = np.concatenate([values[:, 1:2, ::-1], values], axis=1)
    around = ndimage.maximum_filter(whole, (0, 3, 3), mode="constant", cval=-1)[:, 1:]
    peaks, shifts = np.zeros(n, np.float32), np.zeros((n, 2), int)
    for i in range(n):
        higher = np.flatnonzero(allowed & (values[i] >= around[i]) & (values[i] > 0))
        for place in higher[np.argsort(-values[i].ravel()[higher])]:
            y, x = np.unravel_index(place, values[i].shape)
            regions, _ = ndimage.label(whole[i] > values[i, y, x] / 2)
            if regions[y + 1, x] != regions[1, width - 1]:
                right = columns[y, x]
                peaks[i], shifts[i] = min(values[i, y, x], 1), (y, right if y else abs(right))
                break
    return peaks, shifts


def _on_grid(peaks: np.ndarray, shifts: np.ndarray, stride: int) -> np.ndarray:
    """Whose shift is a whole multiple of the stride; an image without a peak has no shift."""
    return np.asarray((peaks > 0) & (shifts % stride == 0).all(axis=1))


def _share(which: np.ndarray, among: np.ndarray) -> float:
    return float(which[among].mean()) if among.any() else float("nan")


def equally_coarse(images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Random images as coarse as some others: a null for `repetition`.

    Each has the power spectrum of its model, averaged over all directions, and random phases:
    light and dark change over the same distances, but nothing is there twice by intent.

    Parameters
    ----------
    images : array, (n, height, width, channels)

    Returns
    -------
    array, float32, same shape
    """
    rng = np.random.default_rng(seed)
    size = padded_size(images)
    power = np.square(np.abs(spectra_of(images).values))
    fy, fx = np.meshgrid(fft.fftfreq(size[0]), fft.rfftfreq(size[1]), indexing="ij")
    ring = np.round(np.hypot(fy, fx) * max(size)).astype(int)
    counts = np.bincount(ring.ravel())
    out = np.empty(images.shape, np.float32)
    for i, one in enumerate(power):
        noise = fft.rfft2(rng.normal(size=(*size, images.shape[-1])), axes=(0, 1))
        for c in range(images.shape[-1]):
            mean = np.bincount(ring.ravel(), one[..., c].ravel()) / np.maximum(counts, 1)
            noise[..., c] *= np.sqrt(mean[ring])
        whole = fft.irfft2(noise, size, axes=(0, 1))
        out[i] = whole[: images.shape[1], : images.shape[2]]
    return out


def wavelength(images: np.ndarray) -> np.ndarray:
    """The mean length of a pattern's waves, from the centre of its spectrum.

    Channels are averaged first. Each frequency counts by its power, so that brightness and
    contrast don't matter.

    Parameters
    ----------
    images : array, (n, height, width, channels)

    Returns
    -------
    array, (n,)
        In pixels; NaN for an image of one colour, which has no waves.

    Examples
    --------
    >>> rows = np.sin(2 * np.pi * np.arange(28) / 7)
    >>> wavelength(np.broadcast_to(rows[:, None, None], (1, 28, 28, 1))).round(6)
    array([7.])
    """
    grey = images.mean(axis=-1)
    power = np.abs(np.fft.fft2(grey)) ** 2
    power[:, 0, 0] = 0
    fy, fx = np.meshgrid(*(np.fft.fftfreq(side) for side in grey.shape[1:]), indexing="ij")
    flat = grey.max(axis=(1, 2)) == grey.min(axis=(1, 2))
    centre = (power * np.hypot(fy, fx)).sum(axis=(1, 2))
    # Rounding leaves a trace of power in a flat image.
    return np.where(flat, np.nan, power.sum(axis=(1, 2)) / np.where(flat, 1, centre))
