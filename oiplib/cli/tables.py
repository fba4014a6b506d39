"""What commands print: tables, and lines that a terminal shows as they are."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from .. import files
from ..values import start_of

if TYPE_CHECKING:
    from ..store import Oip
    from ..study.replay import Replay

# What a table has no room for.
_LONG = ("stop_reason", "spec", "spec_sha256", "created")


# Of a message, in characters.
_LONGEST = 2000

# What a terminal would obey, and what makes a text look like another one.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)


def printable(text: str) -> str:
    """A text whose signs are all shown; a database or a file's name may hold any.

    Examples
    --------
    >>> printable("a\x1b[31mb")
    'a\ufffd[31mb'
    """
    return _CONTROLS.sub("\ufffd", text).encode(errors="replace").decode()


def line(text: object) -> str:
    """A message in one line that can be read, whatever stands in what it names."""
    message = printable(" ".join(str(text).splitlines()))
    if len(message) <= _LONGEST:
        return message
    return f"{message[: _LONGEST // 2]} ... {message[-_LONGEST // 2 :]}"


def say(text: str, end: str = "\n", err: bool = False) -> None:
    """Print a text; where nobody reads on, as behind ``| head``, the work still goes on."""
    try:
        click.echo(printable(text) + end, nl=False, err=err)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), (sys.stderr if err else sys.stdout).fileno())


def columns(row: dict[str, Any]) -> dict[str, Any]:
    """An OIP as a line of a table: its short values, in words."""
    cells = {**row, "start": str(start_of(row["start"])), "loss": f"{row['loss']:.4f}"}
    return {name: cell for name, cell in cells.items() if name not in _LONG}


def oips(rows: list[dict[str, Any]]) -> str:
    """OIPs as a table; objectives and priors only where there are others than the usual ones."""
    usual = {"objective": all(row["map"] is not None for row in rows)}
    usual["prior"] = all(row["prior"] == "none" for row in rows)
    hidden = [name for name, is_usual in usual.items() if is_usual]
    lines = [columns(row) for row in rows]
    return table([{k: v for k, v in line.items() if k not in hidden} for line in lines])


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    """A line of a table whose numbers have two decimals; what isn't known is left empty."""
    return {k: _two_decimals(v) if isinstance(v, float) else v for k, v in row.items()}


def _two_decimals(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def as_json(value: Any) -> str:
    """What a command tells, for programs; numbers that aren't finite become null.

    Examples
    --------
    >>> print(as_json({"loss": float("nan")}))
    {
      "loss": null
    }
    """
    return json.dumps(_plain(value), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def counted(n: int, noun: str) -> str:
    """How many there are of something.

    Examples
    --------
    >>> counted(1, "notebook"), counted(1200, "OIP")
    ('1 notebook', '1,200 OIPs')
    """
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def replayed(each: Replay) -> dict[str, Any]:
    """A replayed OIP as a line of a table."""
    return {
        "OIP": each.id,
        "of": each.objective,
        "loss then": f"{each.loss:.6g}",
        "loss now": f"{each.loss_now:.6g}",
        "largest pixel difference": f"{each.pixel_difference:.2g}",
        "correlation": f"{each.correlation:.4f}",
        "equal bytes": "yes" if each.same_bytes else "no",
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Lines with the same columns as a table."""
    from tabulate import tabulate

    return tabulate(rows, headers="keys", disable_numparse=True)


def draw(oip: Oip, path: str, title: str, caption: str) -> None:
    """Draw how an OIP grew, into a PNG file; parameters and errors as for `files.write`."""
    import numpy as np

    from ..figures import growing, growth

    frames, steps = oip.frames, oip.report_steps
    if not len(frames):  # only the best of a search keeps them
        from ..engine.starts import start_images

        start = start_images([oip.start], oip.image.shape, oip.inputs)
        frames, steps = np.stack([start[0], oip.image]), np.array([0, oip.steps])
    pictures = growing(frames, oip.inputs)
    figure = growth(pictures, steps, oip.trace, title, caption)
    files.write(path, lambda file: figure.savefig(file, format="png"))
