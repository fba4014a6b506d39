"""Restarts, their null, and ascents that are kept away from what the restarts led to."""

import numpy as np
import pytest

from oiplib import VarietySpec, fluctuation_images
from oiplib.specs import FluctuationStart
from oiplib.uniqueness import similarities
from oiplib.variety import Pairs, compare, histogram, patterns, restart, threshold, unlike


@pytest.fixture(scope="module")
def spec(tiny_spec):
    return tiny_spec.variety


@pytest.fixture(scope="module")
def found(layer, spec):
    return list(restart(layer, spec, range(layer.n_maps)))


def test_restarts_climb_and_depend_on_no_other_map(layer, spec, found):
    for each in found:
        starts = [FluctuationStart(spec.fluctuation, each.map, int(k)) for k in each.starts]
        first = layer(fluctuation_images(starts, layer.image_shape))[:, each.map]
        assert (each.losses > first).all()
        np.testing.assert_allclose(layer(each.images)[:, each.map], each.losses, rtol=1e-5)
    alone = next(restart(layer, spec, [found[3].map]))
    assert alone.images.tobytes() == found[3].images.tobytes()
    assert alone.losses.tobytes() == found[3].losses.tobytes()


def test_the_null_is_of_equal_size_and_of_other_maps():
    """Every map shows one pattern of its own: its pairs are equal, the null's are not."""
    rng = np.random.default_rng(0)
    images = [np.repeat(rng.normal(size=(1, 14, 14, 1)), 6, axis=0) for _ in range(5)]
    pairs = compare(images)
    for own, each in zip(images, pairs, strict=True):
        assert len(each.null) == len(each.peaks) == 15
        np.testing.assert_allclose(each.peaks, 1, atol=1e-5)
        assert (each.shifts == 0).all()
        assert each.null.max() < 0.5
        possible = similarities(own[:1], np.concatenate([x[:1] for x in images if x is not own]))
        assert np.isin(each.null.round(4), possible.round(4)).all()
    limit = threshold(sum(histogram(each.null) for each in pairs))
    assert [patterns(each.peaks, 6, limit).max() for each in pairs] == [0] * 5


def test_the_threshold_leaves_the_asked_share_below():
    values = np.random.default_rng(1).uniform(0, 1, 10_000)
    counts = histogram(values)
    assert counts.sum() == 10_000
    assert threshold(counts, 0.99) == pytest.approx(np.quantile(values, 0.99), abs=0.006)
    assert (values < threshold(counts, 0.99)).mean() >= 0.99


def test_ascents_keep_away_from_known_patterns(layer):
    """Where all restarts are taken for one pattern, the further ones are less like it."""
    spec = VarietySpec(n_starts=6, n_unlike=3)
    found = list(restart(layer, spec, range(layer.n_maps)))
    images = [each.images for each in found]
    pairs = compare(images)
    labels = [np.zeros(len(each.starts), int) for each in found]
    limit = 0.15
    apart = list(unlike(layer, spec, found, pairs, labels, limit))
    free = list(unlike(layer, spec, found, pairs, labels, 1.0))
    alike, alike_free = (np.array([x.alike for x in some]) for some in (apart, free))
    assert np.median(alike) < np.median(alike_free) - 0.05
    assert (alike < alike_free).mean() > 0.9
    for each, own in zip(found, apart, strict=True):
        np.testing.assert_allclose(layer(own.images)[:, each.map], own.losses, rtol=1e-5)
        np.testing.assert_allclose(own.images.std(axis=(1, 2, 3)), 1, rtol=1e-3)
        means = similarities(own.images, each.images).mean(axis=1)
        np.testing.assert_allclose(own.alike, means, atol=1e-5)
    # To differ costs something, and the free ones reach what the restarts do.
    losses, losses_free = (np.array([x.losses for x in some]) for some in (apart, free))
    assert losses.mean() < losses_free.mean()
    assert isinstance(pairs[0], Pairs)
