"""A plugin for Datasette: shows arrays in cells as pictures, and maps as links to their OIPs."""

from __future__ import annotations

import math
from html import escape
from typing import Any
from urllib.parse import urlencode

import numpy as np
from datasette import hookimpl
from markupsafe import Markup

from oiplib.errors import OipError
from oiplib.pictures import data_uri
from oiplib.store.arrays import header_of, is_packed, unpacked
from oiplib.values import Inputs

# In one cell. An OIP has eight frames of 28 x 28 pixels, or of 224 x 224 in colour.
_MOST_IMAGES = 16
_MOST_PIXELS = 2**21


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
    """An image or several as pictures; any other array, or a very large one, as its type and shape.

    A page has some hundred cells, and a database may be a stranger's.
    """
    try:
        header = header_of(packed)
        n_images = header.shape[0] if len(header.shape) == 4 else 1
        is_small = n_images <= _MOST_IMAGES and math.prod(header.shape) <= _MOST_PIXELS
        if len(header.shape) not in (3, 4) or header.dtype.kind not in "fiu" or not is_small:
            shape = " x ".join(map(str, header.shape))
            return Markup(f"{escape(str(header.dtype))}, {shape}")
        array = unpacked(packed)
    except OipError:
        return Markup("a damaged array")
    if array.size:
        if not np.isfinite(array).all():
            return Markup("an image with values that aren't finite")
        images = [array] if array.ndim == 3 else list(array)
        pictures = "".join(_picture(image) for image in images)
        return Markup(f'<span style="display:flex;gap:3px">{pictures}</span>')
    return Markup("no image")


def _picture(image: np.ndarray) -> str:
    style = "image-rendering:pixelated;max-width:none"
    # Whole numbers are pictures, which are shown as they are.
    uri = data_uri(image, inputs=Inputs(0, 255) if image.dtype == np.uint8 else None)
    return f'<img src="{uri}" width="84" alt="the image" style="{style}">'
