"""How strongly the maps of a layer respond to images.

The response of a map (the articles' *loss*) is the mean of its activation over its positions.
One forward pass gives the responses of all maps of the layer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import InputError
from ..progress import SILENT
from ..values import Maps, map_list
from ..values.inputs import Inputs
from .compiled import Compiled
from .fast import ACTIVATIONS, OwnMaps, TwoWayConvolution, faster
from .images import Shape
from .nested import all_layers, flat, layer_outputs
from .tf import keras, tf

# So many numbers in the outputs of all layers fill a batch: with more, an image hardly takes less
# time, and a few images wait for more copies of themselves. Four images are taken even if they
# have more, but for what doesn't fit into half a GB (not all outputs are kept).
_NUMBERS = 2**26
_MOST_NUMBERS = 2**28

# With fewer weights, a network's functions take longer to compile than constants save.
_FEW_WEIGHTS = 20_000

# Layers that keep all their numbers as weights; all else is told by their configuration.
_TOLD = (
    keras.layers.InputLayer,
    keras.layers.Conv2D,
    keras.layers.Dense,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.Flatten,
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.BatchNormalization,
    keras.layers.Dropout,
)


class LayerMaps:
    """The maps of one layer of a model, as a function from images to responses.

    It works for any Keras model with one image input, and for any layer whose output is
    (n, height, width, maps) or (n, units). The model runs as at test time: dropout is off,
    batch normalization uses its averages. Of a softmax it takes what goes into it: a class must
    not win because the others lose.

    Parameters
    ----------
    model : keras.Model
    layer : str
        Name of the layer, of a layer in an inner model ``inner/name``. If its activation is a
        separate layer, name that one.
    inputs : Inputs
        What images the model takes; standardized ones by default.
    is_shared
        Whether compiled functions are shared with networks of the same architecture, which makes
        them a little slower. Those of a small network always are: to compile them takes longest.

    Attributes
    ----------
    n_maps : int
    image_shape : (height, width, channels)
    batch_size : int
        Images per gradient: a power of two that follows from the layer and the image's size.
    silent_is_dead : bool
        Whether a response of exactly 0 implies a gradient of exactly 0 (true for ReLU). The
        plain ascent can never move such a start.

    Raises
    ------
    InputError
        If the layer doesn't exist or has no maps, or the model's input isn't one image of
        known size.

    Examples
    --------
    >>> image = keras.Input((8, 8, 1))
    >>> model = keras.Model(image, keras.layers.Conv2D(2, 3, name="conv")(image))
    >>> LayerMaps(model, "conv")(np.zeros((5, 8, 8, 1), np.float32)).shape
    (5, 2)
    """

    def __init__(
        self, model: Any, layer: str, inputs: Inputs | None = None, is_shared: bool = False
    ) -> None:
        self.model, self.layer, self.inputs = model, layer, inputs or Inputs()
        self.image_shape = image_shape(model)
        self.inputs.check_channels(self.image_shape[-1])
        map_shapes = map_layers(model)
        if layer not in map_shapes:
            raise InputError(f"unknown layer {layer!r}: choose one of {', '.join(map_shapes)}")
        self.n_maps = map_shapes[layer][-1]
        flat_model, flat_names = flat(model)
        flat_name = flat_names[layer]
        until_layer = keras.Model(flat_model.inputs[0], flat_model.get_layer(flat_name).output)
        self.batch_size = _batch_size(until_layer)
        fast_model = faster(until_layer)
        fast_layer = fast_model.get_layer(flat_name)
        self.silent_is_dead = _is_relu(fast_layer)
        before, self._activate = _before_activation(fast_layer)
        self._until_activation = keras.Model(fast_model.inputs[0], before)
        self._until_layer = keras.Model(fast_model.inputs[0], _first(fast_layer.input))
        self._until_own_maps, self._own_maps = self._until_layer, None
        source = OwnMaps.source(fast_layer)
        if source is not None:
            self._until_own_maps = keras.Model(fast_model.inputs[0], source.input)
            self._own_maps = OwnMaps(source)
        variables = [*self._until_activation.variables, *self._until_own_maps.variables]
        if self._own_maps is not None:
            variables += self._own_maps.variables
        is_small = until_layer.count_params() < _FEW_WEIGHTS
        #: Functions compiled for this layer, kept so that TensorFlow traces them once.
        self.compiled = Compiled(
            list({id(each): each for each in variables}.values()),
            _architecture(until_layer, self.inputs) if is_shared or is_small else None,
        )

    def traced(self, images: Any, maps: Any, peak: bool = False) -> tuple[Any, Any]:
        """Response and pre-activation of one map per image as tensors (n,), to be compiled.

        The pre-activation is the mean over a map's positions of what goes into the layer's
        activation function, or with `peak` the largest of it. It has a gradient where a ReLU
        gives none.
        """
        led = tf.reduce_max if peak else tf.reduce_mean
        if self._own_maps is None:
            of_all_maps = self._traced(images, led)
            return tuple(tf.gather(values, maps, axis=1, batch_dims=1) for values in of_all_maps)
        features = self._until_own_maps(self._cropped(images), training=False)
        before = self._own_maps(features, maps)
        after = self._activate(before)
        return tf.reduce_mean(after, axis=(1, 2)), led(before, axis=(1, 2))

    def traced_all(self, images: Any) -> tuple[Any, Any]:
        """What goes out of the layer and into its activation, position by position, as tensors.

        Both are (n, map height, map width, maps), or (n, units).
        """
        before = self._until_activation(self._cropped(images), training=False)
        return self._activate(before), before

    def _traced(self, images: Any, led: Any = tf.reduce_mean) -> tuple[Any, Any]:
        """Responses and pre-activations of all maps, as tensors (n, maps)."""
        before = self._until_activation(self._cropped(images), training=False)
        positions = list(range(1, len(before.shape) - 1))
        after = self._activate(before)
        return tf.reduce_mean(after, axis=positions), led(before, axis=positions)

    def _traced_activations(self, images: Any) -> Any:
        return self._activate(self._until_activation(self._cropped(images), training=False))

    def _traced_features(self, images: Any) -> Any:
        return self._until_layer(self._cropped(images), training=False)

    def _compiled(self, method: Callable[[Any], Any]) -> Any:
        """One of this class' functions of images, compiled."""
        images_type = tf.TensorSpec((None, *self.image_shape), tf.float32)
        return self.compiled.get(method.__name__, lambda: (method, [images_type]))

    def _cropped(self, images: Any) -> Any:
        """The part of the images that the layer sees."""
        height, width, _ = self._until_activation.inputs[0].shape[1:]
        return images[:, :height, :width]

    def __call__(
        self, images: np.ndarray, batch_size: int | None = None, progress: Any = SILENT
    ) -> np.ndarray:
        """Responses of all maps to images.

        Parameters
        ----------
        images : array, (n, height, width, channels), standardized
        batch_size
            Images per forward pass; twice the layer's `batch_size` by default.
        progress
            A progress bar that counts images.

        Returns
        -------
        array, float32, (n, maps)
        """
        return self.respond(images, batch_size, progress)[0]

    def respond(
        self, images: np.ndarray, batch_size: int | None = None, progress: Any = SILENT
    ) -> tuple[np.ndarray, np.ndarray]:
        """Responses and pre-activations, each float32 (n, maps); parameters as for a call."""
        check_images(images, self.image_shape)
        batch_size = batch_size or 2 * self.batch_size
        out = np.empty((2, len(images), self.n_maps), np.float32)
        for first in range(0, len(images), batch_size):
            batch = np.arange(first, min(first + batch_size, len(images)))
            # Always a full batch: another size may be rounded in another way.
            responses = self._compiled(self._traced)(images[np.resize(batch, batch_size)])
            out[:, batch] = [values[: len(batch)] for values in responses]
            progress.update(len(batch))
        return out[0], out[1]

    def activations(self, images: np.ndarray) -> np.ndarray:
        """The activations of all maps for a few images, position by position (article IV).

        Parameters
        ----------
        images : array, (n, height, width, channels), standardized

        Returns
        -------
        array, float32, (n, map height, map width, maps)
        """
        check_images(images, self.image_shape)
        return np.asarray(self._compiled(self._traced_activations)(images))

    def features(self, images: np.ndarray, batch_size: int | None = None) -> np.ndarray:
        """What goes into the layer: the network's own description of images.

        Parameters
        ----------
        images : array, (n, height, width, channels), standardized

        Returns
        -------
        array, float32, (n, rows, columns, channels)
            The maps of the layer before; (n, 1, 1, units) if that layer has no maps.
        """
        check_images(images, self.image_shape)
        batch_size = batch_size or 2 * self.batch_size
        batches = [
            np.asarray(self._compiled(self._traced_features)(images[i : i + batch_size]))
            for i in range(0, len(images), batch_size)
        ]
        features = np.concatenate(batches)
        return features if features.ndim == 4 else features.reshape(len(images), 1, 1, -1)

    def map_array(self, maps: Maps | np.ndarray) -> np.ndarray:
        """Map indices as an array, int32 (n,); None means all maps of the layer.

        Raises
        ------
        InputError
            If a map doesn't exist.
        """
        indices = maps.tolist() if isinstance(maps, np.ndarray) else maps
        return np.asarray(map_list(indices, self.n_maps, self.layer), np.int32)


