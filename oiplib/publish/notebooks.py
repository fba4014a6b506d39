"""Run the notebook templates with papermill: the chapters once, the map's notebook per map.

A notebook is executed to a temporary place and moved when it is complete, together with a hash
of all that it was made from; so what stands there is whole, and is made again only if
something changed.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import nbformat

from ..errors import InputError, OipError
from ..files import check_target
from ..lifeline import end_with
from ..progress import bar
from ..study.chapters import MAP_CHAPTER, NOTEBOOKS, PREPARED, needs_of, prepare
from ..study.study import Study
from ..values import Maps
from . import words
from .for_maps import PLACE, for_maps

#: A folder for unfinished notebooks, among the executed ones.
SCRATCH = ".oip-scratch"
# In it, what the pages of all maps share.
_FOR_MAPS = "for-maps.npz"


@dataclass(frozen=True)
class Job:
    """One notebook to be executed.

    Attributes
    ----------
    template
        The notebook without outputs.
    target
        Where the executed notebook belongs.
    parameters
        What papermill injects.
    facts, holds
        What stands for the names in its text, and what is so; see `words.filled`.
    places
        The database as ``OIP_DB``, as ``OIP_DATA`` where the data set's files are looked for
        first, and what the pages of maps share. The kernel has them in its environment: no path
        or password of this machine gets into a notebook.
    key
        Hash of all that the notebook is made from.
    """

    template: Path
    target: Path
    parameters: dict[str, Any]
    facts: dict[str, str]
    holds: frozenset[str]
    places: dict[str, str]
    key: str


def run(
    study: Study,
    out: Path,
    names: Sequence[str] = NOTEBOOKS,
    maps: Maps = None,
    workers: int | None = None,
    stock: bool = False,
    is_prepared: bool = False,
) -> int:
    """Execute templates on a study's database.

    Parameters
    ----------
    study
        Whose database.
    out
        Folder of the executed notebooks; the maps' go to its subfolder ``maps``.
    names
        Which templates.
    maps
        Maps that are searched, and shown by the notebook of a map; all of the layer by default.
    workers
        Notebooks executed at the same time; one per core by default.
    stock
        Start each kernel anew, as Jupyter does, instead of as a copy of a process that has
        the heavy packages loaded (`oiplib.publish.kernels`). Slower, with the same outputs.
    is_prepared
        Whether all that they show is known to be stored; else it is computed first, here.

    Returns
    -------
    int
        How many were executed; the others stood there already.

    Raises
    ------
    InputError
        If there is no template of that name, or the folder holds a notebook of that name that
        isn't one of ours.
    OipError
        If notebooks failed: which, in which cell, with which error. The others are finished.
    """
    needs_of(names)  # an error for a name that no template has
    check_target(out, "folder")
    os.environ.pop(PREPARED, None)  # of the kernel from which we are called, if we are
    if not is_prepared:
        prepare(study, names, maps)
    todo = [job for job in _jobs(study, out, names, maps) if not _is_done(job)]
    of_maps = [job.parameters["map"] for job in todo if "map" in job.parameters]
    if of_maps:
        _hand_on(study, of_maps, out / SCRATCH / _FOR_MAPS)
    failed = []
    forked = not stock and "forkserver" in get_all_start_methods()
    try:
        with bar(len(todo), "Notebooks", "notebooks") as progress:
            for error in _executed(todo, out, workers or os.cpu_count() or 1, forked):
                failed.extend([error] if error else [])
                progress.update(1)
    finally:
        (out / SCRATCH / _FOR_MAPS).unlink(missing_ok=True)
    if failed:
        listed = "; ".join(sorted(failed))
        raise OipError(f"{len(failed)} of {len(todo)} notebooks failed: {listed}")
    return len(todo)


def templates(kind: str) -> Path:
    """The folder ``notebooks`` or ``book``: inside an installed package, or in the checkout."""
    package = Path(__file__).parents[1]
    inside = package / f"_{kind}"
    return inside if inside.is_dir() else package.parent / kind


def map_page(map: int) -> str:
    """Name of a map's notebook and page, without its ending."""
    return f"maps/map-{map:03d}"


