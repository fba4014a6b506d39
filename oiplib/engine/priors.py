"""Priors in an ascent: how an image is moved before its gradient is taken, and what becomes of it.

All chance comes from the number of the start and that of the step, so that an image climbs the
same way whatever else is in its batch. The first and the last step of a climb aren't disturbed:
the losses of the start and of the result are those of the images themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..values.priors import Prior
from .images import Shape
from .tf import tf

# How the colours of photographs hang together: a square root of the covariance of their three
# channels, as measured on ImageNet (Olah, Mordvintsev and Schubert 2017).
_COLOURS = np.array(
    [[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]],
    np.float32,
)

# Columns of a disturbance: rows down, columns right, change of size, angle in degrees.
N_DISTURBANCES = 4


def disturbances(prior: Prior, seeds: np.ndarray, first: int, last: int) -> np.ndarray:
    """How images are moved at each step, drawn for each start and step on its own.

    Parameters
    ----------
    prior
        Bounds of what is drawn.
    seeds : uint64, (n,)
        The number of each start.
    first, last
        Steps of the climb: the first one, and the one after the last.

    Returns
    -------
    array, float32, (last - first, n, 4)
        Rows down, columns to the right (whole pixels), change of size as a share, angle in
        degrees; 0 in step 0.

    Examples
    --------
    >>> moves = disturbances(Prior(jitter=1), np.array([7], np.uint64), 0, 50)
    >>> moves.shape, sorted(set(moves[..., 0].ravel().tolist()))
    ((50, 1, 4), [-1.0, 0.0, 1.0])
    """
    steps = np.arange(first, last, dtype=np.uint64)
    counters = steps[:, None] * np.uint64(N_DISTURBANCES) + np.arange(4, dtype=np.uint64)
    drawn = _uniform(np.asarray(seeds, np.uint64)[None, :, None], counters[:, None, :])
    sides = 2 * prior.jitter + 1
    moves = np.empty(drawn.shape, np.float32)
    moves[..., :2] = np.floor(drawn[..., :2] * sides) - prior.jitter
    moves[..., 2] = (2 * drawn[..., 2] - 1) * prior.scaling
    moves[..., 3] = (2 * drawn[..., 3] - 1) * prior.rotation
    if first == 0:
        moves[0] = 0
    return moves


def moved(images: Any, moves: Any, prior: Prior) -> Any:
    """Images turned and scaled about their middle, then rolled.

    Parameters
    ----------
    images : tensor, (n, height, width, channels)
    moves : tensor, float32, (n, 4)
        As `disturbances` draws them for one step.
    """
    if prior.scaling or prior.rotation:
        images = _warped(images, 1 / (1 + moves[:, 2]), -moves[:, 3])
    return _rolled(images, moves[:, :2]) if prior.jitter else images


def moved_back(gradient: Any, moves: Any, prior: Prior) -> Any:
    """A gradient at `moved` images as one at the images themselves; parameters as there.

    Rolling is undone exactly; turning and scaling but for interpolation.
    """
    if prior.jitter:
        gradient = _rolled(gradient, -moves[:, :2])
    if prior.scaling or prior.rotation:
        gradient = _warped(gradient, 1 + moves[:, 2], moves[:, 3])
    return gradient


class Led:
    """What a prior makes of gradients, for images of one shape.

    Parameters
    ----------
    prior
        The prior.
    shape
        Height, width and channels of the images.

    Raises
    ------
    InputError
        If the prior asks for colours and the images have none.
    """

    def __init__(self, prior: Prior, shape: Shape) -> None:
        if prior.colours and shape[-1] != 3:
            raise InputError(
                f"the prior colours needs images with 3 channels, and these have {shape[-1]}: "
                "leave it out"
            )
        self.prior, self.shape = prior, shape
        self.filter = spectrum_filter(prior.smooth, *shape[:2])

    def gradient(self, gradient: Any) -> Any:
        """The gradient with the prior's spectrum and colours, before it is normalized."""
        if self.prior.smooth:
            gradient = _filtered(gradient, self.filter)
        if self.prior.colours:
            gradient = gradient @ tf.constant(_COLOURS @ _COLOURS.T)
        return gradient

    def costs(self, images: Any) -> Any:
        """Gradient of what images cost, by their weights; 0 where nothing does.

        Parameters
        ----------
        images : tensor, (n, height, width, channels)
            With the middle of the inputs as 0 and a quarter of their range as 1.
        """
        total: Any = 0.0
        if self.prior.l2:
            total += self.prior.l2 * images
        if self.prior.variation:
            total += self.prior.variation * _variation_gradient(images)
        return total


