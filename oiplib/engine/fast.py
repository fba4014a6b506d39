"""The same function of the image and the same gradient, computed faster.

An ascent needs the gradient of one map with respect to the image, and no gradient of the
weights. Most of its time then goes into moving numbers, not into multiplying them: pooling,
ReLU and the backward pass of the first convolution took most of a gradient step of the
articles' network.

==========================================  ================================================
pixels that no position of the layer sees   are cut off before the first layer
convolution, ReLU, pooling of 2 x 2         the pooling comes before ReLU, which is the same
                                            function on a quarter of the numbers; the backward
                                            pass needs only to know which of the four won
such a convolution of the image itself      is summed up within the same pass; its backward
                                            pass is a small matrix product for each of the four
the convolution of the layer itself         is computed only for the map that an image excites
==========================================  ================================================

XLA compiles elementwise work into one pass over the numbers. It doesn't compile convolutions:
its own are slower on processors. Everything else in a model runs as Keras runs it.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .tf import keras, tf

# The four positions in a pooling's window, row by row.
_WINDOW = np.arange(4, dtype=np.int8)

# Marks an output that is 0 because of ReLU: none of the four positions gets its gradient.
_NO_WINNER = np.int8(4)

# Sums are faster than a convolution only if an output has no more inputs than this.
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
    """A copy of the model that is faster where one of this module's rules applies.

    The copy may take a smaller image: the first rows and columns of the model's image. Its
    outputs and image gradients agree with the model's within rounding.

    Examples
    --------
    A kernel of 3 pixels that moves in steps of 2 never reaches the last of 28 columns.

    >>> image = keras.Input((28, 28, 1))
    >>> model = keras.Model(image, keras.layers.Conv2D(2, 3, strides=2)(image))
    >>> faster(model).inputs[0].shape
    (None, 27, 27, 1)
    """
    model = keras.Model(model.inputs[0], model.outputs[0])

    def copy(layer: Any) -> Any:
        if layer.name in pairs:
            return _substitute(*pairs[layer.name], layer)
        return type(layer).from_config(layer.get_config())

    pairs: dict[str, tuple[Any, Any]] = {}
    try:
        cut_model = _cut(model, copy)
        for layer in cut_model.layers:
            if layer.weights:
                layer.set_weights(model.get_layer(layer.name).get_weights())
        pairs = _pairs(cut_model)
        fast_model = _clone(cut_model, cut_model.inputs[0].shape[1:], copy)
    except (ValueError, TypeError, NotImplementedError):
        return model  # Keras can't copy every model; such a one runs as it is
    for layer in cut_model.layers:
        if layer.weights and layer.name not in pairs:
            fast_model.get_layer(layer.name).set_weights(layer.get_weights())
    return fast_model


class ConvolvedPooled(keras.layers.Layer):  # type: ignore[misc]
    """A convolution (stride 1, no padding), ReLU and a 2 x 2 pooling as one layer.

    Parameters
    ----------
    convolution : keras.layers.Conv2D
    ways
        `by_convolution` or `by_sums`.
    """

    def __init__(self, convolution: Any, ways: Any) -> None:
        super().__init__(name=convolution.name, trainable=False)
        self.kernel = convolution.kernel.numpy()
        self.bias = convolution.bias.numpy() if convolution.use_bias else np.float32(0)
        self.ways = ways

    def call(self, inputs: Any) -> Any:
        """(n, height, width, channels) -> (n, height' / 2, width' / 2, maps)."""
        forward, backward = self.ways(self.kernel, self.bias, inputs.shape[1:])

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def convolved_pooled(inputs: Any) -> Any:
            outputs, winners = forward(inputs)
            return outputs, lambda gradient: backward(winners, gradient)

        return convolved_pooled(inputs)


def by_convolution(kernel: np.ndarray, bias: np.ndarray, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """The forward and the backward pass of `ConvolvedPooled`, with TensorFlow's convolutions.

    Parameters
    ----------
    kernel : array, (height, width, channels, maps)
    bias : array, (maps,), or 0
    shape
        Height, width and channels of the inputs.

    Returns
    -------
    forward : function
        Inputs -> outputs and winners, both (n, rows, columns, maps). A winner is the position,
        0 to 3, that an output comes from; 4 where ReLU makes it 0.
    backward : function
        Winners and the gradient of the outputs -> the gradient of the inputs.
    """
    sides = shape[0] - kernel.shape[0] + 1, shape[1] - kernel.shape[1] + 1

    @_fused
    def pool(convolved: Any) -> Any:
        height, width = (side // 2 * 2 for side in sides)
        window = [convolved[:, i:height:2, j:width:2] for i in range(2) for j in range(2)]
        return _relu_of_largest(window, bias)

    @_fused
    def unpool(winners: Any, gradient: Any) -> Any:
        _, rows, columns, n_maps = gradient.shape
        is_winner = winners[:, :, None, :, None] == _WINDOW.reshape(2, 1, 2, 1)
        unpooled = tf.where(is_winner, gradient[:, :, None, :, None], 0.0)
        unpooled = tf.reshape(unpooled, (-1, 2 * rows, 2 * columns, n_maps))
        return _padded(unpooled, sides)

    def forward(inputs: Any) -> Any:
        return pool(tf.nn.conv2d(inputs, kernel, 1, "VALID"))

    def backward(winners: Any, gradient: Any) -> Any:
        input_shape = (tf.shape(gradient)[0], *shape)
        return tf.nn.conv2d_transpose(unpool(winners, gradient), kernel, input_shape, 1, "VALID")

    return forward, backward


def by_sums(kernel: np.ndarray, bias: np.ndarray, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """The same two passes for images of few channels; parameters as `by_convolution`.

    The forward pass adds up the few products of each output one by one, so that it writes
    nothing before the pooling. The backward pass is four matrix products: each takes the
    gradient of one position of the window to the patch of pixels that the window sees.
    """
    height, width, channels, n_maps = kernel.shape

    @_fused
    def forward(images: Any) -> Any:
        rows, columns = (shape[0] - height + 1) // 2 * 2, (shape[1] - width + 1) // 2 * 2
        window: list[Any] = [0.0] * 4
        for k, (i, j, c) in itertools.product(range(4), np.ndindex(height, width, channels)):
            top, left = k // 2 + i, k % 2 + j
            pixels = images[:, top : top + rows : 2, left : left + columns : 2, c, None]
            window[k] += pixels * kernel[i, j, c]
        return _relu_of_largest(window, bias)

    # Windows are 2 pixels apart, so a patch's sides are counted in steps of 2 pixels, rounded up.
    patch_steps = (height + 2) // 2, (width + 2) // 2
    patches = np.zeros((4, 2 * patch_steps[0], 2 * patch_steps[1], channels, n_maps), np.float32)
    for k in range(4):
        i, j = divmod(k, 2)
        patches[k, i : i + height, j : j + width] = kernel
    patches = patches.reshape(4, -1, n_maps).transpose(0, 2, 1)

    @_fused
    def backward(winners: Any, gradient: Any) -> Any:
        _, rows, columns, _ = gradient.shape
        winners, gradient = (tf.reshape(values, (-1, n_maps)) for values in (winners, gradient))
        by_position = tf.stack([tf.where(winners == k, gradient, 0.0) for k in _WINDOW])
        by_patch = tf.reduce_sum(by_position @ patches, axis=0)
        by_patch = tf.reshape(
            by_patch, (-1, rows, columns, patch_steps[0], 2, patch_steps[1], 2, channels)
        )
        total: Any = 0.0
        for i in range(patch_steps[0]):
            for j in range(patch_steps[1]):
                around = [[i, patch_steps[0] - 1 - i], [j, patch_steps[1] - 1 - j]]
                total += tf.pad(by_patch[:, :, :, i, :, j], [[0, 0], *around, *[[0, 0]] * 3])
        # From (n, steps, steps, 2, 2, channels) to pixels.
        steps = rows + patch_steps[0] - 1, columns + patch_steps[1] - 1
        total = tf.transpose(total, (0, 1, 3, 2, 4, 5))
        total = tf.reshape(total, (-1, 2 * steps[0], 2 * steps[1], channels))
        return _padded(total[:, : shape[0], : shape[1]], shape)

    return forward, backward


class OwnMaps:
    """A convolution (stride 1, no padding) that gives each input one map, its own.

    Parameters
    ----------
    convolution : keras.layers.Conv2D
    """

    def __init__(self, convolution: Any) -> None:
        kernel = convolution.kernel.numpy()
        self.sides = kernel.shape[:2]
        # (maps, channels, positions of the kernel)
        self.kernels = tf.constant(kernel.reshape(-1, *kernel.shape[2:]).transpose(2, 1, 0))
        bias = convolution.bias.numpy() if convolution.use_bias else np.zeros(kernel.shape[-1])
        self.bias = tf.constant(bias, tf.float32)

    def __call__(self, inputs: Any, maps: Any) -> Any:
        """(n, height, width, channels) and the n inputs' maps -> (n, height', width')."""
        height, width, channels = inputs.shape[1:]
        products = tf.reshape(inputs, (-1, height * width, channels))
        products = products @ tf.gather(self.kernels, maps)
        return self._summed(tf.reshape(products, (-1, height, width, products.shape[-1])), maps)

    def _summed(self, products: Any, maps: Any) -> Any:
        """For each output position the sum over the kernel's positions, plus the bias.

        `products` holds the product of each input position with each position of the kernel.
        """
        rows, columns = (products.shape[axis + 1] - self.sides[axis] + 1 for axis in (0, 1))

        @_fused
        def total(products: Any) -> Any:
            outputs: Any = tf.gather(self.bias, maps)[:, None, None]
            for k in range(products.shape[-1]):
                i, j = divmod(k, self.sides[1])
                outputs += products[:, i : i + rows, j : j + columns, k]
            return outputs

        return total(products)

    @staticmethod
    def can(layer: Any) -> bool:
        """Whether a layer is such a convolution, with an activation of one number at a time."""
        return _is_plain(layer) and getattr(layer.activation, "__name__", "") in _ELEMENTWISE


