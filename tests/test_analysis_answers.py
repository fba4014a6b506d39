"""The numbers that the chapters state, where the truth is planted or chance is all there is."""

from dataclasses import dataclass

import numpy as np
import pytest

from oiplib.analysis import classes, matching, neighbours, nulls, uniqueness
from oiplib.analysis.layout import shrunk
from oiplib.analysis.similarity import all_pairs, similarities, spectra_of
from oiplib.analysis.variety import patterns
from oiplib.errors import InputError


def blobs(n, seed=0, moved=(0, 0)):
    """Images with a patch of noise in the middle, each its own, all moved by some pixels."""
    images = np.zeros((n, 24, 24, 1))
    noise = np.random.default_rng(seed).normal(size=(n, 8, 8, 1))
    images[:, 8:16, 8:16] = noise - noise.mean(axis=(1, 2, 3), keepdims=True)
    return np.roll(images, moved, axis=(1, 2))


# Nulls


def test_values_from_the_null_are_above_it_as_often_as_chance_says():
    rng = np.random.default_rng(0)
    result = nulls.against_null(rng.normal(size=20_000), rng.normal(size=20_000))
    assert result.above == pytest.approx(0.05, abs=0.01)
    assert nulls.against_null(rng.normal(5, 1, 1000), rng.normal(size=1000)).above > 0.99


def test_without_a_null_nothing_is_judged():
    assert np.isnan(nulls.against_null(np.ones(3), np.empty(0)).above)
    result = nulls.against_null(np.empty(0), np.ones(3))
    assert np.isnan(result.above)
    assert result.threshold == 1


# Classes


def similarities_to_top(oips, top):
    n, k = top.shape[:2]
    return similarities(oips, np.concatenate(top)).reshape(n, n, k)


def test_oips_that_are_copies_resemble_one_of_their_images():
    top = blobs(12 * 3).reshape(12, 3, 24, 24, 1)
    copies = np.array([top[m, m % 3] for m in range(12)])  # another place in each row
    result = classes.resemblance(similarities_to_top(copies, top))
    np.testing.assert_allclose(result.values, 1, atol=1e-5)
    assert result.above == 1
    assert len(result.null) == 12 * 11
    of_other_maps = classes.resemblance(similarities_to_top(np.roll(copies, 1, axis=0), top))
    assert of_other_maps.above == 0
    assert of_other_maps.null.max() == pytest.approx(1)


def test_oips_unlike_any_image_are_at_chance():
    alike = np.random.default_rng(1).uniform(size=(200, 200, 10))
    assert classes.resemblance(alike).above == pytest.approx(0.05, abs=0.04)


def test_similarities_of_other_maps_than_those_with_images_are_refused():
    with pytest.raises(InputError, match="maps, maps, images"):
        classes.resemblance(np.zeros((3, 4, 10)))


def test_maps_that_respond_to_no_image_have_no_loss_ratio():
    with pytest.raises(InputError, match=r"\[1\]"):
        classes.loss_ratio(np.ones(3), np.array([1.0, 0.0, 2.0]))


def test_purity_counts_the_commonest_class_whatever_its_number():
    labels = np.array([[0, 0, 0, 1], [2, 2, 1, 1], [0, 1, 2, 3]])
    np.testing.assert_array_equal(classes.purity(labels), [0.75, 0.5, 0.25])
    np.testing.assert_array_equal(classes.purity(9 - labels), classes.purity(labels))


def test_purity_by_chance_is_that_of_coins_and_of_the_data_sets_classes():
    # Two throws of a coin agree every other time.
    coins = classes.purity_by_chance(np.array([0, 1]), k=2)
    assert coins.mean() == pytest.approx((1 + 0.5) / 2, abs=0.01)
    # Where nearly all images are of one class, it is no wonder if a map's images agree.
    unequal = classes.purity_by_chance(np.array([0] * 99 + [1]), k=10)
    assert (unequal == 1).mean() == pytest.approx(0.99**10, abs=0.02)


