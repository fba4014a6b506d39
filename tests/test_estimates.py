"""Intervals hold the truth as often as they say; measures of whole layers where it is known."""

import numpy as np
import pytest

from oiplib.analysis.estimates import LEVEL, Answer, drawn, over_maps, share
from oiplib.analysis.subspaces import linear_cka, svcca


@pytest.mark.parametrize("truth", [0.02, 0.14, 0.5, 0.97])
def test_the_interval_of_a_share_holds_the_truth_as_often_as_it_says(truth):
    rng = np.random.default_rng(1)
    estimates = [share(rng.random(128) < truth) for _ in range(400)]
    assert 0.92 <= np.mean([e.low <= truth <= e.high for e in estimates]) <= 0.99


def test_a_part_of_the_maps_is_asked_what_the_whole_layer_is():
    of_all = set(drawn(range(128), 64))
    for part in (range(40), range(3, 128, 5)):
        assert of_all.intersection(part) <= set(drawn(part, 30))
    assert len(of_all) == 64


def test_a_share_of_none_and_of_all_is_not_certain():
    assert share([False] * 20).high > 0.1
    assert share([True] * 20).low < 0.9


def test_the_interval_over_maps_holds_the_truth_where_values_of_a_map_belong_together():
    """Were single values drawn, the interval would be far too narrow."""
    rng = np.random.default_rng(2)
    held, widths = [], []
    for _ in range(60):
        of_maps = rng.normal(size=(40, 1)) + 0.1 * rng.normal(size=(40, 50))
        estimate = over_maps(of_maps, np.mean)
        held.append(estimate.low <= 0 <= estimate.high)
        widths.append(estimate.high - estimate.low)
    assert np.mean(held) > 0.85
    assert np.mean(widths) == pytest.approx(2 * 1.96 / np.sqrt(40), rel=0.1)


def test_maps_may_have_different_numbers_of_values():
    estimate = over_maps([np.ones(3), np.zeros(1), np.empty(0)], np.mean)
    assert estimate.value == 0.75
    assert estimate.n == 2


def one_by_one(of_maps, statistic, seed):
    """The ends of the interval, each draw of maps joined and asked by itself."""
    parts = [np.atleast_1d(values) for values in of_maps if np.size(values)]
    draws = np.random.default_rng(seed).integers(0, len(parts), (2000, len(parts)))
    drawn = [statistic(np.concatenate([parts[i] for i in of_draw])) for of_draw in draws]
    return np.nanquantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)).astype(float)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("statistic", [np.median, np.mean, np.nanmedian, np.max])
@pytest.mark.parametrize("lengths", ["one", "equal", "ragged", "missing"])
def test_the_interval_is_that_of_draws_asked_one_by_one(statistic, lengths, dtype):
    """However it is computed: the same draws, and to the last bit the same ends."""
    rng = np.random.default_rng(5)
    n_of = {"one": [1] * 31, "equal": [4] * 31}.get(lengths, rng.integers(0, 6, 31))
    of_maps = [rng.normal(size=n).round(2).astype(dtype) for n in n_of]
    if lengths == "missing":
        of_maps[3] = np.array([np.nan, 1, 2], dtype)
    estimate = over_maps(of_maps, statistic, seed=3)
    assert [estimate.low, estimate.high] == one_by_one(of_maps, statistic, 3).tolist()


def test_an_answer_says_what_it_stands_on():
    one = Answer(share([True, False]), (0.5,)).text()
    assert one.endswith("of one training)")
    four = Answer(share([True, False]), (0.5, 0.1, 0.9, float("nan")), chance=0.05).text()
    assert "10% to 90% over 3 trainings, by chance 5%" in four
    assert Answer(share([])).text() == "no values"


def covariances(x, y):
    whole = np.cov(x.T, y.T)
    n = x.shape[1]
    return whole[:n, :n], whole[:n, n:], whole[n:, n:]


def test_a_permuted_copy_is_the_same_layer():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 12)) * np.linspace(1, 3, 12)
    copy = covariances(x, x[:, rng.permutation(12)])
    assert svcca(*copy) == pytest.approx(1)
    assert linear_cka(*copy) == pytest.approx(1)


def test_mixed_maps_tell_the_same_and_noise_does_not():
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(4000, 12)), rng.normal(size=(4000, 12))
    mixed = x @ rng.normal(size=(12, 12))
    assert svcca(*covariances(x, mixed), kept=1) == pytest.approx(1)
    assert svcca(*covariances(x, noise)) < 0.1
    assert linear_cka(*covariances(x, noise)) < 0.02


def test_half_a_layer_that_is_shared_counts_half():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 12))
    y = np.concatenate([x[:, :6], rng.normal(size=(4000, 6))], axis=1)
    assert svcca(*covariances(x, y)) == pytest.approx(0.5, abs=0.05)


def test_directions_of_little_variance_are_left_out():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 4))
    dim = np.concatenate([x, 1e-3 * rng.normal(size=(4000, 8))], axis=1)
    other = np.concatenate([x, 1e-3 * rng.normal(size=(4000, 8))], axis=1)
    assert svcca(*covariances(dim, other)) > 0.99
    assert svcca(*covariances(dim, other), kept=1) < 0.5


def test_a_layer_that_never_changes_is_like_nothing():
    x = np.zeros((100, 3))
    assert np.isnan(svcca(*covariances(x, x)))
    assert np.isnan(linear_cka(*covariances(x, x)))
