"""Models as people have them: taken in, rebuilt, and studied as plain Keras computes them."""

import io
import warnings
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import pytest

from oiplib import CnnSpec, InputError, LayerMaps
from oiplib.engine import models, network
from oiplib.engine.layers import map_layers
from oiplib.engine.nested import flat, set_weights
from oiplib.engine.proposals import proposed_inputs
from oiplib.engine.responses import activations, responses
from oiplib.engine.tf import keras, tf
from oiplib.values.inputs import Inputs

layers = keras.layers

SHAPE = (16, 18, 3)


def with_weights(model, seed=0):
    """The model with random weights in the place of zeros and ones, its averages too."""
    random = np.random.default_rng(seed)

    def value(variable):
        old = variable.numpy()
        if "variance" in variable.path or "gamma" in variable.path:
            return random.uniform(0.5, 2, old.shape)
        return random.normal(0, 0.2, old.shape) if old.ndim < 2 and old.dtype != int else old

    set_weights(model, [value(variable) for variable in model.weights])
    return model


def images(n=5, shape=SHAPE, low=-2, high=2):
    return np.random.default_rng(1).uniform(low, high, (n, *shape)).astype(np.float32)


def functional(*stack, shape=SHAPE, **options):
    """Some layers after each other, as a functional model."""
    image = tensor = keras.Input(shape, name="image", **options)
    for layer in stack:
        tensor = layer(tensor)
    return keras.Model(image, tensor)


def vgg():
    stack = []
    for block, n_maps in enumerate((4, 6), 1):
        stack += [
            layers.Conv2D(n_maps, 3, padding="same", use_bias=False, name=f"conv_{block}"),
            layers.BatchNormalization(name=f"norm_{block}"),
            layers.Activation("relu", name=f"relu_{block}"),
            layers.MaxPooling2D(name=f"pool_{block}"),
        ]
    stack += [layers.Flatten(), layers.Dropout(0.5), layers.Dense(3, "softmax", name="classes")]
    return functional(*stack)


def resnet():
    image = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, padding="same", name="stem")(image)
    for block in (1, 2):
        y = layers.Conv2D(4, 3, padding="same", name=f"conv_{block}")(x)
        y = layers.BatchNormalization(name=f"norm_{block}")(y)
        x = layers.ReLU(name=f"relu_{block}")(layers.Add(name=f"add_{block}")([x, y]))
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(image, layers.Dense(3, name="logits")(x))


def activated(activation):
    return functional(
        layers.Conv2D(4, 3, activation=activation, name="one"),
        layers.Conv2D(5, 3, strides=2, activation=activation, name="two"),
        layers.GlobalMaxPooling2D(),
        layers.Dense(3, activation=activation, name="dense"),
    )


def activation_layers(make):
    return functional(
        layers.Conv2D(4, 3, name="one"), make(name="after_one"),
        layers.Conv2D(5, 3, name="two"), make(name="after_two"), layers.Flatten(),
    )  # fmt: skip


def depthwise():
    return functional(
        layers.SeparableConv2D(4, 3, name="separable"),
        layers.DepthwiseConv2D(3, name="depthwise"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(6.0, name="relu6"),
        layers.Conv2D(5, 1, groups=1, name="pointwise"),
        layers.UpSampling2D(name="larger"),
        layers.Conv2DTranspose(2, 3, name="transposed"),
    )


def two_outputs():
    image = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = layers.GlobalAveragePooling2D()(x)
    outputs = layers.Dense(3, "softmax", name="kind"), layers.Dense(1, name="size")
    return keras.Model(image, [output(x) for output in outputs])


def shared_layer():
    image = keras.Input(SHAPE)
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    x = layers.Conv2D(4, 3, name="last")(layers.ReLU(name="relu")(shared(shared(image))))
    return keras.Model(image, layers.Flatten()(x))


def vision_transformer():
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 4, strides=4, name="patches")(image)
    x = layers.Reshape((16, 8))(x)
    y = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 4, name="attention")(y, y)])
    y = layers.Dense(16, "gelu")(layers.LayerNormalization()(x))
    x = layers.Add()([x, layers.Dense(8)(y)])
    x = layers.GlobalAveragePooling1D(name="mean")(layers.LayerNormalization()(x))
    return keras.Model(image, layers.Dense(3, name="logits")(x))


