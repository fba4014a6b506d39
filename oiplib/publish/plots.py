"""Figures: functions from arrays to a matplotlib figure. They compute only the layout.

A page shows a figure as SVG inside its HTML. Text and axes have the colour of the page's own text,
and nothing has a ground; so a figure suits a light page and a dark one. It is as narrow as a phone,
and panels are figures of their own that stand side by side where there is room. What one sees is
told in words, too, for those who don't see it.
"""

from __future__ import annotations

import hashlib
import io
import re
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as _Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from ..analysis.estimates import Estimate
from ..analysis.layout import shrunk
from ..figures import ACCENT, DPI, LINE, draw_trace, inputs_of, literal
from ..pictures import data_uri, in_bytes, scaled
from ..values import Inputs
from .words import counted, listed, plain

# As light or dark as `LINE` and `ACCENT`.
_SOFT = "#8195a3"

# Inches: a figure fills a phone, so that its letters of 10 points are 10 pixels there; a panel
# beside others is narrower.
_WIDTH = 4.8
_PANEL = 3.3

# From so many times the smallest number on, a logarithmic axis has numbers of our own; powers of
# ten alone.
_FEW, _MANY = 5, 50

# So many classes get a bar or a line with their name, in lines of so many letters, at most three.
_MOST_NAMES = 12
_LONGEST = 16
_MOST_LINES = 3

# What matplotlib writes around the drawing, and what a page doesn't need of it.
_SVG_NOTES = re.compile(
    r"<\?xml.*?\?>|<!.*?>|<metadata>.*?</metadata>|<style.*?</style>", re.DOTALL
)
_SVG_SIZE = re.compile(r'(<svg[^>]*?) (?:height|width)="[^"]*"')
_SVG_NAMESPACES = re.compile(r' (?:xmlns(?::xlink)?|version)="[^"]*"')
_SVG_FONT = re.compile(r"font: ([\d.]+px) [^;\"]*")
_SVG_FAMILY = re.compile(r"; font-family: [^;\"]*")
_SVG_PLACES = re.compile(r' (?:d|x|y|width|height|transform)="[^"]*"')
_SVG_NUMBER = re.compile(r"-?\d+\.\d+")
_SVG_NOWHERE = re.compile(r' transform="rotate\(-?0 [^"]*"')
_SVG_UNSEEN = re.compile(r'<path d="[^"]*" style="fill: none"/>|<defs> *</defs>')
_SVG_LINE = re.compile(r' d="[MLz\d. -]*"')
_SVG_MARKER = re.compile(r'<path id="([^"]*)" [^>]*( style="[^"]*")/>')
_SVG_GROUP = re.compile(r"<g(| [^>]*[^/])>|</g>")
_SVG_GAP = re.compile("> +<")
_SVG_ID = re.compile(r' id="([^"]*)"')
_SVG_REFERENCE = re.compile(r'url\(#([^)]*)\)|xlink:href="#([^"]*)"')


class Figure(_Figure):
    """A figure that a notebook shows by itself, without one of Jupyter's plotting backends.

    Attributes
    ----------
    alt : str
        What one sees, in words.
    """

    alt: str = ""

    def _repr_html_(self) -> str:
        return _shown([self])


class Panels(list[Figure]):
    """Figures that belong together: side by side where there is room, else one below the other."""

    def _repr_html_(self) -> str:
        return _shown(self)


def _shown(figures: Sequence[Figure]) -> str:
    """Figures as HTML that needs no other file."""
    panels = "".join(
        f'<div style="flex:1 1 {14 if len(figures) > 1 else 18}rem;min-width:0;'
        f'max-width:{1.5 * 72 * figure.get_figwidth():.0f}px">{_svg(figure)}</div>'
        for figure in figures
    )
    style = "display:flex;flex-wrap:wrap;gap:0.5rem 1rem;margin:0 0 1rem"
    return f'<div class="oip-figure" style="{style}">{panels}</div>'


