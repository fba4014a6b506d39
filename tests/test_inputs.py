"""Inputs belong to the network: ascents and starts stay inside, pictures are drawn back."""

import io
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from oiplib import AscentSpec, InputError, Inputs, LayerMaps, Store, Study, ascend
from oiplib.engine.images import from_standard, project, to_inputs
from oiplib.engine.tf import keras
from oiplib.pictures import png, scaled
from oiplib.study.check import problems
from oiplib.study.replay import replay

TEXTS = [
    "standardized",
    "0..1",
    "0..255",
    "-1..1",
    "0..1 mean 0.485,0.456,0.406 deviation 0.229,0.224,0.225",
    "0..255 mean 127.5 deviation 64",
]


def small_model(scale=1.0, seed=0):
    """Two convolutions on colour images of 20 x 16."""
    layers = keras.layers
    init = keras.initializers.GlorotUniform(seed=seed)
    image = layers.Input((20, 16, 3), name="image")
    x = layers.Conv2D(5, 3, activation="relu", kernel_initializer=init, name="first")(image)
    x = layers.Conv2D(6, 3, activation="relu", kernel_initializer=init, name="second")(x)
    x = layers.Dense(3, kernel_initializer=init, name="logits")(
        layers.GlobalAveragePooling2D(name="mean")(x)
    )
    model = keras.Model(image, x, name="small")
    kernel, bias = model.get_layer("first").get_weights()
    model.get_layer("first").set_weights([kernel * scale, bias])
    return model


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_read_as_the_inputs_that_wrote_it(text):
    inputs = Inputs.parse(text)
    assert str(inputs) == text
    assert Inputs.parse(str(inputs)) == inputs


@pytest.mark.parametrize(
    "text",
    [
        "",
        "255",
        "1..0",
        "0..0",
        "0..1 mean 1",
        "0..x",
        "0..1 mean 1,2 deviation 1",
        "rgb",
        "0..1e38",
        "0..1e-40",
        "0..1 mean 0 deviation 1e-30",
    ],
)
def test_other_texts_are_refused_with_the_choices(text):
    with pytest.raises(InputError) as refused:
        Inputs.parse(text)
    assert "\n" not in str(refused.value)


def test_pixels_become_what_the_network_takes():
    pixels = np.array([0, 51, 255], np.uint8).reshape(1, 1, 1, 3)
    imagenet = Inputs.parse(TEXTS[4])
    expected = (pixels.ravel() / 255 - imagenet.mean) / imagenet.deviation
    assert to_inputs(pixels, imagenet).ravel() == pytest.approx(expected, rel=1e-6)
    floats = np.array([0.0, 0.2, 1.0], np.float32).reshape(1, 1, 1, 3)
    same = to_inputs(floats, Inputs(0, 255), pixel_range=(0.0, 1.0))
    assert same.ravel() == pytest.approx([0, 51, 255], rel=1e-6)


@pytest.mark.parametrize("text", TEXTS[1:])
def test_starts_and_ascents_stay_inside(text):
    inputs = Inputs.parse(text)
    layer = LayerMaps(small_model(), "second", inputs)
    noise = np.random.default_rng(0).standard_normal((12, 20, 16, 3)).astype(np.float32)
    starts = from_standard(3 * noise, inputs)
    bottom, top = (np.array(limit, np.float32) for limit in inputs.limits())
    assert (starts >= bottom).all()
    assert (starts <= top).all()
    assert (starts == bottom).any()
    found = ascend(layer, starts, np.arange(12) % 6, AscentSpec(40, 0.2))
    assert (found.images >= bottom).all()
    assert (found.images <= top).all()
    moved = found.stop_reasons != "silent"
    assert found.rose[moved].all()
    assert moved.sum() > 6


