import numpy as np
import pytest

from oiplib import (
    AscentSpec,
    FluctuationSpec,
    FluctuationStart,
    InputError,
    LayerMaps,
    ascend,
    fluctuation_images,
    standardize,
)
from oiplib.engine.ascent import gradients, rms_normalized
from oiplib.engine.tf import keras, tf

SPEC = AscentSpec(n_epochs=30, n_steps=3)


@pytest.fixture(scope="module")
def pairs(layer):
    """Many starts with their maps, those that react and those that don't."""
    starts = [
        FluctuationStart(FluctuationSpec(), m, t) for m in range(layer.n_maps) for t in range(6)
    ]
    images = fluctuation_images(starts, layer.image_shape)
    maps = np.array([start.map for start in starts])
    losses = layer(images)[np.arange(len(maps)), maps]
    return images, maps, losses


@pytest.fixture(scope="module")
def alive(pairs):
    images, maps, losses = pairs
    return images[losses > 0], maps[losses > 0]


def branched_model():
    """Two branches, same padding, colour, not square, batch normalization and GELU."""
    layers = keras.layers
    image = layers.Input((18, 26, 3))
    seeds = iter(range(9))

    def conv(n, size, x, **more):
        init = keras.initializers.GlorotUniform(seed=next(seeds))
        return layers.Conv2D(n, size, padding="same", kernel_initializer=init, **more)(x)

    left = layers.BatchNormalization()(conv(6, 3, image))
    left = layers.MaxPooling2D(2)(layers.Activation("gelu")(left))
    right = layers.AveragePooling2D(2)(conv(6, 5, image, activation="gelu"))
    joined = layers.Concatenate()([left, right])
    out = conv(7, 3, layers.Dropout(0.5)(joined), activation="gelu", name="top")
    model = keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(out)))
    normal = next(x for x in model.layers if isinstance(x, layers.BatchNormalization))
    rng = np.random.default_rng(0)
    normal.set_weights([rng.uniform(0.5, 1.5, 6).astype(np.float32) for _ in range(4)])
    return model


def finite_differences(layer, image, map, pixels, size):
    """Central differences of the response in float64-like care: the step is as large as the
    response is smooth."""
    out = []
    for pixel in pixels:
        shifted = np.repeat(image[None], 2, axis=0)
        shifted[0][pixel] += size
        shifted[1][pixel] -= size
        up, down = layer(shifted)[:, map].astype(np.float64)
        out.append((up - down) / (2 * size))
    return np.array(out)


@pytest.mark.parametrize("which", ["articles", "branched"])
def test_gradients_agree_with_central_finite_differences(which, layer, alive):
    rng = np.random.default_rng(1)
    if which == "articles":
        images, maps = alive[0][:4], alive[1][:4]
    else:
        layer = LayerMaps(branched_model(), "top")
        images = rng.standard_normal((4, 18, 26, 3)).astype(np.float32)
        maps = np.array([0, 2, 4, 6])
    _, gradient = gradients(layer, tf.constant(images), tf.constant(maps, tf.int32))
    gradient = gradient.numpy()
    height, width, channels = layer.image_shape
    for image, map, expected in zip(images, maps, gradient, strict=True):
        pixels = [
            (int(rng.integers(height)), int(rng.integers(width)), int(rng.integers(channels)))
            for _ in range(25)
        ]
        measured = finite_differences(layer, image, int(map), pixels, 1e-2)
        wanted = np.array([expected[pixel] for pixel in pixels])
        scale = np.abs(gradient).max()
        # ReLU and max-pooling have kinks: a few pixels may straddle one.
        assert np.median(np.abs(measured - wanted)) < 2e-3 * scale
        assert np.mean(np.abs(measured - wanted) < 0.05 * scale) > 0.9


def test_pixels_that_the_layer_does_not_see_have_gradient_exactly_0(layer, alive):
    images, maps = alive
    _, gradient = gradients(layer, tf.constant(images), tf.constant(maps, tf.int32))
    unseen = np.zeros((28, 28), bool)
    unseen[26:] = unseen[:, 26:] = True
    assert (gradient.numpy()[:, unseen] == 0).all()
    assert (np.abs(gradient.numpy()[:, 25, :26]).max() > 0).all()


def test_a_dead_start_never_moves(layer, pairs):
    images, maps, losses = pairs
    dead = losses == 0
    assert dead.any()
    ascents = ascend(layer, images[dead], maps[dead], SPEC)
    assert ascents.images.tobytes() == images[dead].tobytes()
    assert set(ascents.stop_reasons) == {"silent"}
    assert (ascents.losses == 0).all()
    assert (ascents.steps == 0).all()


def test_the_loss_rises_and_belongs_to_the_image(layer, alive):
    images, maps = alive
    ascents = ascend(layer, images, maps, SPEC)
    assert (ascents.losses > ascents.traces[:, 0]).all()
    assert np.median(ascents.losses / ascents.traces[:, 0]) > 1.5
    np.testing.assert_allclose(
        ascents.losses, layer(ascents.images)[np.arange(len(maps)), maps], rtol=1e-4, atol=1e-6
    )
    assert set(ascents.stop_reasons) == {"n_epochs"}
    assert (ascents.steps == SPEC.n_epochs - 1).all()


