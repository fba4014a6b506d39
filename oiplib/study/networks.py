"""Networks: trained by a spec, or taken in as a model; each is stored once."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..store import Network, Store
from ..values import CnnSpec
from .rows import network_row
from .runs import running


def training_key(spec: CnnSpec) -> str:
    """A training's identity: its spec; a user's file counts by its content, not by its name.

    Raises
    ------
    InputError
        If the file can't be read.
    """
    return training_keys(spec)[0]


def training_keys(spec: CnnSpec) -> list[str]:
    """The hash of a training, and the one that it may still have in an upgraded database.

    An upgrade can't hash a user's file anew if the file isn't there. Errors as `training_key`.
    """
    if not spec.dataset.endswith(".npz"):
        return [spec.sha256]
    try:
        content = Path(spec.dataset).read_bytes()
    except OSError as error:
        raise InputError(f"{spec.dataset} can't be read: {error.strerror}") from None
    anonymous = spec.replace(dataset=".npz")
    before = json.dumps(anonymous.to_dict(), sort_keys=True, separators=(",", ":"))
    texts = anonymous.to_json(), before
    return [hashlib.sha256(text.encode() + content).hexdigest() for text in texts]


def train(store: Store, spec: CnnSpec, dataset: Any) -> Network:
    """Train a network on a data set, and store it; returns the stored row."""
    from ..engine import network

    key = training_key(spec)
    # The seed of the initial weights, and that of the images' order where it is another.
    seeds = "-".join(map(str, dict.fromkeys((spec.weights_seed, spec.order_seed))))
    with running(store, "train", spec) as run_id:
        model, history = network.train(spec, dataset, title=f"Training, seeds {seeds}")
        row = network_row(model, f"{Path(dataset.name).stem}-{seeds}", run_id)
        row.spec, row.spec_sha256, row.history = spec.to_dict(), key, history
        row.accuracy = network.evaluate(model, dataset.test_images, dataset.test_labels)
        store.add(row)
    stored = store.network_of(key) or store.network_with(row.sha256)
    assert stored is not None
    return stored


def add_model(store: Store, path: str | os.PathLike[str]) -> int:
    """Keep any trained Keras model (a ``.keras`` file) as a network; returns its id.

    Raises
    ------
    InputError
        If the file is no model that can be loaded safely, or the model doesn't take one
        image.
    """
    from ..engine import network

    model = network.load(os.fspath(path))
    name = re.sub(r"[^\w .+()-]", "_", Path(path).stem)[:200]
    row = network_row(model, name, run_id=0)
    stored = store.network_with(row.sha256)
    if stored is None:
        with running(store, "import") as run_id:
            row.run_id = run_id
            store.add(row)
        stored = store.network_with(row.sha256)
        assert stored is not None
    return stored.id
