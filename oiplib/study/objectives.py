"""Searches for OIPs of any objective, one at a time: get or compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError
from ..progress import bar
from ..store import Layer
from ..values import Objective, ScanSpec, TrialSpec
from . import rows
from .computing import Computing

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
    with study.running(kind, spec) as run_id:
        scan = found(study, spec, objective, f"{title}, {objective}")
        row = rows.scan_row(scan, spec, layer, run_id, objective)
        oips = rows.oip_rows(scan, spec, layer, run_id, objective)
        study.store.add_scans([row], oips)
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
    """What a search finds for one objective; nothing is stored."""
    from ..search import scan
    from ..search.screening import screen

    target = study.target(objective)
    if isinstance(spec, TrialSpec):
        with bar(1, title, "objectives") as progress:
            return next(scan.try_fluctuations(target, spec, [0], progress))
    screening = None
    if spec.strategy == "race":
        with bar(spec.grid.n_patterns, f"Screening, {objective}", "patterns") as progress:
            screening = screen(target, spec.screening, progress=progress)
    with bar(1, title, "objectives") as progress:
        raced = next(scan.scan(target, spec, [0], screening, progress))
    rows.check_finite(raced, objective)
    return raced