def _hand_on(study: Study, maps: list[int], path: Path) -> None:
    """Compute what the pages of maps share, and keep it where their kernels look for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for_maps(study, maps).save(path)


def _places(study: Study) -> dict[str, str]:
    store = study.store
    url = store.url.render_as_string(hide_password=False)
    places = {"OIP_DB": str(Path(store.name).resolve()) if store.is_file else url, PREPARED: "1"}
    if study.data is not None:
        places["OIP_DATA"] = str(Path(study.data).resolve())
    return places


def _jobs(study: Study, out: Path, names: Sequence[str], maps: Maps) -> list[Job]:
    indices = study.check_maps(maps)
    study.note_asked()  # so that the notebooks find the spec by its hash
    shared = {PLACE: str((out / SCRATCH / _FOR_MAPS).resolve())}
    common = {
        "spec": study.spec.sha256,
        "network": study.network.id,
        "maps": None if len(indices) == study.layer.n_maps else ",".join(map(str, indices)),
    }
    code, places = _code_hash(), _places(study)
    facts, holds = words.facts(study, indices), words.holding(study)
    of_study = study.fingerprint()
    of_maps = study.fingerprints(indices) if MAP_CHAPTER.name in names else {}

    def job(name: str, target: Path, number: int | None = None) -> Job:
        template = templates("notebooks") / f"{name}.ipynb"
        values = common | ({} if number is None else {"map": number})
        told = facts if number is None else {**facts, "map": str(number)}
        stored = of_study if number is None else of_maps[number]
        made_from = (
            *(template.read_bytes(), sorted(values.items()), code, stored),
            *(sorted(told.items()), sorted(holds)),
        )
        key = hashlib.sha256(repr(made_from).encode()).hexdigest()
        own_places = places | (shared if number is not None else {})
        return Job(template, target, values, told, holds, own_places, key)

    jobs = [job(name, out / f"{name}.ipynb") for name in names if name != MAP_CHAPTER.name]
    if MAP_CHAPTER.name in names:
        for number in indices:
            jobs.append(job(MAP_CHAPTER.name, out / f"{map_page(number)}.ipynb", number))
    return jobs


def _executed(todo: list[Job], out: Path, workers: int, forked: bool) -> Iterator[str | None]:
    """Execute the jobs in parallel; yields what went wrong with each, or None."""
    if not todo:
        return
    scratch = out / SCRATCH
    scratch.mkdir(parents=True, exist_ok=True)
    _clear(scratch)
    # Fresh processes: a copy of this one would share TensorFlow's threads.
    context = get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        workers, context, initializer=_begin, initargs=(theirs, scratch / "kernels.log")
    )
    try:
        for future in as_completed([pool.submit(_execute, job, scratch, forked) for job in todo]):
            yield future.result()
    except BaseException:
        ours.close()  # ends what is still at work
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        ours.close()
        _clear(scratch)


def _clear(scratch: Path) -> None:
    """Remove what workers that were ended have left."""
    for left in scratch.glob("*.ipynb"):
        left.unlink(missing_ok=True)


def _begin(line: Connection, log: Path) -> None:
    """Live as long as the driver wants it, with what kernels print on a terminal in a file."""
    end_with(line)
    _log_to(log)


def _log_to(path: Path) -> None:
    """Send what kernels print on the terminal, such as that they are ended, to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    with path.open("ab") as log:
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)


def _is_done(job: Job) -> bool:
    """Whether a notebook stands there already; an error if there is one that isn't ours."""
    if not job.target.exists():
        return False
    try:
        key = nbformat.read(job.target, as_version=4).metadata["oiplib"]["key"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, nbformat.reader.NotJSONError):
        raise InputError(
            f"{job.target} isn't a notebook that was executed here: move it away, or name another "
            "folder with --out"
        ) from None
    return bool(key == job.key)


def _execute(job: Job, scratch: Path, forked: bool) -> str | None:
    """Execute one notebook in a kernel of its own; returns what went wrong, in one line."""
    # The debugger of the kernel would warn about frozen modules in every notebook.
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    for name in ("OIP_DATA", PLACE, PREPARED):
        os.environ.pop(name, None)
    os.environ.update(job.places)
    import papermill

    from . import kernels

    job.target.parent.mkdir(parents=True, exist_ok=True)
    executed = scratch / f"{job.target.stem}-{os.getpid()}.ipynb"
    try:
        # Without a file: papermill would write and validate all of it twice for each cell.
        notebook = papermill.execute_notebook(
            _filled(job),
            None,
            parameters=job.parameters,
            kernel_name="python3",
            progress_bar=False,
            log_output=False,
            **({"kernel_manager_class": kernels.ForkedKernelManager} if forked else {}),
        )
        nbformat.write(_cleaned(job, notebook), executed)
        executed.rename(job.target)
    except papermill.PapermillExecutionError as error:
        return f"{job.target.stem} in cell {error.cell_index + 1}: {error.ename}: {error.evalue}"
    except Exception as error:  # a dead kernel, a full disk: the other notebooks go on
        return f"{job.target.stem}: {' '.join(str(error).split())[:200]}"
    finally:
        executed.unlink(missing_ok=True)
    return None


def _filled(job: Job) -> Any:
    """The template with what its text says of this study; papermill fills in code only."""
    notebook = nbformat.read(job.template, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = words.filled(cell.source, job.facts, job.holds)
    notebook.cells = [cell for cell in notebook.cells if cell.source.strip()]
    return notebook


def _cleaned(job: Job, notebook: Any) -> Any:
    """The executed notebook with its hash, without papermill's times and paths."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata["oiplib"] = {"key": job.key}
    for cell in notebook.cells:
        for note in ("papermill", "execution"):
            cell.metadata.pop(note, None)
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            tags.append("remove-cell")
            cell.id = "parameters"  # papermill's is random
    return notebook


def _code_hash() -> str:
    """A hash of the package's source, so that notebooks follow a change of it."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
