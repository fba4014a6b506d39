"""Figures on a page look as matplotlib draws them, in fewer bytes."""

import io

import matplotlib
import numpy as np
from browsing import needs_browser
from PIL import Image

from oiplib.pictures import scaled
from oiplib.publish import plots

# Letters stay in the font of the page, so that a figure is compared without them.
ALONE = (
    "<style>body{margin:0;background:white}text{display:none}svg{width:480px;height:auto}</style>"
)


def figures():
    """Lines, dots, areas and bars, on a logarithmic axis and on linear ones."""
    figure = plots.Figure(figsize=(3.3, 2.7))
    axes = figure.subplots()
    axes.semilogx(np.geomspace(1e-4, 10, 50), np.random.default_rng(0).random(50), "--")
    axes.scatter([1e-3, 1e-2], [0.5, 0.6], c=["red", "green"])
    axes.fill_between([1e-3, 1e-1], [0.1, 0.2], [0.3, 0.5], alpha=0.3)
    yield figure
    figure = plots.Figure(figsize=(3.3, 2.7))
    axes = figure.subplots()
    axes.imshow(np.arange(16).reshape(4, 4))
    axes.bar(range(10), np.arange(10) - 3)
    axes.annotate("", (2, 3), (0, 1), arrowprops={"arrowstyle": "->"})
    axes.plot([np.nan, np.nan], [1, 2], "o")
    axes.legend([matplotlib.lines.Line2D([], [], marker="o")], ["m"])
    yield figure
    yield plots.matrix(np.random.default_rng(1).random((10, 128)), "map", "class", "mean")


@needs_browser
def test_a_figure_looks_as_matplotlib_draws_it(browser):
    page = browser.new_page(viewport={"width": 480, "height": 400})

    def drawn(svg):
        page.set_content(ALONE + svg)
        return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"), float)

    for figure in figures():
        whole = io.StringIO()
        with matplotlib.rc_context({"svg.fonttype": "none"}):
            figure.savefig(whole, format="svg", transparent=True)
        ours, theirs = figure._repr_html_(), whole.getvalue()
        difference = np.abs(drawn(ours[ours.index("<svg") :]) - drawn(theirs))
        # Edges may be moved by less than a pixel; nothing is missing, and nothing is added.
        assert difference.mean() < 1
        assert (difference > 100).mean() < 0.001
        assert len(ours) < 0.6 * len(theirs)
    page.close()


def test_an_oip_is_plotted_with_its_curve(tiny_study):
    with_frames = next(oip for oip in tiny_study.oips() if len(oip.frames))
    alone = next(oip for oip in tiny_study.oips() if not len(oip.frames))
    for oip, n_pictures in ((with_frames, len(with_frames.frames)), (alone, 1)):
        figure = oip.plot()
        shown = [ax.images[0].get_array() for ax in figure.axes if ax.images]
        assert len(shown) == n_pictures
        np.testing.assert_allclose(shown[-1], scaled(oip.image, oip.inputs)[..., 0], atol=0.01)
        (curve,) = (ax for ax in figure.axes if ax.lines)
        np.testing.assert_array_equal(curve.lines[0].get_ydata(), oip.trace)
        with Image.open(io.BytesIO(figure._repr_png_())) as picture:
            assert min(picture.size) > 100
