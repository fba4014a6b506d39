"""Searches for OIPs of any objective, one at a time: get or compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError
from ..progress import bar
from ..store import Layer
from ..values import Objective, ScanSpec, TrialSpec
from . import rows
from .computing import Computing
from .units import ObjectiveUnit
from .work import Work

if TYPE_CHECKING:
    from ..search.scan import MapScan


def search(
    study: Computing, spec: TrialSpec | ScanSpec, objective: Objective, title: str
) -> list[int]:
    """Search an objective by a spec, unless that is stored; returns [0] if it is new.

    Raises
    ------
    InputError
        If the objective can't be stored.
    """
    if not objective.can_be_stored:
        raise InputError(f"{objective} is a function of your own and isn't stored: use Study.grow")
    layer = layer_of(study, objective)
    if study.store.is_scanned(layer.id, str(objective), spec.sha256):
        return []
    kind = "select" if spec.origin == "selection" else "derive"
    text = str(objective)
    with study.running(kind, spec) as run_id:

        def keep(group: tuple[str, ...], scan: MapScan) -> None:
            row = rows.scan_row(scan, spec, layer, run_id, objective)
            study.store.add_scans([row], rows.oip_rows(scan, spec, layer, run_id, objective))

        work = Work(
            name=f"search|{study.network.sha256}|{spec.sha256}",
            subject=study.subject,
            groups=[(text,)],
            unit=lambda group: ObjectiveUnit(spec, objective),
            keep=keep,
            stored=lambda: [text] if study.store.is_scanned(layer.id, text, spec.sha256) else [],
        )
        study.carry_out(work, f"{title}, {objective}", "objectives")
    return [0]


def layer_of(study: Computing, objective: Objective) -> Layer:
    """The last of the network's layers that an objective looks at."""
    return max(
        (layer for layer in study.network.layers if layer.name in objective.layers),
        key=lambda layer: layer.position,
    )


def found(
    study: Computing, spec: TrialSpec | ScanSpec, objective: Objective, title: str
) -> MapScan:
    """What a search finds here for one objective; nothing is stored.

    The objective may be a function of the user's own, which can't be sent anywhere.
    """
    with bar(1, title, "objectives") as progress:
        scan = ObjectiveUnit(spec, objective).compute(study.engine_of, progress)
    rows.check_finite(scan, objective)
    return scan
