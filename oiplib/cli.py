"""``oip``: every capability of the library as a command."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import __version__
from .errors import InputError, OipError
from .specs import STRATEGIES, ScanSpec, stages_of, start_of

if TYPE_CHECKING:
    from .replay import Replay
    from .store import Oip, OipFilter
    from .study import Study

QUICK_MAPS = "0-7,120"


class _WrongUsage(click.ClickException):
    """One line on stderr, and the status of wrong usage."""

    exit_code = 2


class _Commands(click.Group):
    """Commands in the order of their use; our errors become one line and a status."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            raise _WrongUsage(str(error)) from None
        except OipError as error:
            raise click.ClickException(str(error)) from None
        except KeyboardInterrupt:
            told = "stopped; what is finished is kept, the next call goes on from there"
            raise click.ClickException(told) from None


def _example(text: str) -> Callable[[Any], Any]:
    """Show an example at the end of a command's help."""

    def add(command: click.Command) -> click.Command:
        command.epilog = f"Example: {text}"
        return command

    return add


@click.group(cls=_Commands, epilog="Example: oip reproduce --quick --db try.db --site try-site")
@click.version_option(__version__, prog_name="oip")
def main() -> None:
    """What do the feature maps of a CNN respond to?

    OIPs are patterns, grown by gradient ascent, to which one map responds strongly. All of them
    are kept in one database, from which any can be made again.
    """


_db = click.option(
    "--db", metavar="FILE", help="The database: a file or a URL [default: OIP_DB, else oip.db]."
)
_layer = click.option("--layer", metavar="NAME", help="Whose maps [default: the one studied last].")
_network = click.option(
    "--network", type=int, metavar="ID", help="A stored network [default: the first]."
)
_model = click.option(
    "--model", metavar="FILE", help="A trained Keras model (.keras) to take in and use."
)
_maps = click.option("--maps", metavar="LIST", help="Such as 0-7,120 [default: all].")
_data = click.option("--data", metavar="DIR", help="Folder that holds the data set's files.")


