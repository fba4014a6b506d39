"""Databases carry their schema's number; frames are pictures; networks may share a spec.

Two machines that round differently train different networks by the same spec, and both have
a place in one database. In an OIP's row the large columns go to the end, where they are in
nobody's way, and frames, which are for the eye, take a byte for a pixel.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from alembic import op

from oiplib.errors import OipError
from oiplib.store.arrays import header_of, unpacked
from oiplib.store.migrations.rows import recreate, rewrite

revision = "5"
down_revision = "4"

# Of all frames of an OIP; oiplib had made images of 28 x 28 pixels.
_MOST_PIXELS = 2**24

_NETWORKS = """
CREATE TABLE new_networks (
    id INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    spec JSON,
    spec_sha256 VARCHAR,
    architecture VARCHAR NOT NULL,
    weights BLOB NOT NULL,
    weights_sha256 VARCHAR NOT NULL,
    image_height INTEGER NOT NULL,
    image_width INTEGER NOT NULL,
    image_channels INTEGER NOT NULL,
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
_OIPS = """
CREATE TABLE new_oips (
    id INTEGER NOT NULL,
    "key" VARCHAR NOT NULL,
    layer_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    map INTEGER NOT NULL,
    origin VARCHAR NOT NULL,
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
    CHECK (loss > 0),
    CHECK (steps >= 0),
    CHECK (origin IN ('fluctuation', 'pattern', 'revival', 'digit')),
    UNIQUE ("key"),
    FOREIGN KEY(layer_id) REFERENCES layers (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""


def upgrade() -> None:
    """Both tables are made anew; arrays that can't be read stay as they are."""
    recreate(
        "networks",
        _NETWORKS,
        "id, name, spec, spec_sha256, architecture, weights, weights_sha256, image_height, "
        "image_width, image_channels, history, accuracy, run_id, created",
    )
    rewrite("oips", "frames", _frames)
    recreate(
        "oips",
        _OIPS,
        'id, "key", layer_id, run_id, map, origin, start, spec, spec_sha256, loss, steps, '
        "stop_reason, created, image, report_steps, frames, trace",
    )
    op.execute("CREATE INDEX oips_by_map ON oips (layer_id, map, loss)")
    op.execute("CREATE INDEX oips_by_map_number ON oips (map)")


def _frames(blob: bytes) -> dict[str, Any]:
    try:
        header = header_of(blob)
        if header.dtype.kind != "f" or math.prod(header.shape) > _MOST_PIXELS:
            return {"frames": blob}
        frames = unpacked(blob).astype(np.float32)
    except OipError:
        return {"frames": blob}
    each = tuple(range(1, frames.ndim))
    low, high = (bound(frames, axis=each, keepdims=True) for bound in (np.min, np.max))
    scaled = (frames - low) / np.maximum(high - low, 1e-12)
    buffer = io.BytesIO()
    np.save(buffer, np.round(255 * scaled).astype(np.uint8), allow_pickle=False)
    return {"frames": buffer.getvalue()}
