from itertools import pairwise

import numpy as np
import pytest

from oiplib import (
    AscentSpec,
    FluctuationSpec,
    GridSpec,
    InputError,
    Inputs,
    LayerMaps,
    PatternStart,
    RungSpec,
    ScanSpec,
    ScreeningSpec,
    TrialSpec,
    ascend,
    distinct,
    fluctuation_images,
    merged,
    pattern_images,
    scan,
    screen,
    try_fluctuations,
)
from oiplib.engine.ascent import climb
from oiplib.engine.patterns import cells_of
from oiplib.engine.starts import start_images
from oiplib.engine.tf import keras
from oiplib.search.scan import units_of
from oiplib.search.screening import _strongest, histogram_edges, parts_of
from oiplib.values import stages_of

GRID = GridSpec((0.2, 0.8), 3, 3)
ARTICLE = ScanSpec(
    GRID,
    "article",
    (RungSpec(0, AscentSpec(4, n_steps=0)), RungSpec(3, AscentSpec(20, n_steps=2))),
    n_oips=2,
)
RACE = ScanSpec(
    GRID,
    "race",
    (
        RungSpec(16, AscentSpec(6, 0.3, n_steps=1, objective="pre-activation")),
        RungSpec(6, AscentSpec(8, 0.2, n_steps=0)),
        RungSpec(3, AscentSpec(15, 0.2, n_steps=2, schedule="cosine")),
    ),
    n_oips=2,
)


@pytest.fixture(scope="module")
def all_patterns(layer):
    """Every distinct pattern, with the responses of all maps, at once."""
    indices = np.arange(GRID.n_patterns)
    indices = indices[distinct(GRID, indices)]
    images = pattern_images(GRID, indices, layer.image_shape)
    return indices, images, layer(images)


def test_screening_agrees_with_showing_all_patterns_at_once(layer, all_patterns):
    indices, images, responses = all_patterns
    before = layer.respond(images)[1]
    spec = ScreeningSpec(GRID, n_top=5, decades=(-3, 2), n_bins=7)
    edges = histogram_edges(spec)
    np.testing.assert_allclose(edges, np.logspace(-3, 2, 36))
    screening = screen(layer, spec)
    assert screening.n_patterns == len(indices) == 510
    np.testing.assert_array_equal(screening.n_reacting, (responses > 0).sum(axis=0))
    for map in range(layer.n_maps):
        key = np.where(responses[:, map] > 0, responses[:, map], before[:, map])
        order = np.argsort(-key, kind="stable")[:5]
        np.testing.assert_array_equal(screening.top_indices[map], indices[order])
        np.testing.assert_array_equal(screening.top_responses[map], responses[order, map])
        np.testing.assert_array_equal(screening.top_preactivations[map], before[order, map])
        positive = responses[:, map][responses[:, map] > 0]
        inside = np.clip(positive.astype(np.float64), edges[0], edges[-1])
        np.testing.assert_array_equal(screening.histogram[map], np.histogram(inside, edges)[0])


def test_parts_of_a_grid_merge_to_the_whole(layer):
    spec = ScreeningSpec(GRID, n_top=7)
    whole = screen(layer, spec)
    cuts = [0, 3, 200, 201, 330, 512]
    parts = [screen(layer, spec, part) for part in pairwise(cuts)]
    again = merged([merged(parts[:2], 7), *parts[2:]], 7)
    for name in ("n_reacting", "top_indices", "top_responses", "top_preactivations", "histogram"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(again, name))
    assert whole.n_patterns == again.n_patterns


def test_parts_cover_a_large_grid():
    grid = GridSpec((0, 0.5, 1), 4, 4)
    parts = parts_of(grid)
    assert parts[0][0] == 0
    assert parts[-1][1] == grid.n_patterns == 3**16
    assert all(a[1] == b[0] for a, b in pairwise(parts))
    assert len(parts) <= 64


def test_of_equal_keys_the_earlier_stands_first():
    keys = np.array([[1, 5, -2, 5, 0, -0.5, 5, -2], [0] * 8], np.float32)
    assert _strongest(keys, 5).tolist() == [[1, 3, 6, 0, 4], [0, 1, 2, 3, 4]]
    assert _strongest(keys, 9)[0].tolist() == [1, 3, 6, 0, 4, 5, 2, 7]


