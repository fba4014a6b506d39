"""The training of the articles' network, compiled as one loop over images in memory (part III).

Keras' ``fit`` hands over one batch after the other, pools by its own layers and runs each
operation in threads that wait for each other. Here many batches are one call, convolution, ReLU and
pooling are one layer both ways (`oiplib.engine.fast`), and several trainings run side by side.
The formulas, the initial weights, the order of the images and the history are those of ``fit``.

=====================================  =====================================================
pixels that the last layer never sees  are cut off before the first layer
gradient of a pooled convolution       needs only to know which of four positions won
gradient of a kernel                   is a matrix product for each of the kernel's rows
=====================================  =====================================================

On some processors TensorFlow's matrix products and sums depend on the number of threads, in their
last bits. So a study trains its networks in processes with a single thread
(`oiplib.study.networks.train`): the same bytes, and four of them side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..progress import SILENT
from ..values import CnnSpec
from .data import Dataset
from .fast import MOST_INPUTS, WINDOW, fused, pooled, seen_shape, summed_and_pooled, unpooled
from .images import standardize
from .network import build, pack
from .tf import keras, tf
from .threads import first_alone

# Batches in one call: about half a second of work, after which the progress bar moves.
_AT_ONCE = 50

# How fast RMSprop forgets, and what keeps it from dividing by 0: Keras' defaults.
_RHO, _EPSILON = 0.9, 1e-7

History = dict[str, list[float]]


def train(spec: CnnSpec, dataset: Dataset, progress: Any = SILENT) -> tuple[Any, History]:
    """Train a network on standardized images.

    The same spec and data give the same bytes of weights on the same machine with the same number
    of threads, whatever is trained beside it. The initial weights and the order of the images have
    their own seeds, and nothing else is random.

    Parameters
    ----------
    spec
        The network and its training.
    dataset
        The images. The test images only serve for the history.
    progress
        A progress bar that counts batches.

    Returns
    -------
    model : keras.Model
    history : dict
        Name -> a value per epoch, for ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy``
        and ``learning_rate`` (at the end of the epoch). ``val`` means the test images. Losses
        contain the L2 penalty; those of training are means over an epoch, while the weights
        change.

    Raises
    ------
    InputError
        If the images are too small for so many layers.
    """
    n_images, n_tests = len(dataset.train_images), len(dataset.test_images)
    model = build(spec, dataset.train_images.shape[1:], dataset.n_classes)
    update, assess = _compiled(model, spec, dataset)
    n_batches = -(-n_images // spec.batch_size)
    schedule = keras.optimizers.schedules.PolynomialDecay(
        spec.learning_rate, spec.epochs * n_batches, spec.final_learning_rate
    )
    rates = np.array(schedule(np.arange(spec.epochs * n_batches + 1)))
    history: History = {}
    for epoch in range(spec.epochs):
        done = epoch * n_batches
        totals = np.zeros(2)
        for batches in _batches(image_order(spec, epoch, n_images), spec.batch_size):
            totals += update(batches, rates[done : done + len(batches)])
            done += len(batches)
            progress.update(len(batches))
        tests = _batches(np.arange(n_tests), spec.batch_size)
        tested = np.sum([assess(batches) for batches in tests], axis=0)
        values = *totals / n_images, *tested / n_tests, rates[done]
        names = "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"
        for name, value in zip(names, values, strict=True):
            history.setdefault(name, []).append(float(value))
        accuracy = f"{history['val_accuracy'][-1]:.2%}"
        progress.set_postfix(epoch=f"{epoch + 1}/{spec.epochs}", test=accuracy)
    return model, history


def trained(spec: CnnSpec, dataset: Dataset, progress: Any = SILENT) -> tuple[str, bytes, History]:
    """`train`, as values that travel between processes; the first two are for `network.unpack`.

    Returns
    -------
    architecture : str
    weights : bytes
    history : dict
    """
    model, history = train(spec, dataset, progress)
    return *pack(model), history


def _compiled(
    model: Any, spec: CnnSpec, dataset: Dataset
) -> tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]:
    """Two compiled loops over batches of a data set, by number of their images.

    Returns
    -------
    update : function
        Batches, int64 (n, images), and learning rates, float32 (n,) -> the sums over all images
        of the losses, and of those in the right class. Changes the model's weights.
    assess : function
        Batches of test images -> the same two sums.
    """
    weights = [variable.value for variable in model.trainable_variables]
    slots = [[tf.Variable(tf.zeros_like(each)) for each in weights] for _ in range(2)]
    rows, columns = _seen_sides(model, spec)

    def losses(numbers: Any, images: Any, labels: Any) -> tuple[Any, Any]:
        """The mean loss of a batch, and how many of its images are in the right class."""
        seen = standardize(tf.gather(images, numbers))[:, :rows, :columns]
        labels = tf.gather(labels, numbers)
        scores = _scores(weights, len(spec.maps), seen)
        penalty = spec.l2 * sum(
            tf.reduce_sum(tf.square(kernel)) for kernel in weights[2 * len(spec.maps) :: 2]
        )
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
        right = tf.equal(tf.argmax(scores, axis=1), labels)
        return tf.reduce_mean(loss) + penalty, tf.reduce_sum(tf.cast(right, tf.float32))

    def descend(numbers: Any, rate: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            loss, right = losses(numbers, *training_set)
        steps = [
            tf.raw_ops.ResourceApplyRMSProp(
                var=weight.handle,
                ms=mean.handle,
                mom=momentum.handle,
                lr=rate,
                rho=_RHO,
                momentum=spec.momentum,
                epsilon=_EPSILON,
                grad=gradient,
            )
            for weight, gradient, mean, momentum in zip(
                weights, tape.gradient(loss, weights), *slots, strict=True
            )
        ]
        with tf.control_dependencies(steps):
            return tf.identity(loss), tf.identity(right)

    training_set, test_set = (
        (tf.constant(images), tf.constant(labels))
        for images, labels in (
            (dataset.train_images, dataset.train_labels),
            (dataset.test_images, dataset.test_labels),
        )
    )
    return (
        _loop(descend, (tf.float32,)),
        _loop(lambda numbers: losses(numbers, *test_set), ()),
    )


def _loop(step: Callable[..., tuple[Any, Any]], kinds: tuple[Any, ...]) -> Callable[..., Any]:
    """Many batches in one call.

    Parameters
    ----------
    step
        The numbers of a batch's images, and a value of each further argument -> their mean loss,
        and how many are right.
    kinds
        The types of the further arguments, which have a value for each batch.
    """

    def of_width(width: int) -> Callable[..., Any]:
        # TensorFlow takes faster ways if it knows how many images a batch has.
        @tf.function(  # type: ignore[untyped-decorator]
            autograph=False,
            input_signature=[
                tf.TensorSpec((None, width), tf.int64),
                *(tf.TensorSpec((None,), kind) for kind in kinds),
            ],
        )
        def loop(batches: Any, *values: Any) -> Any:
            def body(k: Any, total: Any) -> tuple[Any, Any]:
                loss, right = step(batches[k], *(each[k] for each in values))
                return k + 1, total + tf.cast(tf.stack([loss * width, right]), tf.float64)

            start = tf.constant(0), tf.zeros(2, tf.float64)
            n = tf.shape(batches)[0]
            # One batch after the other: each needs the weights that the one before has left.
            return tf.while_loop(lambda k, _: k < n, body, start, parallel_iterations=1)[1]

        return first_alone(loop)

    loops: dict[int, Callable[..., Any]] = {}

    def run(batches: np.ndarray, *values: np.ndarray) -> np.ndarray:
        width = batches.shape[1]
        loop = loops.get(width) or loops.setdefault(width, of_width(width))
        return np.asarray(loop(batches, *values))

    return run


def _batches(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """All numbers in this order in batches, many batches at a time; the last may be smaller."""
    whole = order[: len(order) // size * size].reshape(-1, size)
    yield from (whole[first : first + _AT_ONCE] for first in range(0, len(whole), _AT_ONCE))
    if len(order) % size:
        yield order[None, whole.size :]


def image_order(spec: CnnSpec, epoch: int, n: int) -> np.ndarray:
    """The order in which an epoch shows the n training images."""
    sequence = np.random.SeedSequence(spec.order_seed, spawn_key=(epoch,))
    return np.random.default_rng(sequence).permutation(n)


def _seen_sides(model: Any, spec: CnnSpec) -> tuple[int, int]:
    """Rows and columns of the image that reach the last convolution."""
    last = model.get_layer(f"Conv2D_{len(spec.maps)}")
    rows, columns, _ = seen_shape(keras.Model(model.inputs[0], last.output))
    return rows, columns


def _scores(weights: list[Any], n_convolutions: int, images: Any) -> Any:
    """What goes into the softmax, (n, classes).

    Parameters
    ----------
    weights : list of tf.Variable
        Kernel and bias of each layer, in the order of `network.build`.
    images : tensor, (n, height, width, channels)
        Their sides let every pooling come out even.
    """
    layers = list(zip(weights[::2], weights[1::2], strict=True))
    x = images
    for number, (kernel, bias) in enumerate(layers[:n_convolutions]):
        is_first, is_last = number == 0, number == n_convolutions - 1
        if is_last:
            x = tf.nn.relu(_convolved(x, kernel, is_first) + bias)
        else:
            x = _convolved_pooled(x, kernel, bias, is_first)
    x = tf.reshape(x, (-1, np.prod(x.shape[1:])))
    for number, (kernel, bias) in enumerate(layers[n_convolutions:], n_convolutions):
        x = tf.nn.bias_add(x @ kernel, bias)
        if number < len(layers) - 1:
            x = tf.nn.relu(x)
    return x


def _convolved(inputs: Any, kernel: Any, is_first: bool) -> Any:
    """A convolution; the images have no gradient."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolved(inputs: Any, kernel: Any) -> Any:
        def backward(gradient: Any) -> tuple[Any, Any]:
            by_rows = tf.transpose(gradient, (1, 0, 2, 3))
            by_inputs = None if is_first else _by_inputs(inputs, kernel, gradient)
            return by_inputs, _by_kernel(inputs, by_rows)

        return tf.nn.conv2d(inputs, kernel, 1, "VALID"), backward

    return convolved(inputs, tf.convert_to_tensor(kernel))


