"""Killed at any write: is the file sound, is nothing lost, and does the next call end alike?

``python benchmarks/faults.py N`` kills real commands N times while they work on a small network
that was really trained on digits, and writes ``FAULTS.md`` beside this file. Most die at a write
that was drawn (see ``killing.py``), the others at a moment that was drawn, by a signal, or lose one
of their workers. After each kill and after the next calls it is looked for

- processes that are left,
- what is not sound in the database, or not whole among the files,
- what was committed before, and is no longer there,
- a difference from a study that was never killed.

``--only derive --at 17`` repeats one kill. ``--postgresql`` does all in a server that is started
for the purpose. Exit status 1 if anything is not as it should be.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# What stands here, and the package beside it, is what all processes import.
sys.path[:0] = [str(HERE.parent), str(HERE)]

from content import differences  # noqa: E402
from scenarios import SCENARIOS, Scenario  # noqa: E402
from server import Server  # noqa: E402
from workbench import GRACE, LONGEST, Bench, Unbroken, Wrong  # noqa: E402

from oiplib.progress import bar  # noqa: E402

#: What can be wrong.
KINDS = ("process left", "unsound", "lost", "unequal", "leftover", "disorder")

# After one of so many kills of a command comes `oip check`, which rebuilds the network in seconds.
# All rows are read after every kill, and in the end compared with those of the unbroken study.
CHECKED = 5

# The status of what can't be done as it was asked.
WRONG_USAGE = 2

# Whether somebody has ended this program.
_STOPPED = threading.Event()


@dataclass(frozen=True)
class Kill:
    """Where a command is killed: at a write (a number), or at a share of its time, by a signal.

    Examples
    --------
    >>> str(Kill.parse("17")), str(Kill.parse("0.25:TERM")), str(Kill.parse("0.5:KILL:worker"))
    ('17', '0.25:TERM', '0.5:KILL:worker')
    """

    at: int | float
    signal: str = "KILL"
    of_worker: bool = False

    @classmethod
    def parse(cls, text: str) -> Kill:
        """The kill that a text tells."""
        at, *others = text.split(":")
        return cls(float(at) if "." in at else int(at), *others[:1], of_worker=len(others) == 2)

    def __str__(self) -> str:
        if isinstance(self.at, int):
            return str(self.at)
        return f"{self.at:g}:{self.signal}" + (":worker" if self.of_worker else "")


@dataclass(frozen=True)
class Fault:
    """Something that isn't as it should be: one of `KINDS`, of which command, after which kills."""

    kind: str
    command: str
    kills: str
    what: str


@dataclass
class Tally:
    """What came of one command's kills."""

    kills: int = 0
    faults: list[Fault] = field(default_factory=list)
    n_writes: int = 0
    seconds: float = 0.0
    seconds_before: float = 0.0


def main() -> int:
    """Kill, report, and say by the exit status whether all is as it should be."""
    options = _options()
    wanted = _wanted(options)
    tallies = {name: Tally() for name in wanted}
    with ExitStack() as stack:
        server = Server() if options.postgresql else None
        if server is not None:
            stack.callback(server.stop)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oip-f-")))
        every = [Bench(folder / f"lane{k}", server, f"lane{k}_") for k in range(options.lanes)]
        benches = list(every)
        stack.callback(lambda: [bench.end() for bench in every])

        def stop(*_: object) -> None:
            """End what was begun, and keep what is known so far."""
            _STOPPED.set()
            for bench in every:
                bench.end()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        progress = stack.enter_context(bar(sum(wanted.values()), "Faults", "kills"))

        def kill(name: str) -> None:
            if _STOPPED.is_set():
                return
            bench = benches.pop()
            _kill_often(bench, SCENARIOS[name], wanted[name], tallies[name], options, progress)
            benches.append(bench)
            print(_row(name, tallies[name]), flush=True)
            if options.at is None and options.only is None:  # after each, so that nothing is lost
                page = HERE / ("FAULTS-POSTGRESQL.md" if server else "FAULTS.md")
                page.write_text("\n".join(_page(tallies)) + "\n")

        with ThreadPoolExecutor(options.lanes) as pool:
            list(pool.map(kill, wanted))
    return int(_STOPPED.is_set() or any(tally.faults for tally in tallies.values()))


