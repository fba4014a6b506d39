"""The articles to the letter: smoothed and joining starts, article X for the maps left by IX."""

import numpy as np
import pytest

from oiplib import (
    AscentSpec,
    FluctuationSpec,
    FluctuationStart,
    InputError,
    LayerMaps,
    ScanSpec,
    Study,
    StudySpec,
    TrialSpec,
    VarietySpec,
    ascend,
    fluctuation_images,
)
from oiplib.engine.fluctuations import joining
from oiplib.engine.images import from_standard, standardized
from oiplib.engine.tf import keras
from oiplib.study import reproduction
from oiplib.study.chapters import prepare
from oiplib.study.check import problems
from oiplib.study.replay import replay
from oiplib.values import Inputs

SHAPE = (28, 28, 1)
JOINS = FluctuationSpec(join_epochs=(0, 3, 5, 8))
ASCENT = AscentSpec(20, 0.05, n_steps=2)


def starts(spec, n_maps=4, n_trials=4):
    return [FluctuationStart(spec, m, t) for m in range(n_maps) for t in range(n_trials)]


def climbed(layer, some, ascent=ASCENT):
    images = from_standard(fluctuation_images(some, layer.image_shape), layer.inputs)
    maps = np.array([start.map for start in some])
    return ascend(layer, images, maps, ascent, joining=joining(some, layer.image_shape))


