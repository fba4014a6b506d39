import numpy as np
import pytest

from oiplib.analysis.layout import layout
from oiplib.analysis.repetition import equally_coarse, repetition
from oiplib.analysis.similarity import (
    Apart,
    aligned,
    all_pairs,
    clusters,
    of_pairs,
    similarities,
    spectra_of,
)


def direct(a, b):
    """By the definition: every shift, zeros around."""
    a, b = (x - x.mean() for x in (a, b))
    h, w, _ = a.shape
    padded = np.zeros((3 * h - 2, 3 * w - 2, a.shape[2]))
    padded[h - 1 : 2 * h - 1, w - 1 : 2 * w - 1] = a
    best = max(
        (padded[y : y + h, x : x + w] * b).sum() for y in range(2 * h - 1) for x in range(2 * w - 1)
    )
    return max(0, best / np.sqrt((a**2).sum() * (b**2).sum()))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(5, 12, 9, 2)).astype(np.float32)


def test_it_is_the_cross_correlation(images):
    peaks = similarities(images[:3], images)
    for i in range(3):
        for j in range(5):
            assert peaks[i, j] == pytest.approx(direct(images[i], images[j]), abs=1e-5)


def test_copies_are_alike_and_others_are_not():
    rng = np.random.default_rng(1)
    blob = np.zeros((28, 28, 1))
    blob[8:18, 9:19] = rng.normal(size=(10, 10, 1))
    moved = np.roll(blob, (5, -6), axis=(0, 1))
    noisy = blob + 0.05 * rng.normal(size=blob.shape)
    other = np.zeros_like(blob)
    other[8:18, 9:19] = rng.normal(size=(10, 10, 1))
    to = np.stack([blob, moved, 3 * blob + 7, noisy, -blob, other])
    peaks = similarities(to[:1], to)[0]
    assert peaks[0] == pytest.approx(1)
    assert peaks[1] > 0.95
    assert peaks[2] == pytest.approx(1)
    assert peaks[3] > 0.9
    assert peaks[4] < 0.6
    assert peaks[5] < 0.6


def test_a_constant_image_is_like_nothing():
    flat = np.ones((1, 8, 8, 1))
    assert similarities(flat, np.random.default_rng(2).normal(size=(2, 8, 8, 1))).max() < 1e-6


def test_the_shift_is_told():
    rng = np.random.default_rng(3)
    blob = np.zeros((28, 28, 1))
    blob[8:18, 9:19] = rng.normal(size=(10, 10, 1))
    images = np.stack([np.roll(blob, shift, axis=(0, 1)) for shift in ((0, 0), (5, -6), (-7, 3))])
    peaks, shifts = aligned(images, images)
    assert shifts[1, 0].tolist() == [5, -6]
    assert shifts[0, 1].tolist() == [-5, 6]
    assert shifts[2, 1].tolist() == [-12, 9]
    assert (shifts[[0, 1, 2], [0, 1, 2]] == 0).all()
    np.testing.assert_allclose(peaks, peaks.T, atol=1e-6)


def test_alike_images_become_neighbours():
    """Four kinds of images, each of one cell of a 2 x 2 grid, thrice: kinds stay together."""
    kinds = np.repeat(np.arange(4), 9)
    alike = np.where(kinds[:, None] == kinds[None], 0.9, 0.1)
    cells = layout(alike, 6)
    assert sorted(cells) == list(range(36))
    grid = kinds[cells].reshape(6, 6)
    beside = [(grid[:, 1:] == grid[:, :-1]).mean(), (grid[1:] == grid[:-1]).mean()]
    assert np.mean(beside) > 0.6  # by chance 0.23


@pytest.mark.parametrize("channels", [2, 16])
def test_all_pairs_are_the_upper_triangle(channels):
    images = np.random.default_rng(5).normal(size=(7, 12, 9, channels)).astype(np.float32)
    whole, moved = aligned(images, images)
    peaks, shifts = all_pairs(spectra_of(images))
    i, j = np.triu_indices(7, 1)
    np.testing.assert_allclose(peaks, whole[i, j], atol=1e-5)
    assert (shifts == moved[i, j]).all()
    first, second = spectra_of(images[:4]), spectra_of(images[4:])
    peaks = of_pairs(first, second, np.array([0, 3, 3]), np.array([2, 0, 1]))
    np.testing.assert_allclose(peaks, whole[[0, 3, 3], [6, 4, 5]], atol=1e-5)


def test_an_image_is_shoved_just_out_of_reach():
    rng = np.random.default_rng(6)
    images = rng.normal(size=(3, 28, 28, 1)).astype(np.float32)
    images -= images.mean(axis=(1, 2, 3), keepdims=True)
    alike = np.roll(images[0], (4, -3), axis=(0, 1)) + 0.3 * images[1]
    alike -= alike.mean()
    others = np.stack([alike, images[2]])
    both = np.stack([images[0], images[1]])
    assert similarities(both, others).max() > 0.7
    out = Apart({0: others, 1: others[1:]}, np.array([0, 1]), 0.3).shoved(both)
    assert similarities(out[:1], others).max() == pytest.approx(0.3, abs=0.03)
    assert similarities(out[:1], both[:1])[0, 0] > 0.5  # and no further than needed
    # The second had nothing near it that it should avoid.
    assert out[1].tobytes() == images[1].tobytes()


