"""What the pages of all maps show and one pass over the layer gives: computed once for all of them.

A page is made in a kernel of its own, which would need the engine for a few images of one map,
TensorFlow for a dozen patterns, or all comparisons of trainings for the partners of one. So `run`
of `.notebooks` computes these before the first page and hands them on in a file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.patterns import pattern_images
from ..errors import OipError
from ..store import Screening
from ..study.answers import stored_comparisons
from ..study.questions import reaction
from ..study.study import Study
from ..study.trainings import limits
from .words import sight_of

#: So many images of the data set that excite a map most are shown on its page.
N_IMAGES = 8

#: Where a page finds the file; in the environment of its kernel.
PLACE = "OIP_FOR_MAPS"

# So many of the coarse patterns that a map likes best are shown on its page. They are handed on
# where they have so many numbers together; larger ones are made by each page.
_N_PATTERNS = 12
_MOST_NUMBERS = 2**26
_LIKED = "liked-"


@dataclass(frozen=True)
class ForMaps:
    """What is known of the maps of a layer.

    Attributes
    ----------
    positions : int, (maps, images, 2)
        Row and column where a map responds most in each of the data set's images that excite it
        most; -1 where that isn't known.
    networks : int, (others,)
        Ids of the other trainings.
    partners : int, (others, maps)
        The map of each other training that is matched; -1 where there is none.
    scores : float, (others, maps)
        How well the two suit each other: the correlation of their activations.
    liked : dict
        Map -> the coarse patterns that it likes best, (patterns, height, width, channels),
        standardized. Only of the maps that were asked for.
    """

    positions: np.ndarray
    networks: np.ndarray
    partners: np.ndarray
    scores: np.ndarray
    liked: dict[int, np.ndarray]

    def save(self, path: Path) -> None:
        """Write it into a file, from which a page reads the patterns of its own map only."""
        arrays: dict[str, Any] = {f"{_LIKED}{m}": of_map for m, of_map in self.liked.items()}
        arrays |= {name: value for name, value in vars(self).items() if name != "liked"}
        with path.open("wb") as file:
            np.savez(file, **arrays)


def for_maps(study: Study, maps: Sequence[int]) -> ForMaps:
    """What is known of some maps; from the file that was handed on, else computed.

    Parameters
    ----------
    study
        Whose layer. Its reaction to the data set is stored; other trainings and their
        comparison are left out unless they are, too.
    maps
        Which maps; of the others the positions aren't known.
    """
    if os.environ.get(PLACE):
        with np.load(os.environ[PLACE], allow_pickle=False) as file:
            shared = {name: file[name] for name in file.files if not name.startswith(_LIKED)}
            handed = {m: file[f"{_LIKED}{m}"] for m in maps if f"{_LIKED}{m}" in file}
        missing = [m for m in maps if m not in handed]
        return ForMaps(**shared, liked=handed | _liked(study, missing))
    fits = len(maps) * _N_PATTERNS * math.prod(study.image_shape) <= _MOST_NUMBERS
    liked = _liked(study, maps if fits or len(maps) == 1 else [])
    return ForMaps(_positions(study, maps), *_partners(study), liked)


def liked_patterns(study: Study, map: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the coarse patterns that a map likes best, and its responses to them."""
    return _most_liked(study.screening(), map)


def _most_liked(screening: Screening, map: int) -> tuple[np.ndarray, np.ndarray]:
    responses = screening.top_responses[map]
    shown = np.flatnonzero(responses > 0)[:_N_PATTERNS]
    return screening.top_indices[map][shown], responses[shown]


def _liked(study: Study, maps: Sequence[int]) -> dict[int, np.ndarray]:
    screening = study.screening()
    numbers = {map: _most_liked(screening, map)[0] for map in maps}
    grid, shape = study.spec.scan.grid, study.image_shape
    return {m: pattern_images(grid, of_map, shape) for m, of_map in numbers.items() if len(of_map)}


def _positions(study: Study, maps: Sequence[int]) -> np.ndarray:
    """Where each map responds most in its strongest images."""
    layer, sight = study.layer, sight_of(study)
    positions = np.full((layer.n_maps, N_IMAGES, 2), -1)
    if not study.has_data or sight is None or sight.part(0, 0) is None:
        return positions
    seen = reaction(study, "data")
    numbers = np.unique(seen.top_images)
    top = seen.top_images[:, :N_IMAGES]
    asked = np.unique(top[list(maps)])
    pixels = seen.images[np.searchsorted(numbers, asked)]
    size = 2 * study.engine.batch_size
    for first in range(0, len(asked), size):
        some = np.arange(first, min(first + size, len(asked)))
        # Always a full batch, for which the engine is compiled once.
        images = study.inputs_of(pixels[np.resize(some, size)], (0.0, 255.0))
        activations = study.engine.activations(images)[: len(some)]
        for map in maps:
            for place, number in enumerate(top[map].tolist()):
                k = int(np.searchsorted(asked[some], number))
                if k < len(some) and asked[some[k]] == number:
                    of_map = activations[k, ..., map]
                    positions[map, place] = np.unravel_index(of_map.argmax(), of_map.shape)
    return positions


def _partners(study: Study) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The other trainings, and of each the matched maps and their scores."""
    from ..analysis.matching import matched

    n_maps, networks, partners, scores = study.layer.n_maps, [], [], []
    try:
        compared = stored_comparisons(study).get(study.layer.name)
    except OipError:  # nobody has asked for other trainings yet
        compared = None
    if compared is not None:
        limit = limits(compared)["activations"]["matched"]
        for row in compared.of("activations").pairs:
            ids = [row.layer.network_id, row.other.network_id]
            if study.network.id in ids:
                own = ids.index(study.network.id)
                of_pair = row.scores.astype(float) if own == 0 else row.scores.T.astype(float)
                of_other = matched(of_pair, limit)
                networks.append(ids[1 - own])
                partners.append(of_other)
                scores.append(of_pair[np.arange(n_maps), of_other])
    return (
        np.array(networks, int),
        np.array(partners, int).reshape(len(networks), n_maps),
        np.array(scores, float).reshape(len(networks), n_maps),
    )
