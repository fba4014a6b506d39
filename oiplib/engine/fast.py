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
batch normalization after a convolution     is a factor and a summand of each map: they go into
                                            the kernel and the bias
zeros put around a convolution's inputs     are the convolution's own padding, where that puts
                                            them in the same places
a convolution that keeps the size, or       is also a convolution on the way back, with the kernel
comes before such a pooling                 turned round; TensorFlow's own way back takes longer
the convolution of the layer itself         is computed only for the map that an image excites; its
                                            way back adds up one product per position of the kernel
==========================================  ================================================

XLA compiles elementwise work into one pass over the numbers. It doesn't compile convolutions:
its own are slower on processors. Everything else in a model runs as Keras runs it.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .nested import set_weights
from .tf import keras, tf

# The four positions in a pooling's window, row by row.
WINDOW = np.arange(4, dtype=np.int8)

# Marks an output that is 0 because of ReLU: none of the four positions gets its gradient.
_NO_WINNER = np.int8(4)

# Sums are faster than a convolution only if an output has no more inputs than this.
MOST_INPUTS = 27

# Convolutions that a batch normalization can become a part of.
_CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)

#: Activations that are layers of their own.
ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.Softmax,
)

# Layers of one input that treat every position alike.
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


def fused(function: Any) -> Any:
    return tf.function(function, jit_compile=True, autograph=False)


def faster(model: Any) -> Any:
    """A copy of the model that is faster where one of this module's rules applies.

    The copy may take a smaller image: the first rows and columns of the model's image. Its
    outputs and image gradients agree with the model's at test time within rounding.

    Examples
    --------
    A kernel of 3 pixels that moves in steps of 2 never reaches the last of 28 columns.

    >>> image = keras.Input((28, 28, 1))
    >>> model = keras.Model(image, keras.layers.Conv2D(2, 3, strides=2)(image))
    >>> faster(model).inputs[0].shape
    (None, 27, 27, 1)
    """
    model = keras.Model(model.inputs[0], model.outputs[0])
    try:
        # A copy's layers know no other model, so who takes whose output can be read from them.
        cut_model = _clone(model, seen_shape(model), {})
        _set_all_weights(cut_model, model, {})
        substitutes = _substitutes(cut_model)
        fast_model = _clone(cut_model, cut_model.inputs[0].shape[1:], substitutes)
        _set_all_weights(fast_model, cut_model, substitutes)
    except (ValueError, TypeError, NotImplementedError):
        return model  # Keras can't copy every model; such a one runs as it is
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
        super().__init__(name=convolution.name, trainable=False, dtype="float32")
        self.kernel, self.bias = _variables(*_kernel_and_bias(convolution))
        self.ways = ways

    def call(self, inputs: Any) -> Any:
        """(n, height, width, channels) -> (n, height' / 2, width' / 2, maps)."""
        forward, backward = self.ways(_value(self.kernel), _value(self.bias), inputs.shape[1:])

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def convolved_pooled(inputs: Any) -> Any:
            outputs, winners = forward(inputs)
            return outputs, lambda gradient: backward(winners, gradient)

        return convolved_pooled(inputs)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Told here, as Keras would trace `call` to find out, which takes long."""
        sides = [n - k + 1 for n, k in zip(input_shape[1:3], self.kernel.shape[:2], strict=True)]
        return (input_shape[0], *(side // 2 for side in sides), self.kernel.shape[-1])


def by_convolution(kernel: Any, bias: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """The forward and the backward pass of `ConvolvedPooled`, with TensorFlow's convolutions.

    Parameters
    ----------
    kernel : tensor, (height, width, channels, maps)
    bias : tensor, (maps,)
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

    @fused
    def pool(convolved: Any) -> tuple[Any, Any]:
        return pooled(convolved, bias)

    @fused
    def unpool(winners: Any, gradient: Any) -> Any:
        return _padded(unpooled(winners, gradient), sides)

    def forward(inputs: Any) -> Any:
        return pool(tf.nn.conv2d(inputs, kernel, 1, "VALID"))

    # The way back of a convolution is a convolution with the kernel turned round, too.
    turned = tf.transpose(kernel[::-1, ::-1], (0, 1, 3, 2))
    around = [[0, 0], *[[side - 1, side - 1] for side in kernel.shape[:2]], [0, 0]]

    def backward(winners: Any, gradient: Any) -> Any:
        return tf.nn.conv2d(unpool(winners, gradient), turned, 1, around)

    return forward, backward


