"""Draws ``house.svg`` beside this file: the floors of oiplib with the modules that they have now.

``python docs/house.py``, after a module has come or gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "oiplib"

#: Ground and edge of what is alike.
SEEN, ASKED, COMPUTED, STORED, USED = (
    ("#fdf3e3", "#b98026"),
    ("#e9f5ea", "#3f8f4f"),
    ("#e8f0fb", "#3d6fb0"),
    ("#f6ebf7", "#8d4f97"),
    ("#f1f2f4", "#6b7480"),
)
WIDTH, MARGIN, GAP, CHIP, LINE = 900, 20, 24, 21, 27
STYLE = """<style>
text{font-family:system-ui,"Segoe UI","Helvetica Neue",Arial,"DejaVu Sans",sans-serif;fill:#1c2733}
.t{font-size:16px;font-weight:700}
.r{font-size:13.5px;font-weight:400;fill:#3a4653}
.m{font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:12.5px}
.a{fill:none;stroke:#808a96;stroke-width:2}
</style>"""


@dataclass(frozen=True)
class Floor:
    """A folder of the package, or modules that stand alone, with what it is for."""

    name: str
    told: str
    colours: tuple[str, str]

    @property
    def modules(self) -> list[str]:
        """The names of a folder's modules; none of modules that stand alone."""
        folder = PACKAGE / self.name
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        names = [path.stem + ("/" if path.is_dir() else "") for path in paths]
        return [name for name in names if not name.startswith("_")]


TOP = (
    Floor("__main__.py", "python -m oiplib", SEEN),
    Floor("cli", "the command oip", SEEN),
    Floor("reproduce.py", "the main job: from nothing to the database and the site", SEEN),
    Floor("publish", "what people see: figures, notebooks, pages, the site, exports", SEEN),
    Floor("study", "get or compute: joins engine and store, answers questions", ASKED),
)
LEFT = (
    Floor("analysis", "what results mean: arrays in, arrays out", COMPUTED),
    Floor("search", "good starts among very many", COMPUTED),
    Floor("engine", "images, networks, ascents; TensorFlow in tf alone", COMPUTED),
)
RIGHT = Floor("store", "the database", STORED)
BOTTOM = (
    Floor("figures.py, pictures.py", "how an OIP grew; an image as grey values or colours", USED),
    Floor("values", "everything that can be varied, as frozen and hashed specs", USED),
    Floor("progress.py, files.py", "progress bars; files that a user names", USED),
    Floor("lifeline.py, processes.py", "processes that end with the one that began them", USED),
    Floor("errors.py", "errors that a user can do something about", USED),
)
NOTES = (
    "An arrow points to what may be imported: a floor imports from any floor below it, never from "
    "one above.",
    "Analysis, search and engine never reach the store. The study joins the two sides.",
)


def chips(modules: Sequence[str], width: int) -> list[tuple[int, int, int, str]]:
    """Where each module's name stands in a floor: x, line, width, name."""
    placed, x, line = [], 14, 0
    for name in modules:
        size = round(14 + 7.53 * len(name))
        if x + size > width - 14:
            x, line = 14, line + 1
        placed.append((x, line, size, name))
        x += size + 6
    return placed


def height_of(floor: Floor, width: int) -> int:
    """How high a floor is drawn."""
    placed = chips(floor.modules, width)
    return 36 + (4 + LINE * (placed[-1][1] + 1) if placed else 0)


def drawn(floor: Floor, x: int, y: int, width: int, height: int) -> str:
    """A floor as SVG."""
    ground, edge = floor.colours
    lines = [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="7" fill="{ground}" '
        f'stroke="{edge}" stroke-width="1.5"/>',
        f'<text x="{x + 14}" y="{y + 24}" class="t">{floor.name}'
        f'<tspan class="r" dx="10">{escape(floor.told)}</tspan></text>',
    ]
    for left, line, size, name in chips(floor.modules, width):
        top = y + 35 + LINE * line
        lines += [
            f'<rect x="{x + left}" y="{top}" width="{size}" height="{CHIP}" rx="3" '
            f'fill="#ffffff" stroke="{edge}" stroke-width="0.8"/>',
            f'<text x="{x + left + 7}" y="{top + 15}" class="m">{name}</text>',
        ]
    return "\n".join(lines)


def arrow(x: int, y: int) -> str:
    """From the lower edge of a floor to the one below."""
    return f'<path class="a" d="M{x} {y}V{y + GAP - 2}M{x - 5} {y + GAP - 8}l5 6l5-6"/>'


def house() -> str:
    """The whole drawing."""
    parts, y, whole = [], MARGIN, WIDTH - 2 * MARGIN
    for floor in TOP:
        height = height_of(floor, whole)
        parts += [drawn(floor, MARGIN, y, whole, height), arrow(WIDTH // 2, y + height)]
        y += height + GAP
    parts.pop()
    left = 540
    right, x_right = whole - left - GAP, MARGIN + left + GAP
    parts += [arrow(x, y - GAP) for x in (MARGIN + left // 2, x_right + right // 2)]
    top = y
    for floor in LEFT:
        height = height_of(floor, left)
        parts += [drawn(floor, MARGIN, y, left, height), arrow(MARGIN + left // 2, y + height)]
        y += height + GAP
    bottom = max(y - GAP, top + height_of(RIGHT, right))
    parts += [drawn(RIGHT, x_right, top, right, bottom - top), arrow(x_right + right // 2, bottom)]
    y = bottom + GAP
    for floor in BOTTOM:
        height = height_of(floor, whole)
        parts += [drawn(floor, MARGIN, y, whole, height), arrow(WIDTH // 2, y + height)]
        y += height + GAP
    parts.pop()
    for line in NOTES:
        parts.append(f'<text x="{MARGIN + 14}" y="{y + 8}" class="r">{escape(line)}</text>')
        y += 20
    names = ", ".join(floor.name for floor in (*TOP, *LEFT, RIGHT, *BOTTOM))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 4}" '
        f'viewBox="0 0 {WIDTH} {y + 4}" role="img" aria-labelledby="title desc">\n'
        '<title id="title">The floors of oiplib</title>\n'
        f'<desc id="desc">From the top: {names}. {NOTES[1]}</desc>\n{STYLE}\n'
        f'<rect width="{WIDTH}" height="{y + 4}" fill="#ffffff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    (HERE / "house.svg").write_text(house())
