"""Reads what is stored of networks, runs, screenings, scans and comparisons."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import load_only, undefer

from ..errors import InputError, OipError
from .answers import Baseline, Condition, Correspondence, Null, Reaction, Variety
from .arrays import is_packed, unpacked
from .base import Base
from .find import OipFinder
from .sound import all_rows, first_row, listed
from .tables import Layer, Network, Oip, Run, Scan, Screening, StoredStudy

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]


_SELECTING = (
    *(sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ),
    *(sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE),
)


def _only_select(action: int, *named: str | None) -> int:
    """What SQLite asks for each step of a statement: no other may be taken."""
    return sqlite3.SQLITE_OK if action in _SELECTING else sqlite3.SQLITE_DENY


def _readable(cell: Any) -> Any:
    """A cell as the database gives it; an array unpacked."""
    value = bytes(cell) if isinstance(cell, memoryview) else cell
    return unpacked(value) if isinstance(value, bytes) and is_packed(value) else value


class Reader(OipFinder):
    """Reads finished units of work."""

    def query(self, sql: str, **parameters: Any) -> pd.DataFrame:
        """What a query in SQL finds; it can't change anything.

        Parameters
        ----------
        sql
            One statement, with names after a colon for parameters. The views `VIEWS` have plain
            columns.
        parameters
            Their values.

        Returns
        -------
        pandas.DataFrame
            Arrays are unpacked, each in a cell.

        Raises
        ------
        InputError
            If the database doesn't understand it, or it would change something: it must select.
        OipError
            If an array is damaged.

        Examples
        --------
        >>> from oiplib import Store
        >>> Store("sqlite://", create=True).query("SELECT count(*) AS n FROM oips")
           n
        0  0
        """
        import pandas as pd

        with self.session() as session:
            connection = session.connection()
            direct: Any = connection.connection.driver_connection
            if self.is_sqlite:
                direct.set_authorizer(_only_select)
            else:
                connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            try:
                # On a server, a cursor of its own takes no statement but one that selects.
                asked = {"stream_results": True}
                found = connection.execute(text(sql), parameters, execution_options=asked)
                names, cells = list(found.keys()), [list(row) for row in found]
            except (SQLAlchemyError, sqlite3.Error, UnicodeError) as error:
                told = getattr(error, "orig", None) or error
                first_line = (str(told) or type(told).__name__).splitlines()[0]
                raise InputError(f"{self.name} can't answer that: {first_line[:200]}") from None
            finally:
                if self.is_sqlite:
                    direct.set_authorizer(None)
        return pd.DataFrame([[_readable(cell) for cell in row] for row in cells], columns=names)

    def networks(self) -> list[Network]:
        """All networks with their layers, architectures and weights, oldest first."""
        with self.session() as session:
            return all_rows(session, _whole_networks().order_by(Network.id))

    def network_ids(self) -> list[int]:
        """The ids of all networks, oldest first."""
        with self.session() as session:
            return list(session.scalars(select(Network.id).order_by(Network.id)))

    def network(self, id: int) -> Network:
        """One network with its layers, architecture and weights.

        Raises
        ------
        InputError
            If there is no such network.
        """
        with self.session() as session:
            network = first_row(session, _whole_networks().where(Network.id == id))
            if network is None:
                ids = session.scalars(select(Network.id).order_by(Network.id)).all()
                raise InputError(f"there is no network {id}: choose one of {listed(ids)}")
            return network

    def network_of(self, spec_sha256: str) -> Network | None:
        """The network that was trained by a spec, the oldest if machines made several."""
        query = _whole_networks().where(Network.spec_sha256 == spec_sha256).order_by(Network.id)
        with self.session() as session:
            return first_row(session, query.limit(1))

    def same_network(self, row: Network) -> Network:
        """The stored network that is the same as another database's."""
        with self.session() as session:
            return session.scalars(same_row(row).options(*_WEIGHTS)).one()

    def network_with(self, sha256: str) -> Network | None:
        """The network with this very architecture and these weights, if it is stored."""
        with self.session() as session:
            return session.scalar(_whole_networks().where(Network.sha256 == sha256))

    def layers(self) -> list[Layer]:
        """The layers of all networks, without weights, the oldest network first."""
        with self.session() as session:
            return all_rows(session, select(Layer).order_by(Layer.network_id, Layer.position))

    def layer(self, network_id: int, name: str) -> Layer:
        """A layer of a network by its name.

        Raises
        ------
        InputError
            If the network has no such layer.
        """
        with self.session() as session:
            query = select(Layer).where(Layer.network_id == network_id).order_by(Layer.position)
            layers = session.scalars(query).all()
        for layer in layers:
            if layer.name == name:
                return layer
        names = listed([layer.name for layer in layers])
        raise InputError(f"unknown layer {name!r}: choose one of {names}")

    def trained_by(self, spec_sha256: str) -> int | None:
        """The id of the oldest network that was trained by a spec of this hash."""
        query = select(Network.id).where(Network.spec_sha256 == spec_sha256).order_by(Network.id)
        with self.session() as session:
            return session.scalar(query.limit(1))

    def asked_study(self, spec_sha256: str) -> tuple[int, Row]:
        """Network and spec (as plain values) of a study that was asked, by its SHA-256.

        Of several networks it is the one of which it was asked last.

        Raises
        ------
        InputError
            If there was no such study.
        """
        same = select(StoredStudy).where(StoredStudy.spec_sha256 == spec_sha256)
        query = same.order_by(StoredStudy.asked.desc(), StoredStudy.id.desc()).limit(1)
        with self.session() as session:
            study = first_row(session, query)
            if study is None:
                hashes = session.scalars(select(StoredStudy.spec_sha256)).all()
                raise InputError(
                    f"no study {spec_sha256} was asked here: choose one of {listed(hashes)}"
                )
            return study.network_id, study.spec

    def last_study(self, network_id: int) -> Row | None:
        """The spec of the study of a network that was asked last, as plain values."""
        query = select(StoredStudy).where(StoredStudy.network_id == network_id)
        latest = query.order_by(StoredStudy.asked.desc(), StoredStudy.id.desc()).limit(1)
        with self.session() as session:
            study = first_row(session, latest)
            return None if study is None else study.spec

    def run(self, id: int) -> Run:
        """One piece of work; `OipError` if it isn't there."""
        with self.session() as session:
            run = first_row(session, select(Run).where(Run.id == id))
            if run is None:
                raise OipError(f"runs has no row {id}; 'oip check' tells all")
            return run

    def screening(self, layer_id: int, spec_sha256: str, part: tuple[int, int]) -> Screening | None:
        """The screening of a layer by a part of a grid, if it is stored."""
        with self.session() as session:
            return first_row(
                session,
                screenings_of(layer_id, spec_sha256).where(
                    Screening.first == part[0], Screening.last == part[1]
                ),
            )

    def screened_parts(self, layer_id: int, spec_sha256: str) -> set[tuple[int, int]]:
        """The parts of a grid that were shown to a layer."""
        with self.session() as session:
            rows = session.scalars(screenings_of(layer_id, spec_sha256).options(_NO_ARRAYS))
            return {(row.first, row.last) for row in rows}

    def reaction(self, layer_id: int, spec_sha256: str) -> Reaction | None:
        """How a layer responds to images of a spec, if it is stored."""
        query = select(Reaction).where(
            Reaction.layer_id == layer_id, Reaction.spec_sha256 == spec_sha256
        )
        with self.session() as session:
            return first_row(session, query)

    def null(self, layer_id: int, spec_sha256: str) -> Null | None:
        """How alike OIPs of different maps of a layer are, if it is stored."""
        query = select(Null).where(Null.layer_id == layer_id, Null.spec_sha256 == spec_sha256)
        with self.session() as session:
            return first_row(session, query)

    def varieties(
        self, layer_id: int, spec_sha256: str, maps: Sequence[int] | None = None
    ) -> dict[int, Variety]:
        """How different the patterns of a layer's maps are, or of some of them, by map."""
        query = select(Variety).where(
            Variety.layer_id == layer_id, Variety.spec_sha256 == spec_sha256
        )
        if maps is not None:
            query = query.where(Variety.map.in_(maps))
        with self.session() as session:
            return {row.map: row for row in all_rows(session, query.order_by(Variety.map))}

    def correspondences(self, layer_ids: Sequence[int], spec_sha256: str) -> list[Correspondence]:
        """How maps of some layers correspond by a spec, if it is stored, in the layers' order."""
        ids = list(layer_ids)
        query = select(Correspondence).where(
            Correspondence.layer_id.in_(ids),
            Correspondence.other_id.in_(ids),
            Correspondence.spec_sha256 == spec_sha256,
        )
        with self.session() as session:
            rows = all_rows(session, query)
        return sorted(rows, key=lambda r: (ids.index(r.layer_id), ids.index(r.other_id), r.way))

    def baselines(self, layer_ids: Sequence[int], spec_sha256: str) -> list[Baseline]:
        """How some layers compare with untrained networks by a spec, in the layers' order."""
        ids = list(layer_ids)
        query = select(Baseline).where(
            Baseline.layer_id.in_(ids), Baseline.spec_sha256 == spec_sha256
        )
        with self.session() as session:
            rows = all_rows(session, query)
        return sorted(rows, key=lambda row: (ids.index(row.layer_id), row.way))

    def conditions(self, oip_ids: Sequence[int], spec_sha256: str) -> dict[int, Condition]:
        """How far some OIPs can be trusted by a spec, by their ids, as far as it is stored."""
        query = select(Condition).where(
            Condition.oip_id.in_(list(oip_ids)), Condition.spec_sha256 == spec_sha256
        )
        with self.session() as session:
            return {row.oip_id: row for row in all_rows(session, query)}

    def answering_runs(self, layer_id: int) -> list[tuple[str, int]]:
        """Of all that is stored of a layer beside screenings, scans and OIPs: tables and runs."""
        kinds = Reaction, Null, Variety, Correspondence, Baseline
        queries = {
            kind.__tablename__: select(kind.run_id).where(kind.layer_id == layer_id)
            for kind in kinds
        }
        queries[Condition.__tablename__] = (
            select(Condition.run_id).join(Oip).where(Oip.layer_id == layer_id)
        )
        with self.session() as session:
            return sorted(
                {(table, run) for table, query in queries.items() for run in session.scalars(query)}
            )

    def scanned_maps(self, layer_id: int, spec_sha256: str) -> set[int]:
        """Maps whose scan by a spec is finished."""
        query = select(Scan.map).where(
            Scan.layer_id == layer_id, Scan.spec_sha256 == spec_sha256, Scan.map.is_not(None)
        )
        with self.session() as session:
            return {map for map in session.scalars(query) if map is not None}

    def is_scanned(self, layer_id: int, objective: str, spec_sha256: str) -> bool:
        """Whether the scan of an objective by a spec is finished."""
        query = select(Scan.id).where(
            Scan.layer_id == layer_id,
            Scan.objective == objective,
            Scan.spec_sha256 == spec_sha256,
        )
        with self.session() as session:
            return session.scalar(query) is not None

    def scans(
        self,
        layer_id: int,
        spec_sha256: str,
        map: int | None = None,
        objective: str | None = None,
    ) -> list[Scan]:
        """Finished scans of a layer's maps by a spec, or that of one, with their rungs."""
        query = select(Scan).where(Scan.layer_id == layer_id, Scan.spec_sha256 == spec_sha256)
        is_asked = Scan.map.is_not(None) if objective is None else Scan.objective == objective
        query = query.where(is_asked)
        if map is not None:
            query = query.where(Scan.map == map)
        with self.session() as session:
            return all_rows(session, query.order_by(Scan.map))

    def scan_keys(self, layer_id: int, map: int | None = None) -> list[tuple[int, str]]:
        """Map and spec of the finished searches for OIPs, without their arrays."""
        query = select(Scan.map, Scan.spec_sha256).where(
            Scan.layer_id == layer_id, Scan.origin != "selection", Scan.map.is_not(None)
        )
        if map is not None:
            query = query.where(Scan.map == map)
        with self.session() as session:
            return sorted((map, spec) for map, spec in session.execute(query) if map is not None)