# --- values ---


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: FluctuationSpec(smoothing=-1), "at least 0"),
        (lambda: FluctuationSpec(smoothing=1e9), "at most 64"),
        (lambda: FluctuationSpec(join_epochs=(0, 5)), "one epoch per grid"),
        (lambda: FluctuationSpec(join_epochs=(0, -1, 0, 0)), "at least 0"),
        (lambda: FluctuationSpec(join_epochs=(5, 5, 0, 0)), "need a start"),
        (lambda: TrialSpec(FluctuationSpec(join_epochs=(0, 600, 0, 0))), "earlier epoch"),
        (lambda: VarietySpec(JOINS), "leave out join_epochs"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(make, told):
    with pytest.raises(InputError, match=told) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_left_out_the_options_rename_nothing():
    assert FluctuationSpec().to_json() == '{"kind":"FluctuationSpec"}'
    assert TrialSpec().to_json() == '{"kind":"TrialSpec"}'
    hashes = {FluctuationSpec(**change).sha256 for change in ({}, {"smoothing": 1})}
    assert len(hashes | {JOINS.sha256}) == 3


def test_a_scale_without_weight_joins_nothing():
    assert FluctuationSpec(join_epochs=(0, 0, 100, 400)).joining == {}
    assert joining(starts(FluctuationSpec(join_epochs=(0, 0, 100, 400))), SHAPE) is None
    late = FluctuationSpec(join_epochs=(0, 0, 100, 10**6))
    assert TrialSpec(late).fluctuation == late


def test_the_articles_scan_follows_the_study():
    full, quick = StudySpec().article_scan, StudySpec.of(quick=True).article_scan
    assert full == ScanSpec(strategy="article", n_oips=1, keeps_frames=False)
    assert quick.grid == StudySpec.of(quick=True).scan.grid
    assert [rung.ascent.n_epochs for rung in quick.rungs] == [10, 240]
    own = ScanSpec(strategy="article", n_oips=2)
    assert StudySpec(scan=own).article_scan == own


# --- smoothed starts ---


def test_smoothing_takes_what_is_fine_and_keeps_the_rest():
    def power_above(spec, frequency):
        images = fluctuation_images(starts(spec), SHAPE)[..., 0]
        power = np.abs(np.fft.fft2(images)) ** 2
        fine = np.hypot(*np.meshgrid(np.fft.fftfreq(28), np.fft.fftfreq(28))) > frequency
        return power[:, fine].sum(axis=1) / power.sum(axis=(1, 2))

    rough = FluctuationSpec(factors=(0.2, 0.2, 0.2, 0.2))
    shares = [power_above(rough.replace(smoothing=size), 0.2) for size in (0, 1, 2)]
    assert (shares[1] < 0.5 * shares[0]).all()
    assert (shares[2] < shares[1]).all()
    even = fluctuation_images(starts(rough.replace(smoothing=1)), SHAPE)
    np.testing.assert_allclose(even.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(even.std(axis=(1, 2, 3)), 1, atol=1e-4)
    # The random numbers are those of the mixture.
    plain = fluctuation_images(starts(rough), SHAPE)
    assert np.corrcoef(even[3].ravel(), plain[3].ravel())[0, 1] > 0.5


def test_smoothed_starts_are_the_same_bytes_alone_or_among_others():
    some = starts(FluctuationSpec(smoothing=1.5, seed=4))
    together = fluctuation_images([*some, *starts(FluctuationSpec())], SHAPE)
    assert together[5].tobytes() == fluctuation_images([some[5]], SHAPE)[0].tobytes()
    assert together[16:].tobytes() == fluctuation_images(starts(FluctuationSpec()), SHAPE).tobytes()


# --- scales that join ---


@pytest.mark.parametrize("smoothing", [0, 2])
def test_joined_before_the_first_step_it_would_be_the_mixture(smoothing):
    mixture = FluctuationSpec(factors=(0.2, 0.2, 0.1, 0), smoothing=smoothing)
    apart = starts(mixture.replace(join_epochs=(0, 7, 7, 0)))
    joins = joining(apart, SHAPE)
    assert joins.which.tolist() == list(range(16))
    assert set(joins.steps.tolist()) == {7}  # two scales that join together
    whole = standardized(fluctuation_images(apart, SHAPE) + joins.images)
    np.testing.assert_allclose(whole, fluctuation_images(starts(mixture), SHAPE), atol=1e-4)


def test_the_start_has_the_longest_scale_alone():
    alone = FluctuationSpec(factors=(0.2, 0, 0, 0))
    np.testing.assert_array_equal(
        fluctuation_images(starts(JOINS), SHAPE), fluctuation_images(starts(alone), SHAPE)
    )


def test_until_a_scale_joins_an_ascent_is_the_one_without_it(layer):
    some = starts(JOINS, n_maps=12)
    joined = climbed(layer, some)
    maps = np.array([start.map for start in some])
    plain = ascend(layer, fluctuation_images(some, SHAPE), maps, ASCENT)
    climbs = plain.steps > 3
    assert climbs.sum() > 4
    np.testing.assert_array_equal(joined.traces[climbs, :3], plain.traces[climbs, :3])
    assert (joined.traces[climbs, 3] != plain.traces[climbs, 3]).all()


@pytest.fixture(scope="module")
def fine(tmp_path_factory):
    """A study of a layer that responds to what is fine and to nothing else."""
    image = keras.Input((12, 12, 1))
    seen = keras.layers.Conv2D(2, 3, activation="relu", name="seen")
    model = keras.Model(image, seen(image))
    kernel = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]], np.float32)
    seen.set_weights([np.stack([kernel, -kernel], axis=-1)[:, :, None], np.full(2, -3.0)])
    study = Study(tmp_path_factory.mktemp("fine") / "oip.db", model=model, inputs="standardized")
    coarse_first = FluctuationSpec(((2, 2), (12, 12)), (0.2, 0.2), join_epochs=(0, 3))
    return study.replace(trials=TrialSpec(coarse_first, ascent=ASCENT))


def test_a_start_without_a_response_waits_for_what_joins(fine):
    some = starts(fine.spec.trials.fluctuation, n_maps=2)
    assert (fine.engine(fluctuation_images(some, (12, 12, 1))) == 0).all()
    found = climbed(fine.engine, some)
    assert (found.traces[:, :3] == 0).all()
    assert (found.traces[:, 3] > 0).all()
    assert (found.losses > found.traces[:, 3]).all()
    assert (found.steps == 19).all()
    assert set(found.stop_reasons) == {"n_epochs"}
    np.testing.assert_allclose(found.images.std(axis=(1, 2, 3)), 1, atol=1e-3)


