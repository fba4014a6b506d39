"""Units of work come to the same wherever they are computed, and nothing is lost on the way."""

import os
import pickle
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
from conftest import POSTGRESQL

from oiplib import Cluster, InputError, OipError, Store, Study, Workers
from oiplib.progress import SILENT, bar
from oiplib.store import merge
from oiplib.study.check import problems
from oiplib.study.conditions import conditions
from oiplib.study.executors import Here
from oiplib.study.questions import varieties
from oiplib.study.trainings import train_all, trainings
from oiplib.study.units import PackedNetwork, SearchUnit, Subject
from oiplib.study.work import Work, carry_out

DASK = Path(sys.executable).with_name("dask")


@pytest.fixture
def emptied(tiny_study, tmp_path, copied, monkeypatch):
    """A function that gives a new database with the tiny network, and nothing derived.

    Nor are there restarts that another test left in the cache.
    """
    monkeypatch.setenv("OIP_CACHE", str(tmp_path / "cache"))

    def emptied(name):
        return without_results(copied(tiny_study.store.name, tmp_path / name))

    return emptied


def without_results(path):
    """The database with its network, and nothing else."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("oips", "rungs", "scans", "screenings", "varieties", "nulls"):
            connection.execute(f"DELETE FROM {table}")
    return path


def content(store):
    """All networks and results, byte for byte."""
    queries = {
        "networks": "SELECT spec_sha256, sha256 FROM networks ORDER BY sha256",
        "conditions": "SELECT key, conditions.losses, alike FROM conditions "
        "JOIN oips ON oip_id = oips.id ORDER BY key",
        "oips": "SELECT key, loss, image, trace, frames FROM oips ORDER BY key",
        "rungs": "SELECT map, number, starts, losses FROM rungs JOIN scans ON scan_id = scans.id "
        "ORDER BY scans.spec_sha256, map, number",
        "screenings": "SELECT first, last, top_indices, histogram FROM screenings ORDER BY 1",
        "varieties": "SELECT map, losses, peaks, unlike_losses FROM varieties ORDER BY map",
    }
    return {name: rows_of(store, query) for name, query in queries.items()}


def rows_of(store, query):
    """What a query finds."""
    with store.session() as session:
        rows = session.connection().exec_driver_sql(query).all()
    return [tuple(bytes(v) if isinstance(v, memoryview) else v for v in row) for row in rows]


def worked(study):
    """A study after work of every kind."""
    study.derive()
    study.derive("Classes:3")
    varieties(study)
    conditions(study, "0-1", ["strongest"])
    trainings(study)
    return study


@pytest.fixture(scope="module")
def here(tiny_study, tmp_path_factory, copied):
    """What all of that comes to in this process."""
    study = Study(
        without_results(copied(tiny_study.store.name, tmp_path_factory.mktemp("h") / "h"))
    )
    return content(worked(study).store)


@contextmanager
def cluster(n_workers):
    """A Dask scheduler with workers, started as a person would; gives it as a `Dask`."""
    dask = Dask(n_workers)
    try:
        yield dask
    finally:
        dask.end()


class Dask:
    """Processes of a scheduler and its workers."""

    def __init__(self, n_workers):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.scheduler, self.workers = None, []
        self.start_scheduler()
        for _ in range(n_workers):
            self.start_worker()

    def start(self, *args):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([DASK, *args], start_new_session=True, **quiet)

    def start_scheduler(self):
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"]
        self.scheduler = self.start("scheduler", *options)

    def start_worker(self):
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
        self.workers.append(self.start("worker", self.address, *options))

    def kill_worker(self, number=0):
        worker = self.workers.pop(number)
        worker.kill()
        worker.wait()

    def end(self):
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


def test_units_come_to_the_same_here_and_elsewhere(here, emptied):
    with Workers(2) as workers:
        study = worked(Study(emptied("workers.db"), executor=workers))
    assert content(study.store) == here
    assert all(here.values())
    assert list(problems(study.store)) == []


def test_a_cluster_comes_to_the_same(here, emptied):
    with cluster(2) as dask, Cluster(dask.address) as executor:
        study = worked(Study(emptied("cluster.db"), executor=executor))
        assert executor.n_workers == 2
    assert content(study.store) == here
    assert list(problems(study.store)) == []


def test_a_unit_is_small_and_travels(tiny_study):
    unit = SearchUnit("Conv2D_3", tiny_study.spec.trials, (3,))
    packed = tiny_study.subject.packed()
    assert len(pickle.dumps(unit)) < 2000
    opened = pickle.loads(pickle.dumps(packed)).opened()
    (there,) = pickle.loads(pickle.dumps(unit)).compute(opened)
    (here,) = unit.compute(tiny_study.engine_of)
    assert there.ascents.images.tobytes() == here.ascents.images.tobytes()
    assert isinstance(packed, PackedNetwork)
    assert str(unit) == "search for map 3 of Conv2D_3"


def killing(pids, n, every, until):
    """Kill one of some processes n times; returns how many were killed."""
    killed = 0
    while killed < n and not until.wait(every):
        alive = [psutil.Process(pid) for pid in pids()]
        if alive:
            alive[killed % len(alive)].kill()
            killed += 1
    return killed


def workers_of_this_process():
    """Ids of the processes that multiprocessing started here."""
    return [
        child.pid
        for child in psutil.Process().children()
        if "multiprocessing.spawn" in " ".join(child.cmdline())
    ]


def test_lost_workers_cost_their_units_only(tiny_study, emptied):
    done, killed = threading.Event(), []
    with Workers(2) as workers:
        study = Study(emptied("killed.db"), tiny_study.spec, executor=workers)
        first = threading.Thread(
            target=lambda: killed.append(killing(workers_of_this_process, 5, 3, done))
        )
        first.start()
        try:
            study.derive()
        finally:
            done.set()
            first.join()
    assert killed[0] > 0
    assert content(study.store)["oips"] == content(tiny_study.store)["oips"]


def test_a_scheduler_may_go_and_come_back(tiny_study, emptied):
    with cluster(1) as dask, Cluster(dask.address) as executor:
        study = Study(emptied("restarted.db"), tiny_study.spec, executor=executor)
        study.derive_from_fluctuations("0-1")
        dask.scheduler.kill()
        dask.kill_worker()
        dask.scheduler.wait()
        back = threading.Timer(3, lambda: (dask.start_scheduler(), dask.start_worker()))
        back.start()
        study.derive_from_fluctuations()
        back.join()
    here = [tuple(row) for row in content(tiny_study.store)["oips"]]
    assert set(content(study.store)["oips"]) <= set(here)
    assert study.searched_maps() == list(range(12))


def test_units_go_to_the_scheduler_that_is_there_now(tiny_study, emptied):
    with cluster(1) as dask, Cluster(dask.address) as executor:
        study = Study(emptied("anew.db"), tiny_study.spec, executor=executor)
        dask.scheduler.kill()
        dask.kill_worker()
        dask.scheduler.wait()
        dask.start_scheduler()
        dask.start_worker()
        # The client comes back by itself, and the scheduler knows nothing of it.
        begin = time.monotonic()
        while executor.n_workers == 0 and time.monotonic() - begin < 60:
            time.sleep(0.1)
        assert executor.has_lost_all()
        study.derive_from_fluctuations("0-1")
        # Otherwise all that runs would be handed out again at each look.
        assert not executor.has_lost_all()


def test_a_client_that_never_came_back_is_made_anew(tiny_study, emptied):
    with cluster(1) as dask, Cluster(dask.address) as executor:
        study = Study(emptied("never.db"), tiny_study.spec, executor=executor)
        # So it is where the scheduler went away while the client connected.
        executor._client.close()
        executor._known = executor._scheduler()
        assert executor._known is None
        assert study.derive_from_fluctuations("0")


class Failing:
    """A unit that fails, or ends its process, where a file says so."""

    def __init__(self, item, folder, how):
        self.item, self.folder, self.how = item, folder, how

    def compute(self, subject, progress=SILENT):
        tried = self.folder / f"{self.item}-{time.monotonic_ns()}"
        tried.touch()
        if self.item == 1 and self.how == "fails":
            raise ValueError("no such luck")
        if self.item == 1 and self.how == "is odd":
            raise Odd("this", "that")
        if self.item == 1 and self.how.startswith("is wrong"):
            raise OipError("it can't be")
        if self.how == "is wrong while others work":
            time.sleep(60)
        if self.item == 1 and self.how == "loses its worker once" and self.n_tried() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.item**2

    def n_tried(self):
        return len(list(self.folder.glob(f"{self.item}-*")))

    def __str__(self):
        return f"unit {self.item}"


class Nothing:
    """A subject that has nothing in it."""

    def opened(self):
        return None


def carried_out(executor, tmp_path, how):
    """What came back of four units, and how often each was tried."""
    kept = {}
    work = Work(
        name="test",
        subject=Subject("nothing", lambda: None, Nothing),
        groups=[(k,) for k in range(4)],
        unit=lambda group: Failing(group[0], tmp_path, how),
        keep=lambda group, result: kept.update({group[0]: result}),
    )
    store = Store(tmp_path / "work.db", create=True)
    with bar(4, "", "units") as progress:
        try:
            carry_out(executor, store, work, progress)
        except OipError as error:
            return kept, str(error)
    return kept, None


def test_a_unit_that_fails_three_times_is_named_and_the_rest_goes_on(tmp_path):
    with Workers(2) as workers:
        kept, error = carried_out(workers, tmp_path, "fails")
    assert kept == {0: 0, 2: 4, 3: 9}
    assert error == "unit 1 failed 3 times (ValueError: no such luck); all else is stored"
    assert Failing(1, tmp_path, "").n_tried() == 3


def test_a_unit_that_is_refused_is_not_tried_again(tmp_path):
    with Workers(1) as workers:
        _, error = carried_out(workers, tmp_path, "is wrong")
    assert error == "it can't be"
    assert Failing(1, tmp_path, "").n_tried() == 1


class Odd(Exception):
    """An error that can't be made again from its text, as pickle tries."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def test_an_error_that_cannot_travel_is_told(tmp_path):
    with Workers(1) as workers:
        kept, error = carried_out(workers, tmp_path, "is odd")
    assert kept == {0: 0, 2: 4, 3: 9}
    assert error == "unit 1 failed 3 times (Odd: this and that); all else is stored"


