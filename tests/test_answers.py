"""Joined-up answers of a finished study: planted truths are told, and nothing is computed."""

import numpy as np
import pytest

from oiplib import FluctuationStart, OipError, Study, fluctuation_images
from oiplib.analysis.matching import QUANTILE
from oiplib.analysis.responses import responding
from oiplib.engine import network
from oiplib.engine.images import standardized
from oiplib.store import Correspondence, Network, Oip, OipFilter
from oiplib.study.answers import (
    compared_layers,
    compared_trainings,
    foreign_losses,
    oips_and_classes,
    responses_to_scales,
    shown_before,
    spread,
)
from oiplib.study.networks import add_model
from oiplib.study.questions import reaction
from oiplib.study.trainings import N_UNTRAINED


@pytest.fixture
def spoilt(finished, copied, tmp_path):
    """The finished study, on a copy in which a test may plant something."""
    return Study(copied(finished.store.name, tmp_path / "spoilt.db"))


@pytest.fixture
def of_model(finished, tmp_path):
    """A study of a network that came as a model."""
    network.save(finished.model, tmp_path / "m.keras")
    store = Study(tmp_path / "m.db").store
    return Study(store, network=add_model(store, tmp_path / "m.keras", "standardized"))


# Layers


def test_as_many_maps_are_matched_as_pairs_are_above_the_threshold(finished):
    layers = compared_layers(finished)
    assert [(layer.name, layer.n_maps) for layer in layers] == [
        ("Conv2D_1", 6),
        ("Conv2D_2", 8),
        ("Conv2D_3", 12),
    ]
    for layer in layers:
        scores, limit = layer.scores["activations"], layer.limits["activations"]["matched"]
        assert len(scores.trained) == len(scores.shuffled) == 6 * layer.n_maps
        n_pairs = N_UNTRAINED * (N_UNTRAINED - 1) // 2
        assert len(scores.untrained) == n_pairs * layer.n_maps
        assert layer.matched.mean == pytest.approx(scores.share_above(limit))
        assert layer.matched.least <= layer.matched.mean <= layer.matched.most
        assert layer.chance * layer.n_maps == 1


def test_the_thresholds_are_those_of_the_nulls_that_are_shown(finished):
    for layer in compared_layers(finished):
        for way, scores in layer.scores.items():
            limits = layer.limits[way]
            assert limits["untrained"] == pytest.approx(np.quantile(scores.untrained, QUANTILE))
            assert (scores.shuffled > limits["shuffled"]).mean() <= 1 - QUANTILE + 1 / layer.n_maps
            assert limits["shuffled"] <= scores.shuffled.max()


# Trainings


def plant(study, scores):
    """Store other scores by activations for the first two trainings of the study's layer."""
    first = compared_trainings(study)[0].networks
    with study.store.session(writes=True) as session:
        for row in session.query(Correspondence):
            ids = row.layer.network_id, row.other.network_id
            if (ids, row.way, row.layer.name) == (first, "activations", study.spec.layer):
                row.scores = scores.astype(np.float16)
    return compared_trainings(study)[0]


def test_a_planted_permutation_is_told_with_its_oips(spoilt):
    truth = np.array([0, 2, 1, 3, 5, 4, 6, 7, 9, 8, 10, 11])
    closeness = np.random.default_rng(0).permutation(np.linspace(0.99, 1, 12))
    pair = plant(spoilt, np.where(np.arange(12) == truth[:, None], closeness[:, None], 0))
    np.testing.assert_array_equal(pair.partners, truth)
    assert (pair.kept_order.n_kept, pair.kept_order.n_matched, pair.n_unmatched) == (6, 12, 0)
    first, second = pair.oips
    maps, partners = pair.pairs.T
    assert set(maps) == {map for map in first if truth[map] in second}
    np.testing.assert_array_equal(partners, truth[maps])
    assert (np.diff(closeness[maps]) < 0).all()
    for images, of_network, shown in zip(pair.images, pair.oips, pair.pairs.T, strict=True):
        for image, map in zip(images, shown, strict=True):
            np.testing.assert_array_equal(image, of_network[map].image)


def test_where_nothing_correlates_every_map_is_without_partner(spoilt):
    pair = plant(spoilt, np.zeros((12, 12)))
    assert pair.n_unmatched == 12
    assert pair.pairs.shape == (0, 2)
    assert [len(images) for images in pair.images] == [0, 0]
    left = [[oip.map for oip in oips] for oips in pair.without_partner]
    assert left == [list(oips) for oips in pair.oips]


def test_a_map_is_in_a_pair_or_without_partner(finished):
    comparisons = compared_trainings(finished)
    assert [pair.relation for pair in comparisons].count("both") == 2
    for pair in comparisons:
        for oips, paired, rest in zip(pair.oips, pair.pairs.T, pair.without_partner, strict=True):
            assert sorted([*paired, *(oip.map for oip in rest)]) == sorted(oips)