def _convolved_pooled(inputs: Any, kernel: Any, bias: Any, is_first: bool) -> Any:
    """A convolution, ReLU and pooling; the images have no gradient."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def convolved_pooled(inputs: Any, kernel: Any, bias: Any) -> Any:
        if is_first and np.prod(kernel.shape[:3]) <= MOST_INPUTS:
            outputs, winners = _summed_and_pooled(inputs, kernel, bias)
        else:
            outputs, winners = _pooled(tf.nn.conv2d(inputs, kernel, 1, "VALID"), bias)

        def backward(gradient: Any) -> tuple[Any, Any, Any]:
            by_inputs = None
            if not is_first:
                by_inputs = _by_inputs(inputs, kernel, _unpooled(winners, gradient))
            by_kernel = _by_kernel(inputs, _unpooled_by_rows(winners, gradient))
            passed = tf.raw_ops.ReluGrad(gradients=gradient, features=outputs)
            by_bias = tf.reduce_sum(passed, (0, 1, 2))
            return by_inputs, by_kernel, by_bias

        return outputs, backward

    return convolved_pooled(inputs, tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias))


def _by_inputs(inputs: Any, kernel: Any, gradient: Any) -> Any:
    """The gradient of a convolution's inputs, from that of its outputs.

    Where there are few outputs, what goes back from all of them is one matrix product, and little
    is left to be summed up.
    """
    n, rows, columns, n_maps = gradient.shape
    if 2 * rows * columns > np.prod(inputs.shape[1:3]):
        return tf.nn.conv2d_transpose(gradient, kernel, inputs.shape, 1, "VALID")
    parts = tf.matmul(
        tf.reshape(gradient, (-1, n_maps)), tf.reshape(kernel, (-1, n_maps)), transpose_b=True
    )
    return _laid(tf.reshape(parts, (n, rows, columns, *kernel.shape[:3])))


@fused
def _laid(parts: Any) -> Any:
    """Sums of what lies on each input: (n, height', width', *kernel, channels) -> inputs."""
    height, width = parts.shape[3:5]
    return sum(
        tf.pad(parts[:, :, :, i, j], ((0, 0), (i, height - 1 - i), (j, width - 1 - j), (0, 0)))
        for i in range(height)
        for j in range(width)
    )


def _by_kernel(inputs: Any, gradient: Any) -> Any:
    """The gradient of a convolution's kernel: a matrix product for each of its rows.

    Parameters
    ----------
    inputs : tensor, (n, height, width, channels)
    gradient : tensor, (height', n, width', maps)
        Of the convolution's outputs.
    """
    rows, _, columns, n_maps = gradient.shape
    height, width, channels = inputs.shape[1:]
    sides = height - rows + 1, width - columns + 1
    shifted, by_output = _shifted(inputs, sides[1]), tf.reshape(gradient, (-1, n_maps))
    by_row = [
        tf.matmul(
            tf.reshape(shifted[i : i + rows], (-1, sides[1] * channels)),
            by_output,
            transpose_a=True,
        )
        for i in range(sides[0])
    ]
    return tf.reshape(tf.stack(by_row), (*sides, channels, n_maps))


@fused
def _shifted(inputs: Any, n_columns: int) -> Any:
    """What each row of a kernel sees: (height, n, width', columns of the kernel x channels)."""
    inputs = tf.transpose(inputs, (1, 0, 2, 3))
    width = inputs.shape[2] - n_columns + 1
    return tf.concat([inputs[:, :, j : j + width] for j in range(n_columns)], axis=-1)


_pooled, _summed_and_pooled, _unpooled = map(fused, (pooled, summed_and_pooled, unpooled))


@fused
def _unpooled_by_rows(winners: Any, gradient: Any) -> Any:
    """As `unpooled`, with the images behind the rows: (height, n, width, maps)."""
    winners, gradient = (tf.transpose(each, (1, 0, 2, 3)) for each in (winners, gradient))
    rows, n, columns, n_maps = gradient.shape
    is_winner = winners[:, None, :, :, None] == WINDOW.reshape(2, 1, 1, 2, 1)
    values = tf.where(is_winner, gradient[:, None, :, :, None], 0.0)
    return tf.reshape(values, (2 * rows, n, 2 * columns, n_maps))
