"""The first schema. Its databases, and those of the next three, carry no number."""

revision = "1"
down_revision = None


def upgrade() -> None:
    """Nothing came before."""
