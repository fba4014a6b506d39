"""Many kinds of networks, really trained: is what we store of them what plain Keras says?

``python benchmarks/models.py`` writes ``MODELS.md`` beside this file: a row for each layer of
each of the kinds in ``kinds.py``. With names of kinds it prints their rows only. All of them take
a quarter of an hour, and are no part of the benchmarks.

Each network is trained by plain Keras on real images that were made colour, saved, and taken in
by its file as a user does it. The responses that the OIPs are held against come from the model
that was trained, as plain Keras computes it: no code of oiplib is involved in them. (Not from the
file that Keras loads again: from ``.h5`` it loses what a ``Normalization`` in an inner model has
learned.)
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from kinds import IMAGENET, KINDS, Kind

from oiplib import (
    FluctuationSpec,
    FluctuationStart,
    Inputs,
    Logit,
    OipError,
    Store,
    Study,
    StudySpec,
    fluctuation_images,
)
from oiplib.engine import data
from oiplib.engine.images import from_standard
from oiplib.engine.tf import keras, tf

N_RANDOM, N_TRAINING = 500, 1500
LARGEST_DIFFERENCE = 1e-5


@dataclass(frozen=True)
class Images:
    """Images of one shape with their labels, and the file that holds them.

    Attributes
    ----------
    train, test : uint8, (n, height, width, channels)
    train_labels, test_labels : int64, (n,)
    """

    path: Path
    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


@dataclass(frozen=True)
class Row:
    """What came out for one layer of one kind.

    Attributes
    ----------
    accuracy
        Of the model in the file on the test images; NaN where it tells no class.
    n_maps
        How many of its maps, or units, were looked at.
    difference
        The largest of all stored OIPs between the stored loss and plain Keras, relative.
    over_random, over_training : (maps,)
        The response to the best OIP over that to the best of the random and of the training
        images; infinite where none of them has a response above 0.
    faults
        What isn't as it should be, in words.
    """

    kind: str
    layer: str
    takes: str
    accuracy: float
    n_maps: int
    difference: float
    over_random: np.ndarray
    over_training: np.ndarray
    faults: tuple[str, ...]

    def __str__(self) -> str:
        accuracy = "-" if np.isnan(self.accuracy) else f"{self.accuracy:.2f}"
        cells = [
            *(self.kind, self.takes, f"`{self.layer}`", accuracy, str(self.n_maps)),
            *(f"{self.difference:.0e}", _least_and_median(self.over_random)),
            _least_and_median(self.over_training),
        ]
        return f"| {' | '.join(cells)} |"


def main() -> int:
    """Measure the kinds that are named, or all; 1 if anything isn't as it should be."""
    names = sys.argv[1:] or list(KINDS)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        images = {grey: made_images(Path(folder), grey) for grey in (False, True)}
        for name in names:
            for row in measured(name, images[KINDS[name].is_grey], Path(folder)):
                rows.append(row)
                print(row, *[f"  FAULT: {fault}" for fault in row.faults], sep="\n", flush=True)
    if not sys.argv[1:]:
        (Path(__file__).parent / "MODELS.md").write_text("\n".join(_page(rows)) + "\n")
    return int(any(row.faults for row in rows))


def made_images(
    folder: Path, grey: bool, n_train: int = 6000, n_test: int = 1000, seed: int = 0
) -> Images:
    """Garments (digits where those aren't installed) in random colours on coloured grounds."""
    try:
        source = data.load("fashion-mnist")
    except OipError:
        source = data.load("mnist")
    random = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    for part, n in (("train", n_train), ("test", n_test)):
        shown = getattr(source, f"{part}_images")[:n]
        arrays[f"x_{part}"] = shown[:, :, 4:24] if grey else _coloured(shown, random)
        arrays[f"y_{part}"] = getattr(source, f"{part}_labels")[:n]
    path = folder / ("grey.npz" if grey else "colour.npz")
    arrays |= {"class_names": np.array(source.class_names), "noun": np.array(source.noun)}
    np.savez(path, allow_pickle=False, **arrays)
    return Images(path, *(arrays[key] for key in ("x_train", "y_train", "x_test", "y_test")))


