"""Do two trainings find the same filters? Four trainings of one network, compared map by map."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from .errors import InputError
from .progress import bar
from .specs import CnnSpec, ScanSpec
from .store import Correspondence, Oips
from .study import Study

#: In what two trainings may differ.
RELATIONS = ("order", "weights", "both")

#: What tells that two maps correspond.
WAYS = ("activations", "oips")

# Images of the maps that have an OIP, and which maps these are.
_Shown = tuple[np.ndarray, np.ndarray]


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
        Study(study.store, study.spec.replace(cnn=cnn), data=study.data)
        for cnn in _training(study).siblings().values()
    ]
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
    studies = trainings(study)
    by_network = [[*reversed(each.earlier_layers()), each] for each in studies]
    for each in (layer for layers in by_network for layer in layers):
        each.derive_for_comparison()
    return {
        of_layer[0].layer.name: _of_layer(of_layer) for of_layer in zip(*by_network, strict=True)
    }


def limits(rows: Sequence[Correspondence]) -> dict[str, dict[str, float]]:
    """By way: the thresholds of each null, and as ``matched`` the larger of the two.

    Parameters
    ----------
    rows
        Those of a layer, from `correspondences`.
    """
    from .matching import threshold

    found: dict[str, dict[str, float]] = {}
    for way in WAYS:
        of_way = [row for row in rows if row.way == way]
        found[way] = {
            "shuffled": threshold([row.shuffled for row in of_way if row.relation != "untrained"]),
            "untrained": threshold([row.scores for row in of_way if row.relation == "untrained"]),
        }
        found[way]["matched"] = max(found[way].values())
    return found


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
    from .matching import assigned, matched

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
    from .matching import matched

    limit = limits(rows)[WAYS[0]]["matched"]
    table: list[dict[str, Any]] = [{"map": map} for map in maps]
    for row in rows:
        if row.way != WAYS[0] or row.relation == "untrained":
            continue
        ids = [row.layer.network_id, row.other.network_id]
        if study.network.id not in ids:
            continue
        own = ids.index(study.network.id)
        scores = row.scores if own == 0 else row.scores.T
        of_other = matched(scores, limit)
        for told, map in zip(table, maps, strict=True):
            partner = of_other[map]
            told[f"network {ids[1 - own]}"] = (
                f"{partner} ({scores[map, partner]:.2f})" if partner >= 0 else "unmatched"
            )
    return table


def _share(of: np.ndarray, among: np.ndarray) -> float:
    return float(of[among].mean()) if among.any() else float("nan")


def _of_layer(studies: Sequence[Study]) -> list[Correspondence]:
    """Rows of one layer in several trainings."""
    ids = [study.layer.id for study in studies]
    best = [study.oips(best=True) for study in studies]
    keys = "".join(oip.key for oips in best for oip in oips)
    asked = {
        "activations": str(studies[0].network.spec_sha256),
        "oips": hashlib.sha256(keys.encode()).hexdigest(),
    }
    n_rows = 2 * (len(studies) * (len(studies) - 1) // 2 + 1)
    stored = studies[0].store.correspondences(ids)
    if len(stored) != n_rows or any(row.images_sha256 != asked[row.way] for row in stored):
        with studies[0].running("correspond") as run_id:
            rows = list(_compared(studies, best, asked, run_id))
            studies[0].store.put_correspondences(rows)
        stored = studies[0].store.correspondences(ids)
    return stored


def _compared(
    studies: Sequence[Study], best: Sequence[Oips], asked: dict[str, str], run_id: int
) -> Iterator[Correspondence]:
    from . import matching
    from .images import standardized

    layer, spec = studies[0].layer, studies[0].spec.scan.compared()
    random = [_untrained(studies[0], k) for k in (1, 2)]
    engines = [*(study.engine for study in studies), *random]
    images = standardized(studies[0].dataset().test_images)
    with bar(len(images), f"{layer.name} of all networks", "images") as progress:
        whole = matching.correlations(engines, images, progress=progress)
    shown = [
        *((np.array([o.image for o in oips]), np.array([o.map for o in oips])) for oips in best),
        *(_oips_of(engine, spec, layer.name) for engine in random),
    ]
    n = layer.n_maps
    pairs = [(a, b, relation(studies[a], studies[b])) for a, b in combinations(range(4), 2)]
    for a, b, told in [*pairs, (4, 5, "untrained")]:
        part = np.s_[a * n : (a + 1) * n, b * n : (b + 1) * n]
        answers = (
            _relative(engines[b], shown[a], shown[b]),
            _relative(engines[a], shown[b], shown[a]),
        )
        found = {
            "activations": (len(images), whole[0][part], whole[1][part]),
            "oips": (len(shown[a][1]) + len(shown[b][1]), *matching.mutual(*answers)),
        }
        own, other = (0, 0) if told == "untrained" else (a, b)
        for way, (n_images, scores, shuffled) in found.items():
            yield Correspondence(
                layer_id=studies[own].layer.id,
                other_id=studies[other].layer.id,
                run_id=run_id,
                relation=told,
                way=way,
                n_images=n_images,
                images_sha256=asked[way],
                median=float(np.nanmedian(matching.assigned(scores)[1])),
                shuffled_median=float(np.nanmedian(matching.assigned(shuffled)[1])),
                scores=scores,
                shuffled=shuffled,
            )


def _untrained(study: Study, k: int) -> Any:
    """The layer in a network of the same kind with the k-th initial weights of no training."""
    from . import network
    from .responses import LayerMaps

    cnn = _training(study)
    seed = (cnn.weights_seed | 1) + k  # the family of the trainings has two seeds
    n_classes = study.dataset().n_classes
    model = network.build(cnn.replace(weights_seed=seed), study.image_shape, n_classes)
    return LayerMaps(model, study.layer.name)


def _oips_of(engine: Any, spec: ScanSpec, name: str) -> _Shown:
    """An OIP for each map of a layer that isn't stored, as the others' were found."""
    from . import precursor

    maps = range(engine.n_maps)
    with bar(engine.n_maps, f"{name}, untrained", "maps") as progress:
        found = [
            (scan.ascents.images[0], scan.map)
            for scan in precursor.scan(engine, spec, maps, progress=progress)
            if len(scan.starts) and scan.ascents.losses[0] > 0
        ]
    return np.array([image for image, _ in found]), np.array([map for _, map in found])


def _relative(engine: Any, shown: _Shown, own: _Shown) -> np.ndarray:
    """Responses of all maps to another network's OIPs: (maps shown, maps asked), in [0, 1].

    They are relative to the strongest response of the asked map to any OIP of either network.
    Where a map has no OIP its row or its column is 0.
    """
    out = np.zeros((engine.n_maps, engine.n_maps), np.float32)
    (images, maps), (own_images, own_maps) = shown, own
    if len(maps) and len(own_maps):
        answers, to_own = (engine(some)[:, own_maps] for some in (images, own_images))
        most = np.maximum(answers.max(axis=0), to_own.max(axis=0))
        out[np.ix_(maps, own_maps)] = answers / most
    return out


def _training(study: Study) -> CnnSpec:
    if study.network.spec is None:
        raise InputError(
            f"network {study.network.id} ({study.network.name}) came as a model: how it was "
            "trained isn't known, so there is no other training to compare it with"
        )
    return study.spec.cnn