def map_layers(model: Any) -> dict[str, tuple[int, ...]]:
    """The layers that have maps, from the input on: name -> (height, width, maps) or (units,).

    In the place of an inner model stand its layers, named ``inner/layer``.

    Examples
    --------
    >>> image = keras.Input((8, 8, 1))
    >>> map_layers(keras.Model(image, keras.layers.Conv2D(2, 3, name="conv")(image)))
    {'conv': (6, 6, 2)}
    """
    shapes = {}
    for name, output in layer_outputs(model).items():
        shape = getattr(output, "shape", ())
        if len(shape) in (2, 4) and None not in shape[1:]:
            shapes[name] = tuple(int(side) for side in shape[1:])
    return shapes


def image_shape(model: Any) -> Shape:
    """Height, width and channels of the images that a model takes.

    Raises
    ------
    InputError
        If the model takes anything but one image of known size, channels last.

    Examples
    --------
    >>> image = keras.Input((8, 9, 3))
    >>> image_shape(keras.Model(image, keras.layers.Flatten()(image)))
    (8, 9, 3)
    """
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs or []]
    if len(shapes) != 1 or len(shapes[0]) != 3 or None in shapes[0]:
        raise InputError(
            f"the model's inputs have the shapes {shapes}: it must take one image of known "
            "(height, width, channels)"
        )
    if keras.config.image_data_format() != "channels_last":
        raise InputError("Keras is set to channels_first: set image_data_format to channels_last")
    check_channels_last(model)
    height, width, channels = shapes[0]
    return height, width, channels


