"""Fluctuation images and patterns."""

import numpy as np
import pytest

from oiplib import (
    FluctuationSpec,
    FluctuationStart,
    GridSpec,
    distinct,
    fluctuation_images,
    pattern_images,
    resize,
)
from oiplib.engine.patterns import distinct_blocks

SHAPE = (28, 28, 1)


def starts(n_maps, n_trials, spec=None):
    spec = spec or FluctuationSpec()
    return [FluctuationStart(spec, m, t) for m in range(n_maps) for t in range(n_trials)]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, again = (fluctuation_images(starts(3, 2), SHAPE) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    other = fluctuation_images(starts(3, 2, FluctuationSpec(seed=1)), SHAPE)
    assert np.abs(other - first).max(axis=(1, 2, 3)).min() > 0.1


def test_an_image_does_not_depend_on_those_made_beside_it():
    together = fluctuation_images(starts(5, 4), SHAPE)
    alone = fluctuation_images([FluctuationStart(FluctuationSpec(), 3, 2)], SHAPE)
    assert together[3 * 4 + 2].tobytes() == alone[0].tobytes()
    assert len({image.tobytes() for image in together}) == 20


def test_images_are_standardized_mixtures_of_their_scales():
    spec = FluctuationSpec()
    mixture = fluctuation_images(starts(1, 1), SHAPE)[0]
    assert mixture.mean() == pytest.approx(0, abs=1e-5)
    assert mixture.std() == pytest.approx(1, abs=1e-5)
    # The same random numbers, drawn by hand in the order of the grids.
    stream = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(0, 0)))
    grids = [stream.random((*grid, 1)).astype(np.float32) for grid in spec.grids]
    total = sum(
        factor * resize(grid[None], 28, 28)[0]
        for factor, grid in zip(spec.factors, grids, strict=True)
    )
    np.testing.assert_allclose(mixture, (total - total.mean()) / total.std(), atol=1e-4)


def test_specs_with_different_grids_can_be_made_together():
    coarse = FluctuationSpec(grids=((2, 3),), factors=(1,))
    mixed = [*starts(1, 2), *starts(1, 2, coarse)]
    images = fluctuation_images(mixed, (20, 31, 3))
    assert images.shape == (4, 20, 31, 3)
    alone = fluctuation_images(starts(1, 2, coarse), (20, 31, 3))
    assert images[2:].tobytes() == alone.tobytes()


def test_18660_patterns_of_the_article_are_distinct():
    grid = GridSpec()
    assert grid.n_patterns == 19683
    assert sum(len(block) for block in distinct_blocks(grid)) == 18660


@pytest.mark.parametrize(
    "values", [(0.2, 0.5, 0.8), (0.0, 0.3, 1.0), (0, 0.25, 0.5, 1), (0.1, 0.7)]
)
def test_distinct_patterns_are_exactly_the_different_images(values):
    grid = GridSpec(values, 2, 2)
    indices = np.arange(grid.n_patterns)
    kept = distinct(grid, indices)
    images = pattern_images(grid, indices, (12, 12, 1)).reshape(len(indices), -1)
    constant = np.ptp(images, axis=1) < 1e-2
    assert not kept[constant].any()
    # Among the rest, every family of equal images has exactly one that is kept.
    distance = np.abs(images[:, None] - images[None]).max(axis=2)
    families = (distance < 1e-3) & ~constant[None, :]
    assert (families[~constant] @ kept == 1).all()


def test_a_pattern_has_the_digits_of_its_index_as_its_cells():
    grid = GridSpec((0.2, 0.5, 0.8), 2, 3)
    index = int("210021", 3)
    image = pattern_images(grid, np.array([index]), (2, 3, 1))[0, ..., 0]
    cells = np.array([[0.8, 0.5, 0.2], [0.2, 0.8, 0.5]])
    # On so few pixels the bound of the standard deviation, 1 / sqrt(6), is in force.
    np.testing.assert_allclose(image, (cells - cells.mean()) * np.sqrt(6), atol=1e-4)


def test_blocks_cover_a_range_of_indices_however_it_is_cut():
    grid = GridSpec()
    whole = np.concatenate(list(distinct_blocks(grid)))
    parts = [
        np.concatenate(list(distinct_blocks(grid, a, b, size=700)))
        for a, b in [(0, 5000), (5000, 5001), (5001, 19683)]
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_all_channels_show_the_pattern():
    image = pattern_images(GridSpec(), np.array([77]), (10, 14, 3))[0]
    assert (image == image[..., :1]).all()
