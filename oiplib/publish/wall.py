"""The wall of the front page: all maps of the layer in one picture, which grow from their starts.

A browser gets three files: what is known of each map, as a script that works without a server;
a sheet with every frame of the strongest OIPs; and one of the legible OIPs, which is loaded when
it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..analysis.layout import layout, shrunk
from ..analysis.similarity import similarities
from ..pictures import contrast_gain, from_bytes, on_one_scale, webp
from ..store import Oip
from ..study.answers import LARGEST_COMPARED, spread
from ..study.study import Study
from ..study.unique import PRIORS
from ..values import FluctuationStart, Inputs
from .findings import write_findings
from .notebooks import map_page

#: The kinds of OIPs that the wall shows, by the names of their priors.
KINDS = ("strongest", "legible")

#: How many maps are side by side on a wide screen and on a phone.
ACROSS = (16, 8)

#: Of so many maps at most there is a picture; of more, some evenly spread ones are shown.
MOST_MAPS = 256

#: A sheet takes at most so many bytes: what the front page loads must stay small.
MOST_BYTES = 900_000

# An odd number of greys has one in the middle, which stands for the value 0.
_GREYS = 63
# Sheets that stay too large without loss are made with it, then of smaller pictures.
_QUALITIES = (90, 75, 50)
_SIDES = (64, 48, 32)


def write_front(study: Study, maps: Sequence[int], source: Path) -> None:
    """The front page of a site: what its wall shows, and its findings.

    Parameters
    ----------
    study
        Whose layer.
    maps
        Those that have a page.
    source
        The folder that Jupyter Book reads; its ``index.md`` says where the findings stand.
    """
    write_wall(study, maps, source / "extra")
    page = source / "index.md"
    page.write_text(page.read_text().replace("{findings}", write_findings(study, source)))


def write_wall(study: Study, maps: Sequence[int], folder: Path) -> None:
    """What the wall shows: ``wall-data.js`` and a sheet of pictures of each kind of OIP.

    Parameters
    ----------
    study
        Whose layer.
    maps
        Those that have a page.
    folder
        Where the files go.
    """
    n_maps = study.layer.n_maps
    shown = spread(n_maps, MOST_MAPS)
    of_kinds = {
        kind: {oip.of_map: oip for oip in study.oips(best=True, prior=PRIORS[kind])}
        for kind in KINDS
    }
    found = {
        map: origin for origin, of_origin in study.summary().found.items() for map in of_origin
    }
    rows: list[dict[str, Any]] = [
        {
            "map": map,
            "page": f"{map_page(map)}.html" if map in maps else "",
            "found": found.get(map, ""),
            "oips": {},
        }
        for map in shown
    ]
    sheets = {}
    for kind, oips in of_kinds.items():
        if not any(map in oips for map in shown):
            continue
        grown = [_grown(study, oips[map]) if map in oips else None for map in shown]
        name = f"wall-{kind}.webp"
        n_frames, size, encoded = _sheet(grown, study.inputs)
        (folder / name).write_bytes(encoded)
        sheets[kind] = {"file": name, "frames": n_frames, "size": size}
        for row, frames in zip(rows, grown, strict=True):
            if frames is not None:
                oip = oips[row["map"]]
                row["oips"][kind] = _told(oip, frames, n_frames, study.inputs)
    strongest = of_kinds["strongest"]
    table = {
        "layer": study.layer.name,
        "n_maps": n_maps,
        "across": ACROSS[0],
        "sheets": sheets,
        "maps": rows,
        "similar": {str(across): _by_similarity(strongest, shown, across) for across in ACROSS},
    }
    text = json.dumps(table, separators=(",", ":")).replace("<", "\\u003c")
    (folder / "wall-data.js").write_text(f"window.WALL = {text};\n")


class _Grown:
    """An OIP on its way: images as the network takes them, and the step of each."""

    def __init__(self, images: np.ndarray, steps: np.ndarray) -> None:
        self.images, self.steps = images, steps

    def places(self, n: int) -> np.ndarray:
        """The frames to show at n moments, the first and the last among them: (n,)."""
        return np.round(np.linspace(0, len(self.images) - 1, n)).astype(int)


def _grown(study: Study, oip: Oip) -> _Grown:
    """The frames of an OIP; its start and its end where no frames are kept."""
    if len(oip.frames):
        images = from_bytes(oip.frames, study.inputs)
        return _Grown(np.concatenate([images[:-1], oip.image[None]]), oip.report_steps)
    from ..engine.starts import start_images

    start = start_images([oip.start], oip.image.shape, study.inputs)
    return _Grown(np.concatenate([start, oip.image[None]]), np.array([0, oip.steps]))


def _told(oip: Oip, grown: _Grown, n_frames: int, inputs: Inputs) -> dict[str, Any]:
    """What the wall says of an OIP."""
    steps = grown.steps[grown.places(n_frames)]
    start = oip.start
    return {
        "id": oip.id,
        "origin": oip.origin,
        "number": start.trial if isinstance(start, FluctuationStart) else start.index,
        "loss": _short(oip.loss),
        "gain": _short(contrast_gain(shrunk(oip.image[None], _SIDES[0])[0], inputs)),
        "steps": steps.tolist(),
        "losses": [_short(oip.trace[step]) for step in steps],
    }


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _by_similarity(oips: dict[int, Oip], shown: Sequence[int], across: int) -> list[int]:
    """The places of the maps in an order in which similar OIPs are neighbours, as in an atlas.

    Maps without an OIP come last.
    """
    with_oip = [place for place, map in enumerate(shown) if map in oips]
    without = [place for place, map in enumerate(shown) if map not in oips]
    if not with_oip:
        return without
    images = shrunk(np.array([oips[shown[k]].image for k in with_oip]), LARGEST_COMPARED)
    placed = layout(similarities(images, images), min(across, len(images)))
    return [with_oip[k] for k in placed] + without


# Sheets


def _sheet(grown: Sequence[_Grown | None], inputs: Inputs) -> tuple[int, list[int], bytes]:
    """All frames of all maps in one picture: how many frames, width and height of each, a WebP.

    Frame after frame, each a block of the maps in rows of `ACROSS`.
    """
    n_frames = max(len(frames.images) for frames in grown if frames is not None)
    for side in _SIDES:
        pictures = _pictures(grown, n_frames, side, inputs)
        height, width = pictures.shape[2:4]
        sheet = _laid_out(pictures)
        for quality in (None, *_QUALITIES):
            encoded = webp(sheet, quality)
            if len(encoded) <= MOST_BYTES:
                return n_frames, [width, height], encoded
    return n_frames, [width, height], encoded


def _pictures(
    grown: Sequence[_Grown | None], n_frames: int, side: int, inputs: Inputs
) -> np.ndarray:
    """Pictures of at most some size in [0, 1]: (n_frames, maps, height, width, 1 or 3)."""
    of_maps: list[np.ndarray | None] = []
    for frames in grown:
        if frames is None:
            of_maps.append(None)
            continue
        images = shrunk(frames.images[frames.places(n_frames)], side)
        pixels = on_one_scale(images, images[-1], inputs) / 255
        of_maps.append(pixels if pixels.shape[-1] == 3 else pixels.mean(axis=-1, keepdims=True))
    empty = np.full_like(next(pixels for pixels in of_maps if pixels is not None), 0.5)
    return np.stack([empty if pixels is None else pixels for pixels in of_maps], axis=1)


def _laid_out(pictures: np.ndarray) -> np.ndarray:
    """A block of rows for each frame, one below the other: uint8, (height, width[, 3])."""
    n_frames, n, height, width, channels = pictures.shape
    n_rows = -(-n // ACROSS[0])
    cells = np.full((n_frames, n_rows * ACROSS[0], height, width, channels), 0.5)
    cells[:, :n] = pictures
    blocks = cells.reshape(n_frames, n_rows, ACROSS[0], height, width, channels)
    sheet = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n_frames * n_rows * height, -1, channels)
    half = (_GREYS - 1) / 2
    greys = 0.5 + np.round((sheet - 0.5) * 2 * half) / (2 * half)
    whole = np.round(255 * greys).astype(np.uint8)
    return whole if channels == 3 else whole[..., 0]