def check_channels_last(model: Any) -> None:
    """Raise `InputError` if a layer, also of an inner model, wants the channels first."""
    for layer in all_layers(model):
        if getattr(layer, "data_format", None) == "channels_first":
            raise InputError(
                f"the layer {layer.name!r} has data_format='channels_first': build the model with "
                "channels_last (a convolution's weights stay the same)"
            )


def check_images(images: np.ndarray, shape: Shape) -> None:
    """Raise `InputError` unless the images have the shape that the model takes."""
    if images.ndim != 4 or images.shape[1:] != shape:
        raise InputError(f"images must have the shape (n, {', '.join(map(str, shape))})")


def _batch_size(until_layer: Any) -> int:
    """Images per gradient of a model that ends with the layer that is studied: a power of two."""
    n_numbers = sum(
        math.prod(side or 1 for side in tensor.shape[1:])
        for nodes in until_layer._nodes_by_depth.values()
        for node in nodes
        for tensor in node.outputs
    )
    size = min(max(_NUMBERS // n_numbers, 4), 128, max(_MOST_NUMBERS // n_numbers, 1))
    return 1 << (size.bit_length() - 1)


def _architecture(until_layer: Any, inputs: Inputs) -> str | None:
    """All that decides the functions of a model's last layer, but for the weights.

    None if that can't be told: a layer may keep numbers elsewhere than in its weights.
    """
    if not all(type(layer) in _TOLD and _is_told(layer) for layer in until_layer.operations):
        return None
    config = until_layer.get_config()
    return json.dumps([str(inputs), _without_start(config["layers"])], sort_keys=True)


def _is_told(layer: Any) -> bool:
    """Whether a layer's activation is one of Keras' own, which its name tells."""
    activation = getattr(layer, "activation", None)
    return getattr(keras.activations, getattr(activation, "__name__", ""), None) is activation


def _without_start(config: Any) -> Any:
    """A layer's configuration without how its weights began."""
    if isinstance(config, dict):
        return {
            key: _without_start(value)
            for key, value in config.items()
            if not key.endswith("_initializer")
        }
    return [_without_start(each) for each in config] if isinstance(config, list | tuple) else config


def _first(tensors: Any) -> Any:
    return tensors[0] if isinstance(tensors, list) else tensors


def _before_activation(layer: Any) -> tuple[Any, Any]:
    """The input of a layer's activation function as a Keras tensor, and the function.

    A layer that contains its activation is rebuilt without it, with the same weights. For a
    layer without an activation these are the layer's output and the identity, for a softmax its
    input and the identity. Layers side by side (Inception's) keep each its own activation.
    """
    activation = getattr(layer, "activation", None)
    is_softmax = _is_softmax(layer)
    if isinstance(layer, ACTIVATIONS):
        return layer.input, tf.identity if is_softmax else layer
    if isinstance(layer, keras.layers.Concatenate) and layer.axis in (
        -1,
        len(layer.output.shape) - 1,
    ):
        return _before_each(layer)
    if activation in (None, keras.activations.linear):
        return layer.output, tf.identity
    name = f"{layer.name}_before"
    if isinstance(layer, TwoWayConvolution):
        return layer.linear(name)(layer.input), activation
    config = {**layer.get_config(), "activation": "linear", "name": name}
    linear_layer = type(layer).from_config(config)
    before = linear_layer(layer.input)
    linear_layer.set_weights(layer.get_weights())
    return before, tf.identity if is_softmax else activation


def _before_each(concatenate: Any) -> tuple[Any, Any]:
    """As `_before_activation`, for layers whose maps are put side by side."""
    parts = []
    for tensor in concatenate.input:
        layer = tensor._keras_history.operation
        # A layer that is called more than once has no output of its own.
        is_plain = (
            len(layer._inbound_nodes) == 1
            and tensor is layer.output  # not one of several outputs
            and not _is_softmax(layer)
        )
        parts.append(_before_activation(layer) if is_plain else (tensor, tf.identity))
    sizes = [tensor.shape[-1] for tensor in concatenate.input]

    def activate(before: Any) -> Any:
        each = zip(parts, tf.split(before, sizes, axis=-1), strict=True)
        return tf.concat([activate_part(values) for (_, activate_part), values in each], axis=-1)

    return keras.layers.Concatenate()([before for before, _ in parts]), activate


def _is_softmax(layer: Any) -> bool:
    activation = getattr(layer, "activation", None)
    return isinstance(layer, keras.layers.Softmax) or activation is keras.activations.softmax


def _is_relu(layer: Any) -> bool:
    if isinstance(layer, keras.layers.ReLU):
        return not layer.negative_slope and not layer.threshold
    return getattr(layer, "activation", None) is keras.activations.relu
