"""Unite databases: the same result is the same row, whichever machine found it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import func, insert, select, text
from sqlalchemy.orm import Session, undefer

from ..progress import bar
from ..values import ScreeningSpec
from .answers import Baseline, Condition, Correspondence, Null, Reaction, Variety
from .base import Base
from .database import Store
from .tables import Layer, Network, Oip, Run, Rung, Scan, Screening, StoredStudy

# So many rows are in memory at a time where all are copied.
_ROWS = 100
# What is counted, and the tables that hold it.
_COUNTED: dict[str, tuple[type[Base], ...]] = {
    "networks": (Network,),
    "screenings": (Screening,),
    "reactions": (Reaction,),
    "nulls": (Null,),
    "restarts": (Variety,),
    "comparisons": (Correspondence, Baseline),
    "scans": (Scan,),
    "OIPs": (Oip,),
    "conditions": (Condition,),
}


def merge(target: Store, source: Store) -> dict[str, tuple[int, int]]:
    """Add to one database what only the other one holds.

    Networks are the same by their weights, architecture and inputs, layers by their names, OIPs
    by network, objective, start and ascents, all else by its spec. Where both have a result, the
    target's stays, even if the machines rounded differently. What would contradict it is left out
    and made anew when it is asked for: restarts that were judged by another threshold, and tests
    of OIPs whose images differ. What is merged of an objective is one transaction. A merge that
    was stopped goes on with the next call.

    An empty target becomes a copy, in one transaction: its rows have the same numbers.

    Parameters
    ----------
    target
        Gets the rows; opened with ``create=True``.
    source
        Is only read, as it is when the merge begins.

    Returns
    -------
    dict
        ``networks``, ``screenings``, ``reactions``, ``nulls``, ``restarts`` (maps),
        ``comparisons`` (of trainings, with each other and with untrained networks), ``scans``,
        ``OIPs``, ``conditions`` (OIPs put to the test) -> how many were added, and how many were
        there already. What is left out isn't counted.
    """
    with source.snapshot() as session:
        return _copied(target, session) or _Merge(target, session).done()


def _copied(target: Store, source: Session) -> dict[str, tuple[int, int]] | None:
    """Copy all rows as they are into a database that has none, and count them; else None."""
    tables, here = Base.metadata.sorted_tables, source.connection()
    n_rows = {
        table.name: here.scalar(select(func.count()).select_from(table)) or 0 for table in tables
    }
    with (
        target.session(writes=True) as session,
        bar(sum(n_rows.values()), "Copy", "rows") as progress,
    ):
        there = session.connection()
        on_server = there.dialect.name == "postgresql"
        if on_server:  # in a file, who writes is alone
            there.execute(text("LOCK TABLE runs IN SHARE ROW EXCLUSIVE MODE"))
        if there.scalar(select(Run.id).limit(1)) is not None:  # whatever is stored, a run made it
            return None
        for table in tables:
            query = select(table).order_by(table.c.id)
            found = here.execute(query, execution_options={"yield_per": _ROWS})
            for rows in found.mappings().partitions():
                there.execute(insert(table), [dict(row) for row in rows])
                progress.update(len(rows))
            if on_server:  # new rows get higher numbers
                of_table = f"pg_get_serial_sequence('{table.name}', 'id')"
                there.execute(text(f"SELECT setval({of_table}, max(id)) FROM {table.name}"))
    counts = {
        name: sum(n_rows[kind.__tablename__] for kind in kinds) for name, kinds in _COUNTED.items()
    }
    return {name: (n, 0) for name, n in counts.items() if n}


class _Merge:
    """One database on its way into another.

    `runs`, `layers` and `nulls` lead from id to id, `networks` from a layer's id to its network's,
    both in the target.
    """

    def __init__(self, target: Store, source: Session) -> None:
        self.target, self.source = target, source
        self.runs: dict[int, int] = {}
        self.layers: dict[int, int] = {}
        self.networks: dict[int, int] = {}
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
        of_layers: dict[type[Base], Callable[[Any], int | None]] = {
            Screening: self._screening,
            Reaction: self._plain,
            Null: self._null,
            Variety: self._variety,
            Correspondence: self._correspondence,
            Baseline: self._plain,
        }
        for kind, add in of_layers.items():
            self._each(kind, add)
        query = select(Scan.layer_id, Scan.objective).union(select(Oip.layer_id, Oip.objective))
        objectives = sorted((row[0], row[1]) for row in self.source.execute(query))
        with bar(len(objectives), "Merge OIPs", "objectives") as progress:
            for layer, objective in objectives:
                self._objective(layer, objective)
                progress.update(1)
        self._each(Condition, self._condition)
        return self.counts

    def _each(self, kind: type[Base], add: Callable[[Any], int | None]) -> None:
        """Add the rows of a table but those of which `add` says None: they are left out."""
        (name,) = (name for name, kinds in _COUNTED.items() if kind in kinds)
        rows = list(self._rows(kind))
        with bar(len(rows), f"Merge {name}", "rows") as progress:
            for row in rows:
                if (added := add(row)) is not None:
                    self._count(name, 1, added)
                progress.update(1)

    def _network(self, row: Network) -> int:
        layers = [Layer(**_values(layer, "network_id")) for layer in row.layers]
        new = Network(**_values(row, "run_id"), run_id=self.runs[row.run_id], layers=layers)
        added = self.target.add(new)
        stored = self.target.same_network(new)
        if stored.dataset is None and row.dataset is not None:
            self.target.join_dataset(stored.id, row.dataset, row.accuracy)
        for layer in row.layers:
            same = self.target.layer(stored.id, layer.name).id
            self.layers[layer.id], self.networks[same] = same, stored.id
        return added

    def _screening(self, row: Screening) -> int:
        new = Screening(**self._moved(row))
        grid = ScreeningSpec.from_dict(new.spec).grid
        if (new.first, new.last) == (0, grid.n_patterns):
            return self.target.replace_parts(new)
        return self.target.add(new)

    def _plain(self, row: Reaction | Baseline) -> int:
        return self.target.add(type(row)(**self._moved(row)))

    def _null(self, row: Null) -> int:
        added = self.target.add(Null(**self._moved(row)))
        stored = self.target.null(self.layers[row.layer_id], row.spec_sha256)
        assert stored is not None
        thresholds = stored.threshold, stored.feature_threshold
        if thresholds == (row.threshold, row.feature_threshold):
            self.nulls[row.id] = stored.id
        return added

    def _variety(self, row: Variety) -> int | None:
        if row.null_id not in self.nulls:
            return None
        moved = self._moved(row) | {"null_id": self.nulls[row.null_id]}
        return self.target.add(Variety(**moved))

    def _correspondence(self, row: Correspondence) -> int:
        """The older network stands first, and that may be the other one here.

        Which images were compared is known by their hash; whoever asks compares anew if they are
        others here.
        """
        moved = self._moved(row) | {"other_id": self.layers[row.other_id]}
        first, second = moved["layer_id"], moved["other_id"]
        if self.networks[first] > self.networks[second]:
            moved |= {"layer_id": second, "other_id": first}
            moved |= {"scores": row.scores.T, "shuffled": row.shuffled.T}
        return self.target.add(Correspondence(**moved))

    def _condition(self, row: Condition) -> int | None:
        tested = self.source.get_one(Oip, row.oip_id)
        with self.target.session() as session:
            same = session.scalars(select(Oip).where(Oip.key == tested.key)).one()
            if not (same.image == tested.image).all():
                return None
        moved = {"run_id": self.runs[row.run_id], "oip_id": same.id}
        return self.target.add(Condition(**_values(row) | moved))

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
        yield from self.source.scalars(
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
