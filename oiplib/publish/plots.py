"""Figures: functions from arrays to a matplotlib figure. They compute only the layout."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as _Figure
from matplotlib.font_manager import findfont, get_font
from PIL import Image

from ..analysis.estimates import Estimate
from ..analysis.layout import shrunk
from ..pictures import data_uri, displayable, in_bytes, scaled
from ..values import Inputs
from .words import plain

#: What pictures are made of: whole numbers from 0 to 255.
PIXELS = Inputs(0, 255)

_LINE = "#2f6690"
_ACCENT = "#d1495b"
_SOFT = "#9bb3c4"
_DPI = 110

# So many classes get a bar or a line with their name, which is cut off after so many letters.
_MOST_NAMES = 12
_LONGEST = 16


class Figure(_Figure):
    """A figure that a notebook shows by itself, without one of Jupyter's plotting backends."""

    def _repr_png_(self) -> bytes:
        canvas: Any = FigureCanvasAgg(self)
        png = io.BytesIO()
        canvas.draw()
        # A figure has few colours, so one byte for each pixel is enough.
        drawn = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        drawn.quantize(128).save(png, "png", optimize=True)
        return png.getvalue()


def pictures(pixels: np.ndarray, pixel_range: tuple[float, float]) -> np.ndarray:
    """A data set's images as pictures: uint8 of the same shape, from 0 to 255.

    Examples
    --------
    >>> pictures(np.array([-1.0, 0.2, 1.0]), (-1, 1)).tolist()
    [0, 153, 255]
    """
    return in_bytes(pixels, Inputs(*pixel_range))


def _inputs_of(image: np.ndarray, inputs: Inputs | None) -> Inputs | None:
    """From what an image is drawn back: a picture from itself, others from a network's inputs."""
    return PIXELS if image.dtype == np.uint8 else inputs


def _drawn(text: str) -> str:
    """A text as it stands: matplotlib would read what is between two dollar signs as a formula."""
    return text.replace("$", r"\$")


def draw_image(
    ax: Axes,
    image: np.ndarray,
    title: str = "",
    contrast: bool = False,
    inputs: Inputs | None = None,
) -> None:
    """Draw one image without axes, as computed or with enhanced contrast, in its colours."""
    pixels = displayable(image, contrast, _inputs_of(image, inputs))
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_title(_drawn(title), fontsize=7.5, pad=3)
    ax.set_axis_off()


