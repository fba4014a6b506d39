"""Joined-up answers: what is stored of a study, with the numbers that chapters state of it.

Nothing here trains or searches. What isn't stored yet is an error, except a pass of images
through the network. `chapters.prepare` computes all that a chapter needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..analysis import digits, matching, uniqueness
from ..analysis.nulls import AgainstNull
from ..analysis.similarity import similarities
from ..errors import OipError
from ..store import Correspondence, Oip, OipFilter
from .networks import training_keys
from .questions import earlier_layers, reaction
from .study import Study
from .trainings import WAYS, correspondence_spec, limits, summary


@dataclass(frozen=True)
class ComparedLayer:
    """How well the maps of a layer correspond in all pairs of trainings.

    Attributes
    ----------
    name : str
    n_maps : int
    scores : dict
        Way of comparing, one of `trainings.WAYS` -> scores of the assigned pairs, and their
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
        In what the trainings differ: one of `trainings.RELATIONS`.
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
class OipsAndDigits:
    """OIPs beside the images of the data set that excite their maps most.

    Attributes
    ----------
    oips : list of Oip, (n,)
        Best OIP of each map that responds to all k of its strongest images.
    alike : array, (n, n, k), in [0, 1]
        Similarity of each OIP to the strongest images of each of the maps.
    pixels, features : AgainstNull
        Similarity of an OIP to the nearest of its map's images, by pixels and by what goes into
        the layer, against the OIPs of all other maps.
    loss_ratios : array, (n,)
        How many times as strongly as the strongest image an OIP excites its map.
    purity : array, (n,), in (0, 1]
        Share of the commonest class among the images of a map.
    purity_by_chance : array, (draws,), in (0, 1]
        The same of k images drawn at random.
    selectivity : array, (n,), in [0, 1]
        Class selectivity of each map over all images.
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
    def share_of_one_class(self) -> float:
        """Share of the maps whose strongest images all show the same class."""
        return float((self.purity == 1).mean())

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
            scores={way: _assigned_pairs(rows, way) for way in WAYS},
            limits=limits(rows),
            table=summary(rows),
        )
        for name, rows in _stored_rows(study).items()
    ]


def kept_by_relation(table: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of the matched maps the share that keep their number, by what the trainings differ in.

    Parameters
    ----------
    table
        Rows of one or more `ComparedLayer`.

    Returns
    -------
    dict
        ``order``, ``weights``, ``both`` -> the mean over the rows; NaN where no map is matched.
    """
    return matching.mean_by([row["other"] for row in table], [row["index"] for row in table])


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
    rows = _stored_rows(study).get(study.spec.layer, [])
    if not rows:
        return []
    limit = limits(rows)["activations"]["matched"]
    pairs = [row for row in rows if row.way == "activations" and row.relation != "untrained"]
    networks = {layer.network_id for row in pairs for layer in (row.layer, row.other)}
    best = {
        id: {
            oip.map: oip
            for oip in study.store.oips(OipFilter(layer=study.spec.layer, network=id, best=True))
        }
        for id in networks
    }
    return [_compared(row, limit, best) for row in pairs]


def oips_and_digits(study: Study, maps: Sequence[int]) -> OipsAndDigits | None:
    """Do OIPs look like the images that excite their maps, and do maps have a favourite class?

    Parameters
    ----------
    study
        Whose OIPs.
    maps
        Those without an OIP, or that respond to few images, are left out.

    Returns
    -------
    OipsAndDigits or None
        None if the network came without data, or fewer than two maps are left.
    """
    from ..engine.images import standardized

    if study.network.spec is None:
        return None
    seen = reaction(study, "digit")
    oips = [oip for oip in _best_oips(study, maps) if seen.top_responses[oip.map].min() > 0]
    if len(oips) < 2:
        return None
    n, k = len(oips), seen.top_images.shape[1]
    maps_with_oip = [oip.map for oip in oips]
    images = np.array([oip.image for oip in oips])
    top = standardized(np.concatenate([seen.pictures(map) for map in maps_with_oip]))
    features, top_features = (study.engine.features(of) for of in (images, top))
    alike = similarities(images, top).reshape(n, n, k)
    labels = study.dataset().train_labels
    return OipsAndDigits(
        oips=oips,
        alike=alike,
        pixels=digits.resemblance(alike),
        features=digits.resemblance(similarities(features, top_features).reshape(n, n, k)),
        loss_ratios=digits.loss_ratio(
            np.array([oip.loss for oip in oips]), seen.top_responses[maps_with_oip, 0]
        ),
        purity=digits.purity(labels[seen.top_images[maps_with_oip]]),
        purity_by_chance=digits.purity_by_chance(labels, k),
        selectivity=digits.selectivity(seen.class_means[maps_with_oip]),
    )


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
    return uniqueness.foreign_losses(responses[:, [oip.map for oip in best]])


def _best_oips(study: Study, maps: Sequence[int]) -> list[Oip]:
    return [oip for oip in study.oips(best=True) if oip.map in maps]


def _stored_rows(study: Study) -> dict[str, list[Correspondence]]:
    """Name of a layer -> its stored rows, as `trainings.correspondences` gives them."""
    if study.network.spec is None:
        return {}
    store, names = study.store, [study.spec.layer]
    names[:0] = [earlier.spec.layer for earlier in reversed(earlier_layers(study))]
    others = [store.trained_by(training_keys(cnn)) for cnn in study.spec.cnn.siblings().values()]
    ids = sorted([study.network.id, *(id for id in others if id is not None)])
    key = correspondence_spec(study).sha256
    rows = {
        name: store.correspondences([store.layer(id, name).id for id in ids], key) for name in names
    }
    if len(ids) <= len(others) or not all(rows.values()):
        raise OipError(
            f"{store.name} doesn't hold all four trainings and their comparison yet: "
            "'oip compare' makes them"
        )
    return rows


def _assigned_pairs(rows: Sequence[Correspondence], way: str) -> matching.AssignedPairs:
    of_way = [row for row in rows if row.way == way]
    trained = [row for row in of_way if row.relation != "untrained"]
    (untrained,) = (row for row in of_way if row.relation == "untrained")
    return matching.assigned_pairs(
        [row.scores for row in trained], [row.shuffled for row in trained], untrained.scores
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
