"""The same study in a PostgreSQL server of Debian's, started here for the purpose."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from oiplib import OipError, OipFilter, Store, Study
from oiplib.store import merge
from oiplib.store.views import VIEWS
from oiplib.study.check import problems
from oiplib.study.replay import replay

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
pytestmark = pytest.mark.skipif(not BINARIES, reason="Debian's postgresql isn't installed")


@pytest.fixture(scope="module")
def server():
    """URL of a server without a database of ours, reached by a socket only."""
    folder = Path(tempfile.mkdtemp(prefix="oip-pg-"))  # a socket's path must be short
    # It refuses to run as root; Debian's package brings a user for it.
    user = {"user": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    if user:
        shutil.chown(folder, "postgres")
    data, bin = folder / "data", BINARIES[-1].parent
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


@pytest.fixture
def url(server):
    """A server whose database is empty."""
    from sqlalchemy import create_engine

    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    return server


def content(store):
    return [(oip.key, oip.loss, oip.image.tobytes(), oip.trace.tobytes()) for oip in store]


def test_a_study_is_the_same_there(url, tiny_spec, tiny_study, oip):
    study = Study(url, tiny_spec)
    study.derive([0, 3, 7])
    here = [stored for stored in tiny_study.oips() if stored.map in (0, 3, 7)]
    assert content(study.oips()) == content(here)
    screening = tiny_study.screening()
    assert study.screening().histogram.tobytes() == screening.histogram.tobytes()
    assert list(problems(study.store)) == []
    assert all(replayed.same_bytes for replayed in replay(study.store, study.store.oip_ids()))
    assert Study(url).derive_from_fluctuations([0, 3]) == []
    rows = json.loads(oip("query", "--best", "--format", "json", check=0, OIP_DB=url).stdout)
    assert [row["loss"] for row in rows] == [row["loss"] for row in study.rows(best=True)]
    pattern = next(stored for stored in here if stored.origin == "pattern").start["index"]
    same_start = study.store.oip_rows(OipFilter(start=pattern, sort="loss"))
    assert pattern in {row["start"].get("index") for row in same_start}


def test_views_are_the_same_there(url, copy):
    there, here = Store(url, create=True), Store(copy, create=True)
    merge(there, here)
    for name in VIEWS:
        columns = {
            "oip_list": "map, loss",
            "best_oips": "map, loss",
            "maps": "map, loss",
            "uniqueness": "map, median_similarity",
            "correspondence_list": "median_score",
            "condition_list": "oip",
        }.get(name, "*")
        query = f"SELECT {columns} FROM {name}"
        answers = []
        for store in (there, here):
            with store.session() as session:
                answers.append(session.connection().exec_driver_sql(query).all())
        assert len(answers[0]) == len(answers[1])
        # Comparisons of trainings stay where they were made.
        assert len(answers[0]) > 0 or name in ("correspondence_list", "condition_list")
        if columns != "*":
            assert sorted(map(tuple, answers[0])) == sorted(map(tuple, answers[1]))


def test_it_comes_back_whole(url, copy, tiny_study, tmp_path):
    merge(Store(url, create=True), Store(copy))
    back = Store(tmp_path / "back.db", create=True)
    merge(back, Store(url))
    assert content(back.oips(OipFilter())) == content(tiny_study.oips())
    assert list(problems(back)) == []


def test_two_processes_write_at_once(url, tiny_study):
    merge(Store(url, create=True), tiny_study.store)
    program = (
        "import sys; from oiplib import FluctuationSpec, Study; study = Study(sys.argv[1])\n"
        "trials = study.spec.trials\n"
        "for seed in range(1, 13):\n"
        "    spec = trials.replace(fluctuation=FluctuationSpec(seed=seed))\n"
        "    study.replace(trials=spec).note_asked()\n"
        "    study.search(spec)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, url]) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    store = Store(url)
    with store.session() as session:
        query = "SELECT count(*), count(DISTINCT map) FROM scans WHERE origin = 'fluctuation' "
        counts = session.connection().exec_driver_sql(query + "GROUP BY spec_sha256").all()
    assert [tuple(row) for row in counts] == [(12, 12)] * 13
    assert list(problems(store)) == []


def test_two_processes_may_make_its_tables_at_once(url):
    program = "import sys; from oiplib import Store; Store(sys.argv[1], create=True)"
    makers = [subprocess.Popen([sys.executable, "-c", program, url]) for _ in range(3)]
    assert [maker.wait() for maker in makers] == [0, 0, 0]
    assert Store(url).networks() == []


def test_errors_are_clear_there_too(url, oip):
    with pytest.raises(OipError, match="is empty: fill it"):
        Store(url)
    gone = url.replace("/postgres?", "/nosuch?")
    assert "nosuch" in oip("query", "--db", gone, check=1).stderr
    assert "SQLite files" in oip("serve", "--db", _made(url), check=2).stderr


def _made(url):
    Store(url, create=True)
    return url
