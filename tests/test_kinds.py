"""Other people's networks from the command line on: many kinds are right, the others refused.

The kinds, and how their OIPs are held against plain Keras, are those of `benchmarks/models.py`.
"""

import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oiplib.engine.tf import keras

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
import models
from kinds import KINDS

layers = keras.layers

SHAPE = (12, 10, 3)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A few real images, colour and grey."""
    folder = tmp_path_factory.mktemp("images")
    return {grey: models.made_images(folder, grey, 1500, 200) for grey in (False, True)}


def faults(kind, images, folder):
    """What isn't as it should be with a kind that has had little training."""
    of_kind = images[KINDS[kind].is_grey]
    rows = list(models.measured(kind, of_kind, folder, epochs=1, n_maps=2, least_accuracy=0))
    assert [row.layer for row in rows] == list(KINDS[kind].layers)
    return [fault for row in rows for fault in row.faults]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_network_is_studied_as_plain_keras_computes_it(kind, images, tmp_path):
    """Losses equal Keras', and OIPs beat random and training images, within the inputs."""
    assert faults(kind, images, tmp_path) == []


@pytest.mark.slow
def test_wrong_inputs_are_found_out(images, tmp_path, monkeypatch):
    """A network that was trained on 0..255 and is taken for one of -1..1 doesn't pass."""
    wrong = replace(KINDS["trained on 0..255"], layers=("last",), takes="-1..1")
    monkeypatch.setitem(KINDS, "wrong", wrong)
    monkeypatch.setattr(models, "as_trained", lambda pixels, takes: pixels.astype(np.float32))
    found = faults("wrong", images, tmp_path)
    assert any("doesn't beat the best training image" in fault for fault in found)


# --- what is refused ---


class Subclassed(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.conv = layers.Conv2D(2, 3)

    def call(self, image):
        return self.conv(image)


class Doubling(layers.Layer):
    def call(self, x):
        return 2 * x


def subclassed():
    model = Subclassed()
    model(np.zeros((1, *SHAPE), np.float32))
    return model


def stacked(*stack, shape=SHAPE):
    return keras.Sequential([keras.Input(shape), *stack])


def two_images():
    images = [keras.Input(SHAPE, name=name) for name in ("left", "right")]
    return keras.Model(images, layers.Conv2D(2, 3)(layers.Add()(images)))


#: What people try, and what they are told.
REFUSED = {
    "subclassed": (subclassed, "Subclassed"),
    "channels first": (
        lambda: stacked(layers.MaxPooling2D(data_format="channels_first"), layers.Conv2D(2, 3)),
        "build the model with channels_last",
    ),
    "several inputs": (two_images, "the model takes 2 inputs (left, right)"),
    "an own layer": (lambda: stacked(Doubling()), "Doubling"),
    "Lambda": (
        lambda: stacked(layers.Lambda(lambda x: 2 * x, name="twice")),
        "the layer 'twice' is a Lambda, which is Python code",
    ),
    "open size": (
        lambda: stacked(layers.Rescaling(1 / 255), layers.Conv2D(2, 3), shape=(None, None, 3)),
        "name one, such as --image-size 64x64",
    ),
    "vectors": (lambda: stacked(layers.Dense(2), shape=(5,)), "it must take one image"),
    "nothing tells": (
        lambda: stacked(layers.Conv2D(2, 3)),
        "in Python inputs=TEXT), one of standardized",
    ),
}


def is_refused(done, words):
    """One line on stderr, the status of wrong usage, and nothing else."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.endswith("\n")
    assert words in done.stderr


def saved(model, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # .h5 is old
        model.save(path)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_studied_is_refused_in_one_line(kind, ending, oip_here, tmp_path):
    make, words = REFUSED[kind]
    saved(make(), tmp_path / f"model{ending}")
    is_refused(oip_here("train", "--model", f"model{ending}"), words)


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.hdf5"])
def test_files_that_are_no_models_are_refused_in_one_line(name, oip_here, tmp_path):
    is_refused(oip_here("train", "--model", name), f"there is no file {name}")
    (tmp_path / name).write_text("weights: none\n" * 200)
    is_refused(oip_here("train", "--model", name), f"{name} is no model that can be loaded safely")
    (tmp_path / name).write_bytes(b"")
    is_refused(oip_here("train", "--model", name), f"{name} is no model that can be loaded safely")
    ending = Path(name).suffix
    saved(stacked(layers.Rescaling(1 / 255), layers.Conv2D(8, 3)), tmp_path / f"whole{ending}")
    whole = (tmp_path / f"whole{ending}").read_bytes()
    for part in (whole[: len(whole) // 2], whole[:-40], whole.replace(b"Conv2D", b"Canv2D")):
        (tmp_path / name).write_bytes(part)
        is_refused(oip_here("train", "--model", name), name)


def test_files_of_other_kinds_are_refused_in_one_line(oip_here, tmp_path):
    stacked(layers.Conv2D(2, 3)).export(tmp_path / "exported", verbose=False)
    (tmp_path / "model.txt").write_text("a model\n")
    stacked(layers.Conv2D(2, 3)).save_weights(tmp_path / "model.weights.h5")
    for name, words in (
        ("exported", "SavedModel"),
        ("model.txt", "files that end in .keras, .h5, .hdf5"),
        ("missing.onnx", "files that end in .keras, .h5, .hdf5"),
        ("model.weights.h5", "weights without an architecture"),
    ):
        is_refused(oip_here("train", "--model", name), words)


def test_what_does_not_suit_the_model_is_refused_in_one_line(oip_here, tmp_path):
    saved(stacked(layers.Conv2D(2, 3)), tmp_path / "model.keras")
    other = np.zeros((4, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "other.npz", x_train=other, y_train=[0, 1, 0, 1], x_test=other,
             y_test=[0, 1, 0, 1])  # fmt: skip
    for options, words in (
        (("--inputs", "0..255 or so"), "unknown inputs '0..255 or so': choose standardized"),
        (("--inputs", "255..0"), "255"),
        (("--inputs", "0..1 mean 0.5,0.5 deviation 1,1"), "name one for each"),
        (("--inputs", "0..1", "--image-size", "8x8"), "takes images of 12x10 pixels, not 8x8"),
        (("--inputs", "0..1", "--image-size", "large"), "is no image size: write it like"),
        (("--inputs", "0..1", "--dataset", "other.npz"), "name a data set of such images"),
        (("--inputs", "0..1", "--dataset", "fashion"), "choose one of mnist, fashion-mnist"),
        (("--inputs", "0..1", "--epochs", "3"), "--epochs doesn't apply"),
    ):
        is_refused(oip_here("train", "--model", "model.keras", *options), words)


def test_a_process_of_its_own_says_one_line_too(oip, tmp_path):
    """TensorFlow and Keras, loaded there for the first time, add no line of theirs."""
    saved(stacked(layers.Conv2D(2, 3)), tmp_path / "model.h5")
    is_refused(oip("train", "--model", "model.h5"), "nothing in model tells which images")
