"""Joined-up answers: what is stored of a study, with the numbers that chapters state of it.

Nothing here trains or searches. What isn't stored yet is an error, except a pass of images
through the network. `chapters.prepare` computes all that a chapter needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..analysis import classes, matching, uniqueness
from ..analysis.layout import shrunk
from ..analysis.nulls import AgainstNull
from ..analysis.responses import Responding, responding
from ..analysis.similarity import similarities
from ..errors import OipError
from ..store import Correspondence, Oip, OipFilter
from ..values import FluctuationSpec, FluctuationStart, StudySpec
from .comparing import WAYS, Compared
from .networks import training_key
from .questions import earlier_layers, reaction
from .read import Findings
from .study import Study
from .trainings import correspondence_spec, limits, stored, summary

#: Of how many maps an answer is found at most, where the effort grows with their square.
MOST_COMPARED = 128

#: Height and width in pixels at which images are compared at most.
LARGEST_COMPARED = 64

# Numbers held at once: some hundred megabytes.
_MOST_PIXELS = 2**24
_BATCH = 256


@dataclass(frozen=True)
class ComparedLayer:
    """How well the maps of a layer correspond in all pairs of trainings.

    Attributes
    ----------
    name : str
    n_maps : int
    scores : dict
        Way of comparing, one of `comparing.WAYS` -> scores of the assigned pairs, and their
        nulls.
    limits : dict
        Way -> name of a null, and ``matched`` -> its threshold; see `trainings.limits`.
    table : list of dict
        A row for each pair of trainings; see `trainings.summary`.
    """

    name: str
    n_maps: int
    scores: dict[str, matching.AssignedPairs]
    limits: dict[str, dict[str, float]]
    table: list[dict[str, Any]]

    @property
    def matched(self) -> matching.Spread:
        """Share of the maps that are matched by activations, over the pairs of trainings."""
        return matching.spread([row["activations: matched"] for row in self.table])

    @property
    def same(self) -> matching.Spread:
        """Of the maps matched both ways, the share whose partner is the same."""
        return matching.spread([row["same"] for row in self.table])

    @property
    def chance(self) -> float:
        """Share of maps that have the same partner by two ways that know nothing."""
        return 1 / self.n_maps


@dataclass(frozen=True)
class ComparedTrainings:
    """Two trainings, and which maps of the studied layer correspond by their activations.

    Attributes
    ----------
    relation : str
        In what the trainings differ: one of `comparing.RELATIONS`.
    networks : tuple of int
        Ids of the first and the second network.
    scores : array, (n, n), in [-1, 1]
        Correlation of each map of the first with each of the second.
    partners : array of int, (n,)
        The matched map of the second network for each map of the first; -1 where there is none.
    pairs : array of int, (pairs, 2)
        Matched maps that both have an OIP; the closest pair first.
    oips : tuple of two dicts
        Best OIP of each map of both networks that has one.
    """

    relation: str
    networks: tuple[int, int]
    scores: np.ndarray
    partners: np.ndarray
    pairs: np.ndarray
    oips: tuple[dict[int, Oip], dict[int, Oip]]

    @property
    def kept_order(self) -> matching.KeptOrder:
        """How many maps are matched, and keep their number."""
        return matching.kept_order(self.partners)

    @property
    def n_unmatched(self) -> int:
        """How many maps of the first network are not matched."""
        return len(self.partners) - self.kept_order.n_matched

    @property
    def images(self) -> tuple[np.ndarray, np.ndarray]:
        """Best OIPs of the `pairs`, of the first and of the second network."""
        first, second = self.oips
        return (
            np.array([first[map].image for map in self.pairs[:, 0]]),
            np.array([second[map].image for map in self.pairs[:, 1]]),
        )

    @property
    def without_partner(self) -> tuple[list[Oip], list[Oip]]:
        """Best OIPs of the maps that are in none of the `pairs`, of both networks."""
        first, second = (
            [oip for map, oip in of_network.items() if map not in paired_maps]
            for of_network, paired_maps in zip(self.oips, self.pairs.T, strict=True)
        )
        return first, second


@dataclass(frozen=True)
class OipsAndClasses:
    """OIPs beside the images of the data set that excite their maps most.

    Attributes
    ----------
    oips : list of Oip, (n,)
        Best OIP of each map that responds to all k of its strongest images; of more than
        `MOST_COMPARED` such maps so many, evenly spread.
    alike : array, (n, n, k), in [0, 1]
        Similarity of each OIP to the strongest images of each of the maps. Large images are
        compared at a smaller size.
    pixels, features : AgainstNull
        Similarity of an OIP to the nearest of its map's images, by pixels and by what goes into
        the layer, against the OIPs of all other maps.
    loss_ratios : array, (n,)
        How many times as strongly as the strongest image an OIP excites its map.
    purity : array, (n,), in (0, 1]
        Share of the commonest class among the images of a map. Empty if the data set can't be
        had, which alone knows the classes.
    purity_by_chance : array, (draws,), in (0, 1]
        The same of k images drawn at random; empty as `purity`.
    selectivity : array, (n,), in [0, 1]
        Class selectivity of each map over all images; NaN where it has none, as with a single
        class.
    """

    oips: list[Oip]
    alike: np.ndarray
    pixels: AgainstNull
    features: AgainstNull
    loss_ratios: np.ndarray
    purity: np.ndarray
    purity_by_chance: np.ndarray
    selectivity: np.ndarray

    @property
    def n_images(self) -> int:
        """How many of its strongest images each map is compared with."""
        return self.alike.shape[2]

    @property
    def most_alike_first(self) -> np.ndarray:
        """The numbers of the OIPs, by their similarity to the nearest image: (n,)."""
        return np.argsort(-self.pixels.values, kind="stable")


def compared_layers(study: Study) -> list[ComparedLayer]:
    """How well maps correspond in four trainings, for this convolutional layer and those before.

    Returns
    -------
    list of ComparedLayer
        The first layer first. Empty if the network came as a model, of which there is no other
        training.

    Raises
    ------
    OipError
        If the trainings aren't stored and compared yet.
    """
    return [
        ComparedLayer(
            name=name,
            n_maps=study.store.layer(study.network.id, name).n_maps,
            scores={way: _assigned_pairs(compared.of(way)) for way in WAYS},
            limits=limits(compared),
            table=summary(compared),
        )
        for name, compared in stored_comparisons(study).items()
    ]


def compared_trainings(study: Study) -> list[ComparedTrainings]:
    """The six pairs of four trainings, with the maps of the studied layer that correspond.

    Returns
    -------
    list of ComparedTrainings
        Empty if the network came as a model.

    Raises
    ------
    OipError
        If the trainings aren't stored and compared yet.
    """
    compared = stored_comparisons(study).get(study.spec.layer)
    if compared is None:
        return []
    limit = limits(compared)["activations"]["matched"]
    pairs = compared.of("activations").pairs
    networks = {layer.network_id for row in pairs for layer in (row.layer, row.other)}
    best = {
        id: {oip.of_map: oip for oip in study.store.oips(_best_of(study, id))} for id in networks
    }
    return [_compared(row, limit, best) for row in pairs]


def oips_and_classes(study: Study, maps: Sequence[int]) -> OipsAndClasses | None:
    """Do OIPs look like the images that excite their maps, and do maps have a favourite class?

    Parameters
    ----------
    study
        Whose OIPs.
    maps
        Those without an OIP, or that respond to few images, are left out.

    Returns
    -------
    OipsAndClasses or None
        None if the network came without data, or fewer than two maps are left.
    """
    if not study.has_data:
        return None
    seen = reaction(study, "data")
    oips = [oip for oip in _best_oips(study, maps) if seen.top_responses[oip.of_map].min() > 0]
    oips = [oips[i] for i in spread(len(oips), MOST_COMPARED)]
    if len(oips) < 2:
        return None
    n, k = len(oips), seen.top_images.shape[1]
    own_maps = [oip.of_map for oip in oips]
    images = np.array([oip.image for oip in oips])
    top = study.inputs_of(np.concatenate([seen.pictures(map) for map in own_maps]), (0.0, 255.0))
    features, top_features = (_features(study, of, len(top)) for of in (images, top))
    small, small_top = (shrunk(of, LARGEST_COMPARED) for of in (images, top))
    alike = similarities(small, small_top).reshape(n, n, k)
    purity, by_chance = _purity(study, seen.top_images[own_maps])
    means = seen.class_means[own_maps]
    return OipsAndClasses(
        oips=oips,
        alike=alike,
        pixels=classes.resemblance(alike),
        features=classes.resemblance(similarities(features, top_features).reshape(n, n, k)),
        loss_ratios=classes.loss_ratio(
            np.array([oip.loss for oip in oips]), seen.top_responses[own_maps, 0]
        ),
        purity=purity,
        purity_by_chance=by_chance,
        selectivity=classes.selectivity(means) if means.shape[1] > 1 else np.full(n, np.nan),
    )


def responses_to_scales(
    study: Study, kinds: Mapping[str, FluctuationSpec], n_trials: int = 8
) -> dict[str, Responding]:
    """How many random images of each kind get a response of the layer's maps (article IX).

    Parameters
    ----------
    study
        Whose layer. Of more than `MOST_COMPARED` maps so many are asked, evenly spread.
    kinds
        Name -> what the images look like.
    n_trials
        How many images of each kind a map is shown.

    Returns
    -------
    dict
        Name -> the counts.
    """
    from ..engine.fluctuations import fluctuation_images
    from ..engine.images import from_standard

    engine = study.engine
    maps = spread(engine.n_maps, MOST_COMPARED)
    n_at_once = max(1, _MOST_PIXELS // (n_trials * int(np.prod(engine.image_shape))))
    counts = {}
    for name, kind in kinds.items():
        own_losses = np.empty((len(maps), n_trials), np.float32)
        for first in range(0, len(maps), n_at_once):
            some = maps[first : first + n_at_once]
            starts = [FluctuationStart(kind, map, k) for map in some for k in range(n_trials)]
            images = from_standard(fluctuation_images(starts, engine.image_shape), study.inputs)
            losses = engine(images).reshape(len(some), n_trials, -1)
            own_losses[first : first + n_at_once] = losses[np.arange(len(some)), :, some]
        counts[name] = responding(own_losses)
    return counts


def shown_before(study: Study) -> list[Study]:
    """Studies of earlier convolutional layers for chapters that show two: the first and the last.

    Returns
    -------
    list of Study
        The first layer first; fewer than two where there are fewer.
    """
    nearest_first = earlier_layers(study)
    return [*nearest_first[1:][-1:], *nearest_first[:1]]


def is_of_the_articles(study: Findings) -> bool:
    """Whether network and layer are those that the articles show."""
    cnn, default = study.spec.cnn, StudySpec()
    own = (cnn.dataset, cnn.maps, cnn.kernel, study.layer.name)
    articles = (default.cnn.dataset, default.cnn.maps, default.cnn.kernel, default.layer)
    return study.network.spec is not None and own == articles


def class_names(study: Findings) -> tuple[str, ...]:
    """The names of the data set's classes, or their numbers; empty if there is no data set."""
    trained = study.has_data and study.network.spec is not None
    n_classes = study.network.layers[-1].n_maps if trained else 0
    return study.class_names or tuple(map(str, range(n_classes)))