_NO_ARRAYS = load_only(Screening.first, Screening.last)
_WEIGHTS = undefer(Network.architecture), undefer(Network.weights), undefer(Network.probe)


def _whole_networks() -> Select[Network]:
    return select(Network).options(*_WEIGHTS)


def screenings_of(layer_id: int, spec_sha256: str) -> Select[Screening]:
    """All parts of a screening."""
    return select(Screening).where(
        Screening.layer_id == layer_id, Screening.spec_sha256 == spec_sha256
    )


#: In what two rows of a table agree that are the same result.
_SAME: dict[type[Base], tuple[str, ...]] = {
    Network: ("sha256",),
    Reaction: ("layer_id", "spec_sha256"),
    Scan: ("layer_id", "objective", "spec_sha256"),
    Null: ("layer_id", "spec_sha256"),
    Variety: ("layer_id", "map", "spec_sha256"),
    Correspondence: ("layer_id", "other_id", "way", "spec_sha256"),
    Baseline: ("layer_id", "way", "spec_sha256"),
    Condition: ("oip_id", "spec_sha256"),
}


def same_row(row: Base) -> Select[Any]:
    """The stored row with the same result as a new one."""
    if isinstance(row, Screening):  # a part is in the whole
        wider = Screening.first <= row.first, Screening.last >= row.last
        return screenings_of(row.layer_id, row.spec_sha256).where(*wider)
    kind = type(row)
    return select(kind).filter_by(**{name: getattr(row, name) for name in _SAME[kind]})