def measured(
    name: str,
    images: Images,
    folder: Path,
    epochs: int | None = None,
    n_maps: int = 6,
    least_accuracy: float = 0.5,
) -> Iterator[Row]:
    """Train a kind, take it in, derive OIPs of some maps, and hold them against plain Keras."""
    kind, began = KINDS[name], time.perf_counter()
    model = trained(kind, images, epochs or kind.epochs)
    given: Any = model
    if kind.ending:
        given = folder / f"model{kind.ending}"
        _save(model, given)
    plain = model if kind.policy == "float32" else _in_float32(kind, model, images)
    took = time.perf_counter()
    study = Study(
        Store(folder / "oip.db", create=True),
        model=given,
        inputs=None if kind.tells else kind.takes,
        dataset=str(images.path),
        image_size=kind.image_size,
    )
    study = study.replace(scan=StudySpec.of(quick=True).scan)
    accuracy = _accuracy(kind, plain, images)
    of_study = _faults_of_study(study, kind, accuracy, least_accuracy)
    training = as_trained(images.train[:N_TRAINING], kind.takes)
    by_chance = random_images(study.inputs, training.shape[1:], kind.takes)
    for layer in kind.layers:
        row = _row(study, layer, plain, by_chance, training, n_maps)
        faults = (*of_study, *row.faults)
        yield replace(row, kind=name, takes=kind.takes, accuracy=accuracy, faults=faults)
    seconds = took - began, time.perf_counter() - took
    print(f"{name}: {seconds[0]:.0f} s of training, {seconds[1]:.0f} s of study", flush=True)


def trained(kind: Kind, images: Images, epochs: int) -> Any:
    """A model of a kind, trained by plain Keras."""
    keras.utils.set_random_seed(1)
    shown = as_trained(images.train, kind.takes)
    before = keras.config.dtype_policy()
    # Nobody trains in float16 alone: such a network was trained in float32, and rounded.
    keras.config.set_dtype_policy("float32" if kind.policy == "float16" else kind.policy)
    try:
        model = kind.build(images.train[:1000])
        losses = {
            "logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "yes or no": "binary_crossentropy",
            "picture": "mse",
            "two": ["sparse_categorical_crossentropy", "mse"],
        }
        loss = losses.get(kind.task, "sparse_categorical_crossentropy")
        model.compile(keras.optimizers.Adam(3e-3), loss)
        model.fit(shown, _targets(kind, images, shown), batch_size=64, epochs=epochs, verbose=0)
        if kind.policy == "float16":
            weights = model.get_weights()
            keras.config.set_dtype_policy("float16")
            model = kind.build(images.train[:1000])
            model.set_weights(weights)
    finally:
        keras.config.set_dtype_policy(before)
    return model


