"""How far results can be made again elsewhere: ``python benchmarks/limits.py [PYTHON...]``.

A sample of the stored OIPs is replayed in processes that differ from the one that made them in
one thing: threads, batch size, the processor's instructions, libraries. Each further Python that
is named (of an environment with other versions, in which oiplib is installed) is one more. The
page ``book/limits.md`` is written from what comes out.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from plain import made_again

from oiplib import Study

HERE = Path(__file__).parent
SAMPLE = 200
TOLERANCE = 0.01

#: Prints a replayed sample as JSON; the batch size may be another one.
REPLAY = """
import dataclasses, functools, json, sys
from oiplib import Store
from oiplib.engine import ascent
from oiplib.study.replay import replay
from oiplib.study.runs import environment
if int(sys.argv[2]):
    ascent.ascend = functools.partial(ascent.ascend, batch_size=int(sys.argv[2]))
store = Store(sys.argv[1])
print(json.dumps(environment()))
print(json.dumps([]))
found = list(replay(store, store.oip_ids(int(sys.argv[3]))))
print(json.dumps(environment()))
print(json.dumps([dataclasses.asdict(each) for each in found]))
"""

#: Trains for an epoch, and prints the hash of the weights.
TRAIN = """
import sys
from oiplib import CnnSpec, Study, StudySpec
print(Study(sys.argv[1], StudySpec(cnn=CnnSpec(epochs=1))).train().weights_sha256)
"""

ONE_THREAD = ["taskset", "-c", "0"]
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "XLA_FLAGS": "--xla_cpu_max_isa=AVX2"}
PLAIN = {"TF_ENABLE_ONEDNN_OPTS": "0"}


def replayed(
    db: Path, python: str, before: list[str], env: dict[str, str], batch: int = 0, n: int = SAMPLE
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Environment and replays of a child process."""
    command = [*before, python, "-c", REPLAY, str(db), str(batch), str(n)]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True)
    if done.returncode and "can't be rebuilt" not in done.stderr:
        sys.exit(done.stderr)
    environment, found = (json.loads(line) for line in done.stdout.splitlines()[-2:])
    return environment, found


def row(name: str, found: list[dict[str, Any]]) -> str:
    """A line of the table."""
    if not found:
        return f"| {name} | this Keras can't read the stored network | | | | |"
    losses = [abs(each["loss_now"] - each["loss"]) / each["loss"] for each in found]
    pixels = statistics.median(each["pixel_difference"] for each in found)
    least = min(each["correlation"] for each in found)
    same = sum(each["same_bytes"] for each in found)
    if same == len(found):
        return f"| {name} | {same} of {len(found)} | all | 0 | 0 | 1 |"
    worst = [max(loss, 1 - each["correlation"]) for loss, each in zip(losses, found, strict=True)]
    hold = sum(each <= TOLERANCE for each in worst)
    return (
        f"| {name} | {same} of {len(found)} | {hold}, all within {max(worst):.2f} "
        f"| {statistics.median(losses):.1e}, {max(losses):.1e} | {pixels:.1e} | {least:.3f} |"
    )


def trained(folder: str, name: str, before: list[str], env: dict[str, str]) -> str:
    """The hash of the weights after an epoch."""
    path = Path(folder) / f"{name}.db"
    command = [*before, sys.executable, "-c", TRAIN, str(path)]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout.split()[-1]


