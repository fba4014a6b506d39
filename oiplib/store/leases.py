"""Which driver computes a unit, where several work on one study: leases that end with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from .address import explained

# Where a machine dies without a word, the server notices it after a minute instead of two hours.
_KEEPALIVES = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}


class Leases:
    """The units that a driver may compute; from `Store.leases`.

    They are advisory locks of a connection to PostgreSQL: the server takes them back when the
    connection ends, however the driver does. Other databases know no leases: there each unit is
    granted, and the store keeps the first of two results. To be used by one thread.

    Attributes
    ----------
    are_shared : bool
        Whether other drivers could have a lease.
    """

    def __init__(self, connection: Connection | None, name: str) -> None:
        self._connection, self._name = connection, name
        self._taken: set[str] = set()
        self.are_shared = connection is not None

    def take(self, unit: str) -> bool:
        """Whether the driver may compute a unit: True if it has, or gets, the lease.

        Another driver may have stored the unit meanwhile, so look for it once more. Where it is
        False, another driver computes the unit: come back later, in case it dies.

        Parameters
        ----------
        unit
            All that the unit depends on, as a text.

        Raises
        ------
        OipError
            If the connection is lost, and all leases with it.
        """
        if unit not in self._taken and self._ask("pg_try_advisory_lock", unit):
            self._taken.add(unit)
        return unit in self._taken

    def drop(self, unit: str) -> None:
        """Give the lease of a unit back, if the driver has it; errors as `take`."""
        if unit in self._taken:
            self._ask("pg_advisory_unlock", unit)
            self._taken.remove(unit)

    def _ask(self, function: str, unit: str) -> bool:
        if self._connection is None:
            return True
        number = int.from_bytes(hashlib.sha256(unit.encode()).digest()[:8], "big", signed=True)
        try:
            answer = self._connection.scalar(text(f"SELECT {function}({number})"))
        except SQLAlchemyError as error:
            raise explained(self._name, error) from None
        return bool(answer)


@contextmanager
def leases_in(engine: Engine, name: str) -> Iterator[Leases]:
    """Leases that end with the context; parameters as for `schema.prepare`."""
    if engine.dialect.name != "postgresql":
        yield Leases(None, name)
        return
    try:
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        # Not the pool's any more: closing it ends the session.
        connection.detach()
        for setting, value in _KEEPALIVES.items():
            connection.exec_driver_sql(f"SET {setting} = {value}")
    except SQLAlchemyError as error:
        raise explained(name, error) from None
    with connection:
        yield Leases(connection, name)
        with suppress(SQLAlchemyError):  # the server may take a moment to notice the end
            connection.execute(text("SELECT pg_advisory_unlock_all()"))
