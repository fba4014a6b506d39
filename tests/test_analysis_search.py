"""The numbers that the chapters on the search and on its patterns state."""

import numpy as np
import pytest

from oiplib.analysis.estimates import over_maps
from oiplib.analysis.growth import (
    ARTICLE_LAST_CHANGE,
    ARTICLE_LOSSES,
    ARTICLE_STEPS,
    compared_with_article,
)
from oiplib.analysis.numbers import quartiles
from oiplib.analysis.repetition import repetition_against_null, wavelength
from oiplib.analysis.responses import favourites, responding, response_shares, strongest_maps
from oiplib.analysis.selection import (
    avoided,
    best_after_each_rung,
    missed,
    missed_at_random,
    rank_correlation,
    selection,
    standings,
)
from oiplib.errors import InputError
from oiplib.values import AscentSpec

# --- numbers


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quartiles_are_the_values_that_quarters_stay_below(dtype):
    values = np.random.default_rng(0).permutation(np.arange(0, 101)).astype(dtype)
    assert quartiles(values) == (25, 50, 75)
    assert quartiles(values.reshape(1, -1)) == (25, 50, 75)


def test_quartiles_are_stated_in_one_way():
    values = [0.36, 0.38, 0.40, 0.44, 0.50]
    assert quartiles(values).text() == "0.40 (quartiles 0.38 to 0.44)"
    assert quartiles(values).text(".0%") == "40% (quartiles 38% to 44%)"


def test_a_missing_value_is_left_out_of_quartiles():
    assert quartiles([3, np.nan, 1, 2, np.nan]) == quartiles([1, 2, 3])
    for nothing in ([], [np.nan, np.nan]):
        assert np.isnan(quartiles(nothing)).all()
        assert quartiles(nothing).text() == "no values"


# --- growth


def article_trace(scale):
    """600 steps through the article's printed losses, with its last step, times a factor."""
    trace = np.interp(np.arange(600), ARTICLE_STEPS, ARTICLE_LOSSES)
    trace[-2] = trace[-1] * (1 - ARTICLE_LAST_CHANGE)
    return scale * trace


def test_the_printed_steps_are_those_of_the_articles_ascent():
    assert AscentSpec().report_steps == ARTICLE_STEPS


def test_an_ascent_like_the_articles_doesnt_differ_whatever_its_loss():
    growth = compared_with_article([article_trace(scale) for scale in (0.01, 1, 30)])
    assert growth.n_ascents == 3
    assert growth.largest_difference == pytest.approx(0, abs=1e-12)
    assert growth.last_change == pytest.approx(6.3e-5, rel=0.01)


def test_a_planted_difference_is_found_at_its_step():
    """Three ascents stand lower at step 72; the quartiles are those of these three."""
    traces = [article_trace(1) for _ in range(3)]
    for trace, below in zip(traces, (0.1, 0.2, 0.4), strict=True):
        trace[72] -= below * ARTICLE_LOSSES[-1]
    growth = compared_with_article(traces)
    step = ARTICLE_STEPS.index(72)
    assert growth.difference[step] == pytest.approx(-0.2)
    assert np.delete(growth.difference, step) == pytest.approx(0, abs=1e-12)
    assert growth.largest_difference == pytest.approx(0.2)
    around = growth.quartiles[:, step] - growth.article[step]
    assert around == pytest.approx([-0.3, -0.2, -0.15])


def test_only_ascents_that_can_be_compared_are():
    silent, short = np.zeros(600), article_trace(1)[:120]
    assert compared_with_article([silent, article_trace(2), short]).n_ascents == 1
    nothing = compared_with_article([silent, short])
    assert nothing.n_ascents == 0
    assert np.isnan([nothing.largest_difference, nothing.last_change]).all()
    assert nothing.quartiles.shape == (3, 8)


# --- selection


def rungs_of(losses, rng):
    """The rungs of a scan with these losses (rungs, starts), its starts in any order."""
    rungs = []
    for number, of_rung in enumerate(losses):
        order = rng.permutation(len(of_rung))
        rungs.append((10 * number, 100 + order, np.asarray(of_rung, np.float32)[order]))
    return rungs


def test_each_start_keeps_its_column_whatever_the_order_of_a_rung():
    losses = np.array([[1, 2, 3, 4, 5], [5, 1, 4, 2, 3], [9, 7, 0, 6, 8]], np.float32)
    assert standings(rungs_of(losses, np.random.default_rng(1))).tolist() == losses.tolist()