def test_pruning_changes_nothing(layer, all_patterns):
    """The article's procedure without pruning, on whole arrays, finds the same."""
    indices, images, _ = all_patterns
    for of_map in scan(layer, ARTICLE, [1, 5]):
        owners = np.full(len(images), of_map.map)
        every = ascend(layer, images, owners, ARTICLE.rungs[0].ascent).losses
        order = np.argsort(-every, kind="stable")[:3]
        assert of_map.rungs[1].starts.tolist() == indices[order].tolist()
        reacting = every > 0
        np.testing.assert_array_equal(of_map.rungs[0].starts, indices[reacting])
        np.testing.assert_array_equal(of_map.rungs[0].losses, every[reacting])
        final = ascend(layer, images[order], owners[:3], ARTICLE.climb)
        np.testing.assert_array_equal(of_map.rungs[1].losses, final.losses)
        best = np.argsort(-final.losses, kind="stable")[: ARTICLE.n_oips]
        assert [start.index for start in of_map.starts] == indices[order[best]].tolist()
        assert final.images[best].tobytes() == of_map.ascents.images.tobytes()


@pytest.mark.parametrize("alike", [0.9, 0.3])
def test_strong_starts_of_a_race_are_the_strongest_that_differ(layer, all_patterns, alike):
    spec = RACE.replace(alike=alike)
    indices, images, responses = all_patterns
    before = layer.respond(images)[1]
    cells = np.corrcoef(np.array(GRID.values)[cells_of(GRID, indices)])
    for of_map in scan(layer, spec, [0, 7]):
        answers, preactivations = responses[:, of_map.map], before[:, of_map.map]
        order = np.argsort(-np.where(answers > 0, answers, preactivations), kind="stable")
        strong: list[int] = []
        for i in order[: spec.n_top]:
            if len(strong) < 8 and all(cells[i, k] <= alike for k in strong):
                strong.append(i)
        starts = of_map.rungs[0].starts.tolist()
        assert starts[: len(strong)] == indices[strong].tolist()
        assert len(starts) == len(set(starts)) == 16
        assert np.isin(starts, indices).all()


@pytest.mark.parametrize("spec", [ARTICLE, RACE], ids=["article", "race"])
def test_a_scan_does_not_depend_on_the_maps_beside_it(layer, spec):
    together = {of_map.map: of_map for of_map in scan(layer, spec, [7, 2, 4])}
    assert list(together) == [7, 2, 4]
    (alone,) = scan(layer, spec, [2])
    assert alone.starts == together[2].starts
    assert alone.ascents.images.tobytes() == together[2].ascents.images.tobytes()


def test_the_best_of_each_rung_go_on(layer):
    for of_map in scan(layer, RACE, [0, 3, 9]):
        start, first, second, third = of_map.rungs
        assert [len(rung.starts) for rung in of_map.rungs] == [16, 16, 6, 3]
        assert [rung.steps for rung in of_map.rungs] == [0, 5, 12, 26]
        assert len(set(start.starts)) == 16
        for before, after in ((first, second), (second, third)):
            order = np.argsort(-before.losses, kind="stable")[: len(after.starts)]
            np.testing.assert_array_equal(after.starts, before.starts[order])
        order = np.argsort(-third.losses, kind="stable")[:2]
        assert [s.index for s in of_map.starts] == third.starts[order].tolist()
        np.testing.assert_array_equal(of_map.ascents.losses, third.losses[order])


def test_a_finalist_has_gone_through_the_climb_of_its_spec(layer):
    """Stage by stage through `ascend`, from the pattern alone: the same bytes."""
    (of_map,) = scan(layer, RACE, [3])
    indices = np.array([start.index for start in of_map.starts])
    image = pattern_images(GRID, indices, layer.image_shape)
    traces = []
    for stage in RACE.climb.stages:
        part = ascend(layer, image, np.full(len(indices), 3), stage)
        image = part.images
        traces.append(part.traces if not traces else part.traces[:, 1:])
    assert image.tobytes() == of_map.ascents.images.tobytes()
    np.testing.assert_array_equal(np.concatenate(traces, axis=1), of_map.ascents.traces)
    assert of_map.ascents.report_steps.tolist() == [0, 3, 5, 12, 15, 18, 26]
    assert of_map.ascents.frames[:, -1].tobytes() == image.tobytes()