def spectrum_filter(p: float, height: int, width: int) -> np.ndarray:
    """1/f^p for each frequency of a real Fourier transform; f in cycles per pixel.

    Below one cycle in the longer side, f counts as that one.

    Returns
    -------
    array, float32, (height, width // 2 + 1)

    Examples
    --------
    >>> spectrum_filter(1, 4, 4).round(2).tolist()[0]
    [4.0, 4.0, 2.0]
    """
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    frequency = np.maximum(np.hypot(rows, columns), 1 / max(height, width))
    return np.asarray(frequency**-p, np.float32)


def _filtered(gradient: Any, spectrum: np.ndarray) -> Any:
    height, width = gradient.shape[1:3]
    planes = tf.transpose(gradient, (0, 3, 1, 2))
    transformed = tf.signal.rfft2d(planes) * tf.cast(spectrum, tf.complex64)
    planes = tf.signal.irfft2d(transformed, fft_length=(height, width))
    return tf.transpose(planes, (0, 2, 3, 1))


def _variation_gradient(images: Any) -> Any:
    """Gradient of the sum of the distances between neighbouring pixels, rounded at 0.

    Each distance is the square root of the squared differences down and to the right, plus a
    little, so that equal neighbours have a gradient.
    """
    below = tf.concat([images[:, 1:] - images[:, :-1], tf.zeros_like(images[:, :1])], axis=1)
    right = tf.concat([images[:, :, 1:] - images[:, :, :-1], 0 * images[:, :, :1]], axis=2)
    distance = tf.sqrt(below**2 + right**2 + 1e-4)
    down, aside = below / distance, right / distance
    from_above = tf.pad(down[:, :-1], [[0, 0], [1, 0], [0, 0], [0, 0]])
    from_left = tf.pad(aside[:, :, :-1], [[0, 0], [0, 0], [1, 0], [0, 0]])
    return from_above + from_left - down - aside


def _rolled(images: Any, shifts: Any) -> Any:
    """Each image rolled by its own whole numbers of rows and columns, (n, 2)."""
    _, height, width, _ = images.shape
    shifts = tf.cast(shifts, tf.int32)
    rows = (tf.range(height)[None] - shifts[:, :1]) % height
    columns = (tf.range(width)[None] - shifts[:, 1:]) % width
    images = tf.gather(images, rows, axis=1, batch_dims=1)
    return tf.gather(images, columns, axis=2, batch_dims=1)


def _warped(images: Any, sizes: Any, degrees: Any) -> Any:
    """Each image sampled on a grid that is scaled and turned about the middle, edges mirrored."""
    _, height, width, _ = images.shape
    angle = degrees * (np.pi / 180)
    a, b = sizes * tf.cos(angle), sizes * tf.sin(angle)
    x, y = (width - 1) / 2, (height - 1) / 2
    zero = tf.zeros_like(a)
    # Output point (x, y) takes the input's (a x - b y + c, b x + a y + d).
    transforms = [a, -b, x - a * x + b * y, b, a, y - b * x - a * y, zero, zero]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack(transforms, axis=1),
        output_shape=(height, width),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


def _uniform(seeds: np.ndarray, counters: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1), each from a seed and a counter alone (SplitMix64, Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        bits = seeds + (counters + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits = bits ^ (bits >> np.uint64(31))
    return (bits >> np.uint64(11)) * 2.0**-53