def test_what_a_selection_misses_cant_be_told_once_starts_were_dropped():
    whole = rungs_of(np.ones((2, 12)), np.random.default_rng(1))
    for start in (whole[1][1][:9], whole[1][1] + 1):
        with pytest.raises(InputError, match="dropped"):
            standings([whole[0], (whole[1][0], start, np.ones(len(start)))])


def test_rank_correlation_sees_the_order_alone():
    final = np.array([1.0, 2, 4, 8, 16])
    assert rank_correlation(np.log(final), final) == pytest.approx(1)
    assert rank_correlation(-final, final) == pytest.approx(-1)
    assert np.isnan(rank_correlation(np.zeros(5), final))
    assert np.isnan(rank_correlation(final, np.ones(5)))
    assert np.isnan(rank_correlation(np.empty(0), np.empty(0)))


def test_of_equal_standings_the_earlier_is_first():
    final = np.array([10.0, 20, 40, 5])
    assert missed(np.array([4, 9, 9, 2]), final) == 0.5
    assert missed(final, final) == 0


def test_a_random_start_misses_the_mean_over_all_draws():
    final = np.random.default_rng(2).uniform(1, 2, 9)
    draws = [missed(np.eye(9)[k], final) for k in range(9)]
    assert missed_at_random(final) == pytest.approx(np.mean(draws))


def planted(rng, told, n_maps=120, n_starts=12):
    """Maps whose final losses are known after some steps but for noise: told 1 is all, 0 none."""
    final = rng.uniform(1, 2, (n_maps, n_starts))
    standing = told * final + (1 - told) * rng.uniform(1, 2, final.shape)
    return selection(list(np.stack([standing, final], axis=1)))


def test_a_perfect_selection_misses_nothing_and_a_reversed_one_the_most():
    final = np.arange(1, 11.0)
    judged = selection([np.stack([2 * final, final]), np.stack([-final, final])])
    assert judged.correlations == pytest.approx([1, -1])
    assert judged.leader == pytest.approx([0, 0.9])
    assert judged.gained == pytest.approx([0.45, -0.45])
    perfect = planted(np.random.default_rng(3), told=1)
    assert avoided(perfect.both[:, 0]) == 1
    assert over_maps(perfect.gained, np.mean).low > 0


def test_a_better_selection_avoids_more():
    rng = np.random.default_rng(4)
    shares = [avoided(planted(rng, told).both[:, 0]) for told in (0, 0.3, 0.6, 0.9)]
    assert abs(shares[0]) < 0.15
    assert shares == sorted(shares)


def test_a_selection_by_chance_is_taken_for_a_real_one_in_five_of_a_hundred():
    rng = np.random.default_rng(5)
    found = {"gained": 0, "correlations": 0}
    for _ in range(100):
        judged = planted(rng, told=0, n_maps=40)
        for name in found:
            estimate = over_maps(getattr(judged, name), np.mean)
            found[name] += not estimate.low <= 0 <= estimate.high
    # At a rate of 5 %, 13 or more would come once in a thousand times.
    assert all(1 <= count < 13 for count in found.values()), found


def test_no_selection_foresees_what_rounding_decides():
    """Final losses have a part that a repetition changes: it bounds what is avoided."""
    rng = np.random.default_rng(6)
    kept = rng.uniform(1, 2, (200, 12))
    ended, again = (kept + rng.normal(0, 0.1, kept.shape) for _ in range(2))
    ceiling = selection(list(np.stack([again, ended], axis=1)))
    knowing = selection(list(np.stack([kept, ended], axis=1)))  # all that can be known
    blurred = selection(list(np.stack([kept + rng.normal(0, 0.3, kept.shape), ended], axis=1)))
    shares = [avoided(each.both[:, 0]) for each in (blurred, ceiling, knowing)]
    assert 0.3 < shares[0] < shares[1] < 1
    assert shares[2] < 1


def test_a_map_with_too_few_starts_or_without_a_response_isnt_judged():
    final = np.arange(1, 5.0)
    few, silent = final[:3], np.zeros(4)
    pairs = [np.stack([of_map, of_map]) for of_map in (final, few, silent, np.empty(0))]
    assert selection(pairs).n_maps == 1
    nothing = selection(pairs[1:])
    assert nothing.n_maps == 0
    assert np.isnan(over_maps(nothing.both, avoided).value)
    # A start that is silent in the end is the worst, and may lead.
    assert selection([np.stack([final, final[::-1] - 1])]).leader.tolist() == [1]


