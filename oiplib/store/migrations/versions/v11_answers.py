"""Answers that hold: untrained networks by the dozen, priors compared, OIPs put to the test.

Trained networks are held against many untrained ones, in a table of its own, and comparisons say
how alike whole layers are. What becomes of an OIP where something small is different has a table,
too. A study's spec names the restarts by which priors are compared.
"""

from __future__ import annotations

import json
from typing import Any

from alembic import op
from sqlalchemy import text

from oiplib.store.migrations.rows import recreate

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
_COMPARED = {
    "kind": "VarietySpec",
    "fluctuation": {
        "kind": "FluctuationSpec",
        "grids": [[3, 3], [7, 7], [14, 14], [28, 28]],
        "factors": [0.2, 0.2, 0.0, 0.0],
        "seed": 0,
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
    op.execute(_BASELINES_TABLE)
    op.execute(_CONDITIONS_TABLE)
    _complete("studies", {"compared": _COMPARED})
    _complete("correspondences", {"n_images": None, "n_searched": 2})


def _complete(table: str, new_fields: dict[str, Any]) -> None:
    """Name the new fields of the specs in a table, at their defaults."""
    connection = op.get_bind()
    for id, told in connection.execute(text(f"SELECT id, spec FROM {table}")).all():
        connection.execute(
            text(f"UPDATE {table} SET spec = :new WHERE id = :id"),
            {"new": json.dumps({**json.loads(told), **new_fields}), "id": id},
        )
