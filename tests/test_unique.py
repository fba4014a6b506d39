"""Are OIPs unique? Asked of all trainings and under all priors; legible and steady patterns."""

import numpy as np
import pytest
from conftest import runs

from oiplib import Study
from oiplib.analysis.similarity import similarities
from oiplib.analysis.uniqueness import best_unlike
from oiplib.study.check import problems
from oiplib.study.legible import derive_legible, held_by, legible
from oiplib.study.questions import varieties
from oiplib.study.unique import BAND, PRIORS, restarted, under_priors, unlike
from oiplib.values import LEGIBLE, STEADY, ConditionSpec


@pytest.fixture(scope="module")
def study(finished):
    return finished


def test_each_training_is_asked_under_each_prior(study):
    asked = restarted(study)
    assert list(asked) == list(PRIORS)
    for name, parts in asked.items():
        assert parts[0].network.id == study.network.id
        assert len({part.network.id for part in parts}) == 4
        assert {part.spec.variety for part in parts} == {study.spec.compared.led_by(PRIORS[name])}


def test_answers_are_stored_and_agree_with_what_is_stored(study):
    before = runs(study)
    answers = {under.name: under for under in under_priors(study)}
    assert runs(study) == before
    for name, under in answers.items():
        part, *others = restarted(study)[name]
        rows = varieties(part)
        assert under.n_maps == len(rows)
        ones = [row.n_patterns == 1 for row in rows.values()]
        assert under.pixels.one_pattern.here.value == np.mean(ones)
        assert under.pixels.one_pattern.networks[0] == np.mean(ones)
        assert len(under.pixels.one_pattern.networks) == 1 + len(others)
        peaks = np.concatenate([row.peaks for row in rows.values()])
        assert under.pixels.within.here.value == pytest.approx(np.median(peaks), abs=1e-3)
        # The lower the threshold, the more is one pattern.
        shares = [
            answer.here.value
            for answer in (under.pixels.lower, under.pixels.one_pattern, under.pixels.higher)
        ]
        assert shares == sorted(shares, reverse=True)
    assert 0 < BAND < 0.1


def test_each_prior_has_oips_of_its_own(study):
    assert derive_legible(study) == []  # they are stored already
    for prior in (LEGIBLE, STEADY):
        oips = study.oips(best=True, prior=prior)
        assert len({oip.map for oip in oips}) == len(oips) > 6
        assert {oip.prior for oip in oips} == {str(prior)}
    assert list(problems(study.store)) == []


def test_what_a_prior_costs_is_told_beside_what_it_gives(study):
    by_name = {led.name: led for led in legible(study)}
    strongest = by_name["strongest"]
    assert strongest.loss.value == strongest.loss.low == strongest.loss.high == strongest.least == 1
    assert by_name["legible"].loss.value < 1.05
    for led in by_name.values():
        assert set(led.oips) == set(strongest.oips)
        assert len(led.restarts_loss.networks) == 4
        assert 0 < led.moved.value < 1.5
    assert by_name["steady"].moved.value > strongest.moved.value


def test_what_an_image_keeps_is_the_mean_over_all_shifts_and_noisy_copies(study):
    oips = study.oips(best=True)
    maps, images = [oip.of_map for oip in oips], np.array([oip.image for oip in oips])
    spec = ConditionSpec(noise=1e-9, n_noisy=1)
    held = held_by(study, images, maps, maps, spec)
    shifts = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    own = np.arange(len(maps)), maps
    answers = [study.engine(np.roll(images, shift, (1, 2)))[own] for shift in shifts]
    np.testing.assert_allclose(held.moved, np.mean(answers, axis=0) / answers[4], rtol=1e-5)
    np.testing.assert_allclose(held.noisy, 1, rtol=1e-3)  # hardly any noise changes nothing
    noisy = [held_by(study, images, maps, maps, spec.replace(noise=noise)) for noise in (0.3, 3.0)]
    assert noisy[1].noisy.mean() < noisy[0].noisy.mean() < 1


def test_the_noise_of_an_image_does_not_depend_on_the_others(study):
    oips = study.oips(best=True)[:5]
    maps, images = [oip.of_map for oip in oips], np.array([oip.image for oip in oips])
    together, alone = (held_by(study, images[k:], maps[k:], maps[k:]) for k in (0, 3))
    np.testing.assert_array_equal(together.noisy[3:], alone.noisy)
    np.testing.assert_array_equal(together.moved[3:], alone.moved)


def test_really_different_oips_are_judged_by_the_nearest_pattern(study):
    of_maps = varieties(study)
    found = unlike(study, of_maps)
    judged = [
        (row, best_unlike(row.unlike_losses, row.unlike_alike, row.null.threshold))
        for row in of_maps.values()
    ]
    nearest = [
        similarities(
            study.inputs_of(row.unlike_images[[best]], (0.0, 255.0)),
            study.inputs_of(row.images, (0.0, 255.0)),
        ).max()
        for row, best in judged
        if best is not None
    ]
    assert nearest
    np.testing.assert_allclose(found.pixels, nearest, rtol=1e-5)


def test_a_network_of_the_users_is_alone(tmp_path, study):
    model = study.model
    alone = Study(tmp_path / "own.db", model=model, inputs="standardized", layer="Conv2D_3")
    alone = alone.replace(compared=study.spec.compared, scan=study.spec.scan)
    assert [len(parts) for parts in restarted(alone).values()] == [1, 1, 1]
    (first, *_) = under_priors(alone, [0, 1, 2])
    assert first.pixels.one_pattern.text().endswith("of one training)")
