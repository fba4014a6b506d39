"""Commands that ask a database: query, export, serve, show, replay, check, merge."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import files
from ..errors import InputError, OipError
from ..values import stages_of
from ..values.fields import count
from . import options, tables

if TYPE_CHECKING:
    from ..study.replay import Replay


@options.example("oip query --maps 0-31,120 --origin revival --sort loss --limit 5")
@click.command()
@options.filters
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "parquet"]),
    default="table",
    show_default=True,
)
@click.option(
    "--out", metavar="FILE", help="Write there instead of showing it; - for standard output."
)
@options.db
def query(form: str, out: str | None, db: str | None, **filters: Any) -> None:
    """List stored OIPs, by map, the largest loss first."""
    from ..store import Store

    if form == "parquet" and out is None:
        raise InputError("Parquet isn't for reading: name a file with --out")
    if out not in (None, "-"):
        files.check_target(out)
    store = Store(db)
    files.check_other(out, store.files, "the database")
    rows = store.oip_rows(options.oip_filter(**filters))
    if out is None:
        tables.say(_listing(rows, form), end="")
        return
    if form == "parquet":
        from ..publish.export import write_parquet

        files.write(out, lambda file: write_parquet(rows, file))
    else:
        files.write(out, lambda file: file.write(_listing(rows, form).encode()))
    if out != "-":
        tables.say(f"{tables.counted(len(rows), 'OIP')} in {out}")


def _listing(rows: list[dict[str, Any]], form: str) -> str:
    """OIPs as a text in one of the readable formats."""
    if form == "json":
        return tables.as_json(rows) + "\n"
    if form == "table":
        return (tables.oips(rows) if rows else "no OIPs") + "\n"
    from ..publish.export import write_csv

    text = io.StringIO()
    write_csv(rows, text)
    return text.getvalue()


@options.example("oip info --db oip.db")
@click.command()
@options.form
@options.db
def info(form: str, db: str | None) -> None:
    """Tell what a database holds: networks, layers, OIPs, size."""
    from ..store import Store, contents
    from ..study.runs import package_versions

    held = contents(Store(db))
    if form == "json":
        tables.say(tables.as_json({**held, "versions": package_versions()}))
        return
    n_bytes = held["bytes"]
    size = "" if n_bytes is None else f"{n_bytes / 1e6:.1f} MB, "
    tables.say(f"{held['database']}: {size}schema {held['schema']}")
    for kind in ("networks", "layers"):
        rows = [{**row, **_accuracy(row)} for row in held[kind]]
        tables.say("\n" + (tables.table(rows) if rows else f"no {kind}"))
    stored = [{"stored": name, "rows": f"{n:,}"} for name, n in held["stored"].items() if n]
    if stored:
        tables.say("\n" + tables.table(stored))
    versions = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    tables.say(f"\nread by {versions}")


def _accuracy(row: dict[str, Any]) -> dict[str, str]:
    """A network's accuracy in words."""
    if "test accuracy" not in row:
        return {}
    share = row["test accuracy"]
    return {"test accuracy": "unknown" if share is None else f"{share:.2%}"}


@options.example("oip export best --best --layer Conv2D_3")
@click.command()
@click.argument("folder")
@options.filters
@options.db
def export(folder: str, db: str | None, **filters: Any) -> None:
    """Write OIPs into a new folder that needs nothing of oiplib.

    It holds images.npy, a PNG of each, and their numbers as CSV and JSON.
    """
    from ..publish.export import export as do
    from ..store import Store

    n = do(Store(db), options.oip_filter(**filters), Path(folder))
    tables.say(f"{tables.counted(n, 'OIP')} in {folder}")


@options.example("oip serve --db oip.db --port 8001")
@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8001, show_default=True)
@options.db
def serve(host: str, port: int, db: str | None) -> None:
    """Browse and query the database in Datasette, with pictures.

    Needs the extra 'serve'. Stop it with Ctrl-C.
    """
    from ..publish.serve import serve as do
    from ..store import Store

    do(Store(db), host, port)


