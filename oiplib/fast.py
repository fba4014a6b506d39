"""The same function of the image, faster both ways.

An ascent needs no gradient of the weights, only that of the image, and of one map only. What
then holds a processor up is not multiplying but moving numbers: pooling, ReLU and the first
convolution's way back took most of a gradient step of the articles' network.

==========================================  ================================================
pixels that no position of the layer sees   are cut off before the first layer
convolution, ReLU, pooling of 2 x 2         the pooling comes first, which is the same
                                            function of a quarter of the numbers; which of the
                                            four won is all that the way back needs to know
such a convolution of an image              is summed up within the same pass; its way back is
                                            a small matrix product for each of the four
the layer's own convolution                 is done for the one map that is asked for
==========================================  ================================================

Elementwise work is compiled by XLA into one pass over the numbers. Convolutions aren't: XLA's
are slower on processors. Whatever a model has that isn't in this table runs as Keras runs it.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ._tf import keras, tf

# The positions that a pooling chooses from, row by row.
_FOUR = np.arange(4, dtype=np.int8)

# With more inputs of an output a convolution is better.
_MOST_INPUTS = 27

# Layers that treat every position alike.
_LOCAL = (
    keras.layers.InputLayer,
    keras.layers.Conv2D,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.BatchNormalization,
    keras.layers.Dropout,
)

# Activations that look at one number at a time.
_ELEMENTWISE = (
    *("linear", "relu", "leaky_relu", "elu", "selu", "gelu", "silu"),
    *("sigmoid", "tanh", "softplus", "softsign"),
)


def faster(model: Any) -> Any:
    """A copy of the model, faster where one of this module's rules applies.

    Its image may be smaller: the rows and columns that it takes are the first of the model's.
    Outputs and image gradients agree within rounding.
    """
    model = keras.Model(model.inputs[0], model.outputs[0])

    def copy(layer: Any) -> Any:
        if layer.name in pairs:
            return _substitute(*pairs[layer.name], layer)
        return type(layer).from_config(layer.get_config())

    pairs: dict[str, tuple[Any, Any]] = {}
    try:
        twin = _cut(model, copy)
        for layer in twin.layers:
            if layer.weights:
                layer.set_weights(model.get_layer(layer.name).get_weights())
        pairs = _pairs(twin)
        quick = _clone(twin, twin.inputs[0].shape[1:], copy)
    except (ValueError, TypeError, NotImplementedError):
        return model  # one that Keras can't copy runs as it is
    for layer in twin.layers:
        if layer.weights and layer.name not in pairs:
            quick.get_layer(layer.name).set_weights(layer.get_weights())
    return quick


class ConvolvedPooled(keras.layers.Layer):  # type: ignore[misc]
    """A convolution (stride 1, no padding), ReLU and a 2 x 2 pooling as one layer."""

    def __init__(self, convolution: Any, ways: Any) -> None:
        super().__init__(name=convolution.name, trainable=False)
        self.kernel = convolution.kernel.numpy()
        self.bias = convolution.bias.numpy() if convolution.use_bias else np.float32(0)
        self.ways = ways

    def call(self, inputs: Any) -> Any:
        """(n, height, width, channels) -> (n, height' / 2, width' / 2, maps)."""
        there, back = self.ways(self.kernel, self.bias, inputs.shape[1:])

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def convolved_pooled(inputs: Any) -> Any:
            out, winners = there(inputs)
            return out, lambda gradient: back(winners, gradient)

        return convolved_pooled(inputs)


def by_convolution(kernel: np.ndarray, bias: np.ndarray, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """The way there and back for inputs of a shape, with TensorFlow's convolutions.

    There: inputs to output and winners, both (n, rows, columns, maps). Back: winners and the
    output's gradient to that of the inputs.
    """
    sides = shape[0] - kernel.shape[0] + 1, shape[1] - kernel.shape[1] + 1

    @_fused
    def finish(values: Any) -> Any:
        height, width = (side // 2 * 2 for side in sides)
        four = [values[:, i:height:2, j:width:2] for i in range(2) for j in range(2)]
        return _relu_of_largest(four, bias)

    @_fused
    def place(winners: Any, gradient: Any) -> Any:
        _, rows, columns, n_maps = gradient.shape
        won = winners[:, :, None, :, None] == _FOUR.reshape(2, 1, 2, 1)
        given = tf.where(won, gradient[:, :, None, :, None], 0.0)
        given = tf.reshape(given, (-1, 2 * rows, 2 * columns, n_maps))
        return _padded(given, sides)

    def there(inputs: Any) -> Any:
        return finish(tf.nn.conv2d(inputs, kernel, 1, "VALID"))

    def back(winners: Any, gradient: Any) -> Any:
        to = (tf.shape(gradient)[0], *shape)
        return tf.nn.conv2d_transpose(place(winners, gradient), kernel, to, 1, "VALID")

    return there, back


def by_sums(kernel: np.ndarray, bias: np.ndarray, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """The same for images of few channels.

    There the few products of each output are summed one by one, so that nothing is written
    before the pooling; back, four matrix products give to the patch that the four see.
    """
    height, width, channels, n_maps = kernel.shape

    @_fused
    def there(images: Any) -> Any:
        rows, columns = (shape[0] - height + 1) // 2 * 2, (shape[1] - width + 1) // 2 * 2
        four: list[Any] = [0.0] * 4
        for k, (i, j, c) in itertools.product(range(4), np.ndindex(height, width, channels)):
            top, left = k // 2 + i, k % 2 + j
            seen = images[:, top : top + rows : 2, left : left + columns : 2, c, None]
            four[k] += seen * kernel[i, j, c]
        return _relu_of_largest(four, bias)

    # The patch that four positions see, its sides made even: halves are steps of 2 pixels.
    halves = (height + 2) // 2, (width + 2) // 2
    patches = np.zeros((4, 2 * halves[0], 2 * halves[1], channels, n_maps), np.float32)
    for k in range(4):
        i, j = divmod(k, 2)
        patches[k, i : i + height, j : j + width] = kernel
    patches = patches.reshape(4, -1, n_maps).transpose(0, 2, 1)

    @_fused
    def back(winners: Any, gradient: Any) -> Any:
        _, rows, columns, _ = gradient.shape
        winners, won = (tf.reshape(values, (-1, n_maps)) for values in (winners, gradient))
        won = tf.stack([tf.where(winners == k, won, 0.0) for k in _FOUR])
        given = tf.reduce_sum(won @ patches, axis=0)
        given = tf.reshape(given, (-1, rows, columns, halves[0], 2, halves[1], 2, channels))
        total: Any = 0.0
        for i in range(halves[0]):
            for j in range(halves[1]):
                around = [[i, halves[0] - 1 - i], [j, halves[1] - 1 - j]]
                total += tf.pad(given[:, :, :, i, :, j], [[0, 0], *around, *[[0, 0]] * 3])
        # From (n, steps, steps, 2, 2, channels) to pixels.
        steps = rows + halves[0] - 1, columns + halves[1] - 1
        total = tf.transpose(total, (0, 1, 3, 2, 4, 5))
        total = tf.reshape(total, (-1, 2 * steps[0], 2 * steps[1], channels))
        return _padded(total[:, : shape[0], : shape[1]], shape)

    return there, back


class OwnMaps:
    """What one map each of a convolution (stride 1, no padding) makes of n inputs."""

    def __init__(self, convolution: Any) -> None:
        kernel = convolution.kernel.numpy()
        self.sides = kernel.shape[:2]
        # (maps, channels, positions of the kernel)
        self.kernels = tf.constant(kernel.reshape(-1, *kernel.shape[2:]).transpose(2, 1, 0))
        bias = convolution.bias.numpy() if convolution.use_bias else np.zeros(kernel.shape[-1])
        self.bias = tf.constant(bias, tf.float32)

    def __call__(self, inputs: Any, maps: Any) -> Any:
        """(n, height, width, channels) and (n,) -> (n, height', width')."""
        height, width, channels = inputs.shape[1:]
        given = tf.reshape(inputs, (-1, height * width, channels)) @ tf.gather(self.kernels, maps)
        return self._gathered(tf.reshape(given, (-1, height, width, given.shape[-1])), maps)

    def _gathered(self, given: Any, maps: Any) -> Any:
        """Each output position's sum over what the positions of its kernel give."""
        rows, columns = (given.shape[axis + 1] - self.sides[axis] + 1 for axis in (0, 1))

        @_fused
        def total(given: Any) -> Any:
            out: Any = tf.gather(self.bias, maps)[:, None, None]
            for k in range(given.shape[-1]):
                i, j = divmod(k, self.sides[1])
                out += given[:, i : i + rows, j : j + columns, k]
            return out

        return total(given)

    @staticmethod
    def can(layer: Any) -> bool:
        """Whether a layer is such a convolution, its activation the same at each position."""
        return _is_plain(layer) and getattr(layer.activation, "__name__", "") in _ELEMENTWISE


