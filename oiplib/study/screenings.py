"""Screenings of a study: get or compute, part by part."""

from __future__ import annotations

from ..progress import bar
from ..store import Screening
from ..values import ScreeningSpec
from . import rows
from .computing import Computing


def screened(study: Computing, spec: ScreeningSpec) -> Screening:
    """The layer's responses to all distinct patterns of a grid; computed where it isn't stored."""
    study.train()
    whole = (0, spec.grid.n_patterns)
    stored = study.store.screening(study.layer.id, spec.sha256, whole)
    return stored or _merged(study, spec, screened_parts(study, spec))


def screened_parts(
    study: Computing, spec: ScreeningSpec, shard: int = 0, n_shards: int = 1
) -> list[tuple[int, int]]:
    """Screen the parts of a shard that aren't yet; each is stored when it is finished."""
    from ..search import screening

    study.train()
    parts = screening.parts_of(spec.grid)[shard::n_shards]
    stored = study.store.screened_parts(study.layer.id, spec.sha256)
    missing = [part for part in parts if part not in stored]
    if not missing or (0, spec.grid.n_patterns) in stored:
        return parts
    total = sum(last - first for first, last in parts)
    ready = total - sum(last - first for first, last in missing)
    with (
        study.running("screen", spec) as run_id,
        bar(total, "Screening", "patterns", ready) as progress,
    ):
        for part in missing:
            answers = screening.screen(study.engine, spec, part, progress)
            study.store.add(rows.screening_row(answers, spec, part, study.layer, run_id))
    return parts


def _merged(study: Computing, spec: ScreeningSpec, parts: list[tuple[int, int]]) -> Screening:
    """The screening of a whole grid from its stored parts, in whose place it is stored."""
    from ..search import screening

    layer = study.layer
    stored = [study.store.screening(layer.id, spec.sha256, part) for part in parts]
    there = [row for row in stored if row is not None]
    whole = (0, spec.grid.n_patterns)
    if len(there) == len(parts) > 1:
        total = screening.merged([rows.screening_of(row) for row in there], spec.n_top)
        row = rows.screening_row(total, spec, whole, layer, there[-1].run_id)
        study.store.replace_parts(row)
    # Where parts are missing, another process has merged them.
    merged = study.store.screening(layer.id, spec.sha256, whole)
    assert merged is not None
    return merged
