"""Which images a map responds to most, and how to each class of them.

What an older database says about digits and random images lacks that, so it is left out; the
next study that needs it computes it anew, in seconds.
"""

from alembic import op

from oiplib.store.migrations.rows import define

revision = "6"
down_revision = "5"

_REACTIONS = """
CREATE TABLE reactions (
    id INTEGER NOT NULL,
    layer_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    spec_sha256 VARCHAR NOT NULL,
    n_images INTEGER NOT NULL,
    n_reacting BLOB NOT NULL,
    strongest_preactivation BLOB NOT NULL,
    top_images BLOB NOT NULL,
    top_responses BLOB NOT NULL,
    class_means BLOB NOT NULL,
    images BLOB NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (layer_id, kind, spec_sha256),
    CHECK (kind IN ('fluctuation', 'digit')),
    FOREIGN KEY(layer_id) REFERENCES layers (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
)
"""


def upgrade() -> None:
    """The table is made anew."""
    op.execute("DROP TABLE reactions")
    define(_REACTIONS)
