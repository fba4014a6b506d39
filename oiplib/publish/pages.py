"""Files of the site that are made from the database, not by notebooks: the table, the download."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from ..analysis.layout import shrunk
from ..pictures import displayable
from ..store import Oip, OipFilter, Store, merge
from ..study.study import Study
from ..values import Inputs, start_of
from .notebooks import map_page

# Pictures side by side in the one image that holds them all, and how large they are at most.
_ACROSS = 40
_LARGEST = 64


def write_finding(study: Study, maps: list[int], folder: Path) -> None:
    """What the page for finding shows: ``oips.js`` and ``oips.png``, with all OIPs of the network.

    Parameters
    ----------
    study
        Whose network.
    maps
        Those of the studied layer that have a page.
    folder
        Where the files go.
    """
    oips = study.store.oips(OipFilter(network=study.network.id))
    sheet, (height, width) = _sheet([_picture(oip.image, study.inputs) for oip in oips], study)
    rows = [_row(oip, place, study.spec.layer, maps) for place, oip in enumerate(oips)]
    table = {"size": [width, height], "across": _ACROSS, "rows": rows}
    text = json.dumps(table, separators=(",", ":")).replace("<", "\\u003c")
    (folder / "oips.js").write_text(f"window.OIPS = {text};\n")
    from PIL import Image

    Image.fromarray(sheet).save(folder / "oips.png", optimize=True)


def _row(oip: Oip, place: int, layer: str, maps: list[int]) -> dict[str, Any]:
    """What the table says of an OIP; what is usual is left out."""
    has_page = oip.layer.name == layer and oip.map is not None and oip.map in maps
    return {
        "id": oip.id,
        "map": oip.map,
        **({} if oip.map is not None else {"objective": oip.objective}),
        "layer": oip.layer.name,
        "loss": float(f"{oip.loss:.6g}"),
        "origin": oip.origin,
        **({} if oip.prior == "none" else {"prior": oip.prior}),
        "status": oip.stop_reason,
        "steps": oip.steps,
        "start": str(start_of(oip.start)),
        "place": place,
        "page": f"{map_page(oip.of_map)}.html" if has_page else "",
    }


def _picture(image: np.ndarray, inputs: Inputs) -> np.ndarray:
    """A small picture, uint8: in colours, (height, width, 3), or grey, (height, width)."""
    small = shrunk(image[None], _LARGEST)[0]
    return np.round(255 * displayable(small, inputs=inputs)).astype(np.uint8)


def _sheet(pictures: list[np.ndarray], study: Study) -> tuple[np.ndarray, tuple[int, int]]:
    """All pictures in one, row by row, and the size of each."""
    empty = _picture(np.zeros(study.image_shape, np.float32), study.inputs)
    height, width, *colours = empty.shape
    n_rows = -(-max(1, len(pictures)) // _ACROSS)
    sheet = np.zeros((n_rows * height, _ACROSS * width, *colours), np.uint8)
    for place, picture in enumerate(pictures):
        y, x = place // _ACROSS * height, place % _ACROSS * width
        sheet[y : y + height, x : x + width] = picture
    return sheet, (height, width)


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