def test_the_oips_are_the_best_of_each_network(finished):
    for pair in compared_trainings(finished):
        for id, oips in zip(pair.networks, pair.oips, strict=True):
            rows = finished.store.oip_rows(
                OipFilter(layer=finished.spec.layer, network=id, prior="none")
            )
            largest = {row["map"]: row["loss"] for row in sorted(rows, key=lambda r: r["loss"])}
            assert {map: oip.loss for map, oip in oips.items()} == largest


def test_asking_never_trains(tiny_study):
    before = tiny_study.store.network_ids()
    for ask in (compared_layers, compared_trainings):
        with pytest.raises(OipError, match="oip compare"):
            ask(tiny_study)
    assert tiny_study.store.network_ids() == before


def test_of_a_model_there_is_nothing_to_tell(of_model):
    assert compared_layers(of_model) == []
    assert compared_trainings(of_model) == []
    assert oips_and_classes(of_model, range(12)) is None


# Classes


def test_oips_that_are_digits_resemble_them_and_excite_no_more(spoilt):
    seen = reaction(spoilt, "data")
    with spoilt.store.session(writes=True) as session:
        for oip in session.query(Oip):
            if oip.layer_id == spoilt.layer.id:
                oip.image = standardized(seen.pictures(oip.map))[0]
                oip.loss = float(seen.top_responses[oip.map, 0]) or oip.loss
    answer = oips_and_classes(spoilt, range(12))
    np.testing.assert_allclose(answer.pixels.values, 1, atol=1e-3)
    np.testing.assert_allclose(answer.features.values, 1, atol=1e-3)
    np.testing.assert_allclose(answer.loss_ratios, 1, rtol=1e-6)
    for number in range(len(answer.oips)):
        assert answer.alike[number, number, 0] == pytest.approx(1, abs=1e-3)


def test_classes_are_those_of_the_strongest_images(finished):
    answer = oips_and_classes(finished, range(12))
    seen, labels = reaction(finished, "data"), finished.dataset().train_labels
    maps = [oip.map for oip in answer.oips]
    n_of_one_class = sum(len(set(labels[seen.top_images[map]])) == 1 for map in maps)
    assert (answer.purity == 1).sum() == n_of_one_class
    assert answer.n_images == seen.top_images.shape[1]
    assert answer.purity_by_chance.mean() < answer.purity.mean()
    ordered = answer.pixels.values[answer.most_alike_first]
    assert (np.diff(ordered) <= 0).all()


def test_maps_are_compared_with_maps(finished):
    maps = [oip.map for oip in oips_and_classes(finished, range(12)).oips]
    some = oips_and_classes(finished, maps[:3])
    assert [oip.map for oip in some.oips] == maps[:3]
    assert len(some.pixels.null) == 3 * 2
    assert oips_and_classes(finished, maps[:1]) is None


def test_without_the_data_set_the_classes_are_not_counted(spoilt):
    whole = oips_and_classes(spoilt, range(12))
    with spoilt.store.session(writes=True) as session:
        for row in session.query(Network):
            row.dataset = {**row.dataset, "source": "moved-away.npz"}
    answer = oips_and_classes(Study(spoilt.store), range(12))
    assert len(answer.purity) == len(answer.purity_by_chance) == 0
    np.testing.assert_array_equal(answer.pixels.values, whole.pixels.values)
    np.testing.assert_array_equal(answer.selectivity, whole.selectivity)


# Random images


def test_each_map_is_shown_images_of_its_own(tiny_study):
    kind = tiny_study.spec.trials.fluctuation
    counts = responses_to_scales(tiny_study, {"mixture": kind}, n_trials=3)["mixture"]
    starts = [FluctuationStart(kind, map, trial) for map in range(12) for trial in range(3)]
    losses = tiny_study.engine(fluctuation_images(starts, tiny_study.image_shape))
    own = np.array([losses[i, start.map] for i, start in enumerate(starts)]).reshape(12, 3)
    assert counts == responding(own)


def test_some_numbers_are_spread_over_all():
    assert spread(5, 5) == [0, 1, 2, 3, 4]
    assert spread(0, 5) == []
    some = spread(1000, 128)
    assert (some[0], some[-1], len(some)) == (0, 999, 128)
    assert {7, 8} == set(np.diff(some))


def test_of_the_layers_before_the_first_and_the_last_are_shown(finished):
    third = [study.layer.name for study in shown_before(finished)]
    assert third == ["Conv2D_1", "Conv2D_2"]
    assert [s.layer.name for s in shown_before(finished.replace(layer="Conv2D_2"))] == ["Conv2D_1"]
    assert shown_before(finished.replace(layer="Conv2D_1")) == []


# Uniqueness


def test_foreign_losses_are_responses_to_the_other_maps_best_oip(tiny_study):
    first, second = tiny_study.oips(best=True)[:2]
    to_first, to_second = tiny_study.engine(np.array([first.image, second.image]))
    np.testing.assert_allclose(
        foreign_losses(tiny_study, [first.map, second.map]),
        [to_first[second.map] / second.loss, to_second[first.map] / first.loss],
        rtol=1e-3,
    )
    assert len(foreign_losses(tiny_study, [first.map])) == 0
