"""Commands that compute and store: train, screen, derive, compare, run, book, reproduce."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import files
from ..errors import InputError
from ..values import (
    STRATEGIES,
    CnnSpec,
    GridSpec,
    ScanSpec,
    StudySpec,
    prior_of,
)
from . import options, tables

if TYPE_CHECKING:
    from ..study.executors import Executor
    from ..study.study import Study

QUICK_MAPS = "0-7,120"


@options.example("oip train --epochs 3 --seed 1 --save cnn.keras")
@click.command()
@click.option(
    "--dataset",
    metavar="NAME",
    help="mnist, fashion-mnist, cifar-10, or an .npz file [default: mnist; a model has none].",
)
@options.data
@click.option("--epochs", type=int, help="[default: 12]")
@click.option("--seed", type=int, help="Of weights and order [default: 0].")
@click.option(
    "--model", metavar="FILE", help="Take in this model (.keras, .h5) instead of training."
)
@options.inputs
@click.option(
    "--image-size", metavar="HxW", help="Where a model takes images of any size, such as 64x64."
)
@click.option("--save", metavar="FILE", help="Write the network as a .keras model, too.")
@options.db
def train(
    dataset: str | None,
    data: str | None,
    epochs: int | None,
    seed: int | None,
    model: str | None,
    inputs: str | None,
    image_size: str | None,
    save: str | None,
    db: str | None,
) -> None:
    """Train the network of the articles, or take in a model.

    With --dataset, a model gets a data set that shows what real images excite.
    """
    from ..study.study import Study

    if save is not None:
        from ..engine.network import check_ending

        check_ending(save)
        files.check_target(save)
    if model is not None:
        _refuse("a model is taken in as it is", {"--epochs": epochs, "--seed": seed})
        size = None if image_size is None else options.size(image_size)
        study = Study(db, data=data, model=model, inputs=inputs, dataset=dataset, image_size=size)
    else:
        of_model = {"--inputs": inputs, "--image-size": image_size}
        _refuse("it belongs to a model (--model FILE)", of_model)
        cnn = CnnSpec(epochs=12 if epochs is None else epochs)
        cnn = cnn if dataset is None else cnn.replace(dataset=dataset)
        cnn = cnn.replace(weights_seed=seed or 0, order_seed=seed or 0)
        study = Study(db, StudySpec(cnn=cnn), data=data)
    files.check_other(save, study.store.files, "the database")
    was_trained = model is None and study.is_trained
    row = study.train()
    if save is not None:
        from ..engine import network

        with files.replacing(save) as scratch:
            network.save(study.model, scratch)
    score = "" if row.accuracy is None else f": {row.accuracy:.2%} of the test images right"
    known = ", stored already" if was_trained else ""
    takes = "" if model is None else f", takes images {row.inputs}"
    tables.say(f"network {row.id} ({row.name}){takes}{score}{known}")


def _refuse(why: str, named: Mapping[str, object]) -> None:
    """`InputError` if an option was named that doesn't apply."""
    for option, value in named.items():
        if value is not None:
            raise InputError(f"{option} doesn't apply: {why}")


@options.example("oip screen --values 0.2,0.5,0.8 --grid 3x3")
@click.command()
@click.option("--values", metavar="LIST", help="Grey values in [0, 1], increasing.")
@click.option("--grid", metavar="RxC", help="Rows and columns of the coarse grid.")
@options.layer
@options.network
@options.model
@options.db
@options.executor
def screen(
    values: str | None,
    grid: str | None,
    layer: str | None,
    network: int | None,
    model: str | None,
    db: str | None,
    executor: Executor,
) -> None:
    """Show all coarse patterns of a grid to all maps of a layer.

    Each part is stored when it is finished: a call that was stopped goes on where it stood.
    """
    study = options.study_of(db, network, layer, model, executor=executor)
    patterns = study.spec.scan.grid
    if values is not None:
        patterns = patterns.replace(values=options.numbers(values))
    if grid is not None:
        rows, columns = options.pair(grid.lower(), "x", "no grid: write it like 3x3")
        patterns = GridSpec(patterns.values, rows, columns)
    screening = study.screening(patterns)
    shares = screening.n_reacting / screening.n_patterns
    silent = [str(map) for map in (shares == 0).nonzero()[0]]
    tables.say(
        f"{study.layer.name} of network {study.network.id}: "
        f"{screening.n_patterns:,} distinct patterns; "
        f"{shares.mean():.1%} of all pairs of pattern and map have a response; "
        f"maps without any: {', '.join(silent) or 'none'}"
    )