def test_workers_can_be_used_again_after_an_error(tmp_path):
    with Workers(2) as workers:
        assert carried_out(workers, tmp_path, "is wrong while others work")[1] == "it can't be"
        (tmp_path / "again").mkdir()
        kept, error = carried_out(workers, tmp_path / "again", "works")
    assert (kept, error) == ({k: k**2 for k in range(4)}, None)


def test_a_unit_that_lost_its_worker_is_handed_out_again(tmp_path):
    with Workers(2) as workers:
        assert carried_out(workers, tmp_path, "loses its worker once")[0] == {
            k: k**2 for k in range(4)
        }
    assert Failing(1, tmp_path, "").n_tried() == 2


def test_here_an_error_is_what_it_is(tmp_path):
    with pytest.raises(ValueError, match="no such luck"):
        carried_out(Here(), tmp_path, "fails")


class Slow:
    """A unit that counts two of ten, and waits until a file is there."""

    def __init__(self, folder):
        self.folder = folder

    def compute(self, subject, progress=SILENT):
        progress.update(2)
        while not (self.folder / "go").exists():
            time.sleep(0.01)
        return None


def test_the_bar_moves_while_a_worker_computes(tmp_path, monkeypatch):
    monkeypatch.setattr("oiplib.study.work._LOOK", 0.05)
    shown = []

    class Shown:
        def update(self, n=1):
            shown.append(n)
            if sum(shown) == 2:
                (tmp_path / "go").touch()

        def set_postfix(self, **told):
            pass

    work = Work(
        name="test",
        subject=Subject("nothing", lambda: None, Nothing),
        groups=[("a",)],
        unit=lambda group: Slow(tmp_path),
        keep=lambda group, result: None,
    )
    with Workers(1) as workers:
        carry_out(workers, Store(tmp_path / "w.db", create=True), work, Shown(), lambda item: 10)
    assert sum(shown) == 10
    assert 2 in shown