def backbone(shape=SHAPE, name="backbone"):
    image = keras.Input(shape)
    x = layers.Conv2D(4, 3, padding="same", name="conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    y = layers.ReLU(name="relu")(x)
    x = layers.Add(name="b3_out")([x, y])
    return keras.Model(image, x, name=name)


def transfer_learning():
    return keras.Sequential([
        keras.Input(SHAPE),
        keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.1)], name="augment"),
        layers.Rescaling(1 / 127.5, offset=-1, name="rescaling"),
        backbone((None, None, 3)),
        layers.GlobalAveragePooling2D(name="mean"),
        layers.Dropout(0.2),
        layers.Dense(3, activation="softmax", name="classes"),
    ])  # fmt: skip


def doubly_nested():
    image = keras.Input(SHAPE)
    head = keras.Sequential(
        [layers.Conv2D(3, 3, name="conv"), layers.ReLU(name="relu")], name="head"
    )
    inner = keras.Input(SHAPE)
    outer = keras.Model(inner, head(backbone()(inner)), name="outer")
    x = layers.Conv2D(2, 3, name="conv")(outer(image, training=False))
    return keras.Model(image, layers.Flatten(name="flat")(x))


def nested_outputs():
    image = keras.Input(SHAPE)
    inner = keras.Input(SHAPE)
    low = layers.Conv2D(3, 3, padding="same", name="low")(inner)
    high = layers.Conv2D(3, 3, padding="same", activation="relu", name="high")(low)
    pyramid = keras.Model(inner, {"low": low, "high": high}, name="pyramid")
    both = pyramid(image)
    x = layers.Concatenate(name="both")([both["low"], both["high"]])
    return keras.Model(image, layers.Conv2D(2, 3, name="last")(x))


def normalized():
    layer = layers.Normalization(name="normalization")
    layer.adapt(images(20, low=0, high=255))
    return functional(layer, layers.Conv2D(4, 3, activation="relu", name="conv"), layers.Flatten())


