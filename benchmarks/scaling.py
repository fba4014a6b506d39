"""What it costs and gives to share work: units, a Dask cluster, and what many cores would do.

``python benchmarks/scaling.py units`` does the main job from nothing in this process and notes
how long each stage and each unit takes, to ``scaling.json`` in the folder named by ``--work``.
Stages that are noted there already aren't done again.

``python benchmarks/scaling.py before CHECKOUT`` does the main job of an older commit, from its
checkout, and notes how long its stages take, to ``before.json`` there.

``python benchmarks/scaling.py`` measures a cluster of one and of two workers, each pinned to a
core, and writes ``SCALING.md`` beside this file, with what the noted units would take on more
cores, and how long the main job takes beside the older one.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import pickle
import platform
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from oiplib import Cluster, GridSpec, Study
from oiplib.progress import SILENT
from oiplib.publish import book, notebooks
from oiplib.study import networks
from oiplib.study.chapters import NOTEBOOKS, needs_of
from oiplib.study.comparing import compare
from oiplib.study.executors import Here, Workers
from oiplib.study.questions import earlier_layers
from oiplib.study.trainings import correspondence_spec, trainings
from oiplib.study.units import Subject, Unit
from oiplib.values import rungs_of

HERE = Path(__file__).parent

#: The grid whose patterns are counted.
GRID = GridSpec((0.0, 0.25, 0.5, 0.75, 1.0), 3, 3)

#: On so many cores the noted units are dealt out, on paper.
CORES = (1, 2, 8, 64, 512)

#: Stages that did one thing at different times: networks are trained first now, all together.
TOGETHER = {
    **dict.fromkeys(("networks", "network", "trainings"), "networks, and comparing them"),
    "data": "reactions",
}

#: Then the selection was judged on so many maps, and twice as many starts as race climbed.
N_SELECTION_MAPS = 24

#: Chapters that there were none of then.
NEW = ("legible", "reproduction", "trust")

#: Stages that the main job doesn't have: what is done otherwise now, as it was done then, and a
#: part of a stage that stands for it. Then two untrained networks were compared with.
AS_THEN = "selection as then"
COMPARING, COMPARING_AS_THEN = "comparing", "comparing as then"
N_UNTRAINED_THEN = 2

#: How the main job tells what it has done.
STAGE = re.compile(r"(\w+) .*\((\d+) s\)")

#: Units by which the cost of one on a cluster is measured.
N_EMPTY = 300


@dataclass(frozen=True)
class Empty:
    """A unit that does nothing, of the size of a race's."""

    payload: bytes

    def compute(self, subject: Any, progress: Any = SILENT) -> bytes:
        """As many bytes as it came with."""
        return self.payload


class Noting(Here):
    """This process; notes of each unit what it is, how long it took, and how large it is."""

    def __init__(self) -> None:
        self.noted: list[dict[str, Any]] = []

    def submit(self, unit: Unit, subject: Subject, progress: Any = SILENT) -> Future[Any]:
        """As `Here`."""
        wall, cpu = time.perf_counter(), time.process_time()
        done = super().submit(unit, subject, progress)
        self.noted.append(
            {
                "kind": type(unit).__name__,
                "seconds": time.perf_counter() - wall,
                "cpu": time.process_time() - cpu,
                "there": len(pickle.dumps(unit)),
                "back": len(pickle.dumps(done.result())),
            }
        )
        return done


class NotingWorkers(Workers):
    """Worker processes with a thread each, as trainings need them; notes what `Noting` does."""

    noted: ClassVar[list[dict[str, Any]]] = []

    def submit(self, unit: Unit, subject: Subject, progress: Any = SILENT) -> Future[Any]:
        """As `Workers`; a unit is alone on its core, so its time is the processor's."""
        begin = time.perf_counter()
        future = super().submit(unit, subject, progress)

        def note(done: Future[Any]) -> None:
            seconds = time.perf_counter() - begin
            self.noted.append(
                {
                    "kind": type(unit).__name__,
                    "seconds": seconds,
                    "cpu": seconds,
                    "there": len(pickle.dumps(unit)),
                    "back": len(pickle.dumps(done.result())),
                }
            )

        future.add_done_callback(note)
        return future


