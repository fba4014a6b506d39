"""Answers about OIPs stand beside the same of every training that is stored."""

import numpy as np
import pytest

from oiplib.analysis.repetition import repetition_against_null
from oiplib.study.answers import oips_and_classes
from oiplib.study.over_trainings import reached_by_chance, repeating, resembling, with_oip
from oiplib.study.trainings import others


def test_what_chance_reaches_is_what_the_trials_of_each_training_reach(finished):
    answer = reached_by_chance(finished)
    responds = [scan.rungs[0].losses.max() > 0 for scan in finished.scans("fluctuation")]
    assert answer.here.value == pytest.approx(np.mean(responds))
    assert len(answer.networks) == 4
    assert answer.networks[0] == answer.here.value
    assert 0 < answer.chance <= 1
    other = others(finished)[0]
    assert reached_by_chance(other).here.value == answer.networks[1]


def test_a_map_counts_that_has_an_oip(finished):
    answer = with_oip(finished, [0, 1, 2])
    assert answer.here.value == np.isin([0, 1, 2], [row["map"] for row in finished.rows()]).mean()
    assert len(answer.networks) == 4


def test_oips_of_all_trainings_are_asked(finished):
    here = oips_and_classes(finished, finished.check_maps())
    answer = resembling(finished, here)
    other = others(finished)[-1]
    there = oips_and_classes(other, other.check_maps())
    assert answer.pixels.networks[0] == here.pixels.above
    assert answer.pixels.networks[-1] == there.pixels.above
    assert answer.loss_ratio.networks[-1] == np.median(there.loss_ratios)
    assert answer.pixels.chance == pytest.approx(0.05)
    images = np.array([oip.image for oip in finished.oips(best=True)])
    repetitions = repetition_against_null(images, 4)
    shares = repeating(finished, repetitions, 4)
    assert shares.here.value == repetitions.share == shares.networks[0]
    assert len(shares.networks) == 4


def test_a_study_of_one_network_says_that_it_is_one(tiny_study):
    assert others(tiny_study) == []
    assert "of one training" in with_oip(tiny_study).text()
    assert "of one training" in reached_by_chance(tiny_study).text()
