"""What commands print, and files that they write whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..values import start_of

if TYPE_CHECKING:
    from ..store import Oip
    from ..study.replay import Replay

# What a table has no room for.
_LONG = ("stop_reason", "spec", "spec_sha256", "created")


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
    """A line of a table whose numbers have two decimals."""
    return {k: f"{v:.2f}" if isinstance(v, float) else v for k, v in row.items()}


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
    """Draw how an OIP grew, into a PNG file."""
    import numpy as np

    from ..publish import plots

    frames, steps = oip.frames, oip.report_steps
    if not len(frames):  # only the best of a search keeps them
        from ..study.replay import start_images

        start = start_images([start_of(oip.start)], oip.image.shape, oip.inputs)
        frames, steps = np.stack([start[0], oip.image]), np.array([0, oip.steps])
    figure = plots.growth(frames, steps, oip.trace, title, caption)
    written(path, lambda target: figure.savefig(target, format="png"))


def written(path: str, write: Callable[[Any], None]) -> None:
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
