"""Restarts, their null, and ascents that are kept away from what the restarts led to."""

import numpy as np
import pytest

from oiplib import VarietySpec, fluctuation_images
from oiplib.analysis.restarts import restart, unlike
from oiplib.analysis.similarity import similarities
from oiplib.analysis.variety import (
    counted,
    pairs_between,
    pairs_within,
    patterns,
    square,
    threshold,
)
from oiplib.values import FluctuationStart


@pytest.fixture(scope="module")
def spec(tiny_spec):
    return tiny_spec.variety.null


@pytest.fixture(scope="module")
def restarts(layer, spec):
    return list(restart(layer, spec, range(layer.n_maps)))


def test_restarts_climb_and_depend_on_no_other_map(layer, spec, restarts):
    for of_map in restarts:
        assert len(of_map.starts) == spec.n_starts
        starts = [FluctuationStart(spec.fluctuation, of_map.map, int(k)) for k in of_map.starts]
        first = layer(fluctuation_images(starts, layer.image_shape))[:, of_map.map]
        assert (of_map.losses > first).all()
        np.testing.assert_allclose(layer(of_map.images)[:, of_map.map], of_map.losses, rtol=1e-5)
    alone = next(restart(layer, spec, [restarts[3].map]))
    assert alone.images.tobytes() == restarts[3].images.tobytes()
    assert alone.losses.tobytes() == restarts[3].losses.tobytes()


def test_a_variety_names_the_null_by_which_it_is_judged():
    spec = VarietySpec(n_starts=5, tries=2, null_seed=7, quantile=0.9, n_classes=50, n_unlike=1)
    assert spec.null == spec.replace(n_unlike=3, margin=0.5, n_typical=1, n_images=2).null
    assert (spec.null.n_starts, spec.null.tries, spec.null.seed) == (5, 2, 7)
    assert (spec.null.quantile, spec.null.n_classes) == (0.9, 50)
    for change in ({"n_starts": 6}, {"tries": 3}, {"null_seed": 8}, {"quantile": 0.8}):
        assert spec.null != spec.replace(**change).null


def test_the_null_is_of_equal_size_and_of_other_maps():
    """Every map shows one pattern of its own: its pairs are equal, the null's are not."""
    rng = np.random.default_rng(0)
    images = [np.repeat(rng.normal(size=(1, 14, 14, 1)), 6, axis=0) for _ in range(5)]
    within = [pairs_within(of_map) for of_map in images]
    between = pairs_between(images)
    for of_map, pairs, null in zip(images, within, between, strict=True):
        assert len(null) == len(pairs.peaks) == 15
        np.testing.assert_allclose(pairs.peaks, 1, atol=1e-5)
        assert (pairs.shifts == 0).all()
        assert null.max() < 0.5
        others = np.concatenate([other[:1] for other in images if other is not of_map])
        possible = similarities(of_map[:1], others)[0]
        assert np.abs(null[:, None] - possible).min(axis=1).max() < 1e-5
    limit = threshold(sum(counted(null, 200) for null in between), 0.99)
    assert [patterns(pairs.peaks, 6, limit).max() for pairs in within] == [0] * 5
    for first, again, other in zip(
        between, pairs_between(images), pairs_between(images, seed=1), strict=True
    ):
        assert first.tobytes() == again.tobytes()
        assert first.tobytes() != other.tobytes()


def test_planted_patterns_are_numbered_by_how_common_they_are():
    rng = np.random.default_rng(2)
    kinds = np.array([2, 0, 1, 0, 2, 0])
    planted = rng.normal(size=(3, 14, 14, 1))
    images = planted[kinds] + 0.1 * rng.normal(size=(6, 14, 14, 1))
    peaks = pairs_within(images).peaks
    np.testing.assert_allclose(square(peaks, 6), similarities(images, images), atol=1e-5)
    assert patterns(peaks, 6, 0.8).tolist() == [1, 0, 2, 0, 1, 0]


@pytest.mark.parametrize(("quantile", "n_classes"), [(0.99, 200), (0.5, 40)])
def test_the_threshold_leaves_the_asked_share_below(quantile, n_classes):
    similarities_of_null = np.random.default_rng(1).uniform(0, 1, 10_000)
    counts = counted(similarities_of_null, n_classes)
    assert counts.sum() == 10_000
    limit = threshold(counts, quantile)
    exact = np.quantile(similarities_of_null, quantile)
    assert exact <= limit <= exact + 1 / n_classes
    assert (similarities_of_null < limit).mean() >= quantile


def test_ascents_keep_away_from_known_patterns(layer):
    """Where all restarts are taken for one pattern, the further ones are less like it."""
    spec = VarietySpec(n_starts=6, n_unlike=3)
    restarts = list(restart(layer, spec.null, range(layer.n_maps)))
    peaks = [pairs_within(of_map.images).peaks for of_map in restarts]
    labels = [np.zeros(len(of_map.starts), int) for of_map in restarts]
    apart = list(unlike(layer, spec, restarts, peaks, labels, 0.15))
    free = list(unlike(layer, spec, restarts, peaks, labels, 1.0))
    alike, alike_free = (np.array([x.alike for x in ended]) for ended in (apart, free))
    assert np.median(alike) < np.median(alike_free) - 0.05
    assert (alike < alike_free).mean() > 0.9
    for of_map, ended in zip(restarts, apart, strict=True):
        np.testing.assert_allclose(layer(ended.images)[:, of_map.map], ended.losses, rtol=1e-5)
        np.testing.assert_allclose(ended.images.std(axis=(1, 2, 3)), 1, rtol=1e-3)
        means = similarities(ended.images, of_map.images).mean(axis=1)
        np.testing.assert_allclose(ended.alike, means, atol=1e-5)
    # To differ costs something, and the free ones reach what the restarts do.
    losses, losses_free = (np.array([x.losses for x in ended]) for ended in (apart, free))
    assert losses.mean() < losses_free.mean()
    strongest = np.mean([of_map.losses.max() for of_map in restarts])
    assert losses_free.max(axis=1).mean() > 0.9 * strongest
