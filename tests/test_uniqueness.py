import numpy as np
import pytest

from oiplib.uniqueness import aligned, clusters, layout, of_pairs, other_maps, similarities


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
    found = similarities(images[:3], images)
    for i in range(3):
        for j in range(5):
            assert found[i, j] == pytest.approx(direct(images[i], images[j]), abs=1e-5)


def test_copies_are_alike_and_others_are_not():
    rng = np.random.default_rng(1)
    blob = np.zeros((28, 28, 1))
    blob[8:18, 9:19] = rng.normal(size=(10, 10, 1))
    moved = np.roll(blob, (5, -6), axis=(0, 1))
    noisy = blob + 0.05 * rng.normal(size=blob.shape)
    other = np.zeros_like(blob)
    other[8:18, 9:19] = rng.normal(size=(10, 10, 1))
    to = np.stack([blob, moved, 3 * blob + 7, noisy, -blob, other])
    found = similarities(to[:1], to)[0]
    assert found[0] == pytest.approx(1)
    assert found[1] > 0.95
    assert found[2] == pytest.approx(1)
    assert found[3] > 0.9
    assert found[4] < 0.6
    assert found[5] < 0.6


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


def test_pairs_are_the_diagonal(images):
    found = of_pairs(images[:4], images[1:], chunk=3)
    np.testing.assert_allclose(found, np.diag(similarities(images[:4], images[1:])), atol=1e-6)


def test_a_null_has_pairs_of_different_maps_only():
    maps = np.repeat(np.arange(5), [40, 3, 3, 3, 1])
    first, second = other_maps(maps, 500)
    assert (maps[first] != maps[second]).all()
    assert len(set(zip(first.tolist(), second.tolist(), strict=True))) > 100


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
    null = of_pairs(unrelated(200), unrelated(200))
    labels = clusters(similarities(images, images), float(np.quantile(null, 0.99)))
    assert labels.tolist() == kinds.tolist()
    assert clusters(np.ones((1, 1)), 0.5).tolist() == [0]
    assert clusters(np.eye(4), 0.5).tolist() == [0, 1, 2, 3]