def _kill_often(
    bench: Bench,
    scenario: Scenario,
    n: int,
    tally: Tally,
    options: argparse.Namespace,
    progress: Any,
) -> None:
    """Kill a command n times, each time anew unless several kills in a row were drawn."""
    began = time.perf_counter()
    try:
        tally.n_writes = bench.unbroken(scenario).n_writes
        bench.keep(options.keep, f"{scenario.name}-unbroken")
    except Wrong as error:
        tally.faults.append(Fault("disorder", scenario.name, "", f"never killed, {error}"))
        print(f"{scenario.name}: never killed, {error}", flush=True)
        return
    finally:
        tally.seconds_before = time.perf_counter() - began
    for k in range(1 if options.at else 10 * n):
        if tally.kills >= n or _STOPPED.is_set():
            break
        began, before, n_faults = time.perf_counter(), tally.kills, len(tally.faults)
        chance = random.Random(f"{options.seed} {scenario.name} {k}")
        kills = options.at or drawn(scenario, tally.n_writes, chance, n - before)
        tried(bench, scenario, kills, tally, is_checked=k % CHECKED == 0)
        if _STOPPED.is_set():  # what was ended from outside says nothing
            tally.kills = before
            del tally.faults[n_faults:]
            break
        if len(tally.faults) > n_faults:
            bench.keep(options.keep, f"{scenario.name}-{k}")
        tally.seconds += time.perf_counter() - began
        progress.update(tally.kills - before)
        for fault in tally.faults[n_faults:]:
            print(
                f"{fault.command} --at {fault.kills}: {fault.kind}: {fault.what}",
                flush=True,
            )


def drawn(scenario: Scenario, n_writes: int, chance: random.Random, most: int) -> list[Kill]:
    """What is done to a command: mostly one kill, sometimes several before it may end."""
    n = min(most, chance.choices((1, 2, 3), (85, 10, 5))[0])
    return [_drawn(scenario, n_writes, chance) for _ in range(n)]


def _drawn(scenario: Scenario, n_writes: int, chance: random.Random) -> Kill:
    share = round(chance.uniform(0.02, 0.98), 3)
    ways = {"write": 70, "moment": 18, "signal": 12 * scenario.is_of_oip}
    if scenario.is_fresh:
        ways = {"write": 30, "moment": 30, "signal": 20, "worker": 20}
    way = chance.choices(list(ways), list(ways.values()))[0]
    if way == "write":
        return Kill(chance.randint(1, n_writes))
    name = chance.choice(("TERM", "HUP", "INT")) if way == "signal" else "KILL"
    return Kill(share, name, of_worker=way == "worker")


def tried(
    bench: Bench,
    scenario: Scenario,
    kills: Sequence[Kill],
    tally: Tally,
    is_checked: bool,
) -> None:
    """Kill a command, once or several times in a row; let it end, and look at what there is."""
    unbroken = bench.unbroken(scenario)
    bench.reset(scenario.base)
    told = ",".join(map(str, kills))

    def note(kind: str, what: str) -> None:
        tally.faults.append(Fault(kind, scenario.name, told, what))

    for kill in kills:
        if not _killed(bench, scenario, kill, unbroken, note):
            break
        tally.kills += 1
        for kind, what in _after_kill(bench, scenario, kill, unbroken, is_checked):
            note(kind, what)
    finished = bench.notebooks()
    process = bench.started(scenario.command, is_fresh=scenario.is_fresh)
    status = process.ended(LONGEST)
    for role in process.left():
        note("process left", f"{role}, after the next call")
    if status != 0 and not _was_done(bench, scenario, status, unbroken):
        note("unequal", f"the next call ends with {status}: {bench.last_line()}")
    else:
        for kind, what in _after_end(bench, unbroken):
            note(kind, what)
        again = [
            name
            for name, moment in bench.notebooks().items()
            if finished.get(name, moment) != moment
        ]
        if again:
            note("lost", f"{len(again)} finished notebooks were executed again")