def _svg(figure: Figure) -> str:
    """A figure as SVG inside HTML, in the colours and letters of the page around it."""
    drawn = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "oip"}):
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    text = _SVG_NOTES.sub("", drawn.getvalue())
    text = _SVG_NAMESPACES.sub("", _SVG_SIZE.sub(r"\1", _SVG_SIZE.sub(r"\1", text)))
    # What is black, text above all, isn't said by matplotlib, or is said so.
    text = _SVG_FONT.sub(r"font-size: \1", text.replace("#000000", "currentColor"))
    text = _SVG_FAMILY.sub("", text)
    # Several figures stand on a page: names that nothing refers to go, the others become its own.
    own = hashlib.sha256((figure.alt + text).encode()).hexdigest()[:8]
    used = {name for pair in _SVG_REFERENCE.findall(text) for name in pair if name}
    text = _SVG_ID.sub(lambda m: f' id="{own}{m[1]}"' if m[1] in used else "", text)
    text = _SVG_REFERENCE.sub(
        lambda m: f"url(#{own}{m[1]})" if m[1] else f'href="#{own}{m[2]}"', text
    )
    text = _slim(" ".join(text.split()))
    attributes = (
        f'role="img" aria-label="{plain(figure.alt)}" fill="currentColor" stroke-linejoin="round" '
        'style="display:block;width:100%;height:auto"'
    )
    return text.replace("<svg", f"<svg {attributes}", 1)


def _slim(text: str) -> str:
    """An SVG of matplotlib without what nobody sees, which is about half of it."""
    text = _SVG_UNSEEN.sub("", _SVG_NOWHERE.sub("", text))
    text = _SVG_PLACES.sub(_rounded, text)
    # What follows a place is a line, if nothing else is said.
    text = _SVG_LINE.sub(lambda m: m[0].replace(" L ", " "), text)
    for marker, style in _SVG_MARKER.findall(text):
        used = re.compile(rf'(<use href="#{re.escape(marker)}"[^>]*){re.escape(style)}')
        text = used.sub(r"\1", text)
    styled: list[bool] = []

    def without_empty_groups(group: re.Match[str]) -> str:
        if group[0] != "</g>":
            styled.append(group[1] != "")
            return group[0] if styled[-1] else ""
        return group[0] if styled.pop() else ""

    return _SVG_GAP.sub("><", _SVG_GROUP.sub(without_empty_groups, text))


def _rounded(place: re.Match[str]) -> str:
    """A place without what nobody sees, a twentieth of a point; factors are more precise."""
    n_digits = 4 if "matrix(" in place[0] or "scale(" in place[0] else 1
    return _SVG_NUMBER.sub(lambda n: f"{round(float(n[0]), n_digits) + 0.0:.7g}", place[0])


def pictures(pixels: np.ndarray, pixel_range: tuple[float, float]) -> np.ndarray:
    """A data set's images as pictures: uint8 of the same shape, from 0 to 255.

    Examples
    --------
    >>> pictures(np.array([-1.0, 0.2, 1.0]), (-1, 1)).tolist()
    [0, 153, 255]
    """
    return in_bytes(pixels, Inputs(*pixel_range))


def _plain_axes(figure: Figure) -> Axes:
    """The only axes of a figure, open above and on the right."""
    ax = figure.subplots()
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _plain_logarithm(ax: Axes) -> None:
    """Numbers below the axis instead of powers of ten, which also take longer to draw."""
    low, high = ax.get_xlim()
    if high < _FEW * low:
        return  # perhaps there is no power of ten to name
    ax.xaxis.set_major_formatter("{x:g}")
    if high < _MANY * low:
        ax.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        ax.xaxis.set_minor_formatter("{x:g}")
        ax.tick_params(axis="x", which="minor", length=3.5)
    else:
        ax.xaxis.set_minor_locator(NullLocator())


def _new(width: float, height: float, has_margins: bool = False) -> Figure:
    """A figure that looks for its margins when it is drawn, unless it has its own."""
    return Figure(figsize=(width, height), dpi=DPI, layout=None if has_margins else "constrained")


