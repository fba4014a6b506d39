"""Priors: what they do to gradients, and that chance comes from start and step alone."""

import numpy as np
import pytest
from scipy import fft

from oiplib import (
    L2,
    AscentSpec,
    Colours,
    InputError,
    Jitter,
    OipFilter,
    PatternStart,
    Prior,
    Rotation,
    Scaling,
    Smooth,
    Study,
    TotalVariation,
    ascend,
    pattern_images,
)
from oiplib.engine.ascent import climb, gradients
from oiplib.engine.priors import Led, disturbances, moved, moved_back, spectrum_filter
from oiplib.engine.tf import tf
from oiplib.study.check import problems
from oiplib.study.replay import replay
from oiplib.values import ClimbSpec, prior_of, seed_of

EVERY = [Smooth(1), Jitter(2), Scaling(0.05), Rotation(5), TotalVariation(0.3), L2(0.2)]
ALL_AT_ONCE = sum(EVERY, start=Prior())


@pytest.fixture(scope="module")
def starts(layer, tiny_spec):
    """Patterns to which their maps respond."""
    grid = tiny_spec.scan.grid
    indices = np.arange(1, 120, 5)
    images = pattern_images(grid, indices, layer.image_shape)
    maps = layer(images).argmax(axis=1)
    seeds = np.array([seed_of(PatternStart(grid, int(k))) for k in indices], np.uint64)
    return images, maps, seeds


def test_texts_and_values_are_one():
    assert prior_of("smooth + jitter(2)") == Smooth() + Jitter(2)
    assert str(Jitter(2) + Smooth(0.5)) == "smooth(0.5) + jitter(2)"
    assert prior_of("none") == prior_of(None) == Prior()
    assert not Prior()
    for prior in (*EVERY, ALL_AT_ONCE, Colours()):
        assert prior_of(str(prior)) == prior
        assert AscentSpec.from_json(AscentSpec(prior=prior).to_json()).prior == prior
    for text in (
        "smoth",
        "smooth(x)",
        "jitter(1.5)",
        "smooth + smooth",
        "colours(2)",
        "",
        "smooth(-1)",
    ):
        with pytest.raises(InputError) as refused:
            prior_of(text)
        assert "\n" not in str(refused.value)


def test_no_prior_changes_no_hash():
    assert AscentSpec(prior=Prior()).to_json() == '{"kind":"AscentSpec"}'
    hashes = {AscentSpec(prior=prior).sha256 for prior in (Prior(), *EVERY, ALL_AT_ONCE)}
    assert len(hashes) == len(EVERY) + 2


def test_smooth_filters_the_gradient_by_its_frequency():
    gradient = np.random.default_rng(0).standard_normal((2, 28, 28, 1)).astype(np.float32)
    filtered = Led(Smooth(1.5), (28, 28, 1)).gradient(tf.constant(gradient)).numpy()
    ratio = fft.fft2(filtered, axes=(1, 2)) / fft.fft2(gradient, axes=(1, 2))
    f = np.hypot(fft.fftfreq(28)[:, None], fft.fftfreq(28)[None])
    expected = np.maximum(f, 1 / 28) ** -1.5
    assert np.abs(ratio[..., 0] - expected).max() < 1e-3 * expected.max()
    assert spectrum_filter(0, 5, 7).tolist() == np.ones((5, 4)).tolist()


def test_jitter_is_undone_exactly():
    images = np.random.default_rng(1).standard_normal((3, 9, 7, 2)).astype(np.float32)
    moves = np.array([[2, -3, 0, 0], [-1, 0, 0, 0], [0, 5, 0, 0]], np.float32)
    there = moved(tf.constant(images), tf.constant(moves), Jitter(5)).numpy()
    assert (there[0] == np.roll(images[0], (2, -3), axis=(0, 1))).all()
    assert (there[2] == np.roll(images[2], 5, axis=1)).all()
    back = moved_back(tf.constant(there), tf.constant(moves), Jitter(5)).numpy()
    assert back.tobytes() == images.tobytes()


