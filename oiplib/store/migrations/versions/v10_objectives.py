"""Any objective, of any network: OIPs name what they excite, networks what images they take.

Maps are objectives now, beside positions, directions and sums; an OIP's loss may be negative,
and a prior may have led it. Networks name their inputs and their data set. Specs get the fields
that came with this, at their defaults, so that all hashes stay.
"""

from __future__ import annotations

import json
import re
from pathlib import PurePath
from typing import Any

from alembic import op
from sqlalchemy import text

from oiplib.store.migrations.rows import define, recreate

revision = "10"
down_revision = "9"

_NEW_FIELDS: dict[str, dict[str, Any]] = {
    "AscentSpec": {"prior": "none"},
    "ReactionSpec": {"data": ""},
}
_WITH_SPECS = ("studies", "scans", "oips", "reactions", "nulls", "varieties", "correspondences")

_NETWORKS_TABLE = """
CREATE TABLE new_networks (
    id INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    spec JSON,
    spec_sha256 VARCHAR,
    architecture VARCHAR NOT NULL,
    weights BLOB NOT NULL,
    weights_sha256 VARCHAR NOT NULL,
    sha256 VARCHAR NOT NULL,
    image_height INTEGER NOT NULL,
    image_width INTEGER NOT NULL,
    image_channels INTEGER NOT NULL,
    inputs VARCHAR NOT NULL,
    dataset JSON,
    probe BLOB,
    history JSON NOT NULL,
    accuracy DOUBLE,
    run_id INTEGER NOT NULL,
    created DATETIME NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (spec_sha256, weights_sha256),
    CHECK (accuracy BETWEEN 0 AND 1),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""
_SCANS_TABLE = """
CREATE TABLE new_scans (
    id INTEGER NOT NULL,
    layer_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    map INTEGER,
    objective VARCHAR NOT NULL,
    origin VARCHAR NOT NULL,
    spec JSON NOT NULL,
    spec_sha256 VARCHAR NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (layer_id, objective, spec_sha256),
    CHECK (map >= 0),
    CHECK (origin IN ('fluctuation', 'pattern', 'selection')),
    FOREIGN KEY(layer_id) REFERENCES layers (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""
_OIPS_TABLE = """
CREATE TABLE new_oips (
    id INTEGER NOT NULL,
    "key" VARCHAR NOT NULL,
    layer_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    map INTEGER,
    objective VARCHAR NOT NULL,
    origin VARCHAR NOT NULL,
    prior VARCHAR NOT NULL,
    start JSON NOT NULL,
    spec JSON NOT NULL,
    spec_sha256 VARCHAR NOT NULL,
    loss DOUBLE NOT NULL,
    steps INTEGER NOT NULL,
    stop_reason VARCHAR NOT NULL,
    created DATETIME NOT NULL,
    image BLOB NOT NULL,
    report_steps BLOB NOT NULL,
    frames BLOB NOT NULL,
    trace BLOB NOT NULL,
    PRIMARY KEY (id),
    CHECK (map >= 0),
    CHECK (steps >= 0),
    CHECK (origin IN ('fluctuation', 'pattern', 'revival')),
    UNIQUE ("key"),
    FOREIGN KEY(layer_id) REFERENCES layers (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""
_REACTIONS_TABLE = """
CREATE TABLE new_reactions (
    id INTEGER NOT NULL,
    layer_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    spec JSON NOT NULL,
    spec_sha256 VARCHAR NOT NULL,
    n_images INTEGER NOT NULL,
    n_reacting BLOB NOT NULL,
    strongest_preactivation BLOB NOT NULL,
    top_images BLOB NOT NULL,
    top_responses BLOB NOT NULL,
    class_means BLOB NOT NULL,
    images BLOB NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (layer_id, spec_sha256),
    CHECK (kind IN ('fluctuation', 'data')),
    FOREIGN KEY(layer_id) REFERENCES layers (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""
_REACTION_COLUMNS = (
    "id, layer_id, run_id, {}, spec, spec_sha256, n_images, n_reacting, "
    "strongest_preactivation, top_images, top_responses, class_means, images"
)
_BEFORE = "id, layer_id, run_id, map, {}origin, spec, spec_sha256"


def upgrade() -> None:
    """Objectives from maps, inputs and data sets of networks, the specs' new fields."""
    for table in _WITH_SPECS:
        _complete_specs(table)
    _networks()
    for table in ("scans", "oips"):
        op.execute(f"ALTER TABLE {table} ADD COLUMN objective VARCHAR")
        _name_objectives(table)
    recreate("scans", _SCANS_TABLE, _BEFORE.format("objective, "))
    oips = (
        'id, "key", layer_id, run_id, map, objective, origin, {}, start, spec, spec_sha256, '
        "loss, steps, stop_reason, created, image, report_steps, frames, trace"
    )
    recreate("oips", _OIPS_TABLE, oips.format("prior"), oips.format("'none'"))
    op.execute("CREATE INDEX oips_by_map ON oips (layer_id, map, loss)")
    op.execute("CREATE INDEX oips_by_map_number ON oips (map)")
    kinds = "CASE kind WHEN 'digit' THEN 'data' ELSE kind END"
    recreate(
        "reactions",
        _REACTIONS_TABLE,
        _REACTION_COLUMNS.format("kind"),
        _REACTION_COLUMNS.format(kinds),
    )


def _complete(value: Any) -> Any:
    """A spec with its new fields at their defaults."""
    if isinstance(value, list):
        return [_complete(item) for item in value]
    if not isinstance(value, dict):
        return value
    named = {name: _complete(item) for name, item in value.items()}
    return {**_NEW_FIELDS.get(str(value.get("kind")), {}), **named}


def _complete_specs(table: str) -> None:
    connection = op.get_bind()
    completed: dict[str, str] = {}
    for id, old in connection.execute(text(f"SELECT id, spec FROM {table}")).all():
        if old not in completed:
            completed[old] = json.dumps(_complete(json.loads(old)))
        connection.execute(
            text(f"UPDATE {table} SET spec = :new WHERE id = :id"),
            {"new": completed[old], "id": id},
        )


def _networks() -> None:
    connection = op.get_bind()
    for name in ("inputs VARCHAR", "dataset JSON", "probe BLOB"):
        define(f"ALTER TABLE networks ADD COLUMN {name}")
    op.execute("UPDATE networks SET inputs = 'standardized'")
    for id, spec in connection.execute(text("SELECT id, spec FROM networks")).all():
        if spec is None or json.loads(spec) is None:
            continue
        source = str(json.loads(spec)["dataset"])
        dataset: dict[str, Any] = {
            "name": PurePath(source).name,
            "source": source,
            "sha256": None,
            "classes": [],
            "noun": "digit" if source == "mnist" else "image",
        }
        connection.execute(
            text("UPDATE networks SET dataset = :new WHERE id = :id"),
            {"new": json.dumps(dataset), "id": id},
        )
    columns = (
        "id, name, spec, spec_sha256, architecture, weights, weights_sha256, sha256, "
        "image_height, image_width, image_channels, inputs, dataset, probe, history, accuracy, "
        "run_id, created"
    )
    recreate("networks", _NETWORKS_TABLE, columns)


def _name_objectives(table: str) -> None:
    """Each map's text: its layer, in quotes where the name isn't plain, and its number."""
    connection = op.get_bind()
    for id, name in connection.execute(text("SELECT id, name FROM layers")).all():
        layer = name if re.fullmatch(r"[A-Za-z_][\w./-]*", name) else f'"{name}"'
        connection.execute(
            text(
                f"UPDATE {table} SET objective = CAST(:layer AS VARCHAR) || CAST(map AS VARCHAR) "
                "WHERE layer_id = :id"
            ),
            {"layer": f"{layer}:", "id": id},
        )