def note_units(folder: Path) -> None:
    """Do the study from nothing, need by need, and write what each took."""
    networks.Workers = NotingWorkers  # type: ignore[attr-defined]
    executor = Noting()
    study = Study(folder / "noted.db", executor=executor)
    file = folder / "scaling.json"
    stages = json.loads(file.read_text()) if file.exists() else []

    def note(name: str, work: Callable[[], object]) -> None:
        if name in [stage["name"] for stage in stages]:
            return
        NotingWorkers.noted.clear()
        executor.noted, wall, cpu = [], time.perf_counter(), time.process_time()
        result = work()
        stages.append(
            {
                "name": name,
                "seconds": time.perf_counter() - wall,
                "cpu": time.process_time() - cpu + sum(u["cpu"] for u in NotingWorkers.noted),
                "units": executor.noted + NotingWorkers.noted,
            }
        )
        print(f"{name:13} {result} ({stages[-1]['seconds']:.0f} s)", flush=True)
        file.write_text(json.dumps(stages))

    for need in needs_of(NOTEBOOKS):
        note(need.name, partial(need.compute, study, study.check_maps()))
    executed = folder / "site.work" / "notebooks"
    executed.mkdir(parents=True, exist_ok=True)
    (executed.parent / book.MARKER).touch()
    note("new chapters", lambda: notebooks.run(study, executed, NEW, is_prepared=True))
    note("book", lambda: book.build(study, folder / "site", is_prepared=True))
    note(AS_THEN, lambda: judge_as_then(study))
    note(COMPARING, lambda: compare_again(study, {}))
    fewer = range(1, N_UNTRAINED_THEN + 1)
    as_then = {"untrained": tuple(fewer), "n_searched": N_UNTRAINED_THEN}
    note(COMPARING_AS_THEN, lambda: compare_again(study, as_then))


def judge_as_then(study: Study) -> str:
    """Let the starts climb by which the selection was judged at commit 9b77c17."""
    maps = np.random.default_rng(0).permutation(study.check_maps())[:N_SELECTION_MAPS]
    race = study.spec.scan.rungs
    n_new = 0
    for first in (rungs_of("article")[0], race[0]):
        rungs = [rung.replace(n_starts=2 * race[0].n_starts) for rung in (first, *race[1:])]
        scan = study.spec.scan.replace(strategy="race", rungs=tuple(rungs), n_oips=0)
        n_new += len(study.search(scan, sorted(maps.tolist()), "Selection as then"))
    return f"{n_new} searches"


def compare_again(study: Study, changes: dict[str, Any]) -> str:
    """Compare the trainings, whose OIPs are stored, once more, and store nothing."""
    by_network = [[*reversed(earlier_layers(each)), each] for each in trainings(study)]
    for of_layer in zip(*by_network, strict=True):
        spec = correspondence_spec(of_layer[0]).replace(**changes)
        compare(of_layer, spec, [each.oips(best=True) for each in of_layer])
    return f"{len(by_network[0])} layers"


def note_before(checkout: Path, folder: Path) -> None:
    """Do the main job of another checkout from nothing, and write what its stages took."""
    command = "from oiplib.cli import main; main()"
    with tempfile.TemporaryDirectory() as scratch:
        places = ["--db", f"{scratch}/oip.db", "--site", f"{scratch}/site"]
        process = subprocess.Popen(
            [sys.executable, "-c", command, "reproduce", *places],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout.resolve())},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        stages = []
        for line in process.stdout:
            print(line, end="", flush=True)
            if told := STAGE.fullmatch(line.rstrip()):
                stages.append({"name": told[1], "seconds": float(told[2])})
        if process.wait():
            sys.exit("it failed")
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=checkout)
    noted = {"commit": commit.decode().strip(), "stages": stages}
    (folder / "before.json").write_text(json.dumps(noted))