def test_a_race_finds_what_the_plain_ascent_cannot(layer, all_patterns):
    """A map and starts without any response: revived, and never worse than before."""
    _, images, responses = all_patterns
    silent = np.argwhere(responses == 0)[::40]
    pairs, maps = images[silent[:, 0]], silent[:, 1]
    plain = ascend(layer, pairs, maps, AscentSpec(20, 0.3))
    assert (plain.losses == 0).all()
    revived = ascend(layer, pairs, maps, AscentSpec(20, 0.3, objective="pre-activation"))
    assert (revived.losses > 0).mean() > 0.9


def test_trials_ascend_exactly_the_starts_that_get_a_response(layer):
    spec = TrialSpec(FluctuationSpec(), n_trials=5, ascent=AscentSpec(n_epochs=10))
    for of_map in try_fluctuations(layer, spec, range(layer.n_maps)):
        (rung,) = of_map.rungs
        assert rung.starts.tolist() == [0, 1, 2, 3, 4]
        reacting = [int(t) for t in rung.starts[rung.losses > 0]]
        assert [start.trial for start in of_map.starts] == reacting
        assert {start.map for start in of_map.starts} <= {of_map.map}
        if reacting:
            images = fluctuation_images(of_map.starts, layer.image_shape)
            assert of_map.ascents.frames[:, 0].tobytes() == images.tobytes()


def test_an_unknown_map_is_refused(layer):
    with pytest.raises(InputError, match="choose 0 to 11"):
        scan(layer, RACE, [12])


def test_a_map_that_responds_in_one_place_only_is_led_there():
    """The mean of its pre-activation falls where the one position comes to respond."""
    image = keras.Input((4, 4, 1))
    positions = keras.layers.Dense(2, name="positions")(keras.layers.Flatten()(image))
    model = keras.Model(
        image, keras.layers.ReLU(name="map")(keras.layers.Reshape((2, 1, 1))(positions))
    )
    brighter = np.full((16, 1), 1 / 16)
    model.get_layer("positions").set_weights(
        [np.hstack([brighter, -3 * brighter]), np.array([-0.7, -9.0])]
    )
    of_map = LayerMaps(model, "map", Inputs.parse("0..1"))
    (by_mean,) = scan(of_map, RACE, [0])
    assert not by_mean.rungs[-1].losses.any()
    (by_peak,) = scan(of_map, RACE.gentler(1, "peak pre-activation"), [0])
    assert by_peak.ascents.losses.max() > 0.1  # 0.15 is what a white image gives
    assert by_peak.revived.all()


def test_layers_side_by_side_are_revived_each_by_its_own_activation():
    """No image of the screening gives the whole, Inception's, any response."""
    image = keras.Input((12, 12, 3))
    branches = [
        keras.layers.Conv2D(2, 3, activation="relu"),
        keras.layers.Conv2D(3, 1, padding="same", activation="elu"),
        keras.layers.Conv2D(2, 3, padding="same"),
    ]
    cut = keras.layers.Cropping2D(1)
    parts = [branches[0](image), cut(branches[1](image)), cut(branches[2](image))]
    relu = keras.layers.ReLU()(parts[2])
    model = keras.Model(image, keras.layers.Concatenate(name="mixed")([*parts[:2], relu]))
    for branch, bias in zip(branches, (-4, 0, -4), strict=True):
        kernel, zeros = branch.get_weights()
        branch.set_weights([2 * kernel, zeros + bias])
    mixed = LayerMaps(model, "mixed")
    noise = np.random.default_rng(0).standard_normal((9, 12, 12, 3)).astype(np.float32)
    np.testing.assert_allclose(mixed(noise), model(noise).numpy().mean(axis=(1, 2)), rtol=1e-5)
    for found in scan(mixed, RACE, range(7)):
        assert found.ascents.rose.any(), found.map


# --- noise, and starts that are all drawn


def test_noise_on_a_pattern_depends_on_the_pattern_and_the_seed_alone(layer):
    shape = (28, 28, 3)
    indices = np.array([3, 77, 200])
    plain = pattern_images(GRID, indices, shape)
    noisy = pattern_images(GRID, indices, shape, noise=0.1, seed=4)
    alone = pattern_images(GRID, indices[1:2], shape, noise=0.1, seed=4)
    assert alone.tobytes() == noisy[1:2].tobytes()
    assert not np.array_equal(noisy, pattern_images(GRID, indices, shape, noise=0.1, seed=5))
    noise = (noisy * np.sqrt(1.01) - plain).reshape(3, -1, 3)
    assert noise.std() == pytest.approx(0.1, rel=0.03)
    between = np.corrcoef(np.concatenate([noise[i].T for i in range(3)]))
    assert np.abs(between - np.eye(9)).max() < 0.15  # patterns and channels have their own
    assert noisy.mean(axis=(1, 2, 3)) == pytest.approx(0, abs=1e-5)
    assert noisy.std(axis=(1, 2, 3)) == pytest.approx(1, abs=1e-4)