#: How an ascent ended, in words.
_ENDED = {"n_epochs": "all of them done", "converged": "until it converged"}


@options.example("oip show 17 --png oip-17.png")
@click.command()
@click.argument("id", type=options.ID)
@click.option("--png", metavar="FILE", help="Draw start, frames and loss; - for standard output.")
@click.option("--npy", metavar="FILE", help="Write the image as a NumPy array; - as above.")
@options.form
@options.db
def show(id: int, png: str | None, npy: str | None, form: str, db: str | None) -> None:
    """Show an OIP: where it comes from, what it looks like."""
    from ..store import Store
    from ..study.conditions import stored_condition

    for path in (png, npy):
        if path not in (None, "-"):
            files.check_target(path)
    if png == npy == "-":
        raise InputError("--png and --npy can't both go to the standard output")
    if npy is not None:
        files.check_other(png, [npy], "what --npy names, too")
    store = Store(db)
    for path in (png, npy):
        files.check_other(path, store.files, "the database")
    oip = store.oip(id)
    run, network = store.run(oip.run_id), oip.layer.network_id
    sizes = ", then ".join(f"{stage.epsilon:g}" for stage in stages_of(oip.spec))
    machine = run.environment
    facts = {
        "OIP": oip.id,
        "of": f"{oip.subject}, network {network}",
        "loss": f"{oip.loss:.6g}",
        "steps": f"{oip.steps} of size {sizes}, {_ENDED.get(oip.stop_reason, oip.stop_reason)}",
        "origin": oip.origin,
        "prior": oip.prior,
        "start": oip.start,
        "image": " x ".join(map(str, oip.image.shape)) + f", {oip.image.dtype}",
        "created": f"{oip.created.isoformat(timespec='seconds')} by run {run.id}",
        "made on": f"{machine.get('device')}, {machine.get('threads')} threads, "
        f"TensorFlow {machine.get('tensorflow')}, Python {machine.get('python')}",
        "by": f"oiplib {machine.get('oiplib')}"
        + (f", commit {machine['git_commit'][:12]}" if machine.get("git_commit") else ""),
        "weights": store.network(network).weights_sha256[:16],
        "replay": f"oip replay {oip.id}",
    }
    tested = stored_condition(store, oip)
    if tested is not None:
        facts["tested"] = tested.text()
    if npy is not None:
        import numpy as np

        files.write(npy, lambda path: np.save(path, oip.image, allow_pickle=False))
    if png is not None:
        in_caption = ("steps", "created", "made on", "by", "weights")
        tables.draw(
            oip,
            png,
            f"OIP {oip.id}, {facts['of']}; from {facts['start']}",
            "\n".join(f"{name}: {facts[name]}" for name in in_caption),
        )
    text = "\n".join(f"{name:8} {tables.line(value)}" for name, value in facts.items())
    if form == "json":
        told = {name: facts[name] for name in ("of", "image", "replay", "tested") if name in facts}
        weights = store.network(network).weights_sha256
        more = {"run": run.id, "made on": machine, "weights_sha256": weights}
        text = tables.as_json({**oip.row(), **told, **more})
    tables.say(text, err="-" in (png, npy))


