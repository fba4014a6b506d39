"""Responses of several layers at once, by the model as Keras runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .nested import flat, layer_outputs
from .tf import keras, tf

# So many numbers may all layers' outputs for a batch be, at most: 256 MB.
_MOST_NUMBERS = 2**26


def responses(
    model: Any, layers: Sequence[str], images: np.ndarray, batch_size: int | None = None
) -> dict[str, np.ndarray]:
    """How all maps of some layers respond to images, in one pass.

    Nothing is left out or reordered for speed. So this is an independent check of what
    `LayerMaps` computes; the two agree within rounding.

    Parameters
    ----------
    model : keras.Model
    layers
        Names of layers whose outputs are (n, height, width, maps) or (n, units). Of a layer that
        ends in a softmax, the response is what goes into the softmax.
    images : array, (n, height, width, channels)
    batch_size
        Images per forward pass; by default 256, and fewer where they would need much memory.

    Returns
    -------
    dict
        Name of a layer -> float32, (2, n, maps): the responses, and the means of the
        activations' absolute values, against which rounding is to be judged.
    """
    values_of = _values(model, layers)

    def means(batch: Any) -> dict[str, Any]:
        return {
            name: tf.stack(
                [
                    tf.reduce_mean(of, axis=list(range(1, len(value.shape) - 1)))
                    for of in (value, tf.abs(value))
                ]
            )
            for name, value in values_of(batch).items()
        }

    parts = list(_by_batch(means, images, batch_size or _batch_size(model)))
    return {
        name: np.concatenate([part[name][:, :n] for n, part in parts], axis=1) for name in layers
    }


def activations(
    model: Any, layers: Sequence[str], images: np.ndarray, batch_size: int | None = None
) -> dict[str, np.ndarray]:
    """The activations of some layers for images, position by position; otherwise as `responses`.

    Returns
    -------
    dict
        Name of a layer -> float32, (n, height, width, maps) or (n, units).
    """
    parts = list(_by_batch(_values(model, layers), images, batch_size or _batch_size(model)))
    return {name: np.concatenate([part[name][:n] for n, part in parts]) for name in layers}


def _values(model: Any, layers: Sequence[str]) -> Callable[[Any], dict[str, Any]]:
    """A function from a batch of images to the layers' activations, as tensors."""
    model, names = flat(model)
    ends = {name: _without_softmax(model.get_layer(names[name])) for name in layers}
    until = keras.Model(model.inputs[0], {name: tensor for name, (tensor, _) in ends.items()})

    def values(batch: Any) -> dict[str, Any]:
        tensors = until(batch, training=False)
        return {name: rest(tensors[name]) for name, (_, rest) in ends.items()}

    return values


def _without_softmax(layer: Any) -> tuple[Any, Callable[[Any], Any]]:
    """A Keras tensor, and what makes of it the layer's output, but for a softmax at its end."""
    if isinstance(layer, keras.layers.Softmax):
        return layer.input, tf.identity
    if getattr(layer, "activation", None) is not keras.activations.softmax:
        return layer.output, tf.identity
    if isinstance(layer, keras.layers.Activation):
        return layer.input, tf.identity
    linear_layer = type(layer).from_config({**layer.get_config(), "activation": "linear"})
    linear_layer.build(layer.input.shape)
    linear_layer.set_weights(layer.get_weights())
    return layer.input, linear_layer


def _by_batch(
    function: Callable[[Any], dict[str, Any]], images: np.ndarray, batch_size: int
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """What a function makes of the images, batch by batch: how many of them count, and arrays."""
    compiled = tf.function(function, autograph=False)
    for first in range(0, max(1, len(images)), batch_size):
        indices = np.arange(first, min(first + batch_size, len(images)))
        # Batches are filled up, so that the function is traced once.
        batch = images[np.resize(indices, batch_size)] if len(images) else images
        arrays = compiled(tf.constant(batch, tf.float32))
        yield len(indices), {name: values.numpy() for name, values in arrays.items()}


def _batch_size(model: Any) -> int:
    shapes = [getattr(output, "shape", ()) for output in layer_outputs(model).values()]
    n_numbers = sum(int(np.prod([side or 1 for side in shape[1:]])) for shape in shapes)
    return int(np.clip(_MOST_NUMBERS // max(1, n_numbers), 1, 256))
