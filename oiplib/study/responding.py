"""Do OIPs and screenings have the responses that their network gives once more?"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from ..store import Layer, Oip, Screening
from ..values import ScreeningSpec, objective_of
from .study import Study

# How far a response may be from the one that is stored, relative to the mean size of the map's
# activations. Other processors round differently by about 1e-6.
_TOLERANCE = 1e-4
# The same, relative to the map of the layer that answers most: where large numbers cancel out.
_ROUNDING = 1e-6

# OIPs whose responses are computed at a time.
_GROUP = 2048


def wrong_responses(
    study: Study,
    session: Session,
    oips: Collection[int],
    screenings: Collection[int],
    progress: Any,
) -> Iterator[str]:
    """What a network answers otherwise than is stored, each as a line that names the row.

    Parameters
    ----------
    study
        One of the network.
    session
        Reads the rows.
    oips, screenings
        The ids of those rows, of any network, that have no problem of their own.
    progress
        Is told of each OIP.
    """
    network = study.network.id
    query = select(Oip.id).join(Oip.layer).where(Layer.network_id == network).order_by(Oip.id)
    ids = session.scalars(query).all()
    try:
        yield from _wrong_screenings(study, session, screenings)
        for first in range(0, len(ids), _GROUP):
            group = [id for id in ids[first : first + _GROUP] if id in oips]
            if group:
                yield from _wrong_losses(study, [_read(session, Oip, id) for id in group])
            progress.update(len(ids[first : first + _GROUP]))
    except Exception as error:  # a hostile network raises nearly anything
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        yield f"networks row {network}: it can't be computed with: {reason}"


def whole_row(session: Session, kind: type[Any], id: int) -> Any:
    """A row with all its columns."""
    columns = [undefer(p.class_attribute) for p in kind.__mapper__.column_attrs if p.deferred]
    return session.get(kind, id, options=columns)


def _read(session: Session, kind: type[Any], id: int) -> Any:
    """A row by itself: thousands of them aren't kept by the session, too; their layers are."""
    row = whole_row(session, kind, id)
    session.expunge(row)
    return row


def _wrong_screenings(study: Study, session: Session, sound: Collection[int]) -> Iterator[str]:
    """Which screenings don't have the responses to the first and the last of the top patterns."""
    from ..engine.images import from_standard
    from ..engine.patterns import pattern_images
    from ..engine.responses import responses

    layers = {layer.id: layer for layer in study.network.layers}
    query = select(Screening.id).where(Screening.layer_id.in_(layers)).order_by(Screening.id)
    for id in session.scalars(query).all():
        if id not in sound:
            continue
        row = _read(session, Screening, id)
        grid, name = ScreeningSpec.from_dict(row.spec).grid, layers[row.layer_id].name
        for column, which in ((0, "best"), (-1, "last top")):
            patterns, told = row.top_indices[:, column], row.top_responses[:, column].astype(float)
            images = from_standard(pattern_images(grid, patterns, study.image_shape), study.inputs)
            of_layer = responses(study.model, [name], images)[name].astype(float)
            maps = np.arange(len(patterns))
            answers, sizes = of_layer[:, maps, maps]
            allowed = _TOLERANCE * sizes + _ROUNDING * of_layer[1].max(axis=1)
            for map in np.flatnonzero(np.abs(answers - told) > allowed)[:1]:
                yield (
                    f"screenings row {row.id}: map {map} responds to its {which} pattern with "
                    f"{answers[map]:g}, and not {told[map]:g}"
                )


def _wrong_losses(study: Study, oips: list[Oip]) -> Iterator[str]:
    """Which losses aren't those of the image and its start, and whose start had no gradient."""
    from ..engine.starts import start_images

    images = np.array([oip.image for oip in oips])
    starts = start_images([oip.start for oip in oips], images.shape[1:], study.inputs)
    for of_what, shown, stored in (
        ("its loss", images, [oip.loss for oip in oips]),
        ("the loss of its start", starts, [float(oip.trace[0]) for oip in oips]),
    ):
        responses, sizes = _responses(study, oips, shown)
        for oip, response, size, loss in zip(oips, responses, sizes, stored, strict=True):
            if not abs(response - loss) <= size:
                yield f"oips row {oip.id}: {of_what} is {response:.6g}, not {loss:.6g}"
    yield from _wrong_origins(study, oips, starts)


def _responses(study: Study, oips: list[Oip], images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each OIP's objective answers to an image, and how far rounding may carry it."""
    from ..engine.objectives import responses_of
    from ..engine.responses import activations, responses

    of_maps = [i for i, oip in enumerate(oips) if oip.map is not None]
    answers, sizes = np.empty(len(oips)), np.empty(len(oips))
    if of_maps:
        names = sorted({oips[i].layer.name for i in of_maps})
        of_layers = responses(study.model, names, images[of_maps])
        for k, i in enumerate(of_maps):
            of_layer = of_layers[oips[i].layer.name][:, k].astype(float)
            answers[i], size = of_layer[:, oips[i].map]
            sizes[i] = _TOLERANCE * size + _ROUNDING * of_layer[1].max()
    for i, oip in enumerate(oips):
        if oip.map is None:
            objective = objective_of(oip.objective)
            values = activations(study.model, objective.layers, images[i : i + 1])
            (answers[i],), (size,) = responses_of(objective, values)
            largest = max(np.abs(of_layer).max() for of_layer in values.values())
            sizes[i] = _TOLERANCE * size + _ROUNDING * largest
    return answers, sizes


def _wrong_origins(study: Study, oips: list[Oip], starts: np.ndarray) -> Iterator[str]:
    """A revival's start gives no gradient; with ReLU that is one without a response."""
    from ..engine.ascent import have_no_gradient

    doubtful: dict[str, list[int]] = {}
    for i, oip in enumerate(oips):
        if oip.origin == "revival" or not oip.trace[0] > 0:
            # All maps of a layer are asked together; another objective is alone.
            subject = oip.objective if oip.map is None else ""
            doubtful.setdefault(f"{oip.layer.name} {subject}", []).append(i)
    for of_subject in doubtful.values():
        first = oips[of_subject[0]]
        is_map = first.map is not None
        engine = (
            study.engine_of(first.layer.name)
            if is_map
            else study.target(objective_of(first.objective))
        )
        maps = np.array([oips[i].map or 0 for i in of_subject])
        dead = have_no_gradient(engine, starts[of_subject], maps)
        for i, is_dead in zip(of_subject, dead, strict=True):
            if is_dead != (oips[i].origin == "revival"):
                yield f"oips row {oips[i].id}: its origin isn't {oips[i].origin}"