def _killed(
    bench: Bench,
    scenario: Scenario,
    kill: Kill,
    unbroken: Unbroken,
    note: Callable[[str, str], None],
) -> bool:
    """Let a command begin, and kill it; False if it ended before."""
    at = kill.at if isinstance(kill.at, int) else None
    process = bench.started(scenario.command, at, scenario.is_fresh)
    if not at:
        bench.wait_for_begin(process)
    status = process.ended(LONGEST if at else kill.at * unbroken.seconds)
    if status is None and at:
        note("disorder", f"goes on after {LONGEST} s")
    if status is None:
        victims = sorted(process.others()) if kill.of_worker else [process.pid]
        if victims:
            number = signal.Signals[f"SIG{kill.signal}"]
            os.kill(victims[int(1000 * kill.at) % len(victims)], number)
        status = process.ended(LONGEST if kill.of_worker else 6 * GRACE)
        if status is None:
            note("disorder", f"doesn't end within {6 * GRACE} s after SIG{kill.signal}")
            process.kill()
        is_killed = bool(victims)
    else:
        is_killed = status == -signal.SIGKILL
        if not is_killed and status and not _was_done(bench, scenario, status, unbroken):
            note("disorder", f"ends with {status}, not killed: {bench.last_line()}")
    for role in process.left():
        note("process left", role)
    if bench.server and not bench.server.is_free(bench.prefix + "work", GRACE):
        note("process left", "a transaction in the server")
    return is_killed


def _was_done(bench: Bench, scenario: Scenario, status: int, unbroken: Unbroken) -> bool:
    """Whether a command refuses because it had ended its work when it was killed before."""
    files = bench.files()
    return (
        scenario.is_once
        and status == WRONG_USAGE
        and all(files.get(name) == of_name for name, of_name in unbroken.files.items() if of_name)
    )


def _after_kill(
    bench: Bench, scenario: Scenario, kill: Kill, unbroken: Unbroken, is_checked: bool
) -> Iterator[tuple[str, str]]:
    """What isn't as it should be in what a killed command has left."""
    yield from (("unsound", what) for what in bench.unsound(is_checked))
    yield from (("lost", f"{n} rows of {table}") for table, n in Counter(bench.lost()).items())
    files = bench.files()
    for name in files.keys() & unbroken.files.keys():
        if unbroken.files[name] and files[name] != unbroken.files[name]:
            yield "unsound", f"{name} isn't whole"
    for folder in scenario.whole:
        missing = [n for n in unbroken.files.keys() - files.keys() if n.startswith(f"{folder}/")]
        if missing and (bench.work / folder).exists():
            yield "unsound", f"{folder} isn't whole: {len(missing)} files are missing"
    if kill.signal != "KILL":
        yield from (("disorder", f"after SIG{kill.signal}: {run}") for run in bench.running())
        for name in sorted(files.keys() - unbroken.files.keys()):
            yield "leftover", f"after SIG{kill.signal}: {_plain(name)}"


def _after_end(bench: Bench, unbroken: Unbroken) -> Iterator[tuple[str, str]]:
    """What differs from a study that was never killed, or is left beside it."""
    found = Counter(differences(unbroken.content, bench.content() or {}))
    yield from (("unequal", f"{n} {what}") for what, n in found.items())
    files = bench.files()
    for name in sorted(unbroken.files.keys() | files.keys()):
        if name not in files:
            yield "unequal", f"{name} is missing"
        elif name not in unbroken.files:
            yield "leftover", _plain(name)
        elif unbroken.files[name] and files[name] != unbroken.files[name]:
            yield "unequal", f"{name} holds something else"
    yield from (("disorder", f"{run}, though nothing does") for run in sorted(set(bench.running())))
    for place in bench.tracebacks():
        yield "disorder", f"a traceback is shown, of {place}"