def _padded(values: Any, sides: tuple[int, ...]) -> Any:
    """The values with zeros added below and to the right, up to these sides."""
    missing = [[0, sides[axis] - values.shape[axis + 1]] for axis in (0, 1)]
    return tf.pad(values, [[0, 0], *missing, [0, 0]])


def _fused(function: Any) -> Any:
    return tf.function(function, jit_compile=True, autograph=False)


def _relu_of_largest(window: list[Any], bias: Any) -> tuple[Any, Any]:
    """ReLU of the largest of four tensors, element by element, and which of the four it is.

    Among equals the first one wins, as in Keras' pooling. 4 marks positions where ReLU is zero:
    no input gets their gradient.
    """
    top, bottom = tf.maximum(window[0], window[1]), tf.maximum(window[2], window[3])
    in_top = tf.where(window[0] >= window[1], np.int8(0), np.int8(1))
    in_bottom = tf.where(window[2] >= window[3], np.int8(2), np.int8(3))
    winners = tf.where(top >= bottom, in_top, in_bottom)
    before = tf.maximum(top, bottom) + bias
    return tf.nn.relu(before), tf.where(before > 0, winners, _NO_WINNER)


def _pairs(model: Any) -> dict[str, tuple[Any, Any]]:
    """Each convolution with ReLU that only a 2 x 2 pooling follows, and that pooling.

    A pair is listed under the names of both its layers.
    """
    followers: dict[int, list[Any]] = {}
    for layer in model.layers:
        for node in layer._inbound_nodes:
            for tensor in node.input_tensors:
                followers.setdefault(id(tensor), []).append(layer)
    output_ids = {id(tensor) for tensor in model.outputs}
    pairs = {}
    for layer in model.layers:
        if not _is_plain(layer) or len(layer._inbound_nodes) != 1:
            continue
        next_layers = followers.get(id(layer.output), [])
        if len(next_layers) != 1 or id(layer.output) in output_ids:
            continue
        if _is_pair(layer, next_layers[0]):
            pairs[layer.name] = pairs[next_layers[0].name] = (layer, next_layers[0])
    return pairs


