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

from ..pictures import in_bytes
from ..store import OipFilter, Store, merge
from ..study.study import Study
from ..values import start_of
from .notebooks import map_page

# Pictures side by side in the one image that holds them all.
_ACROSS = 40


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
    rows: list[dict[str, Any]] = []
    height, width, _ = study.image_shape
    pictures: list[np.ndarray] = []
    for oip in study.store.oips(OipFilter(network=study.network.id)):
        has_page = oip.layer.name == study.spec.layer and oip.map in maps
        rows.append(
            {
                "id": oip.id,
                "map": oip.map,
                "layer": oip.layer.name,
                "loss": float(f"{oip.loss:.6g}"),
                "origin": oip.origin,
                "status": oip.stop_reason,
                "steps": oip.steps,
                "start": str(start_of(oip.start)),
                "place": len(pictures),
                "page": f"{map_page(oip.map)}.html" if has_page else "",
            }
        )
        pictures.append(in_bytes(oip.image).mean(axis=-1).astype(np.uint8))
    table = {"size": [width, height], "across": _ACROSS, "rows": rows}
    text = json.dumps(table, separators=(",", ":")).replace("<", "\\u003c")
    (folder / "oips.js").write_text(f"window.OIPS = {text};\n")
    sheet = np.zeros((-(-max(1, len(pictures)) // _ACROSS) * height, _ACROSS * width), np.uint8)
    for place, picture in enumerate(pictures):
        y, x = place // _ACROSS * height, place % _ACROSS * width
        sheet[y : y + height, x : x + width] = picture
    from PIL import Image

    Image.fromarray(sheet).save(folder / "oips.png", optimize=True)


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
