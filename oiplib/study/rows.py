"""Rows of the database from the engine's results, and back."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..pictures import in_bytes
from ..store import Layer, Network, Null, Oip, Rung, Scan, Screening, Variety
from ..values import (
    Channel,
    Inputs,
    Objective,
    ScanSpec,
    ScreeningSpec,
    Spec,
    Start,
    TrialSpec,
    VarietySpec,
    prior_in,
)

if TYPE_CHECKING:
    from ..analysis.restarts import Restarts, Unlike
    from ..analysis.variety import Pairs
    from ..search import screening as search
    from ..search.scan import MapScan


def oip_key(network_sha256: str, objective: Objective, start: Spec, climb: Spec) -> str:
    """An OIP's identity: the SHA-256 of network, objective, start and ascents."""
    subject = str(objective)
    if isinstance(objective, Channel):
        subject = f"{objective.layer}|{objective.map}"
    key_text = "|".join([network_sha256, subject, start.to_json(), climb.to_json()])
    return hashlib.sha256(key_text.encode()).hexdigest()


def network_sha256(weights_sha256: str, architecture: str, inputs: Inputs) -> str:
    """A network's identity: the SHA-256 of its weights' hash, its architecture and its inputs."""
    parts = [weights_sha256, architecture]
    parts += [] if inputs.is_standardized else [str(inputs)]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def scan_row(
    scan: MapScan,
    spec: TrialSpec | ScanSpec,
    layer: Layer,
    run_id: int,
    objective: Objective | None = None,
) -> Scan:
    """The finished search for an objective, that of the scan's map by default, with its rungs."""
    check_finite(scan, objective or Channel(layer.name, scan.map))
    return Scan(
        layer_id=layer.id,
        run_id=run_id,
        map=scan.map if objective is None else None,
        objective=str(objective or Channel(layer.name, scan.map)),
        origin=spec.origin,
        spec=spec.to_dict(),
        spec_sha256=spec.sha256,
        rungs=[
            Rung(number=number, steps=rung.steps, starts=rung.starts, losses=rung.losses)
            for number, rung in enumerate(scan.rungs)
        ],
    )


def check_finite(scan: MapScan, objective: Objective) -> None:
    """Raise `InputError` if an objective's responses, or its images, aren't numbers."""
    losses = [rung.losses for rung in scan.rungs]
    if not all(np.isfinite(each).all() for each in (*losses, scan.ascents.images)):
        raise InputError(
            f"{objective} gives values that aren't finite: look at its factors and at the "
            "network's inputs and weights"
        )


def oip_rows(
    scan: MapScan,
    spec: TrialSpec | ScanSpec,
    layer: Layer,
    run_id: int,
    objective: Objective | None = None,
) -> list[Oip]:
    """The OIPs that a search found; the best with its frames, if the spec keeps them.

    What didn't rise above its start is none.
    """
    losses = scan.ascents.losses
    keeps_frames = not isinstance(spec, ScanSpec) or spec.keeps_frames
    rose = scan.ascents.rose
    best = losses.argmax() if keeps_frames and len(losses) else None
    return [
        _oip_row(scan, i, start, spec, layer, run_id, objective, with_frames=i == best)
        for i, start in enumerate(scan.starts)
        if rose[i]
    ]


def _oip_row(
    scan: MapScan,
    i: int,
    start: Start,
    spec: TrialSpec | ScanSpec,
    layer: Layer,
    run_id: int,
    objective: Objective | None,
    with_frames: bool,
) -> Oip:
    ascents, steps, climb = scan.ascents, int(scan.ascents.steps[i]), spec.climb
    reached = (ascents.report_steps <= steps) & with_frames
    subject = objective or Channel(layer.name, scan.map)
    return Oip(
        key=oip_key(layer.network.sha256, subject, start, climb),
        layer_id=layer.id,
        run_id=run_id,
        map=scan.map if objective is None else None,
        objective=str(subject),
        # A start without a gradient was revived by climbing the pre-activation.
        origin="revival" if scan.revived[i] else start.origin,
        prior=str(prior_in(climb)),
        start_fields=start.to_dict(),
        spec=climb.to_dict(),
        spec_sha256=climb.sha256,
        loss=float(ascents.losses[i]),
        steps=steps,
        stop_reason=str(ascents.stop_reasons[i]),
        image=ascents.images[i],
        report_steps=ascents.report_steps[reached],
        frames=_pictures(ascents.frames[i][reached], Inputs.parse(layer.network.inputs)),
        trace=ascents.traces[i, : steps + 1],
        created=datetime.now(UTC),
    )


