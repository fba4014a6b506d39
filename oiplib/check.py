"""Does a database hold what it says? Every row is read, nothing in it is trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, undefer

from .errors import OipError
from .progress import bar
from .specs import GridSpec, Spec, stages_of, start_of
from .store import (
    Correspondence,
    Layer,
    Network,
    Oip,
    Reaction,
    Scan,
    Screening,
    Store,
    Variety,
    check_name,
)


def problems(store: Store) -> Iterator[str]:
    """What is wrong with a database, each as a line that names the row.

    The file itself is checked, references between rows, and for each row whether its arrays
    can be read, have the shapes that belong to it and finite values, and agree with its numbers.
    Networks are rebuilt in Keras' safe mode and compared with the hash of their weights.
    """
    with store.session() as session:
        if store.is_sqlite:
            yield from _of_file(session)
        ids = {kind: session.scalars(select(kind.id).order_by(kind.id)).all() for kind in _CHECKS}
        with bar(sum(map(len, ids.values())), "Check", "rows") as progress:
            for kind, check in _CHECKS.items():
                for id in ids[kind]:
                    for problem in _of_row(session, kind, id, check):
                        yield f"{kind.__tablename__} row {id}: {problem}"
                    progress.update(1)


def _of_file(session: Session) -> Iterator[str]:
    def answers(pragma: str) -> list[Any]:
        return list(session.connection().exec_driver_sql(f"PRAGMA {pragma}"))

    yield from (f"the file: {row[0]}" for row in answers("integrity_check") if row[0] != "ok")
    for table, row, parent, _ in answers("foreign_key_check"):
        yield f"{table} row {row}: names a row of {parent} that doesn't exist"


def _of_row(
    session: Session, kind: type[Any], id: int, check: Callable[[Any], Iterator[str]]
) -> Iterator[str]:
    deferred = [undefer(p.class_attribute) for p in kind.__mapper__.column_attrs if p.deferred]
    try:
        row = session.get(kind, id, options=deferred)
        yield from check(row)
    except SQLAlchemyError as error:
        yield " ".join(str(getattr(error, "orig", None) or error).split())[:200]
    except OipError as error:
        yield str(error)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        yield f"can't be read: {type(error).__name__}: {error}"
    finally:
        session.expunge_all()


def _network(row: Network) -> Iterator[str]:
    from . import network, responses

    for name in (row.name, *(layer.name for layer in row.layers)):
        check_name(name)
    model = network.unpack(row.architecture, row.weights)
    if network.weights_sha256(model) != row.weights_sha256:
        yield "its weights aren't those that its SHA-256 names"
    if responses.image_shape(model) != (row.image_height, row.image_width, row.image_channels):
        yield "its model takes images of another size than it says"
    if row.spec is not None:
        Spec.from_dict(row.spec)


def _oip(row: Oip) -> Iterator[str]:
    network = row.layer.network
    image = network.image_height, network.image_width, network.image_channels
    start_of(row.start)
    n_steps = sum(stage.n_epochs - 1 for stage in stages_of(row.spec))
    if Spec.from_dict(row.spec).sha256 != row.spec_sha256:
        yield "its ascents aren't those that its SHA-256 names"
    yield from _map(row.map, row.layer)
    yield from _array("image", row.image, image)
    yield from _array("frames", row.frames, (len(row.report_steps), *image))
    yield from _array("trace", row.trace, (row.steps + 1,))
    if not 0 <= row.steps <= n_steps:
        yield f"{row.steps} steps, where its ascents have {n_steps}"
    elif row.trace.shape == (row.steps + 1,) and float(row.trace[-1]) != row.loss:
        yield f"its trace ends at {row.trace[-1]:g}, its loss is {row.loss:g}"


def _scan(row: Scan) -> Iterator[str]:
    Spec.from_dict(row.spec)
    yield from _map(row.map, row.layer)
    for rung in row.rungs:
        yield from _array(f"losses of rung {rung.number}", rung.losses, rung.starts.shape)


def _screening(row: Screening) -> Iterator[str]:
    grid, n_maps = Spec.from_dict(row.spec), row.layer.n_maps
    if not isinstance(grid, GridSpec) or not 0 <= row.first < row.last <= grid.n_patterns:
        yield "it isn't part of a grid"
    yield from _array("n_reacting", row.n_reacting, (n_maps,))
    for name in ("top_indices", "top_responses", "top_preactivations"):
        yield from _array(name, getattr(row, name), (n_maps, row.top_indices.shape[-1]))
    yield from _array("histogram", row.histogram, (n_maps, len(row.edges) - 1))


def _reaction(row: Reaction) -> Iterator[str]:
    n_maps = row.layer.n_maps
    for name in ("n_reacting", "strongest_preactivation"):
        yield from _array(name, getattr(row, name), (n_maps,))
    for name in ("top_images", "top_responses"):
        yield from _array(name, getattr(row, name), (n_maps, row.top_images.shape[-1]))
    yield from _array("class_means", row.class_means, (n_maps, row.class_means.shape[-1]))
    if row.kind == "digit":
        network = row.layer.network
        image = network.image_height, network.image_width, network.image_channels
        yield from _array("images", row.images, (len(np.unique(row.top_images)), *image))


def _variety(row: Variety) -> Iterator[str]:
    n, pairs = row.n_starts, row.n_starts * (row.n_starts - 1) // 2
    network = row.layer.network
    image = network.image_height, network.image_width, network.image_channels
    if Spec.from_dict(row.spec).sha256 != row.spec_sha256:
        yield "its spec isn't the one that its SHA-256 names"
    yield from _map(row.map, row.layer)
    for name, shape in {
        "starts": (n,),
        "losses": (n,),
        "patterns": (n,),
        "peaks": (pairs,),
        "features": (pairs,),
        "shifts": (pairs, 2),
        "null_features": row.null_peaks.shape,
        "images": (min(len(row.images), row.n_patterns), *image),
        "unlike_alike": row.unlike_losses.shape,
        "unlike_images": (len(row.unlike_losses), *image),
    }.items():
        yield from _array(name, getattr(row, name), shape)
    if set(row.patterns.tolist()) != set(range(row.n_patterns)):
        yield f"its restarts don't show {row.n_patterns} patterns"


def _correspondence(row: Correspondence) -> Iterator[str]:
    shape = row.layer.n_maps, row.other.n_maps
    for name in ("scores", "shuffled"):
        yield from _array(name, getattr(row, name), shape)


def _map(map: int, layer: Layer) -> Iterator[str]:
    if not 0 <= map < layer.n_maps:
        yield f"there is no map {map} in {layer.name}, which has {layer.n_maps}"


def _array(name: str, values: np.ndarray, shape: tuple[int, ...]) -> Iterator[str]:
    if values.shape != shape:
        yield f"{name} has the shape {values.shape}, not {shape}"
    elif not np.isfinite(values).all():
        yield f"{name} has values that aren't finite"


_CHECKS: dict[type[Any], Callable[[Any], Iterator[str]]] = {
    Network: _network,
    Screening: _screening,
    Reaction: _reaction,
    Scan: _scan,
    Oip: _oip,
    Variety: _variety,
    Correspondence: _correspondence,
}
