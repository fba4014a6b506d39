"""From each older schema to the next one, run by Alembic when a database is opened."""
