import numpy as np
import pytest

from oiplib import CnnSpec, InputError, OipError
from oiplib.engine import data, network
from oiplib.engine.tf import keras
from oiplib.engine.training import train

SPEC = CnnSpec(maps=(4, 6), dense=(8,), epochs=1)


@pytest.fixture(scope="module")
def dataset(digits):
    return data.load(str(digits))


@pytest.fixture(scope="module")
def trained(dataset):
    return train(SPEC, dataset)


def test_the_default_is_the_network_of_the_articles():
    model = network.build(CnnSpec(), (28, 28, 1), 10)
    shapes = {layer.name: layer.output.shape[1:] for layer in model.layers}
    assert shapes["Conv2D_1"] == (26, 26, 32)
    assert shapes["Conv2D_2"] == (11, 11, 64)
    assert shapes["Conv2D_3"] == (3, 3, 128)
    assert shapes["Classes"] == (10,)


def test_the_same_seeds_give_the_same_bytes(trained, dataset):
    again, history = train(SPEC, dataset)
    assert network.pack(again) == network.pack(trained[0])
    assert history == trained[1]


@pytest.mark.parametrize("seed", ["weights_seed", "order_seed"])
def test_each_seed_alone_makes_another_network(seed, trained, dataset):
    other, _ = train(SPEC.replace(**{seed: 1}), dataset)
    assert network.weights_sha256(other) != network.weights_sha256(trained[0])


def test_the_order_seed_leaves_the_initial_weights_alone():
    models = [network.build(SPEC.replace(order_seed=s), (28, 28, 1), 10) for s in (0, 1)]
    assert network.weights_sha256(models[0]) == network.weights_sha256(models[1])


def test_training_learns_and_keeps_its_history(trained, dataset):
    model, history = trained
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}
    assert history["learning_rate"] == [pytest.approx(SPEC.final_learning_rate)]
    accuracy = network.evaluate(model, dataset.test_images, dataset.test_labels)
    assert accuracy == pytest.approx(history["val_accuracy"][-1])
    assert accuracy > 0.4  # chance is 0.1


def test_a_packed_network_is_the_same_network(trained, dataset):
    model = trained[0]
    copy = network.unpack(*network.pack(model))
    assert network.pack(copy) == network.pack(model)
    images = dataset.test_images[:50]
    np.testing.assert_array_equal(network.predict(copy, images), network.predict(model, images))


def test_a_saved_network_is_the_same_network(trained, tmp_path):
    network.save(trained[0], tmp_path / "cnn.keras")
    copy = network.load(tmp_path / "cnn.keras")
    assert network.weights_sha256(copy) == network.weights_sha256(trained[0])


def test_broken_models_are_refused(tmp_path):
    path = tmp_path / "cnn.keras"
    with pytest.raises(InputError, match="there is no file"):
        network.load(path)
    path.write_bytes(b"PK\x03\x04 but not a model")
    with pytest.raises(InputError, match="no model that can be loaded safely"):
        network.load(path)
    for name in ("cnn.onnx", "cnn"):
        with pytest.raises(InputError, match=r"end in \.keras, \.h5, \.hdf5"):
            network.load(tmp_path / name)
    with pytest.raises(InputError, match=r"written to a file that ends in \.keras"):
        network.save(network.build(SPEC, (28, 28, 1), 10), tmp_path / "cnn.h5")


def test_a_model_that_brings_code_is_refused(tmp_path):
    """A lambda layer is code: neither a file nor a database may bring one."""
    image = keras.layers.Input((4, 4, 1))
    model = keras.Model(image, keras.layers.Lambda(lambda x: 2 * x, output_shape=(4, 4, 1))(image))
    model.save(tmp_path / "trap.keras")
    with pytest.raises(InputError, match="is a Lambda, which is Python code"):
        network.load(tmp_path / "trap.keras")
    with pytest.raises(OipError, match=r"can't be rebuilt: .* is a Lambda"):
        network.unpack(model.to_json(), network.pack(model)[1])


def test_a_network_that_names_what_is_not_of_keras_is_refused(trained):
    """A database from a stranger may name anything that Python can import."""
    architecture, weights = network.pack(trained[0])
    for keras_part, other in (
        ('"module": "keras.layers"', '"module": "os"'),
        ('"class_name": "Conv2D"', '"class_name": "TFSMLayer"'),
        ('"activation": "relu"', '"activation": {"class_name": "function", "config": "load_model", '
         '"module": "keras.models", "registered_name": "load_model"}'),
    ):  # fmt: skip
        assert keras_part in architecture
        with pytest.raises(OipError, match="which Keras can't build by itself"):
            network.unpack(architecture.replace(keras_part, other, 1), weights)


def test_a_packed_normalization_keeps_its_mean():
    """Keras' own set_weights leaves it at mean 0 and variance 1."""
    layer = keras.layers.Normalization()
    layer.adapt(np.random.default_rng(0).uniform(0, 255, (20, 8, 8, 1)))
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.Sequential([layer])])
    image = np.full((1, 8, 8, 1), 200, np.float32)
    np.testing.assert_array_equal(network.unpack(*network.pack(model))(image), model(image))


def test_damaged_weights_are_refused(trained):
    architecture, weights = network.pack(trained[0])
    for wrong in (weights[:1000], b"", weights[:-50]):
        with pytest.raises(OipError, match="can't be rebuilt"):
            network.unpack(architecture, wrong)
    other = network.pack(network.build(CnnSpec(maps=(3, 6), dense=(8,)), (28, 28, 1), 10))[1]
    with pytest.raises(OipError, match="can't be rebuilt"):
        network.unpack(architecture, other)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(InputError, match="too small for 3 conv layers"):
        network.build(CnnSpec(), (10, 10, 1), 10)