def as_trained(pixels: np.ndarray, takes: str) -> np.ndarray:
    """Images of 0 to 255 as a network was trained on them, float32; by NumPy alone."""
    values = pixels.astype(np.float64)
    if takes == "standardized":
        axes = (1, 2, 3)
        least = 1 / np.sqrt(np.prod(values.shape[1:]))
        values -= values.mean(axis=axes, keepdims=True)
        values /= np.maximum(values.std(axis=axes, keepdims=True), least)
    elif takes == IMAGENET:
        values = (values / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    else:
        low, high = {"0..1": (0, 1), "-1..1": (-1, 1), "0..255": (0, 255)}[takes]
        values = low + (high - low) * values / 255
    return values.astype(np.float32)


def random_images(inputs: Inputs, shape: tuple[int, ...], takes: str) -> np.ndarray:
    """500 images of fluctuations and 500 of noise, as the network takes them."""
    starts = [FluctuationStart(FluctuationSpec(seed=7), 0, trial) for trial in range(N_RANDOM)]
    height, width, channels = shape
    fluctuations = from_standard(fluctuation_images(starts, (height, width, channels)), inputs)
    noise = np.random.default_rng(7).integers(0, 256, (N_RANDOM, *shape))
    return np.concatenate([fluctuations, as_trained(noise, takes)])


def plain_responses(model: Any, path: str, images: np.ndarray) -> np.ndarray:
    """The mean of each map of a layer while Keras runs the model, (n, maps).

    What goes in and out of the layer is noted while the whole model is computed. Of a layer that
    ends in a softmax it is what goes into that, computed by NumPy.
    """
    layer = model
    for name in path.split("/"):
        layer = layer.get_layer(name)
    seen: list[tuple[Any, Any]] = []
    call = layer.call

    def noted(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = call(inputs, *args, **kwargs)
        seen.append((inputs, outputs))
        return outputs

    layer.call = noted
    try:
        for first in range(0, len(images), 250):
            model(tf.constant(images[first : first + 250]), training=False)
    finally:
        layer.call = call
    values = np.concatenate([_activations(layer, *each) for each in seen])
    assert len(values) == len(images), f"{path} is called more than once"
    return np.asarray(values.mean(axis=tuple(range(1, values.ndim - 1))))


def _activations(layer: Any, inputs: Any, outputs: Any) -> np.ndarray:
    if getattr(layer, "activation", None) is not keras.activations.softmax:
        return np.asarray(outputs, np.float64)
    features = np.asarray(inputs, np.float64)
    if isinstance(layer, keras.layers.Activation):
        return features
    kernel, bias = (np.asarray(weights, np.float64) for weights in layer.get_weights())
    return np.asarray(features @ kernel + bias)


def _row(
    study: Study,
    layer: str,
    plain: Any,
    by_chance: np.ndarray,
    training: np.ndarray,
    n_maps: int,
) -> Row:
    """What comes out for one layer; kind and accuracy are for others to say."""
    of_training = plain_responses(plain, layer, training)
    of_random = plain_responses(plain, layer, by_chance)
    # A map with the same response to all images is dead: nothing is to be found.
    living = np.flatnonzero(np.ptp(of_training, axis=0) > 0)
    maps = np.sort(np.random.default_rng(3).permutation(living)[:n_maps]).tolist()
    of_layer = study.replace(layer=layer)
    is_of_units = of_layer.layer.map_height * of_layer.layer.map_width == 1
    if is_of_units:  # the way to ask for a class
        study.derive_from_patterns(Logit(layer, maps[0]))
    of_layer.derive_from_patterns(maps)
    found = [oip for map in maps for oip in of_layer.oips(map)]
    images = np.stack([oip.image for oip in found])
    owners = np.array([oip.of_map for oip in found])
    losses = np.array([oip.loss for oip in found], np.float64)
    again = plain_responses(plain, layer, images)[np.arange(len(found)), owners]
    difference = float(np.max(np.abs(losses - again) / np.abs(again)))
    best = np.array([again[owners == map].max(initial=-np.inf) for map in maps])
    best_random, best_training = (of.max(axis=0)[maps] for of in (of_random, of_training))
    faults = [
        *([f"{difference:.1e} from plain Keras"] if difference > LARGEST_DIFFERENCE else []),
        *_not_beaten("random", maps, best, best_random),
        *_not_beaten("training", maps, best, best_training),
        *_faults_of_images(images, study.inputs),
    ]
    over = [_over(best, of) for of in (best_random, best_training)]
    return Row("", layer, "", np.nan, len(maps), difference, over[0], over[1], tuple(faults))


def _faults_of_study(study: Study, kind: Kind, accuracy: float, least_accuracy: float) -> list[str]:
    faults = []
    if study.inputs != Inputs.parse(kind.takes):
        faults.append(f"takes {study.inputs}, and was trained on {kind.takes}")
    stored = study.network.accuracy
    if stored is not None and abs(stored - accuracy) > 0.002:
        faults.append(f"stored accuracy {stored:.4f}, and plain Keras has {accuracy:.4f}")
    if accuracy < least_accuracy:
        faults.append(f"accuracy {accuracy:.2f}: it isn't really trained")
    return faults


def _faults_of_images(images: np.ndarray, inputs: Inputs) -> list[str]:
    """Whether the network takes these images: standardized, or within its limits."""
    if inputs.is_standardized:
        axes = (1, 2, 3)
        off = max(np.abs(images.mean(axis=axes)).max(), np.abs(images.std(axis=axes) - 1).max())
        return [f"images are {off:.1e} from standardized"] if off > 1e-4 else []
    low, high = (np.array(limit, np.float32) for limit in inputs.limits())
    is_inside = (images >= low).all() and (images <= high).all()
    return [] if is_inside else ["images leave the network's inputs"]


def _not_beaten(what: str, maps: Sequence[int], best: np.ndarray, others: np.ndarray) -> list[str]:
    return [
        f"map {map}: {mine:.4g} doesn't beat the best {what} image, {other:.4g}"
        for map, mine, other in zip(maps, best, others, strict=True)
        if not mine > other
    ]


def _over(best: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.divide(best, others, out=np.full(len(best), np.inf), where=others > 0)


def _accuracy(kind: Kind, model: Any, images: Images) -> float:
    if kind.task == "picture":
        return float("nan")
    outputs = model.predict(as_trained(images.test, kind.takes), verbose=0)
    guesses = outputs[0] if kind.task == "two" else outputs
    return float(np.mean(guesses.argmax(axis=1) == images.test_labels))


def _targets(kind: Kind, images: Images, shown: np.ndarray) -> Any:
    labels = images.train_labels
    if kind.task == "picture":
        return shown
    if kind.task == "two":
        return [labels, images.train.mean(axis=(1, 2, 3)) / 255]
    return np.eye(10)[labels] if kind.task == "yes or no" else labels


def _in_float32(kind: Kind, model: Any, images: Images) -> Any:
    """The same network in float32, as plain Keras builds it: the same weights, exactly."""
    twin = kind.build(images.train[:1000])
    twin.set_weights([weights.astype(np.float32) for weights in model.get_weights()])
    return twin


def _coloured(shown: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Grey images as (n, 32, 32, 3): each a colour of its own on a ground of its own."""
    n = len(shown)
    share = np.pad(shown[..., 0] / 255, ((0, 0), (2, 2), (2, 2)))[..., None]
    colour, ground = random.random((2, n, 1, 1, 3))
    colour, ground = 0.4 + 0.6 * colour, 0.6 * ground
    # Where both are nearly the same, nothing could be seen.
    is_alike = np.abs(colour - ground).max(axis=-1, keepdims=True) < 0.3
    ground = np.where(is_alike, 0, ground)
    values = share * colour + (1 - share) * ground + random.normal(0, 0.02, (n, 32, 32, 3))
    return np.round(255 * np.clip(values, 0, 1)).astype(np.uint8)


def _save(model: Any, path: Path) -> None:
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")  # .h5 is old
        model.save(path)


def _least_and_median(ratios: np.ndarray) -> str:
    return ", ".join(
        f"{ratio:.3g}" if np.isfinite(ratio) else "∞" for ratio in (ratios.min(), np.median(ratios))
    )


def _page(rows: Sequence[Row]) -> list[str]:
    n_kinds = len({row.kind for row in rows})
    n_maps = sum(row.n_maps for row in rows)
    worst = max(row.difference for row in rows)
    least = [min(of.min() for of in each) for each in (
        [row.over_random for row in rows], [row.over_training for row in rows]
    )]  # fmt: skip
    faults = [f"- {row.kind}, `{row.layer}`: {fault}" for row in rows for fault in row.faults]
    return [
        "# Kinds of networks",
        "",
        f"{n_kinds} kinds of networks, {len(rows)} layers, {n_maps} maps. Each network is trained "
        "by plain Keras on 6,000 garments in random colours on random grounds (32x32x3), saved, "
        "taken in by its file, and searched by the quick study's race. The stored loss of each "
        "OIP is compared with the response of the trained model, as plain Keras computes it "
        f"(in float32 where it has another precision): they differ by at most {worst:.0e}, "
        "relative. The best OIP of each map is compared with the best of "
        f"{N_RANDOM} fluctuations and {N_RANDOM} images of noise, and of {N_TRAINING:,} training "
        f"images, all as the network takes them: at least {least[0]:.3g} and {least[1]:.3g} times. "
        "∞: no such image has a response above 0. The maps are drawn by a fixed seed from those "
        "that don't respond the same to all training images; of a layer that ends in a softmax "
        "the response is what goes into it. Made by `python benchmarks/models.py`.",
        "",
        "| kind | trained on | layer | accuracy | maps | difference | over random: least, median |"
        " over training: least, median |",
        "|---|---|---|---|---|---|---|---|",
        *[str(row) for row in rows],
        *(["", "Not as it should be:", "", *faults] if faults else []),
    ]


if __name__ == "__main__":
    sys.exit(main())
