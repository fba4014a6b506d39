"""Our training against Keras' fit, its gradients, and what its bytes depend on."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from oiplib import CnnSpec, InputError, StudySpec
from oiplib.engine import data, network, training
from oiplib.engine.images import standardized
from oiplib.engine.tf import keras, tf

#: The articles' three layers; one layer; even kernels and no hidden layer; kernels of one pixel
#: that see every pixel; kernels too large for sums.
SPECS = {
    "three layers": CnnSpec(maps=(4, 6, 8), dense=(8,), epochs=2, batch_size=64),
    "one layer": CnnSpec(maps=(3,), dense=(5, 4), epochs=1, batch_size=50),
    "even kernels": CnnSpec(maps=(4, 5), dense=(), kernel=4, epochs=1, batch_size=33),
    "one pixel": CnnSpec(maps=(4, 5), kernel=1, dense=(6,), epochs=1, batch_size=100),
    "large kernels": CnnSpec(maps=(4, 5), kernel=6, dense=(6,), epochs=1, momentum=0, l2=0),
}


def few(images, labels, n=330, n_tests=70, name="few"):
    test = slice(n, n + n_tests)
    return data.Dataset(name, images[:n], labels[:n], images[test], labels[test])


@pytest.fixture(scope="module")
def digits_330(mnist):
    return few(mnist.train_images, mnist.train_labels)


@pytest.fixture(scope="module")
def colours(mnist):
    """Digits in three colours, cut to 25 rows and 22 columns, as numbers in [0, 1]."""
    grey = mnist.train_images[:400, 1:26, 3:25].astype(np.float32) / 255
    shades = np.random.default_rng(0).uniform(0.2, 1, (400, 1, 1, 3)).astype(np.float32)
    return few(grey * shades, mnist.train_labels[:400])


def keras_fit(spec, dataset):
    """The same training by Keras: the model, and its history."""
    images, tests = standardized(dataset.train_images), standardized(dataset.test_images)
    model = network.build(spec, images.shape[1:], dataset.n_classes)
    n_batches = -(-len(images) // spec.batch_size)
    schedule = keras.optimizers.schedules.PolynomialDecay(
        spec.learning_rate, spec.epochs * n_batches, spec.final_learning_rate
    )
    model.compile(
        keras.optimizers.RMSprop(schedule, momentum=spec.momentum),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    history = {}
    for epoch in range(spec.epochs):
        order = training.image_order(spec, epoch, len(images))
        logs = model.fit(
            images[order],
            dataset.train_labels[order],
            spec.batch_size,
            validation_data=(tests, dataset.test_labels),
            shuffle=False,
            verbose=0,
        ).history
        logs["learning_rate"] = [float(schedule(model.optimizer.iterations))]
        for name, (value,) in logs.items():
            history.setdefault(name, []).append(value)
    return model, history


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("images", ["digits_330", "colours"])
def test_it_is_keras_fit_within_rounding(name, images, request):
    """Weights, and the history; the last batch is smaller than the others."""
    dataset = request.getfixturevalue(images)
    spec = SPECS[name]
    assert len(dataset.train_images) % spec.batch_size or name == "even kernels"
    model, history = training.train(spec, dataset)
    fitted, fitted_history = keras_fit(spec, dataset)
    start = network.build(spec, dataset.train_images.shape[1:], dataset.n_classes)
    for ours, theirs, initial in zip(
        *(each.get_weights() for each in (model, fitted, start)), strict=True
    ):
        moved = np.linalg.norm(theirs - initial)
        assert np.linalg.norm(ours - theirs) < 0.01 * moved
    assert history.keys() == fitted_history.keys()
    for key, values in history.items():
        np.testing.assert_allclose(values, fitted_history[key], rtol=1e-3, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_gradients_of_all_weights_are_those_of_keras(name, channels):
    spec = SPECS[name]
    model = network.build(spec, (25, 22, channels), n_classes=7)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.2, array.shape) for array in model.get_weights()])
    images = tf.constant(rng.standard_normal((9, 25, 22, channels)), tf.float32)
    labels = rng.integers(0, 7, 9)
    with tf.GradientTape() as tape:
        theirs = keras.losses.sparse_categorical_crossentropy(labels, model(images))
    expected = tape.gradient(theirs, [each.value for each in model.trainable_variables])
    rows, columns = training._seen_sides(model, spec)

    @tf.function(autograph=False)
    def ours(seen):
        weights = [variable.value for variable in model.trainable_variables]
        with tf.GradientTape() as tape:
            scores = training._scores(weights, len(spec.maps), seen)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
        return loss, tape.gradient(loss, weights)

    loss, found = ours(images[:, :rows, :columns])
    np.testing.assert_allclose(loss, theirs, rtol=1e-4)
    for mine, other in zip(found, expected, strict=True):
        largest = np.abs(other).max()
        assert largest > 0
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-4 * largest)


def test_two_trainings_side_by_side_give_the_bytes_of_each_alone(digits_330):
    specs = [SPECS["one layer"].replace(weights_seed=seed) for seed in (1, 2, 1)]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda spec: training.trained(spec, digits_330), specs))
    assert together[0] == together[2] != together[1]
    assert together[0] == training.trained(specs[0], digits_330)


#: As a user would write it, without a guard against being run by processes that it starts.
_SCRIPT = """
import sys
from oiplib import Study, StudySpec
study = Study(sys.argv[1], StudySpec.from_json(sys.argv[2]))
study.train()
print(study.network.weights_sha256)
"""


def test_the_number_of_threads_changes_nothing(digits, tmp_path):
    cnn = CnnSpec(str(digits), maps=(16, 32, 24), dense=(40,), epochs=1, batch_size=256)
    spec = StudySpec(cnn=cnn)
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    hashes = {
        subprocess.run(
            [sys.executable, script, tmp_path / f"{n_threads}.db", spec.to_json()],
            env={**os.environ, "TF_NUM_INTRAOP_THREADS": n_threads},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for n_threads in ("1", "4")
    }
    assert len(hashes) == 1


def test_a_unit_of_work_is_the_training(digits_330):
    spec = SPECS["one layer"]
    architecture, weights, history = training.trained(spec, digits_330)
    model, same_history = training.train(spec, digits_330)
    assert network.pack(model) == (architecture, weights)
    assert history == same_history
    copy = network.unpack(architecture, weights)
    accuracy = network.evaluate(copy, digits_330.test_images, digits_330.test_labels)
    assert accuracy == pytest.approx(history["val_accuracy"][-1])


def test_batches_cover_the_images_in_their_order():
    order = np.random.default_rng(0).permutation(4 * 57 + 3)
    batches = list(training._batches(order, 4))
    assert [each.shape for each in batches] == [(50, 4), (7, 4), (1, 3)]
    np.testing.assert_array_equal(np.concatenate([each.ravel() for each in batches]), order)


def test_images_that_are_too_small_are_refused(colours):
    with pytest.raises(InputError, match="too small for 4 conv layers"):
        training.train(CnnSpec(maps=(2, 2, 2, 2)), colours)
