"""Write `docs/wall.gif`, the picture of the README: the best OIP of every map grows from its start.

    python benchmarks/wall.py oip.db docs/wall.gif

Nothing is computed: the frames are those that the database keeps of each best OIP, at a few of its
steps, and images in between are mixed from the two frames around them. All frames of an OIP are
drawn with the scale of its last one, value 0 in the middle grey; so backgrounds don't flicker.
"""

from __future__ import annotations

import argparse

import numpy as np
from PIL import Image

from oiplib import Study
from oiplib.pictures import contrast_gain, from_bytes

COLUMNS, GAP, ZOOM = 16, 2, 2
N_FRAMES, MILLISECONDS, HOLD = 14, 110, 2600
GREYS = 16


def grown(oip, steps):
    """An OIP at some steps, as pictures in [0, 1] with the contrast of the last one enhanced."""
    values = from_bytes(oip.frames, oip.inputs)
    place = np.interp(steps, oip.report_steps, np.arange(len(values)))
    before = np.minimum(place.astype(int), len(values) - 2)
    share = (place - before)[:, None, None, None]
    mixed = (1 - share) * values[before] + share * values[before + 1]
    largest = 2 * np.abs(values[-1]).max()
    return np.clip(0.5 + contrast_gain(values[-1], oip.inputs) * mixed / largest, 0, 1).mean(-1)


def wall(oips, n_frames):
    """All OIPs side by side, once for each frame: the steps grow, few at first."""
    last = max(oip.steps for oip in oips)
    steps = np.linspace(0, 1, n_frames) ** 1.5 * last
    pictures = np.stack([grown(oip, np.minimum(steps, oip.steps)) for oip in oips])
    height, width = pictures.shape[2:]
    rows = -(-len(oips) // COLUMNS)
    shape = n_frames, rows * (height + GAP) + GAP, COLUMNS * (width + GAP) + GAP
    frames = np.ones(shape)
    for k, picture in enumerate(pictures):
        row, column = divmod(k, COLUMNS)
        top, left = GAP + row * (height + GAP), GAP + column * (width + GAP)
        frames[:, top : top + height, left : left + width] = picture
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("database")
    parser.add_argument("picture")
    asked = parser.parse_args()
    oips = [oip for oip in Study(asked.database).oips(best=True) if len(oip.frames) > 1]
    greys = np.round(wall(oips, N_FRAMES) * (GREYS - 1)).astype(np.uint8)
    palette = np.repeat(np.round(np.linspace(0, 255, GREYS)).astype(np.uint8), 3).tolist()
    images = []
    for frame in greys.repeat(ZOOM, axis=1).repeat(ZOOM, axis=2):
        image = Image.fromarray(frame, "P")
        image.putpalette(palette)
        images.append(image)
    durations = [3 * MILLISECONDS] + [MILLISECONDS] * (N_FRAMES - 2) + [HOLD]
    images[0].save(
        asked.picture, save_all=True, append_images=images[1:], duration=durations, loop=0
    )


if __name__ == "__main__":
    main()