def spread(n: int, most: int) -> list[int]:
    """Some of the numbers below `n`, evenly spread; all of them if they are few.

    Examples
    --------
    >>> spread(3, 5), spread(10, 4)
    ([0, 1, 2], [0, 3, 6, 9])
    """
    return np.unique(np.linspace(0, max(0, n - 1), min(n, most)).round().astype(int)).tolist()


def foreign_losses(study: Study, maps: Sequence[int]) -> np.ndarray:
    """How strongly the best OIPs of other maps excite a map, relative to its own best OIP.

    Parameters
    ----------
    study
        Whose OIPs.
    maps
        Of each two of them that have an OIP.

    Returns
    -------
    array, (n (n - 1),)
        See `uniqueness.foreign_losses`; empty for fewer than two maps with an OIP.
    """
    best = _best_oips(study, maps)
    if len(best) < 2:
        return np.empty(0)
    responses = study.engine(np.array([oip.image for oip in best]))
    return uniqueness.foreign_losses(responses[:, [oip.of_map for oip in best]])


def _best_oips(study: Study, maps: Sequence[int]) -> list[Oip]:
    return [oip for oip in study.oips(best=True) if oip.map in maps]


def _best_of(study: Study, network: int) -> OipFilter:
    """The best OIP of each map of the studied layer in another network."""
    maps = range(study.layer.n_maps)
    return OipFilter(maps, study.spec.layer, network, best=True, prior="none")


