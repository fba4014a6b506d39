"""Does a database hold what it says? Every row is read, and nothing in it is trusted.

What can be computed again in a pass is: hashes of all specs, keys of OIPs from what they are
made of, and the responses to all OIPs and to their starts. What takes an ascent is `replay`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, object_session

from ..errors import OipError
from ..pictures import in_bytes
from ..progress import bar
from ..store import (
    Array,
    Baseline,
    Condition,
    Correspondence,
    Layer,
    Network,
    Null,
    Oip,
    Reaction,
    Run,
    Scan,
    Screening,
    Store,
    StoredStudy,
    Variety,
    check_environment,
    check_name,
    check_target,
)
from ..values import (
    CnnSpec,
    ConditionSpec,
    CorrespondenceSpec,
    Inputs,
    NullSpec,
    ReactionSpec,
    ScanSpec,
    ScreeningSpec,
    Spec,
    StudySpec,
    TrialSpec,
    VarietySpec,
    check_objective,
    climb_of,
    map_list,
    may_take,
    objective_of,
    prior_in,
    report_steps_of,
    stages_of,
)
from .comparing import RELATIONS, WAYS
from .responding import whole_row, wrong_responses
from .rows import network_sha256, oip_key
from .runs import KINDS, LONGEST_ERROR
from .study import Study

# A correlation may be 1 and a bit, by rounding.
_MOST_ALIKE = 1.001

# Nothing of ours is older.
_FIRST_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)

# So many maps of two trainings are assigned to each other once more.
_MOST_ASSIGNED = 1024

# Between the accuracy of the last epoch and that of the network.
_ACCURACY = 0.02


def problems(store: Store) -> Iterator[str]:
    """What is wrong with a database, each as a line that names the row.

    The file itself is checked, references between rows, and for each row whether its arrays
    can be read, have the shapes that belong to it and finite values, and agree with its
    numbers. Networks are rebuilt in Keras' safe mode and compared with the hash of their
    weights; each then responds to all its OIPs and to their starts once more.
    """
    with store.session() as session:
        if store.is_sqlite:
            yield from _of_file(session)
        ids = {kind: session.scalars(select(kind.id).order_by(kind.id)).all() for kind in _CHECKS}
        sound: dict[type[Any], set[int]] = {kind: set() for kind in _CHECKS}
        n_rows = sum(map(len, ids.values())) + len(ids[Oip])
        with bar(n_rows, "Check", "rows") as progress:
            for kind, check in _CHECKS.items():
                for id in ids[kind]:
                    of_row = list(_of_row(session, kind, id, check))
                    yield from of_row
                    if not of_row:
                        sound[kind].add(id)
                    progress.update(1)
            for network in sorted(sound[Network]):
                study = Study(store, network=network)
                yield from wrong_responses(study, session, sound[Oip], sound[Screening], progress)


def _of_file(session: Session) -> Iterator[str]:
    def rows_of(pragma: str) -> list[Any]:
        return list(session.connection().exec_driver_sql(f"PRAGMA {pragma}"))

    yield from (f"the file: {row[0]}" for row in rows_of("integrity_check") if row[0] != "ok")
    for table, row, parent, _ in rows_of("foreign_key_check"):
        yield f"{table} row {row}: names a row of {parent} that doesn't exist"


def _of_row(
    session: Session, kind: type[Any], id: int, check: Callable[[Any], Iterator[str]]
) -> Iterator[str]:
    name, damages = f"{kind.__tablename__} row {id}: ", []
    try:
        row = whole_row(session, kind, id)
        damages = list(_arrays(row))
        damages += _hashes(row)
        yield from (name + problem for problem in damages)
        yield from (name + problem for problem in check(row))
    except SQLAlchemyError as error:
        yield name + " ".join(str(getattr(error, "orig", None) or error).split())[:200]
    except OipError as error:
        problem = str(error).removeprefix(name)
        if problem not in damages:
            yield name + problem
    except Exception as error:  # a damaged network raises nearly anything
        yield f"{name}can't be read: {type(error).__name__}: {str(error)[:200]}"
    finally:
        _forget(session, kind)


def _forget(session: Session, kind: type[Any]) -> None:
    """Drop what was read for a row, but for what the next ones need again: layers and networks.

    Those that come along with a row have no weights; networks that were checked have.
    """
    if kind is Network:
        session.expunge_all()
    for row in list(session):
        if not isinstance(row, (Layer, Network)) and row in session:  # a scan takes its rungs along
            session.expunge(row)


def _hashes(row: Any) -> Iterator[str]:
    """Whether each hash is one."""
    for column in row.__mapper__.column_attrs:
        name = column.key
        if name == "key" or name.endswith("sha256"):
            value = getattr(row, name)
            if value is not None and not re.fullmatch("[0-9a-f]{64}", value):
                yield f"{name} is no SHA-256"


def _arrays(row: Any) -> Iterator[str]:
    """Whether each array can be read, is as large as others of the row say, and finite."""
    lengths: dict[str, tuple[str, int]] = {}
    for column in row.__mapper__.column_attrs:
        kind = column.columns[0].type
        if not isinstance(kind, Array):
            continue
        name = column.key
        try:
            values = getattr(row, name)
        except OipError as error:
            yield str(error).removeprefix(f"{row.row_name}: ")
            continue
        if values is None:
            if not column.columns[0].nullable:
                yield f"{name} is missing"
            continue
        if not np.isfinite(values).all():
            yield f"{name} has values that aren't finite"
        for axis, length in zip(kind.axes, values.shape, strict=True):
            other, known = lengths.setdefault(axis, (name, length))
            if known != length:
                yield f"{name} has {length} {axis}, and {other} has {known}"


# --- rows ---


def _run(row: Run) -> Iterator[str]:
    if row.spec is not None:
        Spec.from_dict(row.spec)
    check_environment(row.environment)
    yield from _moment("started", row.started)
    if row.kind not in KINDS:
        yield f"its kind isn't one of {', '.join(KINDS)}"
    if row.error is not None and len(row.error) > LONGEST_ERROR:
        yield f"its error has {len(row.error):,} characters"
    if row.status in ("done", "running") and row.error is not None:
        yield f"it is {row.status}, and names an error"
    until_now = (datetime.now(UTC) - row.started + timedelta(days=1)).total_seconds()
    if row.seconds is not None and not 0 <= row.seconds <= until_now:
        yield f"it took {row.seconds:g} seconds"
    if row.status == "done" and row.seconds is None:
        yield "it is done, and took no time"


def _network(row: Network) -> Iterator[str]:
    from ..engine import layers, models, network
    from ..engine.dataset import check_description

    for name in (row.name, *(layer.name for layer in row.layers)):
        check_name(name)
    model = network.unpack(row.architecture, row.weights)
    if network.weights_sha256(model) != row.weights_sha256:
        yield "its weights aren't those that its SHA-256 names"
    inputs = Inputs.parse(row.inputs)
    if network_sha256(row.weights_sha256, row.architecture, inputs) != row.sha256:
        yield "its SHA-256 isn't that of its weights, architecture and inputs"
    if row.probe is not None and not models.same_outputs(row.probe, models.probe(model, inputs)):
        yield "its outputs aren't those of the model that was taken in"
    if layers.image_shape(model) != (row.image_height, row.image_width, row.image_channels):
        yield "its model takes images of another size than it says"
    shapes = [(name, (*shape,)) for name, shape in layers.map_layers(model).items()]
    if [(layer.name, _shape(layer)) for layer in row.layers] != [
        (name, shape if len(shape) == 3 else (1, 1, *shape)) for name, shape in shapes
    ]:
        yield "its layers aren't those of its model"
    yield from _moment("created", row.created)
    yield from _history(row)
    yield from _made_by(row, "train", "import")
    if row.dataset is not None:
        check_description(row.dataset)
    if [layer.position for layer in row.layers] != list(range(len(row.layers))):
        yield "its layers aren't numbered from 0 on"
    if row.spec is not None:
        spec = CnnSpec.from_dict(row.spec)
        # A file's content is part of the hash, and not part of the database.
        if not spec.dataset.endswith(".npz"):
            yield from _hash(spec, row)


def _history(row: Network) -> Iterator[str]:
    """Whether its training is a number per epoch for each name, and ends where it is."""
    values = list(row.history.values())
    for name in row.history:
        check_name(name)
    are_numbers = all(
        isinstance(series, list) and all(type(value) in (int, float) for value in series)
        for series in values
    )
    if not are_numbers or len({len(series) for series in values}) > 1:
        yield "its training isn't a number per epoch for each name"
        return
    last = row.history.get("val_accuracy", [row.accuracy])[-1:]
    known = row.accuracy if row.spec is not None and last != [None] else None
    # The last epoch's is computed in other batches, so a few images may fall otherwise.
    if known is not None and not abs(last[0] - known) < _ACCURACY:
        yield f"its accuracy is {known:g}, and its training ended at {last[0]:g}"


def _made_by(row: Any, *kinds: str) -> Iterator[str]:
    """Whether the run that made a row is one that makes such rows."""
    session = object_session(row)
    run = None if session is None else session.get(Run, row.run_id)
    if run is not None and run.kind not in kinds:
        yield f"run {run.id}, which made it, is one of the kind {run.kind[:20]}"


def _since_run(row: Any) -> Iterator[str]:
    """Whether a row was made after its run began."""
    session = object_session(row)
    run = None if session is None else session.get(Run, row.run_id)
    if run is not None and row.created < run.started - timedelta(days=1):
        yield f"it was created before run {run.id}, which made it"


def _shape(layer: Layer) -> tuple[int, int, int]:
    return layer.map_height, layer.map_width, layer.n_maps


def _study(row: StoredStudy) -> Iterator[str]:
    yield from _hash(StudySpec.from_dict(row.spec), row)
    yield from _moment("asked", row.asked)


def _oip(row: Oip) -> Iterator[str]:
    from ..engine.ascent import STOP_REASONS

    network = row.layer.network
    start, climb = row.start, climb_of(row.spec)
    n_steps = sum(stage.n_epochs - 1 for stage in stages_of(row.spec))
    if climb.sha256 != row.spec_sha256:
        yield "its ascents aren't those that its SHA-256 names"
    objective = objective_of(row.objective)
    if oip_key(network.sha256, objective, start, climb) != row.key:
        yield "its key isn't that of its network, objective, start and ascents"
    if str(prior_in(climb)) != row.prior:
        yield f"its prior isn't {row.prior}"
    may_converge = any(stage.stop_with_convergence for stage in stages_of(row.spec))
    if row.stop_reason not in STOP_REASONS or (row.stop_reason == "converged" and not may_converge):
        yield f"it can't have ended by {str(row.stop_reason)[:40]!r}"
    yield from _target(row)
    yield from _made_by(row, "derive")
    yield from _found(row)
    if not may_take(stages_of(row.spec), row.steps, row.stop_reason):
        yield f"it took {row.steps} steps, and its ascents have {n_steps}"
    elif float(row.trace[-1]) != row.loss:
        yield f"its trace ends at {row.trace[-1]:g}, its loss is {row.loss:g}"
    yield from _moment("created", row.created)
    yield from _since_run(row)
    reports = [step for step in report_steps_of(stages_of(row.spec)) if step <= row.steps]
    if len(row.report_steps) and row.report_steps.tolist() != reports:
        yield f"its images on the way aren't those of the steps {reports}"
    elif len(row.report_steps) and row.report_steps[-1] == row.steps:
        ended = in_bytes(row.image, Inputs.parse(network.inputs)).astype(int)
        if np.abs(row.frames[-1] - ended).max() > 1:
            yield "its last image on the way isn't the one that it ended with"
    if row.origin not in (start.origin, "revival"):
        yield f"its origin isn't {row.origin}"
    if not row.loss > row.trace[0]:
        yield "its loss didn't rise"


def _scan(row: Scan) -> Iterator[str]:
    spec = Spec.from_dict(row.spec)
    if not isinstance(spec, (TrialSpec, ScanSpec)):
        yield "its spec describes no search"
        return
    yield from _hash(spec, row)
    if row.origin != spec.origin:
        yield f"its origin isn't {row.origin}, but {spec.origin}"
    yield from _target(row)
    if not row.rungs:
        yield "its rungs are missing"
    if [rung.number for rung in row.rungs] != list(range(len(row.rungs))):
        yield "its rungs aren't numbered from 0 on"
    yield from _made_by(row, "derive", "select")
    if any(rung.steps < 0 for rung in row.rungs):
        yield "a rung of it took less than no steps"
    most = spec.n_trials if isinstance(spec, TrialSpec) else spec.grid.n_patterns
    for rung in row.rungs:
        starts = rung.starts
        if len(np.unique(starts)) < len(starts) or not ((starts >= 0) & (starts < most)).all():
            yield f"the starts of rung {rung.number} aren't {most} at most, each once"
    yield from _ends(row, spec)
    for rung in row.rungs:
        yield from (f"rung {rung.number}: {problem}" for problem in _arrays(rung))


def _found(row: Oip) -> Iterator[str]:
    """Whether a scan is stored that can have found it."""
    session = object_session(row)
    if session is None:
        return
    # Others of the layer and objective ask the same, so the answer is kept for the whole check.
    known = session.info.setdefault(_found, {})
    asked = row.layer_id, row.objective
    if asked not in known:
        query = select(Scan.spec).where(
            Scan.layer_id == row.layer_id, Scan.objective == row.objective
        )
        specs = [Spec.from_dict(values) for values in session.scalars(query)]
        searches = [spec for spec in specs if isinstance(spec, (TrialSpec, ScanSpec))]
        known[asked] = {spec.climb.sha256 for spec in searches}
    if row.spec_sha256 not in known[asked]:
        yield "no scan that is stored has found it"


def _ends(row: Scan, spec: TrialSpec | ScanSpec) -> Iterator[str]:
    """Whether OIPs of the scan's own starts have the losses with which its last rung ended."""
    session = object_session(row)
    if session is None or not row.rungs or not isinstance(spec, ScanSpec):
        return  # of trials, the losses before the ascents are kept
    last = row.rungs[-1]
    ended = dict(zip(last.starts.tolist(), last.losses.tolist(), strict=True))
    own = spec.start(0).to_dict()
    query = select(Oip.id, Oip.start_fields, Oip.loss).where(
        Oip.steps == last.steps,
        Oip.layer_id == row.layer_id,
        Oip.objective == row.objective,
        Oip.spec_sha256 == spec.climb.sha256,
    )
    for id, start, loss in session.execute(query):
        number = start.get("index") if {**start, "index": 0} == own else None
        if number in ended and ended[number] != loss:
            yield f"its last rung ends at {ended[number]:g}, and OIP {id} has {loss:g}"


