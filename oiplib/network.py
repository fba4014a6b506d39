"""The network of the articles: build, train, evaluate, save, load (parts I-III)."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ._tf import keras, tf
from .data import Dataset
from .errors import InputError, OipError
from .images import Shape, standardized
from .progress import bar
from .specs import CnnSpec


def build(spec: CnnSpec, image_shape: Shape, n_classes: int) -> Any:
    """The untrained network: conv layers ``Conv2D_1`` to ``Conv2D_n`` with ReLU and 2x2
    max-pooling between them, then a small MLP with softmax.

    Initial weights come from `spec.weights_seed`, a stream of its own per layer.

    Raises
    ------
    InputError
        If the images are too small for so many layers.
    """
    seeds = np.random.SeedSequence(spec.weights_seed).generate_state(
        len(spec.maps + spec.dense) + 1
    )
    glorot = iter([keras.initializers.GlorotUniform(seed=int(seed)) for seed in seeds])
    layers = keras.layers
    stack = [layers.Input(image_shape, name="image")]
    for number, n_maps in enumerate(spec.maps, 1):
        stack.append(
            layers.Conv2D(
                n_maps,
                spec.kernel,
                activation="relu",
                kernel_initializer=next(glorot),
                name=f"Conv2D_{number}",
            )
        )
        if number < len(spec.maps):
            stack.append(layers.MaxPooling2D(2, name=f"Max_Pool_{number}"))
    stack.append(layers.Flatten(name="Flatten"))
    decay = keras.regularizers.L2(spec.l2)
    widths = {f"Dense_{i}": (n, "relu") for i, n in enumerate(spec.dense, 1)}
    for name, (width, activation) in {**widths, "Classes": (n_classes, "softmax")}.items():
        stack.append(
            layers.Dense(
                width,
                activation=activation,
                kernel_initializer=next(glorot),
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


def train(spec: CnnSpec, dataset: Dataset, title: str = "") -> tuple[Any, dict[str, list[float]]]:
    """Train a network on standardized images.

    The same spec and data give the same bytes of weights on the same machine with the same
    number of threads: initial weights and the order of the images have seeds of their own, and
    nothing else is random.

    Parameters
    ----------
    spec
        The network and its training.
    dataset
        The images; the test images only serve for the history.
    title
        Says what is going on in the progress bar; none, no bar.

    Returns
    -------
    model : keras.Model
    history : dict
        ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy`` and ``learning_rate`` (at the
        end of the epoch), a value per epoch.
    """
    images, test_images = standardized(dataset.train_images), standardized(dataset.test_images)
    model = build(spec, images.shape[1:], dataset.n_classes)
    n_batches = -(-len(images) // spec.batch_size)
    schedule = keras.optimizers.schedules.PolynomialDecay(
        spec.learning_rate, spec.epochs * n_batches, spec.final_learning_rate
    )
    model.compile(
        optimizer=keras.optimizers.RMSprop(schedule, momentum=spec.momentum),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    history: dict[str, list[float]] = {}
    with bar(spec.epochs * n_batches, title, "batches") as progress:
        on_batch = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: progress.update()
        )
        for epoch in range(spec.epochs):
            order = _image_order(spec, epoch, len(images))
            logs = model.fit(
                images[order],
                dataset.train_labels[order],
                batch_size=spec.batch_size,
                validation_data=(test_images, dataset.test_labels),
                shuffle=False,
                verbose=0,
                callbacks=[on_batch],
            ).history
            logs["learning_rate"] = [float(schedule(model.optimizer.iterations))]
            for name, values in logs.items():
                history.setdefault(name, []).append(float(values[0]))
            accuracy = f"{history['val_accuracy'][-1]:.2%}"
            progress.set_postfix(epoch=f"{epoch + 1}/{spec.epochs}", test=accuracy)
    return model, history


def evaluate(model: Any, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of images whose class the network gets right, in [0, 1].

    Parameters
    ----------
    images : array, (n, height, width, channels), not yet standardized
    labels : integers, (n,)
    """
    return float(np.mean(predict(model, images) == labels))


def predict(model: Any, images: np.ndarray) -> np.ndarray:
    """The class of each image, (n,); images not yet standardized."""
    scores = model.predict(standardized(images), batch_size=256, verbose=0)
    return np.asarray(np.argmax(scores, axis=1))


def save(model: Any, path: str | Path) -> None:
    """Write the model as a ``.keras`` file.

    Raises
    ------
    InputError
        If the name has another ending, or the file can't be written.
    """
    _check_ending(path)
    try:
        model.save(path)
    except OSError as error:
        raise InputError(f"{path} can't be written: {error.strerror or error}") from None


def load(path: str | Path) -> Any:
    """Read a model from a ``.keras`` file, in Keras' safe mode: it can't bring code.

    Raises
    ------
    InputError
        If the file doesn't exist, is damaged, or needs code to be run.
    """
    _check_ending(path)
    if not Path(path).is_file():
        raise InputError(f"there is no file {path}")
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises nearly anything for a file that isn't one
        raise InputError(
            f"{path} is no model that can be loaded safely: {_reason(error)}"
        ) from None


def pack(model: Any) -> tuple[str, bytes]:
    """A model as text and bytes: Keras' JSON of its architecture, its weights as ``.npz``.

    Equal models give equal texts and bytes.
    """
    packed = io.BytesIO()
    np.savez(
        packed, allow_pickle=False, **dict(zip(_keys(model), model.get_weights(), strict=True))
    )
    config = json.loads(model.to_json())
    config.pop("compile_config", None)  # the optimizer's state isn't kept, so neither is its name
    return json.dumps(config, sort_keys=True), packed.getvalue()


def unpack(architecture: str, weights: bytes) -> Any:
    """The model that `pack` took apart, built in Keras' safe mode.

    Raises
    ------
    OipError
        If text or bytes are damaged, don't fit each other, or would run code.
    """
    try:
        model = keras.models.model_from_json(architecture)
        if not isinstance(model, keras.Model):
            raise TypeError("its architecture is none")
        with np.load(io.BytesIO(weights), allow_pickle=False) as archive:
            model.set_weights([archive[key] for key in _keys(model)])
    except (ValueError, TypeError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise OipError(f"the stored network can't be rebuilt: {_reason(error)}") from None
    return model


def weights_sha256(model: Any) -> str:
    """SHA-256 of all weights, in the model's order."""
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def device() -> str:
    """What the engine computes on: ``CPU``, or the GPU's name."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "CPU"
    return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU"))


def _keys(model: Any) -> list[str]:
    return [f"w{i:03d}" for i in range(len(model.weights))]


def _image_order(spec: CnnSpec, epoch: int, n: int) -> np.ndarray:
    sequence = np.random.SeedSequence(spec.order_seed, spawn_key=(epoch,))
    return np.random.default_rng(sequence).permutation(n)


def _check_ending(path: str | Path) -> None:
    if Path(path).suffix != ".keras":
        raise InputError(f"{path}: models are files that end in .keras")


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160]
