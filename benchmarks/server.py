"""A PostgreSQL server of Debian's for a benchmark; it ends with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import create_engine


class Server:
    """A server that is reached by a socket only; it makes databases from others."""

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found:
            sys.exit("Debian's postgresql isn't installed")
        self.folder = Path(tempfile.mkdtemp(prefix="oip-pg-"))  # a socket's path must be short
        # It refuses to run as root; Debian's package brings a user for it.
        self._user = {"user": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        if self._user:
            shutil.chown(self.folder, "postgres")
        self._bin, self._data = found[-1].parent, self.folder / "data"
        self._do("initdb", "-U", "oip", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        self._do("pg_ctl", "-w", "-o", options, "start")
        #: The databases that were made.
        self.made: set[str] = set()
        self._engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")

    def url(self, name: str) -> str:
        """The URL of a database."""
        return f"postgresql+psycopg://oip@/{name}?host={self.folder}"

    def make(self, name: str, template: str = "template0") -> str:
        """A database like another one, in the place of the one of that name; its URL."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        self.made.add(name)
        return self.url(name)

    def is_free(self, name: str, seconds: float) -> bool:
        """Whether nobody is connected to a database, at the latest after some seconds."""
        query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'"
        until = time.monotonic() + seconds
        while True:
            with self._engine.connect() as connection:
                if connection.exec_driver_sql(query).scalar() == 0:
                    return True
            if time.monotonic() > until:
                return False
            time.sleep(0.05)

    def stop(self) -> None:
        """End it, and remove all that it holds."""
        self._engine.dispose()
        self._do("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _do(self, program: str, *args: str) -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "cwd": self.folder}
        command = [self._bin / program, "-D", self._data, *args]
        subprocess.run(command, check=True, **quiet, **self._user)
