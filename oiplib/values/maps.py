"""Lists of maps: "0-7,120" as people write them, and as indices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..errors import InputError

#: Map indices, one index, a text such as "0-7,120", or None for all maps of a layer.
Maps = Sequence[int] | int | str | None

# No layer has as many maps; a slip such as 0-999999999 would fill the memory.
_MOST_MAPS = 10**6
# Of a text, in characters.
_LONGEST = 100_000


def parse_ranges(text: str) -> list[int]:
    """Indices named like "0-7,120", increasing, each once.

    Raises
    ------
    InputError
        If the text names none.

    Examples
    --------
    >>> parse_ranges("120, 0-3")
    [0, 1, 2, 3, 120]
    """
    if len(text) > _LONGEST:
        raise InputError(f"a list of maps has at most {_LONGEST:,} characters")
    indices: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*", part)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if low > high:
            raise InputError(f"{text[:80]!r} names no maps: write them like 0-7,120")
        indices.update(range(low, min(high, low + _MOST_MAPS) + 1))
    return sorted(indices)


def map_ranges(maps: Sequence[int]) -> str:
    """Indices as people write them.

    Examples
    --------
    >>> map_ranges([0, 1, 2, 7, 120])
    '0-2,7,120'
    """
    ranges: list[list[int]] = []
    for map in maps:
        if ranges and map == ranges[-1][-1] + 1:
            ranges[-1] = [ranges[-1][0], map]
        else:
            ranges.append([map])
    return ",".join("-".join(str(bound) for bound in each) for each in ranges)


def map_list(maps: Maps, n_maps: int, layer: str) -> list[int]:
    """The named maps of a layer, or all of them; the one check of map lists.

    Parameters
    ----------
    maps
        Indices, one index, a text such as "0-7,120", or None for all.
    n_maps
        How many maps the layer has.
    layer
        Its name, for the error.

    Raises
    ------
    InputError
        If a map doesn't exist.

    Examples
    --------
    >>> map_list("0-2,7", 8, "Conv2D_3")
    [0, 1, 2, 7]
    """
    if maps is None:
        return list(range(n_maps))
    if isinstance(maps, str):
        indices = parse_ranges(maps)
    else:
        indices = [int(map) for map in (maps if isinstance(maps, Iterable) else [maps])]
    for map in indices:
        if not 0 <= map < n_maps:
            raise InputError(f"there is no map {map} in {layer}: choose 0 to {n_maps - 1}")
    return indices