def _padded(values: Any, sides: tuple[int, ...]) -> Any:
    """Zeros below and to the right, up to these sides."""
    rest = [[0, sides[axis] - values.shape[axis + 1]] for axis in (0, 1)]
    return tf.pad(values, [[0, 0], *rest, [0, 0]])


def _fused(function: Any) -> Any:
    return tf.function(function, jit_compile=True, autograph=False)


def _relu_of_largest(four: list[Any], bias: Any) -> tuple[Any, Any]:
    """ReLU of the largest of four tensors, element by element, and which of them it is.

    Of equals the first, as in Keras' pooling. What ReLU stops is nobody's: 4.
    """
    top, bottom = tf.maximum(four[0], four[1]), tf.maximum(four[2], four[3])
    in_top = tf.where(four[0] >= four[1], np.int8(0), np.int8(1))
    in_bottom = tf.where(four[2] >= four[3], np.int8(2), np.int8(3))
    winners = tf.where(top >= bottom, in_top, in_bottom)
    before = tf.maximum(top, bottom) + bias
    return tf.nn.relu(before), tf.where(before > 0, winners, np.int8(4))


def _pairs(model: Any) -> dict[str, tuple[Any, Any]]:
    """Convolutions with ReLU that only a 2 x 2 pooling follows, by the names of both."""
    followers: dict[int, list[Any]] = {}
    for layer in model.layers:
        for node in layer._inbound_nodes:
            for tensor in node.input_tensors:
                followers.setdefault(id(tensor), []).append(layer)
    ends = {id(tensor) for tensor in model.outputs}
    pairs = {}
    for layer in model.layers:
        if not _is_plain(layer) or len(layer._inbound_nodes) != 1:
            continue
        after = followers.get(id(layer.output), [])
        if len(after) == 1 and id(layer.output) not in ends and _is_pair(layer, after[0]):
            pairs[layer.name] = pairs[after[0].name] = (layer, after[0])
    return pairs


