"""What we claim of speed, each as a ratio measured in one run: ``make bench``.

Every section is a process of its own, so that its peak memory is its own. Results go to
``RESULTS.md`` beside this file.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import astuple
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from oiplib import (
    AscentSpec,
    FluctuationStart,
    GridSpec,
    LayerMaps,
    ScanSpec,
    ScreeningSpec,
    Study,
    StudySpec,
    ascend,
    fluctuation_images,
    pattern_images,
    scan,
    screen,
)
from oiplib.analysis.variety import pairs_between, pairs_within
from oiplib.engine.patterns import distinct_blocks
from oiplib.search.screening import Screening, parts_of
from oiplib.study import rows as study_rows
from oiplib.study.chapters import CHAPTERS, prepare

HERE = Path(__file__).parent
#: The Python of the environment in which the others are installed (`make bench` makes it).
PEERS = HERE.parent / ".venv-peers" / "bin" / "python"
LAYER = "Conv2D_3"
SEED = 20201123
Rows = list[tuple[str, str]]


def rates(study: Study) -> Rows:
    """Gradient images per second: batched, one image at a time, by others, matrix product."""
    from oiplib.engine.images import standardize
    from oiplib.engine.tf import keras, tf

    layer, n = study.engine, 5120
    rng = np.random.default_rng(SEED)
    images = pattern_images(GridSpec(), rng.integers(0, 19683, n), layer.image_shape)
    maps = rng.integers(0, layer.n_maps, n)
    spec = AscentSpec(21, 0.1, n_steps=0)
    ascend(layer, images[:128], maps[:128], spec)
    best = max(n * 21 / _seconds(lambda: ascend(layer, images, maps, spec)) for _ in range(5))

    until = keras.Model(study.model.inputs[0], study.model.get_layer(LAYER).output)
    image = tf.Variable(images[:1])

    def one_step() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(until(image, training=False)[..., int(maps[0])])
        gradient = tape.gradient(loss, image)
        gradient /= tf.sqrt(tf.reduce_mean(tf.square(gradient))) + 1e-7
        image.assign(standardize(image + 0.01 * gradient))

    one_step()
    eager = max(40 / _seconds(lambda: [one_step() for _ in range(40)]) for _ in range(3))

    a = tf.random.stateless_normal((1024, 1024), (0, 1))
    product = max(60 / _seconds(lambda: [tf.matmul(a, a) for _ in range(60)]) for _ in range(5))
    product *= 2 * 1024**3
    flops = 2 * sum(_flops(each) for each in until.layers)
    rows = [
        ("gradient images per second, batched, over one image at a time in eager mode",
         f"{best / eager:.0f}"),
        ("floating-point operations per second of these, over a float32 matrix product's",
         f"{best * flops / product:.0%}"),
        *_profile(layer, 1 / best, product),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.keras")
        study.model.save(path)
        command = [str(PEERS), str(HERE / "peers.py"), str(path), LAYER]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    for name, peer in json.loads(done.stdout.splitlines()[-1]).items():
        what = f"over {name} {peer['version']} at its best batch size ({peer['batch_size']})"
        rows.append((f"gradient images per second, {what}", f"{best / peer['rate']:.2f}"))
    return rows


def _profile(layer: LayerMaps, step: float, product: float) -> Rows:
    """Where the seconds of one image's gradient step go, each part as a share of the whole."""
    from oiplib.engine.tf import keras, tf

    assert layer._own_maps is not None
    until, own_maps = layer._until_layer, layer._own_maps
    maps, rows, rest = tf.constant(np.arange(128) % layer.n_maps), [], 1.0
    rng = np.random.default_rng(SEED)
    parts: list[tuple[str, Any, tuple[int, ...]]] = [
        (part.name, part, part.input.shape[1:])
        for part in until.layers
        if not isinstance(part, (keras.layers.InputLayer, keras.layers.Identity))
    ]
    parts.append((f"{LAYER}, own map", lambda x: own_maps(x, maps), until.output.shape[1:]))
    for name, part, shape in parts:
        x = tf.constant(rng.standard_normal((128, *shape)), tf.float32)

        def back(x: Any, part: Any = part) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                out = part(x)
            return tape.gradient(out, x)

        share = _side_by_side(tf.function(back, autograph=False), x) / step
        rest -= share
        rows.append((f"share of a gradient step: {name} with ReLU and pooling, both ways"
                     if part in until.layers else f"share of a gradient step: {name}, both ways",
                     f"{share:.0%}"))  # fmt: skip
    rows.append(("share of a gradient step: the rule, the loop and what else", f"{rest:.0%}"))
    largest = max(until.layers, key=_flops)
    kernel, shape = largest.kernel, largest.input.shape[1:]
    x = tf.constant(rng.standard_normal((128, *shape)), tf.float32)
    y = tf.nn.conv2d(x, kernel, 1, "VALID")
    there = _side_by_side(tf.function(lambda x: tf.nn.conv2d(x, kernel, 1, "VALID")), x)
    again = _side_by_side(
        tf.function(lambda y: tf.nn.conv2d_transpose(y, kernel, x.shape, 1, "VALID")), y
    )
    needed = 2 * int(np.prod(y.shape[1:3])) * int(np.prod(kernel.shape)) / product
    for way, seconds in (("forward", there), ("back", again)):
        rows.append((f"{largest.name}'s convolution alone, {way}: operations per second over the "
                     "product's, and its share of a step",
                     f"{needed / seconds:.0%}, {seconds / step:.0%}"))  # fmt: skip
    return rows