def test_a_step_is_counted_in_quarters_of_the_range():
    inputs = Inputs(0, 255)
    layer = LayerMaps(small_model(1 / 255), "second", inputs)
    starts = np.full((4, 20, 16, 3), 127.5, np.float32)
    starts += np.random.default_rng(1).standard_normal(starts.shape).astype(np.float32)
    maps = np.argsort(-layer(starts)[0])[:4]
    found = ascend(layer, starts, maps, AscentSpec(2, 0.1, n_steps=0))
    steps = np.sqrt(np.square(found.images - starts).mean(axis=(1, 2, 3)))
    moved = found.stop_reasons != "silent"
    assert steps[moved] == pytest.approx(0.1 * 255 / 4, rel=1e-3)


def test_the_same_network_by_other_inputs_climbs_the_same_way():
    """Pixels of 0..1 and of -1..1: one network, its first layer adapted."""
    model, other = small_model(), small_model()
    kernel, bias = model.get_layer("first").get_weights()
    other.get_layer("first").set_weights([kernel / 2, bias + kernel.sum(axis=(0, 1, 2)) / 2])
    noise = np.random.default_rng(0).standard_normal((6, 20, 16, 3)).astype(np.float32)
    spec, maps = AscentSpec(15, 0.1), np.arange(6)
    ends = []
    for network, inputs in ((model, Inputs(0, 1)), (other, Inputs(-1, 1))):
        found = ascend(
            LayerMaps(network, "second", inputs), from_standard(noise, inputs), maps, spec
        )
        ends.append(scaled(found.images, inputs))
    assert np.abs(ends[0] - ends[1]).max() < 1e-2


def test_standardized_images_are_projected_as_ever():
    images = np.random.default_rng(0).uniform(0, 9, (2, 5, 4, 3)).astype(np.float32)
    projected = project(images, Inputs()).numpy()
    assert projected.mean(axis=(1, 2, 3)) == pytest.approx([0, 0], abs=1e-6)
    assert projected.std(axis=(1, 2, 3)) == pytest.approx([1, 1], rel=1e-5)


def test_pictures_are_drawn_back_in_colour():
    imagenet = Inputs.parse(TEXTS[4])
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 6, 3)).astype(np.uint8)
    taken = to_inputs(pixels, imagenet)[0]
    drawn = np.asarray(Image.open(io.BytesIO(png(taken, inputs=imagenet))))
    assert (drawn == pixels[0]).all()


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path / "small.db", model=small_model(1 / 255), inputs="0..255", layer="second")


def test_inputs_are_stored_with_the_network_and_are_part_of_it(study, tmp_path):
    study.derive([0, 1, 2, 3, 4, 5])
    found = study.oips()
    assert found
    for oip in found:
        assert oip.image.min() >= 0
        assert oip.image.max() <= 255
        assert oip.image.max() > 100
    assert all(each.same_bytes for each in replay(study.store, [oip.id for oip in found]))
    assert list(problems(study.store)) == []
    assert str(Study(study.store.name).inputs) == "0..255"
    again = Study(study.store.name, model=small_model(1 / 255), inputs="0..255", layer="second")
    assert again.network.id == study.network.id
    other = Study(study.store.name, model=small_model(1 / 255), inputs="0..1", layer="second")
    assert other.network.id != study.network.id
    assert other.oips() == []


def test_nothing_is_guessed_where_nothing_tells(tmp_path):
    with pytest.raises(InputError, match=r"name its inputs .*, one of standardized"):
        Study(tmp_path / "db", model=small_model())
    layers = keras.layers
    rescaled = keras.Sequential(
        [layers.Input((20, 16, 3)), layers.Rescaling(1 / 255), small_model()]
    )
    assert str(Study(tmp_path / "db", model=rescaled).inputs) == "0..255"


def test_changed_inputs_are_told(study):
    study.derive([0, 1])
    study.store.close()
    with closing(sqlite3.connect(study.store.name)) as connection, connection:
        connection.execute("UPDATE networks SET inputs = '0..1'")

    assert any(
        "its SHA-256 isn't that of its weights" in p for p in problems(Store(study.store.name))
    )
