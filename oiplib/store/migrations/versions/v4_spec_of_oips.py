"""OIPs can be found by the hash of the ascents that they went through."""

from __future__ import annotations

import json
from typing import Any

from alembic import op

from oiplib.store.migrations.rows import canonical, rewrite, sha256

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """A column that follows from another."""
    op.execute("ALTER TABLE oips ADD COLUMN spec_sha256 VARCHAR NOT NULL DEFAULT ''")
    rewrite("oips", "spec", _hash)


def _hash(spec: str) -> dict[str, Any]:
    return {"spec_sha256": sha256(canonical(json.loads(spec)))}
