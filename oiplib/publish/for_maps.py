"""What the pages of all maps show and one pass over the layer gives: computed once for all of them.

A page is made in a kernel of its own, which would need the engine for a few images of one map, or
all comparisons of trainings for the partners of one. So `run` of `.notebooks` computes both before
the first page and hands them on in a file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import OipError
from ..study.answers import stored_comparisons
from ..study.questions import reaction
from ..study.study import Study
from ..study.trainings import limits
from .words import sight_of

#: So many images of the data set that excite a map most are shown on its page.
N_IMAGES = 8

#: Where a page finds the file; in the environment of its kernel.
PLACE = "OIP_FOR_MAPS"


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
    """

    positions: np.ndarray
    networks: np.ndarray
    partners: np.ndarray
    scores: np.ndarray

    def save(self, path: Path) -> None:
        """Write it into a file."""
        with path.open("wb") as file:
            np.savez(file, **vars(self))


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
            return ForMaps(**file)
    return ForMaps(_positions(study, maps), *_partners(study))


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