def test_noise_as_small_as_rounding_hardly_moves_a_pattern():
    plain = pattern_images(GRID, np.array([3]), (28, 28, 1))
    moved = pattern_images(GRID, np.array([3]), (28, 28, 1), noise=1e-7)
    assert 0 < np.abs(moved - plain).max() < 2e-6


@pytest.mark.parametrize("spec", [ARTICLE, RACE], ids=["article", "race"])
def test_a_noisy_scan_climbs_from_noisy_patterns(layer, spec):
    noisy = spec.replace(noise=0.01, seed=2)
    (of_map,) = scan(layer, noisy, [3])
    (plain,) = scan(layer, spec.replace(seed=2), [3])
    assert of_map.starts[0] == PatternStart(GRID, of_map.starts[0].index, 0.01, 2)
    assert of_map.ascents.losses[0] != plain.ascents.losses[0]
    images = start_images(of_map.starts, layer.image_shape, layer.inputs)
    again = climb(layer, images, np.full(len(images), 3), stages_of(noisy.climb.to_dict()))
    assert again.images.tobytes() == of_map.ascents.images.tobytes()
    together = {each.map: each for each in scan(layer, noisy, [7, 3])}
    assert together[3].ascents.images.tobytes() == of_map.ascents.images.tobytes()


def test_a_race_of_responding_starts_draws_them_all(layer, all_patterns):
    indices, _, responses = all_patterns
    spec = RACE.replace(responding=True, oversampling=256)
    drawn = {each.map: each.rungs[0] for each in scan(layer, spec, [0, 7])}
    for map, rung in drawn.items():
        answers = dict(zip(indices.tolist(), responses[:, map].tolist(), strict=True))
        assert len(set(rung.starts.tolist())) == len(rung.starts) == 16
        assert all(answers[start] > 0 for start in rung.starts.tolist())
        # All that respond may be drawn, not the strongest alone.
        told = np.array(sorted(answers.values()))
        assert np.median([answers[start] for start in rung.starts.tolist()]) < told[-16]
    (alone,) = scan(layer, spec, [7])
    assert alone.rungs[0].starts.tolist() == drawn[7].starts.tolist()
    (moved,) = scan(layer, spec.replace(noise=0.5), [7])
    assert moved.rungs[0].starts.tolist() == drawn[7].starts.tolist()
    (other,) = scan(layer, spec.replace(seed=1), [7])
    assert set(other.rungs[0].starts.tolist()) != set(drawn[7].starts.tolist())


def test_a_map_to_which_no_pattern_speaks_has_no_responding_start(tmp_path):
    image = keras.Input((28, 28, 1))
    silent = keras.initializers.Constant(-9.0)
    conv = keras.layers.Conv2D(2, 3, activation="relu", bias_initializer=silent, name="c")(image)
    layer = LayerMaps(keras.Model(image, conv), "c")
    spec = RACE.replace(responding=True, n_oips=0)
    for of_map in scan(layer, spec, [0, 1]):
        assert [len(rung.starts) for rung in of_map.rungs] == [0, 0, 0, 0]


@pytest.mark.parametrize("share", [1 / 16, 3 / 32, 3 / 4, 3 / 2, 2])
def test_groups_leave_few_places_of_two_batches_empty(layer, share):
    """Two threads climb with a full batch each, however many starts of a batch a map has."""
    n_starts, places = int(share * layer.batch_size), 2 * layer.batch_size
    rungs = (RungSpec(n_starts, AscentSpec(3)), RungSpec(n_starts, AscentSpec(3)))
    groups = units_of(layer, ScanSpec(rungs=rungs), range(12))
    n_used = min(len(groups[0]) * n_starts, 12 * n_starts)
    if len(groups) > 1:
        assert -(-n_used // places) * places <= 1.1 * n_used
    assert [map for group in groups for map in group] == list(range(12))
