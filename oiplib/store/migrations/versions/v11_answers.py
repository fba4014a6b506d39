"""Answers that hold: untrained networks by the dozen, priors compared, OIPs put to the test.

Trained networks are held against many untrained ones, in a table of its own, and comparisons say
how alike whole layers are. What becomes of an OIP where something small is different has a table,
too. Specs and starts name their new fields: noise on patterns, smoothed and joining fluctuations,
the restarts by which priors are compared.
"""

from __future__ import annotations

import json
from typing import Any

from alembic import op
from sqlalchemy import text

from oiplib.store.migrations.rows import define, recreate

revision = "11"
down_revision = "10"

_ASCENT = {
    "kind": "AscentSpec",
    "n_epochs": 11,
    "epsilon": 0.8,
    "n_steps": 0,
    "conv_criterion": 0.0002,
    "stop_with_convergence": False,
    "objective": "pre-activation",
    "schedule": "constant",
    "prior": "none",
}
_NEW_OF_FLUCTUATIONS = {"smoothing": 0.0, "join_epochs": []}
_COMPARED = {
    "kind": "VarietySpec",
    "fluctuation": {
        "kind": "FluctuationSpec",
        "grids": [[3, 3], [7, 7], [14, 14], [28, 28]],
        "factors": [0.2, 0.2, 0.0, 0.0],
        "seed": 0,
        **_NEW_OF_FLUCTUATIONS,
    },
    "n_starts": 16,
    "climb": {
        "kind": "ClimbSpec",
        "stages": [
            _ASCENT,
            {**_ASCENT, "n_epochs": 91, "objective": "response", "schedule": "cosine"},
        ],
    },
    "n_unlike": 0,
    "tries": 4,
    "null_seed": 0,
    "quantile": 0.99,
    "n_classes": 200,
    "margin": 0.9,
    "n_typical": 4,
    "n_images": 8,
}

_NEW_FIELDS: dict[str, dict[str, Any]] = {
    "StudySpec": {"compared": _COMPARED},
    "FluctuationSpec": _NEW_OF_FLUCTUATIONS,
    "TrialSpec": {"keeps_oips": True},
    "ScanSpec": {"noise": 0.0, "responding": False},
    "PatternStart": {"noise": 0.0, "seed": 0},
    "CorrespondenceSpec": {"n_images": None, "n_searched": 2},
}
_WITH_SPECS = ("studies", "scans", "reactions", "nulls", "varieties", "correspondences")

_CORRESPONDENCES_TABLE = """
CREATE TABLE new_correspondences (
    id INTEGER NOT NULL,
    layer_id INTEGER NOT NULL,
    other_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    relation VARCHAR NOT NULL,
    way VARCHAR NOT NULL,
    spec JSON NOT NULL,
    spec_sha256 VARCHAR NOT NULL,
    n_images INTEGER NOT NULL,
    images_sha256 VARCHAR NOT NULL,
    median DOUBLE NOT NULL,
    shuffled_median DOUBLE NOT NULL,
    svcca DOUBLE,
    cka DOUBLE,
    scores BLOB NOT NULL,
    shuffled BLOB NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (layer_id, other_id, way, spec_sha256),
    CHECK (relation IN ('order', 'weights', 'both', 'untrained')),
    CHECK (way IN ('activations', 'oips')),
    FOREIGN KEY(layer_id) REFERENCES layers (id),
    FOREIGN KEY(other_id) REFERENCES layers (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""
_BASELINES_TABLE = """
CREATE TABLE baselines (
    id INTEGER NOT NULL,
    layer_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    way VARCHAR NOT NULL,
    spec JSON NOT NULL,
    spec_sha256 VARCHAR NOT NULL,
    n_images INTEGER NOT NULL,
    images_sha256 VARCHAR NOT NULL,
    own_scores BLOB NOT NULL,
    pair_scores BLOB NOT NULL,
    active BLOB NOT NULL,
    svcca BLOB NOT NULL,
    cka BLOB NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (layer_id, way, spec_sha256),
    CHECK (way IN ('activations', 'oips')),
    FOREIGN KEY(layer_id) REFERENCES layers (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""
_CONDITIONS_TABLE = """
CREATE TABLE conditions (
    id INTEGER NOT NULL,
    oip_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    spec JSON NOT NULL,
    spec_sha256 VARCHAR NOT NULL,
    moved DOUBLE NOT NULL,
    noisy DOUBLE NOT NULL,
    losses BLOB NOT NULL,
    alike BLOB NOT NULL,
    path BLOB NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (oip_id, spec_sha256),
    FOREIGN KEY(oip_id) REFERENCES oips (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""
_KEPT = (
    "id, layer_id, other_id, run_id, relation, way, spec, spec_sha256, n_images, images_sha256, "
    "median, shuffled_median, scores, shuffled"
)


def upgrade() -> None:
    """Add what tells untrained networks, and the new fields of the specs."""
    recreate("correspondences", _CORRESPONDENCES_TABLE, _KEPT)
    define(_BASELINES_TABLE)
    define(_CONDITIONS_TABLE)
    for table in _WITH_SPECS:
        _complete_all(table, "spec")
    _complete_all("oips", "start")


def _complete(value: Any) -> Any:
    """A spec with its new fields at their defaults."""
    if isinstance(value, list):
        return [_complete(item) for item in value]
    if not isinstance(value, dict):
        return value
    named = {name: _complete(item) for name, item in value.items()}
    return {**_NEW_FIELDS.get(str(value.get("kind")), {}), **named}


def _complete_all(table: str, column: str) -> None:
    connection = op.get_bind()
    completed: dict[str, str] = {}
    for id, old in connection.execute(text(f"SELECT id, {column} FROM {table}")).all():
        if old not in completed:
            completed[old] = json.dumps(_complete(json.loads(old)))
        connection.execute(
            text(f"UPDATE {table} SET {column} = :new WHERE id = :id"),
            {"new": completed[old], "id": id},
        )