def test_turned_and_scaled_images_turn_back():
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    image = np.exp(-8 * ((x - 0.2) ** 2 + (y + 0.1) ** 2)).astype(np.float32)[None, ..., None]
    prior = Rotation(30) + Scaling(0.2)
    moves = np.array([[0, 0, 0.15, 20]], np.float32)
    there = moved(tf.constant(image), tf.constant(moves), prior)
    back = moved_back(there, tf.constant(moves), prior).numpy()
    assert np.abs(there.numpy() - image).max() > 0.2
    assert np.abs(back - image)[:, 8:24, 8:24].max() < 0.06  # the edges are mirrored
    spread = [np.sqrt(each[each > 0.5].size) for each in (image, there.numpy())]
    assert spread[1] / spread[0] == pytest.approx(1.15, abs=0.05)  # larger, not smaller


def test_total_variation_and_l2_have_the_gradients_of_their_costs():
    image = np.random.default_rng(2).standard_normal((1, 6, 5, 1)).astype(np.float32)

    def cost(image):
        below = np.diff(image, axis=1, append=image[:, -1:])
        right = np.diff(image, axis=2, append=image[:, :, -1:])
        variation = np.sqrt(below**2 + right**2 + 1e-4).sum()
        return 0.3 * variation + 0.2 * np.square(image).sum() / 2

    measured = np.zeros_like(image, np.float64)
    for pixel in np.ndindex(image.shape):
        up, down = image.astype(np.float64), image.astype(np.float64)
        up[pixel] += 1e-5
        down[pixel] -= 1e-5
        measured[pixel] = (cost(up) - cost(down)) / 2e-5
    led = Led(TotalVariation(0.3) + L2(0.2), (6, 5, 1))
    assert led.costs(tf.constant(image)).numpy() == pytest.approx(measured, abs=1e-4)


def test_colours_need_three_channels():
    with pytest.raises(InputError, match="needs images with 3 channels, and these have 1"):
        Led(Colours(), (28, 28, 1))
    gradient = np.random.default_rng(0).standard_normal((1, 8, 8, 3)).astype(np.float32)
    mixed = Led(Colours(), (8, 8, 3)).gradient(tf.constant(gradient)).numpy()
    correlation = np.corrcoef(mixed.reshape(-1, 3).T)
    assert correlation[np.triu_indices(3, 1)].min() > 0.5  # grey changes more than hue


def test_chance_comes_from_start_and_step_alone():
    seeds = np.array([3, 2**63 + 5, 7], np.uint64)
    whole = disturbances(Jitter(2) + Rotation(5), seeds, 0, 40)
    parts = [disturbances(Jitter(2) + Rotation(5), seeds[i : i + 1], 10, 20) for i in range(3)]
    assert np.concatenate(parts, axis=1).tobytes() == whole[10:20].tobytes()
    assert (whole[0] == 0).all()
    many = disturbances(Jitter(2), np.arange(500, dtype=np.uint64), 1, 41)[..., :2]
    counts = np.bincount((many + 2).astype(int).ravel(), minlength=5)
    assert len(counts) == 5
    assert np.abs(counts / counts.sum() - 0.2).max() < 0.01
    assert (many[:, 0] != many[:, 1]).any()


@pytest.mark.parametrize("prior", [*EVERY, ALL_AT_ONCE], ids=str)
def test_an_image_climbs_the_same_alone_and_its_loss_is_its_own(layer, starts, prior):
    images, maps, seeds = starts
    stages = ClimbSpec(
        (
            AscentSpec(8, 0.4, n_steps=0, objective="pre-activation", prior=prior),
            AscentSpec(20, 0.4, n_steps=0, schedule="cosine", prior=prior),
        )
    ).stages
    together = climb(layer, images, maps, stages, seeds=seeds)
    alone = climb(layer, images[3:4], maps[3:4], stages, seeds=seeds[3:4])
    assert alone.images.tobytes() == together.images[3:4].tobytes()
    again = climb(layer, images, maps, stages, seeds=seeds)
    assert again.images.tobytes() == together.images.tobytes()
    of_images = layer(together.images)[np.arange(len(maps)), maps]
    of_starts = layer(images)[np.arange(len(maps)), maps]
    assert together.losses == pytest.approx(of_images, rel=1e-4)
    assert together.traces[:, 0] == pytest.approx(of_starts, rel=1e-4)
    assert np.median(together.losses / of_starts) > 1.5
    plain = climb(layer, images, maps, [s.replace(prior=Prior()) for s in stages])
    assert np.abs(together.images - plain.images).max() > 0.1


