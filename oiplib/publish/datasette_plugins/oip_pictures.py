"""A plugin for Datasette: shows arrays in cells as pictures, and maps as links to their OIPs."""

from __future__ import annotations

from html import escape
from typing import Any
from urllib.parse import urlencode

import numpy as np
from datasette import hookimpl
from markupsafe import Markup

from oiplib.errors import OipError
from oiplib.pictures import data_uri
from oiplib.store.arrays import is_packed, unpacked
from oiplib.values import Inputs


@hookimpl
def render_cell(row: Any, value: Any, column: str, database: str, datasette: Any) -> Any:
    """The HTML of a cell; None leaves the cell to Datasette."""
    if isinstance(value, bytes) and is_packed(value):
        return _array(value)
    if column == "map" and isinstance(value, int) and {"network", "layer"} <= set(row.keys()):
        query = urlencode({"map": value, "network": row["network"], "layer": row["layer"]})
        path = datasette.urls.path(f"/{database}/map?{query}")
        return Markup(f'<a href="{escape(path)}">{value}</a>')
    return None


def _array(packed: bytes) -> Markup:
    """An image or several as pictures; any other array as its type and shape."""
    try:
        array = unpacked(packed)
    except OipError:
        return Markup("a damaged array")
    if array.size and array.ndim in (3, 4) and array.dtype.kind in "fiu":
        if not np.isfinite(array).all():
            return Markup("an image with values that aren't finite")
        images = [array] if array.ndim == 3 else list(array)
        pictures = "".join(_picture(image) for image in images)
        return Markup(f'<span style="display:flex;gap:3px">{pictures}</span>')
    shape = " x ".join(map(str, array.shape))
    return Markup(f"{escape(str(array.dtype))}, {shape}")


def _picture(image: np.ndarray) -> str:
    style = "image-rendering:pixelated;max-width:none"
    # Whole numbers are pictures, which are shown as they are.
    uri = data_uri(image, inputs=Inputs(0, 255) if image.dtype == np.uint8 else None)
    return f'<img src="{uri}" width="84" alt="the image" style="{style}">'
