"""Files of the site that are made from the database, not by notebooks: OIPs, the download."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..analysis.layout import layout, shrunk
from ..analysis.neighbours import most_similar_pairs
from ..analysis.similarity import similarities
from ..pictures import contrast_gain, displayable
from ..store import Layer, OipFilter, Store, merge
from ..study.answers import LARGEST_COMPARED
from ..study.questions import reaction
from ..study.study import Study
from ..values import Inputs, PatternStart, Start, map_ranges, start_of

Row = dict[str, Any]

# Pictures in a row of a sheet, and in a sheet at most; how large a picture is at most.
_ACROSS = 32
_IN_SHEET = 512
_LARGEST = 64
# Numbers in all sheets together, a byte each before they are packed: 10,000 digits.
_MOST_PIXELS = 2**23
# Similarities grow with the square of the maps, the layout with their cube.
_MOST_LAID_OUT = 512
# JavaScript has no larger whole numbers.
_LARGEST_NUMBER = 2**53 - 1


@dataclass(frozen=True)
class _Sheet:
    """Some OIPs of a layer whose pictures stand in one file, row by row."""

    layer: Layer
    rows: list[Row]


def write_explore(study: Study, maps: Sequence[int], folder: Path) -> None:
    """What the page for exploring shows, with all OIPs of the database.

    Writes ``explore-data.js``, and their pictures as ``explore-0.png`` and so on: the strongest
    of each layer first. A browser loads those that it shows. Of a huge database the last OIPs have
    no picture there.

    Parameters
    ----------
    study
        The one that the page shows at first.
    maps
        Those of the studied layer that have a page.
    folder
        Where the files go.
    """
    rows = study.store.oip_rows(OipFilter())
    layers = _shown_layers(study, rows)
    sheets = list(_sheets(study, layers, rows))
    pictured = {row["id"] for sheet in sheets for row in sheet.rows}
    in_order = [row for sheet in sheets for row in sheet.rows]
    in_order += [row for row in rows if row["id"] not in pictured]
    gains: list[float] = []
    sizes: list[list[int]] = []
    for number, sheet in enumerate(sheets):
        size, of_sheet = _write_sheet(study.store, sheet, folder / f"explore-{number}.png")
        gains += of_sheet
        sizes.append([len(sheet.rows), *size])
    places = {layer.id: place for place, layer in enumerate(layers)}
    table = {
        "across": _ACROSS,
        "sheets": sizes,
        "layers": [_layer(study, layer, rows) for layer in layers],
        "home": places[study.layer.id],
        "pages": map_ranges(sorted(maps)),
        "dead": _dead(study),
        "oips": {**_columns(in_order, layers), "gain": gains},
        "atlas": list(_atlas(study, layers, rows)),
    }
    text = json.dumps(table, separators=(",", ":")).replace("<", "\\u003c")
    (folder / "explore-data.js").write_text(f"window.OIPS = {text};\n")


def _shown_layers(study: Study, rows: list[Row]) -> list[Layer]:
    """The studied layer, and all others of any network that have OIPs or were searched."""
    with_oips = {(row["network"], row["layer"]) for row in rows}
    return [
        layer
        for layer in study.store.layers()
        if layer.id == study.layer.id
        or (layer.network_id, layer.name) in with_oips
        or study.store.scan_keys(layer.id)
    ]


def _layer(study: Study, layer: Layer, rows: list[Row]) -> Row:
    """Whose layer it is, and its maps that have no OIP: searched, and not searched."""
    with_oip = {row["map"] for row in rows if _is_of(row, layer)} - {None}
    searched = {map for map, _ in study.store.scan_keys(layer.id)}
    return {
        "network": layer.network_id,
        "name": layer.network.name,
        "layer": layer.name,
        "maps": layer.n_maps,
        "silent": map_ranges(sorted(searched - with_oip)),
        "unsearched": layer.n_maps - len(searched | with_oip),
    }


def _is_of(row: Row, layer: Layer) -> bool:
    return row["network"] == layer.network_id and row["layer"] == layer.name


def _dead(study: Study) -> str | None:
    """The maps of the studied layer that respond to no image of the data set; None without one."""
    if not study.has_data:
        return None
    return map_ranges(np.flatnonzero(reaction(study, "data").n_reacting == 0).tolist())


def _columns(rows: list[Row], layers: Sequence[Layer]) -> dict[str, Any]:
    """The values of all OIPs, one list for each kind; texts that repeat stand in ``texts``."""
    places = {(layer.network_id, layer.name): place for place, layer in enumerate(layers)}
    starts = [start_of(row["start"]) for row in rows]
    texts: dict[str, list[str]] = {}

    def numbered(name: str, values: list[str]) -> list[int]:
        texts[name] = sorted(set(values))
        number = {text: place for place, text in enumerate(texts[name])}
        return [number[value] for value in values]

    return {
        "id": [row["id"] for row in rows],
        "layer": [places[row["network"], row["layer"]] for row in rows],
        "map": [row["map"] for row in rows],
        "loss": [float(f"{row['loss']:.6g}") for row in rows],
        "steps": [row["steps"] for row in rows],
        "start": [_number(start) for start in starts],
        "origin": numbered("origin", [row["origin"] for row in rows]),
        "prior": numbered("prior", [row["prior"] for row in rows]),
        "status": numbered("status", [row["stop_reason"] for row in rows]),
        "family": numbered("family", [_family(start) for start in starts]),
        "objective": {
            place: row["objective"] for place, row in enumerate(rows) if row["map"] is None
        },
        "texts": texts,
    }


def _number(start: Start) -> int | str:
    """The number of a pattern, or of a random image; a text where it is too large for a browser."""
    number = start.index if isinstance(start, PatternStart) else start.trial
    return number if number <= _LARGEST_NUMBER else str(number)


def _family(start: Start) -> str:
    """What else is to be said of a start, which it shares with many."""
    if not isinstance(start, PatternStart):
        return f"seed {start.fluctuation.seed}"
    grid = start.grid
    noise = f", with noise of deviation {start.noise:g}" if start.noise else ""
    return f"{len(grid.values)} grey values on {grid.rows} x {grid.columns} cells{noise}"


def _sheets(study: Study, layers: Sequence[Layer], rows: list[Row]) -> Iterator[_Sheet]:
    """All OIPs in sheets: the strongest of each map first, and the studied network before others.

    They end where there would be too many.
    """
    ranks = _ranks(rows)
    others_last = sorted(layers, key=lambda layer: layer.network_id != study.network.id)
    left = _MOST_PIXELS
    for rank in range(3):
        for layer in others_last:
            of_rank = [row for row in rows if _is_of(row, layer) and ranks[row["id"]] == rank]
            fitting = of_rank[: left // _picture(_empty(layer), Inputs()).size]
            left -= len(fitting) * _picture(_empty(layer), Inputs()).size
            for first in range(0, len(fitting), _IN_SHEET):
                yield _Sheet(layer, fitting[first : first + _IN_SHEET])


def _ranks(rows: list[Row]) -> dict[int, int]:
    """OIP -> 0 if it is the strongest of its objective, 1 if so under a prior, else 2."""
    strongest: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        subject = row["network"], row["layer"], row["objective"], row["prior"]
        if subject not in strongest or row["loss"] > strongest[subject]["loss"]:
            strongest[subject] = row
    ranks = {row["id"]: 2 for row in rows}
    return ranks | {row["id"]: int(row["prior"] != "none") for row in strongest.values()}


def _empty(layer: Layer) -> np.ndarray:
    network = layer.network
    shape = network.image_height, network.image_width, network.image_channels
    return np.zeros(shape, np.float32)


def _picture(image: np.ndarray, inputs: Inputs) -> np.ndarray:
    """A small picture, uint8: in colours, (height, width, 3), or grey, (height, width)."""
    small = shrunk(image[None], _LARGEST)[0]
    return np.round(255 * displayable(small, inputs=inputs)).astype(np.uint8)


def _write_sheet(store: Store, sheet: _Sheet, path: Path) -> tuple[list[int], list[float]]:
    """Write the pictures of a sheet; returns their width and height, and each one's gain.

    The gain is that by which the contrast is enhanced.
    """
    from PIL import Image

    inputs = Inputs.parse(sheet.layer.network.inputs)
    empty = _picture(_empty(sheet.layer), inputs)
    height, width, *colours = empty.shape
    n_rows = -(-len(sheet.rows) // _ACROSS)
    pixels = np.full((n_rows * height, _ACROSS * width, *colours), 128, np.uint8)
    gains = []
    images = store.oip_images([row["id"] for row in sheet.rows])
    for place, row in enumerate(sheet.rows):
        image = images[row["id"]]
        y, x = place // _ACROSS * height, place % _ACROSS * width
        pixels[y : y + height, x : x + width] = _picture(image, inputs)
        gains.append(round(contrast_gain(shrunk(image[None], _LARGEST)[0], inputs), 2))
    Image.fromarray(pixels).save(path, optimize=True)
    return [width, height], gains


def _atlas(study: Study, layers: Sequence[Layer], rows: list[Row]) -> Iterator[Row]:
    """How the maps of each layer are laid out: by their strongest OIPs, alike ones side by side.

    Those of the studied layer are laid out under each prior.
    """
    ranks = _ranks(rows)
    for place, layer in enumerate(layers):
        best = [row for row in rows if _is_of(row, layer) and row["map"] is not None]
        best = [row for row in best if ranks[row["id"]] < 2]
        priors = sorted({row["prior"] for row in best})
        for prior in priors if layer.id == study.layer.id else ["none"]:
            shown = [row for row in best if row["prior"] == prior]
            if 1 < len(shown) <= _MOST_LAID_OUT:
                yield {"layer": place, "prior": prior, **_laid_out(study.store, shown)}


def _laid_out(store: Store, rows: list[Row]) -> Row:
    """Where some OIPs stand on a grid, and which of them are most alike."""
    by_id = store.oip_images([row["id"] for row in rows])
    images = shrunk(np.array([by_id[row["id"]] for row in rows]), LARGEST_COMPARED)
    alike = similarities(images, images)
    columns = max(1, round(len(rows) ** 0.5))
    pairs = most_similar_pairs(alike)
    return {
        "columns": columns,
        "maps": [rows[place]["map"] for place in layout(alike, columns)],
        "pairs": [
            [rows[first]["id"], rows[second]["id"], round(float(value), 2)]
            for (first, second), value in zip(pairs.indices, pairs.alike, strict=True)
        ],
        "median": round(pairs.median, 2),
        "largest": round(pairs.largest, 2),
    }


def write_database(store: Store, path: Path) -> None:
    """The whole database as one SQLite file ``oip.db`` in a ZIP, whatever it is kept in."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "oip.db"
        if store.is_file:
            with (
                closing(sqlite3.connect(store.name)) as from_,
                closing(sqlite3.connect(whole)) as to,
            ):
                from_.backup(to)
                to.execute("PRAGMA journal_mode = DELETE")
                to.execute("VACUUM")
        else:
            copied = Store(whole, create=True)
            merge(copied, store)
            copied.close()
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.write(whole, whole.name)
