import numpy as np
import pytest
from test_ascent import branched_model
from test_fast import mobilenet, randomized, resnet, vgg

from oiplib import CnnSpec, InputError, LayerMaps
from oiplib.engine.ascent import gradients
from oiplib.engine.layers import map_layers
from oiplib.engine.network import build
from oiplib.engine.tf import keras, tf


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


@pytest.mark.parametrize("make", [vgg, resnet, mobilenet, branched_model])
def test_responses_and_gradients_of_every_layer_are_those_of_plain_keras(make):
    model = randomized(make())
    shape = model.inputs[0].shape[1:]
    images = tf.constant(np.random.default_rng(2).standard_normal((3, *shape)), tf.float32)
    for name in list(map_layers(model))[-6:]:
        layer = LayerMaps(model, name)
        maps = tf.constant([0, 1, layer.n_maps - 1])
        until = keras.Model(model.inputs[0], model.get_layer(name).output)
        with tf.GradientTape() as tape:
            tape.watch(images)
            activations = until(images, training=False)
            means = tf.reduce_mean(activations, axis=list(range(1, activations.ndim - 1)))
            wanted = tf.gather(means, maps, axis=1, batch_dims=1)
        wanted_gradient = tape.gradient(wanted, images)
        responses, gradient = gradients(layer, images, maps)
        scale = np.abs(activations).max()
        np.testing.assert_allclose(responses, wanted, rtol=1e-5, atol=1e-5 * scale)
        np.testing.assert_allclose(layer(images.numpy()), means, rtol=1e-5, atol=1e-5 * scale)
        atol = 1e-5 * np.abs(wanted_gradient).max()
        np.testing.assert_allclose(gradient, wanted_gradient, rtol=1e-4, atol=atol)


def test_a_part_of_split_channels_beside_a_layer_is_itself():
    """As in ShuffleNet: one of an operation's two outputs goes on as it is."""
    image = keras.Input((8, 8, 3))
    kept, other = keras.ops.split(keras.layers.Conv2D(4, 3, activation="relu")(image), 2, axis=-1)
    convolved = keras.layers.Conv2D(2, 3, padding="same", activation="relu")(other)
    model = keras.Model(image, keras.layers.Concatenate(name="both")([kept, convolved]))
    images = np.random.default_rng(0).standard_normal((5, 8, 8, 3)).astype(np.float32)
    means = model(images).numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(LayerMaps(model, "both")(images), means, rtol=1e-5, atol=1e-6)


def test_batch_normalization_can_be_studied_itself():
    model = randomized(vgg())
    names = [each.name for each in model.layers if "batch_normalization" in each.name]
    images = np.random.default_rng(0).standard_normal((2, *model.input_shape[1:]))
    features = LayerMaps(model, names[1]).features(images.astype(np.float32))
    until = keras.Model(model.inputs[0], model.get_layer(names[1]).input)
    np.testing.assert_allclose(features, until(images), rtol=1e-4, atol=1e-5)


def softmax_within(units):
    return units(5, activation="softmax", name="classes")


def softmax_as_activation(units):
    return [units(5, name="logits"), keras.layers.Activation("softmax", name="classes")]


def softmax_as_layer(units):
    return [units(5, name="logits"), keras.layers.Softmax(name="classes")]


@pytest.mark.parametrize("ending", [softmax_within, softmax_as_activation, softmax_as_layer])
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_the_response_of_a_class_is_what_goes_into_its_softmax(ending, kind):
    dense = kind == "dense"
    last = ending(
        keras.layers.Dense if dense else lambda n, **more: keras.layers.Conv2D(n, 3, **more)
    )
    hidden = [keras.layers.Conv2D(3, 3), *([keras.layers.Flatten()] if dense else [])]
    last = last if isinstance(last, list) else [last]
    model = randomized(keras.Sequential([keras.Input((8, 9, 2)), *hidden, *last]))
    images = np.random.default_rng(0).standard_normal((4, 8, 9, 2)).astype(np.float32)
    before = keras.Model(model.inputs[0], last[0].input)(images).numpy()
    kernel, bias = last[0].get_weights()
    logits = before @ kernel + bias if dense else tf.nn.conv2d(before, kernel, 1, "VALID") + bias
    positions = () if dense else (1, 2)
    layer = LayerMaps(model, "classes")
    for values in layer.respond(images):
        np.testing.assert_allclose(values, np.mean(logits, axis=positions), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.activations(images), logits, rtol=1e-5, atol=1e-5)
    assert not layer.silent_is_dead


def test_a_batch_fits_the_network_and_the_image():
    articles = build(CnnSpec(), (28, 28, 1), 10)
    assert {LayerMaps(articles, name).batch_size for name in map_layers(articles)} == {128}
    image = keras.Input((1024, 1024, 3))
    x = keras.layers.Conv2D(2, 3, strides=4, name="small")(image)
    x = keras.layers.Conv2D(64, 3, name="middle")(x)
    for _ in range(3):
        x = keras.layers.Conv2D(256, 3, padding="same")(x)
    model = keras.Model(image, keras.layers.Activation("gelu", name="large")(x))
    sizes = {name: LayerMaps(model, name).batch_size for name in ("small", "middle", "large")}
    # 3.3, 7.4 and 73 million numbers
    assert sizes == {"small": 16, "middle": 8, "large": 2}


def test_four_images_of_a_known_large_network_are_a_batch():
    model = keras.applications.MobileNetV2(weights=None)
    assert LayerMaps(model, "block_6_expand_relu").batch_size == 4
    assert LayerMaps(model, "out_relu").batch_size == 4


def test_responses_come_in_twice_the_batch_of_a_gradient():
    model = branched_model()
    images = np.random.default_rng(0).standard_normal((300, 18, 26, 3)).astype(np.float32)
    layer = LayerMaps(model, "top")
    assert layer(images).tobytes() == layer(images, 2 * layer.batch_size).tobytes()
    features = layer.features(images, 2 * layer.batch_size)
    assert layer.features(images).tobytes() == features.tobytes()
