"""Four trainings of a tiny network, compared in all layers, and what is stored of it."""

import numpy as np
import pytest
from conftest import runs

from oiplib import InputError, Store, Study
from oiplib.analysis.matching import assigned
from oiplib.analysis.shared import RARE
from oiplib.engine import network
from oiplib.study.check import problems
from oiplib.study.comparing import WAYS, relation
from oiplib.study.filters import NULLS, shared_filters
from oiplib.study.networks import add_model
from oiplib.study.trainings import correspondences, limits, partners, summary, trainings


@pytest.fixture(scope="module")
def study(finished):
    return finished


def test_four_trainings_differ_in_pairs(study):
    four = trainings(study)
    seeds = {(training.spec.cnn.weights_seed, training.spec.cnn.order_seed) for training in four}
    assert seeds == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert len({training.network.weights_sha256 for training in four}) == 4
    relations = [relation(a, b) for i, a in enumerate(four) for b in four[i + 1 :]]
    assert sorted(relations) == ["both"] * 2 + ["order"] * 2 + ["weights"] * 2
    # Whichever of them asks, the four are the same.
    assert {training.network.id for training in trainings(four[2])} == {
        training.network.id for training in four
    }


def test_every_layer_and_pair_is_compared_both_ways(study):
    layers = correspondences(study)
    assert list(layers) == ["Conv2D_1", "Conv2D_2", "Conv2D_3"]
    for compared in layers.values():
        assert len(compared.pairs) == 2 * 6
        assert [row.way for row in compared.baselines] == [*WAYS] * 4
        assert {row.way for row in compared.pairs} == set(WAYS)
        for row in compared.pairs:
            assert row.median == pytest.approx(np.nanmedian(assigned(row.scores)[1]), abs=1e-3)
            assert (row.svcca is None) == (row.way == "oips")
        # All trainings are held against the same untrained networks.
        for way in WAYS:
            first, *others = compared.of(way).baselines
            n = len(first.own_scores)
            assert len(first.pair_scores) == n * (n - 1) // 2
            for other in others:
                np.testing.assert_array_equal(first.pair_scores, other.pair_scores)
                assert (first.own_scores != other.own_scores).any()
    assert list(problems(study.store)) == []


def test_nothing_is_computed_twice_until_there_are_better_oips(study, tmp_path, copied):
    again = Study(copied(study.store.name, tmp_path / "again.db"))
    before = runs(again)
    before_that = correspondences(again)["Conv2D_3"]
    rows = [*before_that.pairs, *before_that.baselines]
    assert runs(again) == before
    best = again.oips(best=True)[0]
    with again.store.session(writes=True) as session:
        session.connection().exec_driver_sql(f"DELETE FROM conditions WHERE oip_id = {best.id}")
        session.connection().exec_driver_sql(f"DELETE FROM oips WHERE id = {best.id}")
    compared = correspondences(again)["Conv2D_3"]
    fresh = [*compared.pairs, *compared.baselines]
    assert {row.run_id for row in fresh}.isdisjoint({row.run_id for row in rows})
    assert len(fresh) == len(rows)


def test_the_summary_tells_who_is_matched(study):
    rows = correspondences(study)["Conv2D_3"]
    table = summary(rows)
    assert [line["other"] for line in table].count("order") == 2
    limit = limits(rows)["activations"]
    assert limit["matched"] == max(limit["shuffled"], limit["untrained"])
    for line, row in zip(table, rows.of("activations").pairs, strict=True):
        _, values = assigned(row.scores)
        assert line["activations: matched"] == np.mean(values > limit["matched"])
    table = partners(study, rows, [0, 5])
    assert [line["map"] for line in table] == [0, 5]
    assert all(len(line) == 4 for line in table)


def test_a_model_has_no_other_training(study, tmp_path):
    network.save(study.model, tmp_path / "m.keras")
    store = Store(tmp_path / "m.db", create=True)
    of_model = Study(store, network=add_model(store, tmp_path / "m.keras", "standardized"))
    with pytest.raises(InputError, match="came as a model"):
        correspondences(of_model)


def test_the_command_tells_it(study, oip):
    output = oip("compare", "--db", study.store.name, "--maps", "0-1", check=0).stdout
    assert output.count("Conv2D_1") == 6 + 3  # pairs of trainings, and nulls
    assert "untrained" not in output
    assert oip("compare", "--db", "none.db").returncode == 1


def test_shares_are_told_by_each_null_and_by_what_differs(study):
    compared = correspondences(study)
    layers = shared_filters(study)
    assert [layer.name for layer in layers] == list(compared)
    for layer in layers:
        of_layer = compared[layer.name].of("activations")
        assert layer.n_untrained == 10
        for relation_of, answers in layer.shares.items():
            rows = [row for row in of_layer.pairs if row.relation == relation_of]
            assert list(answers) == list(NULLS)
            for answer in answers.values():
                assert len(answer.networks) == len(rows) == 2
                assert answer.here.low <= answer.here.value <= answer.here.high <= 1
        # The first null by hand: a quantile of all pairs of untrained networks, 5 % by chance.
        limit = np.quantile(of_layer.untrained, 0.95)
        first = next(row for row in of_layer.pairs if row.relation == "both")
        counts = of_layer.baselines[0].active >= RARE
        matched = assigned(first.scores.astype(float))[1][counts] > limit
        told = layer.shares["both"]["untrained"].networks[0]
        assert told == pytest.approx((matched.mean() - 0.05) / 0.95)
        assert layer.wholes["svcca"]["order"].median > layer.wholes["svcca"]["untrained"].median