def _screening(row: Screening) -> Iterator[str]:
    from ..search.screening import histogram_edges

    spec = ScreeningSpec.from_dict(row.spec)
    yield from _hash(spec, row)
    if not 0 <= row.first < row.last <= spec.grid.n_patterns:
        yield "it isn't part of a grid"
    if not row.n_reacting.max(initial=0) <= row.n_patterns <= row.last - row.first:
        yield f"it says that it showed {row.n_patterns} patterns"
    yield from _made_by(row, "screen", "derive")
    # Another processor's logarithm differs in the last bit.
    edges = histogram_edges(spec)
    if row.edges.shape != edges.shape or not np.allclose(row.edges, edges, rtol=1e-12, atol=0):
        yield "the edges of its histogram aren't those of its spec"
    if not row.top_indices.size:
        yield "it has no top patterns"
    yield from _top_patterns(row)
    if row.histogram.shape[1] != len(row.edges) - 1:
        yield "its histogram has other classes than edges"
    if (row.histogram.sum(axis=1) != row.n_reacting).any():
        yield "its histogram doesn't add up to the patterns with a response"


def _top_patterns(row: Screening) -> Iterator[str]:
    """Whether the patterns that suit each map are in the grid, each once, the best first."""
    indices, responses = np.sort(row.top_indices, axis=1), row.top_responses
    in_grid = ((indices >= row.first) & (indices < row.last)).all()
    if not in_grid or not (np.diff(indices, axis=1) > 0).all():
        yield "its top patterns aren't in the grid, each once"
    answers = np.where(responses > 0, responses, row.top_preactivations)
    if not (np.diff(answers, axis=1) <= 0).all():
        yield "its top patterns aren't in the order of what maps answer to them"


