"""Questions to a study: functions that get or compute an answer, and store what is new.

Each asks the store first. What is found for a map never depends on the maps beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..progress import bar
from ..store import Null, Reaction, Variety
from ..values import FluctuationStart, Inputs, Maps, ReactionSpec
from . import rows
from .halfway import Halfway
from .study import Study
from .units import RestartUnit, UnlikeUnit
from .work import Work

if TYPE_CHECKING:
    from ..analysis.restarts import Restarts, Unlike
    from ..analysis.variety import Pairs

# The kind of a layer that has a stored OIP in its own right (article XII).
_CONVOLUTION = "Conv2D"

# What is kept of a map's restarts until the varieties are stored.
_KEPT = "starts", "losses", "images"


def reaction(study: Study, kind: str) -> Reaction:
    """How the maps respond to images of a kind, in one pass for all of them.

    Parameters
    ----------
    study
        Whose layer.
    kind
        ``fluctuation``: random images like those of `spec.trials`; ``data``: all training
        images of the network's data set.

    Raises
    ------
    InputError
        If there is no such kind, or the network came without data.
    """
    specs = {"fluctuation": ReactionSpec(study.spec.trials.fluctuation), "data": _of_data(study)}
    if kind not in specs:
        raise InputError(f"unknown kind {kind!r}: choose one of {', '.join(specs)}")
    spec = specs[kind]
    study.train()
    stored = study.store.reaction(study.layer.id, spec.sha256)
    if stored is None:
        with study.alone(f"reaction|{spec.sha256}"):
            stored = study.store.reaction(study.layer.id, spec.sha256)
            if stored is None:
                _react(study, spec)
                stored = study.store.reaction(study.layer.id, spec.sha256)
        assert stored is not None
    return stored


def null(study: Study) -> Null:
    """How alike OIPs of different maps of the layer are: by it `varieties` are judged.

    It comes from restarts of all maps of the layer, whichever are asked for.
    """
    study.train()
    stored = _stored_null(study)
    if stored is None:
        with study.alone(f"null|{study.spec.variety.null.sha256}"):
            stored = _stored_null(study) or _new_null(study, _restarts(study))
    return stored


def varieties(study: Study, maps: Maps = None) -> dict[int, Variety]:
    """How different the patterns are that excite each map: restarts, and a search beyond them.

    Returns
    -------
    dict
        Map -> `Variety`. Missing are maps that hardly any start comes to excite, and all maps
        of a layer that has no null because fewer than two of its maps can be excited.
    """
    indices = study.check_maps(maps)
    study.train()
    stored = _stored_varieties(study, indices)
    if stored is None:
        with study.alone(f"varieties|{study.spec.variety.sha256}"):
            stored = _stored_varieties(study, indices) or _new_varieties(study, indices)
    return stored


def map_table(study: Study, maps: Maps = None) -> list[dict[str, Any]]:
    """What became of each map.

    Returns
    -------
    list of dict
        Per map: ``map``; ``found by`` (the first of fluctuation, pattern, revival that led
        to an OIP, or ``nothing``); ``loss`` (the largest, 0 without an OIP); the shares of
        ``patterns``, ``fluctuations`` and, where the data set is known, training ``images`` to
        which it responds, in [0, 1]; ``strongest pre-activation`` over all of these.
    """
    indices = study.check_maps(maps)
    screening = study.screening()
    kinds = {"fluctuations": "fluctuation"} | ({"images": "data"} if study.has_data else {})
    reactions = {name: reaction(study, kind) for name, kind in kinds.items()}
    first = study.summary(indices).found
    origin = {map: origin for origin, of_origin in first.items() for map in of_origin}
    best = {row["map"]: row["loss"] for row in study.rows(indices, best=True)}
    shares = {"patterns": screening.n_reacting / screening.n_patterns}
    shares |= {name: row.n_reacting / row.n_images for name, row in reactions.items()}
    strongest = [
        screening.top_preactivations.max(axis=1),
        *(row.strongest_preactivation for row in reactions.values()),
    ]
    return [
        {
            "map": map,
            "found by": origin.get(map, "nothing"),
            "loss": best.get(map, 0.0),
            **{name: float(share[map]) for name, share in shares.items()},
            "strongest pre-activation": float(np.max(strongest, axis=0)[map]),
        }
        for map in indices
    ]


def earlier_layers(study: Study) -> list[Study]:
    """Studies of the convolutional layers before this one (article XII), nearest first.

    Each keeps one OIP a map from the precursor scan of this study.
    """
    kinds = {layer["config"].get("name"): layer["class_name"] for layer in _layers(study)}
    scan = study.spec.scan.replace(n_oips=1)
    return [
        study.part(study.spec.replace(layer=layer.name, scan=scan), study.network.id)
        for layer in reversed(study.network.layers)
        if layer.position < study.layer.position and kinds.get(layer.name) == _CONVOLUTION
    ]


def stride(study: Study) -> int:
    """How many pixels apart two neighbouring positions of the layer look."""
    product = 1
    for layer in _layers(study):
        product *= int(np.max(layer["config"].get("strides") or 1))
        if layer["config"].get("name") == study.spec.layer:
            break
    return product


def derive_for_comparison(study: Study) -> list[int]:
    """One good OIP for every map that has none; returns the maps searched."""
    study.train()
    with_oip = {row["map"] for row in study.rows()}
    missing = [map for map in study.check_maps() if map not in with_oip]
    title = f"{study.layer.name} of {study.network.name}"
    spec = study.spec.scan.compared()
    return study.search(spec, missing, title, keep_screening=study.is_screened)


def _layers(study: Study) -> list[dict[str, Any]]:
    """The layers of the network as its stored architecture lists them."""
    return list(json.loads(study.network.architecture)["config"]["layers"])


def _of_data(study: Study) -> ReactionSpec:
    """One look at the data set; the one that a network was trained on is part of its training."""
    row = study.network if study.is_trained else None
    if row is None or row.spec is not None or row.dataset is None:
        return ReactionSpec()
    return ReactionSpec(data=str(row.dataset["sha256"]))


def _react(study: Study, spec: ReactionSpec) -> None:
    from ..engine.fluctuations import fluctuation_images
    from ..engine.images import from_standard, to_inputs

    engine = study.engine
    labels, n_classes = np.empty(0, int), 0
    pixels, pixel_range = np.empty((0, *engine.image_shape), np.uint8), (0.0, 255.0)
    if spec.random is None:
        dataset = study.dataset()
        labels, n_classes = dataset.train_labels, dataset.n_classes
        pixels, pixel_range = dataset.train_images, dataset.pixel_range
        images = study.inputs_of(pixels, pixel_range)
    else:
        starts = [FluctuationStart(spec.random, map=0, trial=k) for k in range(spec.n_images)]
        images = from_standard(fluctuation_images(starts, engine.image_shape), study.inputs)
    with (
        study.running("react", spec) as run_id,
        bar(len(images), f"{spec.kind}s", "images") as progress,
    ):
        responses, before = engine.respond(images, progress=progress)
        top = np.argsort(-responses, axis=0, kind="stable")[: spec.n_top].T
        classes = [_mean(responses[labels == k]) for k in range(n_classes)]
        kept = pixels[np.unique(top)] if spec.random is None else pixels
        row = Reaction(
            layer_id=study.layer.id,
            run_id=run_id,
            kind=spec.kind,
            spec=spec.to_dict(),
            spec_sha256=spec.sha256,
            n_images=len(images),
            n_reacting=(responses > 0).sum(axis=0),
            strongest_preactivation=before.max(axis=0),
            top_images=top,
            top_responses=np.take_along_axis(responses.T, top, axis=1),
            class_means=np.array(classes).T.reshape(responses.shape[1], len(classes)),
            images=np.round(to_inputs(kept, Inputs(0, 255), pixel_range)).astype(np.uint8),
        )
        study.store.add(row)


def _mean(responses: np.ndarray) -> np.ndarray:
    """The maps' mean responses, 0 where a class has no training image."""
    return np.asarray(responses.mean(axis=0) if len(responses) else np.zeros(responses.shape[1]))