def _side_by_side(work: Callable[[Any], object], x: Any) -> float:
    """Seconds an image of a batch of 128, in two threads as the ascents are."""
    work(x)
    with ThreadPoolExecutor(2) as pool:
        best = min(
            _seconds(lambda: list(pool.map(lambda _: [work(x) for _ in range(30)], range(2))))
            for _ in range(3)
        )
    return best / (2 * 30 * 128)


def training(_: Study) -> Rows:
    """An epoch of four trainings side by side, against Keras' fit of one after the other."""
    from oiplib import CnnSpec
    from oiplib.engine import data, network
    from oiplib.engine.tf import tf
    from oiplib.study.trainings import train_all

    first = CnnSpec(epochs=1)
    specs, dataset = [first, *first.siblings().values()], data.load(first.dataset)
    n_images = len(specs) * len(dataset.train_images)

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            train_all(Study(Path(folder) / "trained.db", StudySpec(cnn=first)))

    rate = n_images / _seconds(ours)
    fit_rate = n_images / _seconds(lambda: [_fit(spec, dataset) for spec in specs])
    a = tf.random.stateless_normal((1024, 1024), (0, 1))
    product = max(60 / _seconds(lambda: [tf.matmul(a, a) for _ in range(60)]) for _ in range(5))
    product *= 2 * 1024**3
    # No pixel of the last two rows and columns reaches Conv2D_3, so they are left out.
    layers = [each for each in network.build(first, (26, 26, 1), 10).layers if each.weights]
    flops = [
        _flops(each) if len(each.kernel.shape) == 4 else 2 * int(np.prod(each.kernel.shape))
        for each in layers
    ]
    operations = 3 * sum(flops) - flops[0]  # the images need no gradient
    return [
        ("training: images per second, four side by side, over Keras' fit one after the other",
         f"{rate / fit_rate:.2f}"),
        ("training: floating-point operations per second over a float32 matrix product's",
         f"{rate * operations / product:.0%}"),
    ]  # fmt: skip