def by_sums(kernel: Any, bias: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """The same two passes for images of few channels; parameters as `by_convolution`.

    The forward pass adds up the few products of each output one by one, so that it writes
    nothing before the pooling. The backward pass is four matrix products: each takes the
    gradient of one position of the window to the patch of pixels that the window sees.
    """
    height, width, channels, n_maps = kernel.shape

    @fused
    def forward(images: Any) -> Any:
        return summed_and_pooled(images, kernel, bias)

    # Windows are 2 pixels apart, so a patch's sides are counted in steps of 2 pixels, rounded up.
    patch_steps = (height + 2) // 2, (width + 2) // 2
    missing = 2 * patch_steps[0] - height, 2 * patch_steps[1] - width

    @fused
    def backward(winners: Any, gradient: Any) -> Any:
        _, rows, columns, _ = gradient.shape
        winners, gradient = (tf.reshape(values, (1, -1, n_maps)) for values in (winners, gradient))
        patches = [
            tf.pad(kernel, [[i, missing[0] - i], [j, missing[1] - j], [0, 0], [0, 0]])
            for i, j in np.ndindex(2, 2)
        ]
        patches = tf.transpose(tf.reshape(tf.stack(patches), (4, -1, n_maps)), (0, 2, 1))
        # A comparison with all four at once: XLA takes a stack of four apart, number by number.
        by_position = tf.where(winners == WINDOW.reshape(4, 1, 1), gradient, 0.0)
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


class TwoWayConvolution(keras.layers.Layer):  # type: ignore[misc]
    """A convolution (stride 1, an output for each input) with a faster way back.

    Parameters
    ----------
    name : str
    kernel : array, (height, width, channels, maps)
        Its sides are odd.
    bias : array, (maps,)
    activation : function
    """

    padding = "same"

    def __init__(self, name: str, kernel: np.ndarray, bias: np.ndarray, activation: Any) -> None:
        super().__init__(name=name, trainable=False, dtype="float32")
        turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
        self.kernel, self.turned, self.bias = _variables(kernel, turned, bias)
        self.activation = activation

    def linear(self, name: str) -> TwoWayConvolution:
        """The same without its activation."""
        kernel, bias = (variable.numpy() for variable in (self.kernel, self.bias))
        return TwoWayConvolution(name, kernel, bias, tf.identity)

    def call(self, inputs: Any) -> Any:
        """(n, height, width, channels) -> (n, height, width, maps)."""
        kernel, turned = (tf.convert_to_tensor(each.value) for each in (self.kernel, self.turned))

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def convolved(inputs: Any) -> Any:
            outputs = tf.nn.conv2d(inputs, kernel, 1, "SAME")
            return outputs, lambda gradient: tf.nn.conv2d(gradient, turned, 1, "SAME")

        return self.activation(tf.nn.bias_add(convolved(inputs), self.bias.value))


class OwnMaps:
    """A convolution (stride 1) that gives each input one map, its own.

    Parameters
    ----------
    convolution : keras.layers.Conv2D or TwoWayConvolution
    """

    def __init__(self, convolution: Any) -> None:
        kernel, bias = _kernel_and_bias(convolution)
        self.sides = kernel.shape[:2]
        self.is_padded = convolution.padding == "same"
        # (maps, positions of the kernel, channels) and (maps,)
        kernels = kernel.reshape(-1, *kernel.shape[2:]).transpose(2, 0, 1)
        self.variables = _variables(kernels, bias)

    def __call__(self, inputs: Any, maps: Any) -> Any:
        """(n, height, width, channels) and the n inputs' maps -> (n, height', width')."""
        kernels, bias = (tf.gather(_value(each), maps) for each in self.variables)
        height, width, channels = inputs.shape[1:]
        missing = [side - 1 if self.is_padded else 0 for side in self.sides]
        around = [[n // 2, n - n // 2] for n in missing]
        rows, columns = (
            inputs.shape[axis + 1] + missing[axis] - self.sides[axis] + 1 for axis in (0, 1)
        )

        @fused
        def total(products: Any) -> Any:
            """For each output position the sum over the kernel's positions, plus the bias."""
            outputs: Any = bias[:, None, None]
            if any(missing):
                products = tf.pad(products, [[0, 0], *around, [0, 0]])
            for k, (i, j) in enumerate(np.ndindex(self.sides)):
                outputs += products[:, i : i + rows, j : j + columns, k]
            return outputs

        # The gradient has one number for each position: sums are faster than a matrix product.
        # The sum so far stands last: then XLA rounds as the matrix product does.
        @fused
        def backward(gradient: Any) -> Any:
            reach = [
                [side - 1 - before, side - 1 - after]
                for side, (before, after) in zip(self.sides, around, strict=True)
            ]
            gradient = tf.pad(gradient, [[0, 0], *reach])
            of_inputs: Any = 0.0
            for k, (i, j) in enumerate(np.ndindex(self.sides)):
                top, left = self.sides[0] - 1 - i, self.sides[1] - 1 - j
                part = gradient[:, top : top + height, left : left + width, None]
                of_inputs = part * kernels[:, None, None, k] + of_inputs
            return of_inputs

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def own_maps(inputs: Any) -> Any:
            products = tf.reshape(inputs, (-1, height * width, channels))
            products = tf.matmul(products, kernels, transpose_b=True)
            products = tf.reshape(products, (-1, height, width, products.shape[-1]))
            return total(products), backward

        return own_maps(inputs)

    @staticmethod
    def source(layer: Any) -> Any:
        """The convolution whose own maps a layer's maps can be computed from, or None.

        It is the layer itself, or what stands before an activation that is a layer of its own.
        The activation must look at one number at a time.
        """
        if isinstance(layer, keras.layers.Activation) and not _is_elementwise(layer):
            return None
        if not isinstance(layer, ACTIVATIONS):
            return layer if _is_simple(layer) and _is_elementwise(layer) else None
        source = layer.input._keras_history.operation
        while isinstance(source, Absorbed):
            source = source.input._keras_history.operation
        is_shared = len(source._inbound_nodes) > 1
        is_convolution = _is_simple(source) or isinstance(source, TwoWayConvolution)
        return source if is_convolution and _is_linear(source) and not is_shared else None


def _value(variable: Any) -> Any:
    """A weight as a tensor, or as an array where it is no argument: XLA makes more of constants."""
    if not isinstance(variable.value, tf.Variable):
        return variable.value
    with tf.init_scope():
        return variable.value.numpy()


def _variables(*arrays: np.ndarray) -> list[Any]:
    return [keras.Variable(array, dtype="float32", trainable=False) for array in arrays]


def pooled(convolved: Any, bias: Any) -> tuple[Any, Any]:
    """ReLU and 2 x 2 pooling of a convolution that has no bias yet: outputs and winners."""
    height, width = (side // 2 * 2 for side in convolved.shape[1:3])
    window = [convolved[:, i:height:2, j:width:2] for i in range(2) for j in range(2)]
    return _relu_of_largest(window, bias)


def summed_and_pooled(images: Any, kernel: Any, bias: Any) -> tuple[Any, Any]:
    """Convolution, ReLU and pooling in one pass over images of few channels."""
    height, width, channels, _ = kernel.shape
    rows, columns = (
        (side - reach + 1) // 2 * 2
        for side, reach in zip(images.shape[1:3], (height, width), strict=True)
    )
    window: list[Any] = [0.0] * 4
    for k, (i, j, c) in itertools.product(range(4), np.ndindex(height, width, channels)):
        top, left = k // 2 + i, k % 2 + j
        pixels = images[:, top : top + rows : 2, left : left + columns : 2, c, None]
        window[k] += pixels * kernel[i, j, c]
    return _relu_of_largest(window, bias)


def unpooled(winners: Any, gradient: Any) -> Any:
    """The gradient of what was pooled: each window's winner gets it, the other three get 0."""
    _, rows, columns, n_maps = gradient.shape
    is_winner = winners[:, :, None, :, None] == WINDOW.reshape(2, 1, 2, 1)
    values = tf.where(is_winner, gradient[:, :, None, :, None], 0.0)
    return tf.reshape(values, (-1, 2 * rows, 2 * columns, n_maps))


def _padded(values: Any, sides: tuple[int, ...]) -> Any:
    """The values with zeros added below and to the right, up to these sides."""
    missing = [[0, sides[axis] - values.shape[axis + 1]] for axis in (0, 1)]
    return tf.pad(values, [[0, 0], *missing, [0, 0]])


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


class Absorbed(keras.layers.Layer):  # type: ignore[misc]
    """Stands in the place of a layer whose work another one does, and is called like it."""

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        return inputs


# What stands in the place of a layer, and its weights.
_Substitutes = dict[str, tuple[Any, list[np.ndarray]]]


def _substitutes(model: Any) -> _Substitutes:
    """Name of a layer -> what makes the model faster in its place.

    The last layer stays as it is, but for a pooling.
    """
    substitutes: _Substitutes = {}
    followers = _followers(model)
    last_layer = model.output._keras_history.operation
    for layer in model.layers:
        if type(layer) not in _CONVOLUTIONS or len(layer._inbound_nodes) != 1:
            continue
        follower = followers.get(layer.name)
        (before,) = (node.operation for node in layer._inbound_nodes[0].parent_nodes)
        absorbed: list[Any] = []
        if _is_pair(layer, follower):
            substitutes[layer.name] = ConvolvedPooled(layer, _ways(layer, before)), []
            absorbed.append(follower)
        elif layer is not last_layer:
            if followers.get(before.name) is layer and _is_own_padding(before, layer):
                absorbed.append(before)
            if follower is not last_layer and _can_normalize(follower, layer):
                absorbed.append(follower)
            substitutes[layer.name] = _absorbing(layer, absorbed)
        substitutes |= {
            other.name: (Absorbed(name=other.name, dtype="float32"), []) for other in absorbed
        }
    return substitutes


def _followers(model: Any) -> dict[str, Any]:
    """The layers whose output one other layer takes and nothing else: name -> that layer."""
    users: dict[int, list[Any]] = {}
    for operation in model.operations:
        for node in operation._inbound_nodes:
            for tensor in node.input_tensors:
                users.setdefault(id(tensor), []).append(operation)
    output_ids = {id(tensor) for tensor in model.outputs}
    followers = {}
    for layer in model.layers:
        if len(layer._inbound_nodes) != 1 or id(layer.output) in output_ids:
            continue
        users_of_layer = users.get(id(layer.output), [])
        if len(users_of_layer) == 1 and len(users_of_layer[0]._inbound_nodes) == 1:
            followers[layer.name] = users_of_layer[0]
    return followers


def _is_simple(layer: Any) -> bool:
    """Whether a layer is a float32 convolution with stride 1 and without groups."""
    return (
        type(layer) is keras.layers.Conv2D
        and layer.strides == layer.dilation_rate == (1, 1)
        and layer.groups == 1
        and layer.compute_dtype == "float32"
    )


def _is_linear(layer: Any) -> bool:
    return layer.activation is keras.activations.linear


def _is_elementwise(layer: Any) -> bool:
    """Whether a layer's activation looks at one number at a time.

    Softmax counts too: what goes into it is the response (`oiplib.engine.layers`).
    """
    return getattr(layer.activation, "__name__", "") in (*_ELEMENTWISE, "softmax")


def _is_pair(convolution: Any, follower: Any) -> bool:
    """Whether `ConvolvedPooled` can do the work of both."""
    return (
        _is_simple(convolution)
        and convolution.padding == "valid"
        and convolution.activation is keras.activations.relu
        and type(follower) is keras.layers.MaxPooling2D
        and follower.pool_size == follower.strides == (2, 2)
        and follower.padding == "valid"
    )


def _ways(convolution: Any, before: Any) -> Any:
    sees_image = type(before) is keras.layers.InputLayer
    has_few_inputs = np.prod(convolution.kernel.shape[:3]) <= MOST_INPUTS
    return by_sums if sees_image and has_few_inputs else by_convolution


def _is_own_padding(zeros: Any, convolution: Any) -> bool:
    """Whether a layer adds the zeros that the convolution's padding ``same`` would add."""
    if type(zeros) is not keras.layers.ZeroPadding2D or convolution.padding != "valid":
        return False
    for axis in (0, 1):
        size, stride = zeros.input.shape[axis + 1], convolution.strides[axis]
        reach = (convolution.kernel_size[axis] - 1) * convolution.dilation_rate[axis] + 1
        n_zeros = max((-(-size // stride) - 1) * stride + reach - size, 0)
        if zeros.padding[axis] != (n_zeros // 2, n_zeros - n_zeros // 2):
            return False
    return True


def _can_normalize(layer: Any, convolution: Any) -> bool:
    """Whether a layer only scales and shifts each of the convolution's maps."""
    return (
        type(layer) is keras.layers.BatchNormalization
        and layer.axis in (-1, 3)
        and layer.compute_dtype == convolution.compute_dtype == "float32"
        and _is_linear(convolution)
    )


def _absorbing(convolution: Any, absorbed: list[Any]) -> tuple[Any, list[np.ndarray]]:
    """A convolution that does the work of zero padding and batch normalization too."""
    config = convolution.get_config()
    weights = convolution.get_weights()
    bias = weights.pop() if convolution.use_bias else np.zeros(convolution.output.shape[-1])
    for layer in absorbed:
        if isinstance(layer, keras.layers.ZeroPadding2D):
            config["padding"] = "same"
        else:
            factor, summand = _scale_of(layer)
            # The maps are a kernel's last axis; in a depthwise one they are its last two.
            by_depth = isinstance(convolution, keras.layers.DepthwiseConv2D)
            weights[-1] = weights[-1] * factor.reshape(weights[-1].shape[2 if by_depth else 3 :])
            bias = bias * factor + summand
    weights = [array.astype(np.float32) for array in (*weights, bias)]
    is_odd = all(side % 2 for side in convolution.kernel_size)
    keeps_size = config["padding"] == "same" or convolution.kernel_size == (1, 1)
    if _is_simple(convolution) and is_odd and keeps_size:
        kernel, bias = weights
        return TwoWayConvolution(convolution.name, kernel, bias, convolution.activation), []
    return type(convolution).from_config({**config, "use_bias": True}), weights


def _scale_of(normalization: Any) -> tuple[np.ndarray, np.ndarray]:
    """What a batch normalization multiplies each map by at test time, and then adds."""
    variance = normalization.moving_variance.numpy().astype(np.float64)
    factor = 1 / np.sqrt(variance + normalization.epsilon)
    if normalization.scale:
        factor *= normalization.gamma.numpy()
    summand = -normalization.moving_mean.numpy() * factor
    if normalization.center:
        summand += normalization.beta.numpy()
    return factor, summand


def _kernel_and_bias(convolution: Any) -> tuple[np.ndarray, np.ndarray]:
    """As arrays; a bias of 0 where the convolution has none."""
    kernel = convolution.kernel.numpy()
    if convolution.bias is None:
        return kernel, np.zeros(kernel.shape[-1], np.float32)
    return kernel, convolution.bias.numpy()


def seen_shape(model: Any) -> tuple[int, ...]:
    """The smallest image from which the model still gives an output of the same shape."""
    shape: list[int] = list(model.inputs[0].shape[1:])
    if not all(type(layer) in _LOCAL and _unpadded(layer) for layer in model.operations):
        return tuple(shape)
    # Such layers have one input each, so they stand in a row.
    wanted = tuple(model.output.shape[1:])
    if _shape_after(model, shape) != wanted:
        return tuple(shape)  # a layer stands in the row twice
    for axis in (0, 1):
        while shape[axis] > 1:
            smaller = [side - (k == axis) for k, side in enumerate(shape)]
            if _shape_after(model, smaller) != wanted:
                break
            shape = smaller
    return tuple(shape)


def _shape_after(model: Any, shape: list[int]) -> tuple[int, ...] | None:
    """The shape that an image of this shape comes to; None if it is smaller than a kernel."""
    batch_shape: tuple[int | None, ...] = (None, *shape)
    try:
        for layer in model.layers[1:]:
            batch_shape = layer.compute_output_shape(batch_shape)
    except ValueError:
        return None
    return batch_shape[1:]  # type: ignore[return-value]


def _unpadded(layer: Any) -> bool:
    return getattr(layer, "padding", "valid") == "valid"


def _clone(model: Any, shape: tuple[int, ...], substitutes: _Substitutes) -> Any:
    """A copy of the model without its weights, for images of this shape."""

    def copy(operation: Any) -> Any:
        if operation.name in substitutes:
            return substitutes[operation.name][0]
        return type(operation).from_config(operation.get_config())

    images = keras.Input(shape, name=model.inputs[0].name)
    return keras.models.clone_model(model, input_tensors=images, clone_function=copy)


def _set_all_weights(copy: Any, model: Any, substitutes: _Substitutes) -> None:
    for layer in model.layers:
        _, weights = substitutes.get(layer.name) or (None, layer.get_weights())
        if weights:
            set_weights(copy.get_layer(layer.name), weights)
