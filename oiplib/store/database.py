"""Open a database, write finished units of work, ask for what is in it."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import URL, Connection, Select, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session, load_only, sessionmaker, undefer
from sqlalchemy.orm.attributes import instance_state

from ..errors import InputError, OipError
from . import schema
from .models import (
    Correspondence,
    Layer,
    Network,
    Oip,
    Reaction,
    Run,
    Scan,
    Screening,
    Variety,
)
from .oips import Oips

Row = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class OipFilter:
    """Which OIPs: every condition that isn't None must hold.

    Attributes
    ----------
    maps
        Map indices.
    layer
        Name of a layer.
    network
        Id of a network.
    best
        Only the one with the largest loss of each map, before all other conditions.
    origin
        ``fluctuation``, ``pattern``, ``revival`` or ``digit``.
    stop_reason
        Why the ascent ended.
    least, largest
        Bounds of the loss, both included.
    start
        Number of the pattern or of the trial that it grew from.
    spec
        SHA-256, or its beginning, of the ascents that it went through.
    sort
        One of `ORDERS`; by map and loss where None.
    limit
        At most so many.
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


#: Orders of OIPs: largest loss, fewest steps, newest, smallest id first.
ORDERS = {
    "loss": Oip.loss.desc(),
    "steps": Oip.steps,
    "created": Oip.created.desc(),
    "id": Oip.id,
}


