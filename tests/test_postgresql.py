"""The same study in a PostgreSQL server of Debian's, started here for the purpose."""

import json
import re
import signal
import subprocess
import sys
import time
import zipfile

import pytest
from conftest import POSTGRESQL
from sqlalchemy import create_engine, text

from oiplib import InputError, OipError, OipFilter, Store, Study
from oiplib.publish.pages import write_database
from oiplib.store import merge
from oiplib.store.views import VIEWS
from oiplib.study.check import problems
from oiplib.study.replay import replay

pytestmark = pytest.mark.skipif(not POSTGRESQL, reason="Debian's postgresql isn't installed")


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
    pattern = next(stored for stored in here if stored.origin == "pattern").start.index
    same_start = study.store.oip_rows(OipFilter(start=pattern, sort="loss"))
    assert pattern in {row["start"].get("index") for row in same_start}


def test_a_query_in_sql_changes_nothing_there(url, tiny_study, copy):
    store = Store(url, create=True)
    merge(store, Store(copy, create=True))
    n_runs = store.query("SELECT count(*) AS n FROM runs")["n"][0]
    assert n_runs > 0
    for statement in (
        "DELETE FROM runs",
        "DELETE FROM runs RETURNING id",
        "COMMIT; DELETE FROM runs",
        "COMMIT; DELETE FROM runs; SELECT 1",
        "SELECT 1; COMMIT; DELETE FROM runs",
        "COPY (SELECT 1) TO STDOUT",
        "SELECT nothing FROM runs",
    ):
        with pytest.raises(InputError, match="can't answer that: "):
            store.query(statement)
    assert (
        store.query("SELECT count(*) AS n FROM runs WHERE id > :least", least=0)["n"][0] == n_runs
    )


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
        # No trainings were compared there, and no OIP was put to the test.
        assert len(answers[0]) > 0 or name in ("correspondence_list", "condition_list")
        if columns != "*":
            assert sorted(map(tuple, answers[0])) == sorted(map(tuple, answers[1]))


def test_it_comes_back_whole(url, copy, tiny_study, tmp_path):
    merge(Store(url, create=True), Store(copy))
    back = Store(tmp_path / "back.db", create=True)
    merge(back, Store(url))
    assert content(back.oips(OipFilter())) == content(tiny_study.oips())
    assert list(problems(back)) == []


def test_everything_comes_back(url, whole, tmp_path, all_rows):
    held = all_rows(Store(whole))
    merge(Store(url, create=True), Store(whole))
    there = Store(url, create=True)
    assert all_rows(there) == held
    write_database(there, tmp_path / "oip.db.zip")
    with zipfile.ZipFile(tmp_path / "oip.db.zip") as archive:
        archive.extract("oip.db", tmp_path)
    assert all_rows(Store(tmp_path / "oip.db")) == held
    # What is new there gets a new number.
    assert there.start_run("derive", None, {}) == 1 + max(row["id"] for row in held["runs"])


def test_a_copy_is_of_one_moment(url, whole, tmp_path, all_rows):
    merge(Store(url, create=True), Store(whole))
    there = Store(url, create=True)
    with there.snapshot() as session:
        before = session.connection().scalar(text("SELECT count(*) FROM runs"))
        there.start_run("derive", None, {})
        assert session.connection().scalar(text("SELECT count(*) FROM runs")) == before
    with there.session() as session:
        assert session.connection().scalar(text("SELECT count(*) FROM runs")) == before + 1


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


# --- older databases ---


def asked(url, sql):
    engine = create_engine(url)
    with engine.begin() as connection:
        done = connection.execute(text(sql))
        answer = done.all() if done.returns_rows else []
    engine.dispose()
    return answer


