"""Write OIPs into a folder that others can use without oiplib."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, OipError
from ..files import check_target, replacing
from ..pictures import png
from ..progress import bar
from ..store import ROW_FIELDS, OipFilter, Store

_README = """\
OIPs exported by oiplib: images to which one map of a network, or another objective, responds
strongly.

images.npy   {n} images as they were computed, {shape}, float32, as their networks take
             them ({inputs}): numpy.load("images.npy")
oips.csv     a line for each image, in the same order: its network, layer and map, its loss (the
             mean of the map's activation over its positions), and where it comes from; a text
             that a spreadsheet would take for a formula has an apostrophe in front
oips.json    the same, with all numbers of its start and of its ascent
png/         the images as pictures; a standardized one from black for its smallest to white for
             its largest value
"""

# Spreadsheets take a cell that begins so for a formula, and some of these run programs.
_FORMULA = ("=", "+", "-", "@", "\t", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

# Small images are made larger, up to about this many pixels.
_SHOWN = 112


def export(store: Store, wanted: OipFilter, folder: Path) -> int:
    """Write images and metadata of OIPs.

    Parameters
    ----------
    store
        The database.
    wanted
        The filter that selects the OIPs.
    folder
        A new or empty folder.

    Returns
    -------
    int
        How many OIPs were written.

    Raises
    ------
    InputError
        If the folder holds something, no OIP passes the filter, or the images differ in shape.
    """
    check_target(folder, "folder")
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} holds something already: name a new folder")
    rows = store.oip_rows(wanted)
    if not rows:
        raise InputError(f"there are no such OIPs in {store.name}")
    with replacing(folder, "folder") as scratch:
        (scratch / "png").mkdir(parents=True)
        shape, inputs = _write_images(store, rows, scratch)
        shape_text = f"({len(rows)}, {', '.join(map(str, shape))})"
        text = _README.format(n=len(rows), shape=shape_text, inputs="; ".join(inputs))
        (scratch / "README.txt").write_text(text)
    return len(rows)


def _write_images(
    store: Store, rows: list[dict[str, Any]], folder: Path
) -> tuple[tuple[int, ...], list[str]]:
    """Write all files but the README; returns the shape of one image, and the networks' inputs."""
    shape, inputs = store.oip(rows[0]["id"]).image.shape, set()
    with (folder / "images.npy").open("wb") as file:
        # Image by image, so that they needn't all be in memory; a full disk is an error then.
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(rows), *shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for row in _with_bar(rows):
            oip = store.oip(row["id"])
            image = oip.image
            if image.shape != shape:
                raise InputError("the images are not all of one size: choose one by --network")
            if not np.isfinite(image).all():
                raise OipError(f"oips row {row['id']}: its image has values that aren't finite")
            file.write(image.astype("<f4").tobytes())
            inputs.add(str(oip.inputs))
            row["png"] = f"png/oip-{row['id']:06d}.png"
            zoom = max(1, _SHOWN // max(image.shape[:2]))
            (folder / row["png"]).write_bytes(png(image, zoom=zoom, inputs=oip.inputs))
    with (folder / "oips.csv").open("w", newline="") as file:
        write_csv(rows, file, (*ROW_FIELDS, "png"))
    (folder / "oips.json").write_text(json.dumps(rows, indent=1) + "\n")
    return shape, sorted(inputs)


def _with_bar(rows: list[dict[str, Any]]) -> Any:
    """Yields the rows, with a progress bar."""
    with bar(len(rows), "Export", "OIPs") as progress:
        for row in rows:
            yield row
            progress.update(1)


def write_csv(rows: list[dict[str, Any]], file: Any, fields: tuple[str, ...] = ROW_FIELDS) -> None:
    """Write rows as CSV; starts and specs are JSON in their cells.

    A text that a spreadsheet would take for a formula gets an apostrophe in front; numbers stay
    as they are. JSON and Parquet hold all texts as they are.

    Examples
    --------
    >>> import io
    >>> file = io.StringIO()
    >>> write_csv([{"objective": "=1+1", "loss": -1.5}], file, ("objective", "loss"))
    >>> print(file.getvalue(), end="")
    objective,loss
    '=1+1,-1.5
    """
    writer = csv.DictWriter(file, fields, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _harmless(value) for name, value in flat(row).items()})


def _harmless(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    # The csv module doesn't quote a carriage return alone, and what follows would be a cell.
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if text.startswith(_FORMULA) else text


def write_parquet(rows: list[dict[str, Any]], file: Any) -> None:
    """Write rows as Parquet; starts and specs become JSON texts, times become texts.

    Raises
    ------
    InputError
        If pyarrow isn't installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError("Parquet needs pyarrow: pip install 'oiplib[parquet]'") from None
    types = {"id": pa.int64(), "network": pa.int64(), "map": pa.int64(), "steps": pa.int64()}
    types |= {"loss": pa.float64()}
    fields = [(name, types.get(name, pa.string())) for name in ROW_FIELDS]
    pq.write_table(pa.Table.from_pylist([flat(row) for row in rows], pa.schema(fields)), file)


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its start and specs as JSON texts.

    Examples
    --------
    >>> flat({"map": 120, "start": {"trial": 0, "map": 120}})
    {'map': 120, 'start': '{"map": 120, "trial": 0}'}
    """
    return {
        name: json.dumps(value, sort_keys=True) if isinstance(value, dict) else value
        for name, value in row.items()
    }
