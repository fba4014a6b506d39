"""Unite databases: the same result is the same row, whichever machine found it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import undefer

from ..progress import bar
from ..values import ScreeningSpec
from .answers import Null, Reaction, Variety
from .base import Base
from .database import Store
from .tables import Layer, Network, Oip, Run, Rung, Scan, Screening, StoredStudy


def merge(target: Store, source: Store) -> dict[str, tuple[int, int]]:
    """Add to one database what only the other one holds.

    Networks are the same by their weights, architecture and inputs, layers by their names, OIPs
    by network, objective, start and ascents, all else by its spec. Where both have a result, the
    target's stays, even if the machines rounded differently. What would not fit there is left
    out and made anew when it is asked for: comparisons of trainings, tests of OIPs, and restarts
    that were judged by another threshold. What is merged of an objective is one transaction. A
    merge that was stopped goes on with the next call.

    Parameters
    ----------
    target
        Gets the rows; opened with ``create=True``.
    source
        Is only read.

    Returns
    -------
    dict
        ``networks``, ``screenings``, ``reactions``, ``nulls``, ``restarts`` (maps), ``scans``,
        ``OIPs`` -> how many were added, and how many were there already. What is left out
        isn't counted.
    """
    return _Merge(target, source).done()


class _Merge:
    """One database on its way into another; `runs`, `layers`, `nulls` lead from id to id."""

    def __init__(self, target: Store, source: Store) -> None:
        self.target, self.source = target, source
        self.runs: dict[int, int] = {}
        self.layers: dict[int, int] = {}
        self.nulls: dict[int, int] = {}
        self.counts: dict[str, tuple[int, int]] = {}

    def done(self) -> dict[str, tuple[int, int]]:
        for run in self._rows(Run):
            self.runs[run.id] = self.target.add_run(Run(**_values(run)))
        for network in self._rows(Network):
            self._count("networks", 1, self._network(network))
            for study in self._rows(StoredStudy, StoredStudy.network_id == network.id):
                stored = self.target.same_network(network)
                self.target.put_study(stored.id, study.spec, study.spec_sha256, study.asked)
        kinds: dict[str, tuple[type[Any], Callable[[Any], int]]] = {
            "screenings": (Screening, self._screening),
            "reactions": (Reaction, self._reaction),
            "nulls": (Null, self._null),
            "restarts": (Variety, self._variety),
        }
        rows = [(name, row, add) for name, (kind, add) in kinds.items() for row in self._rows(kind)]
        with self.source.session() as session:
            query = select(Scan.layer_id, Scan.objective).union(select(Oip.layer_id, Oip.objective))
            objectives = sorted((row[0], row[1]) for row in session.execute(query))
        with bar(len(rows) + len(objectives), "Merge", "rows") as progress:
            for name, row, add in rows:
                if not isinstance(row, Variety) or row.null_id in self.nulls:
                    self._count(name, 1, add(row))
                progress.update(1)
            for layer, objective in objectives:
                self._objective(layer, objective)
                progress.update(1)
        return self.counts

    def _network(self, row: Network) -> int:
        layers = [Layer(**_values(layer, "network_id")) for layer in row.layers]
        new = Network(**_values(row, "run_id"), run_id=self.runs[row.run_id], layers=layers)
        added = self.target.add(new)
        stored = self.target.same_network(new)
        if stored.dataset is None and row.dataset is not None:
            self.target.join_dataset(stored.id, row.dataset, row.accuracy)
        self.layers |= {
            layer.id: self.target.layer(stored.id, layer.name).id for layer in row.layers
        }
        return added

    def _screening(self, row: Screening) -> int:
        new = Screening(**self._moved(row))
        grid = ScreeningSpec.from_dict(new.spec).grid
        if (new.first, new.last) == (0, grid.n_patterns):
            return self.target.replace_parts(new)
        return self.target.add(new)

    def _reaction(self, row: Reaction) -> int:
        return self.target.add(Reaction(**self._moved(row)))

    def _null(self, row: Null) -> int:
        added = self.target.add(Null(**self._moved(row)))
        stored = self.target.null(self.layers[row.layer_id], row.spec_sha256)
        assert stored is not None
        thresholds = stored.threshold, stored.feature_threshold
        if thresholds == (row.threshold, row.feature_threshold):
            self.nulls[row.id] = stored.id
        return added

    def _variety(self, row: Variety) -> int:
        moved = self._moved(row) | {"null_id": self.nulls[row.null_id]}
        return self.target.add(Variety(**moved))

    def _objective(self, layer: int, objective: str) -> None:
        oips = list(self._rows(Oip, Oip.layer_id == layer, Oip.objective == objective))
        scans = []
        for scan in self._rows(Scan, Scan.layer_id == layer, Scan.objective == objective):
            rungs = [Rung(**_values(rung, "scan_id")) for rung in scan.rungs]
            scans.append(Scan(**self._moved(scan), rungs=rungs))
        n_scans, n_oips = self.target.add_scans(scans, [Oip(**self._moved(oip)) for oip in oips])
        self._count("scans", len(scans), n_scans)
        self._count("OIPs", len(oips), n_oips)

    def _rows(self, kind: type[Any], *where: Any) -> Iterator[Any]:
        deferred = [undefer(p.class_attribute) for p in kind.__mapper__.column_attrs if p.deferred]
        with self.source.session() as session:
            yield from session.scalars(
                select(kind).where(*where).order_by(kind.id).options(*deferred)
            )

    def _moved(self, row: Any) -> dict[str, Any]:
        """A row's values, its run and its layer being those of the target."""
        moved = {"run_id": self.runs[row.run_id], "layer_id": self.layers[row.layer_id]}
        return _values(row) | moved

    def _count(self, name: str, n: int, added: int) -> None:
        new, old = self.counts.get(name, (0, 0))
        self.counts[name] = new + added, old + n - added


def _values(row: Base, *but: str) -> dict[str, Any]:
    names = row.__mapper__.column_attrs.keys()
    return {name: getattr(row, name) for name in names if name not in ("id", *but)}