def test_other_seeds_give_another_image(layer, starts):
    images, maps, seeds = starts
    spec = AscentSpec(10, 0.3, prior=Jitter(1))
    first, second = (
        ascend(layer, images, maps, spec, seeds=s) for s in (seeds, seeds + np.uint64(1))
    )
    assert np.abs(first.images - second.images).max() > 0.01
    with pytest.raises(InputError, match="needs the number of each start"):
        ascend(layer, images, maps, spec)


def test_smooth_starts_grow_smoother_than_others(layer, starts):
    images, maps, _ = starts
    rough, smooth = (
        ascend(layer, images, maps, AscentSpec(30, 0.4, schedule="cosine", prior=prior)).images
        for prior in (Prior(), Smooth(1))
    )
    edges = [np.abs(np.diff(each, axis=1)).mean() for each in (rough, smooth)]
    assert edges[1] < 0.8 * edges[0]


def test_steady_oips_respond_wherever_they_are_moved(layer, starts):
    images, maps, seeds = starts
    shares = []
    for prior in (Prior(), Jitter(1)):
        spec = AscentSpec(60, 0.4, schedule="cosine", prior=prior)
        found = ascend(layer, images, maps, spec, seeds=seeds)
        shifted = [
            np.roll(found.images, (dy, dx), (1, 2)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)
        ]
        responses = [layer(each)[np.arange(len(maps)), maps] for each in shifted]
        shares.append(np.median(np.mean(responses, axis=0) / found.losses))
    assert shares[1] > shares[0] + 0.1


def test_a_prior_is_stored_queried_and_replayed(copy, oip_here):
    study = Study(copy)
    before = [oip.id for oip in study.oips()]
    study.derive([0, 1], prior="smooth + jitter")
    assert [oip.id for oip in study.oips()] == before
    found = study.oips(prior="jitter + smooth")
    assert {oip.map for oip in found} == {0, 1}
    assert {oip.prior for oip in found} == {"smooth(1) + jitter(1)"}
    assert len(study.oips(prior="smooth+jitter", best=True)) == 2
    # Without a prior the scan keeps several patterns of a map, under one only the best.
    assert len([oip for oip in found if oip.origin != "fluctuation"]) == 2
    assert study.spec.scan.n_oips > 1
    assert all(each.same_bytes for each in replay(study.store, [oip.id for oip in found]))
    assert list(problems(study.store)) == []
    of_both = study.store.oips(OipFilter(maps=[0, 1]))
    assert len(of_both) == len(found) + len(study.oips(0)) + len(study.oips(1))
    listed = oip_here("query", "--prior", "smooth+jitter", "--db", copy).stdout
    assert "smooth(1) + jitter(1)" in listed
    done = oip_here("derive", "--maps", "0", "--prior", "smoth", "--db", copy, check=2)
    assert "choose none, or add up some of smooth, jitter" in done.stderr


def test_the_gradient_of_a_response_stays_what_it_was(layer, starts):
    """A prior acts on the step; the gradient itself belongs to the map."""
    images, maps, _ = starts
    _, gradient = gradients(layer, tf.constant(images), tf.constant(maps, tf.int32))
    spec = AscentSpec(2, 0.05, n_steps=0, prior=Smooth(1))
    moved_by = ascend(layer, images, maps, spec).images - images
    filtered = Led(Smooth(1), layer.image_shape).gradient(gradient).numpy()
    for image, step, direction in zip(images, moved_by, filtered, strict=True):
        # Standardizing takes out what only changes brightness or contrast.
        direction = direction - direction.mean()
        direction -= (direction * image).sum() / np.square(image).sum() * image
        alike = (step * direction).sum() / np.linalg.norm(step) / np.linalg.norm(direction)
        assert alike > 0.99
