"""Models as people have them: taken in, checked, and asked what they tell about themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, OipError
from ..values.inputs import Inputs
from . import network
from .architecture import (
    architecture_of,
    check,
    floats_of,
    for_study,
    foreign,
    reason,
    without_training,
)
from .images import Shape
from .layers import check_channels_last, image_shape
from .nested import all_layers, is_nested, run, set_weights
from .proposals import proposed_inputs
from .tf import keras, tf

__all__ = ["ImageSize", "probe", "proposed_inputs", "read", "same_outputs", "taken"]

#: Height and width of the images of a model that takes any size; one number for squares.
ImageSize = int | tuple[int, int]

# How far two computations of one network may be apart (root mean square), in units of their size.
_TOLERANCE = 1e-3
_TOLERANCES = {"float16": 0.02, "bfloat16": 0.1}

# Of a network's outputs on the fixed images, so many are kept at most.
_MOST_OUTPUTS = 4096

# Smaller probabilities count as this one: processors treat still smaller numbers in several ways.
_LEAST = float(np.finfo(np.float32).tiny)

_SEED = 20


def read(path: str | Path, image_size: ImageSize | None = None) -> Any:
    """The network in a ``.keras``, ``.h5`` or ``.hdf5`` file; see `taken`.

    No code from the file runs.

    Raises
    ------
    InputError
        If there is no such file, or it is damaged, or as `taken`.
    """
    model = network.load(path)
    try:
        return taken(model, image_size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def taken(model: Any, image_size: ImageSize | None = None) -> Any:
    """A trained Keras model as a network that can be stored and studied.

    The network is rebuilt from its architecture and weights alone, in float32. On a few fixed
    images its layers and its outputs are compared with the model's. The model stays as it is.

    Parameters
    ----------
    model : keras.Model
        Functional or sequential, with one image as its input. It may have several outputs and
        inner models, and may compute in another precision.
    image_size
        Height and width of the images, for a model that takes images of any size.

    Returns
    -------
    keras.Model

    Raises
    ------
    InputError
        If the model has no graph, isn't built, or takes anything but one image, channels last;
        if Keras alone can't rebuild it; if the image size is missing or doesn't suit the model;
        if the rebuilt network answers differently. The message says what to do.

    Examples
    --------
    >>> image = keras.Input((None, None, 1))
    >>> model = keras.Model(image, keras.layers.Conv2D(2, 3)(image))
    >>> taken(model, image_size=8).output_shape
    (None, 6, 6, 2)
    """
    model = _with_graph(model)
    size = _size(model, image_size)
    architecture = _architecture(model)
    rebuilt = _rebuilt(model, architecture, size)
    _compare(
        model, rebuilt, [_TOLERANCES.get(name, _TOLERANCE) for name in floats_of(architecture)]
    )
    return rebuilt


def probe(model: Any, inputs: Inputs) -> np.ndarray:
    """What a network answers to four fixed images within its inputs: all outputs, one by one.

    Probabilities are kept as logarithms, since a saturated softmax would hide what changes before
    it. Of more than 4,096 values, so many are taken at even distances.

    Returns
    -------
    array, float32, (n,)

    Examples
    --------
    >>> image = keras.Input((8, 8, 1))
    >>> model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(image))
    >>> probe(model, Inputs(0, 1)).shape
    (4,)
    """
    images = _images(image_shape(model), inputs)
    answers = [tf.nest.flatten(model(tf.constant(image[None]), training=False)) for image in images]
    by_output = zip(*answers, strict=True)
    return _kept([_numbers(output) for outputs in by_output for output in outputs])


def same_outputs(first: np.ndarray, second: np.ndarray, tolerance: float = _TOLERANCE) -> bool:
    """Whether two results of `probe` agree within rounding, also that of another machine.

    Parameters
    ----------
    first, second : arrays, (n,)
    tolerance
        Largest root mean square of their difference, in units of their own.

    Examples
    --------
    >>> outputs = np.array([0.5, -2.0, 1.0])
    >>> same_outputs(outputs, outputs * 1.00001), same_outputs(outputs, outputs * 1.1)
    (True, False)
    """
    if first.shape != second.shape:
        return False
    first, second = first.astype(np.float64), second.astype(np.float64)
    finite = np.isfinite(first)
    if not np.array_equal(finite, np.isfinite(second)):
        return False
    first, second = first[finite], second[finite]
    size = max(np.linalg.norm(first), np.linalg.norm(second))
    return bool(np.linalg.norm(first - second) <= tolerance * size)


def _with_graph(model: Any) -> Any:
    """The model as one of Keras' own two kinds, with one input."""
    if not isinstance(model, keras.Model):
        raise InputError(
            f"a model must be a model of Keras {keras.__version__}, not "
            f"{type(model).__module__.split('.')[0]}.{type(model).__qualname__}"
        )
    caller = next(kind for kind in type(model).__mro__ if "call" in vars(kind))
    if not is_nested(model) or not caller.__module__.startswith("keras."):
        raise InputError(
            f"the model is a class of its own ({type(model).__name__}), whose layers aren't known: "
            "build it by keras.Model(inputs, outputs) from keras.Input and Keras' layers"
        )
    try:
        inputs = list(model.inputs)
    except (AttributeError, ValueError):
        raise InputError(
            "the model isn't built: let it begin with keras.Input((height, width, channels)), "
            "and train it"
        ) from None
    if len(inputs) != 1:
        names = ", ".join(tensor.name for tensor in inputs)
        raise InputError(
            f"the model takes {len(inputs)} inputs ({names}), and it must take one image: make "
            "a model of the part that sees the image by keras.Model(image, outputs)"
        )
    of_keras = type(model).__module__.startswith("keras.")
    if of_keras and (isinstance(model, keras.Sequential) or not isinstance(model.input, dict)):
        return model
    return keras.Model(inputs[0], model.outputs, name=model.name)


