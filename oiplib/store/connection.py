"""A database that is open: its transactions, and errors that a user understands."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from sqlalchemy import URL, NullPool, create_engine, event
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from ..errors import InputError, OipError
from ..values import parsed
from . import schema
from .address import (
    begin,
    check_journal,
    database_url,
    explained,
    immutable_url,
    is_file,
    pragmas,
    writing_pragmas,
)

T = TypeVar("T")


class Connected:
    """A database that is open, with its transactions; parameters and errors as for `Store`."""

    def __init__(self, target: str | os.PathLike[str] | None = None, create: bool = False) -> None:
        self.url = database_url(target)
        self.is_file = is_file(self.url)
        self.name = str(self.url.database) if self.is_file else str(self.url)
        is_there = os.path.isfile(self.name)
        if self.is_file and not is_there and os.path.lexists(self.name):
            raise InputError(f"{self.name} isn't a file: name one with --db")
        if self.is_file and not create and not is_there:
            raise OipError(
                f"there is no database {self.name}: make one with 'oip reproduce', or name "
                "another with --db"
            )
        if is_there:
            check_journal(self.name)
        try:
            url = immutable_url(self.url) if self.is_file else self.url
            self._engine = create_engine(
                url,
                json_serializer=partial(json.dumps, separators=(",", ":")),
                json_deserializer=parsed,
            )
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise InputError(f"{self.name} can't be used as a database: {error}") from None
        self.is_sqlite = self._engine.dialect.name == "sqlite"
        if self.is_sqlite:
            if create and is_there:
                self._look(url)
            event.listen(self._engine, "connect", writing_pragmas if create else pragmas)
            event.listen(self._engine, "begin", begin)
        self._readers = sessionmaker(self._engine, expire_on_commit=False)
        writes = self._engine.execution_options(writes=True)
        self._writers = sessionmaker(writes, expire_on_commit=False)
        with self._errors():
            schema.prepare(self._engine, self.name, create)

    @property
    def files(self) -> list[str]:
        """The database's file, and those that SQLite keeps beside it; none of a server's."""
        endings = ("", "-wal", "-shm", "-journal") if self.is_file else ()
        return [self.name + ending for ending in endings]

    def _look(self, url: URL) -> None:
        """Raise `OipError` if a file isn't one of ours, before a connection changes its mode."""
        with self._errors():
            engine = create_engine(url, poolclass=NullPool)
            event.listen(engine, "connect", pragmas)
            event.listen(engine, "begin", begin)
            with engine.connect() as connection:
                schema.has_tables(connection, self.name)

    @contextmanager
    def session(self, writes: bool = False) -> Iterator[Session]:
        """One transaction: committed at the end, undone by an error.

        One that `writes` keeps other writers out from its beginning, so that what it reads
        first still holds when it writes.
        """
        with self._errors(), (self._writers if writes else self._readers).begin() as session:
            yield session

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """One transaction that sees all as it was at its beginning, whatever others write."""
        with self.session() as session:
            if self._engine.dialect.name == "postgresql":  # in a file, each transaction does
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield session

    def _write(self, work: Callable[[Session], T]) -> T:
        """Do some work that looks for rows and adds those that aren't there.

        Where a database lets two writers look at once, the slower one looks again.
        """
        try:
            with self._writers.begin() as session:
                return work(session)
        except IntegrityError:
            with self.session(writes=True) as session:
                return work(session)
        except SQLAlchemyError as error:
            raise explained(self.name, error) from None

    def close(self) -> None:
        """Give all connections back; the write-ahead log goes back into the file."""
        self._engine.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise explained(self.name, error) from None
        except OverflowError:
            raise InputError("a number is too large for a database") from None