def test_the_best_of_each_rung_is_measured_by_the_maps_own_end():
    raced = [
        [(0, np.arange(2), scale * np.array([0.1, best])) for best in bests]
        for scale, bests in ((1, (1, 2, 4)), (9, (0.1, 3, 4)), (50, (2, 4, 4)))
    ]
    silent = [(0, np.arange(8), np.zeros(8))] * 3
    empty = [(0, np.empty(0, int), np.empty(0))] * 3
    best = best_after_each_rung([*raced, silent, empty])
    assert best.n_maps == 3
    assert best.medians == pytest.approx([0.25, 0.75, 1])
    assert best_after_each_rung([silent]).n_maps == 0
    assert np.isnan(best_after_each_rung([silent]).medians).all()


# --- repetition


@pytest.mark.parametrize(
    ("rows", "columns", "length"), [(1, 0, 28), (0, 4, 7), (7, 7, 4 / np.sqrt(2)), (3, 4, 28 / 5)]
)
def test_a_plane_wave_has_its_own_wavelength(rows, columns, length):
    """So many waves down and across 28 pixels, with any brightness, contrast and phase."""
    y, x = np.mgrid[:28, :28] / 28
    waves = [
        shift + scale * np.sin(2 * np.pi * (rows * y + columns * x) + phase)
        for shift, scale, phase in ((0, 1, 0), (9, 1, 1), (0, 50, 2))
    ]
    assert wavelength(np.stack(waves)[..., None]) == pytest.approx(length, abs=1e-6)


def test_a_sum_of_waves_counts_each_by_its_power():
    x = np.arange(28) / 28
    image = 2 * np.sin(2 * np.pi * 2 * x) + np.sin(2 * np.pi * 7 * x)
    images = np.broadcast_to(image[:, None], (1, 28, 28))[..., None]
    assert wavelength(images) == pytest.approx(28 / ((4 * 2 + 7) / 5))


def test_images_with_several_channels_have_the_waves_of_their_mean():
    images = np.random.default_rng(5).normal(size=(3, 12, 9, 2))
    together = wavelength(images)
    assert wavelength(images.mean(axis=-1, keepdims=True)) == pytest.approx(together)
    assert [wavelength(image[None])[0] for image in images] == pytest.approx(together)
    assert np.isnan(wavelength(np.full((1, 12, 9, 2), 0.1))).all()


def twice(shift, n, rng):
    """Noise in which a pattern stands twice."""
    images = 0.2 * rng.normal(size=(n, 28, 28, 1))
    patterns = rng.normal(size=(n, 7, 7, 1))
    for y, x in ((3, 3), (3 + shift[0], 3 + shift[1])):
        images[:, y : y + 7, x : x + 7] += patterns
    return images


@pytest.mark.parametrize(("shift", "on_grid"), [((8, 4), 1), ((8, 6), 0)])
def test_planted_repetitions_stand_out_of_the_null_at_their_distance(shift, on_grid):
    planted = twice(shift, 8, np.random.default_rng(6))
    images = np.concatenate([planted, np.ones_like(planted)])  # half of them hold no pattern
    result = repetition_against_null(images, 4, n_nulls=5)
    assert result.repeats.tolist() == [True] * 8 + [False] * 8
    assert result.share == 0.5
    assert (result.shifts[:8] == shift).all()
    assert result.distances[:8] == pytest.approx(np.hypot(*shift))
    assert result.repeats_on_grid == on_grid
    assert len(np.unique(result.null[result.null > 0])) == 40  # each null is another image
    assert result.null_on_grid < 0.25


def test_random_images_repeat_as_often_as_their_null():
    """A fifth of them stands above what four fifths of the null stay below."""
    noise = np.random.default_rng(7).normal(size=(400, 16, 16, 1))
    result = repetition_against_null(noise, 2, n_nulls=2, quantile=0.8)
    assert (result.null < result.threshold).mean() == pytest.approx(0.8, abs=0.01)
    assert result.share == pytest.approx(0.2, abs=0.08)
    assert result.on_grid.mean() == pytest.approx(result.null_on_grid, abs=0.1)