def test_pairs_that_cannot_be_near_need_no_look():
    """Images on their way are shoved as if all pairs were looked at after each step."""
    rng = np.random.default_rng(9)
    others = {map: rng.normal(size=(6, 12, 9, 1)).astype(np.float32) for map in (3, 5)}
    for of_map in others.values():
        of_map -= of_map.mean(axis=(1, 2, 3), keepdims=True)
    owners = np.array([5, 3, 5])
    apart = Apart(others, owners, 0.5)
    towards = np.stack([others[5][0], others[3][2], rng.normal(size=(12, 9, 1))])
    images, n_looks, n_shoved = rng.normal(size=(3, 12, 9, 1)).astype(np.float32), [], 0
    for _ in range(40):
        images = images + 0.05 * towards.astype(np.float32)
        images -= images.mean(axis=(1, 2, 3), keepdims=True)
        with_all = Apart(others, owners, 0.5).shoved(images)
        before = apart._most.copy()
        found = apart.shoved(images)
        n_looks.append((apart._most < before).sum())
        np.testing.assert_allclose(found, with_all, atol=1e-5)
        n_shoved += (found != images).any()
        images = found
    assert n_looks[0] == 18
    assert np.mean(n_looks[1:]) < 9
    assert n_shoved > 5


@pytest.mark.parametrize("shift", [(9, 0), (0, 10), (8, 6), (7, -9)])
def test_a_planted_repetition_is_found(shift):
    """A pattern stands twice in noise: the distance is found, and it beats the null."""
    rng = np.random.default_rng(7)
    image = 0.2 * rng.normal(size=(28, 28, 1))
    pattern = rng.normal(size=(7, 7, 1))
    y, x = 3, 3 if shift[1] >= 0 else 15
    for dy, dx in ((0, 0), shift):
        image[y + dy : y + dy + 7, x + dx : x + dx + 7] += pattern
    peaks, shifts = repetition(np.stack([image, 3 * image + 5]))
    assert (shifts == shift).all()
    assert peaks[0] == pytest.approx(peaks[1])
    null = [repetition(equally_coarse(image[None], seed))[0][0] for seed in range(40)]
    assert peaks[0] > np.quantile(null, 0.95)


def test_a_tiling_repeats_perfectly_and_noise_does_not():
    rng = np.random.default_rng(8)
    tile = rng.normal(size=(7, 7, 1))
    peaks, shifts = repetition(np.stack([np.tile(tile, (4, 4, 1)), rng.normal(size=(28, 28, 1))]))
    assert peaks[0] == pytest.approx(1, abs=1e-4)
    assert (shifts[0] % 7 == 0).all()
    assert peaks[1] < 0.4
    assert repetition(np.ones((1, 28, 28, 1)))[0] == 0


def test_a_line_moved_along_itself_is_no_repetition():
    y, x = np.mgrid[:28, :28]
    line = np.exp(-((y - x) ** 2) / 8.0)[None, ..., None]
    assert repetition(line)[0][0] < 0.1
    lines = line + np.exp(-((y - x - 12) ** 2) / 8.0)[None, ..., None]
    peaks, shifts = repetition(lines)
    assert peaks[0] > 0.4
    assert abs(shifts[0][0] - shifts[0][1]) == 12


def test_the_null_of_repetition_is_as_coarse():
    """Its neighbouring pixels are as much alike, on the average over directions."""
    rng = np.random.default_rng(9)
    smooth = np.cumsum(np.cumsum(rng.normal(size=(1, 28, 28, 1)), axis=1), axis=2)
    for image in (smooth, rng.normal(size=(1, 28, 28, 1))):

        def neighbours(x):
            rows = np.corrcoef(x[1:].ravel(), x[:-1].ravel())[0, 1]
            columns = np.corrcoef(x[:, 1:].ravel(), x[:, :-1].ravel())[0, 1]
            return (rows + columns) / 2

        nulls = [neighbours(equally_coarse(image, seed)[0]) for seed in range(20)]
        assert np.mean(nulls) == pytest.approx(neighbours(image[0]), abs=0.1)


def test_clusters_are_found_where_they_were_planted():
    """Moved, brighter and noisy copies of three patterns, by a threshold from unrelated ones."""
    rng = np.random.default_rng(4)

    def placed(pattern):
        image = 0.1 * rng.normal(size=(28, 28, 1))
        y, x = rng.integers(0, 17, 2)
        image[y : y + 12, x : x + 12] += rng.uniform(0.5, 3) * pattern
        return image

    def unrelated(n):
        return np.stack([placed(rng.normal(size=(12, 12, 1))) for _ in range(n)])

    kinds = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2])
    patterns = rng.normal(size=(3, 12, 12, 1))
    images = np.stack([placed(patterns[kind]) for kind in kinds])
    indices = np.arange(200)
    null = of_pairs(spectra_of(unrelated(200)), spectra_of(unrelated(200)), indices, indices)
    labels = clusters(similarities(images, images), float(np.quantile(null, 0.99)))
    assert labels.tolist() == kinds.tolist()
    assert clusters(np.ones((1, 1)), 0.5).tolist() == [0]
    assert clusters(np.eye(4), 0.5).tolist() == [0, 1, 2, 3]