def test_several_trainings_keep_their_order(tiny_study, tmp_path):
    study = Study(tmp_path / "all.db", tiny_study.spec)
    specs = [study.spec.cnn, *study.spec.cnn.siblings().values()]
    assert train_all(study) == specs
    assert [(network.id, network.spec) for network in study.store.networks()] == [
        (k + 1, spec.to_dict()) for k, spec in enumerate(specs)
    ]
    assert study.network.weights_sha256 == tiny_study.network.weights_sha256
    assert train_all(study) == []


def test_nothing_of_the_workers_stays(tiny_study):
    with Workers(2) as workers:
        for _ in range(2):
            workers.submit(SearchUnit("Conv2D_3", tiny_study.spec.trials, (0,)), tiny_study.subject)
        assert len(workers_of_this_process()) == 2
    assert workers_of_this_process() == []


def test_what_cannot_be_used_is_refused(oip_here):
    with pytest.raises(InputError, match="choose 1 to"):
        Workers(10_000)
    with pytest.raises(InputError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1: "):
        Cluster("tcp://127.0.0.1:1")
    for address in ("", "http://127.0.0.1:1", "tcp://127.0.0.1:none"):
        with pytest.raises(InputError, match="no Dask scheduler answers at"):
            Cluster(address)
    both = oip_here("derive", "--workers", 2, "--cluster", "local", check=2)
    assert both.stderr == "Error: --workers and --cluster name two places: choose one of them\n"
    assert "0 is not in the range" in oip_here("derive", "--workers", 0, check=2).stderr


#: A driver that searches by one spec after the other, until a file says that it is enough.
DRIVER = """
import sys
from itertools import count
from pathlib import Path
from oiplib import Cluster, Study
with Cluster(sys.argv[2]) as cluster:
    study = Study(sys.argv[1], executor=cluster)
    for n in count(1):
        if Path(sys.argv[3]).exists():
            break
        study.replace(trials=study.spec.trials.replace(n_trials=n)).derive_from_fluctuations()
"""


@pytest.mark.slow
@pytest.mark.skipif(not POSTGRESQL, reason="Debian's postgresql isn't installed")
def test_nothing_is_lost_or_double_in_a_storm(url, tiny_study, emptied, tmp_path):
    """Two drivers, PostgreSQL and a cluster; for two minutes something is killed all the time."""
    merge(Store(url, create=True), Store(emptied("empty.db")))
    enough = tmp_path / "enough"

    told = tmp_path / "told"

    def driver():
        command = [sys.executable, "-c", DRIVER, url, dask.address, str(enough)]
        with told.open("a") as lines:
            return subprocess.Popen(command, stderr=lines)

    with cluster(2) as dask:
        drivers = [driver(), driver()]
        chance = random.Random(20201123)
        for second in range(0, 120, 5):
            time.sleep(5)
            # Not always the older one: where starting takes long, none would ever compute.
            dask.kill_worker(chance.randrange(len(dask.workers)))
            if second == 40:
                dask.scheduler.kill()
                dask.scheduler.wait()
                dask.start_scheduler()
                while dask.workers:
                    dask.kill_worker()
                dask.start_worker()
            if second in (60, 90):
                drivers[0].kill()
                drivers[0].wait()
                drivers[0] = driver()
            dask.start_worker()
        enough.touch()
        assert [each.wait(600) for each in drivers] == [0, 0], told.read_text()[-4000:]
    store = Store(url)
    found = content(store)
    assert list(problems(store)) == []
    n_specs = len({row[0] for row in rows_of(store, "SELECT spec_sha256 FROM scans")})
    assert len(rows_of(store, "SELECT id FROM scans")) == 12 * n_specs > 12
    here = Study(emptied("here.db"), tiny_study.spec)
    for n in range(1, n_specs + 1):
        trials = here.spec.trials.replace(n_trials=n)
        here.replace(trials=trials).derive_from_fluctuations()
    assert found == content(here.store)