@options.example("oip replay --sample 50")
@click.command()
@click.argument("ids", nargs=-1, type=options.ID, metavar="[ID]...")
@click.option("--sample", type=click.IntRange(1), metavar="N", help="N OIPs drawn by a fixed seed.")
@click.option("--all", "everything", is_flag=True, help="Every OIP of the database.")
@click.option(
    "--tolerance",
    type=options.Finite(0),
    default=0.0,
    show_default=True,
    help="Difference in loss (relative) and correlation that holds; 0: equal bytes.",
)
@options.form
@options.db
def replay(
    ids: tuple[int, ...],
    sample: int | None,
    everything: bool,
    tolerance: float,
    form: str,
    db: str | None,
) -> None:
    """Make OIPs again from their recorded numbers, and compare.

    Start, ascent and the network's weights come from the database alone. Exit status 1 where an
    OIP doesn't hold.
    """
    from ..store import Store
    from ..study.replay import differences
    from ..study.replay import replay as do

    if sample is not None:
        count("--sample", sample, 1)
    if bool(ids) + (sample is not None) + everything != 1:
        raise InputError("name OIPs by their ids, or give one of --sample N and --all")
    store = Store(db)
    replayed_ids = list(dict.fromkeys(ids)) or store.oip_ids(sample)
    if not replayed_ids:
        raise InputError(f"{store.name} has no OIPs yet: fill it with 'oip derive'")
    replays = list(do(store, replayed_ids))
    failed = [each for each in replays if not each.holds(tolerance)]
    if form == "json":
        told = [{**asdict(each), "holds": each.holds(tolerance)} for each in replays]
        changed = differences(store, replayed_ids)
        names = {name: {"then": then, "now": now} for name, (then, now) in changed.items()}
        tables.say(tables.as_json({"replayed": told, "versions that differ": names}))
        _end_if_failed(failed, replays)
        return
    if len(replays) <= 8 or failed:
        listed = replays if len(replays) <= 8 else failed[:20]
        tables.say(tables.table([tables.replayed(each) for each in listed]))
    for name, (there, here) in differences(store, replayed_ids).items():
        tables.say(tables.line(f"{name}: {there} then, {here} now"))
    same = sum(each.same_bytes for each in replays)
    tables.say(
        f"{len(replays) - len(failed)} of {len(replays)} hold, {same} with equal bytes; at most "
        f"{max(each.loss_difference for each in replays):.2g} apart in loss (relative) and "
        f"{max(each.pixel_difference for each in replays):.2g} in a pixel"
    )
    _end_if_failed(failed, replays)


def _end_if_failed(failed: Sequence[Replay], replays: Sequence[Replay]) -> None:
    if failed:
        raise OipError(f"{len(failed)} of {len(replays)} OIPs don't hold")


@options.example("oip check --db oip.db")
@click.command()
@options.db
def check(db: str | None) -> None:
    """Check a whole database: its file and every row.

    References, shapes and values are checked, and the networks respond to all OIPs once more.
    Exit status 1, and a line for each row that is wrong.
    """
    from ..store import Store, sqlite_versions
    from ..study.check import problems

    store = Store(db)
    n_problems = 0
    for problem in problems(store):
        tables.say(tables.line(problem))
        n_problems += 1
    if store.is_file:
        tables.say(sqlite_versions(store))
    if n_problems:
        raise OipError(f"{store.name}: {n_problems} problems")
    tables.say(f"{store.name} is sound")


@options.example("oip merge oip.db other-machine.db")
@click.command()
@click.argument("target", metavar="FILE")
@click.argument("others", nargs=-1, required=True, metavar="OTHER...")
def merge(target: str, others: tuple[str, ...]) -> None:
    """Add to a database what only other ones hold.

    The same result is the same row: where both have it, the first one's stays. The others are
    checked first (see 'oip check'), and stay as they are.
    """
    from ..store import Store
    from ..store import merge as do
    from ..study.check import problems

    sources = [Store(other) for other in others]
    into = Store(target, create=True)
    for source in sources:
        if source.url == into.url:
            raise InputError(f"{source.name} can't be merged with itself: name two databases")
        if source.is_file and into.is_file:
            files.check_other(source.name, [into.name], "the database to merge into")
        wrong = next(problems(source), None)
        if wrong is not None:
            raise OipError(f"{source.name} isn't sound, nothing was merged: {wrong}")
    for source in sources:
        counts = [f"{n} of {n + old} {name}" for name, (n, old) in do(into, source).items()]
        tables.say(f"{source.name}: {', '.join(counts)} are new")
