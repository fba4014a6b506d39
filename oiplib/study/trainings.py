"""Do two trainings find the same filters? Four trainings of one network, compared map by map."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ..errors import InputError
from ..progress import bar
from ..store import Correspondence, Oips
from ..values import CnnSpec, CorrespondenceSpec, ScanSpec
from .questions import derive_for_comparison, earlier_layers
from .study import Study

#: In what two trainings may differ.
RELATIONS = ("order", "weights", "both")

#: What tells that two maps correspond.
WAYS = ("activations", "oips")


@dataclass(frozen=True)
class _MapImages:
    """An OIP for each map that has one: images (n, height, width, channels), and whose (n,)."""

    images: np.ndarray
    maps: np.ndarray


def trainings(study: Study) -> list[Study]:
    """The study and three more of the same network with other seeds, oldest network first.

    In pairs they differ in the order of the images, in the initial weights, or in both. Those
    that aren't stored yet are trained.

    Raises
    ------
    InputError
        If the network came as a model: nobody knows how to train it again.
    """
    others = [
        study.part(study.spec.replace(cnn=cnn)) for cnn in _training(study).siblings().values()
    ]
    for other in others:
        other.train()
    return sorted([study, *others], key=lambda each: each.network.id)


def relation(a: Study, b: Study) -> str:
    """In what the trainings of two studies differ: one of `RELATIONS`."""
    first, second = _training(a), _training(b)
    differ = first.order_seed != second.order_seed, first.weights_seed != second.weights_seed
    return {(True, False): "order", (False, True): "weights"}.get(differ, "both")


def correspondences(study: Study) -> dict[str, list[Correspondence]]:
    """Which maps correspond in four trainings, for this convolutional layer and those before.

    Returns
    -------
    dict
        Name of a layer, from the first on -> for both ways of comparing, all six pairs of
        trainings, and a pair of networks that were not trained.

    Raises
    ------
    InputError
        If the network came as a model.
    """
    by_network = [[*reversed(earlier_layers(each)), each] for each in trainings(study)]
    for layer_study in (layer_study for layers in by_network for layer_study in layers):
        derive_for_comparison(layer_study)
    return {
        of_layer[0].layer.name: _of_layer(of_layer) for of_layer in zip(*by_network, strict=True)
    }


def correspondence_spec(study: Study) -> CorrespondenceSpec:
    """How the trainings of a study are compared."""
    return CorrespondenceSpec(study.spec.scan.compared())


def limits(rows: Sequence[Correspondence]) -> dict[str, dict[str, float]]:
    """By way: the thresholds of each null, and as ``matched`` the larger of the two.

    Parameters
    ----------
    rows
        Those of a layer, from `correspondences`.
    """
    from ..analysis.matching import threshold

    by_way: dict[str, dict[str, float]] = {}
    for way in WAYS:
        of_way = [row for row in rows if row.way == way]
        by_way[way] = {
            "shuffled": threshold([row.shuffled for row in of_way if row.relation != "untrained"]),
            "untrained": threshold([row.scores for row in of_way if row.relation == "untrained"]),
        }
        by_way[way]["matched"] = max(by_way[way].values())
    return by_way


def summary(rows: Sequence[Correspondence]) -> list[dict[str, Any]]:
    """How well the maps of a layer correspond: a row for each pair of trainings.

    Returns
    -------
    list of dict
        ``layer``, ``networks``, ``other`` (in what the trainings differ); for each of `WAYS` the
        median score of the assigned pairs, and the share of the maps that are matched: whose
        score is larger than the strictest null's; the share of maps matched ``both ways`` whose
        partner is the ``same``; maps matched by activations that keep their ``index``, as a share
        of those matched.
    """
    from ..analysis.matching import assigned, matched

    limit = limits(rows)
    table = []
    for first in (row for row in rows if row.way == WAYS[0] and row.relation != "untrained"):
        pair = {
            row.way: row
            for row in rows
            if row.other_id == first.other_id
            and row.layer_id == first.layer_id
            and row.relation == first.relation
        }
        partners = {way: matched(pair[way].scores, limit[way]["matched"]) for way in WAYS}
        by_activation, by_oip = (partners[way] for way in WAYS)
        both = (by_activation >= 0) & (by_oip >= 0)
        kept = by_activation == np.arange(len(by_activation))
        table.append(
            {
                "layer": first.layer.name,
                "networks": f"{first.layer.network_id}, {first.other.network_id}",
                "other": first.relation,
                **{
                    name: value
                    for way in WAYS
                    for name, value in (
                        (f"{way}: median", float(np.nanmedian(assigned(pair[way].scores)[1]))),
                        (f"{way}: matched", float((partners[way] >= 0).mean())),
                    )
                },
                "both ways": float(both.mean()),
                "same": _share(by_activation == by_oip, both),
                "index": _share(kept, by_activation >= 0),
            }
        )
    return table


def partners(
    study: Study, rows: Sequence[Correspondence], maps: Sequence[int]
) -> list[dict[str, Any]]:
    """Which maps of the other trainings correspond to some of a study's, by activations.

    Returns
    -------
    list of dict
        ``map``; for each other network its map and the score, or "unmatched".
    """
    from ..analysis.matching import matched

    limit = limits(rows)[WAYS[0]]["matched"]
    table: list[dict[str, Any]] = [{"map": map} for map in maps]
    for row in rows:
        if row.way != WAYS[0] or row.relation == "untrained":
            continue
        ids = [row.layer.network_id, row.other.network_id]
        if study.network.id not in ids:
            continue
        side = ids.index(study.network.id)
        scores = row.scores if side == 0 else row.scores.T
        of_other = matched(scores, limit)
        for line, map in zip(table, maps, strict=True):
            partner = of_other[map]
            line[f"network {ids[1 - side]}"] = (
                f"{partner} ({scores[map, partner]:.2f})" if partner >= 0 else "unmatched"
            )
    return table


def _share(of: np.ndarray, among: np.ndarray) -> float:
    return float(of[among].mean()) if among.any() else float("nan")


def _of_layer(studies: Sequence[Study]) -> list[Correspondence]:
    """The stored rows of one layer in several trainings; made anew if their images changed."""
    ids, spec = [study.layer.id for study in studies], correspondence_spec(studies[0])
    best = [study.oips(best=True) for study in studies]
    keys = "".join(oip.key for oips in best for oip in oips)
    images_sha256 = {
        "activations": str(studies[0].network.spec_sha256),
        "oips": hashlib.sha256(keys.encode()).hexdigest(),
    }
    n_rows = 2 * (len(studies) * (len(studies) - 1) // 2 + 1)
    stored = studies[0].store.correspondences(ids, spec.sha256)
    outdated = any(row.images_sha256 != images_sha256[row.way] for row in stored)
    if len(stored) != n_rows or outdated:
        with studies[0].running("correspond", spec) as run_id:
            rows = list(_compared(studies, spec, best, images_sha256, run_id))
            studies[0].store.put_correspondences(rows)
        stored = studies[0].store.correspondences(ids, spec.sha256)
    return stored


def _compared(
    studies: Sequence[Study],
    spec: CorrespondenceSpec,
    best: Sequence[Oips],
    images_sha256: dict[str, str],
    run_id: int,
) -> Iterator[Correspondence]:
    """Compare the layer in all pairs of trainings, and in two networks that were not trained."""
    from ..analysis import matching

    layer = studies[0].layer
    untrained = [_untrained(studies[0], k) for k in spec.untrained]
    engines = [*(study.engine for study in studies), *untrained]
    dataset = studies[0].dataset()
    images = studies[0].inputs_of(dataset.test_images, dataset.pixel_range)
    with bar(len(images), f"{layer.name} of all networks", "images") as progress:
        correlations, shuffled = matching.correlations(
            engines, images, spec.batch_size, spec.least_spread, progress
        )
    oips = [
        *(_map_images(of_training) for of_training in best),
        *(_oips_of(engine, spec.scan, layer.name) for engine in untrained),
    ]
    n = layer.n_maps
    pairs = [(a, b, relation(studies[a], studies[b])) for a, b in combinations(range(4), 2)]
    for a, b, of_pair in [*pairs, (4, 5, "untrained")]:
        block = np.s_[a * n : (a + 1) * n, b * n : (b + 1) * n]
        answers = (
            _relative(engines[b], oips[a], oips[b]),
            _relative(engines[a], oips[b], oips[a]),
        )
        by_way = {
            "activations": (len(images), correlations[block], shuffled[block]),
            "oips": (len(oips[a].maps) + len(oips[b].maps), *matching.mutual(*answers, spec.seed)),
        }
        first, second = (0, 0) if of_pair == "untrained" else (a, b)
        for way, (n_images, scores, torn_apart) in by_way.items():
            yield Correspondence(
                layer_id=studies[first].layer.id,
                other_id=studies[second].layer.id,
                run_id=run_id,
                relation=of_pair,
                way=way,
                spec=spec.to_dict(),
                spec_sha256=spec.sha256,
                n_images=n_images,
                images_sha256=images_sha256[way],
                median=float(np.nanmedian(matching.assigned(scores)[1])),
                shuffled_median=float(np.nanmedian(matching.assigned(torn_apart)[1])),
                scores=scores,
                shuffled=torn_apart,
            )


def _map_images(oips: Oips) -> _MapImages:
    return _MapImages(np.array([o.image for o in oips]), np.array([o.map for o in oips]))


def _untrained(study: Study, k: int) -> Any:
    """The layer in a network of the same kind with the k-th initial weights of no training."""
    from ..engine import network
    from ..engine.layers import LayerMaps

    cnn = _training(study)
    seed = (cnn.weights_seed | 1) + k  # the family of the trainings has two seeds
    n_classes = study.dataset().n_classes
    model = network.build(cnn.replace(weights_seed=seed), study.image_shape, n_classes)
    return LayerMaps(model, study.layer.name)


def _oips_of(engine: Any, spec: ScanSpec, name: str) -> _MapImages:
    """An OIP for each map of a layer that isn't stored, found as those of the other networks."""
    from ..search.scan import scan

    images, maps = [], []
    with bar(engine.n_maps, f"{name}, untrained", "maps") as progress:
        for of_map in scan(engine, spec, range(engine.n_maps), progress=progress):
            if len(of_map.starts) and of_map.ascents.losses[0] > 0:
                images.append(of_map.ascents.images[0])
                maps.append(of_map.map)
    return _MapImages(np.array(images), np.array(maps))


def _relative(engine: Any, foreign: _MapImages, own_oips: _MapImages) -> np.ndarray:
    """Responses of all maps to another network's OIPs: (maps shown, maps asked), in [0, 1].

    They are relative to the strongest response of the asked map to any OIP of either network.
    Where a map has no OIP its row or its column is 0.
    """
    relative = np.zeros((engine.n_maps, engine.n_maps), np.float32)
    asked = own_oips.maps
    if len(foreign.maps) and len(asked):
        to_foreign, to_own = (engine(oips.images)[:, asked] for oips in (foreign, own_oips))
        strongest = np.maximum(to_foreign.max(axis=0), to_own.max(axis=0))
        relative[np.ix_(foreign.maps, asked)] = to_foreign / strongest
    return relative


def _training(study: Study) -> CnnSpec:
    if study.network.spec is None:
        raise InputError(
            f"network {study.network.id} ({study.network.name}) came as a model: how it was "
            "trained isn't known, so there is no other training to compare it with"
        )
    return study.spec.cnn
