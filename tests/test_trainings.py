"""Four trainings of a tiny network, compared in all layers, and what is stored of it."""

import numpy as np
import pytest

from oiplib import InputError, Study, network
from oiplib.check import problems
from oiplib.matching import assigned
from oiplib.trainings import WAYS, correspondences, limits, partners, relation, summary, trainings


@pytest.fixture(scope="module")
def study(shown):
    correspondences(shown)
    return shown


def runs(study):
    with study.store.session() as session:
        return session.connection().exec_driver_sql("SELECT COUNT(*) FROM runs").scalar()


def test_four_trainings_differ_in_pairs(study):
    four = trainings(study)
    seeds = {(each.spec.cnn.weights_seed, each.spec.cnn.order_seed) for each in four}
    assert seeds == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert len({each.network.weights_sha256 for each in four}) == 4
    told = [relation(a, b) for i, a in enumerate(four) for b in four[i + 1 :]]
    assert sorted(told) == ["both"] * 2 + ["order"] * 2 + ["weights"] * 2
    # Whichever of them asks, the four are the same.
    assert {each.network.id for each in trainings(four[2])} == {each.network.id for each in four}


def test_every_layer_and_pair_is_compared_both_ways(study):
    layers = correspondences(study)
    assert list(layers) == ["Conv2D_1", "Conv2D_2", "Conv2D_3"]
    for rows in layers.values():
        assert len(rows) == 2 * (6 + 1)
        assert {row.way for row in rows} == set(WAYS)
        for row in rows:
            assert row.median == pytest.approx(np.nanmedian(assigned(row.scores)[1]), abs=1e-3)
            assert (row.layer_id == row.other_id) == (row.relation == "untrained")
    assert list(problems(study.store)) == []


def test_nothing_is_computed_twice_until_there_are_better_oips(study, tmp_path, copied):
    again = Study(copied(study.store.name, tmp_path / "again.db"))
    before = runs(again)
    rows = correspondences(again)["Conv2D_3"]
    assert runs(again) == before
    best = again.oips(best=True)[0]
    with again.store.session(writes=True) as session:
        session.connection().exec_driver_sql(f"DELETE FROM oips WHERE id = {best.id}")
    fresh = correspondences(again)["Conv2D_3"]
    assert {row.run_id for row in fresh}.isdisjoint({row.run_id for row in rows})
    same = [(row.layer_id, row.other_id, row.way) for row in rows]
    assert [(row.layer_id, row.other_id, row.way) for row in fresh] == same


def test_the_summary_tells_who_is_matched(study):
    rows = correspondences(study)["Conv2D_3"]
    table = summary(rows)
    assert [line["other"] for line in table].count("order") == 2
    limit = limits(rows)["activations"]
    assert limit["matched"] == max(limit["shuffled"], limit["untrained"])
    trained = [r for r in rows if r.way == "activations" and r.relation != "untrained"]
    for line, row in zip(table, trained, strict=True):
        _, values = assigned(row.scores)
        assert line["activations: matched"] == np.mean(values > limit["matched"])
    told = partners(study, rows, [0, 5])
    assert [line["map"] for line in told] == [0, 5]
    assert all(len(line) == 4 for line in told)


def test_a_model_has_no_other_training(study, tmp_path):
    network.save(study.model, tmp_path / "m.keras")
    other = Study(tmp_path / "m.db")
    of_model = Study(tmp_path / "m.db", network=other.add_model(tmp_path / "m.keras"))
    with pytest.raises(InputError, match="came as a model"):
        correspondences(of_model)


def test_the_command_tells_it(study, oip):
    told = oip("compare", "--db", study.store.name, "--maps", "0-1", check=0).stdout
    assert told.count("Conv2D_1") == 6
    assert "untrained" not in told
    assert oip("compare", "--db", "none.db").returncode == 1