def _reaction(row: Reaction) -> Iterator[str]:
    spec = ReactionSpec.from_dict(row.spec)
    yield from _hash(spec, row)
    if row.kind != spec.kind:
        yield f"its kind isn't {row.kind}, but {spec.kind}"
    if row.kind == "fluctuation" and row.n_images != spec.n_images:
        yield f"it says that it showed {row.n_images} images"
    numbers = np.concatenate([row.n_reacting - 1, row.top_images.ravel()])
    if not ((numbers >= -1) & (numbers < row.n_images)).all():
        yield f"it names more than the {row.n_images} images that it showed"
    if row.kind == "fluctuation" and row.class_means.size:
        yield "it is one of random images, and holds means of classes"


def _null(row: Null) -> Iterator[str]:
    from ..analysis.variety import threshold

    spec = NullSpec.from_dict(row.spec)
    yield from _hash(spec, row)
    for name, limit in (("peaks", row.threshold), ("features", row.feature_threshold)):
        counts = getattr(row, name)
        if counts.shape[1] != spec.n_classes:
            yield f"{name} has {counts.shape[1]} classes, not {spec.n_classes}"
        elif counts.any() and threshold(counts.sum(axis=0), spec.quantile) != limit:
            yield f"the threshold of its {name} isn't {limit:g}"


