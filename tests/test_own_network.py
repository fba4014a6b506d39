"""A user's own network, from a Keras file to a site: the commands of the README and the book run.

The network is a small one for colour images with an inner model, really trained. The commands run
as they stand there, one after the other in one folder.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oiplib import Study
from oiplib.cli import main
from oiplib.engine.tf import keras

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGE = (ROOT / "book" / "your-network.md").read_text()
TOYS = ("ball", "kite", "car", "doll", "drum", "boat", "train", "bear", "block", "top")


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text, *languages):
    """The commands of a page's blocks, as words; a backslash at a line's end joins two lines."""
    of_blocks = [block for language in languages for block in blocks(text, language)]
    lines = "\n".join(of_blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("oip ")]


def coloured(images, seed):
    """Grey images with random colours for what is black and what is white, uint8."""
    random = np.random.default_rng(seed)
    dark = random.integers(0, 80, (len(images), 1, 1, 3))
    bright = random.integers(150, 256, (len(images), 1, 1, 3))
    return np.round(dark + (bright - dark) * (images / 255)).astype(np.uint8)


def own_model():
    """A network with an inner model; nothing in it tells what images it takes."""
    layers = keras.layers
    image = keras.Input((28, 28, 3))
    values = layers.Conv2D(8, 3, strides=2, activation="relu", name="b1_out")(image)
    for name, width in (("b2", 12), ("b3", 16)):
        values = layers.Conv2D(width, 3, use_bias=False, name=f"{name}_conv")(values)
        values = layers.BatchNormalization(momentum=0.8, name=f"{name}_norm")(values)
        values = layers.ReLU(name=f"{name}_out")(values)
    backbone = keras.Model(image, values, name="backbone")
    image = keras.Input((28, 28, 3), name="image")
    values = layers.GlobalMaxPooling2D()(backbone(image))
    return keras.Model(image, layers.Dense(10, activation="softmax", name="classes")(values))


@pytest.fixture(scope="session")
def made(once, mnist):
    """A folder with the files that the page begins with."""

    def make(folder):
        folder.mkdir()
        train = coloured(mnist.train_images[:3000], 1)
        test = coloured(mnist.test_images[:300], 2)
        labels = mnist.train_labels[:3000], mnist.test_labels[:300]
        keras.utils.set_random_seed(0)
        model = own_model()
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(train.astype(np.float32), labels[0], batch_size=32, epochs=3, verbose=0)
        model.save(folder / "my.keras")
        arrays = {"x_train": train, "y_train": labels[0], "x_test": test, "y_test": labels[1]}
        np.savez(folder / "toys.npz", **arrays, class_names=np.array(TOYS), noun=np.array("toy"))

    return once("own", make)


@pytest.fixture
def folder(made, tmp_path):
    """The folder in which commands run, with these files."""
    for file in made.iterdir():
        (tmp_path / file.name).symlink_to(file)
    return tmp_path


@pytest.fixture
def right(made):
    """The share of the test images that plain Keras gets right, as a command writes it."""
    model = keras.saving.load_model(made / "my.keras")
    with np.load(made / "toys.npz") as toys:
        answers = model.predict(toys["x_test"].astype(np.float32), verbose=0).argmax(axis=1)
        share = float(np.mean(answers == toys["y_test"]))
    assert share > 0.3
    return f"{share:.2%} of the test images right"


def test_commands_of_the_page_are_commands_of_ours():
    for name, *words in [
        *commands(PAGE, "sh", "text"),
        *commands(README, "sh"),
    ]:
        main.commands[name].make_context(name, list(words))


def test_a_model_is_taken_in_and_its_maps_and_classes_are_excited(folder, oip_here, right):
    first = commands(PAGE, "sh")[0]
    assert first == commands(README, "sh")[0]
    assert right in oip_here(*first, check=0).stdout
    assert oip_here(*first, check=0).stdout.startswith("network 1 ")
    quickly = ("--origin", "fluctuation", "--trials", 2, "--steps", 60, "--epsilon", 0.05)
    asked = ("--layer", "backbone/b3_out", "--maps", "0-1", "--db", "my.db")
    assert "2 of 2 maps have an OIP" in oip_here("derive", *asked, *quickly, check=0).stdout
    difference = "classes:ball - classes:kite"
    asked = ("--objective", difference, "--prior", "smooth", "--db", "my.db")
    assert "classes:0 - classes:1" in oip_here("derive", *asked, *quickly, check=0).stdout
    _check_against_keras(folder, difference)


def _check_against_keras(folder, difference):
    """What is stored of two maps and a difference is what plain Keras says of the images."""
    study = Study(folder / "my.db", layer="backbone/b3_out")
    model = keras.saving.load_model(folder / "my.keras")
    inner = model.get_layer("backbone")
    with np.load(folder / "toys.npz") as toys:
        real = toys["x_train"][:1000].astype(np.float32)
    # The softmax of logits, less a constant of each image.
    logits = np.log(model.predict(real, verbose=0) + 1e-30)
    maps = inner.predict(real, verbose=0).mean(axis=(1, 2))
    for map in (0, 1):
        best = study.oips(map).best()
        assert 0 <= best.image.min() < best.image.max() <= 255
        answer = inner.predict(best.image[None], verbose=0)[0, :, :, map].mean()
        assert best.loss == pytest.approx(answer, rel=1e-5)
        assert best.loss > maps[:, map].max()
    best = study.oips(objective=difference, prior="smooth").best()
    answer = np.log(model.predict(best.image[None], verbose=0)[0])
    assert best.loss == pytest.approx(answer[0] - answer[1], rel=1e-4)
    assert best.loss > (logits[:, 0] - logits[:, 1]).max()


@pytest.mark.slow
def test_readme_and_page_lead_from_a_keras_file_to_a_site(folder, oip, right):
    outputs = {}
    for words in [*commands(README, "sh"), *commands(PAGE, "sh")]:
        outputs.setdefault(words[0], []).append(oip(*words, check=0).stdout)
    assert all(right in text for text in outputs["train"])
    assert "backbone/b3_out" in outputs["derive"][0]
    assert "5 of 5 hold, 5 with equal bytes" in outputs["replay"][0]
    assert [text.splitlines()[-1] for text in outputs["check"]] == ["my.db is sound"]
    _check_site(folder / "my-site")
    _check_files(folder)
    (program,) = blocks(PAGE, "python")
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    assert "('backbone/b3_out', 16)" in done.stdout
    assert "(28, 28, 3)" in done.stdout
    assert len(Study(folder / "my.db").store.network_ids()) == 1


def _check_site(site):
    assert (site / "index.html").is_file()
    assert "backbone/b3_out" in (site / "index.html").read_text()
    assert "ball" in (site / "01-network.html").read_text()
    assert "toy" in (site / "classes.html").read_text()
    page = (site / "your-network.html").read_text()
    pictures = re.findall(r'<img[^>]*src="(_images/your-network-[^"]*)"', page)
    assert len(pictures) == 3
    for picture in pictures:
        with Image.open(site / picture) as image:
            assert image.width > 400
    assert len(list((site / "maps").glob("*.html"))) == 16


def _check_files(folder):
    with Image.open(folder / "oip.png") as image:
        assert image.format == "PNG"
    assert np.load(folder / "oip.npy").shape == (28, 28, 3)
    best = np.load(folder / "best" / "images.npy")
    lines = (folder / "best.csv").read_text().count("\n")
    assert len(best) == lines - 1 >= 16 + 3
    assert 0 <= best.min() < best.max() <= 255
    assert len(list((folder / "chapters").glob("*.ipynb"))) == 2