def _stored_null(study: Study) -> Null | None:
    return study.store.null(study.layer.id, study.spec.variety.null.sha256)


def _stored_varieties(study: Study, maps: Sequence[int]) -> dict[int, Variety] | None:
    """What is stored of some maps; None where something is missing."""
    of_layer = _stored_null(study)
    if of_layer is None:
        return None
    stored = study.store.varieties(study.layer.id, study.spec.variety.sha256, maps)
    excitable = of_layer.n_starts > 1
    if excitable.sum() > 1 and any(excitable[map] and map not in stored for map in maps):
        return None
    return {map: stored[map] for map in maps if map in stored}


def _new_varieties(study: Study, maps: Sequence[int]) -> dict[int, Variety]:
    """Compute and store what isn't stored of some maps, the null of the layer too."""
    of_layer, restarts = _stored_null(study), None
    if of_layer is None:
        restarts = _restarts(study)
        of_layer = _new_null(study, restarts)
    spec, excitable = study.spec.variety, of_layer.n_starts > 1
    stored = study.store.varieties(study.layer.id, spec.sha256, maps)
    missing = [map for map in maps if excitable[map] and map not in stored]
    if missing and excitable.sum() > 1:
        of_maps = [restarts[map] for map in missing] if restarts else _restarts(study, missing)
        _explore(study, of_maps, of_layer)
        _halfway(study).end()
        stored = study.store.varieties(study.layer.id, spec.sha256, maps)
    return {map: stored[map] for map in maps if map in stored}


def _restarting(study: Study) -> str:
    """What restarts are of, as a text."""
    spec = study.spec.variety.null
    return f"restart|{study.network.sha256}|{study.layer.name}|{spec.sha256}"


def _halfway(study: Study) -> Halfway:
    """The restarts that a run left which didn't come to its end."""
    return Halfway(_restarting(study))