def then_and_now(stages: Sequence[dict[str, Any]], before: dict[str, Any]) -> list[str]:
    """The lines of a table: the stages then and now, as shares of what all took then."""
    then: dict[str, float] = defaultdict(float)
    now: dict[str, float] = defaultdict(float)
    for stage in before["stages"]:
        then[TOGETHER.get(stage["name"], stage["name"])] += stage["seconds"]
    for stage in stages:
        now[TOGETHER.get(stage["name"], stage["name"])] += stage["seconds"]
    whole, as_then = sum(then.values()), now.pop(AS_THEN)
    saved = now.pop(COMPARING) - now.pop(COMPARING_AS_THEN)
    same = sum(as_then if name == "selection" else now[name] for name in then) - saved
    lines = [
        "## The main job from nothing",
        "",
        f"All of it at commit {before['commit']} is 1. Done one after the other on this machine, "
        "on all its cores.",
        "",
        "| stage | then | now |",
        "|---|---|---|",
    ]
    for name in [*then, *(name for name in now if name not in then)]:
        was = f"{then[name] / whole:.3f}" if name in then else ""
        lines.append(f"| {name} | {was} | {now[name] / whole:.3f} |")
        if name == "selection":
            lines.append(f"| the same ascents as then | {was} | {as_then / whole:.3f} |")
        if name == TOGETHER["networks"]:
            fewer = (now[name] - saved) / whole
            lines.append(f"| with as many untrained networks as then | {was} | {fewer:.3f} |")
    return [
        *lines,
        f"| **the stages of then** | **1** | **{same / whole:.2f}** |",
        f"| **all** | **1** | **{sum(now.values()) / whole:.2f}** |",
        "",
    ]


@contextmanager
def pinned_cluster(n_workers: int) -> Iterator[str]:
    """The address of a scheduler with workers, each on a core of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address, dask = f"tcp://127.0.0.1:{port}", str(Path(sys.executable).with_name("dask"))
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    here = ["--host", "127.0.0.1", "--no-dashboard"]
    processes = [subprocess.Popen([dask, "scheduler", *here, "--port", str(port)], **quiet)]
    for core in sorted(os.sched_getaffinity(0))[:n_workers]:
        worker = [dask, "worker", address, *here, "--nthreads", "1", "--no-nanny"]
        processes.append(
            subprocess.Popen(
                worker, preexec_fn=lambda core=core: os.sched_setaffinity(0, {core}), **quiet
            )
        )
    try:
        yield address
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure_cluster(db: Path, n_workers: int) -> dict[str, Any]:
    """The rate of a screening, what it comes to, and what a unit costs, on so many workers."""
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("DELETE FROM screenings")
    with pinned_cluster(n_workers) as address, Cluster(address) as cluster:
        while cluster.n_workers < n_workers:
            time.sleep(0.1)
        study = Study(db, executor=cluster)
        # All workers have the network, and have compiled what they need.
        for k in range(4):
            study.screening(GridSpec((0.1 + k / 100, 0.9), 3, 3))
        begin = time.perf_counter()
        screening = study.screening(GRID)
        seconds = time.perf_counter() - begin
        found: dict[str, Any] = {
            "rate": GRID.n_patterns / seconds,
            "screening": [screening.top_indices.tobytes(), screening.histogram.tobytes()],
        }
        found["unit"], found["here"] = cost_of_a_unit(cluster), cost_of_a_unit(Here())
    return found


def cost_of_a_unit(executor: Any) -> float:
    """Seconds for a unit that does nothing, with the size of a race's unit and result."""
    unit = Empty(os.urandom(1_000_000))
    subject = Subject("nothing", lambda: None, _Nothing)
    executor.submit(unit, subject).result()
    begin = time.perf_counter()
    waiting = [executor.submit(unit, subject) for _ in range(N_EMPTY)]
    for future in waiting:
        future.result()
    return (time.perf_counter() - begin) / N_EMPTY


class _Nothing:
    """A subject with nothing in it."""

    def opened(self) -> None:
        """Nothing."""


