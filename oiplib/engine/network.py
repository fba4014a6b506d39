"""The network of the articles: build, evaluate, save, load (parts I-III)."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, OipError
from ..files import FAILURES
from ..values import CnnSpec, Inputs
from .architecture import architecture_of, check, from_keras_2, reason
from .bounds import built, parsed_architecture
from .images import Shape, to_inputs
from .model_file import check_file, stored_architecture, weights_file
from .nested import finalize, set_weights
from .npz import read_arrays
from .tf import keras, tf


def build(spec: CnnSpec, image_shape: Shape, n_classes: int) -> Any:
    """The untrained network: conv layers, then a small MLP with softmax.

    The conv layers ``Conv2D_1`` to ``Conv2D_n`` have ReLU, and 2x2 max-pooling between them.
    `spec.weights_seed` seeds the initial weights; each layer has its own random stream.

    Raises
    ------
    InputError
        If the images are too small for so many layers.

    Examples
    --------
    >>> build(CnnSpec(maps=(2, 3), dense=(4,)), (28, 28, 1), n_classes=10).output_shape
    (None, 10)
    """
    seeds = np.random.SeedSequence(spec.weights_seed).generate_state(
        len(spec.maps + spec.dense) + 1
    )
    initializers = iter([keras.initializers.GlorotUniform(seed=int(seed)) for seed in seeds])
    layers = keras.layers
    stack = [layers.Input(image_shape, name="image")]
    for number, n_maps in enumerate(spec.maps, 1):
        stack.append(
            layers.Conv2D(
                n_maps,
                spec.kernel,
                activation="relu",
                kernel_initializer=next(initializers),
                name=f"Conv2D_{number}",
            )
        )
        if number < len(spec.maps):
            stack.append(layers.MaxPooling2D(2, name=f"Max_Pool_{number}"))
    stack.append(layers.Flatten(name="Flatten"))
    decay = keras.regularizers.L2(spec.l2)
    dense_layers = {f"Dense_{i}": (n, "relu") for i, n in enumerate(spec.dense, 1)}
    dense_layers["Classes"] = (n_classes, "softmax")
    for name, (width, activation) in dense_layers.items():
        stack.append(
            layers.Dense(
                width,
                activation=activation,
                kernel_initializer=next(initializers),
                kernel_regularizer=decay,
                name=name,
            )
        )
    try:
        return keras.Sequential(stack, name="cnn")
    except ValueError:
        height, width, _ = image_shape
        raise InputError(
            f"images of {height}x{width} pixels are too small for {len(spec.maps)} conv layers "
            f"with kernels of {spec.kernel}x{spec.kernel}"
        ) from None


def evaluate(
    model: Any,
    images: np.ndarray,
    labels: np.ndarray,
    inputs: Inputs | None = None,
    pixel_range: tuple[float, float] | None = None,
) -> float:
    """The share of images that the network puts into the right class, in [0, 1].

    Parameters
    ----------
    images : array, (n, height, width, channels)
        Those of a data set, not yet what the network takes.
    labels : integers, (n,)
    inputs, pixel_range
        As for `to_inputs`; standardized by default.
    """
    return float(np.mean(predict(model, images, inputs, pixel_range) == labels))


def predict(
    model: Any,
    images: np.ndarray,
    inputs: Inputs | None = None,
    pixel_range: tuple[float, float] | None = None,
) -> np.ndarray:
    """The class of each image, (n,); parameters as for `evaluate`."""
    taken = to_inputs(images, inputs or Inputs(), pixel_range)
    scores = model.predict(taken, batch_size=256, verbose=0)
    return np.asarray(np.argmax(scores, axis=1))


def save(model: Any, path: str | Path) -> None:
    """Write the model as a ``.keras`` file.

    Raises
    ------
    InputError
        If the name has another ending, or the file can't be written.
    """
    check_ending(path)
    try:
        model.save(path)
    except OSError as error:
        raise InputError(f"{path} can't be written: {error.strerror or error}") from None


def check_ending(path: str | Path) -> None:
    """`InputError` unless a file's name is one that `save` writes to."""
    if Path(path).suffix != ".keras":
        raise InputError(f"{path}: a model is written to a file that ends in .keras")