@_example("oip train --epochs 3 --seed 1 --save cnn.keras")
@main.command()
@click.option("--dataset", default="mnist", show_default=True, help="A name, or an .npz file.")
@_data
@click.option("--epochs", type=int, default=12, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights and order.")
@click.option("--model", metavar="FILE", help="Take in this .keras model instead of training.")
@click.option("--save", metavar="FILE", help="Write the network as a .keras model, too.")
@_db
def train(
    dataset: str,
    data: str | None,
    epochs: int,
    seed: int,
    model: str | None,
    save: str | None,
    db: str | None,
) -> None:
    """Train the network of the articles, or take in a model."""
    from .specs import CnnSpec, StudySpec
    from .study import Study

    cnn = CnnSpec(dataset=dataset, epochs=epochs, weights_seed=seed, order_seed=seed)
    study = Study(db, StudySpec(cnn=cnn), data=data)
    if model is not None:
        study = Study(db, network=study.add_model(model))
    known = model is None and study.is_trained
    row = study.network
    if save is not None:
        from . import network

        network.save(study.model, save)
    told = "" if row.accuracy is None else f": {row.accuracy:.2%} of the test images right"
    click.echo(f"network {row.id} ({row.name}){told}{', stored already' if known else ''}")


@_example("oip screen --values 0.2,0.5,0.8 --grid 3x3")
@main.command()
@click.option("--values", metavar="LIST", help="Grey values in [0, 1], increasing.")
@click.option("--grid", metavar="RxC", help="Rows and columns of the coarse grid.")
@click.option("--shard", metavar="K/N", help="Do the K-th of N shares, for several processes.")
@_layer
@_network
@_model
@_db
def screen(
    values: str | None,
    grid: str | None,
    shard: str | None,
    layer: str | None,
    network: int | None,
    model: str | None,
    db: str | None,
) -> None:
    """Show all coarse patterns of a grid to all maps of a layer.

    Each part is stored when it is finished: a call that was stopped goes on where it stood.
    """
    from .specs import GridSpec

    study = _study(db, network, layer, model)
    spec = study.spec.scan.grid
    if values is not None:
        spec = spec.replace(values=_numbers(values))
    if grid is not None:
        rows, columns = _pair(grid.lower(), "x", "no grid: write it like 3x3")
        spec = GridSpec(spec.values, rows, columns)
    if shard is not None:
        k, n = _pair(shard, "/", "no shard: write it like 2/4")
        parts = study.screen_parts(spec, k - 1, n)
        click.echo(f"{len(parts)} parts of shard {shard} are stored")
        return
    found = study.screening(spec)
    shares = found.n_reacting / found.n_patterns
    silent = [str(map) for map in (shares == 0).nonzero()[0]]
    click.echo(
        f"{study.layer.name} of network {study.network.id}: "
        f"{found.n_patterns:,} distinct patterns; "
        f"{shares.mean():.1%} of all pairs of pattern and map have a response; "
        f"maps without any: {', '.join(silent) or 'none'}"
    )


@_example("oip derive --maps 0-7,120 --origin fluctuation --trials 16")
@main.command()
@_maps
@click.option(
    "--origin",
    type=click.Choice(["fluctuation", "pattern", "both"]),
    default="both",
    show_default=True,
    help="Where starts come from.",
)
@click.option("--trials", type=int, help="Fluctuation images per map.")
@click.option("--steps", type=int, help="Steps from each fluctuation image.")
@click.option("--epsilon", type=float, help="Size of these steps.")
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    help="How patterns compete [default: the one used last, else race].",
)
@_layer
@_network
@_model
@_db
def derive(
    maps: str | None,
    origin: str,
    trials: int | None,
    steps: int | None,
    epsilon: float | None,
    strategy: str | None,
    layer: str | None,
    network: int | None,
    model: str | None,
    db: str | None,
) -> None:
    """Find OIPs: ascend starts to which maps respond."""
    study = _study(db, network, layer, model)
    spec = study.spec
    changes = {
        name: value
        for name, value in (("n_epochs", steps), ("epsilon", epsilon))
        if value is not None
    }
    by_trial = spec.trials.replace(ascent=spec.trials.ascent.replace(**changes))
    if trials is not None:
        by_trial = by_trial.replace(n_trials=trials)
    by_pattern = spec.scan
    if strategy is not None and strategy != by_pattern.strategy:
        by_pattern = ScanSpec(by_pattern.grid, strategy, seed=by_pattern.seed)
    study.spec = spec.replace(trials=by_trial, scan=by_pattern)
    chosen = study.check_maps(maps)
    searches = {
        "fluctuation": study.derive_from_fluctuations,
        "pattern": study.derive_from_patterns,
        "both": study.derive,
    }
    searches[origin](chosen)
    best = study.rows(chosen, best=True)
    if best:
        click.echo(_table([_columns(row) for row in best]))
    click.echo(f"{len(best)} of {len(chosen)} maps have an OIP; above, the best of each")