def _is_plain(layer: Any) -> bool:
    """Whether a layer is a float32 convolution with stride 1, no padding and no groups."""
    return (
        type(layer) is keras.layers.Conv2D
        and layer.strides == layer.dilation_rate == (1, 1)
        and layer.groups == 1
        and layer.padding == "valid"
        and layer.compute_dtype == "float32"
    )


def _is_pair(convolution: Any, next_layer: Any) -> bool:
    return (
        convolution.activation is keras.activations.relu
        and type(next_layer) is keras.layers.MaxPooling2D
        and len(next_layer._inbound_nodes) == 1
        and next_layer.pool_size == next_layer.strides == (2, 2)
        and next_layer.padding == "valid"
    )


def _substitute(convolution: Any, pooling: Any, layer: Any) -> Any:
    """What replaces one layer of a pair: the convolution does both, the pooling does nothing."""
    if layer is pooling:
        return keras.layers.Identity(name=pooling.name)
    (node,) = convolution._inbound_nodes
    sees_image = all(type(p.operation) is keras.layers.InputLayer for p in node.parent_nodes)
    has_few_inputs = np.prod(convolution.kernel.shape[:3]) <= _MOST_INPUTS
    ways = by_sums if sees_image and has_few_inputs else by_convolution
    return ConvolvedPooled(convolution, ways)


def _cut(model: Any, copy: Any) -> Any:
    """A copy that takes the smallest image which still gives an output of the same shape."""
    shape: list[int] = list(model.inputs[0].shape[1:])
    cut_model = _clone(model, shape, copy)
    if not all(type(layer) in _LOCAL and _unpadded(layer) for layer in model.layers):
        return cut_model
    for axis in (0, 1):
        while shape[axis] > 1:
            shape[axis] -= 1
            try:
                smaller = _clone(model, shape, copy)
            except ValueError:  # smaller than a kernel
                break
            if smaller.output.shape != model.output.shape:
                break
            cut_model = smaller
        shape = list(cut_model.inputs[0].shape[1:])
    return cut_model


def _unpadded(layer: Any) -> bool:
    return getattr(layer, "padding", "valid") == "valid"


def _clone(model: Any, shape: Any, copy: Any) -> Any:
    images = keras.Input(tuple(shape), name=model.inputs[0].name)
    return keras.models.clone_model(model, input_tensors=images, clone_function=copy)
