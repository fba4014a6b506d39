"""Which OIPs: a filter, and the queries that it becomes."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased, selectinload, undefer

from ..errors import InputError
from ..values import Objective, Prior, map_list, objective_of, prior_of, resolved
from .arrays import NumpyArray
from .connection import Connected
from .oips import Oips
from .sound import all_rows, first_row, listed
from .tables import Layer, Network, Oip, Run

Row = dict[str, Any]


@dataclass(frozen=True)
class OipFilter:
    """Which OIPs: every condition that isn't None must hold.

    Attributes
    ----------
    maps
        Map indices. Other objectives than the mean of a map are left out then.
    layer
        Name of a layer.
    network
        Id of a network.
    best
        Only the one with the largest loss of each objective, before all other conditions but
        that of the prior.
    origin
        One of `ORIGINS`.
    stop_reason
        Why the ascent ended.
    least, largest
        Bounds of the loss, both included.
    start
        Number of the pattern or of the trial that it grew from.
    spec
        SHA-256, or its beginning, of the ascents that it went through.
    objective
        What is excited, as a text or a value.
    prior
        By which prior the images were led, as a text or a value; ``none`` for no prior.
    sort
        One of `ORDERS`; by map and loss where None.
    limit
        How many at most.

    Examples
    --------
    >>> OipFilter(maps=(3, 4), best=True).prior is None
    True
    """

    maps: Sequence[int] | None = None
    layer: str | None = None
    network: int | None = None
    best: bool = False
    origin: str | None = None
    stop_reason: str | None = None
    least: float | None = None
    largest: float | None = None
    start: int | None = None
    spec: str | None = None
    sort: str | None = None
    limit: int | None = None
    objective: Objective | str | None = None
    prior: Prior | str | None = None


#: Where an OIP can come from. A ``revival`` is a start without a response that was led to one.
ORIGINS = ("fluctuation", "pattern", "revival")

#: Orders of OIPs: largest loss, fewest steps, newest, smallest id first.
ORDERS = {
    "loss": Oip.loss.desc(),
    "steps": Oip.steps,
    "created": Oip.created.desc(),
    "id": Oip.id,
}


# Other objectives than maps are listed after them; no layer has as many maps.
_LAST = 2**31 - 1

# Ids in one query: older SQLite takes no more.
_AT_ONCE = 500


class OipFinder(Connected):
    """Reads OIPs, by a filter or by their ids."""

    def oip_rows(self, wanted: OipFilter) -> list[Row]:
        """OIPs without their arrays, by layer and map, the largest loss first.

        Raises
        ------
        InputError
            If the filter names a map, layer or network that doesn't exist.
        """
        with self.session() as session:
            wanted = self._checked_filter(session, wanted)
            return [oip.row() for oip in all_rows(session, _select_oips(wanted))]

    def oips(self, wanted: OipFilter) -> Oips:
        """OIPs with their arrays, in the order of `oip_rows`."""
        with self.session() as session:
            wanted = self._checked_filter(session, wanted)
            return Oips(all_rows(session, _select_oips(wanted).options(*_oip_arrays())))

    def oip(self, id: int) -> Oip:
        """One OIP with its arrays.

        Raises
        ------
        InputError
            If there is no such OIP.
        """
        with self.session() as session:
            oip = first_row(session, select(Oip).where(Oip.id == id).options(*_oip_arrays()))
            if oip is None:
                low, high = session.execute(select(func.min(Oip.id), func.max(Oip.id))).one()
                choices = "the database has none" if low is None else f"choose {low} to {high}"
                raise InputError(f"there is no OIP {id}: {choices}")
            return oip

    def oip_images(self, ids: Sequence[int]) -> dict[int, NumpyArray]:
        """The images of some OIPs, by id, without their other arrays; those that exist."""
        images: dict[int, NumpyArray] = {}
        with self.session() as session:
            for first in range(0, len(ids), _AT_ONCE):
                some = Oip.id.in_(ids[first : first + _AT_ONCE])
                query = select(Oip).where(some).options(undefer(Oip.image))
                images |= {oip.id: oip.image for oip in all_rows(session, query)}
        return images

    def oip_ids(self, sample: int | None = None) -> list[int]:
        """The ids of all OIPs, or of a sample of them, drawn by a fixed seed."""
        with self.session() as session:
            ids = list(session.scalars(select(Oip.id).order_by(Oip.id)))
        if sample is not None and sample < len(ids):
            ids = sorted(random.Random(0).sample(ids, sample))
        return ids

    def oip_origins(self, ids: Sequence[int]) -> list[tuple[int, int, str, str, Row]]:
        """Id, network, layer, objective and spec of OIPs; errors as for `oip`."""
        wanted = set(ids)
        query = select(Oip.id, Layer.network_id, Layer.name, Oip.objective, Oip.spec).join(Layer)
        with self.session() as session:
            rows = [
                (row[0], row[1], row[2], row[3], row[4])
                for row in session.execute(query)
                if row[0] in wanted
            ]
        for missing in sorted(wanted - {row[0] for row in rows}):
            self.oip(missing)  # an error that says which there are
        return rows

    def environments(self, ids: Sequence[int]) -> list[Row]:
        """What the runs that found some OIPs were computed on."""
        wanted = set(ids)
        with self.session() as session:
            runs = {run for id, run in session.execute(select(Oip.id, Oip.run_id)) if id in wanted}
            query = select(Run).where(Run.id.in_(runs)).order_by(Run.id)
            return [run.environment for run in all_rows(session, query)]

    def _checked_filter(self, session: Session, wanted: OipFilter) -> OipFilter:
        """The filter, whose conditions can all be met, with numbers in place of class names."""
        columns = Layer.id, Layer.network_id, Layer.name, Layer.n_maps
        layers = session.execute(select(*columns).order_by(Layer.network_id, Layer.position)).all()
        if wanted.network is not None:
            known = sorted({layer.network_id for layer in layers})
            if wanted.network not in known:
                raise InputError(
                    f"there is no network {wanted.network}: choose one of {listed(known)}"
                )
            layers = [layer for layer in layers if layer.network_id == wanted.network]
        named = list(dict.fromkeys(layer.name for layer in layers))
        if wanted.layer is not None:
            if wanted.layer not in named:
                raise InputError(f"unknown layer {wanted.layer!r}: choose one of {listed(named)}")
            layers = [layer for layer in layers if layer.name == wanted.layer]
        else:
            # A dense layer has many units, but a map is asked for of a layer that was studied.
            has_oips = select(Oip.id).where(Oip.layer_id == Layer.id).exists()
            studied = set(session.scalars(select(Layer.id).where(has_oips)))
            layers = [layer for layer in layers if layer.id in studied]
        largest = max(layers, key=lambda layer: layer.n_maps, default=None)
        if largest is not None and wanted.maps is not None:
            map_list(wanted.maps, largest.n_maps, largest.name)
        if wanted.objective is None:
            return wanted
        for name in objective_of(wanted.objective).layers:
            if name not in named:
                raise InputError(f"unknown layer {name!r}: choose one of {listed(named)}")
        return dataclasses.replace(wanted, objective=_numbered(session, wanted))


def _numbered(session: Session, wanted: OipFilter) -> Objective:
    """The wanted objective with numbers in place of the names of classes."""
    query = select(Network.dataset).order_by(Network.id)
    if wanted.network is not None:
        query = query.where(Network.id == wanted.network)
    known = [list((dataset or {}).get("classes", ())) for dataset in session.scalars(query)]

    def number_of(layer: str, name: str) -> int:
        numbers = {classes.index(name) for classes in known if name in classes}
        if len(numbers) != 1:
            choices = listed(sorted({name for classes in known for name in classes}))
            raise InputError(
                f"{layer}: {name!r} names no class, or several: choose one of {choices}, or name "
                "the unit's number"
            )
        return numbers.pop()

    return resolved(objective_of(wanted.objective or ""), number_of)


def _select_oips(wanted: OipFilter) -> Select[Oip]:
    query = select(Oip).join(Oip.layer).options(selectinload(Oip.layer))
    if wanted.maps is not None:
        query = query.where(Oip.map.in_(wanted.maps))
    if wanted.objective is not None:
        query = query.where(Oip.objective == str(objective_of(wanted.objective)))
    prior = None if wanted.prior is None else str(prior_of(wanted.prior))
    if prior is not None:
        query = query.where(Oip.prior == prior)
    if wanted.layer is not None:
        query = query.where(Layer.name == wanted.layer)
    if wanted.network is not None:
        query = query.where(Layer.network_id == wanted.network)
    if wanted.best:
        if wanted.maps is not None:
            ids: Any = _strongest_ids(Oip.map, Oip.map.in_(wanted.maps), prior)
        else:
            ids = _strongest_ids(Oip.map, Oip.map.is_not(None), prior).union_all(
                _strongest_ids(Oip.objective, Oip.map.is_(None), prior)
            )
        query = query.where(Oip.id.in_(ids))
    index, trial = (Oip.start_fields[name].as_integer() for name in ("index", "trial"))
    conditions: dict[str, Callable[[Any], Any]] = {
        "origin": lambda value: Oip.origin == value,
        "stop_reason": lambda value: Oip.stop_reason == value,
        "least": lambda value: Oip.loss >= value,
        "largest": lambda value: Oip.loss <= value,
        "start": lambda value: (index == value) | (trial == value),
        "spec": lambda value: Oip.spec_sha256.startswith(value, autoescape=True),
    }
    for name, condition in conditions.items():
        if getattr(wanted, name) is not None:
            query = query.where(condition(getattr(wanted, name)))
    if wanted.sort is not None:
        query = query.order_by(ORDERS[wanted.sort])
    return query.limit(wanted.limit).order_by(
        Layer.network_id,
        Layer.position,
        func.coalesce(Oip.map, _LAST),
        Oip.objective,
        Oip.loss.desc(),
        Oip.id,
    )


def _strongest_ids(
    subject: InstrumentedAttribute[Any], condition: ColumnElement[bool], prior: str | None
) -> Select[Any]:
    """The id of the OIP with the largest loss of each map, or of each other objective.

    An index leads to it: ``oips_by_map`` has the losses of each map in their order, and sorting
    all OIPs would read them all.
    """
    asked = select(Oip.layer_id, subject.label("subject")).where(condition).distinct().subquery()
    strongest = aliased(Oip)
    query = select(strongest.id).where(
        strongest.layer_id == asked.c.layer_id,
        getattr(strongest, subject.key) == asked.c.subject,
    )
    if subject is not Oip.map:
        query = query.where(strongest.map.is_(None))
    if prior is not None:
        query = query.where(strongest.prior == prior)
    return select(
        query.order_by(strongest.loss.desc(), strongest.id).limit(1).scalar_subquery()
    ).select_from(asked)


def _oip_arrays() -> list[Any]:
    return [undefer(column) for column in (Oip.image, Oip.report_steps, Oip.frames, Oip.trace)]
