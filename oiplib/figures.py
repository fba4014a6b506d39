"""How an OIP grew: its pictures on the way and its loss curve, as one picture to save."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .pictures import displayable, from_bytes, on_one_scale
from .values import Inputs

#: What pictures are made of: whole numbers from 0 to 255.
PIXELS = Inputs(0, 255)

#: Each is at least three times as light or as dark as a white page and as a nearly black one.
LINE, ACCENT = "#3d85c6", "#d1495b"
DPI = 110


class Picture(Figure):
    """A figure that a notebook shows by itself, without one of Jupyter's plotting backends."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def growing(frames: np.ndarray, inputs: Inputs) -> np.ndarray:
    """The frames of an ascent as pictures that have one scale, that of the last one.

    So the grey of the ground is the same in all of them.

    Parameters
    ----------
    frames : array, (r, height, width, channels)
        As they are stored (uint8), or what the network takes.
    inputs
        What the network takes.

    Returns
    -------
    array, uint8, same shape

    Examples
    --------
    >>> start = np.array([-1.0, 1.0, -1.0, 1.0]).reshape(1, 2, 2, 1)
    >>> growing(np.concatenate([start, 2 * start]), Inputs())[0].ravel().tolist()
    [64, 191, 64, 191]
    """
    values = from_bytes(frames, inputs) if frames.dtype == np.uint8 else frames
    return on_one_scale(values, values[-1], inputs)


def inputs_of(image: np.ndarray, inputs: Inputs | None) -> Inputs | None:
    """From what an image is drawn back: a picture from itself, others from a network's inputs."""
    return PIXELS if image.dtype == np.uint8 else inputs


def literal(text: str) -> str:
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
    pixels = displayable(image, contrast, inputs_of(image, inputs))
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_title(literal(title), fontsize=7.5, pad=3)
    ax.set_axis_off()


def growth(
    frames: np.ndarray,
    steps: Sequence[int] | np.ndarray,
    trace: np.ndarray,
    title: str = "",
    caption: str = "",
    inputs: Inputs | None = None,
) -> Picture:
    """An OIP growing from its start: frames at log-spaced steps, and the loss at every step.

    Parameters
    ----------
    frames : array, (r, height, width, channels)
        Pictures (uint8), as `growing` gives them, or what a network takes.
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
    figure = Picture(figsize=(8.2, 1.45 * rows + 0.3), dpi=DPI, layout="constrained")
    halves = figure.subfigures(1, 2, squeeze=False, width_ratios=(0.58, 0.42))
    left, right = halves.ravel()
    cells = left.subplots(rows, columns, squeeze=False).ravel()
    for ax in cells:
        ax.set_axis_off()
    for ax, frame, step in zip(cells, frames, steps, strict=False):
        draw_image(ax, frame, f"step {step}\nloss {trace[step]:.3g}", inputs=inputs)
    draw_trace(right.subplots(), trace, steps, "frames on the left")
    if title:
        figure.suptitle(literal(title), fontsize=11)
    if caption:
        n_lines = len(caption.splitlines())
        figure.set_figheight(figure.get_figheight() + 0.16 * n_lines)
        figure.supxlabel(literal(caption), x=0.01, ha="left", fontsize=7.5, color="dimgray")
    return figure


def draw_trace(ax: Axes, losses: np.ndarray, steps: Sequence[int] | np.ndarray, label: str) -> None:
    """Draw the loss at each step of an ascent, with dots at some of the steps."""
    ax.plot(losses, color=LINE)
    ax.plot(steps, losses[steps], "o", color=ACCENT, markersize=4, label=label)
    # A loss without a ReLU may be below 0.
    ax.set(xlabel="step", ylabel="loss (mean activation)", ylim=(min(0, losses.min()), None))
    ax.legend(frameon=False, loc="lower right")
    ax.spines[["top", "right"]].set_visible(False)
