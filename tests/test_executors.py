"""Units of work come to the same wherever they are computed, and nothing is lost on the way."""

import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from oiplib import InputError, OipError, Store, Study, Workers, parse_objective
from oiplib.progress import SILENT, bar
from oiplib.study import units
from oiplib.study.check import problems
from oiplib.study.executors import Cluster, Here
from oiplib.study.questions import varieties
from oiplib.study.work import Work, carry_out

DASK = Path(sys.executable).with_name("dask")


@pytest.fixture
def trained(tiny_study, tmp_path):
    """The network of the study in a database of its own, which has nothing else."""
    from oiplib.values import StudySpec

    def trained(name, executor=None):
        store = Store(tmp_path / name, create=True)
        row = tiny_study.network
        with store.session() as session:
            if not session.connection().exec_driver_sql("SELECT 1 FROM networks").all():
                store.close()
                from oiplib.store import merge

                only = tmp_path / f"{name}.network"
                only_network(tiny_study.store.name, only)
                merge(Store(tmp_path / name, create=True), Store(only))
        assert isinstance(tiny_study.spec, StudySpec)
        return Study(tmp_path / name, tiny_study.spec, executor=executor), row

    return trained


def only_network(source, target):
    """A copy of a database that holds its network alone."""
    import sqlite3

    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
        original.backup(copy)
        copy.execute("PRAGMA foreign_keys = OFF")
        for table in ("rungs", "scans", "oips", "screenings", "varieties", "nulls", "reactions"):
            copy.execute(f"DELETE FROM {table}")
        copy.commit()
