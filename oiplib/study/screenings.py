"""Screenings of a study: get or compute, part by part."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from ..store import Screening
from ..values import ScreeningSpec
from . import rows
from .computing import Computing
from .units import ScreeningUnit
from .work import Work

if TYPE_CHECKING:
    from ..search import screening as search

# The first pattern of a part of a grid, and the one after its last.
_Part = tuple[int, int]


def screened(study: Computing, spec: ScreeningSpec) -> Screening:
    """The layer's responses to all distinct patterns of a grid; computed where it isn't stored."""
    study.train()
    whole = (0, spec.grid.n_patterns)
    stored = study.store.screening(study.layer.id, spec.sha256, whole)
    return stored or _merged(study, spec, _screened_parts(study, spec))


def not_stored(study: Computing, spec: ScreeningSpec) -> search.Screening:
    """The layer's responses to all distinct patterns of a grid; nothing is stored."""
    from ..search import screening

    found: dict[_Part, search.Screening] = {}
    parts = screening.parts_of(spec.grid)

    def keep(group: tuple[_Part, ...], part: search.Screening) -> None:
        found[group[0]] = part

    work = _work(study, spec, parts, keep)
    study.carry_out(work, "Screening", "patterns", _length)
    return screening.merged([found[part] for part in parts], spec.n_top)


def _screened_parts(study: Computing, spec: ScreeningSpec) -> list[_Part]:
    """Screen the parts of a grid that aren't yet, and return all; each is stored when finished."""
    from ..search import screening

    layer = study.layer
    parts = screening.parts_of(spec.grid)
    stored = study.store.screened_parts(layer.id, spec.sha256)
    missing = [part for part in parts if part not in stored]
    if not missing or (0, spec.grid.n_patterns) in stored:
        return parts
    with study.running("screen", spec) as run_id:

        def keep(group: tuple[_Part, ...], answers: search.Screening) -> None:
            study.store.add(rows.screening_row(answers, spec, group[0], layer, run_id))

        def now() -> set[_Part]:
            there = set(study.store.screened_parts(layer.id, spec.sha256))
            # Another driver may have merged the parts already.
            return set(parts) if (0, spec.grid.n_patterns) in there else there

        done = sum(map(_length, parts)) - sum(map(_length, missing))
        work = _work(study, spec, missing, keep, now)
        study.carry_out(work, "Screening", "patterns", _length, done)
    return parts


def _work(
    study: Computing,
    spec: ScreeningSpec,
    parts: Sequence[_Part],
    keep: Callable[[tuple[_Part, ...], search.Screening], None],
    stored: Callable[[], Collection[_Part]] | None = None,
) -> Work[_Part]:
    layer = study.layer.name
    return Work(
        name=f"screen|{study.network.sha256}|{layer}|{spec.sha256}",
        subject=study.subject,
        groups=[(part,) for part in parts],
        unit=lambda group: ScreeningUnit(layer, spec, *group[0]),
        keep=keep,
        stored=stored,
    )


def _length(part: _Part) -> int:
    first, last = part
    return last - first


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
