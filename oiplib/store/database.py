"""The database: finished units of work go in, whole or not at all."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, undefer

from ..processes import this_process, was_killed
from .answers import Baseline, Correspondence
from .base import Base
from .leases import Leases, leases_in
from .reader import Reader, same_row, screenings_of
from .sound import all_rows, check_image, check_target
from .tables import Layer, Network, Oip, Run, Scan, Screening, StoredStudy

Row = dict[str, Any]

_log = logging.getLogger("oiplib")


class Store(Reader):
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

    Examples
    --------
    >>> store = Store("sqlite://", create=True)  # in memory
    >>> store.networks(), store.oip_ids()
    ([], [])
    """

    def __init__(self, target: str | os.PathLike[str] | None = None, create: bool = False) -> None:
        super().__init__(target, create)
        if create:
            self.end_killed_runs()

    def leases(self) -> AbstractContextManager[Leases]:
        """Leases of units: drivers that share a PostgreSQL don't compute one twice.

        They end with the context, and with the process or its machine.

        Examples
        --------
        >>> store, stored = Store("sqlite://", create=True), []
        >>> with store.leases() as leases:
        ...     for unit in ("layer 3, map 5", "layer 3, map 6"):
        ...         if leases.take(unit):  # else another driver is at it
        ...             if unit not in stored:  # else another driver was faster
        ...                 stored.append(unit)  # computed, and stored by a transaction
        ...             leases.drop(unit)
        >>> stored
        ['layer 3, map 5', 'layer 3, map 6']
        """
        return leases_in(self._engine, self.name)

    def add(self, *rows: Base) -> int:
        """Store finished results, all or nothing; returns how many weren't stored already."""

        def add(session: Session) -> int:
            new = [row for row in rows if session.scalar(same_row(row)) is None]
            session.add_all(new)
            return len(new)

        return self._write(add)

    def add_scans(self, scans: Sequence[Scan], oips: Sequence[Oip]) -> tuple[int, int]:
        """Store finished scans and the OIPs that they found, all or nothing.

        The same result is the same row: an OIP that another scan has found from the same start
        by the same ascent is kept, and so is a scan that another process has stored. Only the
        images on its way are added to an OIP that was stored without them.

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
                layer = session.get_one(Layer, scan.layer_id)
                check_target(scan.objective, scan.map, layer)
            for oip in oips:
                layer = session.get_one(Layer, oip.layer_id)
                check_target(oip.objective, oip.map, layer)
                check_image(oip.image, layer)
            same_oips = select(Oip).where(Oip.key.in_([oip.key for oip in oips]))
            frames = undefer(Oip.frames), undefer(Oip.report_steps), undefer(Oip.image)
            stored = {oip.key: oip for oip in session.scalars(same_oips.options(*frames))}
            new_scans = [scan for scan in scans if session.scalar(same_row(scan)) is None]
            new_oips = [oip for oip in oips if oip.key not in stored]
            for oip in oips:
                known = stored.get(oip.key)
                if known is None or len(known.frames) or not len(oip.frames):
                    continue
                # On another machine the ascent may have gone another way.
                if (known.image == oip.image).all():
                    known.frames, known.report_steps = oip.frames, oip.report_steps
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
        self.end_killed_runs()
        noted = {**environment, "process": this_process()}
        run = Run(kind=kind, spec=spec, started=datetime.now(UTC), environment=noted)
        with self.session(writes=True) as session:
            session.add(run)
        return run.id

    def end_killed_runs(self) -> list[int]:
        """Note of runs that seem to go on, and whose process has ended, that they were killed."""
        running = select(Run).where(Run.status == "running").order_by(Run.id)
        with self.session() as session:
            killed = [
                run.id
                for run in all_rows(session, running)
                if was_killed(run.environment.get("process"))
            ]
        if killed:
            with self.session(writes=True) as session:
                for run in session.scalars(running.where(Run.id.in_(killed))):
                    run.status, run.error = "interrupted", "its process was killed"
            numbers = ", ".join(map(str, killed))
            _log.warning("%s: run %s was killed; what it had finished is kept", self.name, numbers)
        return killed

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

    def put_study(
        self, network_id: int, spec: Row, spec_sha256: str, asked: datetime | None = None
    ) -> None:
        """Note what is asked of a network, so that a study without a spec goes on with it.

        With a moment, as when databases are merged, a study that is known stays as it is, and
        no new one becomes the last.
        """

        def put(session: Session) -> None:
            same = select(StoredStudy).where(
                StoredStudy.network_id == network_id, StoredStudy.spec_sha256 == spec_sha256
            )
            study = session.scalar(same)
            if study is None:
                study = StoredStudy(network_id=network_id, spec=spec, spec_sha256=spec_sha256)
            elif asked is not None:
                return
            latest = session.scalar(
                select(func.max(StoredStudy.asked)).where(StoredStudy.network_id == network_id)
            )
            moment = asked or datetime.now(UTC)
            if asked is not None and latest is not None:
                moment = min(moment, latest - timedelta(microseconds=1))
            study.asked = moment
            session.add(study)

        self._write(put)

    def join_dataset(self, network_id: int, dataset: Row, accuracy: float | None) -> None:
        """Name the data set of a network that was taken in as a model."""
        with self.session(writes=True) as session:
            network = session.get_one(Network, network_id)
            network.dataset, network.accuracy = dataset, accuracy

    def replace_parts(self, whole: Screening) -> bool:
        """Store the screening of a whole grid in the place of its parts; False if it is there."""

        def replace(session: Session) -> bool:
            stored = session.scalar(same_row(whole))
            for row in session.scalars(screenings_of(whole.layer_id, whole.spec_sha256)):
                if row is not stored:
                    session.delete(row)
            session.flush()
            if stored is None:
                session.add(whole)
            return stored is None

        return self._write(replace)

    def put_compared(self, pairs: Sequence[Correspondence], baselines: Sequence[Baseline]) -> None:
        """Store how the maps of some layers correspond, in the place of what was stored."""

        def put(session: Session) -> None:
            rows = [*pairs, *baselines]
            for row in rows:
                for stored in session.scalars(same_row(row)):
                    session.delete(stored)
            session.flush()
            session.add_all(rows)

        self._write(put)