KINDS = {
    "VGG with batch norm": vgg,
    "ResNet": resnet,
    "GELU": lambda: activated("gelu"),
    "SiLU": lambda: activated("silu"),
    "softplus": lambda: activated("softplus"),
    "LeakyReLU": lambda: activation_layers(layers.LeakyReLU),
    "PReLU": lambda: activation_layers(layers.PReLU),
    "ELU": lambda: activation_layers(layers.ELU),
    "an activation that is a layer": lambda: activated(layers.LeakyReLU(0.3)),
    "depthwise": depthwise,
    "two outputs": two_outputs,
    "shared layer": shared_layer,
    "ViT's patches": vision_transformer,
    "nested": transfer_learning,
    "nested twice": doubly_nested,
    "nested with two outputs": nested_outputs,
    "softmax that is a layer": lambda: functional(
        layers.Conv2D(3, 3, name="conv"),
        layers.GlobalAveragePooling2D(),
        layers.Activation("softmax", name="classes"),
    ),
    "Normalization": normalized,
    "Rescaling": lambda: functional(layers.Rescaling(1 / 255), layers.Conv2D(4, 3, name="conv")),
    "keras.ops": lambda: functional(
        lambda x: (x / 127.5 - 1)[..., ::-1], layers.Conv2D(4, 3, name="conv")
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def given(request):
    keras.utils.set_random_seed(0)
    return with_weights(KINDS[request.param]())


def plain(model, layer, shown, of_map):
    """A layer's responses and the gradient of one map's, by Keras alone.

    Of a layer that ends in a softmax these are the logarithms of its outputs, so that the
    difference of two maps is that of what went into the softmax.
    """
    flat_model, names = flat(model)
    end = flat_model.get_layer(names[layer])
    until = keras.Model(flat_model.inputs[0], end.output)
    shown = tf.constant(shown)
    with tf.GradientTape() as tape:
        tape.watch(shown)
        values = until(shown, training=False)
        if layer in SOFTMAX:
            values = tf.math.log(values)
        means = tf.reduce_mean(values, axis=list(range(1, len(values.shape) - 1)))
        of_map = means[:, of_map]
    return means.numpy(), np.asarray(tape.gradient(of_map, shown))


def ours(model, layer, shown, of_map):
    """The same by `LayerMaps`."""
    maps = LayerMaps(model, layer)
    tensor = tf.constant(shown)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        response, _ = maps.traced(tensor, tf.fill((len(shown),), of_map))
    return maps(shown), np.asarray(tape.gradient(response, tensor))


#: Layers of the kinds above that end in a softmax.
SOFTMAX = ("classes", "kind")


def test_a_model_is_taken_in_as_it_is(given):
    taken = models.taken(given)
    shown = images(shape=given.inputs[0].shape[1:])
    outputs = (tf.nest.flatten(model(shown, training=False)) for model in (taken, given))
    for of_taken, of_given in zip(*outputs, strict=True):
        np.testing.assert_allclose(of_taken, of_given, rtol=1e-5, atol=1e-6)
    assert network.pack(taken) == network.pack(models.taken(taken))


def test_layers_respond_as_in_plain_keras(given):
    taken = models.taken(given)
    shown = images(3, shape=given.inputs[0].shape[1:])
    names = list(map_layers(taken))
    assert names
    by_keras = responses(taken, names, shown)
    for name in names:
        (means, gradient), (response, own_gradient) = (
            way(taken, name, shown, 0) for way in (plain, ours)
        )
        np.testing.assert_allclose(by_keras[name][0], response, rtol=1e-5, atol=1e-5)
        if name in SOFTMAX:  # only differences are defined
            means, response = (values - values[:, 1:2] for values in (means, response))
            gradient = gradient - plain(taken, name, shown, 1)[1]
            own_gradient = own_gradient - ours(taken, name, shown, 1)[1]
        np.testing.assert_allclose(response, means, rtol=1e-5, atol=1e-5)
        size = np.abs(gradient).max()
        np.testing.assert_allclose(own_gradient, gradient, rtol=1e-3, atol=1e-5 * size + 1e-9)


def test_layers_of_inner_models_have_a_path():
    taken = models.taken(with_weights(doubly_nested()))
    shapes = map_layers(taken)
    assert list(shapes) == [
        "outer/backbone/conv", "outer/backbone/norm", "outer/backbone/relu",
        "outer/backbone/b3_out", "outer/head/conv", "outer/head/relu", "conv", "flat",
    ]  # fmt: skip
    assert shapes["outer/head/conv"] == (14, 16, 3)
    with pytest.raises(InputError, match=r"choose one of .*outer/head/conv"):
        LayerMaps(taken, "head/conv")


def test_an_inner_model_of_open_size_has_the_sizes_of_its_images():
    shapes = map_layers(with_weights(transfer_learning()))
    assert shapes["backbone/b3_out"] == (*SHAPE[:2], 4)
    assert "backbone" not in shapes


def test_an_inner_model_that_is_called_twice_has_no_layers_of_its_own():
    image = keras.Input((16, 18, 4))
    inner = backbone((16, 18, 4))
    x = layers.Conv2D(2, 3, name="last")(inner(inner(image)))
    model = with_weights(keras.Model(image, x))
    taken = models.taken(model)
    assert list(map_layers(taken)) == ["last"]
    shown = images(2, (16, 18, 4))
    np.testing.assert_allclose(
        LayerMaps(taken, "last")(shown), plain(model, "last", shown, 0)[0], rtol=1e-4, atol=1e-5
    )


def test_activations_are_given_position_by_position():
    model = with_weights(transfer_learning())
    shown = images(3)
    values = activations(model, ["backbone/b3_out", "classes"], shown)
    assert values["backbone/b3_out"].shape == (3, 16, 18, 4)
    probabilities = tf.nn.softmax(values["classes"]).numpy()
    np.testing.assert_allclose(probabilities, model(shown, training=False), rtol=1e-5)
    by_ones = activations(model, ["classes"], shown, batch_size=1)
    np.testing.assert_allclose(by_ones["classes"], values["classes"], rtol=1e-5, atol=1e-6)


# --- files ---


@pytest.mark.parametrize("ending", [".keras", ".h5", ".hdf5"])
@pytest.mark.parametrize("kind", ["nested", "ViT's patches", "Normalization", "two outputs"])
def test_a_file_holds_the_model_that_was_saved(kind, ending, tmp_path):
    model = with_weights(KINDS[kind]())
    path = tmp_path / f"model{ending}"
    save(model, path)
    taken = models.read(path)
    names, shown = list(map_layers(model)), images(2, model.inputs[0].shape[1:])
    of_taken, of_model = (responses(each, names, shown) for each in (taken, model))
    for name in names:
        np.testing.assert_allclose(of_taken[name], of_model[name], rtol=1e-5, atol=1e-6)


def save(model, path):
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")  # .h5 is old
        model.save(path)


def inner_normalization():
    layer = layers.Normalization()
    layer.adapt(images(20, low=0, high=255))
    first = keras.Sequential([keras.Input(SHAPE), layer], name="first")
    return functional(first, layers.Conv2D(4, 3, name="conv"))


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_an_inner_normalization_keeps_its_mean(ending, tmp_path):
    model = inner_normalization()
    save(model, tmp_path / f"model{ending}")
    taken = models.read(tmp_path / f"model{ending}")
    shown = images(3, low=0, high=255)
    for each in (taken, network.unpack(*network.pack(taken))):
        np.testing.assert_allclose(each(shown), model(shown), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            LayerMaps(each, "conv")(shown), plain(model, "conv", shown, 0)[0], rtol=1e-4, atol=1e-5
        )


def test_a_model_that_was_trained_here_keeps_its_bytes(tmp_path):
    model = network.build(CnnSpec(maps=(4, 6), dense=(8,)), (28, 28, 1), 10)
    network.save(model, tmp_path / "cnn.keras")
    before = network.pack(model)
    assert network.pack(models.taken(model)) == before
    assert network.pack(models.read(tmp_path / "cnn.keras")) == before
    assert network.pack(model) == before


@pytest.mark.parametrize("ending", ["h5", "keras"])
def test_files_of_keras_2_hold_the_same_network(ending):
    """Written by Keras 2 (tf-keras 2.21), which computed these outputs."""
    taken = models.read(Path(__file__).parent / "models" / f"keras-2.{ending}")
    shown = np.linspace(0, 255, 2 * 8 * 9 * 3, dtype=np.float32).reshape(2, 8, 9, 3)
    np.testing.assert_allclose(
        taken(tf.constant(shown)),
        [[-0.106934, 0.564803, 0.058466], [0.364974, 0.651464, 0.158939]],
        atol=2e-3,  # one of its layers computed in float16
    )
    assert list(map_layers(taken))[:5] == [
        "normalization", "inner/depthwise", "inner/norm", "head/conv", "head/leaky",
    ]  # fmt: skip
    assert proposed_inputs(taken) == Inputs(0, 255)
    assert network.pack(network.unpack(*network.pack(taken))) == network.pack(taken)


# --- sizes and types ---


def fully_convolutional():
    return functional(
        layers.Rescaling(1 / 255),
        layers.Conv2D(4, 3, activation="relu", name="conv"),
        backbone((None, None, 4)),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, name="logits"),
        shape=(None, None, 3),
    )


@pytest.mark.parametrize("size", [(20, 24), 16])
def test_a_fully_convolutional_model_gets_the_size_that_is_asked_for(size, tmp_path):
    model = with_weights(fully_convolutional())
    save(model, tmp_path / "model.keras")
    taken = models.read(tmp_path / "model.keras", image_size=size)
    shape = (*(size if isinstance(size, tuple) else (size, size)), 3)
    assert taken.input_shape == (None, *shape)
    rebuilt = network.unpack(*network.pack(taken))
    assert map_layers(rebuilt)["backbone/conv"] == (shape[0] - 2, shape[1] - 2, 4)
    shown = images(2, shape, 0, 255)
    np.testing.assert_allclose(rebuilt(shown), model(shown), rtol=1e-4, atol=1e-5)


def test_a_batch_of_fixed_size_is_given_up():
    image = keras.Input(batch_shape=(5, *SHAPE))
    model = keras.Model(image, layers.Flatten()(layers.Conv2D(2, 3, name="conv")(image)))
    assert LayerMaps(models.taken(model), "conv")(images(3)).shape == (3, 2)


def test_a_sequential_model_that_never_named_its_input_is_taken():
    model = keras.Sequential([layers.Conv2D(2, 3, name="conv"), layers.GlobalMaxPooling2D()])
    model.compile(loss="mse")
    model.fit(images(5), np.zeros((5, 2)), batch_size=5, verbose=0)
    assert LayerMaps(models.taken(model), "conv")(images(3)).shape == (3, 2)


@pytest.mark.parametrize(
    "policy", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16", "float64"]
)
def test_other_precisions_run_in_float32(policy, tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        dtype = None if policy.startswith("mixed") else policy
        model = functional(
            layers.Conv2D(4, 3, name="conv"), layers.BatchNormalization(),
            keras.Sequential([layers.Conv2D(4, 3, activation="relu", name="conv")], name="inner"),
            lambda x: keras.ops.cast(x, policy.removeprefix("mixed_")),
            layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax"), dtype=dtype,
        )  # fmt: skip
        with_weights(model)
        save(model, tmp_path / "model.keras")
        taken = models.read(tmp_path / "model.keras")
        exact = LayerMaps(taken, "inner/conv")(images(3))
    finally:
        keras.config.set_dtype_policy(before)
    assert {variable.dtype for variable in taken.weights} == {"float32"}
    assert {layer.compute_dtype for layer in flat(taken)[0].layers} == {"float32"}
    assert exact.dtype == np.float32
    np.testing.assert_allclose(taken(images(3)), model(images(3)), rtol=0.05, atol=0.01)
    np.testing.assert_allclose(LayerMaps(taken, "inner/conv")(images(3)), exact, rtol=1e-5)


def test_an_input_of_whole_numbers_becomes_one_of_numbers():
    model = functional(layers.Rescaling(1 / 255), layers.Conv2D(4, 3, name="conv"), dtype="uint8")
    taken = models.taken(with_weights(model))
    assert taken.inputs[0].dtype == "float32"
    _, gradient = ours(taken, "conv", images(2, low=0, high=255), 0)
    assert np.abs(gradient).max() > 0


def test_an_input_with_a_name_is_an_input():
    image = keras.Input(SHAPE, name="photo")
    out = layers.Conv2D(2, 3, name="conv")(image)
    taken = models.taken(keras.Model({"photo": image}, {"maps": out}))
    assert LayerMaps(taken, "conv")(images(3)).shape == (3, 2)


def test_a_class_of_its_own_with_a_graph_is_taken():
    class Trained(keras.Model):
        def train_step(self, data):
            return {}

    image = keras.Input(SHAPE)
    model = Trained(image, layers.Conv2D(2, 3, name="conv")(image))
    assert LayerMaps(models.taken(model), "conv")(images(3)).shape == (3, 2)


def test_how_an_inner_model_was_trained_is_left_out():
    inner = backbone()
    inner.compile(loss=lambda truth, guess: keras.ops.mean(truth - guess))
    model = functional(inner, layers.Conv2D(2, 3, name="conv"))
    assert "lambda" in network.pack(model)[0]
    assert "lambda" not in network.pack(models.taken(model))[0]


@pytest.mark.parametrize(
    "layer", [layers.Dropout(0.5), layers.RandomBrightness(0.5), layers.RandomCrop(16, 18)]
)
def test_a_network_is_studied_as_at_test_time(layer):
    image = keras.Input(SHAPE)
    changed = layer(image, training=True)
    model = keras.Model(image, layers.Conv2D(2, 3, name="conv")(changed))
    maps = LayerMaps(models.taken(model), "conv")
    shown = images(3, low=0, high=255)
    of_conv = keras.Sequential([keras.Input(SHAPE), model.get_layer("conv")])
    means = of_conv(tf.constant(shown)).numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(maps(shown), means, rtol=1e-4, atol=1e-3)


def test_a_model_of_vectors_is_studied_behind_a_reshape():
    vectors = with_weights(functional(layers.Dense(3, name="dense"), shape=(16 * 18,)))
    model = keras.Sequential([keras.Input((16, 18, 1)), layers.Reshape((16 * 18,)), vectors])
    taken = models.taken(model)
    name = f"{vectors.name}/dense"
    shown = images(3, (16, 18, 1))
    np.testing.assert_allclose(
        LayerMaps(taken, name)(shown), vectors(shown.reshape(3, -1)), rtol=1e-4, atol=1e-5
    )


# --- what is refused ---


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(2, 3)

    def call(self, image):
        return self.conv(image)


class Doubling(layers.Layer):
    def call(self, x):
        return 2 * x


def squared(x):
    return x * x


def several_inputs():
    inputs = keras.Input(SHAPE, name="photo"), keras.Input((4,), name="place")
    x = layers.Concatenate()([layers.Flatten()(inputs[0]), inputs[1]])
    return keras.Model(inputs, layers.Dense(2)(x))


def text():
    words = keras.Input((1,), dtype="string")
    return keras.Model(words, layers.StringLookup(vocabulary=["a", "b"])(words))


def inner_channels_first():
    inner = keras.Sequential([layers.MaxPooling2D(data_format="channels_first", name="pool")])
    return functional(inner, layers.Conv2D(2, 3))


def with_nan(model):
    model.set_weights([np.full_like(weights, np.nan) for weights in model.get_weights()])
    return model


def quantized():
    model = functional(layers.Flatten(), layers.Dense(4, name="dense"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the input isn't
        model.quantize("int8")
    return model


def shared_between_models():
    """Keras writes each inner model by itself, and so the layer twice."""
    shared = layers.Conv2D(3, 3, padding="same")
    inner = [keras.Sequential([keras.Input(SHAPE), shared], name=name) for name in "ab"]
    image = keras.Input(SHAPE)
    return keras.Model(image, layers.Add()([model(image) for model in inner]))


def forgetful():
    """A normalization that isn't what its weights say."""
    layer = layers.Normalization(name="forgetful")
    model = functional(layer, layers.Conv2D(2, 3))
    model.set_weights([np.full_like(weights, 3) for weights in model.get_weights()])
    return model


REFUSED = {
    "no model": (lambda: [1, 2], "a model must be a model of Keras .*, not builtins.list"),
    "subclassed": (
        Subclassed,
        r"a class of its own \(Subclassed\).*keras.Model\(inputs, outputs\)",
    ),
    "not built": (
        lambda: keras.Sequential([layers.Conv2D(2, 3)]),
        r"isn't built: let it begin with keras.Input\(\(height, width, channels\)\)",
    ),
    "two inputs": (several_inputs, r"takes 2 inputs \(photo, place\), .* must take one image"),
    "text": (text, r"takes values of the shape \(1,\), .*: text isn't one"),
    "vectors": (
        lambda: functional(layers.Dense(2), shape=(7,)),
        r"takes values of the shape \(7,\), .*: put keras.Input\(\(height, width, channels\)\) and",
    ),
    "open channels": (
        lambda: functional(layers.GlobalAveragePooling2D(), shape=(8, 8, None)),
        r"\(8, 8, None\), .* one image of a known number of channels: build it for 1 or 3",
    ),
    "channels first": (
        lambda: functional(layers.MaxPooling2D(data_format="channels_first", name="pool")),
        "the layer 'pool' has data_format='channels_first': build the model with channels_last",
    ),
    "inner channels first": (inner_channels_first, "the layer 'pool' has data_format="),
    "an input with channels first": (
        lambda: functional(layers.Permute((2, 3, 1)), shape=(3, 16, 18)),
        r"\(3, 16, 18\), .* looks like channels first, so build it for \(height",
    ),
    "open size": (fully_convolutional, "of any size: name one, such as --image-size 64x64 or 64"),
    "an own layer": (
        lambda: functional(Doubling(name="twice")),
        "the layer 'twice' is a Doubling, which Keras can't build by itself: build .* Keras' own",
    ),
    "an own function": (
        lambda: functional(layers.Conv2D(2, 3, activation=squared, name="conv")),
        "the layer 'conv' uses the function 'squared', which Keras can't build by itself",
    ),
    "Lambda": (
        lambda: functional(layers.Lambda(lambda x: 2 * x, name="twice")),
        "the layer 'twice' is a Lambda, which is Python code: replace it by Keras' own layers",
    ),
    "inner Lambda": (
        lambda: functional(
            keras.Sequential([layers.Lambda(lambda x: 2 * x, name="twice")], name="inner")
        ),
        "the layer 'inner/twice' is a Lambda",
    ),
    "no numbers": (
        lambda: with_nan(functional(layers.Conv2D(2, 3))),
        "no finite numbers: train it anew",
    ),
    "quantized": (quantized, "the layer 'dense' is quantized: take the model from before"),
    "a layer that two inner models share": (shared_between_models, "can't be rebuilt \\("),
    "forgetful": (forgetful, "answers differently, first in the layer 'forgetful': replace"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_studied_is_refused_with_one_line(kind):
    make, words = REFUSED[kind]
    with pytest.raises(InputError, match=words) as error:
        models.taken(make())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize(
    "kind", ["two inputs", "vectors", "inner channels first", "open size", "an own layer",
             "an own function", "Lambda", "inner Lambda"],
)  # fmt: skip
def test_files_of_such_models_are_refused_with_their_name(kind, ending, tmp_path):
    make, words = REFUSED[kind]
    path = tmp_path / f"model{ending}"
    save(make(), path)
    with pytest.raises(InputError, match=words) as error:
        models.read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_no_code_of_a_file_runs(ending, tmp_path):
    trace = tmp_path / "trace"
    path = tmp_path / f"trap{ending}"
    save(functional(layers.Lambda(lambda x: 2 * x, name="twice")), path)

    # What Keras would call while it builds or computes the layer.
    def trap(x, trace=str(trace)):
        open(trace, "w").close()
        return x

    save(functional(layers.Lambda(trap)), path)
    trace.unlink()
    with pytest.raises(InputError, match="is a Lambda, which is Python code"):
        models.read(path)
    assert not trace.exists()


def test_sizes_that_do_not_suit_the_model_are_refused():
    for size, words in (
        (3, r"for images of 3x3 pixels \("),
        ((0, 5), "an image size is a height and a width in pixels"),
        ((5, 5, 3), "an image size is a height and a width in pixels"),
    ):
        with pytest.raises(InputError, match=words):
            models.taken(functional(layers.Conv2D(2, 5), shape=(None, None, 1)), size)
    with pytest.raises(InputError, match="takes images of 16x18 pixels, not 8x8: leave the image"):
        models.taken(vgg(), 8)
    assert models.taken(vgg(), SHAPE[:2]).input_shape == (None, *SHAPE)
    half_open = functional(layers.Conv2D(2, 3), shape=(16, None, 1))
    with pytest.raises(InputError, match="takes images of 16xany pixels, not 8x8"):
        models.taken(half_open, 8)
    assert models.taken(half_open, (16, 8)).input_shape == (None, 16, 8, 1)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").touch()
    for path in (tmp_path / "saved", tmp_path / "saved" / "saved_model.pb"):
        with pytest.raises(
            InputError, match=r"SavedModel, .* save it by model.save\('model.keras'"
        ):
            models.read(path)
    with pytest.raises(InputError, match=r"files that end in \.keras, \.h5, \.hdf5"):
        models.read(tmp_path / "model.pt")
    with pytest.raises(InputError, match="there is no file"):
        models.read(tmp_path / "missing.h5")
    save(vgg(), tmp_path / "whole.keras")
    whole = (tmp_path / "whole.keras").read_bytes()
    for name, content in (
        ("empty.keras", b""), ("half.keras", whole[: len(whole) // 2]), ("text.h5", b"no model"),
        ("zip.h5", whole), ("config.keras", whole.replace(b"kernel_size", b"kornel_size")),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"is no model that can be loaded safely: .") as error:
            models.read(tmp_path / name)
        assert "\n" not in str(error.value)
    vgg().save_weights(tmp_path / "only.weights.h5")
    with pytest.raises(InputError, match="weights without an architecture: save the whole model"):
        models.read(tmp_path / "only.weights.h5")


def test_the_whole_reason_is_told():
    """Also a reason of more than 160 letters, but never the whole architecture."""
    layer = layers.Conv2D(2, 3, name="a_layer_whose_name_is_long_" + 150 * "x", activation=squared)
    with pytest.raises(InputError, match=r"so that others can rebuild it from the database$"):
        models.taken(functional(layer))


# --- what a model tells about its inputs ---


def adapted(low, high):
    layer = layers.Normalization()
    layer.adapt(images(20, low=low, high=high))
    return layer


IMAGENET = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.mark.parametrize(
    ("stack", "inputs"),
    [
        ([layers.Rescaling(1 / 255)], Inputs(0, 255)),
        ([layers.Rescaling(1 / 127.5, offset=-1)], Inputs(0, 255)),
        ([layers.Rescaling(1 / 255, offset=-0.5)], Inputs(0, 255)),
        ([layers.Rescaling(2, offset=-1)], Inputs(0, 1)),
        ([layers.Rescaling(255)], Inputs(0, 1)),
        ([layers.Rescaling(0.5, offset=0.5)], Inputs(-1, 1)),
        ([layers.Rescaling(1 / 16)], Inputs(0, 16)),
        ([layers.Rescaling(1.0)], None),
        ([lambda x: x / 127.5 - 1], Inputs(0, 255)),
        ([lambda x: (x - 127.5) * (1 / 127.5)], Inputs(0, 255)),
        ([lambda x: x / 255, adapted(0, 1)], Inputs(0, 255)),
        ([lambda x: x[..., ::-1] - np.array([104, 117, 124], "f")], Inputs(0, 255)),
        ([keras.applications.resnet50.preprocess_input], Inputs(0, 255)),
        ([keras.applications.mobilenet_v2.preprocess_input], Inputs(0, 255)),
        ([lambda x: (x - IMAGENET[0]) / IMAGENET[1]], Inputs(0, 1)),
        ([lambda x: 1 - x], None),
        ([layers.Rescaling(1 / (255 * IMAGENET[1]), -IMAGENET[0] / IMAGENET[1])], Inputs(0, 255)),
        ([adapted(0, 255)], Inputs(0, 255)),
        ([adapted(0, 1)], Inputs(0, 1)),
        ([adapted(-1, 0.8)], Inputs(-1, 1)),
        ([adapted(-1.7, 1.7)], None),
        ([layers.Normalization()], None),
        ([layers.Normalization(mean=0.4, variance=0.05, axis=None)], Inputs(0, 1)),
        ([layers.Normalization(mean=[1.0, 2, 3], variance=[1.0, 1, 1], invert=True)], None),
        ([layers.RandomFlip(), layers.Dropout(0.1), layers.Rescaling(1 / 255)], Inputs(0, 255)),
        ([keras.Sequential([layers.RandomZoom(0.1)]), layers.Rescaling(1 / 255)], Inputs(0, 255)),
        ([keras.Sequential([keras.Sequential([layers.Rescaling(1 / 255)])])], Inputs(0, 255)),
        ([layers.ZeroPadding2D(), layers.Rescaling(1 / 255)], None),
        ([layers.BatchNormalization()], None),
    ],
)  # fmt: skip
def test_first_layers_tell_the_inputs(stack, inputs):
    assert proposed_inputs(functional(*stack, layers.Conv2D(2, 3))) == inputs


def test_an_image_that_goes_two_ways_tells_nothing():
    image = keras.Input(SHAPE)
    both = layers.Concatenate()([image, layers.Rescaling(1 / 255)(image)])
    assert proposed_inputs(keras.Model(image, both)) is None


# --- outputs on fixed images ---


@pytest.mark.parametrize(
    "inputs", [Inputs(), Inputs(0, 255), Inputs(0, 1, *map(tuple, IMAGENET))], ids=str
)
def test_the_probe_is_the_same_each_time(inputs):
    model = with_weights(two_outputs())
    first, second = models.probe(model, inputs), models.probe(model, inputs)
    assert first.tobytes() == second.tobytes()
    assert first.dtype == np.float32
    assert first.shape == (4 * (3 + 1),)


def test_the_probe_of_a_large_output_is_small():
    assert models.probe(functional(layers.Conv2D(64, 3)), Inputs()).shape == (4096,)


def test_the_probe_passes_rounding_and_finds_a_lost_normalization():
    model = normalized()
    probe = models.probe(model, Inputs(0, 255))
    random = np.random.default_rng(0)
    rounded = probe * (1 + random.uniform(-1e-4, 1e-4, probe.shape)).astype(np.float32)
    assert models.same_outputs(probe, rounded)
    lost = keras.models.model_from_json(model.to_json())
    lost.set_weights(model.get_weights())
    assert not models.same_outputs(probe, models.probe(lost, Inputs(0, 255)))


def test_the_probe_sees_through_a_saturated_softmax():
    """All of its outputs are 0 or 1 before and after, as far as float32 can tell."""
    model = functional(layers.Flatten(), layers.Dense(4, "softmax"))
    kernel, bias = model.get_weights()
    bias[:] = (100, 0, 10, 20)
    model.set_weights([kernel, bias])
    before = models.probe(model, Inputs(0, 1))
    model.set_weights([kernel * 3, bias])
    assert not models.same_outputs(before, models.probe(model, Inputs(0, 1)))


def test_outputs_that_are_no_numbers_must_be_so_in_both():
    numbers = np.array([1.0, np.nan, np.inf])
    assert models.same_outputs(numbers, numbers.copy())
    assert not models.same_outputs(numbers, np.array([1.0, 2.0, np.inf]))
    assert not models.same_outputs(numbers, numbers[:2])
