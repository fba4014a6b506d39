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


def randomized(model):
    """The model with random weights, biases and averages of batch normalization."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        weights = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            weights = [rng.uniform(0.5, 1.5, array.shape) for array in weights]
        else:
            weights = [rng.normal(0, array.size**-0.3, array.shape) for array in weights]
        layer.set_weights(weights)
    return model


def normalized(x, activation="relu"):
    return keras.layers.Activation(activation)(keras.layers.BatchNormalization()(x))


def vgg():
    """Convolution, batch normalization, ReLU, pooling."""
    image = x = keras.layers.Input((13, 16, 3))
    for n in (6, 8):
        x = normalized(keras.layers.Conv2D(n, 3, padding="same")(x))
        x = keras.layers.MaxPooling2D(2)(x)
    return keras.Model(image, normalized(keras.layers.Conv2D(5, 3)(x)))


def resnet():
    """Two blocks, the first in steps of 2; one normalized output goes into two layers."""
    layers = keras.layers
    image = layers.Input((14, 15, 3))
    x = layers.ZeroPadding2D(3)(image)
    x = normalized(layers.Conv2D(6, 7, strides=2, use_bias=False)(x))
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))
    for strides in (2, 1):
        inner = normalized(layers.Conv2D(4, 1, strides=strides, use_bias=False)(x))
        inner = layers.Conv2D(8, 3, padding="same", groups=2)(inner)
        inner = layers.BatchNormalization(scale=False)(inner, training=False)
        if strides == 2:
            x = layers.Conv2D(8, 1, strides=2)(x)
            x = layers.BatchNormalization(center=False)(x)
        x = layers.Activation("relu")(layers.Add()([x, inner]))
    return keras.Model(image, x)


def mobilenet():
    """Convolutions by depth, ReLU6, and zeros added at two sides before steps of 2."""
    layers = keras.layers
    image = layers.Input((16, 12, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(image)
    x = layers.ReLU(6)(layers.BatchNormalization()(x))
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2, use_bias=False)(x)
    x = layers.ReLU(6)(layers.BatchNormalization()(x))
    x = layers.BatchNormalization()(layers.Conv2D(5, 1)(x))
    inner = layers.SeparableConv2D(5, 3, padding="same", depth_multiplier=2)(x)
    x = layers.Add()([x, normalized(inner, "silu")])
    return keras.Model(image, layers.ReLU(6)(layers.Conv2D(7, (1, 4), padding="same")(x)))


@pytest.mark.parametrize("make", [vgg, resnet, mobilenet])
def test_batch_normalization_becomes_a_part_of_the_convolution_before_it(make):
    model = randomized(make())
    images = np.random.default_rng(1).standard_normal((4, *model.input_shape[1:]))
    fast = check_agree(model, images.astype(np.float32))
    kinds = [type(layer) for layer in fast.layers]
    assert keras.layers.BatchNormalization not in kinds
    assert kinds.count(keras.layers.ZeroPadding2D) == (2 if make is resnet else 0)


def test_batch_normalization_stays_where_it_is_no_part_of_one_convolution():
    layers = keras.layers
    image = layers.Input((9, 9, 2))
    x = normalized(image, "gelu")
    bent = layers.BatchNormalization()(layers.Conv2D(3, 3, activation="tanh")(x))
    used_twice = layers.Conv2D(3, 3)(x)
    left = layers.BatchNormalization()(used_twice)
    right = keras.ops.sigmoid(used_twice)  # an operation, not a layer
    x = layers.Add()([bent, left, right])
    by_rows = layers.BatchNormalization(axis=1)(layers.Conv2D(3, 3)(x))
    shared = layers.BatchNormalization()
    x = layers.Concatenate()([by_rows, shared(by_rows), shared(layers.Conv2D(3, 3)(x))])
    last = layers.BatchNormalization()(layers.Conv2D(3, 3)(x))
    model = randomized(keras.Model(image, last))
    images = np.random.default_rng(1).standard_normal((4, 9, 9, 2)).astype(np.float32)
    fast = check_agree(model, images)
    assert fast is not model
    assert sum(isinstance(layer, layers.BatchNormalization) for layer in fast.layers) == 6


@pytest.mark.parametrize("size", [12, 13])
@pytest.mark.parametrize("zeros", [0, 1, 2, ((1, 0), (1, 0)), ((0, 1), (0, 1)), ((0, 1), (1, 1))])
@pytest.mark.parametrize(("kernel", "strides", "dilation"), [(3, 1, 1), (3, 2, 1), (3, 1, 2)])
def test_zeros_around_the_inputs_are_kept_or_are_the_same(size, zeros, kernel, strides, dilation):
    image = keras.layers.Input((size, 12, 2))
    x = keras.layers.Conv2D(3, 1)(image)
    x = keras.layers.ZeroPadding2D(zeros)(x)
    x = keras.layers.Conv2D(3, kernel, strides, dilation_rate=dilation, use_bias=False)(x)
    model = randomized(keras.Model(image, keras.layers.Conv2D(2, 2)(x)))
    check_agree(model, np.random.default_rng(0).random((2, size, 12, 2), np.float32))


def test_an_adapted_normalization_keeps_its_mean_and_variance():
    image = keras.layers.Input((8, 8, 3))
    normalization = keras.layers.Normalization()
    model = keras.Model(image, keras.layers.Conv2D(2, 3)(normalization(image)))
    images = np.random.default_rng(0).normal(100, 50, (6, 8, 8, 3)).astype(np.float32)
    normalization.adapt(images)
    assert check_agree(model, images) is not model


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


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "softmax", None, "a layer of its own"])
def test_one_map_of_many_is_what_all_give(activation, padding):
    image = keras.layers.Input((9, 12, 2))
    if activation == "a layer of its own":
        out = keras.layers.Conv2D(7, (3, 2), padding=padding)(image)
        out = keras.layers.ReLU(6)(keras.layers.BatchNormalization()(out))
    else:
        out = keras.layers.Conv2D(7, (3, 2), padding=padding, activation=activation)(image)
    model = randomized(keras.Model(image, out))
    layer = LayerMaps(model, model.layers[-1].name)
    assert layer._own_maps is not None
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


@pytest.mark.parametrize("is_layer", [True, False])
def test_layers_with_two_users_stay_as_they_are(is_layer):
    image = keras.layers.Input((12, 12, 1))
    conv = keras.layers.Conv2D(3, 3, activation="relu")(image)
    pooled = keras.layers.MaxPooling2D(2)(conv)
    # A slice is an operation that no list of layers shows.
    cropped = keras.layers.Cropping2D(((0, 5), (0, 5)))(conv) if is_layer else conv[:, ::2, ::2]
    model = keras.Model(image, keras.layers.Add()([pooled, cropped]))
    fast = check_agree(model, np.random.default_rng(0).random((3, 12, 12, 1), np.float32))
    assert not any(isinstance(layer, ConvolvedPooled) for layer in fast.layers)
