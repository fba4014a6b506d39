"""A tiny trained network on real digits, a finished study of it, and its site.

What takes long is made once for all workers, under a lock, and copied: a test that writes works
on a copy of its own.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from browsing import CHROMIUM, serving
from filelock import FileLock
from sqlalchemy import create_engine, select

from oiplib import (
    AscentSpec,
    ClimbSpec,
    CnnSpec,
    FluctuationSpec,
    GridSpec,
    LayerMaps,
    RungSpec,
    ScanSpec,
    Study,
    StudySpec,
    TrialSpec,
    VarietySpec,
)
from oiplib.engine import data
from oiplib.publish import book
from oiplib.store import Run
from oiplib.store.arrays import Packed, unpacked
from oiplib.study.chapters import CHAPTERS, NOTEBOOKS, prepare
from oiplib.study.questions import varieties

os.environ.pop("OIP_DB", None)

REFERENCE = Path(__file__).parent.parent / "oip.db"

#: Programs of Debian's PostgreSQL, if it is installed.
POSTGRESQL = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))

#: Maps that have a page in the tests' site.
SHOWN = [0, 3, 7]


def runs(study):
    """How many runs the study's database has."""
    with study.store.session() as session:
        return session.connection().exec_driver_sql("SELECT COUNT(*) FROM runs").scalar()


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """A function that lets the first worker make a file or folder, and gives its path to all."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name, make):
        target = shared / name
        with FileLock(shared / f"{name}.lock"):
            if not target.exists():
                making = Path(tempfile.mkdtemp(prefix="making-", dir=shared)) / name
                make(making)
                making.rename(target)
        return target

    return once


@pytest.fixture(scope="session")
def mnist():
    return data.load("mnist")


@pytest.fixture(scope="session")
def digits(once, mnist):
    """A file with a few thousand real digits."""

    def make(path):
        np.savez(
            path,
            x_train=mnist.train_images[:3000, ..., 0],
            y_train=mnist.train_labels[:3000],
            x_test=mnist.test_images[:500, ..., 0],
            y_test=mnist.test_labels[:500],
        )

    return once("digits.npz", make)


@pytest.fixture(scope="session")
def tiny_spec(digits):
    """A study with the geometry of the articles, and little of everything."""
    climb = ClimbSpec(
        (
            AscentSpec(6, 0.3, n_steps=0, objective="pre-activation"),
            AscentSpec(21, 0.3, n_steps=0, schedule="cosine"),
        )
    )
    return StudySpec(
        cnn=CnnSpec(dataset=str(digits), maps=(6, 8, 12), dense=(16,), epochs=2),
        trials=TrialSpec(FluctuationSpec(), n_trials=3, ascent=AscentSpec(n_epochs=40, n_steps=3)),
        scan=ScanSpec(
            GridSpec((0.2, 0.8), 3, 3),
            rungs=(
                RungSpec(16, AscentSpec(6, 0.3, n_steps=0, objective="pre-activation")),
                RungSpec(4, AscentSpec(21, 0.2, n_steps=2, schedule="cosine")),
            ),
            n_oips=3,
        ),
        variety=VarietySpec(n_starts=6, climb=climb, n_unlike=2),
        compared=VarietySpec(n_starts=4, climb=climb, n_unlike=0),
    )


@pytest.fixture(scope="session")
def copied():
    """A function that copies a database with what is in its log, and returns the path."""

    def copied(source, path):
        with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(path)) as target:
            original.backup(target)
        return path

    return copied


@pytest.fixture(scope="session")
def tiny_study(once, tiny_spec, tmp_path_factory, copied):
    """The study with its OIPs and varieties, in a file of this worker."""

    def make(path):
        study = Study(path, tiny_spec)
        study.screening()
        study.derive()
        varieties(study)
        study.store.close()

    path = tmp_path_factory.mktemp("study") / "oip.db"
    return Study(copied(once("tiny.db", make), path), tiny_spec)


@pytest.fixture(scope="session")
def finished(once, tiny_study, tmp_path_factory, copied):
    """The study with all that any chapter needs, four trainings too, in a file of this worker."""

    def make(path):
        study = Study(copied(tiny_study.store.name, path))
        prepare(study)
        study.store.close()

    path = tmp_path_factory.mktemp("finished") / "oip.db"
    return Study(copied(once("finished.db", make), path))


@pytest.fixture(scope="session")
def reference(once):
    """A copy of the committed database, for all workers; nobody may change it."""

    def make(path):
        shutil.copyfile(REFERENCE, path)

    return once("reference.db", make)


@pytest.fixture
def copy(tiny_study, tmp_path, copied):
    """A copy of the study's database that a test may spoil."""
    return copied(tiny_study.store.name, tmp_path / "copy.db")


