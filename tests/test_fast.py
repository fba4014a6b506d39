import numpy as np
import pytest
from test_ascent import branched_model

from oiplib._tf import keras, tf
from oiplib.fast import ImageConv2D, faster


def outputs_and_gradients(model, images):
    images = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        out = model(images, training=False)
        total = tf.reduce_sum(tf.square(out))
    return out.numpy(), tape.gradient(total, images).numpy()


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("kernel", [(3, 3), (2, 5), (4, 1), (1, 1)])
def test_the_fast_way_back_is_the_plain_one(kernel, padding):
    image = keras.layers.Input((11, 14, 2))
    out = keras.layers.Conv2D(5, kernel, padding=padding, activation="gelu")(image)
    model = keras.Model(image, out)
    images = np.random.default_rng(0).standard_normal((6, 11, 14, 2)).astype(np.float32)
    fast = faster(model)
    assert any(isinstance(layer, ImageConv2D) for layer in fast.layers)
    for plain, quick in zip(
        *(outputs_and_gradients(m, images) for m in (model, fast)), strict=True
    ):
        np.testing.assert_allclose(quick, plain, rtol=1e-5, atol=1e-5 * np.abs(plain).max())


def test_whole_networks_agree(tiny_study, mnist):
    from oiplib.images import standardized

    digits = standardized(mnist.test_images[:20])
    noise = np.random.default_rng(0).standard_normal((5, 18, 26, 3)).astype(np.float32)
    for model, images in ((tiny_study.model, digits), (branched_model(), noise)):
        fast = faster(model)
        assert fast is not model
        pairs = zip(*(outputs_and_gradients(m, images) for m in (model, fast)), strict=True)
        for plain, quick in pairs:
            np.testing.assert_allclose(quick, plain, rtol=1e-5, atol=1e-5 * np.abs(plain).max())


def test_what_the_fast_way_does_not_know_stays_as_it_is():
    image = keras.layers.Input((12, 12, 1))
    strided = keras.Model(image, keras.layers.Conv2D(3, 3, strides=2)(image))
    dilated = keras.Model(image, keras.layers.Conv2D(3, 3, dilation_rate=2)(image))
    wide = keras.layers.Input((12, 12, 16))
    many = keras.Model(wide, keras.layers.Conv2D(3, 3)(wide))
    dense = keras.Model(image, keras.layers.Dense(3)(image))
    for model in (strided, dilated, many, dense):
        assert faster(model) is model