@options.example('oip derive --objective "Classes:4 - Classes:9" --prior smooth')
@click.command()
@options.maps
@click.option(
    "--objective",
    "objectives",
    multiple=True,
    metavar="TEXT",
    help='Instead of maps: a map ("Conv2D_3:120"), one of its positions ("Conv2D_3:120@1,1"), '
    'a class ("Classes:7"), sums of these ("Classes:4 - Classes:9"). May be repeated.',
)
@options.prior
@click.option(
    "--origin",
    type=click.Choice(["fluctuation", "pattern", "both"]),
    default="both",
    show_default=True,
    help="Where starts come from.",
)
@click.option(
    "--trials", type=int, help="Fluctuation images per map [default: as asked last, else 4]."
)
@click.option(
    "--steps",
    type=int,
    help="Epochs from each fluctuation image [default: as asked last, else 600].",
)
@click.option(
    "--epsilon", type=float, help="Size of these steps [default: as asked last, else 0.01]."
)
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    help="How patterns compete [default: the one used last, else race].",
)
@options.layer
@options.network
@options.model
@options.form
@options.db
@options.executor
def derive(
    maps: str | None,
    objectives: tuple[str, ...],
    prior: str | None,
    origin: str,
    trials: int | None,
    steps: int | None,
    epsilon: float | None,
    strategy: str | None,
    layer: str | None,
    network: int | None,
    model: str | None,
    form: str,
    db: str | None,
    executor: Executor,
) -> None:
    """Find OIPs: let images climb towards maps or other objectives.

    Later commands go on with what is asked here of trials, steps, epsilon and strategy.
    """
    if maps is not None:
        _refuse("--maps names maps already", {"--objective": objectives or None})
    study = options.study_of(db, network, layer, model, executor=executor)
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
        noise = StudySpec().scan.noise if strategy == "race" else 0.0
        by_pattern = ScanSpec(by_pattern.grid, strategy, seed=by_pattern.seed, noise=noise)
    study = study.replace(trials=by_trial, scan=by_pattern)
    led_by = prior_of(prior)
    searches = {
        "fluctuation": study.derive_from_fluctuations,
        "pattern": study.derive_from_patterns,
        "both": study.derive,
    }
    if objectives:
        study.train()
        asked = [study.objective(text) for text in objectives]
        for objective in asked:
            searches[origin](objective, led_by)
        from ..store import OipFilter

        wanted = OipFilter(network=study.network.id, prior=led_by)
        found = [study.store.oip_rows(replace(wanted, objective=each)) for each in asked]
        of_each = [_best_rows(rows, origin) for rows in found]
        without = [str(each) for each, rows in zip(asked, of_each, strict=True) if not rows]
        _say_derived([row for rows in of_each for row in rows], form)
        if form == "table":
            for text in without:
                tables.say(f"{text}: no start rose above where it began, so there is no OIP")
        return
    indices = study.check_maps(maps)
    searches[origin](indices, led_by)
    best = _best_rows(study.rows(indices, prior=led_by), origin)
    _say_derived(best, form)
    if form == "table":
        by = "" if origin == "both" else f" by {origin}"
        tables.say(f"{len(best)} of {len(indices)} maps have an OIP{by}; above, the best of each")


#: The kind of start that each choice of `derive` has; a start of either may be revived.
_STARTS = {"fluctuation": "FluctuationStart", "pattern": "PatternStart"}


