"""How strongly the maps of a layer respond to images.

The response of a map (the articles' *loss*) is the mean of its activation over its positions.
One forward pass answers for all maps of the layer at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._tf import keras, tf
from .errors import InputError
from .fast import OwnMaps, faster
from .images import Shape
from .progress import SILENT
from .threads import first_alone


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
        quick = faster(keras.Model(model.inputs[0], model.get_layer(layer).output))
        chosen = quick.get_layer(layer)
        self.silent_is_dead = _is_relu(chosen)
        before, self._activate = _before_activation(chosen)
        self._until_activation = keras.Model(quick.inputs[0], before)
        inputs = chosen.input[0] if isinstance(chosen.input, list) else chosen.input
        self._until_layer = keras.Model(quick.inputs[0], inputs)
        self._own = None
        if OwnMaps.can(chosen):
            self._own = keras.Model(quick.inputs[0], chosen.input), OwnMaps(chosen)
        images = tf.TensorSpec((None, *self.image_shape), tf.float32)
        #: Functions compiled for this layer, so that they are traced once.
        self.compiled = {
            name: first_alone(tf.function(traced, input_signature=[images], autograph=False))
            for name, traced in (
                ("responses", self._traced),
                ("features", self._traced_features),
                ("activations", self._traced_activations),
            )
        }

    def traced(self, images: Any, maps: Any) -> tuple[Any, Any]:
        """Response and pre-activation of one map per image as tensors (n,), to be compiled.

        The pre-activation is the mean over a map's positions of what goes into the layer's
        activation function. It has a gradient where a ReLU gives none.
        """
        if self._own is None:
            found = self._traced(images)
            return tuple(tf.gather(values, maps, axis=1, batch_dims=1) for values in found)
        until_layer, own = self._own
        before = own(until_layer(self._seen(images), training=False), maps)
        after = self._activate(before)
        return tf.reduce_mean(after, axis=(1, 2)), tf.reduce_mean(before, axis=(1, 2))

    def _traced(self, images: Any) -> tuple[Any, Any]:
        """Those of all maps, as tensors (n, maps)."""
        before = self._until_activation(self._seen(images), training=False)
        positions = list(range(1, len(before.shape) - 1))
        after = self._activate(before)
        return tf.reduce_mean(after, axis=positions), tf.reduce_mean(before, axis=positions)

    def _traced_activations(self, images: Any) -> Any:
        return self._activate(self._until_activation(self._seen(images), training=False))

    def _traced_features(self, images: Any) -> Any:
        return self._until_layer(self._seen(images), training=False)

    def _seen(self, images: Any) -> Any:
        height, width, _ = self._until_activation.inputs[0].shape[1:]
        return images[:, :height, :width]

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
        return self.respond(images, batch_size, progress)[0]

    def respond(
        self, images: np.ndarray, batch_size: int = 256, progress: Any = SILENT
    ) -> tuple[np.ndarray, np.ndarray]:
        """Responses and pre-activations, each float32 (n, maps); parameters as for a call."""
        check_images(images, self.image_shape)
        out = np.empty((2, len(images), self.n_maps), np.float32)
        for first in range(0, len(images), batch_size):
            chosen = np.arange(first, min(first + batch_size, len(images)))
            # Always a full batch: another size may be rounded in another way.
            found = self.compiled["responses"](images[np.resize(chosen, batch_size)])
            out[:, chosen] = [values[: len(chosen)] for values in found]
            progress.update(len(chosen))
        return out[0], out[1]

    def activations(self, images: np.ndarray) -> np.ndarray:
        """What a few images make of the maps, position by position (article IV).

        Parameters
        ----------
        images : array, (n, height, width, channels), standardized

        Returns
        -------
        array, float32, (n, map height, map width, maps)
        """
        check_images(images, self.image_shape)
        return np.asarray(self.compiled["activations"](images))

    def features(self, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """What goes into the layer: the network's own description of images.

        Parameters
        ----------
        images : array, (n, height, width, channels), standardized

        Returns
        -------
        array, float32, (n, rows, columns, channels)
            The maps of the layer before, or (n, 1, 1, units) where they aren't maps.
        """
        check_images(images, self.image_shape)
        found = [
            np.asarray(self.compiled["features"](images[i : i + batch_size]))
            for i in range(0, len(images), batch_size)
        ]
        whole = np.concatenate(found)
        return whole if whole.ndim == 4 else whole.reshape(len(images), 1, 1, -1)


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


def _before_activation(layer: Any) -> tuple[Any, Any]:
    """What goes into a layer's activation function, and the function.

    A layer with an activation inside is rebuilt without it, with the same weights. Where there
    is no activation, both are the layer's output.
    """
    if isinstance(layer, (keras.layers.Activation, keras.layers.ReLU, keras.layers.LeakyReLU)):
        return layer.input, layer
    activation = getattr(layer, "activation", None)
    if activation in (None, keras.activations.linear):
        return layer.output, tf.identity
    bare = {**layer.get_config(), "activation": "linear", "name": f"{layer.name}_before"}
    twin = type(layer).from_config(bare)
    before = twin(layer.input)
    twin.set_weights(layer.get_weights())
    return before, activation


def _is_relu(layer: Any) -> bool:
    if isinstance(layer, keras.layers.ReLU):
        return not layer.negative_slope and not layer.threshold
    return getattr(layer, "activation", None) is keras.activations.relu