def dumped(url):
    """Everything in a database, as text."""
    socket = re.search("host=(.*)", url)[1]
    command = [POSTGRESQL[-1].parent / "pg_dump", "-U", "oip", "-h", socket, "postgres"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    # Newer ones protect the text by a word that is another one each time.
    return re.sub(r"\\(un)?restrict .*", "", done.stdout)


@pytest.mark.parametrize(
    "sql", ["UPDATE alembic_version SET version_num = '11'", "DROP TABLE alembic_version"]
)
def test_a_schema_from_before_is_refused(url, sql):
    Store(url, create=True).close()
    asked(url, sql)
    before = dumped(url)
    for create in (False, True):
        with pytest.raises(OipError, match=r"before 1\.0 .* make it anew"):
            Store(url, create=create)
    assert dumped(url) == before


def until(holds, seconds=60):
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


# --- leases ---


def test_a_unit_is_granted_to_one_driver(url):
    a, b = Store(url, create=True), Store(url)
    with a.leases() as first:
        with b.leases() as second:
            assert first.take("map 5")
            assert first.take("map 5")  # it has it
            assert not second.take("map 5")
            assert second.take("map 6")
            second.drop("map 5")  # which isn't its own
            assert not second.take("map 5")
            first.drop("map 5")
            assert second.take("map 5")
        assert first.take("map 5")
        assert first.take("map 6")
    with b.leases() as third:
        assert third.take("map 5")


def test_leases_are_no_transactions(url):
    """Who holds one for hours keeps nobody from cleaning up, and what others store is seen."""
    store = Store(url, create=True)
    with store.leases() as leases:
        assert leases.take("map 5")
        states = "SELECT state FROM pg_stat_activity WHERE query LIKE '%try_advisory_lock%' AND "
        assert asked(url, states + "pid <> pg_backend_pid()") == [("idle",)]


def test_a_lost_connection_is_told(url):
    with Store(url, create=True).leases() as leases:
        leases.take("map 5")
        holders = "SELECT pid FROM pg_locks WHERE locktype = 'advisory'"
        asked(url, f"SELECT pg_terminate_backend(pid) FROM ({holders}) AS holders")
        with pytest.raises(OipError, match="terminat"):
            leases.take("map 6")


#: A driver: computes units until all are stored, and says so. One of them takes forever.
DRIVER = """
import sys, time
from sqlalchemy import text
from oiplib import Store
store, endless = Store(sys.argv[1]), sys.argv[2]
def stored():
    with store.session() as session:
        return set(session.connection().scalars(text("SELECT unit FROM units")))
units = [f"unit {k}" for k in range(24)]
with store.leases() as leases:
    while missing := [unit for unit in units if unit not in stored()]:
        for unit in missing:
            if not leases.take(unit):
                continue
            if unit == endless:
                print("at it", flush=True)
                time.sleep(600)
            if unit not in stored():
                with store.session(writes=True) as session:
                    store_it = text("INSERT INTO units VALUES (:unit)")
                    session.connection().execute(store_it, {"unit": unit})
            leases.drop(unit)
        time.sleep(0.05)
print("done", flush=True)
"""


def driver(url, endless=""):
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, url, endless], stdout=subprocess.PIPE, text=True
    )


def test_two_drivers_do_no_unit_twice_and_a_killed_ones_is_done_by_the_other(url):
    Store(url, create=True).close()
    asked(url, "CREATE TABLE units (unit VARCHAR)")  # nothing keeps one from coming twice
    killed = driver(url, endless="unit 7")
    assert killed.stdout.readline() == "at it\n"
    others = [driver(url), driver(url)]
    n_stored = "SELECT count(*), count(DISTINCT unit) FROM units"
    until(lambda: asked(url, n_stored) == [(23, 23)])
    time.sleep(0.5)  # nobody takes what is being computed
    assert asked(url, n_stored) == [(23, 23)]
    killed.send_signal(signal.SIGKILL)
    assert [process.communicate()[0] for process in others] == ["done\n"] * 2
    assert asked(url, n_stored) == [(24, 24)]
    killed.communicate()