def _fit(spec: Any, dataset: Any) -> Any:
    """The network of a spec, trained by Keras on the same images in the same order."""
    from oiplib.engine import network
    from oiplib.engine.images import standardized
    from oiplib.engine.tf import keras
    from oiplib.engine.training import image_order

    images = standardized(dataset.train_images)
    model = network.build(spec, images.shape[1:], dataset.n_classes)
    n_batches = -(-len(images) // spec.batch_size)
    rate = keras.optimizers.schedules.PolynomialDecay(
        spec.learning_rate, spec.epochs * n_batches, spec.final_learning_rate
    )
    model.compile(
        keras.optimizers.RMSprop(rate, momentum=spec.momentum),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    test = standardized(dataset.test_images), dataset.test_labels
    for epoch in range(spec.epochs):
        order = image_order(spec, epoch, len(images))
        model.fit(
            images[order], dataset.train_labels[order], spec.batch_size,
            shuffle=False, validation_data=test, verbose=0,
        )  # fmt: skip
    return model


def race(study: Study) -> Rows:
    """The race against the article's procedure, and against full ascents of random starts."""
    layer = study.engine
    maps = np.sort(np.random.default_rng(SEED).permutation(layer.n_maps)[:24])
    screening = study_rows.screening_of(study.screening())
    maps = np.union1d(maps, np.flatnonzero(screening.n_reacting == 0)[:2])
    found: dict[str, dict[int, float]] = {}
    seconds, gradients = {}, {}
    for strategy in ("race", "article"):
        spec = ScanSpec(strategy=strategy)
        list(scan(layer, spec.replace(grid=GridSpec((0.2, 0.8), 2, 2)), maps[:1]))  # compiled
        begin = time.perf_counter()
        results = list(scan(layer, spec, maps, screening))
        seconds[strategy] = time.perf_counter() - begin
        found[strategy] = {r.map: float(r.ascents.losses.max(initial=0)) for r in results}
        gradients[strategy] = np.mean([_gradient_images(spec, r.rungs) for r in results])
    full = {int(map): _full_ascents(layer, int(map), 512) for map in maps}
    over = np.array([found["race"][m] / max(found["article"][m], 1e-9) for m in found["race"]])
    reacting = np.array([found["article"][m] > 0 for m in found["race"]])
    share = np.array([found["race"][m] / full[m] for m in full if full[m] > 0])
    return [
        ("maps compared, silent ones included", f"{len(maps)}"),
        ("maps on which the race's best loss is at least the article's",
         f"{(over >= 1).sum()} of {len(over)}"),
        ("best loss, race over article, where the article found one: least, median",
         f"{over[reacting].min():.3f}, {np.median(over[reacting]):.3f}"),
        ("gradient images a map, article over race",
         f"{gradients['article'] / gradients['race']:.0f} "
         f"({gradients['article']:,.0f} over {gradients['race']:,.0f})"),
        ("time, article (batched and pruned) over race",
         f"{seconds['article'] / seconds['race']:.0f}"),
        ("best loss, race over 512 full ascents from random starts: median",
         f"{np.median(share):.3f}"),
    ]  # fmt: skip


def scaling(study: Study) -> Rows:
    """Screening, race and finalists for more and more maps, as time per map."""
    layer = study.engine
    list(scan(layer, ScanSpec(), [0], study_rows.screening_of(study.screening())))  # compiled
    times = {}
    for n in (16, 32, 64, 128):
        begin = time.perf_counter()
        screening = screen(layer, ScreeningSpec())
        list(scan(layer, ScanSpec(), range(n), screening))
        times[n] = time.perf_counter() - begin
    told = ", ".join(f"{n}: {times[n] / n / (times[128] / 128):.2f}" for n in times)
    return [
        ("screening, race and finalists: time per map over that of all 128", told),
        ("the same for all 128 maps: under 120 s", "yes" if times[128] < 120 else "no"),
    ]


def screening_3_9(study: Study) -> Rows:
    """3^9 patterns for all maps."""
    return _screening_rows(study, GridSpec())[0]


def screening_5_9(study: Study) -> Rows:
    """5^9 patterns for all maps, and the same in a process that is killed halfway."""
    grid = GridSpec((0, 0.25, 0.5, 0.75, 1))
    rows, unbroken = _screening_rows(study, grid)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "oip.db")
        _copy(Path(study.store.name), path)
        command = [sys.executable, __file__, "screen", str(path), grid.to_json()]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        half = len(parts_of(grid)) // 2
        layer_id, spec_sha256 = study.layer.id, ScreeningSpec(grid).sha256
        while len(Study(path).store.screened_parts(layer_id, spec_sha256)) < half:
            time.sleep(0.2)
        child.kill()
        child.wait()
        left = len(Study(path).store.screened_parts(layer_id, spec_sha256))
        subprocess.run(command, check=True, capture_output=True)
        again = study_rows.screening_of(Study(path).screening(grid))
    same = all(
        np.array_equal(*values) for values in zip(astuple(unbroken), astuple(again), strict=True)
    )
    told = f"killed with {left} of {len(parts_of(grid))} parts done and started again"
    return [*rows, (f"5^9: {told}: the same result", "yes" if same else "no")]


def screening_3_16(study: Study) -> Rows:
    """A stretch of 3^16 patterns on a 4 x 4 grid, at the rate of 5^9."""
    small, large = GridSpec((0, 0.25, 0.5, 0.75, 1)), GridSpec(rows=4, columns=4)
    screen(study.engine, ScreeningSpec(large), (0, 8192))  # compiled

    def rate(grid: GridSpec) -> float:
        middle = grid.n_patterns // 2
        begin = time.perf_counter()
        found = screen(study.engine, ScreeningSpec(grid), (middle, middle + 2**18))
        return found.n_patterns / (time.perf_counter() - begin)

    rates = rate(small), rate(large)
    whole = large.n_patterns / small.n_patterns * rates[0] / rates[1]  # nearly all are distinct
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return [
        ("3^16: distinct patterns per second over those of 5^9, a stretch of 262,144 each",
         f"{rates[1] / rates[0]:.2f}"),
        ("3^16: time of the whole by that rate, over 5^9's", f"{whole:.0f}"),
        ("3^16: peak memory over 1.5 GiB", f"{peak / 1.5:.2f}"),
    ]  # fmt: skip


def other_networks(_: Study) -> Rows:
    """Networks of other people's size, over a plain loop."""
    import large

    return list(large.rows())


def similarities(study: Study) -> Rows:
    """All pairs among 64 images of each of 128 maps, and as many of different maps."""
    spec = study.spec.variety
    images = [
        fluctuation_images(
            [FluctuationStart(spec.fluctuation, map, trial) for trial in range(64)],
            study.engine.image_shape,
        )
        for map in range(128)
    ]

    def compare(images: list[np.ndarray]) -> int:
        within = [pairs_within(of_map).peaks for of_map in images]
        return sum(map(len, [*within, *pairs_between(images)]))

    n = compare(images[:2]) * 64
    pixels = _seconds(lambda: compare(images))
    features = _seconds(lambda: compare([study.engine.features(of_map) for of_map in images]))
    return [
        (f"similarities of {n:,} pairs (128 maps x 64 images, and a null): share of 60 s",
         f"{pixels / 60:.2f}"),
        ("the same of what goes into the layer, beside", f"{features / 60:.2f}"),
    ]  # fmt: skip


def site(study: Study) -> Rows:
    """Notebooks by forked and by stock kernels; the book, fresh and again."""
    from oiplib.publish import book, notebooks

    maps = range(study.layer.n_maps)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        _copy(Path(study.store.name), path / "oip.db")
        copy = Study(path / "oip.db")
        prepare(copy)
        some = maps[:16]
        forked, stock = (
            _seconds(lambda kind=kind: notebooks.run(
                copy, path / str(kind), ["05-map"], some, 2, stock=kind
            ))
            for kind in (False, True)
        )  # fmt: skip
        everything = path / "site.work" / "notebooks"
        n = len(CHAPTERS) + len(maps)
        all_of_them = _seconds(lambda: notebooks.run(copy, everything, maps=maps, workers=2))
        fresh = _seconds(lambda: book.build(copy, path / "site", maps))
        again = _seconds(lambda: book.build(copy, path / "site", maps))
        size = sum(file.stat().st_size for file in (path / "site").rglob("*") if file.is_file())
        pages = [file.stat().st_size for file in (path / "site").rglob("*.html")]
        empty = _empty_notebook(path)
    return [
        (f"{len(some)} notebooks of maps, 2 workers: time with stock kernels over forked ones",
         f"{stock / forked:.1f}"),
        (f"all {n} notebooks from the finished database, 2 workers: share of 90 s",
         f"{all_of_them / 90:.2f}"),
        ("a notebook without work in a forked kernel: share of 0.5 s", f"{empty / 0.5:.2f}"),
        ("the book, fresh: share of 45 s", f"{fresh / 45:.2f}"),
        ("the book, nothing changed: time over a fresh build", f"{again / fresh:.3f}"),
        ("the site: share of 40 MB; its heaviest page: share of 2.5 MB",
         f"{size / 40e6:.2f}; {max(pages) / 2.5e6:.2f}"),
    ]  # fmt: skip


SECTIONS: dict[str, Callable[[Study], Rows]] = {
    f.__name__: f
    for f in (
        rates,
        training,
        race,
        scaling,
        screening_3_9,
        screening_5_9,
        screening_3_16,
        similarities,
        other_networks,
        site,
    )
}


def _empty_notebook(folder: Path) -> float:
    """Seconds that a notebook takes which does nothing, in the median of some."""
    import nbformat
    import papermill

    from oiplib.publish.kernels import ForkedKernelManager

    about = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": about, "language_info": {"name": "python"}}
    notebook = nbformat.v4.new_notebook(metadata=metadata)
    notebook.cells.append(nbformat.v4.new_code_cell("print(1)"))
    nbformat.write(notebook, folder / "empty.ipynb")
    times = [
        _seconds(lambda: papermill.execute_notebook(
            folder / "empty.ipynb", folder / "out.ipynb", kernel_name="python3",
            progress_bar=False, kernel_manager_class=ForkedKernelManager,
        ))
        for _ in range(6)
    ]  # fmt: skip
    return statistics.median(times[1:])


def main() -> None:
    """Run all sections, or renew the rows of one, or in a child process print those of one."""
    if sys.argv[1:2] == ["screen"]:
        Study(sys.argv[2]).screening(GridSpec.from_json(sys.argv[3]))
        return
    if sys.argv[1:2] == ["renew"]:
        _renew(sys.argv[2])
        return
    if len(sys.argv) > 1:
        print(json.dumps(SECTIONS[sys.argv[1]](Study())))
        return
    with tempfile.TemporaryDirectory() as folder:
        # On a copy: the database in the checkout is the reference.
        path = Path(folder, "oip.db")
        source = Path(os.environ.get("OIP_DB", "oip.db"))
        if source.is_file():
            _copy(source, path)
        Study(path).screening()  # the network is trained now, if it isn't stored
        lines = ["# Results", "", _machine(), "", "| what | ratio |", "|---|---|"]
        for name in SECTIONS:
            print(name, flush=True)
            lines += [f"| {what} | {ratio} |" for what, ratio in _section(name, path)]
    HERE.joinpath("RESULTS.md").write_text("\n".join(lines) + "\n")


def _renew(name: str) -> None:
    """Measure one section again, on the machine of the others."""
    lines = HERE.joinpath("RESULTS.md").read_text().splitlines()
    if lines[2] != _machine():
        sys.exit(f"RESULTS.md is of another machine ({lines[2]}): run make bench")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "oip.db")
        _copy(Path(os.environ.get("OIP_DB", "oip.db")), path)
        rows = dict(_section(name, path))
    known = [line.split(" | ")[0].removeprefix("| ") for line in lines]
    lines = [
        f"| {what} | {rows.pop(what)} |" if what in rows else line
        for what, line in zip(known, lines, strict=True)
    ]
    lines += [f"| {what} | {ratio} |" for what, ratio in rows.items()]
    HERE.joinpath("RESULTS.md").write_text("\n".join(lines) + "\n")