def growth(
    frames: np.ndarray,
    steps: np.ndarray,
    trace: np.ndarray,
    title: str = "",
    caption: str = "",
    inputs: Inputs | None = None,
) -> Figure:
    """An OIP growing from its start: frames at log-spaced steps, and the loss at every step.

    Parameters
    ----------
    frames : array, (r, height, width, channels)
        Pictures (uint8), as `Oip.growth` gives them, or what a network takes.
    steps : integers, (r,)
    trace : array, (n,)
        Loss at steps 0 to n - 1.
    title, caption
        Above and below the figure; the caption may have several lines.
    inputs
        What the network takes, unless the frames are pictures (uint8) already.
    """
    columns = min(4, len(frames))
    rows = -(-len(frames) // columns)
    figure = Figure(figsize=(8.2, 1.45 * rows + 0.3), dpi=_DPI, layout="constrained")
    halves = figure.subfigures(1, 2, squeeze=False, width_ratios=(0.58, 0.42))
    left, right = halves.ravel()
    cells = left.subplots(rows, columns, squeeze=False).ravel()
    for ax in cells:
        ax.set_axis_off()
    for ax, frame, step in zip(cells, frames, steps, strict=False):
        draw_image(ax, frame, f"step {step}\nloss {trace[step]:.3g}", inputs=inputs)
    _draw_trace(right.subplots(), trace, steps, "frames on the left")
    if title:
        figure.suptitle(_drawn(title), fontsize=11)
    if caption:
        n_lines = len(caption.splitlines())
        figure.set_figheight(figure.get_figheight() + 0.16 * n_lines)
        figure.supxlabel(_drawn(caption), x=0.01, ha="left", fontsize=7.5, color="dimgray")
    return figure


def training(history: dict[str, list[float]]) -> Figure:
    """Accuracy and loss over the epochs, on training and test images.

    Parameters
    ----------
    history
        ``accuracy``, ``loss``, ``val_accuracy`` and ``val_loss`` -> a value per epoch.
    """
    figure = Figure(figsize=(8.2, 2.9), dpi=_DPI, layout="constrained")
    accuracy, loss = figure.subplots(1, 2)
    epochs = np.arange(1, len(history["accuracy"]) + 1)
    for ax, name in ((accuracy, "accuracy"), (loss, "loss")):
        ax.plot(epochs, history[name], "o-", color=_SOFT, markersize=3, label="training images")
        ax.plot(
            epochs, history[f"val_{name}"], "o-", color=_LINE, markersize=3, label="test images"
        )
        ax.set(xlabel="epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
        if len(epochs) == 1:
            ax.set_xticks(epochs)
        ax.spines[["top", "right"]].set_visible(False)
    accuracy.set(ylabel="accuracy")
    loss.set(ylabel="loss (cross-entropy + L2 penalty)")
    accuracy.legend(frameon=False, loc="lower right")
    return figure


def _draw_histogram(ax: Axes, edges: np.ndarray, counts: np.ndarray, n_silent: int) -> None:
    filled = np.flatnonzero(counts)
    bins = slice(filled[0], filled[-1] + 1) if len(filled) else slice(0, len(counts))
    ax.stairs(counts[bins], edges[bins.start : bins.stop + 1], fill=True, color=_LINE)
    ax.set(xscale="log", xlabel="response", ylabel="patterns", ylim=(0, None if len(filled) else 1))
    ax.set_title(f"{counts.sum():,} patterns with a response, {n_silent:,} without", fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)


def _draw_trace(ax: Axes, losses: np.ndarray, steps: np.ndarray, label: str) -> None:
    ax.plot(losses, color=_LINE)
    ax.plot(steps, losses[steps], "o", color=_ACCENT, markersize=4, label=label)
    # A loss without a ReLU may be below 0.
    ax.set(xlabel="step", ylabel="loss (mean activation)", ylim=(min(0, losses.min()), None))
    ax.legend(frameon=False, loc="lower right")
    ax.spines[["top", "right"]].set_visible(False)


def shares_by_map(shares: np.ndarray, ylabel: str) -> Figure:
    """A share for each map, sorted: the map with the largest share first.

    Parameters
    ----------
    shares : array, (maps,)
        In [0, 1]; shown in %.
    """
    figure = Figure(figsize=(7, 2.8), dpi=_DPI, layout="constrained")
    ax = figure.subplots()
    ax.fill_between(np.arange(len(shares)), 100 * np.sort(shares)[::-1], color=_SOFT, step="mid")
    ax.set(xlabel="maps, sorted", ylabel=_drawn(ylabel))
    ax.set(xlim=(0, max(1, len(shares) - 1)), ylim=(0, 100))
    ax.spines[["top", "right"]].set_visible(False)
    return figure


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
    figure = Figure(figsize=(7, 3.2), dpi=_DPI, layout="constrained")
    ax = figure.subplots()
    steps_from_1 = steps + 1  # a logarithmic axis has no 0
    first, median, third = quartiles
    ax.fill_between(
        steps_from_1, first, third, color=_SOFT, alpha=0.5, label="middle half of the maps"
    )
    ax.plot(steps_from_1, median, "o-", color=_LINE, label=_drawn(label))
    ax.plot(steps_from_1, article, "s--", color=_ACCENT, label="article IX, map 120")
    ax.set(xscale="log", xlabel="step + 1", ylabel="loss / final loss", ylim=(0, 1.05))
    ax.legend(frameon=False, loc="upper left")
    ax.spines[["top", "right"]].set_visible(False)
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
    figure = Figure(figsize=(7.4, 0.9 + 0.85 * len(rows)), dpi=_DPI, layout="constrained")
    ax = figure.subplots()
    for k, (_, choices) in enumerate(rows):
        for (name, missed, others), colour, lift in zip(
            choices, (_LINE, _ACCENT, _SOFT), (0.22, 0.0, -0.22), strict=True
        ):
            y = k - lift
            ax.hlines(y, 100 * missed.low, 100 * missed.high, color=colour, linewidth=2)
            label = _drawn(name) if k == 0 else None
            ax.plot(100 * missed.value, y, "o", color=colour, markersize=6, label=label)
            drawn = 100 * np.asarray(others)
            ax.plot(drawn, np.full(len(drawn), y), "|", color=colour, markersize=9)
    ax.set_yticks(range(len(rows)), [_drawn(label) for label, _ in rows])
    ax.set(xlabel="ends below the best start of its map by (%)", xlim=(0, None))
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside upper center", ncols=3)
    return figure


def trace(losses: np.ndarray, steps: np.ndarray) -> Figure:
    """The loss at every step of an ascent, with dots at the steps whose images are shown above."""
    figure = Figure(figsize=(6.4, 2.6), dpi=_DPI, layout="constrained")
    _draw_trace(figure.subplots(), losses, steps, "steps of the images above")
    return figure


def _draw_classes(ax: Axes, means: np.ndarray, names: Sequence[str]) -> None:
    """A map's mean response to the classes of a data set: to all, or to those that it prefers."""
    shown = np.arange(len(means))
    if len(means) > _MOST_NAMES:
        shown = np.argsort(-means, kind="stable")[:_MOST_NAMES]
    ax.bar(range(len(shown)), means[shown], color=_LINE)
    labels = [_drawable(names[k], k) for k in shown.tolist()]
    ax.set_xticks(range(len(shown)), map(_drawn, labels))
    if max(map(len, labels)) > 3:
        for text in ax.get_xticklabels():
            text.set(rotation=35, ha="right", rotation_mode="anchor", fontsize=8)
    which = "" if len(shown) == len(means) else f"the {len(shown)} preferred of {len(means):,} "
    ax.set(xlabel=f"{which}class{'es' * bool(which)}", ylabel="mean response")
    ax.spines[["top", "right"]].set_visible(False)


def _drawable(name: str, number: int) -> str:
    """A class's name, shortened; its number where the figures' font lacks a letter of it."""
    font = get_font(findfont("DejaVu Sans"))
    if not all(font.get_char_index(ord(letter)) for letter in name):
        return f"class {number}"
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "\u2026"


def reactions(
    edges: np.ndarray,
    counts: np.ndarray,
    n_silent: int,
    class_means: np.ndarray,
    names: Sequence[str],
) -> Figure:
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
    n_panels = 2 if len(class_means) else 1
    figure = Figure(figsize=(4.3 * n_panels, 2.7), dpi=_DPI)
    figure.subplots_adjust(left=0.2 / n_panels, right=0.98, bottom=0.18, top=0.9, wspace=0.25)
    axes = np.atleast_1d(figure.subplots(1, n_panels))
    _draw_histogram(axes[0], edges, counts, n_silent)
    if len(class_means):
        _draw_classes(axes[1], class_means, names)
        if any(text.get_rotation() for text in axes[1].get_xticklabels()):
            figure.subplots_adjust(bottom=0.36)
    return figure


def against_null(
    values: np.ndarray,
    null: np.ndarray,
    threshold: float,
    xlabel: str,
    labels: tuple[str, str] = ("of the same map", "of different maps (null)"),
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
    figure = Figure(figsize=(7, 2.8), dpi=_DPI, layout="constrained")
    ax = figure.subplots()
    bins = np.linspace(0, 1, 51).tolist()
    for sample, colour, label in (
        (null, _SOFT, labels[1]),
        (values, _LINE, labels[0]),
    ):
        percent_each = np.full(len(sample), 100 / max(1, len(sample)))
        ax.hist(sample, bins, weights=percent_each, color=colour, alpha=0.75, label=_drawn(label))
    ax.axvline(threshold, color=_ACCENT, linestyle="--", label=f"threshold {threshold:.2f}")
    ax.set(xlabel=_drawn(xlabel), ylabel=_drawn(ylabel), xlim=(0, 1))
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def ranked(panels: dict[str, dict[str, np.ndarray]], ylabel: str, xlabel: str) -> Figure:
    """Values of maps or pairs, each series sorted by itself, the largest first.

    Parameters
    ----------
    panels
        Title of a panel -> label of a series -> its values. Series whose label contains "null"
        get a broken line.
    """
    figure = Figure(figsize=(max(7.0, 2.9 * len(panels)), 3.1), dpi=_DPI, layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    colours = (_LINE, _ACCENT, "#6b7f8c")
    for ax, (title, series) in zip(axes, panels.items(), strict=True):
        for k, (label, values) in enumerate(series.items()):
            ordered = np.sort(values[np.isfinite(values)])[::-1]
            percents = 100 * (np.arange(len(ordered)) + 0.5) / max(1, len(ordered))
            style = ("--", ":")[k % 2] if "null" in label else "-"
            ax.plot(percents, ordered, color=colours[k % 3], linestyle=style, label=_drawn(label))
        ax.set(xlabel=_drawn(xlabel), xlim=(0, 100), title=_drawn(title))
        ax.title.set_fontsize(10)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set(ylabel=_drawn(ylabel))
    axes[-1].legend(frameon=False, fontsize=8)
    return figure


def kept_order(partners: dict[str, np.ndarray]) -> Figure:
    """The number of each map against the number of its partner in another training.

    Parameters
    ----------
    partners
        Title of a panel -> the partner of each map, -1 where there is none. A panel shows one
        pair of trainings.
    """
    figure = Figure(figsize=(2.9 * len(partners), 3.0), dpi=_DPI, layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(partners), sharey=True))
    for ax, (title, map_partners) in zip(axes, partners.items(), strict=True):
        n_maps = len(map_partners)
        ax.plot([0, n_maps - 1], [0, n_maps - 1], color=_SOFT, linewidth=1)
        matched_maps = np.flatnonzero(map_partners >= 0)
        ax.plot(matched_maps, map_partners[matched_maps], "o", color=_LINE, markersize=3)
        ax.set(xlabel="map", xlim=(-1, n_maps), ylim=(-1, n_maps), aspect="equal")
        ax.set(title=_drawn(title))
        ax.title.set_fontsize(9)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set(ylabel="its partner")
    return figure


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
    figure = Figure(figsize=(8.2, 2.4), dpi=_DPI, layout="constrained")
    ax = figure.subplots()
    axes_image = ax.imshow(values, aspect="auto", cmap="viridis", vmin=0, interpolation="nearest")
    ax.set(xlabel=_drawn(xlabel), ylabel=_drawn(ylabel))
    if 0 < len(names) <= _MOST_NAMES:
        labels = [_drawable(name, k) for k, name in enumerate(names)]
        ax.set_yticks(range(len(names)), map(_drawn, labels), fontsize=8)
    figure.colorbar(axes_image, ax=ax, label=_drawn(label))
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


def table_html(rows: Sequence[Mapping[str, object]], one_line: bool = False) -> str:
    """Rows as an HTML table, its head from the first of them; all cells are plain text.

    Parameters
    ----------
    rows
        Name of a column -> its cell.
    one_line
        Whether no cell may go over several lines.

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
    return f"<table{kind}><thead>{head}</thead><tbody>{body}</tbody></table>"


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
        uri = data_uri(small, contrasts[i], _inputs_of(small, inputs))
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
