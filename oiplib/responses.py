"""How strongly the maps of a layer respond to images.

The response of a map (the articles' *loss*) is the mean of its activation over its positions.
One forward pass answers for all maps of the layer at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._tf import keras, tf
from .errors import InputError
from .images import Shape
from .progress import SILENT


class LayerMaps:
    """The maps of one layer of a model, as a function from images to responses.

    Works for any Keras model with one image input and a layer whose output is
    (n, height, width, maps) or (n, units). The model runs as at test time: dropout is off,
    batch normalization uses its averages.

    Parameters
    ----------
    model : keras.Model
    layer : str
        Name of the layer; for an activation that is a layer of its own, name that one.

    Attributes
    ----------
    n_maps : int
    image_shape : (height, width, channels)
    silent_is_dead : bool
        Whether a response of exactly 0 implies a gradient of exactly 0, so that the plain
        ascent can never move such a start (true for ReLU).

    Raises
    ------
    InputError
        If the layer doesn't exist or has no maps, or the model's input isn't one image of
        known size.
    """

    def __init__(self, model: Any, layer: str) -> None:
        self.model, self.layer = model, layer
        self.image_shape = image_shape(model)
        known = map_layers(model)
        if layer not in known:
            raise InputError(f"unknown layer {layer!r}: choose one of {', '.join(known)}")
        self.n_maps = known[layer][-1]
        chosen = model.get_layer(layer)
        self.silent_is_dead = _is_relu(chosen)
        self._until_layer = keras.Model(model.inputs, chosen.output)
        images = tf.TensorSpec((None, *self.image_shape), tf.float32)
        #: Functions compiled for this layer, so that they are traced once.
        self.compiled = {"responses": tf.function(self.traced, input_signature=[images])}

    def traced(self, images: Any) -> Any:
        """Responses as a tensor (n, maps), for use inside other compiled functions."""
        activations = self._until_layer(images, training=False)
        positions = range(1, len(activations.shape) - 1)
        return tf.reduce_mean(activations, axis=list(positions))

    def __call__(
        self, images: np.ndarray, batch_size: int = 256, progress: Any = SILENT
    ) -> np.ndarray:
        """Responses of all maps to some images.

        Parameters
        ----------
        images : array, (n, height, width, channels), standardized
        batch_size
            Images per forward pass.
        progress
            A progress bar that counts images.

        Returns
        -------
        array, float32, (n, maps)
        """
        check_images(images, self.image_shape)
        out = np.empty((len(images), self.n_maps), np.float32)
        for first in range(0, len(images), batch_size):
            batch = images[first : first + batch_size]
            out[first : first + len(batch)] = self.compiled["responses"](batch)
            progress.update(len(batch))
        return out


def map_layers(model: Any) -> dict[str, tuple[int, ...]]:
    """The layers that have maps, from the input on: name -> (height, width, maps) or (units,)."""
    shapes = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer) or not hasattr(layer, "output"):
            continue
        shape = getattr(layer.output, "shape", ())
        if len(shape) in (2, 4) and None not in shape[1:]:
            shapes[layer.name] = tuple(int(side) for side in shape[1:])
    return shapes


def image_shape(model: Any) -> Shape:
    """Height, width and channels of the images that a model takes.

    Raises
    ------
    InputError
        If the model takes anything but one image of known size, channels last.
    """
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs or []]
    if len(shapes) != 1 or len(shapes[0]) != 3 or None in shapes[0]:
        raise InputError(
            f"the model's inputs have the shapes {shapes}: it must take one image of known "
            "(height, width, channels)"
        )
    if keras.config.image_data_format() != "channels_last":
        raise InputError("Keras is set to channels_first: set image_data_format to channels_last")
    height, width, channels = shapes[0]
    return height, width, channels


def check_images(images: np.ndarray, shape: Shape) -> None:
    """Raise `InputError` unless the images have the shape that the model takes."""
    if images.ndim != 4 or images.shape[1:] != shape:
        raise InputError(f"images must have the shape (n, {', '.join(map(str, shape))})")


def _is_relu(layer: Any) -> bool:
    if isinstance(layer, keras.layers.ReLU):
        return not layer.negative_slope and not layer.threshold
    return getattr(layer, "activation", None) is keras.activations.relu
