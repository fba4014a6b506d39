"""The picture of a map's page in which an OIP grows, with its loss curve; and what goes with it.

What is drawn here is whole by itself: the last image, the curve, and a dot at its end. The script
``map.js`` lets it move. All that comes from a database is escaped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np

from ..analysis.layout import shrunk
from ..figures import growing
from ..pictures import contrast_gain, uri_of
from ..store import Oip
from ..values import stages_of
from .plots import table_html
from .words import plain

# An image larger than this is shown smaller, and more tightly packed, so that a page stays light.
_LARGEST_LOSSLESS, _LARGEST = 64, 160

# Of a curve with more steps so many are drawn.
_MOST_POINTS = 600

# Of the drawing: width, height, and the room left of and above the curve, right of and below it.
_SIZE, _BEGIN, _END = (440, 320), (58, 14), (12, 50)

_CURVE = """\
<svg class="oip-curve" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">
<g class="oip-curve-grid">{grid}</g>{marks}
<polyline class="oip-curve-line" points="{points}"/>
<g class="oip-curve-frames">{frames}</g>
<circle class="oip-curve-dot" cx="{x}" cy="{y}" r="6"/>
<text x="{middle}" y="{bottom}" text-anchor="middle">step</text>
<text transform="translate(14 {centre}) rotate(-90)" text-anchor="middle">\
loss (mean activation)</text>
</svg>"""

_VERSION = """\
<div class="oip-growth-version" data-version="{number}" data-growth="{data}"{hidden}>
<div class="oip-growth-picture"><img class="dark-light" src="{sprite}" alt="{alt}" \
style="aspect-ratio:{width}/{height};--oip-gain:{gain:.4g}" width="300" height="{shown_height}">\
</div>
{curve}
</div>"""

_CONTROLS = """\
<div class="oip-growth-controls" hidden>
<button type="button" class="oip-growth-play">Grow</button>
<input type="range" min="0" max="{last}" value="{last}" step="1" aria-label="Step of its growth">
<output></output>
<fieldset><legend>Contrast</legend>
<label><input type="radio" name="oip-contrast" value="plain"> as computed</label>
<label><input type="radio" name="oip-contrast" value="enhanced" checked> enhanced</label></fieldset>
{versions}</div>"""


@dataclass(frozen=True)
class Jump:
    """Where an ascent goes on in larger steps than those before.

    Attributes
    ----------
    step : int
        After which step.
    before, after : float
        The sizes of the steps before and after it, as `AscentSpec.epsilon`.
    falls : bool
        Whether the loss falls there.
    """

    step: int
    before: float
    after: float
    falls: bool


def jumps(oip: Oip) -> list[Jump]:
    """Where the ascents that led to an OIP began anew with large steps.

    A race has rounds (its rungs): each is an ascent of its own, whose steps get smaller and
    smaller, and what is left of the starts goes on from where it came to.
    """
    found, done = [], 0
    for stage, following in pairwise(stages_of(oip.spec)):
        done += stage.n_epochs - 1
        sizes, next_sizes = stage.epsilons, following.epsilons
        if done < oip.steps and sizes and next_sizes and next_sizes[0] > sizes[-1]:
            falls = bool(oip.trace[done + 1] < oip.trace[done])
            found.append(Jump(done, sizes[-1], next_sizes[0], falls))
    return found


def begins_below(oip: Oip) -> int:
    """How many steps at the beginning climb the pre-activation instead of the response.

    0 unless the loss falls there for it.
    """
    first = stages_of(oip.spec)[0]
    n_steps = min(first.n_epochs - 1, oip.steps)
    falls = n_steps > 0 and oip.trace[1 : n_steps + 1].min() < oip.trace[0]
    return n_steps if first.objective != "response" and falls else 0


def picture_html(versions: Mapping[str, Oip]) -> str:
    """OIPs of a map as one large picture with a slider, and their loss curves.

    Parameters
    ----------
    versions
        Name, such as "strongest" -> the OIP; at least one. The first is shown, the others may be
        chosen. An OIP without frames is shown as it ended.

    Returns
    -------
    str
        HTML that needs ``map.css`` and ``map.js`` beside the site's pages.
    """
    top = max(float(oip.trace.max()) for oip in versions.values())
    bottom = min(0.0, *(float(oip.trace.min()) for oip in versions.values()))
    drawn = "".join(
        _version(number, name, oip, (bottom, top))
        for number, (name, oip) in enumerate(versions.items())
    )
    choices = "".join(
        f'<label><input type="radio" name="oip-version" value="{number}"'
        f"{' checked' * (number == 0)}> {plain(name)}</label>"
        for number, name in enumerate(versions)
    )
    choice = f"<fieldset><legend>Version</legend>{choices}</fieldset>" if len(versions) > 1 else ""
    first = next(iter(versions.values()))
    controls = _CONTROLS.format(last=max(0, len(first.report_steps) - 1), versions=choice)
    return (
        '<link rel="stylesheet" href="../map.css"><div class="oip-growth" role="group" '
        f'aria-label="How the OIP grew">{drawn}{controls}<noscript><p>Without JavaScript only the '
        "end of the growth is shown, with enhanced contrast.</p></noscript></div>"
        '<script src="../map.js" defer></script>'
    )


def neighbours_html(before: tuple[str, str] | None, after: tuple[str, str] | None) -> str:
    """Links to the pages of the maps before and after, and to all of them; keys lead there, too.

    Parameters
    ----------
    before, after
        Name of a map and address of its page.
    """
    links = []
    if before is not None:
        links.append(
            f'<a rel="prev" href="{plain(before[1])}" aria-keyshortcuts="ArrowLeft">'
            f"\u2190 {plain(before[0])}</a>"
        )
    links.append(
        '<a href="../explore.html" aria-keyshortcuts="g" data-explore>Explore all maps</a>'
    )
    if after is not None:
        links.append(
            f'<a rel="next" href="{plain(after[1])}" aria-keyshortcuts="ArrowRight">'
            f"{plain(after[0])} \u2192</a>"
        )
    keys = "<span>Keys: <kbd>\u2190</kbd> <kbd>\u2192</kbd> <kbd>g</kbd></span>"
    return f'<nav class="oip-neighbours" aria-label="Other maps">{"".join(links)}{keys}</nav>'


def folded_html(
    title: str,
    texts: Sequence[str] = (),
    codes: Sequence[str] = (),
    rows: Sequence[Mapping[str, object]] = (),
) -> str:
    """Texts, code and a table that are shown on demand.

    Parameters
    ----------
    title
        What is seen at first.
    texts, codes, rows
        Paragraphs, then pieces of code, then a table; all of it is plain text.

    Examples
    --------
    >>> folded_html("a<b", ["x & y"], ["1 < 2"])
    '<details class="oip-folded"><summary>a&#60;b</summary><p>x &#38; y</p>\
<pre><code>1 &lt; 2</code></pre></details>'
    """
    parts = [f"<p>{plain(text)}</p>" for text in texts]
    parts += [f"<pre><code>{escape(code)}</code></pre>" for code in codes]
    parts += [table_html(rows, one_line=True)] if rows else []
    return (
        f'<details class="oip-folded"><summary>{plain(title)}</summary>{"".join(parts)}</details>'
    )


def _version(number: int, name: str, oip: Oip, limits: tuple[float, float]) -> str:
    """One OIP: its frames side by side in one picture, and its curve."""
    frames, steps = oip.frames, oip.report_steps
    if not len(frames):
        frames, steps = oip.image[None], np.array([oip.steps])
    pictures = growing(frames, oip.inputs)
    losses = oip.trace[steps]
    places = [
        _place(int(step), float(loss), oip, limits)
        for step, loss in zip(steps, losses, strict=True)
    ]
    data = {
        "steps": steps.tolist(),
        "losses": [f"{loss:.3g}" for loss in losses],
        "places": places,
    }
    height, width = oip.image.shape[:2]
    return _VERSION.format(
        number=number,
        data=escape(json.dumps(data, separators=(",", ":"))),
        hidden=" hidden" * (number > 0),
        sprite=_sprite(pictures),
        alt=plain(f"The {name} OIP of {oip.subject}, loss {oip.loss:.3g}"),
        width=width,
        height=height,
        shown_height=round(300 * height / width),
        gain=contrast_gain(oip.image, oip.inputs),
        curve=_curve(oip, places, limits),
    )


def _sprite(pictures: np.ndarray) -> str:
    """Pictures side by side as a ``data:`` address."""
    is_small = max(pictures.shape[1:3]) <= _LARGEST_LOSSLESS
    small = pictures if is_small else shrunk(pictures, _LARGEST)
    pixels = np.concatenate(list(small), axis=1)
    if pixels.shape[-1] != 3:
        pixels = pixels.mean(axis=-1)
    return uri_of(np.round(pixels).astype(np.uint8), None if is_small else 85)


def _place(step: int, loss: float, oip: Oip, limits: tuple[float, float]) -> list[float]:
    """Where a step and its loss stand in the drawing."""
    (width, height), (bottom, top) = _SIZE, limits
    across = step / max(1, oip.steps)
    up = (loss - bottom) / max(top - bottom, 1e-12)
    x = _BEGIN[0] + across * (width - _BEGIN[0] - _END[0])
    y = height - _END[1] - up * (height - _BEGIN[1] - _END[1])
    return [round(x, 1), round(y, 1)]


def _curve(oip: Oip, places: list[list[float]], limits: tuple[float, float]) -> str:
    """The loss over the steps as SVG, with axes, rounds, a dot for each frame, and a large one."""
    (width, height), bottom = _SIZE, _SIZE[1] - _END[1]
    grid = []
    for loss in _ticks(*limits):
        _, y = _place(0, loss, oip, limits)
        grid.append(f'<line x1="{_BEGIN[0]}" x2="{width - _END[0]}" y1="{y}" y2="{y}"/>')
        grid.append(f'<text x="{_BEGIN[0] - 6}" y="{y + 5}" text-anchor="end">{loss:g}</text>')
    for step in _ticks(0, max(1, oip.steps)):
        x, _ = _place(int(step), 0.0, oip, limits)
        grid.append(f'<text x="{x}" y="{bottom + 19}" text-anchor="middle">{step:g}</text>')
    marks = []
    for jump in jumps(oip):
        x, _ = _place(jump.step, 0.0, oip, limits)
        marks.append(f'<line x1="{x}" x2="{x}" y1="{_BEGIN[1]}" y2="{bottom}"/>')
        marks.append(f'<text x="{x + 6}" y="{bottom - 9}">next round</text>')
    drawn = np.unique(np.linspace(0, oip.steps, min(oip.steps + 1, _MOST_POINTS)).round())
    points = [_place(int(step), float(oip.trace[int(step)]), oip, limits) for step in drawn]
    x, y = places[-1]
    return _CURVE.format(
        width=width,
        height=height,
        label=plain(
            f"The loss over {oip.steps} steps: from {oip.trace[0]:.3g} to {oip.trace[-1]:.3g}"
        ),
        grid="".join(grid),
        marks=f'<g class="oip-curve-marks">{"".join(marks)}</g>' if marks else "",
        points=" ".join(f"{x:g},{y:g}" for x, y in points),
        frames="".join(f'<circle cx="{x:g}" cy="{y:g}" r="3"/>' for x, y in places),
        x=x,
        y=y,
        middle=(_BEGIN[0] + width - _END[0]) / 2,
        bottom=height - 6,
        centre=(_BEGIN[1] + bottom) / 2,
    )


def _ticks(low: float, high: float, n: int = 5) -> list[float]:
    """Round numbers from one end of an axis to the other, about so many.

    Examples
    --------
    >>> _ticks(0, 66), _ticks(0, 90)
    ([0.0, 20.0, 40.0, 60.0], [0.0, 20.0, 40.0, 60.0, 80.0])
    """
    rough = max(high - low, 1e-12) / n
    unit = 10.0 ** math.floor(math.log10(rough))
    size = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.ceil(low / size - 1e-9), math.floor(high / size + 1e-9)
    return [round(k * size, 12) for k in range(first, last + 1)]