def _check_image(shape: tuple[int | None, ...], dtype: str) -> None:
    """Raise `InputError` unless an input of this shape is one image, channels last."""
    what = f"the model takes values of the shape {shape}, and it must take one image"
    if dtype == "string":
        raise InputError(f"{what}: text isn't one")
    if len(shape) != 3:
        raise InputError(
            f"{what} (height, width, channels): put keras.Input((height, width, channels)) and "
            f"keras.layers.Reshape({shape}) before it, by keras.Sequential"
        )
    if shape[2] is None:
        raise InputError(f"{what} of a known number of channels: build it for 1 or 3, say")
    if shape[0] in (1, 3, 4) and shape[2] > 4:
        raise InputError(
            f"{what}: this looks like channels first, so build it for (height, width, channels)"
        )


def _size(model: Any, image_size: ImageSize | None) -> tuple[int, int] | None:
    """Height and width of the images, if they must be set."""
    shape = tuple(model.inputs[0].shape[1:])
    _check_image(shape, str(model.inputs[0].dtype))
    if image_size is None:
        if None in shape:
            raise InputError(
                "the model takes images of any size: name one, such as --image-size 64x64 or 64 "
                "(in Python image_size=64)"
            )
        return None
    size: tuple[Any, ...] = (image_size, image_size)
    if isinstance(image_size, (tuple, list)):
        size = tuple(image_size)
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise InputError(f"an image size is a height and a width in pixels, not {image_size!r}")
    if any(side not in (None, wanted) for side, wanted in zip(shape, size, strict=False)):
        fixed = "x".join("any" if side is None else str(side) for side in shape[:2])
        raise InputError(
            f"the model takes images of {fixed} pixels, not {size[0]}x{size[1]}: leave the image "
            "size out"
        )
    return (int(size[0]), int(size[1])) if None in shape else None


def _architecture(model: Any) -> dict[str, Any]:
    check_channels_last(model)
    for layer in all_layers(model):
        # A class of the user's may not even be able to write itself down.
        if not type(layer).__module__.startswith("keras."):
            raise foreign(f"the layer {layer.name!r} is a {type(layer).__name__}")
    try:
        architecture = without_training(architecture_of(model))
    except Exception as error:  # a layer's own code
        raise InputError(f"the model's architecture can't be written: {reason(error)}") from None
    check(architecture)
    return architecture