def _variety(row: Variety) -> Iterator[str]:
    spec = VarietySpec.from_dict(row.spec)
    yield from _hash(spec, row)
    if (row.null.layer_id, row.null.spec_sha256) != (row.layer_id, spec.null.sha256):
        yield "its null isn't that of its layer and spec"
    yield from _map(row.map, row.layer)
    if len(row.images) != min(spec.n_images, row.n_patterns):
        yield f"it has {len(row.images)} images of its {row.n_patterns} patterns"
    if set(row.patterns.tolist()) != set(range(row.n_patterns)):
        yield f"its restarts don't show {row.n_patterns} patterns"
    different = row.unlike_losses[row.unlike_alike < row.null.threshold]
    if not abs(float(np.median(row.peaks.astype(float))) - float(row.median or 0)) < 2e-3:
        yield f"its median isn't {row.median}"  # the peaks are kept with three digits
    numbers = {
        "best_loss": row.losses.max(initial=0),
        "commonest": np.mean(row.patterns == 0),
        "unlike_loss": different.max() if len(different) else None,
    }
    for name, number in numbers.items():
        if getattr(row, name) != (None if number is None else float(number)):
            yield f"its {name} isn't {getattr(row, name)}"


def _correspondence(row: Correspondence) -> Iterator[str]:
    from ..analysis import matching

    yield from _hash(CorrespondenceSpec.from_dict(row.spec), row)
    if row.n_images < 0:
        yield f"it says that it compared {row.n_images} images"
    # An assignment takes a time that grows with the cube of their number.
    judged = max(row.scores.shape) <= _MOST_ASSIGNED
    for name, scores in (("median", row.scores), ("shuffled_median", row.shuffled)):
        if not judged:
            break
        median = float(np.nanmedian(matching.assigned(scores.astype(float))[1]))
        # Scores are kept with three digits, by which other maps may be assigned.
        if not abs(getattr(row, name) - median) < 0.05:
            yield f"its {name} isn't {getattr(row, name):g}"
    if row.way not in WAYS or row.relation not in (*RELATIONS, "untrained"):
        yield "its relation or its way isn't one of those that there are"


