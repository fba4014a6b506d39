"""The picture that other sites show beside a link to ours: the wall of all maps, in small."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..pictures import displayable
from ..study.study import Study
from .frame import SHARED_SIZE

# The ground of the wall, and the least room between its pictures, in pixels.
_GROUND, _GAP = (24, 27, 32), 6
# A picture with fewer pixels a side shows nothing.
_SMALLEST = 48


def write_shared(study: Study, maps: list[int], path: Path) -> None:
    """Write the strongest OIP of each map, side by side, as one PNG; nothing if there is none.

    Parameters
    ----------
    study
        Whose OIPs, without a prior.
    maps
        Of which maps. Where they are too many for the picture, the first ones are shown.
    path
        The file.
    """
    from PIL import Image

    best = {oip.of_map: oip for oip in study.oips(best=True) if oip.of_map in maps}
    pictures = [
        Image.fromarray(
            np.round(255 * displayable(oip.image, contrast=True, inputs=study.inputs)).astype(
                np.uint8
            )
        ).convert("RGB")
        for _, oip in sorted(best.items())
    ]
    if not pictures:
        return
    height, width = study.image_shape[:2]
    n_columns, n_rows, side = grid(len(pictures), width / height)
    wide, high = round(side * width / height), round(side)
    wall = Image.new("RGB", SHARED_SIZE, _GROUND)
    left = (SHARED_SIZE[0] - n_columns * (wide + _GAP) + _GAP) // 2
    top = (SHARED_SIZE[1] - n_rows * (high + _GAP) + _GAP) // 2
    for place, picture in enumerate(pictures[: n_columns * n_rows]):
        row, column = divmod(place, n_columns)
        corner = left + column * (wide + _GAP), top + row * (high + _GAP)
        wall.paste(picture.resize((wide, high), Image.Resampling.NEAREST), corner)
    wall.save(path, optimize=True)


def grid(n: int, shape: float = 1.0, size: tuple[int, int] = SHARED_SIZE) -> tuple[int, int, int]:
    """How many columns and rows of pictures fill a wall best, and how high each picture is.

    Parameters
    ----------
    n
        How many pictures there are. Where they are too many to be seen, fewer have room.
    shape
        Width of a picture by its height.
    size
        Width and height of the wall, in pixels.

    Examples
    --------
    >>> grid(128)
    (16, 8, 68)
    >>> grid(1)
    (1, 1, 618)
    """
    width, height = (side - 2 * _GAP for side in size)

    def side(n_columns: int, n_rows: int) -> int:
        wide = ((width + _GAP) / n_columns - _GAP) / shape
        return int(min(wide, (height + _GAP) / n_rows - _GAP))

    choices = [(columns, -(-n // columns)) for columns in range(1, n + 1)]
    columns, rows = max(choices, key=lambda choice: side(*choice))
    if side(columns, rows) < _SMALLEST:
        columns = int((width + _GAP) // (_SMALLEST * shape + _GAP))
        rows = int((height + _GAP) // (_SMALLEST + _GAP))
    return columns, rows, side(columns, rows)