def training(history: dict[str, list[float]]) -> Panels:
    """Accuracy and loss over the epochs, on training and test images.

    Parameters
    ----------
    history
        ``accuracy``, ``loss``, ``val_accuracy`` and ``val_loss`` -> a value per epoch.
    """
    epochs = np.arange(1, len(history["accuracy"]) + 1)
    panels = Panels()
    for name, ylabel in (("accuracy", "accuracy"), ("loss", "loss (with L2 penalty)")):
        figure = _new(_PANEL, 2.7)
        ax = _plain_axes(figure)
        seen, unseen = history[name], history[f"val_{name}"]
        ax.plot(epochs, seen, "o-", color=_SOFT, markersize=3, label="training images")
        ax.plot(epochs, unseen, "o-", color=LINE, markersize=3, label="test images")
        ax.set(xlabel="epoch", ylabel=ylabel)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(epochs) == 1:
            ax.set_xticks(epochs)
        if name == "accuracy":
            ax.legend(frameon=False, loc="lower right")
        figure.alt = (
            f"Curves of the {name} over {counted(len(epochs), 'epoch')}. On test images it goes "
            f"from {unseen[0]:.3g} to {unseen[-1]:.3g}, on training images from {seen[0]:.3g} to "
            f"{seen[-1]:.3g}."
        )
        panels.append(figure)
    return panels


def _draw_histogram(ax: Axes, edges: np.ndarray, counts: np.ndarray, n_silent: int) -> None:
    filled = np.flatnonzero(counts)
    bins = slice(filled[0], filled[-1] + 1) if len(filled) else slice(0, len(counts))
    ax.stairs(counts[bins], edges[bins.start : bins.stop + 1], fill=True, color=LINE)
    ax.set(xscale="log", xlabel="response", ylabel="patterns", ylim=(0, None if len(filled) else 1))
    _plain_logarithm(ax)
    ax.set_title(f"{counts.sum():,} with a response,\n{n_silent:,} without", fontsize=10)


def shares_by_map(shares: np.ndarray, ylabel: str) -> Figure:
    """A share for each map, sorted: the map with the largest share first.

    Parameters
    ----------
    shares : array, (maps,)
        In [0, 1]; shown in %.
    """
    figure = _new(_WIDTH, 2.6)
    ax = _plain_axes(figure)
    ordered = 100 * np.sort(shares)[::-1]
    ax.fill_between(np.arange(len(shares)), ordered, color=LINE, alpha=0.6, step="mid")
    ax.set(xlabel="maps, sorted", ylabel=literal(ylabel))
    ax.set(xlim=(0, max(1, len(shares) - 1)), ylim=(0, 100))
    figure.alt = (
        f"An area that falls from left to right: {ylabel} of {counted(len(shares), 'map')}, "
        f"sorted. {_range_of(ordered, '.0f')}"
    )
    return figure


def _range_of(values: np.ndarray, form: str) -> str:
    """The largest, the middle and the least of some values in a sentence."""
    if not len(values):
        return "There are no values."
    largest, middle, least = (format(f(values), form) for f in (np.max, np.median, np.min))
    return f"The largest is {largest}, the median {middle}, the least {least}."


def relative_curves(
    steps: np.ndarray, quartiles: np.ndarray, article: np.ndarray, label: str
) -> Figure:
    """Loss over final loss: our median and quartiles beside the article's printed values.

    Parameters
    ----------
    steps : integers, (r,)
    quartiles : array, (3, r)
        First quartile, median, third quartile.
    article : array, (r,)
    label
        What the legend calls our median.
    """
    figure = _new(_WIDTH, 3.2)
    ax = _plain_axes(figure)
    steps_from_1 = steps + 1  # a logarithmic axis has no 0
    first, median, third = quartiles
    ax.fill_between(
        steps_from_1, first, third, color=_SOFT, alpha=0.4, label="middle half of the maps"
    )
    ax.plot(steps_from_1, median, "o-", color=LINE, label=literal(label))
    ax.plot(steps_from_1, article, "s--", color=ACCENT, label="article IX, map 120")
    ax.set(xscale="log", xlabel="step + 1", ylabel="loss / final loss", ylim=(0, 1.05))
    _plain_logarithm(ax)
    ax.legend(frameon=False, loc="upper left")
    figure.alt = (
        "Two curves that rise from near 0 to 1 over the steps of an ascent: the article's and the "
        f"{label}. They are at most {np.abs(median - article).max():.2f} apart."
    )
    return figure


