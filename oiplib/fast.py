"""The same model with a faster way back to the pixels.

An ascent needs no gradient of the weights, only that of the image. For a convolution on an
image of few channels TensorFlow's kernel for the input gradient is slow on processors: it took
a third of a gradient step of the articles' network. The same sums as one matrix product over
the kernel's positions, shifted and added, take half of that.
"""

from __future__ import annotations

from typing import Any

from ._tf import keras, tf

# With more channels the matrix product loses its advantage.
_MOST_CHANNELS = 4


class ImageConv2D(keras.layers.Conv2D):  # type: ignore[misc]
    """A convolution of the image, stride 1: the same outputs, its input gradient by `_back`."""

    def call(self, images: Any) -> Any:
        """The convolution; shapes as for Conv2D."""
        kernel, padding = tf.convert_to_tensor(self.kernel), self.padding.upper()

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def convolve(x: Any) -> Any:
            def back(dy: Any) -> Any:
                return _back(dy, kernel, x.shape[1:], padding)

            return tf.nn.conv2d(x, kernel, 1, padding), back

        convolved = convolve(images)
        if self.use_bias:
            convolved = tf.nn.bias_add(convolved, tf.convert_to_tensor(self.bias))
        return self.activation(convolved)


def faster(model: Any) -> Any:
    """The model with its convolutions of the image made faster, or itself where there is none.

    Outputs are the same; image gradients agree within rounding.
    """
    images = {id(tensor) for tensor in model.inputs}

    def eligible(layer: Any) -> bool:
        return (
            type(layer) is keras.layers.Conv2D
            and id(layer.input) in images
            and layer.input.shape[-1] <= _MOST_CHANNELS
            and layer.strides == layer.dilation_rate == (1, 1)
            and layer.groups == 1
            and layer.padding in ("valid", "same")
        )

    chosen = {layer.name for layer in model.layers if eligible(layer)}
    if not chosen:
        return model

    def clone(layer: Any) -> Any:
        kind = ImageConv2D if layer.name in chosen else type(layer)
        return kind.from_config(layer.get_config())

    try:
        twin = keras.models.clone_model(model, clone_function=clone)
    except (ValueError, TypeError, NotImplementedError):
        return model  # one that Keras can't copy runs as it is
    twin.set_weights(model.get_weights())
    return twin


def _back(dy: Any, kernel: Any, shape: Any, padding: str) -> Any:
    """Gradient of a convolution's input (n, *shape) from that of its output."""
    height, width, channels = shape
    rows, columns, _, n_maps = kernel.shape
    # (n, y, x, maps) times (maps, rows * columns * channels): what each output position gives to
    # each of the pixels that it sees.
    weights = tf.reshape(kernel, (rows * columns * channels, n_maps))
    out_height, out_width = dy.shape[1], dy.shape[2]
    given = tf.matmul(tf.reshape(dy, (-1, n_maps)), weights, transpose_b=True)
    given = tf.reshape(given, (-1, out_height, out_width, rows * columns, channels))
    # With padding "same" the image begins inside of the padded one.
    top, left = ((rows - 1) // 2, (columns - 1) // 2) if padding == "SAME" else (0, 0)
    total: Any = 0.0
    for k in range(rows * columns):
        i, j = divmod(k, columns)
        around = [[0, 0], [i, rows - 1 - i], [j, columns - 1 - j], [0, 0]]
        total += tf.pad(given[:, :, :, k], around)
    return total[:, top : top + height, left : left + width]