def on_paper(stages: Sequence[dict[str, Any]], n_cores: int, cost: float) -> float:
    """Seconds that the noted stages would take, one after the other, on so many cores.

    Units are dealt out in their order to whichever core is free. Each takes the processor's time
    that was noted here, as if on one core, and costs the driver `cost` seconds. What a stage does
    beside its units, the driver does alone.
    """
    total = 0.0
    for stage in stages:
        # Trainings are computed side by side, so that theirs may be more than the stage's.
        beside = max(0.0, stage["seconds"] - sum(unit["seconds"] for unit in stage["units"]))
        free = [0.0] * min(n_cores, max(1, len(stage["units"])))
        for number, unit in enumerate(stage["units"]):
            begin = max(heapq.heappop(free), number * cost)
            heapq.heappush(free, begin + unit["cpu"])
        total += max(free) + beside
    return total


def report(
    stages: Sequence[dict[str, Any]],
    before: dict[str, Any],
    one: dict[str, Any],
    two: dict[str, Any],
) -> str:
    """The page."""
    compared = then_and_now(stages, before)
    besides = (AS_THEN, COMPARING, COMPARING_AS_THEN)
    stages = [stage for stage in stages if stage["name"] not in besides]
    by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for stage in stages:
        for unit in stage["units"]:
            by_kind[unit["kind"]].append(unit)
    lines = [
        "# Sharing work",
        "",
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}. Made by `python benchmarks/scaling.py`.",
        "",
        *compared,
        "## A cluster, measured",
        "",
        "Dask's scheduler and workers on this machine, each worker with a thread on its own core.",
        "",
        "| what | |",
        "|---|---|",
        f"| screening of 5^9: rate of two workers over one | {two['rate'] / one['rate']:.2f} |",
        "| the same best patterns and histograms, byte for byte | "
        + ("yes |" if one["screening"] == two["screening"] else "NO |"),
        f"| a unit of 1 MB there and back, in ms on the cluster | {one['unit'] * 1e3:.1f} |",
        f"| the same in this process | {one['here'] * 1e3:.3f} |",
        "",
        "## The units of a study from nothing",
        "",
        "| unit | how many | share of the processor's time | seconds each: median, longest | "
        "kB there, back: median |",
        "|---|---|---|---|---|",
    ]
    whole = sum(stage["cpu"] for stage in stages)
    for kind, units in sorted(by_kind.items()):
        cpu, there, back = (
            sorted(unit[name] for unit in units) for name in ("cpu", "there", "back")
        )
        middle = len(units) // 2
        lines.append(
            f"| {kind.removesuffix('Unit').lower()} | {len(units)} | {sum(cpu) / whole:.0%} | "
            f"{cpu[middle]:.1f}, {cpu[-1]:.1f} | "
            f"{there[middle] / 1e3:.0f}, {back[middle] / 1e3:.0f} |"
        )
    beside = whole - sum(unit["cpu"] for units in by_kind.values() for unit in units)
    lines += [
        f"| what the driver does alone | | {beside / whole:.0%} | | |",
        "",
        "## More cores, on paper",
        "",
        "Not measured: the units above dealt out to so many cores, stage after stage, each for the "
        "time that it took the processor here, at the measured cost of a unit. What the driver "
        "does alone isn't shared, so it sets the limit.",
        "",
        "| cores | times as fast as one |",
        "|---|---|",
    ]
    alone = on_paper(stages, 1, one["unit"])
    lines += [f"| {n} | {alone / on_paper(stages, n, one['unit']):.1f} |" for n in CORES]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["units", "before"], help="note these only")
    parser.add_argument("checkout", nargs="?", type=Path, help="of an older commit")
    parser.add_argument("--work", type=Path, default=Path("scaling"), help="a folder")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    if asked.what == "units":
        note_units(asked.work)
        return
    if asked.what == "before":
        if asked.checkout is None:
            parser.error("name the checkout of an older commit")
        note_before(asked.checkout, asked.work)
        return
    stages = json.loads((asked.work / "scaling.json").read_text())
    before = json.loads((asked.work / "before.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        db = Path(shutil.copy(HERE.parent / "oip.db", folder))
        one, two = (measure_cluster(db, n) for n in (1, 2))
    (HERE / "SCALING.md").write_text(report(stages, before, one, two))


if __name__ == "__main__":
    main()