def _best_rows(rows: list[dict[str, Any]], origin: str) -> list[dict[str, Any]]:
    """The largest loss of each objective from starts of a kind; rows come largest loss first."""
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["start"]["kind"] == _STARTS.get(origin, row["start"]["kind"]):
            best.setdefault(row["objective"], row)
    return list(best.values())


def _say_derived(rows: list[dict[str, Any]], form: str) -> None:
    if form == "json":
        tables.say(tables.as_json(rows))
    elif rows:
        tables.say(tables.oips(rows))


@options.example("oip compare --layer Conv2D_2 --maps 0-7")
@click.command()
@options.maps
@options.layer
@options.network
@options.data
@options.form
@options.db
@options.executor
def compare(
    maps: str | None,
    layer: str | None,
    network: int | None,
    data: str | None,
    form: str,
    db: str | None,
    executor: Executor,
) -> None:
    """Tell whether two trainings find the same filters.

    Trains the same network three times more with other seeds, unless that is stored, and puts
    the maps of the layer and of those before it into correspondence. Tells for each two trainings
    how many maps are matched, and how many filters they share by three nulls: above chance, with
    an interval over maps. With --maps, tells the partners of these in each of the other networks.
    """
    from ..study.filters import NULLS, shared_filters
    from ..study.trainings import correspondences, partners, summary

    study = options.stored_study(db, network, layer, data, executor)
    indices = study.check_maps(maps) if maps is not None else []
    layers = correspondences(study)
    matched = [row for rows in layers.values() for row in summary(rows)]
    shares = [
        (
            layer.name,
            NULLS[null],
            {f"differ in {k}": of[null].here for k, of in layer.shares.items()},
        )
        for layer in shared_filters(study)
        for null in NULLS
    ]
    of_maps = partners(study, layers[study.layer.name], indices) if indices else []
    if form == "json":
        told = [
            {
                "layer": layer,
                "held against": null,
                **{
                    name: {"share": share.value, "low": share.low, "high": share.high}
                    for name, share in of.items()
                },
            }
            for layer, null, of in shares
        ]
        tables.say(tables.as_json({"matched": matched, "shared": told, "partners": of_maps}))
        return
    tables.say(tables.table([tables.rounded(row) for row in matched]))
    texts = [
        {"layer": layer, "held against": null, **{k: share.text() for k, share in of.items()}}
        for layer, null, of in shares
    ]
    tables.say("\n" + tables.table(texts))
    if of_maps:
        tables.say("\n" + tables.table([tables.rounded(row) for row in of_maps]))


@options.example("oip run 05-map --maps 120 --out executed")
@click.command()
@click.argument("notebooks", nargs=-1)
@options.maps
@click.option("--out", default="executed", show_default=True, metavar="DIR")
@options.layer
@options.network
@options.data
@options.db
@options.executor
def run(
    notebooks: tuple[str, ...],
    maps: str | None,
    out: str,
    layer: str | None,
    network: int | None,
    data: str | None,
    db: str | None,
    executor: Executor,
) -> None:
    """Execute notebooks (all by default) with papermill."""
    from ..publish.notebooks import run as run_notebooks
    from ..study.chapters import NOTEBOOKS

    files.check_target(out, "folder")
    study = options.study_of(db, network, layer, data=data, executor=executor)
    n = run_notebooks(study, Path(out), notebooks or NOTEBOOKS, maps)
    done = f"{tables.counted(n, 'notebook')} executed to {out}"
    tables.say(done if n else f"all notebooks in {out} up to date")


@options.example("oip book --db oip.db --site site")
@click.command()
@options.maps
@click.option("--site", default="site", show_default=True, metavar="DIR")
@options.address
@options.layer
@options.network
@options.data
@options.db
@options.executor
def book(
    maps: str | None,
    site: str,
    address: str | None,
    layer: str | None,
    network: int | None,
    data: str | None,
    db: str | None,
    executor: Executor,
) -> None:
    """Build the site from the database."""
    from ..publish.book import build, check_address, check_site

    check_site(Path(site))
    check_address(address)
    study = options.stored_study(db, network, layer, data, executor)
    shown = maps if maps is not None else study.searched_maps() or None
    executed, built = build(study, Path(site), shown, address)
    tables.say(
        f"{tables.counted(executed, 'notebook')} executed; "
        + (f"open {site}/index.html" if built else f"{site} is up to date")
    )


