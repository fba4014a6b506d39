"""Rows that can be trusted so far: readable, with names and numbers that can be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import instance_state

from ..errors import InputError, OipError
from ..values import Channel, Inputs, map_list, objective_of, prior_of
from .arrays import NumpyArray
from .tables import Layer, Network, Oip, Run

T = TypeVar("T")

# Of a name or a value in what a run computed on, in characters.
_LONGEST = 2000


def all_rows(session: Session, query: Select[T]) -> list[T]:
    """The rows of a query; one that can't be read, or says what can't be, is named."""
    try:
        return [sensible(row) for row in session.scalars(query)]
    except (OipError, ValueError, TypeError, KeyError, RecursionError):
        kind: Any = query.column_descriptions[0]["entity"]
        session.expunge_all()
        for id in session.scalars(query.with_only_columns(kind.id)).all():
            try:
                for row in session.scalars(query.where(kind.id == id)):
                    sensible(row)
            except (OipError, ValueError, TypeError, KeyError, RecursionError) as error:
                name = f"{kind.__tablename__} row {id}: "
                reason = str(error).removeprefix(name)
                raise OipError(f"{name}{reason}; 'oip check' tells all") from None
        raise


def first_row(session: Session, query: Select[T]) -> T | None:
    """The first row of a query, if it has one; errors as `all_rows`."""
    return next(iter(all_rows(session, query)), None)


def sensible(row: T) -> T:
    """The row; an error if a value can't be what it should, such as an image of another size."""
    if isinstance(row, Oip):
        if row.layer is None:
            raise OipError("its layer doesn't exist")
        if not isinstance(row.start_fields, dict):
            raise OipError("its start isn't described")
        check_target(row.objective, row.map, row.layer)
        prior_of(row.prior)
        if "image" not in instance_state(row).unloaded:
            check_image(row.image, row.layer)
    if isinstance(row, Run):
        check_environment(row.environment)
    if isinstance(row, Network):
        Inputs.parse(row.inputs)
        for name in (row.name, *(layer.name for layer in row.layers)):
            check_name(name)
    return row


def check_name(name: str) -> str:
    """A network's or a layer's name, which ends up in pages.

    Raises
    ------
    OipError
        If it isn't plain: letters, digits, spaces and ``._:/+()-``, 200 at most.
    """
    if not re.fullmatch(r"[\w ./:+()-]{1,200}", name):
        raise OipError(f"{name[:40]!r} is no name for a network or a layer")
    return name


def check_environment(environment: Any) -> None:
    """`OipError` unless it describes what a run computed on: names and short values."""
    if not isinstance(environment, dict):
        raise OipError("what it computed on isn't described")
    for name, value in environment.items():
        values = value.values() if name == "process" and isinstance(value, dict) else [value]
        for each in values:
            is_plain = each is None or isinstance(each, (int, float, str))
            if not is_plain or len(str(each)) > _LONGEST or len(name) > _LONGEST:
                raise OipError(f"what it computed on is no plain text: {str(name)[:40]!r}")


def listed(choices: Sequence[Any]) -> str:
    """Choices as a text, or that there are none."""
    return ", ".join(map(str, choices)) or "none: the database is empty"


def check_target(text: str, map: int | None, layer: Layer) -> None:
    """`InputError` unless the text is that of an objective, and the map its map in the layer."""
    if map is not None:
        map_list([map], layer.n_maps, layer.name)
    objective = objective_of(text)
    if str(objective) != text or layer.name not in objective.layers:
        raise InputError(f"{text[:80]!r} is no objective of {layer.name}")
    if map != (objective.map if isinstance(objective, Channel) else None):
        raise InputError(f"{text[:80]} isn't map {map}")


def check_image(image: NumpyArray, layer: Layer) -> None:
    """`InputError` unless the layer's network takes images of this shape."""
    network = layer.network
    shape = network.image_height, network.image_width, network.image_channels
    if image.shape != shape:
        raise InputError(f"an OIP of {layer.name} has the shape {shape}, not {image.shape}")