def selection(
    rows: Sequence[tuple[str, Sequence[tuple[str, Estimate, Sequence[float]]]]],
) -> Figure:
    """What is missed by each way to select a start, with intervals over maps.

    Parameters
    ----------
    rows
        Of each question, from the top: its label, and how a start can be chosen. Of each such
        choice: its name, what it misses (a share) with its interval, and the same number of other
        trainings. All rows have the same choices.
    """
    figure = _new(_WIDTH, 1.5 + 0.85 * len(rows))
    ax = _plain_axes(figure)
    for k, (_, choices) in enumerate(rows):
        for (name, missed, others), colour, lift in zip(
            choices, (LINE, ACCENT, _SOFT), (0.22, 0.0, -0.22), strict=True
        ):
            y = k - lift
            ax.hlines(y, 100 * missed.low, 100 * missed.high, color=colour, linewidth=2)
            label = literal(name) if k == 0 else None
            ax.plot(100 * missed.value, y, "o", color=colour, markersize=6, label=label)
            drawn = 100 * np.asarray(others)
            ax.plot(drawn, np.full(len(drawn), y), "|", color=colour, markersize=9)
    ax.set_yticks(range(len(rows)), [literal(label) for label, _ in rows])
    ax.set(xlabel="ends below the best start of its map by (%)", xlim=(0, None))
    ax.invert_yaxis()
    figure.legend(frameon=False, loc="outside upper left")
    told = (
        f"{' '.join(label.split())}: "
        + listed([f"{name} {100 * missed.value:.1f} %" for name, missed, _ in choices])
        for label, choices in rows
    )
    figure.alt = f"By how much a start ends below the best of its map. {'; '.join(told)}."
    return figure


def trace(losses: np.ndarray, steps: np.ndarray) -> Figure:
    """The loss at every step of an ascent, with dots at the steps whose images are shown above."""
    figure = _new(_WIDTH, 2.6)
    draw_trace(figure.subplots(), losses, steps, "steps of the images above")
    figure.alt = (
        f"A curve: the loss goes from {losses[0]:.3g} at the start to {losses[-1]:.3g} after "
        f"{len(losses) - 1:,} steps."
    )
    return figure


def _draw_classes(ax: Axes, means: np.ndarray, names: Sequence[str]) -> list[str]:
    """A map's mean response to classes, to all or to those that it prefers; returns their names."""
    shown = np.arange(len(means))
    if len(means) > _MOST_NAMES:
        shown = np.argsort(-means, kind="stable")[:_MOST_NAMES]
    labels = [_drawable(names[k], k) for k in shown.tolist()]
    which = "" if len(shown) == len(means) else f"the {len(shown)} preferred of {len(means):,} "
    of_classes = f"{which}class{'es' * bool(which)}"
    places = range(len(shown))
    if max(map(len, labels)) > 3:  # names stand one below the other
        ax.barh(places, means[shown], color=LINE)
        ax.set_yticks(places, map(literal, labels))
        ax.invert_yaxis()
        ax.set(ylabel=of_classes, xlabel="mean response")
    else:
        ax.bar(places, means[shown], color=LINE)
        ax.set_xticks(places, map(literal, labels))
        ax.set(xlabel=of_classes, ylabel="mean response")
    return [str(names[k]) for k in shown.tolist()]


def _drawable(name: str, number: int) -> str:
    """A class's name in short lines; its number where the figures' font lacks a letter of it."""
    font = get_font(findfont("DejaVu Sans"))
    if not all(font.get_char_index(ord(letter)) for letter in name):
        return f"class {number}"
    lines = textwrap.wrap(name, _LONGEST, max_lines=_MOST_LINES, placeholder="\u2026")
    return "\n".join(lines) or f"class {number}"


def reactions(
    edges: np.ndarray,
    counts: np.ndarray,
    n_silent: int,
    class_means: np.ndarray,
    names: Sequence[str],
) -> Panels:
    """How a map responds to patterns (a histogram) and to the classes of a data set.

    Parameters
    ----------
    edges : array, (bins + 1,)
        Of the bins of responses.
    counts : integers, (bins,)
        How many patterns have a response in each bin.
    n_silent
        How many patterns have no response.
    class_means : array, (classes,)
        Mean response to each class; of many classes those with the largest are shown. Empty if
        the data set isn't known.
    names
        Names of the classes.
    """
    # Room for the digits on the left. To let the figure look for it takes as long as to draw it.
    of_patterns = _new(_PANEL, 2.7, has_margins=True)
    left = 0.13 + 0.02 * len(f"{counts.max()}")
    of_patterns.subplots_adjust(left=left, right=0.97, bottom=0.19, top=0.83)
    _draw_histogram(_plain_axes(of_patterns), edges, counts, n_silent)
    filled = np.flatnonzero(counts)
    between = (
        f", between {edges[filled[0]]:.2g} and {edges[filled[-1] + 1]:.2g}" if len(filled) else ""
    )
    of_patterns.alt = (
        f"A histogram of responses to patterns: {counts.sum():,} have one{between}; {n_silent:,} "
        "have none."
    )
    panels = Panels([of_patterns])
    if len(class_means):
        of_classes = _new(_PANEL, 2.7)
        shown = _draw_classes(_plain_axes(of_classes), class_means, names)
        n_lines = sum(
            label.get_text().count("\n") + 1 for label in of_classes.axes[0].get_yticklabels()
        )
        of_classes.set_figheight(max(2.7, 0.7 + 0.17 * n_lines))
        largest = int(np.argmax(class_means))
        of_classes.alt = (
            f"Bars: the mean response to {counted(len(shown), 'class')}. The largest is "
            f"{class_means[largest]:.3g}, for {names[largest]}."
        )
        panels.append(of_classes)
    return panels


