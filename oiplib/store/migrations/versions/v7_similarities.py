"""How alike the OIPs of a map are."""

from oiplib.store.migrations.rows import define

revision = "7"
down_revision = "6"

_SIMILARITIES = """
CREATE TABLE similarities (
    id INTEGER NOT NULL,
    layer_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    map INTEGER NOT NULL,
    n_oips INTEGER NOT NULL,
    median DOUBLE,
    least DOUBLE,
    oips BLOB NOT NULL,
    peaks BLOB NOT NULL,
    shifts BLOB NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (layer_id, map),
    CHECK (map >= 0),
    CHECK (median BETWEEN 0 AND 1),
    FOREIGN KEY(layer_id) REFERENCES layers (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""


def upgrade() -> None:
    """A new table, empty."""
    define(_SIMILARITIES)
