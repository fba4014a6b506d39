"""Whether the selection is any good, asked of a study and its other trainings."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest

from oiplib import InputError, Study
from oiplib.analysis.selection import missed, missed_at_random
from oiplib.engine.ascent import ascend
from oiplib.engine.starts import start_images
from oiplib.study.selecting import ROUNDING, WAYS, Way, judged, scan_spec
from oiplib.values import AscentSpec


def n_runs(study):
    with closing(sqlite3.connect(study.store.name)) as connection:
        return connection.execute("SELECT count(*) FROM runs").fetchone()


def test_the_selection_is_judged_on_all_maps_and_trainings(finished):
    before = n_runs(finished)
    ways = judged(finished)
    assert n_runs(finished) == before  # all of it is stored
    assert [way.way for way in ways] == list(WAYS)
    for way in ways:
        assert 6 <= way.n_maps <= finished.layer.n_maps
        assert way.n_starts == 6
        assert way.n_repeated == way.n_maps  # of so few maps all are drawn
        for answer in (way.correlation, way.leader, way.random, way.gained, way.avoided):
            assert len(answer.networks) == 4
            assert answer.here.value == pytest.approx(answer.networks[0])
            assert answer.here.low <= answer.here.value <= answer.here.high
        assert way.gained.here.value == pytest.approx(way.random.here.value - way.leader.here.value)
        assert way.again_correlation.value > way.correlation.here.value
        assert way.again.value <= way.random.here.value
        assert 0 <= way.rounding.value < 0.2


def test_what_is_missed_is_that_of_the_stored_scans(finished):
    """By hand, from the rungs: the leader after the first steps, and how it ended."""
    (way, *_) = judged(finished)
    spec = scan_spec(finished, way.way)
    scans = finished.store.scans(finished.layer.id, spec.sha256)
    leaders, randoms = [], []
    for scan in scans:
        _, first, end = scan.rungs
        ended = dict(zip(end.starts.tolist(), end.losses.tolist(), strict=True))
        final = np.array([ended[start] for start in first.starts.tolist()])
        if len(final) >= 4 and final.max() > 0:
            leaders.append(missed(first.losses, final))
            randoms.append(missed_at_random(final))
    assert way.leader.here.value == pytest.approx(np.mean(leaders))
    assert way.random.here.value == pytest.approx(np.mean(randoms))


def test_the_articles_ending_is_one_ascent_of_constant_steps(finished):
    """An ascent of constant steps passes step ten by itself."""
    spec = scan_spec(finished, WAYS[0])
    (scan,) = finished.store.scans(finished.layer.id, spec.sha256, map=3)
    epochs = 2 * finished.spec.trials.ascent.n_epochs
    whole = AscentSpec(epochs, n_steps=0)
    assert [rung.steps for rung in scan.rungs] == [0, 9, epochs - 1]
    starts = [spec.start(index) for index in scan.rungs[-1].starts.tolist()]
    images = start_images(starts, finished.engine.image_shape, finished.inputs)
    ascents = ascend(finished.engine, images, np.full(len(images), 3), whole)
    np.testing.assert_allclose(ascents.losses, scan.rungs[-1].losses, rtol=1e-6)


def test_a_repetition_has_the_same_starts(finished):
    spec = scan_spec(finished, WAYS[0])
    repeated = spec.replace(noise=ROUNDING)
    for map in (0, 3):
        (scan,) = finished.store.scans(finished.layer.id, spec.sha256, map=map)
        (again,) = finished.store.scans(finished.layer.id, repeated.sha256, map=map)
        assert set(scan.rungs[-1].starts) == set(again.rungs[-1].starts)
        assert scan.rungs[-1].losses.tobytes() != again.rungs[-1].losses.tobytes()


def test_some_maps_are_judged_by_themselves(finished):
    ways = judged(finished, [0, 3, 7])
    assert all(way.n_maps <= 3 for way in ways)


def test_a_race_of_one_rung_has_nothing_to_select(copy):
    study = Study(copy)
    study = study.replace(scan=study.spec.scan.replace(rungs=study.spec.scan.rungs[:1]))
    assert len(scan_spec(study, Way("race", "race")).rungs) == 1
    # The article's way knows nothing of it.
    assert {way.way.ending for way in judged(study, [0, 1])} <= {"article"}
    with pytest.raises(InputError, match="map"):
        judged(study, [99])