def against_null(
    values: np.ndarray,
    null: np.ndarray,
    threshold: float,
    xlabel: str,
    labels: tuple[str, str] = ("of the same map", "of different maps (control)"),
    ylabel: str = "pairs (%)",
) -> Figure:
    """The distribution of values in [0, 1], that of their null, and the null's threshold.

    Parameters
    ----------
    values, null : arrays, (n,) and (m,)
    threshold
        In [0, 1].
    labels
        What the legend calls values and null.
    """
    figure = _new(_WIDTH, 3.1)
    ax = _plain_axes(figure)
    bins = np.linspace(0, 1, 51).tolist()
    for sample, colour, label in ((null, _SOFT, labels[1]), (values, LINE, labels[0])):
        percent_each = np.full(len(sample), 100 / max(1, len(sample)))
        ax.hist(
            *(sample, bins),
            weights=percent_each,
            histtype="stepfilled",
            color=colour,
            alpha=0.75,
            label=literal(label),
        )
    ax.axvline(threshold, color=ACCENT, linestyle="--", label=f"threshold {threshold:.2f}")
    ax.set(xlabel=literal(xlabel), ylabel=literal(ylabel), xlim=(0, 1))
    figure.legend(frameon=False, loc="outside upper left")
    medians = listed(
        [
            f"that {label} has its median at {np.median(sample):.2f}"
            for sample, label in ((values, labels[0]), (null, labels[1]))
            if len(sample)
        ]
    )
    figure.alt = (
        f"Two histograms of the {xlabel}: {medians}. A dashed line marks the threshold at "
        f"{threshold:.2f}."
    )
    return figure


def ranked(panels: dict[str, dict[str, np.ndarray]], ylabel: str, xlabel: str) -> Panels:
    """Values of maps or pairs, each series sorted by itself, the largest first.

    Parameters
    ----------
    panels
        Title of a panel -> label of a series -> its values. Series whose label contains "null" or
        "control" get a broken line.
    """
    finite = {
        title: {label: np.sort(values[np.isfinite(values)])[::-1] for label, values in of.items()}
        for title, of in panels.items()
    }
    ends = [v for of in finite.values() for values in of.values() for v in values[[0, -1]][:2]]
    room = 0.05 * (max(ends) - min(ends) or 1.0) if ends else 0.05
    figures = Panels()
    for title, series in finite.items():
        figure = _new(_PANEL if len(panels) > 1 else _WIDTH, 2.7 + 0.2 * len(series))
        ax = _plain_axes(figure)
        for k, (label, ordered) in enumerate(series.items()):
            drawn = np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), 300)).astype(int))
            percents = 100 * (drawn + 0.5) / max(1, len(ordered))
            is_null = "null" in label or "control" in label
            colour, style = (LINE, ACCENT, _SOFT)[k % 3], ("--", ":")[k % 2] if is_null else "-"
            ax.plot(percents, ordered[drawn], color=colour, linestyle=style, label=literal(label))
        ax.set(xlabel=literal(xlabel), ylabel=literal(ylabel), xlim=(0, 100), title=literal(title))
        ax.title.set_fontsize(11)
        if ends:
            ax.set_ylim(min(ends) - room, max(ends) + room)
        figure.legend(frameon=False, loc="outside upper left")
        told = " ".join(f"{label}: {_range_of(of, '.2f')}" for label, of in series.items())
        figure.alt = f"Falling curves{f' for {title}' if title else ''}: {ylabel}, sorted. {told}"
        figures.append(figure)
    return figures


