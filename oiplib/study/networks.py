"""Networks: trained by a spec, or taken in as a model; each is stored once."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..progress import bar
from ..store import Network, Store
from ..values import INPUTS_CHOICES, CnnSpec, Inputs
from .executors import Cluster, Executor, Workers, n_cores
from .rows import network_row
from .runs import running
from .units import PackedData, Subject, TrainingUnit
from .work import Work, carry_out

if TYPE_CHECKING:
    from ..engine.training import History

_log = logging.getLogger("oiplib")

Place = str | os.PathLike[str] | None


def training_key(spec: CnnSpec, data: Place = None) -> str:
    """A training's identity: its spec; a user's data set counts by its content, not by its name.

    Raises
    ------
    InputError
        If the file can't be read.
    """
    if not spec.dataset.endswith(".npz"):
        return spec.sha256
    from ..engine.data import npz_path

    path = npz_path(spec.dataset, data)
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None
    anonymous = spec.replace(dataset=".npz")
    return hashlib.sha256((anonymous.to_json() + _content(path, changed)).encode()).hexdigest()


@lru_cache(maxsize=8)
def _content(path: Path, changed: int) -> str:
    """The hash of a file's data set, which must not have changed since."""
    from ..engine.data import load

    return load(str(path)).sha256


def train(
    store: Store,
    executor: Executor,
    specs: Sequence[CnnSpec],
    dataset: Any,
    data: Place = None,
) -> None:
    """Train networks on a data set, several side by side, and store each when it is finished.

    Those that are stored already are left alone. The bytes of a training hang on the number of
    threads, so each has one: in a process of its own, or on a worker of a cluster.

    Parameters
    ----------
    store
    executor
        Where it is done.
    specs
        The trainings.
    dataset
        What all of them are trained on.
    data
        Folder that holds its files.
    """
    # By its key a training is known wherever its data set's file lies.
    specs_by_key = {training_key(spec, data): spec for spec in specs}

    def stored() -> list[str]:
        return [key for key in specs_by_key if store.trained_by(key) is not None]

    known = stored()
    missing = [key for key in specs_by_key if key not in known]
    if not missing:
        return
    with ExitStack() as ending:
        if not isinstance(executor, Cluster):
            n = n_cores() if executor.is_here else executor.n_workers
            executor = ending.enter_context(Workers(min(len(missing), n), n_threads=1))
        run_ids = {
            key: ending.enter_context(running(store, "train", specs_by_key[key])) for key in missing
        }
        waiting = list(missing)
        finished: dict[str, tuple[str, bytes, History]] = {}

        def keep(group: tuple[str, ...], trained: tuple[str, bytes, History]) -> None:
            finished[group[0]] = trained
            # A file's networks get their ids in the order of the specs, whichever is finished
            # first; with a server, another driver may have the one before.
            in_order = takewhile(finished.__contains__, waiting)
            keep_finished(list(in_order if store.is_file else finished))

        def keep_finished(keys: Sequence[str]) -> None:
            for key in keys:
                waiting.remove(key)
                _keep(store, specs_by_key[key], key, finished.pop(key), dataset, data, run_ids[key])

        ending.callback(lambda: keep_finished(list(finished)))
        work = Work(
            name=f"train|{dataset.sha256}",
            subject=Subject(dataset.sha256, lambda: dataset, lambda: PackedData(dataset)),
            groups=[(key,) for key in missing],
            unit=lambda group: TrainingUnit(specs_by_key[group[0]]),
            keep=keep,
            stored=stored,
        )
        n_batches = {
            key: spec.epochs * -(-len(dataset.train_images) // spec.batch_size)
            for key, spec in specs_by_key.items()
        }
        title = f"Training, seeds {', '.join(_seeds(specs_by_key[key]) for key in missing)}"
        with bar(sum(n_batches[key] for key in missing), title, "batches") as progress:
            carry_out(executor, store, work, progress, n_batches.__getitem__)


def _seeds(spec: CnnSpec) -> str:
    """The seed of the initial weights, and that of the images' order where it is another."""
    return "-".join(map(str, dict.fromkeys((spec.weights_seed, spec.order_seed))))


def _keep(
    store: Store,
    spec: CnnSpec,
    key: str,
    trained: tuple[str, bytes, History],
    dataset: Any,
    data: Place,
    run_id: int,
) -> None:
    """Store a network that was trained."""
    from ..engine import network

    architecture, weights, history = trained
    _check_finite(weights, history)
    model = network.unpack(architecture, weights)
    row = network_row(model, f"{_plain(Path(dataset.name).stem)}-{_seeds(spec)}", Inputs(), run_id)
    row.spec, row.spec_sha256, row.history = spec.to_dict(), key, history
    row.dataset = described(dataset, found_at(spec.dataset, data))
    row.accuracy = network.evaluate(model, dataset.test_images, dataset.test_labels)
    store.add(row)


def _check_finite(weights: bytes, history: History) -> None:
    """Raise `InputError` if a training has diverged: such a network can't be rebuilt."""
    losses = [value for series in history.values() for value in series]
    with np.load(io.BytesIO(weights), allow_pickle=False) as arrays:
        is_finite = all(np.isfinite(arrays[name]).all() for name in arrays)
    if not (is_finite and np.isfinite(losses).all()):
        raise InputError(
            "the training diverged, its loss isn't finite, so nothing is stored: choose a smaller "
            "learning rate"
        )


def add_model(
    store: Store,
    model: Any,
    inputs: Inputs | str | None = None,
    image_size: tuple[int, int] | None = None,
    dataset: str | None = None,
    data: Place = None,
    layer: str | None = None,
) -> int:
    """Keep any trained Keras model as a network; returns its id.

    Parameters
    ----------
    store
        The database.
    model : path or keras.Model
        A file that ends in ``.keras``, ``.h5`` or ``.hdf5``, or the model itself.
    inputs
        What images it takes; by default what its own first layers tell.
    image_size
        Height and width, where the model takes images of any size.
    dataset
        A data set of such images: a name, or the path of an ``.npz`` file.
    data
        Folder that holds the data set's files.
    layer
        One that the model must have.

    Raises
    ------
    InputError
        If the file is no model that can be loaded safely, the model doesn't take one image,
        nothing tells which images it takes, the data set has others, or the layer is missing.
    """
    from ..engine import models

    is_file = isinstance(model, (str, os.PathLike))
    taken = models.read(model, image_size) if is_file else models.taken(model, image_size)
    name = _plain(Path(model).stem if is_file else str(model.name))
    row = network_row(taken, name, _inputs_of(store, taken, name, inputs), run_id=0)
    names = [each.name for each in row.layers]
    if layer is not None and layer not in names:
        raise InputError(f"unknown layer {layer!r}: choose one of {', '.join(names)}")
    if dataset is not None:
        _join(row, taken, dataset, data)
    stored = store.network_with(row.sha256)
    if stored is None:
        with running(store, "import") as run_id:
            row.run_id = run_id
            store.add(row)
        stored = store.network_with(row.sha256)
        assert stored is not None
    elif row.dataset is not None and stored.dataset != row.dataset:
        if stored.spec is not None:
            raise InputError(
                f"network {stored.id} ({stored.name}) was trained here on "
                f"{(stored.dataset or {}).get('name')}: leave out the data set"
            )
        store.join_dataset(stored.id, row.dataset, row.accuracy)
    return stored.id


def described(dataset: Any, source: str) -> dict[str, Any]:
    """A data set as a network names it: by its content, and where it was found."""
    return {
        "name": dataset.name,
        "source": source,
        "sha256": dataset.sha256,
        "classes": list(dataset.class_names),
        "noun": dataset.noun,
    }


def found_at(name: str, data: Place) -> str:
    """Where a data set was found: its name, or the path of a user's file."""
    from ..engine.data import npz_path

    return str(npz_path(name, data)) if name.endswith(".npz") else name


def _inputs_of(store: Store, model: Any, name: str, asked: Inputs | str | None) -> Inputs:
    """What images a model takes: as asked, as its first layers tell, or as is stored of it."""
    from ..engine import models, network

    proposed = models.proposed_inputs(model)
    if asked is not None:
        named = asked if isinstance(asked, Inputs) else Inputs.parse(asked)
        if proposed not in (None, named):
            _log.warning("%s: its first layers tell %s, you named %s", name, proposed, named)
        return named
    if proposed is not None:
        return proposed
    weights = network.weights_sha256(model)
    stored = {row.inputs for row in store.networks() if row.weights_sha256 == weights}
    if len(stored) == 1:
        return Inputs.parse(stored.pop())
    raise InputError(
        f"nothing in {name} tells which images it takes: name its inputs (oip train --model FILE "
        f"--inputs TEXT; in Python inputs=TEXT), one of {INPUTS_CHOICES}"
    )


def _join(row: Network, model: Any, source: str, data: Place) -> None:
    """Name a data set in a model's row, with the accuracy where the model tells its classes."""
    from ..engine import data as datasets
    from ..engine import network

    dataset = datasets.load(source, data)
    shape = row.image_height, row.image_width, row.image_channels
    if dataset.train_images.shape[1:] != shape:
        raise InputError(
            f"{dataset.name} has images of the shape {dataset.train_images.shape[1:]}, and the "
            f"network takes {shape}: name a data set of such images"
        )
    outputs = [tuple(output.shape[1:]) for output in model.outputs]
    n_units = outputs[0][0] if len(outputs) == 1 and len(outputs[0]) == 1 else None
    if n_units is not None and 1 < n_units < dataset.n_classes:
        raise InputError(
            f"{dataset.name} has {dataset.n_classes} classes, and the network tells {n_units} "
            "apart: name the data set that it was trained on"
        )
    row.dataset = described(dataset, found_at(source, data))
    if outputs == [(dataset.n_classes,)]:
        row.accuracy = network.evaluate(
            model,
            dataset.test_images,
            dataset.test_labels,
            Inputs.parse(row.inputs),
            dataset.pixel_range,
        )


def _plain(name: str) -> str:
    """A name of letters, digits and a few signs, as stored names are."""
    return re.sub(r"[^\w .+()-]", "_", name)[:200] or "network"
