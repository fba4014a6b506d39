"""An ascent by other code: NumPy in double precision, nothing of the engine.

``python benchmarks/plain.py`` makes a sample of the OIPs of ``oip.db`` again by it, from their
starts, and says how many come out the same. `limits.py` puts that on a page of the site.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from oiplib import Study
from oiplib.engine.starts import start_images
from oiplib.values import AscentSpec, stages_of

SAMPLE = 100

# Kernel (rows, columns, channels, maps) and bias of each convolution.
Weights = Sequence[tuple[np.ndarray, np.ndarray]]


def climbed(
    images: np.ndarray, maps: np.ndarray, weights: Weights, stages: Sequence[AscentSpec]
) -> tuple[np.ndarray, np.ndarray]:
    """The articles' ascent on their network: convolutions with ReLU, and 2 x 2 pooling between.

    Parameters
    ----------
    images : array, (n, height, width, 1), standardized
    maps : array of int, (n,)
        Of the last of the convolutions.
    weights
        Of all convolutions up to there.
    stages
        One after the other; without a prior.

    Returns
    -------
    images, losses : arrays, float64, (n, height, width, 1) and (n,)
    """
    images = images.astype(float)
    for stage in stages:
        for epsilon in stage.epsilons:
            before = stage.objective == "pre-activation"
            gradient = _answer(images, maps, weights, before)[1]
            size = np.sqrt((gradient**2).mean(axis=(1, 2, 3), keepdims=True))
            moves = size > 0
            stepped = images + epsilon * gradient / np.where(moves, size, 1)
            images = np.where(moves, _standardized(stepped), images)
    return images, _answer(images, maps, weights, before=False)[0]


def _answer(
    images: np.ndarray, maps: np.ndarray, weights: Weights, before: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The maps' means, before or after their ReLU, and the gradients of these."""
    values, ways_back = images, []
    for kernel, bias in weights[:-1]:
        convolved = _convolved(values, kernel, bias)
        pooled, winners = _pooled(convolved)
        ways_back.append((kernel, values.shape, convolved.shape, winners, pooled > 0))
        values = np.maximum(pooled, 0)
    kernel, bias = weights[-1]
    own = (
        np.einsum("nhwcij,ijcn->nhw", _windows(values), kernel[..., maps]) + bias[maps, None, None]
    )
    losses = (own if before else np.maximum(own, 0)).mean(axis=(1, 2))
    through = (np.ones_like(own) if before else own > 0) / own[0].size
    gradient = np.zeros(values.shape)
    height, width = own.shape[1:]
    for row, column in np.ndindex(3, 3):
        of_maps = kernel[row, column][:, maps].T[:, None, None]
        gradient[:, row : row + height, column : column + width] += through[..., None] * of_maps
    for kernel, shape, convolved, winners, positive in reversed(ways_back):
        of_pooled = gradient * positive
        spread = np.zeros(convolved)
        rows, columns = (2 * size for size in of_pooled.shape[1:3])
        for place in range(4):
            chosen = np.where(winners == place, of_pooled, 0)
            spread[:, place // 2 : rows : 2, place % 2 : columns : 2] = chosen
        gradient = np.zeros(shape)
        for row, column in np.ndindex(3, 3):
            part = gradient[:, row : row + convolved[1], column : column + convolved[2]]
            part += spread @ kernel[row, column].T
    return losses, gradient


def _windows(values: np.ndarray) -> np.ndarray:
    return sliding_window_view(values, (3, 3), axis=(1, 2))


def _convolved(values: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    columns = _windows(values)
    flat = columns.reshape(-1, int(np.prod(columns.shape[3:])))
    by_row = kernel.transpose(2, 0, 1, 3).reshape(flat.shape[1], -1)
    return (flat @ by_row + bias).reshape(*columns.shape[:3], -1)


def _pooled(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest of each 2 x 2, and which it was."""
    rows, columns = (size // 2 * 2 for size in values.shape[1:3])
    places = [values[:, i:rows:2, j:columns:2] for i in (0, 1) for j in (0, 1)]
    return np.maximum.reduce(places), np.argmax(places, axis=0)


def _standardized(images: np.ndarray) -> np.ndarray:
    axes = (1, 2, 3)
    spread = np.maximum(images.std(axis=axes, keepdims=True), images[0].size ** -0.5)
    return (images - images.mean(axis=axes, keepdims=True)) / spread


def made_again(study: Study, n: int = SAMPLE) -> np.ndarray:
    """How far OIPs that other code made again are from the stored ones: (n,).

    The larger of the relative difference of the losses, and of 1 less the images' correlation.
    """
    oips = study.oips()
    drawn = np.random.default_rng(0).permutation(len(oips))[:n]
    names = [row.name for row in study.network.layers if row.name.startswith("Conv2D")]
    until = names[: names.index(study.layer.name) + 1]
    weights = [study.model.get_layer(name).get_weights() for name in until]
    same_climb: dict[tuple[AscentSpec, ...], list[int]] = {}
    for i in drawn.tolist():
        same_climb.setdefault(stages_of(oips[i].spec), []).append(i)
    apart = {}
    for stages, members in same_climb.items():
        starts = [oips[i].start for i in members]
        images = start_images(starts, study.image_shape, study.inputs)
        maps = np.array([oips[i].of_map for i in members])
        ends, losses = climbed(images, maps, weights, stages)
        for i, end, loss in zip(members, ends, losses, strict=True):
            correlation = np.corrcoef(end.ravel(), oips[i].image.ravel())[0, 1]
            apart[i] = max(abs(loss / oips[i].loss - 1), 1 - correlation)
    return np.array([apart[i] for i in drawn.tolist()])


def main() -> None:
    """Make a sample again, and say how many come out the same."""
    apart = made_again(Study(os.environ.get("OIP_DB", "oip.db")))
    for tolerance in (0.01, 0.1):
        print(f"{(apart <= tolerance).sum()} of {len(apart)} within {tolerance:g}")


if __name__ == "__main__":
    main()