@options.example("oip reproduce --quick --db quick.db --site quick-site")
@click.command()
@click.option("--quick", is_flag=True, help="Less of the same work: minutes instead of many.")
@click.option("--seed", type=options.ID, default=0, show_default=True)
@click.option(
    "--maps", metavar="LIST", help=f"Such as 0-7,120 [default: all; quick: {QUICK_MAPS}]."
)
@click.option("--dataset", metavar="NAME", help="What to train on: as for train [default: mnist].")
@options.data
@options.layer
@click.option(
    "--network", type=options.ID, metavar="ID", help="A stored network, instead of training one."
)
@options.db
@click.option("--site", default="site", show_default=True, metavar="DIR")
@options.address
@options.form
@options.executor
def reproduce(
    quick: bool,
    seed: int,
    maps: str | None,
    dataset: str | None,
    data: str | None,
    layer: str | None,
    network: int | None,
    db: str | None,
    site: str,
    address: str | None,
    form: str,
    executor: Executor,
) -> None:
    """The main job: from nothing to the database and the site.

    Trains the network, screens all maps of its last convolutional layer, finds OIPs from random
    fluctuations (article IX) and from coarse patterns that race (article X), answers the
    articles' open questions, executes the notebooks and builds the book. With --network, does
    the same for a network that was trained or taken in before.
    """
    from ..publish.book import check_address, check_site
    from ..reproduce import Stage
    from ..reproduce import reproduce as do

    check_site(Path(site))
    check_address(address)
    if maps is None and quick:
        maps = QUICK_MAPS
    spec = StudySpec.of(seed, quick)
    study = _study_to_reproduce(db, spec, dataset, data, layer, network, executor)

    def say(stage: Stage) -> None:
        text = f"{stage.name:13} {stage.result} ({stage.seconds:.0f} s)"
        tables.say(text, err=form == "json")

    stages, summary = do(study, Path(site), maps, say, address)
    if form == "json":
        told = {
            **asdict(summary),
            "maps": study.check_maps(maps),
            "stages": [asdict(stage) for stage in stages],
            "database": study.store.name,
            "site": f"{site}/index.html",
        }
        tables.say(tables.as_json(told))
        return
    maps_by_origin = {
        f"found by {origin}": len(of_origin)
        for origin, of_origin in summary.found.items()
        if of_origin or origin in ("fluctuation", "pattern")
    }
    facts = {
        "test accuracy": "unknown" if summary.accuracy is None else f"{summary.accuracy:.2%}",
        "maps": len(study.check_maps(maps)),
        **maps_by_origin,
        "not found": len(summary.silent),
        "OIPs": summary.n_oips,
        **{f"seconds for {stage.name}": f"{stage.seconds:.0f}" for stage in stages},
        "database": study.store.name,
        "site": f"{site}/index.html",
    }
    tables.say("\n" + tables.table([{"what": k, "result": str(v)} for k, v in facts.items()]))


def _study_to_reproduce(
    db: str | None,
    spec: StudySpec,
    dataset: str | None,
    data: str | None,
    layer: str | None,
    network: int | None,
    executor: Executor,
) -> Study:
    """The searches of a spec, of a network that is to be trained or is stored."""
    from ..study.study import Study

    if network is None:
        cnn = spec.cnn if dataset is None else spec.cnn.replace(dataset=dataset)
        asked = spec.replace(cnn=cnn, layer=layer or spec.layer)
        return Study(db, asked, data=data, executor=executor)
    _refuse("a stored network has its own", {"--dataset": dataset})
    stored = options.stored_study(db, network, layer, data, executor)
    searches = {name: getattr(spec, name) for name in ("trials", "scan", "variety", "compared")}
    return stored.replace(**searches)
