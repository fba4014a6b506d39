"""What a position of a layer sees, as the architecture tells it, against what changes it."""

import json

import numpy as np
import pytest

from oiplib.analysis.sight import kinds, sights
from oiplib.engine.tf import keras

L = keras.layers
SIDE = 48


@pytest.fixture(scope="module")
def model():
    """Branches, strides, dilation, pooling, both ways up again, an inner model."""
    image = keras.Input((SIDE, SIDE, 2))
    x = L.Conv2D(3, 3, padding="same", strides=2, activation="gelu", name="stem")(image)
    y = L.Conv2D(3, 3, padding="same", name="branch")(x)
    x = L.Add(name="both")([x, y])
    inside = keras.Input(x.shape[1:])
    z = L.AveragePooling2D(2, name="pool")(inside)
    z = L.DepthwiseConv2D(3, padding="same", dilation_rate=2, name="wide")(z)
    x = keras.Model(inside, z, name="inner")(x)
    transposed = L.Conv2DTranspose(3, 3, strides=2, padding="same", name="transposed")(x)
    smooth = L.UpSampling2D(interpolation="bilinear", name="smooth")(x)
    units = L.Dense(2, name="units")(L.GlobalAveragePooling2D()(x))
    return keras.Model(image, [transposed, smooth, units])


def rows_seen(model, output):
    """Which rows of the image change the middle position of an output."""
    part = keras.Model(model.inputs[0], output)
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, SIDE, SIDE, 2)).astype(np.float32)
    images = np.repeat(image, SIDE + 1, axis=0)
    for row in range(SIDE):
        images[row, row] += 5 * rng.normal(size=images[row, row].shape)
    values = np.asarray(part(images))
    middle = values[:, values.shape[1] // 2, values.shape[2] // 2]
    return np.flatnonzero(np.abs(middle[:-1] - middle[-1]).max(axis=1) > 1e-6)


@pytest.mark.parametrize("name", ["stem", "branch", "both", "inner", "transposed", "smooth"])
def test_as_many_rows_change_a_position_as_it_is_said_to_see(model, name):
    # An inner model's own output isn't connected to the outer image.
    inner = model.get_layer("transposed").input
    rows = rows_seen(model, inner if name == "inner" else model.get_layer(name).output)
    seen = sights(json.loads(model.to_json()))[name]
    assert seen.height == rows[-1] - rows[0] + 1


@pytest.mark.parametrize("name", ["stem", "branch", "both", "inner"])
def test_a_position_sees_the_rows_that_change_it(model, name):
    inner = model.get_layer("transposed").input
    output = inner if name == "inner" else model.get_layer(name).output
    rows = rows_seen(model, output)
    seen = sights(json.loads(model.to_json()))[name]
    assert seen.positions == tuple(output.shape[1:3])
    top, left, height, width = seen.part(output.shape[1] // 2, output.shape[2] // 2)
    assert (top, top + height - 1) == (left, left + width - 1) == (rows[0], rows[-1])


def test_edges_move_what_a_position_sees():
    image = keras.Input((SIDE, SIDE, 2))
    x = L.ZeroPadding2D(((2, 1), (2, 1)))(image)
    x = L.Conv2D(3, 5, strides=2)(x)
    x = L.Cropping2D(((3, 0), (3, 0)), name="cut")(x)
    model = keras.Model(image, L.MaxPooling2D(3, 1, name="pool")(x))
    seen = sights(json.loads(model.to_json()))
    for name in ("cut", "pool"):
        output = model.get_layer(name).output
        rows = rows_seen(model, output)
        top, _, height, _ = seen[name].part(output.shape[1] // 2, output.shape[2] // 2)
        # Of a pool, only the largest counts, so that some rows may change nothing.
        assert top <= rows[0] <= rows[-1] <= top + height - 1
        assert name == "pool" or (top, height) == (rows[0], 5)
    assert seen["cut"].positions == tuple(model.get_layer("cut").output.shape[1:3])


def test_where_a_position_looks_may_be_unknown(model):
    seen = sights(json.loads(model.to_json()))
    assert seen["transposed"].part(0, 0) is seen["units"].part(0, 0) is None


def test_neighbours_are_as_far_apart_as_all_steps_together(model):
    seen = sights(json.loads(model.to_json()))
    assert seen["stem"].stride == seen["both"].stride == (2, 2)
    assert seen["inner/wide"].stride == (4, 4)
    assert seen["transposed"].stride == seen["smooth"].stride == (2, 2)


def test_a_unit_sees_the_whole_image(model):
    seen = sights(json.loads(model.to_json()))
    assert seen["units"].text(SIDE, SIDE) == "the whole image"
    assert seen["stem"].text(SIDE, SIDE) == "3 x 3 pixels"


def test_what_is_not_known_is_left_out():
    image = keras.Input((8, 8, 1))
    x = L.Conv2D(2, 3, name="conv")(image)
    x = L.Reshape((36, 2), name="words")(x)
    x = L.Reshape((6, 6, 2), name="back")(x)
    seen = sights(json.loads(keras.Model(image, x).to_json()))
    assert "conv" in seen
    assert not {"words", "back"} & seen.keys()
    assert sights({"class_name": "Functional", "config": {"layers": [{"odd": 1}]}}) == {}


def test_the_layers_of_inner_models_have_their_kind(model):
    of_layers = kinds(json.loads(model.to_json()))
    assert (of_layers["inner"], of_layers["inner/wide"]) == ("Functional", "DepthwiseConv2D")


def test_a_row_of_layers_is_walked_as_a_graph_is():
    layers = [keras.Input((28, 28, 1)), L.Conv2D(2, 3), L.MaxPooling2D(), L.Conv2D(2, 3, name="x")]
    assert sights(json.loads(keras.Sequential(layers).to_json()))["x"].height == 8
