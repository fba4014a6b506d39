"""Do two trainings find the same filters? Four trainings of one network, compared map by map."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..store import Baseline, Correspondence, Store
from ..values import CnnSpec, CorrespondenceSpec
from . import networks
from .comparing import WAYS, Compared, compare, training
from .networks import training_key
from .questions import derive_for_comparison, earlier_layers
from .study import Study

#: How many networks that were never trained the trained ones are held against; for how many of
#: them OIPs are searched, which takes longer; and how many images all of them are shown.
N_UNTRAINED, N_SEARCHED, N_IMAGES = 10, 3, 2000


def trainings(study: Study) -> list[Study]:
    """The study and three more of the same network with other seeds, oldest network first.

    In pairs they differ in the order of the images, in the initial weights, or in both. Those
    that aren't stored yet are trained.

    Raises
    ------
    InputError
        If the network came as a model: nobody knows how to train it again.
    """
    training(study)
    train_all(study)
    siblings = [study.part(study.spec.replace(cnn=cnn)) for cnn in _siblings(study)]
    return sorted([study, *siblings], key=lambda each: each.network.id)


def train_all(study: Study) -> list[CnnSpec]:
    """Train what is missing of the four trainings, side by side; returns what was trained.

    The study's own needn't be there, either.
    """
    specs = [study.spec.cnn, *_siblings(study)]
    missing = [cnn for cnn in specs if not study.part(study.spec.replace(cnn=cnn)).is_trained]
    if missing:
        networks.train(study.store, study.executor, missing, study.dataset(), study.data)
    return missing


def _siblings(study: Study) -> list[CnnSpec]:
    return list(study.spec.cnn.siblings().values())


def others(study: Study) -> list[Study]:
    """The trainings beside the study's own that are stored; none if its network came as a model.

    Nothing is trained for an answer: `trainings` does that.
    """
    if study.network.spec is None:
        return []
    stored_ids = {
        study.store.trained_by(training_key(cnn, study.data)): cnn
        for cnn in study.spec.cnn.siblings().values()
    }
    return [
        study.part(study.spec.replace(cnn=cnn), id)
        for id, cnn in stored_ids.items()
        if id is not None
    ]


def correspondences(study: Study) -> dict[str, Compared]:
    """Which maps correspond in four trainings, for this convolutional layer and those before.

    Returns
    -------
    dict
        Name of a layer, from the first on -> for both ways of comparing, all six pairs of
        trainings, and networks that were never trained.

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
    return CorrespondenceSpec(
        study.spec.scan.compared(),
        untrained=tuple(range(1, N_UNTRAINED + 1)),
        batch_size=100,
        n_images=N_IMAGES,
        n_searched=N_SEARCHED,
    )


def limits(compared: Compared) -> dict[str, dict[str, float]]:
    """By way: the thresholds of each null, and as ``matched`` the larger of the two.

    The one of untrained networks is what `matching.QUANTILE` of all pairs stay below.
    """
    from ..analysis.matching import QUANTILE, threshold

    by_way: dict[str, dict[str, float]] = {}
    for way in WAYS:
        of_way = compared.of(way)
        by_way[way] = {
            "shuffled": threshold([row.shuffled for row in of_way.pairs]),
            "untrained": float(np.quantile(of_way.untrained, QUANTILE)),
        }
        by_way[way]["matched"] = max(by_way[way].values())
    return by_way


def summary(compared: Compared) -> list[dict[str, Any]]:
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

    limit = limits(compared)
    table = []
    by_way = zip(*(compared.of(way).pairs for way in WAYS), strict=True)
    for first, second in by_way:
        pair = {first.way: first, second.way: second}
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


def partners(study: Study, compared: Compared, maps: Sequence[int]) -> list[dict[str, Any]]:
    """Which maps of the other trainings correspond to some of a study's, by activations.

    Returns
    -------
    list of dict
        ``map``; for each other network its map and the score, or "unmatched".
    """
    from ..analysis.matching import matched

    limit = limits(compared)[WAYS[0]]["matched"]
    table: list[dict[str, Any]] = [{"map": map} for map in maps]
    for row in compared.of(WAYS[0]).pairs:
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


def stored(store: Store, ids: Sequence[int], spec: CorrespondenceSpec) -> Compared | None:
    """What is stored of some layers, one of each training; None if not all of it is."""
    compared = Compared(store.correspondences(ids, spec.sha256), store.baselines(ids, spec.sha256))
    n, n_ways = len(ids), len(WAYS)
    wanted = n_ways * n * (n - 1) // 2, n_ways * n
    return compared if (len(compared.pairs), len(compared.baselines)) == wanted else None


def _of_layer(studies: Sequence[Study]) -> Compared:
    """What is stored of one layer in several trainings; made anew if their images changed."""
    store, ids = studies[0].store, [study.layer.id for study in studies]
    spec = correspondence_spec(studies[0])
    best = [study.oips(best=True) for study in studies]
    keys = "".join(oip.key for oips in best for oip in oips)
    images_sha256 = {
        "activations": str(studies[0].network.spec_sha256),
        "oips": hashlib.sha256(keys.encode()).hexdigest(),
    }
    compared = stored(store, ids, spec)
    if compared is None or any(
        row.images_sha256 != images_sha256[row.way]
        for row in (*compared.pairs, *compared.baselines)
    ):
        with studies[0].running("correspond", spec) as run_id:
            rows = compare(studies, spec, best)
            new_rows: list[Correspondence | Baseline] = [*rows.pairs, *rows.baselines]
            for row in new_rows:
                row.run_id, row.images_sha256 = run_id, images_sha256[row.way]
            store.put_compared(rows.pairs, rows.baselines)
        compared = stored(store, ids, spec)
        assert compared is not None
    return compared


def _share(of: np.ndarray, among: np.ndarray) -> float:
    return float(of[among].mean()) if among.any() else float("nan")
