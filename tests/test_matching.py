"""Correspondences where the truth is known: permuted copies, and networks that learnt nothing."""

import numpy as np
import pytest

from oiplib import CnnSpec, InputError, LayerMaps
from oiplib.analysis.matching import assigned, correlations, matched, mutual, threshold
from oiplib.analysis.restarts import restart
from oiplib.engine import network
from oiplib.engine.images import standardized

LAYERS = ("Conv2D_1", "Conv2D_2", "Conv2D_3")


@pytest.fixture(scope="module")
def images(mnist):
    return standardized(mnist.test_images[:300])


@pytest.fixture(scope="module")
def permuted(tiny_study):
    """The network with the maps of each layer in another order, and these orders."""
    model = network.unpack(tiny_study.network.architecture, tiny_study.network.weights)
    rng = np.random.default_rng(0)
    orders, before = {}, np.arange(1)
    for name in LAYERS:
        layer = model.get_layer(name)
        kernel, bias = layer.get_weights()
        order = rng.permutation(kernel.shape[-1])
        layer.set_weights([kernel[:, :, before][..., order], bias[order]])
        orders[name] = before = order
    dense = model.get_layer("Dense_1")
    kernel, bias = dense.get_weights()
    by_map = kernel.reshape(-1, len(before), kernel.shape[-1])[:, before]
    dense.set_weights([by_map.reshape(kernel.shape), bias])
    return model, orders


def test_a_permuted_copy_answers_like_the_network(tiny_study, permuted, images):
    np.testing.assert_allclose(
        permuted[0](images[:20]), tiny_study.model(images[:20]), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("name", LAYERS)
def test_permuted_copies_are_matched_perfectly(tiny_study, permuted, images, name):
    model, orders = permuted
    pair = LayerMaps(tiny_study.model, name), LayerMaps(model, name)
    n = pair[0].n_maps
    truth = np.argsort(orders[name])  # where each map has gone
    correlated = correlations(pair, images)
    scores, shuffled = correlated.whole[:n, n:], correlated.shuffled[:n, n:]
    alive = np.diagonal(correlated.whole)[:n] > 0
    partners = matched(scores, threshold([shuffled]))
    assert (partners[alive] == truth[alive]).all()
    np.testing.assert_allclose(scores[np.arange(n), truth][alive], 1, atol=1e-3)


def test_permuted_copies_are_matched_by_their_oips(tiny_study, permuted):
    model, orders = permuted
    truth = np.argsort(orders["Conv2D_3"])
    pair = tiny_study.engine, LayerMaps(model, "Conv2D_3")
    n = len(truth)
    spec = tiny_study.spec.variety
    best = [
        np.array(
            [of_map.images[of_map.losses.argmax()] for of_map in restart(layer, spec, range(n))]
        )
        for layer in pair
    ]
    answers = [
        layer(shown) / np.diagonal(layer(answering))
        for layer, shown, answering in ((pair[1], best[0], best[1]), (pair[0], best[1], best[0]))
    ]
    scores, shuffled = mutual(*answers)
    assert (assigned(scores)[0] == truth).mean() > 0.9
    assert np.median(assigned(scores)[1]) > np.median(assigned(shuffled)[1])


@pytest.mark.parametrize("name", LAYERS)
def test_networks_that_learnt_nothing_match_no_better_than_the_null(images, name):
    def random(seed):
        return LayerMaps(network.build(CnnSpec(weights_seed=seed), (28, 28, 1), 10), name)

    layers = [random(seed) for seed in range(10, 16)]
    n = layers[0].n_maps
    correlated = correlations(layers, images)

    def scores(a, b, of=correlated.whole):
        return of[a * n : (a + 1) * n, b * n : (b + 1) * n]

    limit = threshold([scores(0, 1), scores(0, 1, correlated.shuffled)])
    shares = [(matched(scores(a, b), limit) >= 0).mean() for a, b in ((2, 3), (4, 5), (2, 5))]
    assert np.mean(shares) < 0.15
    # Shuffled images alone would be fooled: random filters see the same digits.
    weak = threshold([scores(0, 1, correlated.shuffled)])
    assert np.mean(matched(scores(2, 3), weak) >= 0) > 0.3


def test_correlations_are_those_of_numpy(tiny_study, images):
    layer = tiny_study.engine
    correlated = correlations([layer, layer], images[:60], batch_size=30)
    whole, shuffled = correlated.whole, correlated.shuffled
    flat = layer.activations(images[:60]).reshape(-1, layer.n_maps)
    alive = flat.std(axis=0) > 0
    n = layer.n_maps
    expected = np.corrcoef(flat[:, alive].T)
    np.testing.assert_allclose(whole[:n, n:][np.ix_(alive, alive)], expected, atol=1e-4)
    assert (whole[:n][~alive] == 0).all()
    np.testing.assert_allclose(
        correlated.covariances[:n, n:], np.cov(flat.T, bias=True), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(correlated.active[:n], (flat > 0).mean(axis=0))
    # The same map, but for other images: no longer equal.
    assert (np.abs(np.diagonal(shuffled)[:n][alive]) < 0.9).all()


def test_maps_of_other_sizes_are_refused(tiny_study, images):
    layers = [LayerMaps(tiny_study.model, name) for name in LAYERS[:2]]
    with pytest.raises(InputError, match="the same size"):
        correlations(layers, images[:10])


def test_who_has_no_partner_is_not_forced():
    scores = np.array([[0.9, 0.1], [0.2, 0.3], [0.1, 0.8]])
    partners, values = assigned(scores)
    assert partners.tolist() == [0, -1, 1]
    assert np.isnan(values[1])
    assert matched(scores, 0.85).tolist() == [0, -1, -1]


def test_both_directions_count():
    """Map 0 excites map 1 of the other network, which doesn't answer."""
    ahead = np.array([[0.5, 1.0], [0.1, 0.2]])
    back = np.array([[0.9, 0.0], [0.0, 0.9]])
    scores, shuffled = mutual(ahead, back)
    np.testing.assert_allclose(scores, [[0.7, 0.5], [0.05, 0.55]])
    assert shuffled.shape == (2, 2)
    assert assigned(scores)[0].tolist() == [0, 1]