def _filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options by which OIPs are chosen; `_filter` makes an `OipFilter` of them."""
    options = [
        click.option("--map", "one", type=int, multiple=True, metavar="N", help="May be repeated."),
        click.option("--maps", metavar="LIST", help="Such as 0-7,120."),
        click.option("--layer", metavar="NAME", help="OIPs of this layer only."),
        click.option("--network", type=int, metavar="ID", help="OIPs of this network only."),
        click.option("--best", is_flag=True, help="Only the largest loss of each map."),
        click.option("--origin", type=click.Choice(["fluctuation", "pattern", "revival", "digit"])),
        click.option(
            "--stop-reason", type=click.Choice(["n_epochs", "converged"]), help="How it ended."
        ),
        click.option("--least", type=float, metavar="LOSS", help="Smallest loss."),
        click.option("--largest", type=float, metavar="LOSS", help="Largest loss."),
        click.option(
            "--start", type=int, metavar="N", help="Number of the pattern or trial it grew from."
        ),
        click.option(
            "--spec", metavar="SHA256", help="Of its ascents, or the first digits of that."
        ),
        click.option(
            "--sort",
            type=click.Choice(["loss", "steps", "created", "id"]),
            help="Largest loss, fewest steps, newest, smallest id first [default: by map].",
        ),
        click.option("--limit", type=click.IntRange(0), metavar="N", help="At most so many."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _filter(one: tuple[int, ...], maps: str | None, **filters: Any) -> OipFilter:
    from .store import OipFilter
    from .study import parse_ranges

    chosen = [*one, *(parse_ranges(maps) if maps is not None else ())]
    return OipFilter(chosen or None, **filters)


@_example("oip query --maps 0-31,120 --origin revival --sort loss --limit 5")
@main.command()
@_filters
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "parquet"]),
    default="table",
    show_default=True,
)
@click.option("--out", metavar="FILE", help="Write there instead of showing it.")
@_db
def query(form: str, out: str | None, db: str | None, **filters: Any) -> None:
    """List stored OIPs, by map, the largest loss first."""
    from .export import write_csv, write_parquet
    from .store import Store

    if form == "parquet" and out is None:
        raise InputError("Parquet isn't for reading: name a file with --out")
    rows = Store(db).oip_rows(_filter(**filters))
    text = io.StringIO()
    if form == "json":
        text.write(json.dumps(rows, indent=2) + "\n")
    elif form == "csv":
        write_csv(rows, text)
    elif form == "table":
        text.write((_table([_columns(row) for row in rows]) if rows else "no OIPs") + "\n")
    if out is None:
        click.echo(text.getvalue(), nl=False)
        return
    if form == "parquet":
        _written(out, lambda file: write_parquet(rows, file))
    else:
        _written(out, lambda file: file.write(text.getvalue().encode()))
    click.echo(f"{len(rows)} OIPs in {out}")


@_example("oip export best --best --layer Conv2D_3")
@main.command()
@click.argument("folder")
@_filters
@_db
def export(folder: str, db: str | None, **filters: Any) -> None:
    """Write OIPs into a new folder that needs nothing of ours: images.npy, PNGs, CSV, JSON."""
    from .export import export as do
    from .store import Store

    n = do(Store(db), _filter(**filters), Path(folder))
    click.echo(f"{n} OIPs in {folder}")


@_example("oip serve --db oip.db --port 8001")
@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8001, show_default=True)
@_db
def serve(host: str, port: int, db: str | None) -> None:
    """Browse and query the database in Datasette, its images as pictures.

    Needs the extra 'serve'. Stop it with Ctrl-C.
    """
    from .serve import serve as do
    from .store import Store

    do(Store(db), host, port)


@_example("oip show 17 --png oip-17.png")
@main.command()
@click.argument("id", type=int)
@click.option("--png", metavar="FILE", help="Draw start, frames and loss.")
@click.option("--npy", metavar="FILE", help="Write the image as a NumPy array.")
@_db
def show(id: int, png: str | None, npy: str | None, db: str | None) -> None:
    """Show an OIP: where it comes from, what it looks like."""
    from .store import Store

    store = Store(db)
    oip = store.oip(id)
    run, network = store.run(oip.run_id), oip.layer.network_id
    sizes = ", then ".join(f"{stage.epsilon:g}" for stage in stages_of(oip.spec))
    on = run.environment
    facts = {
        "OIP": oip.id,
        "of": f"map {oip.map} of {oip.layer.name}, network {network}",
        "loss": f"{oip.loss:.6g}",
        "steps": f"{oip.steps} of size {sizes}, ended by {oip.stop_reason}",
        "origin": oip.origin,
        "start": start_of(oip.start),
        "image": " x ".join(map(str, oip.image.shape)) + f", {oip.image.dtype}",
        "created": f"{oip.created.isoformat(timespec='seconds')} by run {run.id}",
        "made on": f"{on.get('device')}, {on.get('threads')} threads, "
        f"TensorFlow {on.get('tensorflow')}, Python {on.get('python')}",
        "by": f"oiplib {on.get('oiplib')}"
        + (f", commit {on['git_commit'][:12]}" if on.get("git_commit") else ""),
        "weights": store.network(network).weights_sha256[:16],
        "replay": f"oip replay {oip.id}",
    }
    if npy is not None:
        import numpy as np

        _written(npy, lambda path: np.save(path, oip.image, allow_pickle=False))
    if png is not None:
        told = ("steps", "created", "made on", "by", "weights")
        _draw(
            oip,
            png,
            f"OIP {oip.id}, {facts['of']}; from {facts['start']}",
            "\n".join(f"{name}: {facts[name]}" for name in told),
        )
    click.echo("\n".join(f"{name:8} {value}" for name, value in facts.items()))


@_example("oip replay --sample 50")
@main.command()
@click.argument("ids", nargs=-1, type=int, metavar="[ID]...")
@click.option("--sample", type=click.IntRange(1), metavar="N", help="N OIPs drawn by a fixed seed.")
@click.option("--all", "everything", is_flag=True, help="Every OIP of the database.")
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Difference in loss (relative) and correlation that holds; 0: equal bytes.",
)
@_db
def replay(
    ids: tuple[int, ...], sample: int | None, everything: bool, tolerance: float, db: str | None
) -> None:
    """Make OIPs again from their recorded numbers, and compare.

    Start, ascent and the network's weights come from the database alone. Exit status 1 where an
    OIP doesn't hold.
    """
    from .replay import differences
    from .replay import replay as do
    from .store import Store

    if bool(ids) + (sample is not None) + everything != 1:
        raise InputError("name OIPs by their ids, or give one of --sample N and --all")
    store = Store(db)
    chosen = list(dict.fromkeys(ids)) or store.oip_ids(sample)
    if not chosen:
        raise InputError(f"{store.name} has no OIPs yet: fill it with 'oip derive'")
    replays = list(do(store, chosen))
    failed = [each for each in replays if not each.holds(tolerance)]
    if len(replays) <= 8 or failed:
        shown = replays if len(replays) <= 8 else failed[:20]
        click.echo(_table([_replayed(each) for each in shown]))
    for name, (there, here) in differences(store, chosen).items():
        click.echo(f"{name}: {there} then, {here} now")
    same = sum(each.same_bytes for each in replays)
    click.echo(
        f"{len(replays) - len(failed)} of {len(replays)} hold, {same} with equal bytes; at most "
        f"{max(each.loss_difference for each in replays):.2g} apart in loss (relative) and "
        f"{max(each.pixel_difference for each in replays):.2g} in a pixel"
    )
    if failed:
        raise OipError(f"{len(failed)} of {len(replays)} OIPs don't hold")


@_example("oip compare --layer Conv2D_2 --maps 0-7")
@main.command()
@_maps
@_layer
@_network
@_db
def compare(maps: str | None, layer: str | None, network: int | None, db: str | None) -> None:
    """Do two trainings find the same filters? Which map corresponds to which.

    Trains the same network three times more with other seeds, unless that is stored, and puts
    the maps of the layer and of those before it into correspondence. With --maps, tells the
    partners of these in each of the other networks.
    """
    from .store import Store
    from .trainings import correspondences, partners, summary

    Store(db).close()  # an error, where there is nothing to compare
    study = _study(db, network, layer)
    chosen = study.check_maps(maps) if maps is not None else []
    layers = correspondences(study)
    click.echo(_table([_rounded(row) for rows in layers.values() for row in summary(rows)]))
    if chosen:
        table = partners(study, layers[study.layer.name], chosen)
        click.echo("\n" + _table([_rounded(row) for row in table]))


@_example("oip check --db oip.db")
@main.command()
@_db
def check(db: str | None) -> None:
    """Check a whole database: file, references, shapes and values of every row.

    Exit status 1, and a line for each row that is wrong.
    """
    from .check import problems
    from .store import Store

    store = Store(db)
    found = list(problems(store))
    for problem in found:
        click.echo(problem)
    if found:
        raise OipError(f"{store.name}: {len(found)} problems")
    click.echo(f"{store.name} is sound")


@_example("oip merge oip.db other-machine.db")
@main.command()
@click.argument("target", metavar="FILE")
@click.argument("others", nargs=-1, required=True, metavar="OTHER...")
def merge(target: str, others: tuple[str, ...]) -> None:
    """Add to a database what only other ones hold.

    The same result is the same row: where both have it, the first one's stays. The others are
    checked first (see 'oip check') and not changed.
    """
    from .check import problems
    from .store import Store
    from .store import merge as do

    sources = [Store(other) for other in others]
    into = Store(target, create=True)
    for source in sources:
        if source.url == into.url:
            raise InputError(f"{source.name} can't be merged with itself: name two databases")
        wrong = next(problems(source), None)
        if wrong is not None:
            raise OipError(f"{source.name} isn't sound, nothing was merged: {wrong}")
    for source in sources:
        told = [f"{n} of {n + old} {name}" for name, (n, old) in do(into, source).items()]
        click.echo(f"{source.name}: {', '.join(told)} are new")


@_example("oip run 05-map --maps 120 --out executed")
@main.command()
@click.argument("notebooks", nargs=-1)
@_maps
@click.option("--out", default="executed", show_default=True, metavar="DIR")
@_layer
@_network
@_db
def run(
    notebooks: tuple[str, ...],
    maps: str | None,
    out: str,
    layer: str | None,
    network: int | None,
    db: str | None,
) -> None:
    """Execute notebooks (all by default) with papermill."""
    from .notebooks import NOTEBOOKS, check_names
    from .notebooks import run as run_notebooks
    from .trainings import correspondences

    study = _study(db, network, layer)
    names = notebooks or NOTEBOOKS
    check_names(names)
    if len(names) > 1:  # once for all of them, not by each at the same time
        study.prepare(maps)
        if {"08-two-trainings", "beside"} & set(names) and study.network.spec is not None:
            correspondences(study)
    n = run_notebooks(study, Path(out), names, maps)
    click.echo(f"{n} notebooks executed to {out}" if n else f"all notebooks in {out} up to date")


@_example("oip book --db oip.db --site site")
@main.command()
@_maps
@click.option("--site", default="site", show_default=True, metavar="DIR")
@_layer
@_network
@_db
def book(
    maps: str | None, site: str, layer: str | None, network: int | None, db: str | None
) -> None:
    """Build the site from the database."""
    from .book import build
    from .store import Store

    Store(db).close()  # an error, where there is nothing to show
    study = _study(db, network, layer)
    executed, built = build(study, Path(site), maps or study.searched_maps() or None)
    click.echo(
        f"{executed} notebooks executed; "
        + (f"open {site}/index.html" if built else f"{site} is up to date")
    )


@_example("oip reproduce --quick --db quick.db --site quick-site")
@main.command()
@click.option("--quick", is_flag=True, help="Less of the same work: minutes instead of many.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--maps", metavar="LIST", help=f"Such as 0-7,120 [default: all; quick: {QUICK_MAPS}]."
)
@_data
@_db
@click.option("--site", default="site", show_default=True, metavar="DIR")
def reproduce(
    quick: bool, seed: int, maps: str | None, data: str | None, db: str | None, site: str
) -> None:
    """The main job: from nothing to the database and the site.

    Trains the network, screens all maps of Conv2D_3, finds OIPs from random fluctuations
    (article IX) and from coarse patterns that race (article X), judges their selection, executes
    the notebooks and builds the book.
    """
    from .reproduce import Stage
    from .reproduce import reproduce as do
    from .specs import StudySpec
    from .study import Study, parse_ranges

    if maps is not None:
        parse_ranges(maps)  # an error now, not after the training
    elif quick:
        maps = QUICK_MAPS
    study = Study(db, StudySpec.of(seed, quick), data=data)

    def say(stage: Stage) -> None:
        click.echo(f"{stage.name:13} {stage.result} ({stage.seconds:.0f} s)")

    stages, summary = do(study, Path(site), maps, say)
    found = {
        f"found by {origin}": len(maps)
        for origin, maps in summary.found.items()
        if maps or origin in ("fluctuation", "pattern")
    }
    facts = {
        "test accuracy": "unknown" if summary.accuracy is None else f"{summary.accuracy:.2%}",
        "maps": sum(found.values()) + len(summary.silent),
        **found,
        "not found": len(summary.silent),
        "OIPs": summary.n_oips,
        **{f"seconds for {stage.name}": f"{stage.seconds:.0f}" for stage in stages},
        "database": study.store.name,
        "site": f"{site}/index.html",
    }
    click.echo("\n" + _table([{"what": k, "result": str(v)} for k, v in facts.items()]))


# What a table has no room for.
_LONG = ("stop_reason", "spec", "spec_sha256", "created")


def _study(
    db: str | None, network: int | None, layer: str | None, model: str | None = None
) -> Study:
    from .study import Study

    if model is not None:
        if network is not None:
            raise InputError("--model and --network name two networks: choose one of them")
        network = Study(db).add_model(model)
    return Study(db, network=network, layer=layer)


def _columns(row: dict[str, Any]) -> dict[str, Any]:
    told = {**row, "start": str(start_of(row["start"])), "loss": f"{row['loss']:.4f}"}
    return {name: told[name] for name in told if name not in _LONG}


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {k: f"{v:.2f}" if isinstance(v, float) else v for k, v in row.items()}


def _replayed(each: Replay) -> dict[str, Any]:
    return {
        "OIP": each.id,
        "map": each.map,
        "loss then": f"{each.loss:.6g}",
        "loss now": f"{each.loss_now:.6g}",
        "largest pixel difference": f"{each.pixel_difference:.2g}",
        "correlation": f"{each.correlation:.4f}",
        "equal bytes": "yes" if each.same_bytes else "no",
    }


def _table(rows: list[dict[str, Any]]) -> str:
    from tabulate import tabulate

    return tabulate(rows, headers="keys", disable_numparse=True)


def _draw(oip: Oip, path: str, title: str, caption: str) -> None:
    import numpy as np

    from . import plots

    frames, steps = oip.frames, oip.report_steps
    if not len(frames):  # only the best of a search keeps them
        from .replay import start_images

        start = start_images([start_of(oip.start)], oip.image.shape)
        frames, steps = np.stack([start[0], oip.image]), np.array([0, oip.steps])
    figure = plots.growth(frames, steps, oip.trace, title, caption)
    _written(path, lambda target: figure.savefig(target, format="png"))


def _written(path: str, write: Callable[[Any], None]) -> None:
    """Write a file, whole or not at all."""
    target = Path(path)
    scratch = target.with_name(target.name + ".part")
    try:
        with scratch.open("wb") as file:
            write(file)
        scratch.replace(target)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise InputError(f"{path} can't be written: {error.strerror}") from None


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{text!r} are no numbers: write them like 0.2,0.5,0.8") from None


def _pair(text: str, between: str, told: str) -> tuple[int, int]:
    try:
        first, second = (int(part) for part in text.split(between))
    except ValueError:
        raise InputError(f"{text!r} is {told}") from None
    return first, second
