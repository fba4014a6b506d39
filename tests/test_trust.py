"""How far an OIP can be trusted: moved starts, moved images, other trainings, the path."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest
from conftest import runs

from oiplib import Store, Study
from oiplib.engine.ascent import climb
from oiplib.engine.starts import start_images
from oiplib.study.check import problems
from oiplib.study.conditions import conditions
from oiplib.study.trust import elsewhere, paths_by_layer, trust
from oiplib.study.unique import PRIORS
from oiplib.values import ConditionSpec, seed_of, stages_of


@pytest.fixture
def finished_copy(finished, tmp_path, copied):
    """A copy of the finished study's database that a test may spoil."""
    return copied(finished.store.name, tmp_path / "copy.db")


def test_conditions_are_those_of_ascents_from_moved_starts(finished):
    spec, study = ConditionSpec(), finished
    of_losses, of_images = [], []
    for tested in conditions(study)["strongest"].values():
        start = tested.oip.start
        image = start_images([start], study.image_shape, study.inputs)[0]
        shape = (len(spec.moves), spec.n_draws, *image.shape)
        noise = np.random.default_rng([spec.seed, seed_of(start)])
        noise = noise.standard_normal(shape, np.float32)
        sizes = np.array(spec.moves).reshape(-1, 1, 1, 1, 1)
        starts = (image + sizes * noise).reshape(-1, *image.shape)
        starts -= starts.mean(axis=(1, 2, 3), keepdims=True)
        starts /= starts.std(axis=(1, 2, 3), keepdims=True)
        maps = np.full(len(starts), tested.oip.of_map)
        ends = climb(study.engine, starts.astype(np.float32), maps, stages_of(tested.oip.spec))
        losses = ends.losses.reshape(len(spec.moves), spec.n_draws)
        of_losses.append(losses / tested.condition.losses - 1)
        alike = [
            [np.corrcoef(end.ravel(), tested.oip.image.ravel())[0, 1] for end in of_move]
            for of_move in ends.images.reshape(*losses.shape, *image.shape)
        ]
        of_images.append(alike - tested.condition.alike)
    # Standardized by other code, so the last bits may carry single ascents elsewhere, and all
    # eight of a map whose start lies where two ways part.
    assert len(of_losses) > 4
    assert np.median(np.abs(of_losses)) < 1e-3
    assert np.median(np.abs(of_images)) < 1e-3


def test_what_is_stored_is_not_computed_again_nor_does_it_depend_on_company(
    finished, finished_copy
):
    before = runs(finished)
    of_all = {map: tested.condition for map, tested in conditions(finished)["strongest"].items()}
    assert runs(finished) == before
    with closing(sqlite3.connect(finished_copy)) as connection, connection:
        connection.execute("DELETE FROM conditions")
    alone = Study(finished_copy, network=finished.network.id)
    map = max(of_all)
    condition = conditions(alone, [map], ["strongest"])["strongest"][map].condition
    for name in ("losses", "alike", "path"):
        np.testing.assert_array_equal(getattr(condition, name), getattr(of_all[map], name))
    assert (condition.moved, condition.noisy) == (of_all[map].moved, of_all[map].noisy)


def test_trust_names_each_prior_and_the_trainings(finished):
    found = {of.name: of for of in trust(finished)}
    assert list(found) == list(PRIORS)
    smallest, larger = ConditionSpec().moves
    strongest = found["strongest"]
    assert len(strongest.same[smallest].networks) == 4
    assert strongest.same[smallest].here.value >= strongest.same[larger].here.value
    # A pattern that was led to bear being moved keeps more of its response.
    assert found["steady"].moved.value > strongest.moved.value


def test_oips_are_shown_to_the_matched_maps_of_other_trainings(finished):
    oips = finished.oips(best=True)
    found = elsewhere(finished, oips)
    if found is not None:  # the tiny networks share few maps
        assert found.matched.here.n > 1
        assert len(found.matched.networks) <= 3
    paths = paths_by_layer(finished, oips)
    assert list(paths) == ["Conv2D_1", "Conv2D_2"]


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("UPDATE conditions SET alike = path", "conditions row 1: alike: "),
        ("UPDATE baselines SET own_scores = pair_scores", "baselines row"),
        ("UPDATE conditions SET moved = 9e999", "conditions row 1: it holds a number that is none"),
        ("UPDATE conditions SET spec_sha256 = 'ab'", "conditions row 1: "),
        ("UPDATE baselines SET n_images = -1", "it compared -1 images"),
        ("UPDATE baselines SET pair_scores = own_scores", "baselines row"),
        ("UPDATE baselines SET svcca = own_scores", "baselines row"),
    ],
)
def test_what_cannot_be_is_told(finished_copy, sql, told):
    with closing(sqlite3.connect(finished_copy)) as connection, connection:
        connection.execute(sql)
    assert any(told in line for line in problems(Store(finished_copy)))


def test_a_finished_study_is_sound(finished):
    assert list(problems(finished.store)) == []