def _plain(name: str) -> str:
    """A file's name without the numbers in it."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "N", name)


# --- the report ---


def _row(name: str, tally: Tally) -> str:
    counts = Counter(fault.kind for fault in tally.faults)
    each = tally.seconds / max(tally.kills, 1)
    numbers = [tally.kills, tally.n_writes, *(counts[kind] for kind in KINDS)]
    return f"| {name} | {' | '.join(map(str, numbers))} | {each:.1f} |"


def _listed(faults: Sequence[Fault]) -> list[str]:
    """All faults, those of one kind in one line with all kills that show it."""
    on = " --postgresql" if "--postgresql" in sys.argv else ""
    kills: dict[tuple[str, str, str], list[str]] = {}
    for fault in faults:
        kills.setdefault((fault.command, fault.kind, fault.what), []).append(fault.kills)
    return [
        f"- {kind}, {command}: {what} ({len(of)} times: `--only {command}{on} --at "
        + "`, `".join(dict.fromkeys(of))
        + "`)"
        for (command, kind, what), of in kills.items()
    ]


def _page(tallies: dict[str, Tally]) -> list[str]:
    faults = [fault for tally in tallies.values() for fault in tally.faults]
    n_seconds = sum(tally.seconds + tally.seconds_before for tally in tallies.values())
    done = {name: tally for name, tally in tallies.items() if tally.n_writes or tally.faults}
    commit = subprocess.run(
        ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
    ).stdout.strip()
    n_kills = sum(tally.kills for tally in tallies.values())
    return [
        "<!-- Written by benchmarks/faults.py: change it there. -->",
        "# Killed at any write",
        "",
        f"{n_kills} kills in {n_seconds / 60:.0f} minutes, {len(faults)} faults. Commands were "
        "killed at a write or at a moment that was drawn, called again until they ended, and "
        "compared with the same commands that nobody killed. `benchmarks/faults.py` says what is "
        "looked for.",
        "",
        f"| command | kills | writes | {' | '.join(KINDS)} | seconds a kill |",
        f"|---|{'---|' * (len(KINDS) + 3)}",
        *(_row(name, tally) for name, tally in done.items()),
        "",
        f"By `python benchmarks/faults.py {' '.join(sys.argv[1:])}`, commit {commit}, on "
        f"{_machine()}. Writes: those of the command that wasn't killed, but for its workers'.",
        "",
        "## Faults",
        "",
        *(_listed(faults) or ["None."]),
    ]


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    )


# --- what is asked ---


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "n", type=int, nargs="?", default=100, help="How many kills [default: 100]."
    )
    parser.add_argument("--seed", type=int, default=0, help="Of all draws [default: 0].")
    parser.add_argument("--only", choices=SCENARIOS, metavar="COMMAND", help=", ".join(SCENARIOS))
    parser.add_argument(
        "--at",
        metavar="KILLS",
        type=lambda text: [Kill.parse(each) for each in text.split(",")],
        help="One try with these kills, such as 17 or 17,0.3:TERM; with --only.",
    )
    parser.add_argument(
        "--lanes",
        type=int,
        default=1,
        help="How many commands at the same time [default: 1].",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="Where to copy folders with faults, and unbroken ones.",
    )
    parser.add_argument("--postgresql", action="store_true", help="On a PostgreSQL server.")
    options = parser.parse_args()
    if options.at and not options.only:
        parser.error("--at needs --only")
    return options


def _wanted(options: argparse.Namespace) -> dict[str, int]:
    """How many kills of which command: their shares of all, at least one."""
    chosen = [s for s in SCENARIOS.values() if s.name == (options.only or s.name)]
    chosen = [s for s in chosen if s.is_on_server or not options.postgresql]
    if not chosen:
        sys.exit(f"{options.only} needs SQLite")
    total = sum(scenario.share for scenario in chosen)
    return {s.name: max(1, -(-options.n * s.share // total)) for s in chosen}


if __name__ == "__main__":
    sys.exit(main())