def _restarts(study: Study, some: Sequence[int] | None = None) -> list[Restarts]:
    """Restarts of some maps; of all by default."""
    maps = range(study.layer.n_maps) if some is None else some
    from ..analysis.restarts import Restarts, units_of

    spec, layer = study.spec.variety.null, study.layer.name
    halfway, found = _halfway(study), dict[int, Restarts]()
    for map in maps:
        if (arrays := halfway.get(map, _KEPT)) is not None:
            found[map] = Restarts(map, **arrays)

    def keep(group: tuple[int, ...], of_maps: list[Restarts]) -> None:
        for of_map in of_maps:
            found[of_map.map] = of_map
            halfway.put(of_map.map, {name: getattr(of_map, name) for name in _KEPT})

    missing = [map for map in maps if map not in found]
    work = Work(
        name=_restarting(study),
        subject=study.subject,
        groups=[tuple(group) for group in units_of(study.engine, spec, missing)],
        unit=lambda group: RestartUnit(layer, spec, group),
        keep=keep,
    )
    study.carry_out(work, "Restarts", "maps")
    return [found[map] for map in maps]


def _new_null(study: Study, restarts: list[Restarts]) -> Null:
    """Compute and store the null of the layer from restarts of all its maps."""
    from ..analysis import variety

    spec = study.spec.variety.null
    comparable = [of_map for of_map in restarts if len(of_map.starts) > 1]
    counts = np.zeros((2, len(restarts), spec.n_classes), np.int64)
    thresholds = np.ones(2)
    with study.running("null", spec) as run_id:
        if len(comparable) > 1:
            images = [of_map.images for of_map in comparable]
            features = [study.engine.features(of_map) for of_map in images]
            with bar(2 * len(comparable), "Null", "maps") as progress:
                for k, space in enumerate((images, features)):
                    pairs = variety.pairs_between(space, spec.seed, progress)
                    for of_map, similarities in zip(comparable, pairs, strict=True):
                        counts[k, of_map.map] = variety.counted(similarities, spec.n_classes)
                    thresholds[k] = variety.threshold(counts[k].sum(axis=0), spec.quantile)
        study.store.add(
            Null(
                layer_id=study.layer.id,
                run_id=run_id,
                spec=spec.to_dict(),
                spec_sha256=spec.sha256,
                threshold=float(thresholds[0]),
                feature_threshold=float(thresholds[1]),
                n_starts=np.array([len(of_map.starts) for of_map in restarts]),
                peaks=counts[0],
                features=counts[1],
            )
        )
    stored = _stored_null(study)
    assert stored is not None
    return stored


def _explore(study: Study, restarts: list[Restarts], of_layer: Null) -> None:
    """Compute and store how different the patterns of some maps are."""
    from ..analysis import variety
    from ..engine.threads import side_by_side

    engine, spec, limit = study.engine, study.spec.variety, of_layer.threshold
    with study.running("restart", spec) as run_id:
        pixels: list[Pairs] = []
        features: list[Pairs] = []
        images = (of_map.images for of_map in restarts)
        seen = (engine.features(of_map.images) for of_map in restarts)
        with bar(2 * len(restarts), "Similarities", "maps") as progress:
            for found, space in ((pixels, images), (features, seen)):
                for pairs in side_by_side(variety.pairs_within, space):
                    found.append(pairs)
                    progress.update(1)
        peaks = [pairs.peaks for pairs in pixels]
        patterns = [
            variety.patterns(of_pairs, len(of_map.starts), limit)
            for of_pairs, of_map in zip(peaks, restarts, strict=True)
        ]

        def keep(group: tuple[int, ...], others: list[Unlike]) -> None:
            study.store.add(
                *(
                    rows.variety_row(
                        spec,
                        restarts[k],
                        (pixels[k], features[k]),
                        patterns[k],
                        of_map,
                        of_layer,
                        run_id,
                    )
                    for k, of_map in zip(group, others, strict=True)
                )
            )

        _unlike(study, restarts, peaks, patterns, limit, keep)


def _unlike(
    study: Study,
    restarts: Sequence[Restarts],
    peaks: Sequence[np.ndarray],
    patterns: Sequence[np.ndarray],
    limit: float,
    keep: Callable[[tuple[int, ...], list[Unlike]], None],
) -> None:
    """Keep the ascents of each map that were kept away from its patterns, some maps at a time."""
    from ..analysis.restarts import unlike_size

    spec, layer = study.spec.variety, study.layer.name
    size = unlike_size(study.engine, spec)

    def unit(group: tuple[int, ...]) -> UnlikeUnit:
        return UnlikeUnit(
            layer,
            spec,
            restarts=tuple(restarts[k] for k in group),
            peaks=tuple(peaks[k] for k in group),
            patterns=tuple(patterns[k] for k in group),
            threshold=limit,
        )

    places = range(len(restarts))
    work = Work(
        name=f"unlike|{study.network.sha256}|{layer}|{spec.sha256}",
        subject=study.subject,
        groups=[tuple(places[first : first + size]) for first in places[::size]],
        unit=unit,
        keep=keep,
    )
    study.carry_out(work, "Unlike these", "maps")