def _baseline(row: Baseline) -> Iterator[str]:
    yield from _hash(CorrespondenceSpec.from_dict(row.spec), row)
    if row.n_images < 0:
        yield f"it says that it compared {row.n_images} images"
    if row.way not in WAYS:
        yield "its way isn't one of those that there are"
    for name in ("own_scores", "pair_scores", "svcca", "cka"):
        if not (np.abs(getattr(row, name)) <= _MOST_ALIKE).all():
            yield f"its {name} isn't between -1 and 1"
    if not ((row.active >= 0) & (row.active <= 1)).all():
        yield "its active isn't between 0 and 1"


def _condition(row: Condition) -> Iterator[str]:
    yield from _hash(ConditionSpec.from_dict(row.spec), row)
    correlations = np.concatenate([row.alike.ravel(), row.path.ravel()])
    if not (np.abs(correlations) <= _MOST_ALIKE).all():
        yield "it holds a correlation beyond 1"
    if not np.isfinite([*row.losses.ravel(), row.moved, row.noisy]).all():
        yield "it holds a number that is none"


def _moment(name: str, moment: datetime) -> Iterator[str]:
    """Whether something can have happened then."""
    if not _FIRST_MOMENT <= moment <= datetime.now(UTC) + timedelta(days=1):
        yield f"{name} is no moment between {_FIRST_MOMENT.year} and now: {moment.isoformat()}"


def _hash(spec: Spec, row: Any) -> Iterator[str]:
    if spec.sha256 != row.spec_sha256:
        yield "its spec isn't the one that its SHA-256 names"


def _map(map: int, layer: Layer) -> Iterator[str]:
    try:
        map_list([map], layer.n_maps, layer.name)
    except OipError as error:
        yield str(error)


def _target(row: Oip | Scan) -> Iterator[str]:
    try:
        check_target(row.objective, row.map, row.layer)
        check_objective(
            objective_of(row.objective),
            {layer.name: _shape(layer) for layer in row.layer.network.layers},
        )
    except OipError as error:
        yield str(error)


_CHECKS: dict[type[Any], Callable[[Any], Iterator[str]]] = {
    Run: _run,
    Network: _network,
    StoredStudy: _study,
    Screening: _screening,
    Reaction: _reaction,
    Scan: _scan,
    Oip: _oip,
    Null: _null,
    Variety: _variety,
    Correspondence: _correspondence,
    Baseline: _baseline,
    Condition: _condition,
}