def screening_row(
    screening: search.Screening,
    spec: ScreeningSpec,
    part: tuple[int, int],
    layer: Layer,
    run_id: int,
) -> Screening:
    """What a layer answers to a part of a grid."""
    from ..search.screening import histogram_edges

    values = {f.name: getattr(screening, f.name) for f in dataclasses.fields(screening)}
    return Screening(
        layer_id=layer.id,
        run_id=run_id,
        spec=spec.to_dict(),
        spec_sha256=spec.sha256,
        first=part[0],
        last=part[1],
        edges=histogram_edges(spec),
        **values,
    )


def screening_of(row: Screening) -> search.Screening:
    """A stored screening as the search's."""
    from ..search import screening as search

    names = [f.name for f in dataclasses.fields(search.Screening)]
    return search.Screening(**{name: getattr(row, name) for name in names})


def variety_row(
    spec: VarietySpec,
    restarts: Restarts,
    pairs: tuple[Pairs, Pairs],
    patterns: np.ndarray,
    unlike: Unlike,
    null: Null,
    run_id: int,
) -> Variety:
    """How different a map's patterns are; pairs by pixels and by features."""
    pixels, features = pairs
    inputs = Inputs.parse(null.layer.network.inputs)
    n_patterns = int(patterns.max()) + 1
    best = [
        max(np.flatnonzero(patterns == k), key=lambda i: float(restarts.losses[i]))
        for k in range(n_patterns)
    ]
    different = unlike.losses[unlike.alike < null.threshold]
    return Variety(
        layer_id=null.layer_id,
        run_id=run_id,
        null_id=null.id,
        map=restarts.map,
        spec=spec.to_dict(),
        spec_sha256=spec.sha256,
        n_starts=len(restarts.starts),
        n_patterns=n_patterns,
        commonest=float(np.mean(patterns == 0)),
        median=float(np.median(pixels.peaks)),
        best_loss=float(restarts.losses.max()),
        unlike_loss=float(different.max()) if len(different) else None,
        starts=restarts.starts,
        losses=restarts.losses,
        patterns=patterns,
        peaks=pixels.peaks,
        features=features.peaks,
        shifts=pixels.shifts,
        images=_pictures(restarts.images[best[: spec.n_images]], inputs),
        unlike_losses=unlike.losses,
        unlike_alike=unlike.alike,
        unlike_images=_pictures(unlike.images, inputs),
    )


def network_row(model: Any, name: str, inputs: Inputs, run_id: int) -> Network:
    """A model with its weights and layers, without what is known of its training."""
    from ..engine import layers, models, network

    height, width, channels = layers.image_shape(model)
    architecture, weights = network.pack(model)
    weights_sha256 = network.weights_sha256(model)
    inputs.check_channels(channels)
    return Network(
        name=name,
        architecture=architecture,
        weights=weights,
        weights_sha256=weights_sha256,
        sha256=network_sha256(weights_sha256, architecture, inputs),
        image_height=height,
        image_width=width,
        image_channels=channels,
        inputs=str(inputs),
        probe=models.probe(model, inputs),
        history={},
        run_id=run_id,
        created=datetime.now(UTC),
        layers=[
            Layer(
                position=position,
                name=layer,
                n_maps=shape[-1],
                map_height=shape[0] if len(shape) == 3 else 1,
                map_width=shape[1] if len(shape) == 3 else 1,
            )
            for position, (layer, shape) in enumerate(layers.map_layers(model).items())
        ],
    )


def _pictures(images: np.ndarray, inputs: Inputs) -> np.ndarray:
    pictures = [in_bytes(image, inputs) for image in images]
    return np.array(pictures, np.uint8).reshape(images.shape)