def kept_order(partners: dict[str, np.ndarray]) -> Panels:
    """The number of each map against the number of its partner in another training.

    Parameters
    ----------
    partners
        Title of a panel -> the partner of each map, -1 where there is none. A panel shows one
        pair of trainings.
    """
    figures = Panels()
    for title, map_partners in partners.items():
        figure = _new(_PANEL, 3.6)
        ax = _plain_axes(figure)
        n_maps = len(map_partners)
        ax.plot([0, n_maps - 1], [0, n_maps - 1], color=_SOFT, linewidth=1)
        matched = np.flatnonzero(map_partners >= 0)
        ax.plot(matched, map_partners[matched], "o", color=LINE, markersize=3)
        ax.set(xlabel="map", ylabel="its partner", title=literal(title))
        ax.set(xlim=(-1, n_maps), ylim=(-1, n_maps), aspect="equal")
        ax.title.set_fontsize(10)
        n_kept = int((map_partners[matched] == matched).sum())
        figure.alt = (
            f"Dots, {' '.join(title.split())}: {counted(len(matched), 'map')} with a partner, "
            f"{n_kept} of them on the diagonal, where a map has kept its number."
        )
        figures.append(figure)
    return figures


def matrix(
    values: np.ndarray, xlabel: str, ylabel: str, label: str, names: Sequence[str] = ()
) -> Figure:
    """A matrix as colours, from 0 to its largest value.

    Parameters
    ----------
    values : array, (rows, columns)
    xlabel, ylabel, label
        Of the columns, the rows, and the colours.
    names
        Of the rows; they stand there if they are few.
    """
    figure = _new(_WIDTH, 3.0)
    ax = figure.subplots()
    colours = matplotlib.colormaps["viridis"].resampled(64)
    # Without interpolation the page gets a pixel for each value, and draws it in any size.
    axes_image = ax.imshow(values, aspect="auto", cmap=colours, vmin=0, interpolation="none")
    ax.set(xlabel=literal(xlabel), ylabel=literal(ylabel))
    if 0 < len(names) <= _MOST_NAMES:
        labels = [_drawable(name, k) for k, name in enumerate(names)]
        ax.set_yticks(range(len(names)), map(literal, labels), fontsize=9)
    bar = figure.colorbar(axes_image, ax=ax, location="top", aspect=40)
    bar.set_label(literal(label))
    figure.alt = (
        f"A grid of coloured cells: {label}, for {values.shape[0]} rows ({ylabel}) and "
        f"{values.shape[1]} columns ({xlabel}); it goes up to {values.max(initial=0):.3g}."
    )
    return figure


def beside(
    left: np.ndarray, right: np.ndarray, gap: int = 2, inputs: Inputs | None = None
) -> np.ndarray:
    """Two images side by side as one picture, a white gap between them.

    Parameters
    ----------
    left, right : arrays, (height, width, channels)
        Of the same height.
    gap
        Width of the gap in pixels.
    inputs
        What the images' network takes, as for `pictures.scaled`: each is scaled by itself.

    Returns
    -------
    array, uint8, (height, width of both + gap, channels)

    Examples
    --------
    >>> one, other = np.array([[[-1.0], [0.0]]]), np.array([[[6.0], [-3.0]]])
    >>> beside(one, other, gap=1).ravel().tolist()
    [0, 128, 255, 255, 64]
    """
    white = np.full((left.shape[0], gap, left.shape[2]), 255, np.uint8)
    drawn = [np.round(255 * scaled(image, inputs)).astype(np.uint8) for image in (left, right)]
    return np.concatenate([drawn[0], white, drawn[1]], axis=1)