class Store:
    """A database of OIPs.

    Parameters
    ----------
    target : str or path, optional
        An SQLite file, or any URL that SQLAlchemy understands; without it what the
        environment's ``OIP_DB`` names, else ``oip.db`` in this folder.
    create : bool
        Make the tables where there are none; without it, a missing database is an error.

    Raises
    ------
    OipError
        If the database doesn't exist, can't be opened or written, or isn't one of ours.
    """

    def __init__(self, target: str | os.PathLike[str] | None = None, create: bool = False) -> None:
        self.url = database_url(target)
        self.is_file = _is_file(self.url)
        self.name = str(self.url.database) if self.is_file else str(self.url)
        if self.is_file and not create and not Path(self.name).is_file():
            raise OipError(
                f"there is no database {self.name}: make one with 'oip reproduce', or name "
                "another with --db"
            )
        try:
            self._engine = create_engine(_lying_still(self.url) if self.is_file else self.url)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise InputError(f"{self.name} can't be used as a database: {error}") from None
        self.is_sqlite = self._engine.dialect.name == "sqlite"
        if self.is_sqlite:
            event.listen(self._engine, "connect", _writing_pragmas if create else _pragmas)
            event.listen(self._engine, "begin", _begin)
        self._readers = sessionmaker(self._engine, expire_on_commit=False)
        writes = self._engine.execution_options(writes=True)
        self._writers = sessionmaker(writes, expire_on_commit=False)
        with self._errors():
            schema.prepare(self._engine, self.name, create)

    @contextmanager
    def session(self, writes: bool = False) -> Iterator[Session]:
        """One transaction: committed at the end, undone by an error.

        One that `writes` keeps other writers out from its beginning, so that what it reads
        first still holds when it writes.
        """
        with self._errors(), (self._writers if writes else self._readers).begin() as session:
            yield session

    def _write(self, work: Callable[[Session], T]) -> T:
        """Do some work that looks for rows and adds those that aren't there.

        Where a database lets two writers look at once, the slower one looks again.
        """
        try:
            with self._writers.begin() as session:
                return work(session)
        except IntegrityError:
            with self.session(writes=True) as session:
                return work(session)
        except SQLAlchemyError as error:
            raise _explained(self.name, error) from None

    def close(self) -> None:
        """Give all connections back; the write-ahead log goes back into the file."""
        self._engine.dispose()

    # --- networks and layers ---

    def networks(self) -> list[Network]:
        """All networks, oldest first."""
        with self.session() as session:
            return _all(session, select(Network).order_by(Network.id))

    def network(self, id: int) -> Network:
        """One network with its layers, architecture and weights.

        Raises
        ------
        InputError
            If there is no such network.
        """
        loaded = [undefer(Network.architecture), undefer(Network.weights)]
        with self.session() as session:
            found = _one(session, select(Network).where(Network.id == id).options(*loaded))
            if found is None:
                known = session.scalars(select(Network.id).order_by(Network.id)).all()
                raise InputError(f"there is no network {id}: choose one of {_listed(known)}")
            return found

    def network_of(self, spec_sha256: str) -> Network | None:
        """The network that was trained by a spec, the oldest if machines made several."""
        chosen = select(Network).where(Network.spec_sha256 == spec_sha256).order_by(Network.id)
        with self.session() as session:
            return _one(session, chosen.limit(1))

    def same_network(self, row: Network) -> Network:
        """The stored network that is the same as another database's."""
        with self.session() as session:
            return session.scalars(_same(row)).one()

    def network_with(self, weights_sha256: str, architecture: str) -> Network | None:
        """The network with these very weights, if it is stored."""
        with self.session() as session:
            return session.scalar(
                select(Network).where(
                    Network.weights_sha256 == weights_sha256,
                    Network.architecture == architecture,
                )
            )

    def layer(self, network_id: int, name: str) -> Layer:
        """A layer of a network by its name.

        Raises
        ------
        InputError
            If the network has no such layer.
        """
        with self.session() as session:
            chosen = select(Layer).where(Layer.network_id == network_id).order_by(Layer.position)
            rows = session.scalars(chosen).all()
        for row in rows:
            if row.name == name:
                return row
        known = _listed([row.name for row in rows])
        raise InputError(f"unknown layer {name!r}: choose one of {known}")

    # --- units of work ---

    def add(self, *rows: Network | Screening | Reaction | Variety) -> int:
        """Store finished results, all or nothing; returns how many weren't stored already."""

        def add(session: Session) -> int:
            new = [row for row in rows if session.scalar(_same(row)) is None]
            session.add_all(new)
            return len(new)

        return self._write(add)

    def add_scans(self, scans: Sequence[Scan], oips: Sequence[Oip]) -> tuple[int, int]:
        """Store finished scans and the OIPs that they found, all or nothing.

        An OIP that another scan has found from the same start by the same ascent is kept as it
        is, and so is a scan that another process has stored: the same result is the same row.

        Returns
        -------
        tuple of int
            How many of the scans and of the OIPs are new.

        Raises
        ------
        InputError
            If a map isn't one of the layer's, or an image not one that the network takes.
        """

        def add(session: Session) -> tuple[int, int]:
            for scan in scans:
                _check_map(scan.map, session.get_one(Layer, scan.layer_id))
            for oip in oips:
                layer = session.get_one(Layer, oip.layer_id)
                _check_map(oip.map, layer)
                _check_image(oip.image, layer)
            known = session.scalars(select(Oip.key).where(Oip.key.in_([o.key for o in oips])))
            stored = set(known)
            new_scans = [scan for scan in scans if session.scalar(_same(scan)) is None]
            new_oips = [oip for oip in oips if oip.key not in stored]
            session.add_all([*new_scans, *new_oips])
            return len(new_scans), len(new_oips)

        return self._write(add)

    def add_run(self, run: Run) -> int:
        """Store a run of another database, unless it is stored already; returns its id here."""

        def add(session: Session) -> int:
            alike = select(Run).where(Run.kind == run.kind, Run.started == run.started)
            for stored in session.scalars(alike):
                if stored.environment == run.environment and stored.spec == run.spec:
                    return stored.id
            session.add(run)
            session.flush()
            return run.id

        return self._write(add)

    def start_run(self, kind: str, spec: Row | None, environment: Row) -> int:
        """Note that work begins; returns the run's id."""
        run = Run(kind=kind, spec=spec, started=datetime.now(UTC), environment=environment)
        with self.session(writes=True) as session:
            session.add(run)
        return run.id

    def end_run(self, run_id: int, status: str, error: str | None = None) -> None:
        """Note how the work ended: ``done``, ``failed`` or ``interrupted``."""
        with self.session(writes=True) as session:
            run = session.get_one(Run, run_id)
            run.status, run.error = status, error
            run.seconds = (datetime.now(UTC) - run.started).total_seconds()
        if self.is_file:
            # The write-ahead log goes back into the file, so that a copy of it is complete.
            with self._errors(), closing(self._engine.raw_connection()) as connection:
                connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")

    def run(self, id: int) -> Run:
        """One piece of work."""
        with self.session() as session:
            return _all(session, select(Run).where(Run.id == id))[0]

    def screening(self, layer_id: int, spec_sha256: str, part: tuple[int, int]) -> Screening | None:
        """The screening of a layer by a part of a grid, if it is stored."""
        with self.session() as session:
            return _one(
                session,
                _screenings(layer_id, spec_sha256).where(
                    Screening.first == part[0], Screening.last == part[1]
                ),
            )

    def screened_parts(self, layer_id: int, spec_sha256: str) -> set[tuple[int, int]]:
        """The parts of a grid that were shown to a layer."""
        with self.session() as session:
            rows = session.scalars(_screenings(layer_id, spec_sha256).options(_NO_ARRAYS))
            return {(row.first, row.last) for row in rows}

    def replace_parts(self, whole: Screening) -> bool:
        """Store the screening of a whole grid in the place of its parts; False if it is there."""

        def replace(session: Session) -> bool:
            stored = session.scalar(_same(whole))
            for row in session.scalars(_screenings(whole.layer_id, whole.spec_sha256)):
                if row is not stored:
                    session.delete(row)
            session.flush()
            if stored is None:
                session.add(whole)
            return stored is None

        return self._write(replace)

    def reaction(self, layer_id: int, kind: str, spec_sha256: str) -> Reaction | None:
        """How a layer responds to images of a kind, if it is stored."""
        with self.session() as session:
            return _one(
                session,
                select(Reaction).where(
                    Reaction.layer_id == layer_id,
                    Reaction.kind == kind,
                    Reaction.spec_sha256 == spec_sha256,
                ),
            )

    def varieties(self, layer_id: int, spec_sha256: str) -> dict[int, Variety]:
        """How different the patterns of a layer's maps are, by map."""
        chosen = select(Variety).where(
            Variety.layer_id == layer_id, Variety.spec_sha256 == spec_sha256
        )
        with self.session() as session:
            return {row.map: row for row in _all(session, chosen.order_by(Variety.map))}

    def main_variety(self, network_id: int) -> Row | None:
        """The spec by which most of a network's maps were restarted, of several the latest."""
        latest = (
            select(func.max(Variety.id))
            .join(Layer, Variety.layer_id == Layer.id)
            .where(Layer.network_id == network_id)
            .group_by(Variety.spec_sha256)
            .order_by(func.count().desc(), func.max(Variety.id).desc())
            .limit(1)
        )
        with self.session() as session:
            found = _one(session, select(Variety).where(Variety.id == latest.scalar_subquery()))
            return None if found is None else found.spec

    def correspondences(self, layer_ids: Sequence[int]) -> list[Correspondence]:
        """What is stored of layers between which maps may correspond, in the layers' order."""
        ids = list(layer_ids)
        chosen = select(Correspondence).where(
            Correspondence.layer_id.in_(ids), Correspondence.other_id.in_(ids)
        )
        with self.session() as session:
            rows = _all(session, chosen)
        return sorted(rows, key=lambda r: (ids.index(r.layer_id), ids.index(r.other_id), r.way))

    def comparing_runs(self, layer_id: int) -> list[int]:
        """The runs that made a layer's varieties and correspondences: others, if there are new."""
        kinds = (Variety, Correspondence)
        with self.session() as session:
            found = [
                session.scalars(select(kind.run_id).where(kind.layer_id == layer_id)).all()
                for kind in kinds
            ]
        return sorted({run for runs in found for run in runs})

    def put_correspondences(self, rows: Sequence[Correspondence]) -> None:
        """Store how the maps of some layers correspond, in the place of what was known of it."""

        def put(session: Session) -> None:
            for row in rows:
                old = select(Correspondence).where(
                    Correspondence.layer_id == row.layer_id,
                    Correspondence.other_id == row.other_id,
                    Correspondence.way == row.way,
                )
                for stored in session.scalars(old):
                    session.delete(stored)
            session.flush()
            session.add_all(rows)

        self._write(put)

    def scanned_maps(self, layer_id: int, spec_sha256: str) -> set[int]:
        """Maps whose scan by a spec is finished."""
        chosen = select(Scan.map).where(Scan.layer_id == layer_id, Scan.spec_sha256 == spec_sha256)
        with self.session() as session:
            return set(session.scalars(chosen))

    def scans(self, layer_id: int, spec_sha256: str, map: int | None = None) -> list[Scan]:
        """Finished scans of a layer by a spec, or that of one of its maps, with their rungs."""
        chosen = select(Scan).where(Scan.layer_id == layer_id, Scan.spec_sha256 == spec_sha256)
        chosen = chosen.order_by(Scan.map)
        if map is not None:
            chosen = chosen.where(Scan.map == map)
        with self.session() as session:
            return _all(session, chosen)

    def main_scan(self, network_id: int, origin: str) -> tuple[str, Row] | None:
        """Layer and spec by which most of a network's maps were searched, from an origin.

        Of several with equally many, the deepest layer counts, then the latest search.
        """
        largest = (
            select(func.max(Scan.id))
            .join(Layer, Scan.layer_id == Layer.id)
            .where(Layer.network_id == network_id, Scan.origin == origin)
            .group_by(Scan.layer_id, Scan.spec_sha256)
            .order_by(
                func.count().desc(), func.max(Layer.position).desc(), func.max(Scan.id).desc()
            )
            .limit(1)
        )
        with self.session() as session:
            found = _one(session, select(Scan).where(Scan.id == largest.scalar_subquery()))
            if found is None:
                return None
            return session.get_one(Layer, found.layer_id).name, found.spec

    def scan_keys(self, layer_id: int, map: int | None = None) -> list[tuple[int, str]]:
        """Map and spec of the finished searches for OIPs, without their arrays."""
        chosen = select(Scan.map, Scan.spec_sha256).where(
            Scan.layer_id == layer_id, Scan.origin.in_(("fluctuation", "pattern"))
        )
        if map is not None:
            chosen = chosen.where(Scan.map == map)
        with self.session() as session:
            return sorted((row[0], row[1]) for row in session.execute(chosen))

    # --- OIPs ---

    def oip_rows(self, wanted: OipFilter) -> list[Row]:
        """OIPs without their arrays, by layer and map, the largest loss first.

        Raises
        ------
        InputError
            If the filter names a map, layer or network that doesn't exist.
        """
        with self.session() as session:
            self._check_filter(session, wanted)
            return [oip.row() for oip in _all(session, _select_oips(wanted))]

    def oips(self, wanted: OipFilter) -> Oips:
        """OIPs with their arrays, in the order of `oip_rows`."""
        chosen = _select_oips(wanted).options(*_oip_arrays())
        with self.session() as session:
            self._check_filter(session, wanted)
            return Oips(_all(session, chosen))

    def oip(self, id: int) -> Oip:
        """One OIP with its arrays.

        Raises
        ------
        InputError
            If there is no such OIP.
        """
        with self.session() as session:
            found = _one(session, select(Oip).where(Oip.id == id).options(*_oip_arrays()))
            if found is None:
                low, high = session.execute(select(func.min(Oip.id), func.max(Oip.id))).one()
                known = "the database has none" if low is None else f"choose {low} to {high}"
                raise InputError(f"there is no OIP {id}: {known}")
            return found

    def oip_ids(self, sample: int | None = None) -> list[int]:
        """The ids of all OIPs, or of so many of them, drawn by a fixed seed."""
        with self.session() as session:
            ids = list(session.scalars(select(Oip.id).order_by(Oip.id)))
        if sample is not None and sample < len(ids):
            ids = sorted(random.Random(0).sample(ids, sample))
        return ids

    def oip_origins(self, ids: Sequence[int]) -> list[tuple[int, int, str, Row]]:
        """Id, network, layer and spec of OIPs; errors as for `oip`."""
        wanted = set(ids)
        chosen = select(Oip.id, Layer.network_id, Layer.name, Oip.spec).join(Layer)
        with self.session() as session:
            rows = [tuple(row) for row in session.execute(chosen) if row[0] in wanted]
        for missing in sorted(wanted - {row[0] for row in rows}):
            self.oip(missing)  # says which there are
        return rows

    def environments(self, ids: Sequence[int]) -> list[Row]:
        """On what the runs that found some OIPs computed."""
        wanted = set(ids)
        with self.session() as session:
            runs = {run for id, run in session.execute(select(Oip.id, Oip.run_id)) if id in wanted}
            return [session.get_one(Run, run).environment for run in sorted(runs)]

    # --- the rest ---

    def _check_filter(self, session: Session, wanted: OipFilter) -> None:
        layers = session.scalars(select(Layer).order_by(Layer.network_id, Layer.position)).all()
        if wanted.network is not None:
            known = sorted({layer.network_id for layer in layers})
            if wanted.network not in known:
                raise InputError(
                    f"there is no network {wanted.network}: choose one of {_listed(known)}"
                )
            layers = [layer for layer in layers if layer.network_id == wanted.network]
        if wanted.layer is not None:
            names = list(dict.fromkeys(layer.name for layer in layers))
            if wanted.layer not in names:
                raise InputError(f"unknown layer {wanted.layer!r}: choose one of {_listed(names)}")
            layers = [layer for layer in layers if layer.name == wanted.layer]
        else:
            # A dense layer has many units; what is asked for is a map of a studied layer.
            studied = set(session.scalars(select(Oip.layer_id).distinct()))
            layers = [layer for layer in layers if layer.id in studied]
        largest = max(layers, key=lambda layer: layer.n_maps, default=None)
        for map in wanted.maps or ():
            if largest and not 0 <= map < largest.n_maps:
                raise InputError(
                    f"there is no map {map} in {largest.name}: choose 0 to {largest.n_maps - 1}"
                )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise _explained(self.name, error) from None