def test_purity_by_chance_is_drawn_by_its_seed():
    labels = np.arange(10)
    first, again, other = (classes.purity_by_chance(labels, 10, 50, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_selectivity_compares_the_favourite_with_the_mean_of_the_others():
    means = np.random.default_rng(2).uniform(0.1, 1, (5, 10))
    ordered = np.sort(means, axis=1)
    favourite, others = ordered[:, -1], ordered[:, :-1].mean(axis=1)
    expected = (favourite - others) / (favourite + others)
    np.testing.assert_allclose(classes.selectivity(means), expected)
    np.testing.assert_allclose(classes.selectivity(7 * means[:, ::-1]), expected)


def test_a_map_that_responds_to_nothing_or_below_0_has_no_selectivity():
    assert np.isnan(classes.selectivity(np.zeros((1, 10)))).all()
    logits = np.array([[3.0, -1.0], [3.0, 1.0]])
    np.testing.assert_array_equal(classes.selectivity(logits), [np.nan, 0.5])
    with pytest.raises(InputError, match="two or more"):
        classes.selectivity(np.ones((3, 1)))


# Smaller images


def test_a_smaller_image_is_the_mean_of_squares():
    rng = np.random.default_rng(11)
    small = rng.normal(size=(2, 5, 5, 3))
    large = small.repeat(4, axis=1).repeat(4, axis=2)
    noise = rng.normal(size=large.shape)
    noise -= noise.reshape(2, 5, 4, 5, 4, 3).mean(axis=(2, 4)).repeat(4, axis=1).repeat(4, axis=2)
    np.testing.assert_allclose(shrunk(large + noise, 5), small)
    assert shrunk(large, 20) is large
    # A last row and column that fill no square are left out.
    np.testing.assert_allclose(shrunk(np.pad(large, [(0, 0), (0, 1), (0, 3), (0, 0)]), 6), small)


def test_a_smaller_picture_stays_a_picture():
    picture = np.array([[0, 255], [255, 255]], np.uint8).reshape(1, 2, 2, 1)
    made = shrunk(picture, 1)
    assert (made.dtype, made.ravel().tolist()) == (np.uint8, [191])
    strip = np.ones((1, 1, 9, 1))
    assert shrunk(strip, 3).shape == (1, 1, 3, 1)


# Uniqueness


@dataclass(frozen=True)
class Restarts:
    losses: np.ndarray
    patterns: np.ndarray
    peaks: np.ndarray
    features: np.ndarray
    shifts: np.ndarray
    unlike_losses: np.ndarray
    unlike_alike: np.ndarray


@dataclass(frozen=True)
class Null:
    peaks: np.ndarray
    features: np.ndarray
    threshold: float = 0.6
    feature_threshold: float = 0.6


def restarts(images, unlike_losses=(), unlike_alike=(), features=None):
    """What restarts that ended in some images say of a map; their losses are 1, 2, 3, ..."""
    peaks, shifts = all_pairs(spectra_of(images))
    return Restarts(
        losses=np.arange(1.0, 1 + len(images)),
        patterns=patterns(peaks, len(images), 0.6),
        peaks=peaks,
        features=peaks if features is None else all_pairs(spectra_of(features))[0],
        shifts=shifts,
        unlike_losses=np.array(unlike_losses, float),
        unlike_alike=np.array(unlike_alike, float),
    )


def stated(*maps, counts=(3, 1)):
    null = Null(np.array([counts]), np.array([counts]))
    return uniqueness.uniqueness(maps, null, patterns)


@pytest.fixture(scope="module")
def one_pattern():
    """Four images of the same pattern: two in one place, two of them 3 down and 4 right."""
    pattern = blobs(1)
    return restarts(np.concatenate([pattern, pattern, *2 * [np.roll(pattern, (3, 4), (1, 2))]]))


@pytest.fixture(scope="module")
def three_patterns():
    first, second, third = blobs(3, seed=1)
    return restarts(np.array([first, first, second, first, third]))


def test_planted_patterns_are_counted(one_pattern, three_patterns):
    result = stated(one_pattern, three_patterns)
    assert result.pixels.n_patterns.tolist() == [1, 3]
    assert result.features.n_patterns.tolist() == [1, 3]
    assert result.n_starts.tolist() == [4, 5]
    np.testing.assert_allclose(result.commonest, [1, 3 / 5])
    assert len(result.pixels.within) == 4 * 3 / 2 + 5 * 4 / 2


def test_patterns_may_agree_by_what_goes_into_the_layer_only():
    images = blobs(4, seed=2)
    result = stated(restarts(images, features=np.concatenate(4 * [images[:1]])))
    assert result.pixels.n_patterns.tolist() == [4]
    assert result.features.n_patterns.tolist() == [1]
    np.testing.assert_allclose(result.features.within, 1, atol=1e-5)


def test_shifts_are_those_of_pairs_that_show_the_same_pattern(one_pattern, three_patterns):
    assert sorted(stated(one_pattern).shifts) == [0, 0, 5, 5, 5, 5]
    # Of ten pairs three show the same pattern, in the same place; the shifts of others say
    # nothing.
    assert stated(three_patterns).shifts.tolist() == [0, 0, 0]


def test_losses_are_relative_to_the_maps_largest(one_pattern, three_patterns):
    result = stated(one_pattern, three_patterns)
    np.testing.assert_allclose(result.median_losses, [2.5 / 4, 3 / 5])


def test_each_map_is_in_one_class_of_the_number_of_patterns(one_pattern, three_patterns):
    space = stated(one_pattern, three_patterns, three_patterns).pixels
    shares = [space.share_of_maps(1, 1), space.share_of_maps(2, 5), space.share_of_maps(6)]
    np.testing.assert_allclose(shares, [1 / 3, 2 / 3, 0])


def test_the_null_is_known_to_half_a_class(one_pattern):
    similarity = np.sort(np.random.default_rng(3).beta(2, 5, 1000))
    space = stated(one_pattern, counts=np.histogram(similarity, 200, (0, 1))[0]).pixels
    np.testing.assert_allclose(space.null, similarity, atol=0.5 / 200 + 1e-12)


def test_only_an_oip_unlike_all_patterns_is_really_different():
    images = blobs(2, seed=4)
    too_similar = restarts(images, unlike_losses=[9, 8], unlike_alike=[0.9, 0.6])
    different = restarts(images, unlike_losses=[9, 0.5, 1.5], unlike_alike=[0.9, 0.1, 0.2])
    # The largest loss of the two restarts is 2.
    assert stated(too_similar, different).unlike_losses.tolist() == [1.5 / 2]
    assert uniqueness.best_unlike(np.array([9.0]), np.array([0.9]), 0.6) is None


def test_pattern_sizes_add_up_to_the_restarts(three_patterns):
    sizes, best = uniqueness.pattern_sizes(three_patterns.patterns, three_patterns.losses)
    assert sizes.tolist() == [3, 1, 1]
    assert best[0] == 4  # restarts 0, 1 and 3, with losses 1, 2 and 4
    assert sorted(best) == [3, 4, 5]


def test_foreign_losses_are_relative_to_the_map_that_responds():
    rng = np.random.default_rng(5)
    responses = rng.uniform(0.1, 1, (4, 4))
    found = uniqueness.foreign_losses(responses)
    # A map that responds twice as strongly to everything is no less particular.
    louder = responses * [1, 2, 3, 4]
    np.testing.assert_allclose(uniqueness.foreign_losses(louder), found)
    assert found[0] == responses[0, 1] / responses[1, 1]
    assert uniqueness.foreign_losses(np.eye(3)).tolist() == [0] * 6
    assert len(uniqueness.foreign_losses(np.ones((1, 1)))) == 0


# Matching


def test_planted_partners_are_above_networks_that_learnt_nothing():
    rng = np.random.default_rng(6)
    noise = [rng.uniform(0, 0.5, (20, 20)) for _ in range(5)]
    truth = rng.permutation(20)
    trained = [np.where(np.arange(20) == truth[:, None], 0.9, each) for each in noise[:2]]
    limit = matching.threshold([noise[4]])
    pairs = matching.assigned_pairs(trained, noise[2:4], matching.assigned(noise[4])[1][None])
    assert pairs.trained.tolist() == [0.9] * 40
    assert pairs.share_above(limit) == 1
    # Both nulls keep what the assignments of their matrices find.
    assert limit == np.quantile(pairs.untrained, matching.QUANTILE)
    assert pairs.shuffled.sum() == pytest.approx(
        sum(matching.assigned(null)[1].sum() for null in noise[2:4])
    )
    nothing = matching.assigned_pairs(noise[:2], noise[2:4], noise[4])
    assert nothing.share_above(limit) < 0.3


def test_a_map_without_a_partner_is_no_pair():
    pairs = matching.assigned_pairs([np.ones((3, 2))], [np.zeros((3, 2))], np.zeros((3, 2)))
    assert pairs.trained.tolist() == [1, 1]
    assert pairs.share_above(0.5) == 1


def test_of_maps_in_random_order_one_keeps_its_number():
    rng = np.random.default_rng(7)
    kept = [matching.kept_order(rng.permutation(50)).n_kept for _ in range(1000)]
    assert np.mean(kept) == pytest.approx(1, abs=0.15)
    assert matching.kept_order(np.arange(50)).share == 1


def test_only_matched_maps_can_keep_their_number():
    kept = matching.kept_order(np.array([0, -1, 2, 1]))
    assert (kept.n_kept, kept.n_matched) == (2, 3)
    assert kept.share == 2 / 3
    assert np.isnan(matching.kept_order(np.array([-1, -1])).share)


def test_a_spread_is_of_the_shares_that_exist():
    shares = np.random.default_rng(10).uniform(size=20)
    result = matching.spread([*shares, float("nan")])
    np.testing.assert_allclose(result, [shares.mean(), shares.min(), shares.max()])
    assert np.isnan(matching.spread([float("nan")])).all()


def test_matched_pairs_are_the_planted_ones_that_have_an_oip():
    truth = np.random.default_rng(8).permutation(6)
    scores = np.where(np.arange(6) == truth[:, None], 0.9, 0.1)
    partners = matching.matched(scores, 0.5)
    everyone = matching.matched_pairs(partners, range(6), range(6))
    assert everyone.tolist() == [[m, truth[m]] for m in range(6)]
    some_pairs = matching.matched_pairs(partners, [5, 3, 0], [m for m in range(6) if m != truth[3]])
    assert some_pairs.tolist() == [[0, truth[0]], [5, truth[5]]]
    assert matching.matched_pairs(np.full(6, -1), range(6), range(6)).shape == (0, 2)


def test_the_closest_pair_comes_first():
    scores = np.random.default_rng(9).uniform(size=(5, 5))
    pairs = np.array([[m, 4 - m] for m in range(5)])
    ordered = matching.closest_first(pairs, scores)
    assert (np.diff(scores[ordered[:, 0], ordered[:, 1]]) < 0).all()
    assert sorted(ordered.tolist()) == pairs.tolist()
    assert matching.closest_first(pairs, np.ones((5, 5))).tolist() == pairs.tolist()


def test_oips_of_matched_maps_are_alike_wherever_their_pattern_stands():
    result = matching.similarity_of_matched([(blobs(10), blobs(10, moved=(3, -5)))])
    np.testing.assert_allclose(result.values, 1, atol=1e-5)
    assert result.above == 1
    assert len(result.null) == 10 * 9


def test_oips_of_maps_that_have_nothing_in_common_are_at_chance():
    result = matching.similarity_of_matched([(blobs(60, seed=1), blobs(60, seed=2))])
    assert result.above < 0.2
    assert np.median(result.values) == pytest.approx(np.median(result.null), abs=0.05)


def test_the_null_pairs_maps_of_the_same_two_networks():
    first, second = (blobs(4, seed=1), blobs(4, seed=2)), (blobs(3, seed=3), blobs(3, seed=3))
    together = matching.similarity_of_matched([first, (blobs(0), blobs(0)), second])
    apart = [matching.similarity_of_matched([each]) for each in (first, second)]
    np.testing.assert_array_equal(together.values, np.concatenate([p.values for p in apart]))
    np.testing.assert_array_equal(together.null, np.concatenate([p.null for p in apart]))
    assert np.isnan(matching.similarity_of_matched([]).threshold)


# Neighbours


def test_the_nearest_are_moved_copies_the_less_changed_first():
    image, noise = blobs(1)[0], blobs(1, seed=1)[0]
    images = np.array([noise, image + noise / 2, np.roll(image, 4, axis=0), image + noise / 4])
    found = neighbours.nearest(image, images)
    assert found.indices.tolist() == [2, 3, 1, 0]
    np.testing.assert_array_equal(found.alike, similarities(image[None], images)[0, [2, 3, 1, 0]])
    assert neighbours.nearest(image, images, n=2).indices.tolist() == [2, 3]


def test_planted_pairs_are_the_most_similar():
    images = np.concatenate([blobs(3), blobs(3, seed=1), blobs(3, moved=(2, 2))])
    alike = similarities(images, images)
    pairs = neighbours.most_similar_pairs(alike, n=3)
    assert sorted(pairs.indices.tolist()) == [[0, 6], [1, 7], [2, 8]]
    assert pairs.largest == pairs.alike[0]
    others = np.sort(alike[np.triu_indices(9, 1)])
    assert pairs.median == pytest.approx((others[17] + others[18]) / 2)
    assert pairs.median < 0.6 < pairs.alike.min()


def test_a_single_image_makes_no_pair():
    pairs = neighbours.most_similar_pairs(np.ones((1, 1)))
    assert pairs.indices.shape == (0, 2)
    assert np.isnan(pairs.median)
