"""How different a map's patterns are, and which maps of two trainings correspond.

The comparisons of a map's few OIPs, which many restarts replace, are left out.
"""

from alembic import op

from oiplib.store.migrations.rows import define, recreate

revision = "8"
down_revision = "7"

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
    CHECK (origin IN ('fluctuation', 'pattern', 'selection', 'comparison')),
    FOREIGN KEY(layer_id) REFERENCES layers (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""

_VARIETIES = """
CREATE TABLE varieties (
    id INTEGER NOT NULL,
    layer_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    map INTEGER NOT NULL,
    spec JSON NOT NULL,
    spec_sha256 VARCHAR NOT NULL,
    n_starts INTEGER NOT NULL,
    n_patterns INTEGER NOT NULL,
    commonest DOUBLE NOT NULL,
    median DOUBLE,
    best_loss DOUBLE NOT NULL,
    unlike_loss DOUBLE,
    threshold DOUBLE NOT NULL,
    feature_threshold DOUBLE NOT NULL,
    starts BLOB NOT NULL,
    losses BLOB NOT NULL,
    patterns BLOB NOT NULL,
    peaks BLOB NOT NULL,
    features BLOB NOT NULL,
    shifts BLOB NOT NULL,
    null_peaks BLOB NOT NULL,
    null_features BLOB NOT NULL,
    images BLOB NOT NULL,
    unlike_losses BLOB NOT NULL,
    unlike_alike BLOB NOT NULL,
    unlike_images BLOB NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (layer_id, map, spec_sha256),
    CHECK (map >= 0),
    CHECK (n_patterns > 0),
    CHECK (commonest BETWEEN 0 AND 1),
    FOREIGN KEY(layer_id) REFERENCES layers (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""

_CORRESPONDENCES = """
CREATE TABLE correspondences (
    id INTEGER NOT NULL,
    layer_id INTEGER NOT NULL,
    other_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    relation VARCHAR NOT NULL,
    way VARCHAR NOT NULL,
    n_images INTEGER NOT NULL,
    images_sha256 VARCHAR NOT NULL,
    median DOUBLE NOT NULL,
    shuffled_median DOUBLE NOT NULL,
    scores BLOB NOT NULL,
    shuffled BLOB NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (layer_id, other_id, way),
    CHECK (relation IN ('order', 'weights', 'both', 'untrained')),
    CHECK (way IN ('activations', 'oips')),
    FOREIGN KEY(layer_id) REFERENCES layers (id),
    FOREIGN KEY(other_id) REFERENCES layers (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""


def upgrade() -> None:
    """New tables, empty; scans may serve a comparison."""
    recreate("scans", _SCANS, "id, layer_id, run_id, map, origin, spec, spec_sha256")
    op.execute("DROP TABLE similarities")
    define(_VARIETIES)
    define(_CORRESPONDENCES)
