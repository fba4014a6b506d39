import numpy as np
import pytest
from test_ascent import branched_model

from oiplib import InputError, LayerMaps
from oiplib.engine.tf import keras


def test_a_response_is_the_mean_activation(tiny_study, layer, mnist):
    from oiplib.engine.images import standardized

    images = standardized(mnist.test_images[:40])
    until = keras.Model(tiny_study.model.inputs, tiny_study.model.get_layer("Conv2D_3").output)
    activations = until.predict(images, verbose=0)
    assert activations.shape == (40, 3, 3, 12)
    np.testing.assert_allclose(layer(images), activations.mean(axis=(1, 2)), rtol=1e-4, atol=1e-6)


def test_batches_give_what_single_images_give(layer):
    images = np.random.default_rng(0).standard_normal((70, 28, 28, 1)).astype(np.float32)
    whole = layer(images)
    for batch_size in (1, 7, 64):
        np.testing.assert_allclose(layer(images, batch_size), whole, rtol=1e-5, atol=1e-6)
    # For the same batch size the bytes don't depend on the images beside.
    assert layer(images[33:35]).tobytes() == whole[33:35].tobytes()


def test_the_model_runs_as_at_test_time():
    layer = LayerMaps(branched_model(), "top")  # it has dropout and batch normalization
    image = np.random.default_rng(0).standard_normal((1, 18, 26, 3)).astype(np.float32)
    assert layer(image).tobytes() == layer(image).tobytes()
    other = np.concatenate([image, 5 * image])
    np.testing.assert_allclose(layer(other)[:1], layer(image), rtol=1e-5)


def test_an_unknown_layer_is_refused_with_the_choices(tiny_study):
    with pytest.raises(InputError, match=r"choose one of Conv2D_1, .*Conv2D_3"):
        LayerMaps(tiny_study.model, "Conv2D_4")


def test_units_of_a_dense_layer_are_maps_of_one_position(tiny_study):
    assert LayerMaps(tiny_study.model, "Dense_1").n_maps == 16


@pytest.mark.parametrize("shape", [(None, None, 1), (10,)])
def test_a_model_that_takes_no_image_of_known_size_is_refused(shape):
    image = keras.layers.Input(shape)
    model = keras.Model(image, keras.layers.Activation("relu", name="out")(image))
    with pytest.raises(InputError, match="one image of known"):
        LayerMaps(model, "out")


@pytest.mark.parametrize(
    ("activation", "dead"),
    [("relu", True), ("gelu", False), ("linear", False), (keras.layers.ReLU(), True),
     (keras.layers.ReLU(negative_slope=0.1), False)],
)  # fmt: skip
def test_only_relu_makes_silent_starts_dead(activation, dead):
    image = keras.layers.Input((8, 8, 1))
    if isinstance(activation, str):
        out = keras.layers.Conv2D(2, 3, activation=activation)(image)
    else:
        out = activation(keras.layers.Conv2D(2, 3)(image))
    model = keras.Model(image, out)
    assert LayerMaps(model, model.layers[-1].name).silent_is_dead is dead
