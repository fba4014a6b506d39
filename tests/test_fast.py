import numpy as np
import pytest
from test_ascent import branched_model

from oiplib import LayerMaps
from oiplib.engine.ascent import gradients
from oiplib.engine.fast import ConvolvedPooled, by_convolution, by_sums, faster
from oiplib.engine.tf import keras, tf


def outputs_and_gradients(model, images):
    height, width, _ = model.inputs[0].shape[1:]
    images = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        out = model(images[:, :height, :width], training=False)
        total = tf.reduce_sum(tf.square(out))
    return out.numpy(), tape.gradient(total, images).numpy()


def check_agree(model, images):
    fast = faster(model)
    for plain, quick in zip(
        *(outputs_and_gradients(m, images) for m in (model, fast)), strict=True
    ):
        np.testing.assert_allclose(quick, plain, rtol=1e-5, atol=1e-5 * np.abs(plain).max())
    return fast


@pytest.mark.parametrize("channels", [1, 3, 8])
@pytest.mark.parametrize("kernel", [(3, 3), (2, 5), (4, 1), (1, 1)])
@pytest.mark.parametrize("sides", [(11, 14), (12, 13)])
def test_the_fast_way_back_is_the_plain_one(kernel, channels, sides):
    image = keras.layers.Input((*sides, channels))
    x = keras.layers.Conv2D(6, kernel, activation="relu", bias_initializer="normal")(image)
    x = keras.layers.MaxPooling2D(2)(x)
    model = keras.Model(image, keras.layers.Conv2D(4, 2, use_bias=False)(x))
    images = np.random.default_rng(0).standard_normal((6, *sides, channels)).astype(np.float32)
    fast = check_agree(model, images)
    few = channels * kernel[0] * kernel[1] <= 27
    assert fast.layers[1].ways is (by_sums if few else by_convolution)


def test_of_equal_positions_the_first_gets_the_gradient():
    image = keras.layers.Input((7, 7, 1))
    x = keras.layers.Conv2D(2, 2, activation="relu", kernel_initializer="ones")(image)
    x = keras.layers.MaxPooling2D(2)(x)
    model = keras.Model(image, x)
    check_agree(model, np.ones((1, 7, 7, 1), np.float32))


def test_pixels_that_the_layer_never_sees_are_cut_off():
    image = keras.layers.Input((28, 28, 1))
    x = keras.layers.Conv2D(3, 3, strides=2)(image)
    x = keras.layers.AveragePooling2D(2)(x)
    model = keras.Model(image, keras.layers.Conv2D(2, 3, activation="gelu")(x))
    fast = check_agree(model, np.random.default_rng(0).random((3, 28, 28, 1), np.float32))
    assert fast.inputs[0].shape[1:] == (25, 25, 1)
    padded = keras.Model(image, keras.layers.Conv2D(3, 3, strides=2, padding="same")(image))
    assert faster(padded).inputs[0].shape == padded.inputs[0].shape


def test_whole_networks_agree(tiny_study, mnist):
    from oiplib.engine.images import standardized

    digits = standardized(mnist.test_images[:20])
    noise = np.random.default_rng(0).standard_normal((5, 18, 26, 3)).astype(np.float32)
    for model, images in ((tiny_study.model, digits), (branched_model(), noise)):
        check_agree(model, images)


@pytest.mark.parametrize("activation", ["relu", "gelu", "softmax", None])
def test_one_map_of_many_is_what_all_give(activation):
    image = keras.layers.Input((9, 12, 2))
    out = keras.layers.Conv2D(7, (3, 2), activation=activation, name="last")(image)
    layer = LayerMaps(keras.Model(image, out), "last")
    images = np.random.default_rng(0).standard_normal((14, 9, 12, 2)).astype(np.float32)
    maps = np.arange(14) % 7
    for objective, all_maps in zip(
        ("response", "pre-activation"), layer.respond(images), strict=True
    ):
        of_one = layer.traced(tf.constant(images), tf.constant(maps))[objective != "response"]
        np.testing.assert_allclose(of_one, all_maps[np.arange(14), maps], rtol=1e-5, atol=1e-6)
        with tf.GradientTape() as tape:
            pixels = tf.Variable(images)
            values = layer._traced(pixels)[objective != "response"]
            plain = tape.gradient(tf.gather(values, maps, axis=1, batch_dims=1), pixels)
        gradient = gradients(layer, tf.constant(images), tf.constant(maps), objective)[1]
        np.testing.assert_allclose(gradient, plain, rtol=1e-5, atol=1e-6)


def test_layers_with_two_users_stay_as_they_are():
    image = keras.layers.Input((12, 12, 1))
    conv = keras.layers.Conv2D(3, 3, activation="relu")(image)
    pooled = keras.layers.MaxPooling2D(2)(conv)
    cropped = keras.layers.Cropping2D(((0, 5), (0, 5)))(conv)
    model = keras.Model(image, keras.layers.Add()([pooled, cropped]))
    fast = check_agree(model, np.random.default_rng(0).random((3, 12, 12, 1), np.float32))
    assert not any(isinstance(layer, ConvolvedPooled) for layer in fast.layers)
