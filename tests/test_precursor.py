import numpy as np
import pytest

from oiplib import (
    AscentSpec,
    FluctuationSpec,
    GridSpec,
    InputError,
    ScanSpec,
    TrialSpec,
    ascend,
    distinct,
    fluctuation_images,
    pattern_images,
    scan,
    screen,
    try_fluctuations,
)
from oiplib.precursor import HISTOGRAM_EDGES

SPEC = ScanSpec(
    GridSpec((0.2, 0.8), 3, 3), n_select=4, n_keep=3, ascent=AscentSpec(n_epochs=20, n_steps=2)
)


@pytest.fixture(scope="module")
def all_patterns(layer):
    """Every distinct pattern, with the responses of all maps, at once."""
    indices = np.arange(SPEC.grid.n_patterns)
    indices = indices[distinct(SPEC.grid, indices)]
    images = pattern_images(SPEC.grid, indices, layer.image_shape)
    return indices, images, layer(images)


def test_screening_agrees_with_showing_all_patterns_at_once(layer, all_patterns):
    indices, _, responses = all_patterns
    found = screen(layer, SPEC.grid, n_top=5)
    assert found.n_patterns == len(indices) == 510
    np.testing.assert_array_equal(found.n_reacting, (responses > 0).sum(axis=0))
    for map in range(layer.n_maps):
        order = np.argsort(-responses[:, map], kind="stable")[:5]
        order = order[responses[order, map] > 0]
        np.testing.assert_array_equal(found.top_indices[map, : len(order)], indices[order])
        np.testing.assert_array_equal(found.top_responses[map, : len(order)], responses[order, map])
        positive = responses[:, map][responses[:, map] > 0]
        inside = np.clip(positive, HISTOGRAM_EDGES[0], HISTOGRAM_EDGES[-1])
        np.testing.assert_array_equal(
            found.histogram[map], np.histogram(inside.astype(np.float64), HISTOGRAM_EDGES)[0]
        )


def test_pruning_changes_nothing(layer, all_patterns):
    """The article's procedure without pruning, on whole arrays, finds the same."""
    indices, images, _ = all_patterns
    select = AscentSpec(n_epochs=SPEC.n_select, n_steps=0)
    for found in scan(layer, SPEC, [1, 5]):
        every = ascend(layer, images, np.full(len(images), found.map), select).losses
        order = np.argsort(-every, kind="stable")[: SPEC.n_keep]
        assert [start.index for start in found.starts] == indices[order].tolist()
        reacting = every > 0
        np.testing.assert_array_equal(found.rungs[0].starts, indices[reacting])
        np.testing.assert_array_equal(found.rungs[0].losses, every[reacting])
        final = ascend(layer, images[order], np.full(len(order), found.map), SPEC.ascent)
        assert final.images.tobytes() == found.ascents.images.tobytes()


def test_a_scan_does_not_depend_on_the_maps_beside_it(layer):
    together = {found.map: found for found in scan(layer, SPEC, [7, 2, 4])}
    assert list(together) == [7, 2, 4]
    (alone,) = scan(layer, SPEC, [2])
    assert alone.starts == together[2].starts
    assert alone.ascents.images.tobytes() == together[2].ascents.images.tobytes()


def test_trials_ascend_exactly_the_starts_that_get_a_response(layer):
    spec = TrialSpec(FluctuationSpec(), n_trials=5, ascent=AscentSpec(n_epochs=10))
    for found in try_fluctuations(layer, spec, range(layer.n_maps)):
        (rung,) = found.rungs
        assert rung.starts.tolist() == [0, 1, 2, 3, 4]
        reacting = [int(t) for t in rung.starts[rung.losses > 0]]
        assert [start.trial for start in found.starts] == reacting
        assert {start.map for start in found.starts} <= {found.map}
        if reacting:
            images = fluctuation_images(found.starts, layer.image_shape)
            assert found.ascents.frames[:, 0].tobytes() == images.tobytes()


def test_an_unknown_map_is_refused(layer):
    with pytest.raises(InputError, match="choose 0 to 11"):
        list(scan(layer, SPEC, [12]))