def _rebuilt(model: Any, architecture: dict[str, Any], size: tuple[int, int] | None) -> Any:
    """The network from architecture and weights, by the way that it takes through a database."""
    studied = for_study(architecture, size)
    if not all(np.isfinite(values.astype(np.float32)).all() for values in model.get_weights()):
        raise InputError("some of the model's weights are no finite numbers: train it anew")
    try:
        if studied != architecture_of(model):
            weights = [
                values.astype(np.float32) if values.dtype.kind in "fV" else values
                for values in model.get_weights()
            ]
            model = keras.models.model_from_json(json.dumps(studied))
            set_weights(model, weights)
        return network.unpack(*network.pack(model))
    except (OipError, ValueError, TypeError, RuntimeError) as error:
        what = f"for images of {size[0]}x{size[1]} pixels " if size else ""
        raise InputError(f"the model can't be rebuilt {what}({reason(error)})") from None


def _compare(model: Any, rebuilt: Any, tolerances: list[float]) -> None:
    """Raise `InputError` if the rebuilt network doesn't do what the model does."""
    tolerance = max([_TOLERANCE, *tolerances])
    # What half precision rounds to zero is no smaller than this.
    least = _LEAST if tolerance == _TOLERANCE else 1e-3
    of_integers = "int" in str(model.inputs[0].dtype)
    inputs = proposed_inputs(rebuilt) or (Inputs(0, 255) if of_integers else Inputs())
    images = _images(image_shape(rebuilt), inputs)
    if of_integers:
        images = np.round(images)
    for image in images:
        theirs, ours = (_by_layer(each, image[None], least) for each in (model, rebuilt))
        for name, values in theirs.items():
            if not same_outputs(values, ours[name], tolerance):
                raise InputError(
                    f"the network that is rebuilt from the model's architecture and weights "
                    f"answers differently, first in {name}: replace that layer by one that "
                    "keeps what it knows in its weights"
                )


def _by_layer(model: Any, image: np.ndarray, least: float) -> dict[str, np.ndarray]:
    """What each layer makes of an image, in the order of computing, and the model's outputs."""
    values: dict[str, np.ndarray] = {}

    def noted(operation: Any, path: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if "training" in signature(operation.call).parameters:
                kwargs["training"] = False
            outputs = operation(*args, **kwargs)
            of_layer = [_numbers(output, least) for output in tf.nest.flatten(outputs)]
            values[f"the layer {path!r}"] = _kept(of_layer)
            return outputs

        return call

    tensor = tf.cast(image, model.inputs[0].dtype)
    try:
        run(model, tensor, noted)
        outputs = tf.nest.flatten(model(tensor, training=False))
    except Exception as error:  # TensorFlow raises nearly anything
        raise InputError(f"the model can't be computed here: {reason(error)}") from None
    values["its outputs"] = _kept([_numbers(output, least) for output in outputs])
    return values


def _numbers(output: Any, least: float = _LEAST) -> np.ndarray:
    """One output as float32 (n,); probabilities as logarithms, and none smaller than `least`."""
    values = np.asarray(tf.cast(output, tf.float32))
    may_be = values.ndim > 1 and values.shape[-1] > 1 and values.min(initial=0) >= 0
    if may_be and np.allclose(values.sum(axis=-1), 1, atol=0.02):
        values = np.log(np.maximum(values, least))
    return values.ravel()


def _kept(parts: list[np.ndarray]) -> np.ndarray:
    values = np.concatenate(parts)
    if len(values) <= _MOST_OUTPUTS:
        return values
    return values[np.linspace(0, len(values) - 1, _MOST_OUTPUTS).astype(int)]


def _images(shape: Shape, inputs: Inputs) -> np.ndarray:
    """Four images of coarse squares and noise, float32, (4, height, width, channels)."""
    height, width, channels = shape
    random = np.random.default_rng(_SEED)
    coarse = random.random((4, 5, 5, channels))
    rows, columns = np.arange(height) * 5 // height, np.arange(width) * 5 // width
    share = (coarse[:, rows][:, :, columns] + random.random((4, *shape))) / 2
    low, high = (np.array(limit) for limit in inputs.limits())
    return (low + (high - low) * share).astype(np.float32)