@pytest.mark.parametrize(("stride", "on_grid"), [(1, 1), (100, 0)])
def test_every_shift_is_on_the_finest_grid_and_none_on_one_wider_than_the_image(stride, on_grid):
    noise = np.random.default_rng(8).normal(size=(4, 20, 20, 1))
    result = repetition_against_null(noise, stride, n_nulls=2)
    assert (result.on_grid == on_grid).all()
    assert result.null_on_grid == on_grid


def test_an_image_without_a_peak_is_on_no_grid():
    result = repetition_against_null(np.ones((2, 12, 12, 1)), 4, n_nulls=2)
    assert result.share == 0
    assert not result.on_grid.any()
    assert np.isnan([result.repeats_on_grid, result.null_on_grid]).all()
    with pytest.raises(InputError, match="no image"):
        repetition_against_null(np.empty((0, 12, 12, 1)), 4)


# --- responses


def test_responses_are_counted_by_image_and_by_map():
    losses = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [2, 0, 0, 0], [3, 4, 5, 6]])
    counts = responding(losses)
    assert (counts.n_first, counts.n_any) == (2, 3)
    assert counts.share == 6 / 16
    # Only the first image is special: in which order the others come doesn't matter.
    assert responding(losses[:, [0, 3, 1, 2]]) == counts
    with pytest.raises(InputError, match="maps, trials"):
        responding(np.empty((3, 0)))


def test_planted_rare_and_silent_maps_are_counted():
    n_responses = np.random.default_rng(9).permutation([0, 0, 1, 9, 10, 11, 500, 1000])
    shares = response_shares(n_responses, 1000)
    assert (shares.n_silent, shares.n_rare) == (2, 4)  # 10 of 1000 are 1 %: not rare
    assert shares.mean == pytest.approx(n_responses.sum() / 8000)
    np.testing.assert_allclose(1000 * shares.of_maps, n_responses)
    for no_maps, n_images in ((np.empty(0, int), 5), (np.zeros(3, int), 0)):
        with pytest.raises(InputError, match="1 or more of each"):
            response_shares(no_maps, n_images)


def test_the_strongest_maps_are_those_of_the_largest_mean():
    """Each map has a planted mean; a high peak at one position doesn't make it stronger."""
    means = np.random.default_rng(10).permutation(np.arange(1.0, 31.0))
    noise = np.random.default_rng(11).normal(size=(10, 10, 30))
    activations = means + noise - noise.mean(axis=(0, 1))
    weakest = int(means.argmin())
    activations[:, :, weakest] = 0
    activations[0, 0, weakest] = 100 * means.min()
    strongest = strongest_maps(activations, 7)
    assert strongest.maps.tolist() == np.flatnonzero(means > 30 - 7).tolist()
    assert strongest_maps(activations, 99).maps.tolist() == list(range(30))


def test_a_map_is_silent_if_it_responds_at_none_of_its_positions():
    activations = np.zeros((3, 3, 4))
    activations[2, 1, 3] = 0.1
    assert strongest_maps(activations).silent_share == 0.75
    assert strongest_maps(activations, 2).maps.tolist() == [0, 3]  # of equal ones the first


def test_favourites_are_found_where_they_were_planted():
    rng = np.random.default_rng(8)
    planted = rng.integers(0, 10, 60)
    means = rng.uniform(0, 0.9, (60, 10))
    means[np.arange(60), planted] = 1
    preferences = favourites(means * rng.uniform(0.1, 50, (60, 1)))
    assert preferences.favourites.tolist() == planted.tolist()
    assert preferences.n_maps.tolist() == [(planted == k).sum() for k in range(10)]
    assert preferences.order.tolist() == sorted(range(60), key=lambda map: (planted[map], map))
    np.testing.assert_allclose(preferences.relative, means)
    np.testing.assert_allclose(preferences.shares, 1 / means.sum(axis=1))


def test_one_class_alone_no_preference_and_silence_are_told_apart():
    preferences = favourites(np.array([[0, 0, 0, 0], [5, 5, 5, 5], [0, 0, 3, 0]]))
    assert preferences.shares[1:].tolist() == [0.25, 1]
    assert np.isnan(preferences.shares[0])
    assert preferences.n_maps.tolist() == [1, 0, 1, 0]  # the silent map counts for no class
    assert preferences.order.tolist() == [1, 2, 0]
    assert preferences.relative[0].tolist() == [0, 0, 0, 0]