def load(path: str | Path) -> Any:
    """Read a model from a ``.keras``, ``.h5`` or ``.hdf5`` file.

    No code from the file runs: its architecture is checked before anything is built from it, and
    Keras' safe mode is on.

    Raises
    ------
    InputError
        If the file doesn't exist or is damaged, or if Keras alone can't build the model.
    """
    path = Path(path)
    check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what older versions wrote
            model = _loaded(path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # Keras raises nearly anything for a damaged file
        if isinstance(error, OSError) and error.errno in FAILURES:
            raise OipError(
                f"{path} can't be read: its weights are unpacked into {tempfile.gettempdir()}, "
                f"and there: {error.strerror}"
            ) from None
        raise InputError(f"{path} is no model that can be loaded safely: {reason(error)}") from None
    finalize(model)  # Keras forgets it inside inner models of .h5 files
    return model


def pack(model: Any) -> tuple[str, bytes]:
    """A model as text and bytes: Keras' JSON of its architecture, its weights as ``.npz``.

    Equal models give equal texts and bytes.

    Examples
    --------
    >>> model = build(CnnSpec(maps=(2, 3), dense=(4,)), (28, 28, 1), n_classes=10)
    >>> weights_sha256(unpack(*pack(model))) == weights_sha256(model)
    True
    """
    npz_file = io.BytesIO()
    weights = dict(zip(_keys(model), model.get_weights(), strict=True))
    np.savez(npz_file, allow_pickle=False, **weights)
    return json.dumps(architecture_of(model), sort_keys=True), npz_file.getvalue()


def unpack(architecture: str, weights: bytes) -> Any:
    """The model that `pack` took apart, rebuilt in Keras' safe mode.

    Raises
    ------
    OipError
        If the text or the bytes are damaged, don't fit each other, or would run code.
    """
    try:
        check(parsed_architecture(architecture))
        model = built(lambda: keras.models.model_from_json(architecture), len(weights))
        with zipfile.ZipFile(io.BytesIO(weights)) as archive:
            keys = _keys(model)
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("its weights are packed, which ours never are")
            arrays = read_arrays(archive, keys, len(weights), "its archive of weights")
            if not all(np.isfinite(arrays[key]).all() for key in keys):
                raise ValueError("some of its weights are no finite numbers")
            set_weights(model, [arrays[key] for key in keys])
        if len(model.inputs) != 1 or not model.outputs:
            raise ValueError("it doesn't take one image")
    except Exception as error:  # a damaged network raises nearly anything
        raise OipError(f"the stored network can't be rebuilt: {reason(error)}") from None
    return model


def weights_sha256(model: Any) -> str:
    """SHA-256 of all weights, in the model's order."""
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def device() -> str:
    """The device that the engine computes on: ``CPU``, or the GPU's name."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "CPU"
    return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU"))


def _keys(model: Any) -> list[str]:
    """Names of the weights in the ``.npz``, in the model's order."""
    return [f"w{i:03d}" for i in range(len(model.weights))]


def _loaded(path: Path) -> Any:
    architecture, version = stored_architecture(path)
    if version.split(".")[0] in ("1", "2"):
        architecture = from_keras_2(architecture)
    check(architecture)
    with weights_file(path) as (weights, n_bytes):
        # A file may hold fewer numbers than the network: in half precision, or without those that
        # Keras joins when it saves. What is loaded is compared by Keras.
        model = built(lambda: _from_config(architecture), max(10**6, 4 * n_bytes))
        model.load_weights(weights)
    return model


def _from_config(architecture: Any) -> Any:
    """The model of an architecture that may not tell where its own class comes from."""
    if "module" in architecture:
        return keras.saving.deserialize_keras_object(architecture, safe_mode=True)
    is_sequential = architecture["class_name"] == "Sequential"
    return (keras.Sequential if is_sequential else keras.Model).from_config(architecture["config"])