def _section(name: str, db: Path) -> Rows:
    done = subprocess.run(
        [sys.executable, __file__, name],
        env={**os.environ, "OIP_DB": str(db)},
        check=True,
        capture_output=True,
        text=True,
    )
    return [tuple(row) for row in json.loads(done.stdout.splitlines()[-1])]


def _screening_rows(study: Study, grid: GridSpec) -> tuple[Rows, Screening]:
    layer = study.engine
    spec = ScreeningSpec(grid)
    screen(layer, spec, (0, 8192))  # compiled
    indices = np.concatenate(list(distinct_blocks(grid, 0, 16384)))
    images = pattern_images(grid, indices, layer.image_shape)
    forward = max(len(images) / _seconds(lambda: layer.respond(images)) for _ in range(3))
    begin = time.perf_counter()
    found: Screening = screen(layer, spec)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    name = f"{len(grid.values)}^{grid.rows * grid.columns}"
    return [
        (f"{name}: patterns screened per second, over forward passes alone",
         f"{found.n_patterns / seconds / forward:.2f}"),
        (f"{name}: share of 4 minutes for all {layer.n_maps} maps", f"{seconds / 240:.2f}"),
        (f"{name}: peak memory over 1.5 GiB", f"{peak / 1.5:.2f}"),
    ], found  # fmt: skip


