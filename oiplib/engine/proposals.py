"""What images a network takes, as far as its own first layers tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..values.inputs import Inputs
from .nested import flat
from .tf import keras

# What one or several layers do to a pixel: output = scale * pixel + offset, per channel or for all.
Affine = tuple[np.ndarray, np.ndarray]

# Layers that don't change pixels at test time, or only take others of the same size.
_NEUTRAL = {
    *("AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout2D"),
    *("Identity", "Cast", "Resizing", "CenterCrop", "AugMix", "CutMix", "MixUp", "RandAugment"),
}

# What pixels are brought to; the first three by a rescaling of usual pixels.
_TARGETS = ((0.0, 1.0), (-1.0, 1.0), (-0.5, 0.5), (0.0, 255.0))


def proposed_inputs(model: Any) -> Inputs | None:
    """The range of pixels that a model's first layers are made for; None if nothing tells.

    A rescaling tells which pixels it brings to 0..1 or -1..1. A normalization tells it by the size
    of its means and deviations: a mean of 120 is one of pixels in 0..255.

    Parameters
    ----------
    model : keras.Model
        A model with a graph and one image as its input.

    Examples
    --------
    >>> image = keras.Input((8, 8, 3))
    >>> str(proposed_inputs(keras.Model(image, keras.layers.Rescaling(1 / 127.5, -1)(image))))
    '0..255'
    >>> proposed_inputs(keras.Model(image, keras.layers.Conv2D(2, 3)(image))) is None
    True
    """
    steps = list(_first_steps(flat(model)[0]))
    for of_usual_pixels in (True, False):
        for scale, offset in reversed(steps):  # x / 127.5 - 1 means more than x / 127.5
            found = _brought_to_a_target(scale, offset, of_usual_pixels)
            if found is not None:
                return found
    return _of_mean_and_deviation(*steps[-1]) if steps else None


def _first_steps(model: Any) -> Iterator[Affine]:
    """What the first layers do to a pixel together, after each layer that does something."""
    scale, offset = np.ones(1), np.zeros(1)
    tensor = model.inputs[0]
    while True:
        readers = _readers(model, [tensor])
        if readers and all(_kind(node) == "GetItem" for node in readers):
            # Channels are taken one by one and stacked in another order: RGB to BGR.
            stacks = _readers(model, [node.outputs[0] for node in readers])
            if {_kind(node) for node in stacks} == {"Stack"}:
                readers = stacks
        step = _step(readers[0], tensor) if len(readers) == 1 else None
        if step is None:
            return
        if step is not _NOTHING:
            scale, offset = scale * step[0], offset * step[0] + step[1]
            yield scale, offset
        tensor = readers[0].outputs[0]


def _readers(model: Any, tensors: list[Any]) -> list[Any]:
    """All places of a model that take one of these tensors."""
    operations = getattr(model, "operations", model.layers)  # a sequential model has layers only
    ids = {id(tensor) for tensor in tensors}
    nodes = [node for operation in operations for node in operation._inbound_nodes]
    return [node for node in nodes if any(id(each) in ids for each in node.input_tensors)]


def _kind(node: Any) -> str:
    return type(node.operation).__name__


_NOTHING: Affine = (np.ones(1), np.zeros(1))


def _step(node: Any, tensor: Any) -> Affine | None:
    """What a layer does to a pixel of a tensor, if it is affine."""
    layer, kind, n_channels = node.operation, _kind(node), tensor.shape[-1]
    if kind in _NEUTRAL or kind.startswith("Random"):
        return _NOTHING
    if isinstance(layer, keras.layers.Rescaling):
        return _per_channel(layer.scale, n_channels), _per_channel(layer.offset, n_channels)
    if isinstance(layer, keras.layers.Normalization) and not layer.invert:
        deviation = np.maximum(np.sqrt(_per_channel(layer.variance, n_channels)), 1e-7)
        return 1 / deviation, -_per_channel(layer.mean, n_channels) / deviation
    if kind in ("GetItem", "Stack"):  # RGB to BGR, or the like
        return _NOTHING if node.outputs[0].shape == tensor.shape else None
    values = node.arguments.args[1:]
    if isinstance(layer, keras.layers.Layer) or len(values) != 1 or len(node.input_tensors) != 1:
        return None
    try:
        value = _per_channel(values[0], n_channels)
    except (TypeError, ValueError):
        return None
    steps: dict[str, Affine] = {
        "Add": (np.ones(1), value),
        "Subtract": (np.ones(1), -value),
        "Multiply": (value, np.zeros(1)),
    }
    if "Divide" in kind and value.all():
        return 1 / value, np.zeros(1)
    return steps.get(kind)


def _per_channel(values: Any, n_channels: int) -> np.ndarray:
    """Numbers as (1,) or (channels,); of numbers per position, their mean."""
    array = np.asarray(values, np.float64).ravel()
    return array if array.size in (1, n_channels) else array.mean(keepdims=True)


def _brought_to_a_target(
    scale: np.ndarray, offset: np.ndarray, of_usual_pixels: bool
) -> Inputs | None:
    """The pixels that become 0..1, say: 0..1, 0..255 and -1..1, or 0..anything."""
    if np.ptp(scale) or np.ptp(offset) or not scale[0] or (scale[0] == 1 and not offset[0]):
        return None
    for bottom, top in _TARGETS:
        low, high = sorted((end - offset[0]) / scale[0] for end in (bottom, top))
        if abs(low) < 0.01 * high:
            low = 0.0
        if of_usual_pixels:
            for usual in ((0, 1), (0, 255), (-1, 1)):
                if np.allclose((low, high), usual, rtol=0.01) and usual != (bottom, top):
                    return Inputs(*usual)
        elif low == 0 and high >= 1 and top <= 1:
            return Inputs(0, float(f"{high:.4g}"))
    return None


def _of_mean_and_deviation(scale: np.ndarray, offset: np.ndarray) -> Inputs | None:
    """The range in which pixels have the mean and deviation that are taken from them."""
    if not scale.all() or not offset.any():
        return None
    mean, deviation = -offset / scale, np.abs(1 / scale)
    if (np.abs(mean) < 0.05).all() and (np.abs(deviation - 1) < 0.1).all():
        return None  # standardized before, or never adapted
    # Half of the range is the largest deviation that there can be.
    for low, high in ((0, 1), (0, 255), (-1, 1)):
        largest = 0.55 * (high - low)
        if (mean >= low).all() and (mean <= high).all() and (deviation <= largest).all():
            return Inputs(low, high)
    return None