def test_a_step_is_the_articles_rule(layer, alive):
    images, maps = alive[0][:5], alive[1][:5]
    ascents = ascend(layer, images, maps, AscentSpec(n_epochs=2, epsilon=0.05))
    _, gradient = gradients(layer, tf.constant(images), tf.constant(maps, tf.int32))
    gradient = gradient.numpy()
    rms = np.sqrt(np.mean(gradient.astype(np.float64) ** 2, axis=(1, 2, 3), keepdims=True))
    wanted = standardize((images + 0.05 * gradient / rms).astype(np.float32))
    np.testing.assert_allclose(ascents.images, wanted, atol=1e-5)


def test_frames_are_the_images_at_the_reported_steps(layer, alive):
    images, maps = alive[0][:3], alive[1][:3]
    ascents = ascend(layer, images, maps, SPEC)
    assert ascents.report_steps.tolist() == [0, 3, 6, 12, 29]
    for k, step in enumerate(ascents.report_steps):
        shorter = ascend(layer, images, maps, AscentSpec(n_epochs=int(step) + 1, n_steps=0))
        assert ascents.frames[:, k].tobytes() == shorter.images.tobytes()
        np.testing.assert_array_equal(ascents.traces[:, step], shorter.losses)


def test_a_batch_gives_what_single_images_give(layer, alive):
    images, maps = alive
    together = ascend(layer, images, maps, SPEC)
    for i in range(0, len(maps), 5):
        alone = ascend(layer, images[i : i + 1], maps[i : i + 1], SPEC)
        assert alone.images.tobytes() == together.images[i : i + 1].tobytes()
        assert alone.traces.tobytes() == together.traces[i : i + 1].tobytes()


def test_other_batch_sizes_agree_closely(layer, alive):
    images, maps = alive
    default = ascend(layer, images, maps, AscentSpec(n_epochs=10))
    for batch_size in (1, 7, 32):
        other = ascend(layer, images, maps, AscentSpec(n_epochs=10), batch_size=batch_size)
        np.testing.assert_allclose(other.images, default.images, atol=2e-3)


def test_the_same_ascent_gives_the_same_bytes(layer, alive):
    first, again = (ascend(layer, *alive, SPEC) for _ in range(2))
    assert first.images.tobytes() == again.images.tobytes()
    assert first.traces.tobytes() == again.traces.tobytes()


def test_an_oip_does_not_depend_on_the_maps_beside_it(layer, alive):
    images, maps = alive
    order = np.random.default_rng(2).permutation(len(maps))
    shuffled = ascend(layer, images[order], maps[order], SPEC)
    together = ascend(layer, images, maps, SPEC)
    assert shuffled.images.tobytes() == together.images[order].tobytes()


def test_with_stopping_an_ascent_ends_at_its_first_small_change(layer, alive):
    whole = ascend(layer, *alive, AscentSpec(n_epochs=200, epsilon=0.2))
    criterion = 5e-2
    stopping = AscentSpec(
        n_epochs=200, epsilon=0.2, conv_criterion=criterion, stop_with_convergence=True
    )
    stopped = ascend(layer, *alive, stopping)
    change = np.abs(np.diff(whole.traces, axis=1)) < criterion * np.abs(whole.traces[:, 1:])
    expected = np.where(change.any(axis=1), change.argmax(axis=1) + 1, 199)
    np.testing.assert_array_equal(stopped.steps, expected)
    early = expected < 199
    assert early.any()
    assert set(stopped.stop_reasons[early]) == {"converged"}
    for i in np.flatnonzero(early):
        assert stopped.losses[i] == whole.traces[i, expected[i]]
        assert np.isnan(stopped.traces[i, expected[i] + 1 :]).all()


def test_any_model_and_layer_will_do():
    layer = LayerMaps(branched_model(), "top")
    images = np.asarray(standardize(np.random.default_rng(3).standard_normal((5, 18, 26, 3))))
    maps = np.array([0, 1, 2, 3, 6])
    ascents = ascend(layer, images, maps, AscentSpec(n_epochs=60, epsilon=0.05))
    assert ascents.images.shape == images.shape
    assert not layer.silent_is_dead
    assert (ascents.losses > np.maximum(ascents.traces[:, 0], 0)).all()


@pytest.mark.parametrize("size", [1e3, 1e-25, 1e-35])
def test_a_tiny_gradient_is_still_normalized(size):
    """Its squares would be smaller than any number that is not 0."""
    plain = np.random.default_rng(0).standard_normal((2, 5, 4, 1)).astype(np.float32)
    plain[1] = 0
    direction, moves = rms_normalized(tf.constant(np.float32(size) * plain))
    assert moves.numpy().tolist() == [True, False]
    assert np.sqrt(np.mean(direction[0] ** 2)) == pytest.approx(1, abs=1e-4)
    wanted = plain[0] / np.sqrt(np.mean(plain[0] ** 2))
    np.testing.assert_allclose(direction[0], wanted, rtol=1e-4, atol=1e-4)
    assert (direction.numpy()[1] == 0).all()


@pytest.mark.parametrize(
    ("images", "maps", "message"),
    [
        (np.zeros((1, 28, 28, 1)), [12], "choose 0 to 11"),
        (np.zeros((1, 28, 28, 1)), [-1], "choose 0 to 11"),
        (np.zeros((1, 20, 28, 1)), [0], "must have the shape"),
        (np.zeros((2, 28, 28, 1)), [0], "as many maps"),
    ],
)
def test_nonsense_is_refused(layer, images, maps, message):
    with pytest.raises(InputError, match=message):
        ascend(layer, images.astype(np.float32), np.array(maps), SPEC)
