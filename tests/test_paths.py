"""On which path images excite a map: an honest map isn't accused, a deceiving one is found."""

import numpy as np
import pytest
from scipy import stats

from oiplib.analysis.paths import path


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_correlations_are_those_of_scipy(rng):
    grown, real = np.abs(rng.normal(size=(3, 40))), rng.normal(size=(3, 4, 40)).round(1)
    found = path(grown[::-1], np.array([2, 1, 0]), real)
    for i, map in enumerate((2, 1, 0)):
        rho = [stats.spearmanr(grown[map], image).statistic for image in real[map]]
        assert found.own[i] == pytest.approx(np.mean(rho), abs=1e-6)
        pairs = [
            stats.spearmanr(real[map, j], real[map, k]).statistic
            for j in range(4)
            for k in range(j)
        ]
        assert found.real[i] == pytest.approx(np.mean(pairs), abs=1e-6)
        foreign = [
            stats.spearmanr(a, b).statistic
            for other in {0, 1, 2} - {map}
            for a in real[map]
            for b in real[other]
        ]
        assert found.foreign[i] == pytest.approx(np.mean(foreign), abs=1e-6)
        others = [
            stats.spearmanr(grown[map], b).statistic
            for other in {0, 1, 2} - {map}
            for b in real[other]
        ]
        assert found.others[i] == pytest.approx(np.mean(others), abs=1e-6)


def test_who_deceives_goes_another_way(rng):
    kinds = rng.normal(size=(20, 500))
    real = kinds[:, None] + rng.normal(size=(20, 6, 500))
    grown = kinds + rng.normal(size=(20, 500))
    deceives = np.arange(20) % 4 == 0
    grown[deceives] = rng.normal(size=(5, 500))
    found = path(grown, np.arange(20), real)
    assert (found.scaled[deceives] < 0.3).all()
    assert (found.scaled[~deceives] > 0.7).all()
    assert np.abs(found.null).max() < 0.2
    assert (found.nearer[~deceives] == 0).all()
    assert (found.nearer[deceives] > 0).any()


def test_who_is_like_nobody_is_nearer_to_half_of_the_others(rng):
    real = rng.normal(size=(40, 1, 200)) + rng.normal(size=(40, 3, 200))
    found = path(rng.normal(size=(400, 200)), np.arange(400) % 40, real)
    assert found.nearer.mean() == pytest.approx(0.5, abs=0.05)


def test_where_all_images_are_alike_it_says_nothing(rng):
    same = np.broadcast_to(rng.normal(size=50), (3, 4, 50))
    assert np.isnan(path(rng.normal(size=(3, 50)), np.arange(3), same).scaled).all()
    nothing = path(np.zeros((3, 50)), np.arange(3), same)
    assert (nothing.own == 0).all()
    assert (nothing.nearer == 0.5).all()