def database_url(target: str | os.PathLike[str] | None) -> URL:
    """The URL of a database that was named by a path or a URL; else ``OIP_DB``, else oip.db."""
    text = os.fspath(target or os.environ.get("OIP_DB") or "oip.db")
    try:
        return make_url(text) if "://" in text else URL.create("sqlite", database=text)
    except ArgumentError:
        raise InputError(f"{text} is neither a file nor a database URL") from None


def _is_file(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")


def _lying_still(url: URL) -> URL:
    """The URL by which a file is read in a folder that can't be written.

    SQLite would want to put its write-ahead log beside it; without one, nobody is writing.
    """
    path = Path(str(url.database)).absolute()
    ours = {"effective_ids": True} if os.access in os.supports_effective_ids else {}
    log = path.with_name(path.name + "-wal")
    if not path.is_file() or log.exists() or os.access(path.parent, os.W_OK, **ours):
        return url
    flags = {"immutable": "1", "uri": "true"}
    return URL.create("sqlite", database=path.as_uri(), query=flags)


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _pragmas(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # transactions begin where `_begin` says
    for pragma in ("foreign_keys = ON", "busy_timeout = 30000"):
        connection.execute(f"PRAGMA {pragma}")


def _writing_pragmas(connection: Any, record: Any) -> None:
    _pragmas(connection, record)
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


_NO_ARRAYS = load_only(Screening.first, Screening.last)


def _screenings(layer_id: int, spec_sha256: str) -> Select[Screening]:
    return select(Screening).where(
        Screening.layer_id == layer_id, Screening.spec_sha256 == spec_sha256
    )


def _same(row: Network | Screening | Reaction | Scan | Variety) -> Select[Any]:
    """The stored row with the same result as a new one."""
    if isinstance(row, Network):
        equal = Network.weights_sha256 == row.weights_sha256
        if row.spec_sha256 is not None:
            return select(Network).where(equal, Network.spec_sha256 == row.spec_sha256)
        return select(Network).where(equal, Network.architecture == row.architecture)
    if isinstance(row, Screening):  # a part is in the whole
        wider = Screening.first <= row.first, Screening.last >= row.last
        return _screenings(row.layer_id, row.spec_sha256).where(*wider)
    kind: Any = type(row)
    same = select(kind).where(kind.layer_id == row.layer_id, kind.spec_sha256 == row.spec_sha256)
    if isinstance(row, Reaction):
        return same.where(Reaction.kind == row.kind)
    return same.where(kind.map == row.map)


def _check_map(map: int, layer: Layer) -> None:
    if not 0 <= map < layer.n_maps:
        raise InputError(f"there is no map {map} in {layer.name}, which has {layer.n_maps}")


def _check_image(image: np.ndarray, layer: Layer) -> None:
    network = layer.network
    shape = network.image_height, network.image_width, network.image_channels
    if image.shape != shape:
        raise InputError(f"an OIP of {layer.name} has the shape {shape}, not {image.shape}")


def _select_oips(wanted: OipFilter) -> Select[Oip]:
    chosen = select(Oip).join(Oip.layer)
    if wanted.maps is not None:
        chosen = chosen.where(Oip.map.in_(wanted.maps))
    if wanted.layer is not None:
        chosen = chosen.where(Layer.name == wanted.layer)
    if wanted.network is not None:
        chosen = chosen.where(Layer.network_id == wanted.network)
    if wanted.best:
        rank = func.row_number().over(
            partition_by=(Oip.layer_id, Oip.map), order_by=(Oip.loss.desc(), Oip.id)
        )
        ranking = select(Oip.id, rank.label("rank"))
        if wanted.maps is not None:
            ranking = ranking.where(Oip.map.in_(wanted.maps))
        ranked = ranking.subquery()
        chosen = chosen.join(ranked, ranked.c.id == Oip.id).where(ranked.c.rank == 1)
    index, trial = (Oip.start[name].as_integer() for name in ("index", "trial"))
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
            chosen = chosen.where(condition(getattr(wanted, name)))
    if wanted.sort is not None:
        chosen = chosen.order_by(ORDERS[wanted.sort])
    return chosen.limit(wanted.limit).order_by(
        Layer.network_id, Layer.position, Oip.map, Oip.loss.desc(), Oip.id
    )


def _all(session: Session, chosen: Select[T]) -> list[T]:
    """The rows of a query; one that can't be read, or says what can't be, is named."""
    try:
        return [_sensible(row) for row in session.scalars(chosen)]
    except (OipError, ValueError, TypeError, KeyError):
        kind: Any = chosen.column_descriptions[0]["entity"]
        session.expunge_all()
        for id in session.scalars(chosen.with_only_columns(kind.id)).all():
            try:
                for row in session.scalars(chosen.where(kind.id == id)):
                    _sensible(row)
            except (OipError, ValueError, TypeError, KeyError) as error:
                told = f"{kind.__tablename__} row {id}: {error}; 'oip check' tells all"
                raise OipError(told) from None
        raise


def _one(session: Session, chosen: Select[T]) -> T | None:
    return next(iter(_all(session, chosen)), None)


def _sensible(row: T) -> T:
    """A row, unless its numbers are none, or its image isn't one of its network's."""
    if isinstance(row, Oip):
        if row.layer is None:
            raise OipError("its layer doesn't exist")
        if not isinstance(row.loss, float) or not isinstance(row.start, dict):
            raise OipError("its loss is no number, or its start isn't described")
        if "image" not in instance_state(row).unloaded:
            _check_image(row.image, row.layer)
    if isinstance(row, Network):
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


def _oip_arrays() -> list[Any]:
    return [undefer(column) for column in (Oip.image, Oip.report_steps, Oip.frames, Oip.trace)]


def _listed(known: Sequence[Any]) -> str:
    return ", ".join(map(str, known)) or "none: the database is empty"


def _explained(name: str, error: SQLAlchemyError) -> OipError:
    """One line on what a user can do about a database that doesn't work."""
    reason = " ".join(str(getattr(error, "orig", None) or error).split())
    hints = {
        "unable to open": "check that the folder exists and can be written",
        "readonly": "it can't be written: check its permissions, or name another with --db",
        "not a database": "it is some other file or damaged: name another with --db",
        "malformed": "it is damaged: go back to a copy",
        "no such": "it was made by another version of oiplib",
        "locked": "another program is writing it: try again",
        "full": "make room on the disk",
    }
    hint = next((hint for word, hint in hints.items() if word in reason), "")
    return OipError(f"database {name}: {reason}{'; ' if hint else ''}{hint}")
