"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import functools
import logging
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from .. import progress
from ..errors import InputError
from ..values import parse_ranges

if TYPE_CHECKING:
    from ..store import OipFilter
    from ..study.executors import Executor
    from ..study.study import Study


#: A number that a database gives to a row, or that counts something.
ID = click.IntRange(0, 2**63 - 1)


class Finite(click.types.FloatParamType):
    """A number that is neither infinite nor none at all, nor below the least one."""

    def __init__(self, least: float = -math.inf) -> None:
        self.least = least

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The number; a usage error if it isn't one of these."""
        number = super().convert(value, param, ctx)
        if number < self.least:
            self.fail(f"{value} is below {self.least:g}.", param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number


class WrongUsage(click.ClickException):
    """One line on stderr, and the status of wrong usage."""

    exit_code = 2


def example(text: str) -> Callable[[Any], Any]:
    """Show an example at the end of a command's help."""

    def add(command: click.Command) -> click.Command:
        command.epilog = f"Example: {text}"
        return command

    return add


db = click.option(
    "--db", metavar="FILE", help="The database: a file or a URL [default: OIP_DB, else oip.db]."
)
layer = click.option(
    "--layer", metavar="NAME", help="Whose maps [default: the layer that was studied last]."
)
address = click.option(
    "--address",
    metavar="URL",
    help="Where the site will be, such as https://me.github.io/oip: pages name their address and "
    "that of the picture beside a link, and there is a sitemap.xml [default: unknown; neither].",
)
network = click.option(
    "--network", type=ID, metavar="ID", help="A stored network [default: the first]."
)
model = click.option(
    "--model", metavar="FILE", help="A trained Keras model (.keras, .h5) to take in and use."
)
inputs = click.option(
    "--inputs",
    metavar="TEXT",
    help="What images the model takes: standardized, a range such as 0..255, or "
    '"0..1 mean R,G,B deviation R,G,B" [default: what its first layers tell].',
)
prior = click.option(
    "--prior",
    metavar="TEXT",
    help="What images are led to look like: smooth, jitter, smooth+jitter(2), ... "
    "[default: nothing].",
)
maps = click.option("--maps", metavar="LIST", help="Such as 0-7,120 [default: all].")
data = click.option(
    "--data",
    metavar="PATH",
    help="Folder that holds the data set's files, or the .npz itself [default: OIP_DATA].",
)


form = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How it is printed.",
)


def quiet(command: click.Command) -> click.Command:
    """Add the option that leaves out progress bars and notes."""

    def silence(ctx: click.Context, param: click.Parameter, is_quiet: bool) -> None:
        if is_quiet:
            log = logging.getLogger("oiplib")
            ctx.with_resource(progress.silenced())
            ctx.call_on_close(functools.partial(log.setLevel, log.level))
            log.setLevel(logging.ERROR)

    option = click.Option(
        ["-q", "--quiet"],
        is_flag=True,
        expose_value=False,
        callback=silence,
        help="No progress bars and no notes, only results and errors.",
    )
    command.params.append(option)
    return command


def executor(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where units of work are computed; the command gets an `Executor`."""

    @click.option(
        "--workers",
        type=click.IntRange(1),
        metavar="N",
        help="Compute in N processes [default: in this one].",
    )
    @click.option(
        "--cluster",
        metavar="ADDRESS",
        help="Compute on a Dask cluster: its scheduler, such as tcp://10.0.0.5:8786, or local.",
    )
    @functools.wraps(command)
    def opened(*args: Any, workers: int | None, cluster: str | None, **options: Any) -> Any:
        from ..study.executors import Cluster, Here, Workers

        if workers is not None and cluster is not None:
            raise InputError("--workers and --cluster name two places: choose one of them")
        place: Executor = Here()
        if workers is not None:
            place = Workers(workers)
        elif cluster is not None:
            place = Cluster(cluster)
        with place:
            return command(*args, executor=place, **options)

    return opened


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options by which OIPs are chosen; `oip_filter` makes an `OipFilter` of them."""
    options = [
        click.option(
            "--map", "repeated", type=ID, multiple=True, metavar="N", help="May be repeated."
        ),
        click.option("--maps", metavar="LIST", help="Such as 0-7,120."),
        click.option(
            "--objective", metavar="TEXT", help='Such as "Conv2D_3:120@1,1" or "Classes:7".'
        ),
        click.option("--prior", metavar="TEXT", help="Such as smooth; none for no prior."),
        click.option("--layer", metavar="NAME", help="OIPs of this layer only."),
        click.option("--network", type=ID, metavar="ID", help="OIPs of this network only."),
        click.option("--best", is_flag=True, help="Only the largest loss of each objective."),
        click.option("--origin", type=click.Choice(["fluctuation", "pattern", "revival"])),
        click.option(
            "--stop-reason", type=click.Choice(["n_epochs", "converged"]), help="How it ended."
        ),
        click.option("--least", type=Finite(), metavar="LOSS", help="Smallest loss."),
        click.option("--largest", type=Finite(), metavar="LOSS", help="Largest loss."),
        click.option(
            "--start", type=ID, metavar="N", help="Number of the pattern or trial it grew from."
        ),
        click.option("--spec", metavar="SHA256", help="Of its ascents, or the beginning of that."),
        click.option(
            "--sort",
            type=click.Choice(["loss", "steps", "created", "id"]),
            help="Largest loss, fewest steps, newest, smallest id first [default: by map].",
        ),
        click.option("--limit", type=ID, metavar="N", help="How many at most."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def oip_filter(repeated: tuple[int, ...], maps: str | None, **conditions: Any) -> OipFilter:
    """The filter that the options of `filters` describe."""
    from ..store import OipFilter

    indices = [*repeated, *(parse_ranges(maps) if maps is not None else ())]
    return OipFilter(indices or None, **conditions)


def study_of(
    db: str | None,
    network: int | None,
    layer: str | None,
    model: str | None = None,
    data: str | None = None,
    executor: Executor | None = None,
) -> Study:
    """The study that the options describe: of a stored network, or of a model to take in."""
    from ..study.study import Study

    if model is not None and network is not None:
        raise InputError("--model and --network name two networks: choose one of them")
    return Study(db, network=network, layer=layer, data=data, model=model, executor=executor)


def stored_study(
    db: str | None,
    network: int | None,
    layer: str | None,
    data: str | None = None,
    executor: Executor | None = None,
) -> Study:
    """A study of a database that must exist already."""
    from ..store import Store
    from ..study.study import Study

    return Study(Store(db), network=network, layer=layer, data=data, executor=executor)


def size(text: str) -> tuple[int, int]:
    """Height and width written like 64x48, or 64 for both."""
    parts = text.lower().split("x")
    if len(parts) not in (1, 2) or not all(re.fullmatch(r"\s*\d{1,9}\s*", p) for p in parts):
        raise InputError(
            f"{text[:80]!r} is no image size: write it like 64x48, height first, or 64"
        )
    height, width = int(parts[0]), int(parts[-1])
    if not 1 <= min(height, width) <= max(height, width) <= 4096:
        raise InputError(f"an image size of {text} can't be used: choose 1 to 4096 pixels a side")
    return height, width


def numbers(text: str) -> list[float]:
    """Numbers written like 0.2,0.5,0.8."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{text[:80]!r} are no numbers: write them like 0.2,0.5,0.8") from None


def pair(text: str, between: str, problem: str) -> tuple[int, int]:
    """Two whole numbers with a sign between them; else an error that says the problem."""
    try:
        first, second = (int(part) for part in text.split(between))
    except ValueError:
        raise InputError(f"{text[:80]!r} is {problem}") from None
    return first, second
