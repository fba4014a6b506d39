"""Networks of one architecture share their compiled functions, and nothing else."""

import gc

import numpy as np
import pytest

from oiplib import AscentSpec, CnnSpec, Inputs, LayerMaps
from oiplib.engine import network
from oiplib.engine.ascent import ascend
from oiplib.engine.compiled import Compiled
from oiplib.engine.tf import keras, tf

SHAPE = (28, 28, 1)


def layer_of(seed, name="Conv2D_2", inputs=None, **fields):
    cnn = CnnSpec(maps=(3, 4, 5), dense=(6,), weights_seed=seed, **fields)
    return LayerMaps(network.build(cnn, SHAPE, 10), name, inputs)


def answers(layer):
    """What a layer says of some images, and where its maps lead them."""
    images = np.random.default_rng(0).standard_normal((9, *layer.image_shape)).astype(np.float32)
    maps = np.arange(9) % layer.n_maps
    found = [*layer.respond(images), layer.activations(images), layer.features(images)]
    ascents = ascend(layer, images, maps, AscentSpec(5, 0.1, n_steps=0))
    found += [ascents.images, ascents.traces]
    return [array.tobytes() for array in found]


def n_compiled(layer):
    return len(layer.compiled._functions)


@pytest.mark.parametrize("name", ["Conv2D_3", "Classes"])
def test_a_network_says_the_same_alone_and_with_another_ones_functions(name):
    alone = answers(layer_of(2, name))
    gc.collect()
    assert n_compiled(layer_of(2, name)) == 0  # they live as long as a network that has them
    first = layer_of(1, name)
    of_first, n = answers(first), n_compiled(first)
    second = layer_of(2, name)
    assert n_compiled(second) == n > 0
    assert answers(second) == alone != of_first
    assert answers(first) == of_first
    assert n_compiled(first) == n


def test_a_function_is_made_once_and_reads_the_weights_of_who_calls_it():
    factors, made = [keras.Variable([2.0]), keras.Variable([3.0])], []
    of_each = [Compiled([factor], "times") for factor in factors]

    def times(factor):
        made.append(factor)
        return lambda x: x * factor.value, [tf.TensorSpec((None,))]

    def called(compiled, factor):
        product = compiled.get("times", lambda: times(factor))(np.ones(2, np.float32))
        return product.numpy().tolist()

    results = [called(*each) for each in zip(of_each, factors, strict=True)]
    assert results == [[2, 2], [3, 3]]
    assert made == factors[:1]


@pytest.mark.parametrize(
    "other",
    [
        lambda: layer_of(1, "Conv2D_1"),
        lambda: layer_of(1, kernel=2),
        lambda: layer_of(1, inputs=Inputs.parse("0..1")),
    ],
)
def test_other_layers_kernels_and_inputs_have_functions_of_their_own(other):
    first = layer_of(1)
    first(np.zeros((1, *SHAPE), np.float32))
    assert n_compiled(first) == 1
    assert n_compiled(other()) == 0


def scaling(factor):
    """A function whose name doesn't tell what it does."""

    def scaled(x):
        return factor * x

    return scaled


@pytest.mark.parametrize(
    "last",
    [
        lambda factor: keras.layers.Conv2D(2, 3, activation=scaling(factor), name="last"),
        lambda factor: keras.layers.Activation(scaling(factor), name="last"),
    ],
)
def test_what_no_configuration_tells_is_not_shared(last):
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 1), name="image")
    before = keras.layers.Conv2D(2, 3, name="first")(image)
    images = np.random.default_rng(0).standard_normal((4, 6, 6, 1)).astype(np.float32)
    found = []
    for factor in (2.0, 3.0):
        model = keras.Model(image, last(factor)(before))
        for layer in model.layers:
            layer.set_weights([np.ones_like(array) for array in layer.get_weights()])
        layer = LayerMaps(model, "last")
        found.append((layer, layer(images)))  # both live
    np.testing.assert_allclose(3 * found[0][1], 2 * found[1][1], rtol=1e-5)
    assert n_compiled(found[1][0]) == 1
