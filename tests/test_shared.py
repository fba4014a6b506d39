"""How many filters are shared, where it is known: planted pairs among random ones."""

import numpy as np
import pytest

from oiplib.analysis.shared import Pair, found_of_known, own, pooled, shared

N_MAPS, N_POSITIONS, N_UNTRAINED = 60, 200, 8


def network(rng, planted=None):
    """The activations of a network's maps: (positions, maps); some are those of another one."""
    maps = rng.normal(size=(N_POSITIONS, N_MAPS))
    if planted is not None:
        of_other, n = planted
        places = rng.permutation(N_MAPS)[:n]
        maps[:, places] = of_other[:, :n] + 0.5 * rng.normal(size=(N_POSITIONS, n))
    return maps


def pair(a, b):
    return Pair.of(np.corrcoef(a.T, b.T)[:N_MAPS, N_MAPS:])


def judged(share, seed):
    """The share of a planted share that is found by each null."""
    rng = np.random.default_rng(seed)
    first = network(rng)
    second = network(rng, (first, round(share * N_MAPS)))
    untrained = [network(rng) for _ in range(N_UNTRAINED)]
    null = [pair(a, b) for i, a in enumerate(untrained) for b in untrained[:i]]
    limits = [
        [pooled(null, N_MAPS)] * 2,
        [own([pair(one, other) for other in untrained]) for one in (first, second)],
    ]
    counted = [(np.ones(N_MAPS, bool),) * 2]
    return [shared([pair(first, second)], [limit], counted) for limit in limits]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9])
def test_a_planted_share_is_found_within_its_interval(share):
    by_null = [judged(share, seed) for seed in range(6)]
    for estimates in zip(*by_null, strict=True):
        held = [each.low - 0.01 <= share <= each.high + 0.01 for each in estimates]
        assert np.mean(held) >= 5 / 6
        assert np.mean([each.value for each in estimates]) == pytest.approx(share, abs=0.07)


def test_where_nothing_is_shared_as_many_are_matched_as_by_chance():
    """Which is 5 % of the maps, or one of as many as there are networks in the null."""
    pooled_values, own_values = np.array(
        [[each.value for each in judged(0.0, seed)] for seed in range(20)]
    ).T
    assert abs(pooled_values.mean()) < 0.02
    assert abs(own_values.mean()) < 0.03


def test_maps_that_do_not_count_are_left_out():
    scores = np.array([0.9, 0.1, 0.9, 0.1])
    one, limit = Pair(np.arange(4), scores), pooled([Pair(np.arange(4), np.full(4, 0.5))], 4, 0.5)
    counts = np.array([True, False, True, False])
    found = shared([one], [(limit, limit)], [(counts, counts)])
    assert (found.value, found.n) == (1.0, 2)
    # A map that counts in one of the networks is judged from there.
    found = shared([one], [(limit, limit)], [(counts, ~counts)])
    assert (found.value, found.n) == (0.0, 4)


def test_it_does_not_matter_which_network_is_the_first():
    rng = np.random.default_rng(5)
    first = network(rng)
    second = network(rng, (first, 20))
    untrained = [network(rng) for _ in range(4)]
    of_both = [own([pair(one, other) for other in untrained]) for one in (first, second)]
    counts = [rng.random(N_MAPS) < 0.8 for _ in range(2)]
    scores = np.corrcoef(first.T, second.T)[:N_MAPS, N_MAPS:]
    there = shared([Pair.of(scores)], [tuple(of_both)], [tuple(counts)])
    back = shared([Pair.of(scores.T)], [tuple(of_both[::-1])], [tuple(counts[::-1])])
    assert there.value == pytest.approx(back.value)
    assert there.n == back.n


def test_of_filters_that_are_known_to_be_the_same_the_share_that_is_found_is_told():
    partners = np.array([0, 1, 2, 0])  # the last one's number is another
    one = Pair(partners, np.array([0.9, 0.9, 0.2, 0.9]))
    limit = pooled([Pair(partners, np.full(4, 0.5))], 4, 0.5)
    counts = np.ones(4, bool)
    assert found_of_known([one], [limit], [counts]).value == pytest.approx(2 / 3)
    counts[2] = False
    assert found_of_known([one], [limit], [counts]).value == 1