def main() -> None:
    """Measure, and write the page."""
    source = Path(os.environ.get("OIP_DB", "oip.db"))
    with tempfile.TemporaryDirectory() as folder:
        db = Path(shutil.copy(source, folder))
        here, same = replayed(db, sys.executable, [], {})
        rows = [row("nothing: the machine and the versions that made them", same)]
        for name, before, env, batch in (
            ("one thread instead of two", ONE_THREAD, {}, 0),
            ("batches of 32 instead of 128", [], {}, 32),
            ("batches of 200", [], {}, 200),
            ("a processor without AVX-512 (its instructions switched off)", [], AVX2, 0),
            ("TensorFlow without oneDNN", [], PLAIN, 0),
        ):
            rows.append(row(name, replayed(db, sys.executable, before, env, batch)[1]))
        for python in sys.argv[1:]:
            there, found = replayed(db, python, [], {})
            differing = [
                f"{name} {there[name]} instead of {here[name]}"
                for name in ("python", "tensorflow", "keras", "numpy")
                if there[name] != here[name]
            ]
            rows.append(row(", ".join(differing) or "another environment", found))
        weights = {
            "the same again": trained(folder, "again", [], {}),
            "one thread instead of two": trained(folder, "one", ONE_THREAD, {}),
            "a processor without AVX-512": trained(folder, "avx2", [], AVX2),
            "TensorFlow without oneDNN": trained(folder, "plain", [], PLAIN),
        }
        first = trained(folder, "first", [], {})
        apart = made_again(Study(db))
    model = next(
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    told = PAGE.format(
        n=len(same),
        n_plain=len(apart),
        near=(apart <= TOLERANCE).sum(),
        nearer=(apart <= 0.1).sum(),
        machine=f"{model}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {here['python']}, TensorFlow {here['tensorflow']}, NumPy {here['numpy']}",
        rows="\n".join(rows),
        training="\n".join(
            f"| {name} | {'equal bytes' if found == first else 'other weights'} |"
            for name, found in weights.items()
        ),
    )
    (HERE.parent / "book" / "limits.md").write_text(told)


# ruff: noqa: E501
PAGE = """\
<!-- Written by benchmarks/limits.py: change it there. -->
# How reproducible is this?

**On the machine that made it, every OIP comes out again byte for byte. Elsewhere, nearly all come out alike
within one percent.**

Every OIP of the database can be made again from the numbers in its row: start, network, map and
ascents. On the machine that made it, with the same versions, the bytes are the same. Elsewhere a
sum may be taken in another order and be rounded differently in its last bit, and some hundred
steps of an ascent can carry that further. How far, we measured: {n} OIPs of the reference
database, drawn by a fixed seed, were made again in processes that differ in one thing from the
one that made them.

| what differs | equal bytes | within 0.01 | loss, median and largest | pixel, median | least correlation |
|---|---|---|---|---|---|
{rows}

Loss: the relative difference, in the median and at worst. Pixel: the largest difference in an
image, in units of its standard deviation, in the median of the images. Correlation: of the two
images, at worst. Within 0.01 means `oip replay --tolerance 0.01`: a loss within one percent, and a
correlation of at least 0.99. Measured by `benchmarks/limits.py` on:
{machine}.

## What that means

An OIP doesn't depend on which others are computed beside it, on their order, or on the number of
maps that are asked for: batches are always filled up to one size. `oip replay` asks for equal
bytes, which another number of threads keeps; where libraries or instructions differ, ask with a
tolerance. It also says in which versions this machine differs from the one that made an OIP.

## Other code

All of that is our own code. `benchmarks/plain.py` is other code: the same ascents in plain NumPy, in double
precision. Of {n_plain} OIPs of the layer, drawn at random, it lands within 0.01 in **{near}**, and within 0.1
in {nearer}. Before patterns began with a little noise, it was 86 and 96; and a program of somebody else, without
TensorFlow, found 75 and 83 of 100 (within 0.01 and 0.09) on another draw. The reason is that coarse patterns have equal
pixels: many poolings begin with a tie, and the last bit decides which way the ascent takes. Without noise this is still so.
The response that it reaches hardly changes. [Can you trust an OIP?](trust) tells which OIPs are of that kind.

## Training

A training is a longer chain than an ascent. The same network, trained for one epoch from the same
seed, compared with a first one:

| what differs | weights |
|---|---|
{training}

So the network itself belongs to the result: its weights are in the database, and whatever is
replayed, is replayed with them. On another machine the same seed gives a network of the same
kind, not the same network. Networks that share a spec and differ in their weights have a row each
when databases are merged.

## What we could not measure

A graphics card, other makes of processors, Windows and macOS.
"""


if __name__ == "__main__":
    main()