@pytest.fixture(scope="session")
def whole(once, reference, copied):
    """The committed database with six maps a layer: every table has rows. Nobody may change it."""
    most = "map > 5"
    oips, scans = (f"(SELECT id FROM {table} WHERE {most})" for table in ("oips", "scans"))
    statements = (
        f"DELETE FROM conditions WHERE oip_id IN {oips}",
        f"DELETE FROM rungs WHERE scan_id IN {scans}",
        *(f"DELETE FROM {table} WHERE {most}" for table in ("oips", "scans", "varieties")),
    )

    def make(path):
        with closing(sqlite3.connect(copied(reference, path))) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    return once("whole.db", make)


@pytest.fixture(scope="session")
def all_rows():
    """A function that gives all rows of a database, by table, with their numbers or without.

    Without numbers, a row names others by what they are, and stands in no order. When studies
    were asked may differ.
    """
    identities = {
        "runs": ("kind", "started"),
        "networks": ("sha256",),
        "layers": ("network_id", "name"),
        "scans": ("layer_id", "objective", "spec_sha256"),
        "oips": ("key",),
        "nulls": ("layer_id", "spec_sha256"),
    }

    def told(value):
        return unpacked(*value).tobytes() if isinstance(value, Packed) else value

    def all_rows(store, numbered=True):
        named = {name: {} for name in identities}
        found = {}
        with store.session() as session:
            for table in Run.metadata.sorted_tables:
                rows = found[table.name] = []
                query = select(table).order_by(table.c.id)
                for row in session.connection().execute(query).mappings():
                    values = {name: told(value) for name, value in row.items()}
                    if not numbered:
                        values.pop("asked", None)
                        for key in table.foreign_keys:
                            values[key.parent.name] = named[key.column.table.name][
                                values[key.parent.name]
                            ]
                        id = values.pop("id")
                        if table.name in named:
                            identity = tuple(values[name] for name in identities[table.name])
                            named[table.name][id] = identity
                    rows.append(values)
                if not numbered:
                    rows.sort(key=repr)
        return found

    return all_rows


@pytest.fixture(scope="session")
def layer(tiny_study) -> LayerMaps:
    return tiny_study.engine


@pytest.fixture
def oip(tmp_path):
    """The command line as a process of its own, in a folder of its own."""

    def run(*args, check=None, **env):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("oip")), *map(str, args)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, **{name: str(value) for name, value in env.items()}},
        )
        if check is not None:
            assert done.returncode == check, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def oip_here(tmp_path, monkeypatch):
    """The command line in this process, in a folder of the test's: as `oip`, and faster."""
    from click.testing import CliRunner

    from oiplib.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*args, check=None):
        done = CliRunner().invoke(main, [str(arg) for arg in args])
        # A traceback is never what a user should see.
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        if check is not None:
            assert done.exit_code == check, done.output
        return subprocess.CompletedProcess(args, done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def built(once, finished):
    """The site of some maps; nobody may change it."""

    def make(folder):
        n_executed, built = book.build(finished, folder / "site", maps=SHOWN)
        assert built
        assert n_executed == len(CHAPTERS) + len(SHOWN)

    return once("book", make) / "site"


@pytest.fixture(scope="module")
def served(built):
    """Address of the site on a server."""
    with serving(built) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    """Chromium; its tests are marked by `needs_browser`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}
        with playwright.chromium.launch(**options) as launched:
            yield launched


@pytest.fixture(params=["http", "file"])
def home(request, built):
    """Address of the site: on a server, and of its folder."""
    return request.getfixturevalue("served") if request.param == "http" else built.as_uri()


@pytest.fixture(scope="session")
def executed(built):
    """Folder of the executed notebooks from which the site was built."""
    return built.with_name("site.work") / "notebooks"


@pytest.fixture(scope="module")
def server():
    """URL of a server without a database of ours, reached by a socket only."""
    folder = Path(tempfile.mkdtemp(prefix="oip-pg-"))  # a socket's path must be short
    # It refuses to run as root; Debian's package brings a user for it.
    user = {"user": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    if user:
        shutil.chown(folder, "postgres")
    data, bin = folder / "data", POSTGRESQL[-1].parent
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "cwd": folder, **user}

    def control(*args):
        subprocess.run([bin / "pg_ctl", "-D", data, "-w", *args], check=True, **quiet)

    subprocess.run(
        [bin / "initdb", "-D", data, "-U", "oip", "-A", "trust", "-E", "UTF8", "--no-sync"],
        check=True,
        **quiet,
    )
    control("-o", f"-k {folder} -c listen_addresses='' -c fsync=off", "start")
    try:
        yield f"postgresql+psycopg://oip@/postgres?host={folder}"
    finally:
        control("-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def emptied_server(server):
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    return server


@pytest.fixture
def url(server):
    """A server whose database is empty."""
    return emptied_server(server)


@pytest.fixture
def templates(tmp_path, monkeypatch):
    """A folder of templates that a test may change, in the place of the package's."""
    from oiplib.publish import notebooks

    folder = tmp_path / "templates"
    folder.mkdir()
    for name in NOTEBOOKS:
        shutil.copy(notebooks.templates("notebooks") / f"{name}.ipynb", folder)
    monkeypatch.setattr(notebooks, "templates", lambda kind: folder)
    return folder