def _purity(study: Study, top_images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How pure the classes of maps' strongest images are, and the null of that."""
    try:
        labels = study.dataset().train_labels
    except OipError:  # the chapter on the network says why
        return np.empty(0), np.empty(0)
    by_chance = classes.purity_by_chance(labels, top_images.shape[1])
    return classes.purity(labels[top_images]), by_chance


def _features(study: Study, images: np.ndarray, n_compared: int) -> np.ndarray:
    """What goes into the layer, of a size at which so many can be compared at once."""
    parts = []
    for first in range(0, len(images), _BATCH):
        of_batch = study.engine.features(images[first : first + _BATCH])
        most = (_MOST_PIXELS / (n_compared * of_batch.shape[-1])) ** 0.5
        parts.append(shrunk(of_batch, max(4, int(most))))
    return np.concatenate(parts)


def stored_comparisons(study: Study) -> dict[str, Compared]:
    """Name of a layer -> what `trainings.correspondences` has stored of it.

    Empty if the network came as a model.

    Raises
    ------
    OipError
        If the trainings aren't stored and compared yet.
    """
    if study.network.spec is None:
        return {}
    store, names = study.store, [study.spec.layer]
    names[:0] = [earlier.spec.layer for earlier in reversed(earlier_layers(study))]
    others = [
        store.trained_by(training_key(cnn, study.data))
        for cnn in study.spec.cnn.siblings().values()
    ]
    ids = sorted([study.network.id, *(id for id in others if id is not None)])
    spec, found = correspondence_spec(study), {}
    for name in names:
        compared = stored(store, [store.layer(id, name).id for id in ids], spec)
        if compared is None or len(ids) <= len(others):
            raise OipError(
                f"{store.name} doesn't hold all four trainings and their comparison yet: "
                "'oip compare' makes them"
            )
        found[name] = compared
    return found


def _assigned_pairs(compared: Compared) -> matching.AssignedPairs:
    return matching.assigned_pairs(
        [row.scores for row in compared.pairs],
        [row.shuffled for row in compared.pairs],
        compared.untrained,
    )


def _compared(
    row: Correspondence, limit: float, best: Mapping[int, dict[int, Oip]]
) -> ComparedTrainings:
    ids = row.layer.network_id, row.other.network_id
    first, second = (best[id] for id in ids)
    partners = matching.matched(row.scores, limit)
    pairs = matching.matched_pairs(partners, list(first), list(second))
    return ComparedTrainings(
        relation=row.relation,
        networks=ids,
        scores=row.scores,
        partners=partners,
        pairs=matching.closest_first(pairs, row.scores),
        oips=(first, second),
    )