def test_an_oip_whose_start_was_woken_is_a_revival(fine):
    fine.derive_from_fluctuations()
    oips = fine.oips()
    assert len(oips) == 8
    assert {oip.origin for oip in oips} == {"revival"}
    assert all(each.same_bytes for each in replay(fine.store, [oip.id for oip in oips]))
    assert list(problems(fine.store)) == []


def test_joined_ascents_are_the_same_bytes_alone_or_among_others(layer):
    some = starts(JOINS, n_maps=12)
    others = starts(FluctuationSpec(join_epochs=(0, 11, 0, 0)))
    together, again = climbed(layer, [*some, *others]), climbed(layer, [*some, *others])
    assert together.images.tobytes() == again.images.tobytes()
    for i in (0, 7, 21):
        alone = climbed(layer, [some[i]])
        assert alone.images[0].tobytes() == together.images[i].tobytes()
        assert alone.traces[0].tobytes() == together.traces[i].tobytes()


def test_joined_images_stay_within_a_range_of_pixels(tiny_study):
    layer = LayerMaps(tiny_study.model, tiny_study.layer.name, Inputs(0, 1))
    found = climbed(layer, starts(JOINS, n_maps=12))
    assert (found.steps == 19).any()
    assert found.images.min() >= 0
    assert found.images.max() <= 1


def test_oips_of_joined_and_smoothed_starts_are_made_again(copy, tiny_spec):
    fluctuation = JOINS.replace(smoothing=1)
    trials = tiny_spec.trials.replace(fluctuation=fluctuation, n_trials=6)
    study = Study(copy, tiny_spec.replace(trials=trials))
    study.derive_from_fluctuations()
    oips = study.oips_of_trials()
    assert len(oips) > 6
    assert {oip.origin for oip in oips} == {"fluctuation"}
    assert all(each.same_bytes for each in replay(study.store, [oip.id for oip in oips]))
    assert list(problems(study.store)) == []


# --- the articles' procedures ---


@pytest.fixture(scope="module")
def reproduced(tiny_study, tiny_spec, tmp_path_factory, copied):
    """A study by which articles IX and X were reproduced, and what it had found before."""
    path = copied(tiny_study.store.name, tmp_path_factory.mktemp("reproduced") / "oip.db")
    trials = tiny_spec.trials.replace(n_trials=1)
    study = Study(path, tiny_spec.replace(trials=trials))
    study.derive_from_fluctuations()
    before = study.summary(), study.oips(best=True)
    left = reproduction.left_by_trials(study)
    with pytest.MonkeyPatch.context() as patch:
        # Two of the tiny network's maps: one for article X, one for article IX.
        asked = (left[0], next(map for map in range(12) if map not in left))
        patch.setattr(reproduction, "ARTICLE_FIVE", asked)
        assert reproduction.derive_as_articles(study) == left
        assert reproduction.derive_as_articles(study) == []
        yield study, *before


def test_article_x_is_for_the_maps_that_article_ix_leaves(reproduced):
    study, summary, oips = reproduced
    left = reproduction.left_by_trials(study)
    assert 0 < len(left) < 12
    scans = reproduction.article_scans(study)
    assert [scan.map for scan in scans] == left
    counts = reproduction.counts(study)
    assert sorted([*counts.found, *counts.left]) == list(range(12))
    assert counts.filled == [scan.map for scan in scans if scan.rungs[-1].losses.size]
    # What our own way found is told as before, and the best OIPs are at least as strong.
    assert study.summary().found == summary.found
    assert study.summary().silent == summary.silent
    losses = {oip.map: oip.loss for oip in study.oips(best=True)}
    assert all(losses[oip.map] >= oip.loss for oip in oips)
    by_article = reproduction.article_oips(study)
    assert sorted(by_article) == sorted([*counts.found, *counts.filled])
    assert {by_article[map].start_fields["kind"] for map in counts.filled} == {"PatternStart"}
    assert reproduction.seconds_each(study, scans) > 0


