"""Scans from which nobody is dropped, by which to judge a selection."""

from oiplib.store.migrations.rows import recreate

revision = "3"
down_revision = "2"

_SCANS = """
CREATE TABLE new_scans (
    id INTEGER NOT NULL,
    layer_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    map INTEGER NOT NULL,
    origin VARCHAR NOT NULL,
    spec JSON NOT NULL,
    spec_sha256 VARCHAR NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (layer_id, map, spec_sha256),
    CHECK (map >= 0),
    CHECK (origin IN ('fluctuation', 'pattern', 'selection')),
    FOREIGN KEY(layer_id) REFERENCES layers (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""


def upgrade() -> None:
    """The table's check of the origin knows one more."""
    recreate("scans", _SCANS, "id, layer_id, run_id, map, origin, spec, spec_sha256")
