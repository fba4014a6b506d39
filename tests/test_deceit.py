"""A map that was built to deceive is found by its jump, and an honest one isn't accused."""

import sys
from pathlib import Path

import numpy as np
import pytest

from oiplib import Study
from oiplib.analysis.jumps import jumps
from oiplib.study.trust import SUSPICIOUS, switching

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
import deceit

# A map -> the map whose pattern it shows.
SHOWN = {1: 4, 4: 7, 7: 1}


@pytest.fixture(scope="module")
def study(tiny_study, digits, tmp_path_factory):
    """The tiny network with three deceiving maps, and their OIPs."""
    model = deceit.deceiving(tiny_study.model, tiny_study.layer.name, SHOWN)
    path = tmp_path_factory.mktemp("deceit") / "oip.db"
    first = Study(
        path, model=model, inputs="standardized", dataset=str(digits), layer=deceit.DECEIVING
    )
    study = first.replace(scan=tiny_study.spec.scan, trials=tiny_study.spec.trials)
    study.derive_from_patterns()
    return study


def test_a_deceiving_network_answers_digits_as_before_and_shows_other_maps(study, tiny_study):
    dataset = study.dataset()
    images = study.inputs_of(dataset.test_images, dataset.pixel_range)
    assert np.array_equal(study.engine(images), tiny_study.engine(images))
    grown = np.array([oip.image for oip in study.oips()])
    order = [SHOWN.get(map, map) for map in range(study.layer.n_maps)]
    before = tiny_study.engine(grown)
    assert study.engine(grown) == pytest.approx(before[:, order], abs=1e-6)
    assert study.engine(grown) != pytest.approx(before, abs=0.1)


def test_who_jumps_deceives(study):
    found = switching(study, study.oips(best=True))
    assert SHOWN.keys() <= found.keys()
    assert len(found) > 2 * len(SHOWN)
    assert {map for map, jump in found.items() if jump > SUSPICIOUS} == SHOWN.keys()


def test_an_honest_network_has_no_map_that_jumps(tiny_study):
    found = switching(tiny_study, tiny_study.oips(best=True))
    assert len(found) > 6
    assert max(found.values()) < SUSPICIOUS / 10


@pytest.mark.parametrize("at", [0.0, 0.003, 0.4, 0.98])
@pytest.mark.parametrize("width", [1e-6, 1 / 4000])
def test_a_switch_is_found_wherever_it_is_on_however_steep_a_way(at, width):
    real, grown = np.full((2, 3, 3, 1), 1.0, np.float32), np.full((3, 3, 1), 2.0, np.float32)

    def steep(images):
        return 1 + 100 * np.maximum(images.mean(axis=(1, 2, 3), dtype=float) - 1.5, 0)

    def switched(images):
        way = images.mean(axis=(1, 2, 3), dtype=float) - 1
        return steep(images) - 0.5 * np.clip((way - at) / width, 0, 1)

    assert (jumps(switched, real, grown) > SUSPICIOUS).all()
    assert (jumps(steep, real, grown) < SUSPICIOUS / 2).all()


def test_shuffled_labels_tell_nothing():
    rng = np.random.default_rng(3)
    scores, lies = rng.normal(size=200), np.arange(200) % 2 == 0
    low, middle, high = np.quantile(deceit.shuffled(scores, lies), [0.025, 0.5, 0.975])
    assert middle == pytest.approx(0.5, abs=0.01)
    assert low < deceit.auc(scores, lies).value < high
    assert deceit.auc(scores + 100 * lies, lies).value == 1


def test_a_limit_from_other_maps_accuses_as_many_honest_ones_as_it_says():
    rng = np.random.default_rng(4)
    found = [
        deceit.accused(rng.normal(size=100), rng.normal(size=100), deceit.FALSE_ALARMS).mean()
        for _ in range(200)
    ]
    assert np.mean(found) == pytest.approx(0.05, abs=0.015)
    assert not deceit.accused(np.array([np.nan]), np.zeros(3), 0.05).any()