def _full_ascents(layer, map: int, n: int) -> float:  # type: ignore[no-untyped-def]
    """The best loss of full ascents of n random patterns: 100 steps, annealed like the race's."""
    rng = np.random.default_rng(np.random.SeedSequence(SEED, spawn_key=(map,)))
    images = pattern_images(GridSpec(), rng.integers(0, 19683, 3 * n), layer.image_shape)
    alive = np.flatnonzero(layer(images)[:, map] > 0)[:n]
    spec = AscentSpec(101, 0.8, n_steps=0, schedule="cosine")
    found = ascend(layer, images[alive], np.full(len(alive), map), spec)
    return float(found.losses.max(initial=0))


def _gradient_images(spec: ScanSpec, rungs) -> int:  # type: ignore[no-untyped-def]
    climbed = rungs[1:] if spec.strategy == "race" else rungs  # the race's first is the start
    return sum(len(r.starts) * s.ascent.n_epochs for r, s in zip(climbed, spec.rungs, strict=True))


def _flops(layer: Any) -> int:
    """Multiplications and additions of a convolution for one image; 0 for other layers."""
    kernel = getattr(layer, "kernel", None)
    if kernel is None:
        return 0
    _, height, width, _ = layer.output.shape
    return 2 * height * width * int(np.prod(kernel.shape))


def _copy(source: Path, path: Path) -> None:
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(path)) as target:
        original.backup(target)


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _machine() -> str:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")),
        platform.processor(),
    )  # fmt: skip
    versions = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "numpy"))
    return (
        f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}. "
        "Made by `make bench` on the network of `make reproduce`."
    )


if __name__ == "__main__":
    main()