def table_html(
    rows: Sequence[Mapping[str, object]], one_line: bool = False, folded: str = ""
) -> str:
    """Rows as an HTML table, its head from the first of them; all cells are plain text.

    Parameters
    ----------
    rows
        Name of a column -> its cell.
    one_line
        Whether no cell may go over several lines.
    folded
        What a reader clicks to open the table, which is closed then.

    Examples
    --------
    >>> table_html([{"map": 7, "found by": "a<b"}])
    '<table><thead><tr><th>map</th><th>found by</th></tr></thead><tbody>\
<tr><td>7</td><td>a&#60;b</td></tr></tbody></table>'
    """

    def line(cells: Sequence[object], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{plain(cell)}</{tag}>' for cell in cells)}</tr>"

    head = line(list(rows[0]) if rows else [], "th")
    body = "".join(line(list(row.values()), "td") for row in rows)
    kind = ' class="oip-lines"' if one_line else ""
    table = f"<table{kind}><thead>{head}</thead><tbody>{body}</tbody></table>"
    return f"<details><summary>{plain(folded)}</summary>{table}</details>" if folded else table


def _framed(picture: str, part: tuple[float, float, float, float], height: int, width: int) -> str:
    """A picture, as HTML, with a frame around a part of it."""
    top, left = max(0.0, part[0]), max(0.0, part[1])
    bottom, right = min(height, part[0] + part[2]), min(width, part[1] + part[3])
    place = (
        f"left:{left / width:.2%};top:{top / height:.2%};"
        f"width:{(right - left) / width:.2%};height:{(bottom - top) / height:.2%}"
    )
    return (
        f'<span style="position:relative;display:block">{picture}<span style="position:absolute;'
        f'box-sizing:border-box;border:2px solid #f5a623;{place}"></span></span>'
    )


def gallery_html(
    images: Sequence[np.ndarray],
    labels: Sequence[str],
    links: Sequence[str] | None = None,
    contrast: bool | Sequence[bool] = False,
    width: int = 84,
    columns: int | None = None,
    scrolls: bool = False,
    inputs: Inputs | None = None,
    parts: Sequence[tuple[float, float, float, float] | None] = (),
) -> str:
    """Images with their labels as HTML that needs no other file and fits any width.

    Parameters
    ----------
    images : arrays (height, width, channels)
        Pictures (uint8, from 0 to 255), or what a network takes.
    labels
        The text below each image; it may have several lines.
    links
        The address that each image leads to, relative to the page.
    contrast
        Whether to enhance the contrast: one bool for all images, or one for each.
    width
        Width of each image on the page, in pixels. Much larger images are made smaller.
    columns
        The largest number of images side by side. By default they fill the width of the page.
    scrolls
        Whether each row has all its columns on a narrow page, too, which then scrolls sideways.
    inputs
        What the network takes, from which images that aren't pictures are drawn back, as by
        `pictures.scaled`.
    parts
        A part of each image that gets a frame, in its pixels: top, left, height and width. It may
        reach over the edge.

    Examples
    --------
    >>> gallery_html([np.eye(3)[..., None]] * 2, ["map 7", "map 8"]).count("<img")
    2
    """
    cells = []
    contrasts = [contrast] * len(images) if isinstance(contrast, bool) else contrast
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        small = shrunk(np.asarray(image)[None], 2 * width)[0]
        uri = data_uri(small, contrasts[i], inputs_of(small, inputs))
        text = "<br>".join(map(plain, label.splitlines()))
        # In its dark mode, the theme darkens pictures without this class.
        picture = (
            f'<img src="{uri}" alt="{plain(label)}" width="{width}" '
            f'class="dark-light" style="image-rendering:pixelated;display:block;width:{width}px;'
            'max-width:none">'
        )
        part = parts[i] if i < len(parts) else None
        if part is not None:
            picture = _framed(picture, part, image.shape[0], image.shape[1])
        cell = (
            f'{picture}<span style="font-size:0.8rem;display:block;line-height:1.25;'
            f'max-width:{max(width, 80)}px;overflow-wrap:break-word">{text}</span>'
        )
        link_style = "text-align:center;text-decoration:none"
        if links is None:
            cells.append(f'<div style="text-align:center">{cell}</div>')
        else:
            cells.append(f'<a href="{plain(links[i])}" style="{link_style}">{cell}</a>')
    tracks = f"repeat(auto-fill,minmax({width + 4}px,1fr))"
    style = f"display:grid;grid-template-columns:{tracks};gap:10px 8px;justify-items:center"
    style += ";margin-bottom:1rem"
    if columns is not None:
        style += f";max-width:{columns * (width + 12)}px"
    gallery = f'<div style="{style}">{"".join(cells)}</div>'
    if scrolls and columns is not None:
        gallery = f'<div style="width:{columns * (width + 12)}px">{gallery}</div>'
        return f'<div style="overflow-x:auto">{gallery}</div>'
    return gallery