def _is_plain(layer: Any) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and layer.strides == layer.dilation_rate == (1, 1)
        and layer.groups == 1
        and layer.padding == "valid"
        and layer.compute_dtype == "float32"
    )


def _is_pair(layer: Any, after: Any) -> bool:
    return (
        layer.activation is keras.activations.relu
        and type(after) is keras.layers.MaxPooling2D
        and len(after._inbound_nodes) == 1
        and after.pool_size == after.strides == (2, 2)
        and after.padding == "valid"
    )


def _substitute(convolution: Any, pooling: Any, layer: Any) -> Any:
    if layer is pooling:
        return keras.layers.Identity(name=pooling.name)
    (node,) = convolution._inbound_nodes
    of_image = all(type(p.operation) is keras.layers.InputLayer for p in node.parent_nodes)
    few = np.prod(convolution.kernel.shape[:3]) <= _MOST_INPUTS
    return ConvolvedPooled(convolution, by_sums if of_image and few else by_convolution)


def _cut(model: Any, copy: Any) -> Any:
    """A copy that takes the smallest image from which the output is still of the same shape."""
    shape: list[int] = list(model.inputs[0].shape[1:])
    cut = _clone(model, shape, copy)
    if not all(type(layer) in _LOCAL and _unpadded(layer) for layer in model.layers):
        return cut
    for axis in (0, 1):
        while shape[axis] > 1:
            shape[axis] -= 1
            try:
                smaller = _clone(model, shape, copy)
            except ValueError:  # smaller than a kernel
                break
            if smaller.output.shape != model.output.shape:
                break
            cut = smaller
        shape = list(cut.inputs[0].shape[1:])
    return cut


def _unpadded(layer: Any) -> bool:
    return getattr(layer, "padding", "valid") == "valid"


def _clone(model: Any, shape: Any, copy: Any) -> Any:
    images = keras.Input(tuple(shape), name=model.inputs[0].name)
    return keras.models.clone_model(model, input_tensors=images, clone_function=copy)