def test_a_map_that_only_article_x_fills_is_neither_silent_nor_ours(reproduced, tmp_path, copied):
    study = reproduced[0]
    study = Study(copied(study.store.name, tmp_path / "only.db"), study.spec)
    filled = reproduction.counts(study).filled[0]
    with study.store.session() as session:
        for oip in study.oips(filled):
            if oip.spec_sha256 != study.spec.article_scan.climb.sha256:
                session.delete(session.get(type(oip), oip.id))
    summary = study.summary()
    assert filled not in summary.silent
    assert not any(filled in found for found in summary.found.values())


def test_some_maps_are_shown_several_oips_of(reproduced):
    study = reproduced[0]
    by_scan, by_trials = reproduction.five_each(study)
    assert (by_scan.origin, by_trials.origin) == ("pattern", "fluctuation")
    for five in (by_scan, by_trials):
        n = len(five.oips)
        assert 1 < n <= reproduction.N_SHOWN
        assert {oip.map for oip in five.oips} == {five.map}
        assert len(five.alike) == n * (n - 1) // 2
        assert len({oip.key for oip in five.oips}) == n
    trials = [oip.start.trial for oip in by_trials.oips]
    assert len(trials) == reproduction.N_SHOWN
    assert trials == sorted(trials)


def test_variants_keep_no_oip_and_are_judged_by_another_seed(reproduced):
    study = reproduced[0]
    n = len(study.rows())
    assert [v.name for v in reproduction.variants(study)] == ["mixture as it is"]
    assert len(reproduction.derive_variants(study)) == 12
    assert reproduction.derive_variants(study) == []
    assert len(study.rows()) == n
    found = reproduction.variants(study)
    assert len(found) == 4 + reproduction.N_NULLS
    assert (found[0].loss.value, found[0].more, found[0].fewer) == (1, 0, 0)
    assert found[0].n_found == len({oip.map for oip in study.oips_of_trials()})
    # A null is the mixture with another seed, and finds what keeping its OIPs finds.
    seed_1, null = study.spec.trials.fluctuation.replace(seed=1), found[4]
    assert null.fluctuation == seed_1
    again = study.replace(trials=study.spec.trials.replace(fluctuation=seed_1))
    again.derive_from_fluctuations()
    assert null.n_found == len({oip.map for oip in again.oips_of_trials()})
    assert list(problems(study.store)) == []


def test_one_length_scale_has_nothing_that_joins(tiny_study, tiny_spec):
    single = FluctuationSpec(grids=((4, 4),), factors=(1,))
    study = tiny_study.replace(trials=tiny_spec.trials.replace(fluctuation=single))
    assert [kind.join_epochs for kind in reproduction.kinds(study).values()] == [()] * 5


def test_the_articles_lists_hold_the_counts_that_their_text_has():
    ninth, tenth = reproduction.ARTICLE_IX, reproduction.ARTICLE_X
    assert (len({*ninth}), len({*tenth}), reproduction.ARTICLE_MAPS - len(ninth)) == (61, 33, 67)
    assert {*ninth} & {*tenth} == {122}


def test_the_chapter_prepares_itself(finished, monkeypatch):
    monkeypatch.setattr(reproduction, "ARTICLE_FIVE", (46, 81, 116, 125, 127))
    prepare(finished, "reproduction")
    fives = reproduction.five_each(finished)
    assert fives == []  # the tiny network has no map of these numbers
    counts = reproduction.counts(finished)
    assert len(counts.by_trials.networks) == 4
    assert reproduction.seconds_each(finished, finished.scans("fluctuation")) > 0
