"""Notebooks and site: real papermill, real Jupyter Book."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import numpy as np
import papermill
import pytest
from bs4 import BeautifulSoup
from conftest import SHOWN
from markdown_it import MarkdownIt
from PIL import Image

from oiplib import CnnSpec, InputError, OipError, Study
from oiplib.engine.tf import keras
from oiplib.publish import book, notebooks
from oiplib.publish.pages import write_explore
from oiplib.study.chapters import CHAPTERS, NOTEBOOKS, prepare


def broken_links(site: Path) -> list[str]:
    """Links and pictures of all pages that lead nowhere, or out of the folder."""
    pages = {page: BeautifulSoup(page.read_text(), "html.parser") for page in site.rglob("*.html")}
    ids = {page: {tag["id"] for tag in soup.find_all(id=True)} for page, soup in pages.items()}
    broken = []
    for page, soup in pages.items():
        for tag in soup.find_all(["a", "img", "script", "link", "source"]):
            target = tag.get("href") or tag.get("src")
            if target is None or target == "#" or target.startswith(("data:", "mailto:")):
                continue
            url = urlsplit(target)
            if url.scheme or url.netloc:
                if tag.name != "a":
                    broken.append(f"{page.name}: {target} is loaded from elsewhere")
                continue
            path = (page.parent / unquote(url.path)).resolve() if url.path else page
            if not path.is_file() or not path.is_relative_to(site.resolve()):
                broken.append(f"{page.name}: {target}")
            elif path.name == "explore.html":
                continue  # its addresses name what is chosen
            elif url.fragment and path in ids and url.fragment not in ids[path]:
                broken.append(f"{page.name}: {target} names no place")
    return broken


# Begins with what the other one has to compute as well.
FOLLOWING = {"08-two-trainings": "beside"}


def quick_or_slow(names):
    """The notebook that needs most of all is in the quick suite, all others in the slow one."""
    return [
        name if name == "04-precursor" else pytest.param(name, marks=pytest.mark.slow)
        for name in names
    ]


def outputs_of(executed: Path) -> list[dict]:
    """What a notebook shows, all on purpose: no warnings, no logs."""
    cells = nbformat.read(executed, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert [output.text for output in outputs if output.output_type == "stream"] == []
    assert {output.output_type for output in outputs} <= {"display_data", "execute_result"}
    return outputs


@pytest.mark.parametrize("page", [*(c.name for c in CHAPTERS), *map(notebooks.map_page, SHOWN)])
def test_each_notebook_shows_something(executed, page):
    assert len(outputs_of(executed / f"{page}.ipynb")) >= 3


@pytest.mark.parametrize("name", quick_or_slow(n for n in NOTEBOOKS if n not in FOLLOWING.values()))
def test_a_notebook_runs_alone_on_an_empty_database(name, tiny_spec, tmp_path, monkeypatch):
    monkeypatch.setenv("OIP_DB", str(tmp_path / "empty.db"))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    parameters = {"spec": tiny_spec.to_json(), "maps": "0-3"}
    if name in ("03-oip", "05-map"):
        parameters["map"] = 3
    for template in filter(None, (name, FOLLOWING.get(name))):
        papermill.execute_notebook(
            notebooks.templates("notebooks") / f"{template}.ipynb",
            tmp_path / "out.ipynb",
            parameters=parameters,
            kernel_name="python3",
            progress_bar=False,
        )
        assert len(outputs_of(tmp_path / "out.ipynb")) >= 3


def test_templates_are_kept_without_outputs():
    for name in NOTEBOOKS:
        notebook = nbformat.read(notebooks.templates("notebooks") / f"{name}.ipynb", as_version=4)
        assert not any(cell.get("outputs") for cell in notebook.cells)
        nbformat.validate(notebook)


def test_the_site_is_whole(built):
    names = {page.relative_to(built).as_posix() for page in built.rglob("*.html")}
    wanted = {"index.html", *(f"{chapter.name}.html" for chapter in CHAPTERS)}
    assert wanted | {f"maps/map-{m:03d}.html" for m in SHOWN} <= names
    assert broken_links(built) == []


def test_pages_hold_no_path_of_this_machine(built):
    folder = str(built.parents[1])  # of all databases of these tests, too
    for page in [*built.rglob("*.html"), *built.rglob("*.ipynb")]:
        text = page.read_text()
        assert folder not in text, page
        assert os.path.expanduser("~") + "/" not in text, page


# Studies unlike the articles'


CLASSES = ("a<b & c/d", "*x* [y](z) `q` $m$ {{ noun }}")


@pytest.fixture(scope="module")
def garments(once):
    """A user's colour network on images of two classes, with little of everything."""

    def make(folder):
        folder.mkdir()
        rng = np.random.default_rng(0)
        labels = np.arange(80) % 2
        hue = np.array([[220, 60, 40], [40, 90, 210]])[labels]
        pixels = np.clip(hue[:, None, None] + rng.normal(0, 40, (80, 16, 16, 3)), 0, 255)
        x = pixels.astype(np.uint8)
        parts = {"x_train": x[:60], "y_train": labels[:60], "x_test": x[60:], "y_test": labels[60:]}
        np.savez(folder / "dyed.npz", **parts, class_names=np.array(CLASSES), noun="garment")
        image = keras.Input((16, 16, 3))
        convolution = keras.layers.Conv2D(4, 3, activation="relu", name="seen")
        inner = keras.Sequential([convolution], name="inner")
        inner.build((None, 16, 16, 3))
        y = keras.layers.GlobalAveragePooling2D()(inner(image))
        model = keras.Model(image, keras.layers.Dense(2, name="classes")(y), name="mine")
        keras.utils.set_random_seed(3)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss)
        model.fit(x / 255.0, labels, epochs=2, verbose=0)
        model.save(folder / "mine.keras")

    return once("garments", make)


# Pages made from docstrings and help texts, where digits are those of numbers.
OF_OUR_CODE = (*book.FLOORS, "commands")


def study_of(folder, db, spec, **data):
    small = spec.replace(cnn=CnnSpec(), layer="inner/seen")
    return Study(db, small, model=folder / "mine.keras", inputs="0..1", **data)


@pytest.fixture(scope="module")
def dyed(garments, tiny_spec, tmp_path_factory):
    """The study with its data set, and some of its notebooks, executed."""
    folder = tmp_path_factory.mktemp("dyed")
    data = str(garments / "dyed.npz")
    study = study_of(garments, folder / "oip.db", tiny_spec, dataset=data)
    names = ["01-network", "activations", "classes", "05-map"]
    prepare(study, names, [0, 3])
    notebooks.run(study, folder / "out", names, [0, 3])
    return study, folder / "out"


def said(executed: Path) -> tuple[str, BeautifulSoup]:
    """The text of a notebook's Markdown and outputs as it is read, and its HTML outputs."""
    cells = nbformat.read(executed, as_version=4).cells
    markdown = [cell.source for cell in cells if cell.cell_type == "markdown"]
    outputs = outputs_of(executed)
    markdown += [o.data["text/markdown"] for o in outputs if "text/markdown" in o.data]
    rendered = "".join(MarkdownIt("commonmark").render(text) for text in markdown)
    soup = BeautifulSoup("".join(o.data.get("text/html", "") for o in outputs), "html.parser")
    text = BeautifulSoup(rendered, "html.parser").get_text() + soup.get_text()
    return text, soup


def test_names_of_classes_are_shown_as_they_are(dyed):
    _, out = dyed
    text, soup = said(out / "activations.ipynb")
    assert all(f"Garment of class {name}" in text for name in CLASSES)
    assert soup.find_all(["b", "script", "em"]) == []
    alts = {image["alt"] for image in soup.find_all("img")}
    assert {f"test image of class {name}" for name in CLASSES} <= alts


def test_pages_use_the_studys_words_and_say_what_is_so(dyed):
    _, out = dyed
    text = "".join(said(path)[0] for path in out.rglob("*.ipynb"))
    assert "Do OIPs look like the garments that excite a map?" in text
    assert "Do maps have a favourite garment?" in text
    assert "for colour images of 16 x 16 pixels" in text
    assert "images whose pixels go from 0 to 1" in text
    for word in ("digit", "MNIST", "Conv2D_3", "28 x 28"):
        assert word not in text


def pictures_of(soup: BeautifulSoup) -> list[np.ndarray]:
    sources = [image["src"].split(",")[1] for image in soup.find_all("img")]
    return [np.asarray(Image.open(BytesIO(base64.b64decode(source)))) for source in sources]


def is_coloured(picture: np.ndarray) -> bool:
    return picture.ndim == 3 and (np.ptp(picture.astype(int), axis=2) > 20).any()


def test_colour_stays_colour(dyed, tmp_path):
    study, out = dyed
    on_page = pictures_of(said(out / "maps" / "map-000.ipynb")[1])
    best = study.oips(0).best()
    # Drawn back from what the network takes, not stretched: the last of its frames.
    assert np.abs(on_page[0][:, -16:] - 255.0 * best.image).max() < 0.51
    assert all(map(is_coloured, pictures_of(said(out / "activations.ipynb")[1])[:1]))
    explored = written_to_explore(study, tmp_path)
    ids, sheets = explored["oips"]["id"], explored["sheets"]
    assert sorted(ids) == study.store.oip_ids()
    places = [(sheet, place) for sheet, (n, *_) in enumerate(sheets) for place in range(n)]
    assert len(places) == len(ids)
    for id, (sheet, place) in zip(ids, places, strict=True):
        pixels = np.asarray(Image.open(tmp_path / f"explore-{sheet}.png"))
        top, left = (16 * number for number in divmod(place, explored["across"]))
        shown = pixels[top : top + 16, left : left + 16]
        assert np.abs(shown - 255.0 * study.store.oip(id).image).max() < 0.51


def written_to_explore(study, folder):
    """The data of the page for exploring."""
    write_explore(study, [0, 3], folder)
    text = (folder / "explore-data.js").read_text()
    return json.loads(text.removeprefix("window.OIPS = ")[:-2])


def test_other_objectives_are_explored_too(dyed, tmp_path):
    study, _ = dyed
    study.derive_from_fluctuations("classes:0 - classes:1", prior="smooth")
    oips = written_to_explore(study, tmp_path)["oips"]
    others = [place for place, map in enumerate(oips["map"]) if map is None]
    assert oips["objective"] == {str(place): "classes:0 - classes:1" for place in others}
    assert {oips["texts"]["prior"][oips["prior"][place]] for place in others} == {"smooth(1)"}
    assert len(others) < len(oips["map"])


@pytest.mark.slow
@pytest.mark.parametrize("joined", [True, False])
def test_a_users_network_has_a_whole_site(garments, tiny_spec, tmp_path, joined):
    data = {"dataset": str(garments / "dyed.npz")} if joined else {}
    study = study_of(garments, tmp_path / "oip.db", tiny_spec, **data)
    book.build(study, tmp_path / "site", maps=[0, 3])
    assert broken_links(tmp_path / "site") == []
    pages = [page for page in (tmp_path / "site").rglob("*.html") if page.stem not in OF_OUR_CODE]
    soups = [BeautifulSoup(page.read_text(), "html.parser") for page in pages]
    alts = [image["alt"] for soup in soups for image in soup.find_all("img")]
    text = "".join([soup.get_text() for soup in soups] + alts).lower()
    assert "digit" not in text
    assert ("garment" in text) == joined


def test_what_is_up_to_date_is_left_alone(built, finished):
    stamps = {path: path.stat().st_mtime_ns for path in built.parent.rglob("*.*")}
    assert book.build(finished, built, maps=SHOWN) == (0, False)
    assert stamps == {path: path.stat().st_mtime_ns for path in built.parent.rglob("*.*")}


def test_a_folder_with_other_files_is_not_touched(tiny_study, tmp_path):
    (tmp_path / "thesis.tex").write_text("my only copy")
    with pytest.raises(InputError, match="holds other files"):
        book.build(tiny_study, tmp_path, maps=[0])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_failing_notebook_is_named_and_the_others_finish(finished, tmp_path, templates):
    notebook = nbformat.read(templates / "05-map.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("assert map != 3, 'three is wrong'"))
    nbformat.write(notebook, templates / "05-map.ipynb")
    out = tmp_path / "out"
    with pytest.raises(OipError, match=r"1 of 4 .*map-003 in cell \d+: AssertionError: three"):
        notebooks.run(finished, out, ["01-network", "05-map"], SHOWN)
    done = sorted(path.name for path in out.rglob("[!.]*") if path.suffix != ".log")
    assert done == ["01-network.ipynb", "map-000.ipynb", "map-007.ipynb", "maps"]


def test_forked_and_stock_kernels_give_the_same_bytes(executed, finished, tmp_path):
    """The site's were forked."""
    assert notebooks.run(finished, tmp_path, ["03-oip"], SHOWN, stock=True) == 1
    forked, stock = (folder / "03-oip.ipynb" for folder in (executed, tmp_path))
    assert forked.read_bytes() == stock.read_bytes()


def test_kernels_share_nothing(finished, tmp_path, templates):
    spoil = (
        "import os, oiplib.publish.plots, numpy as np\n"
        "assert not hasattr(oiplib.publish.plots, 'spoilt') and 'SPOILT' not in os.environ\n"
        "assert np.random.get_state()[1][0] != 77\n"
        "oiplib.publish.plots.spoilt = os.environ['SPOILT'] = 'yes'; np.random.seed(77)"
    )
    notebook = nbformat.read(templates / "05-map.ipynb", as_version=4)
    notebook.cells = [notebook.cells[1], nbformat.v4.new_code_cell(spoil)]
    nbformat.write(notebook, templates / "05-map.ipynb")
    assert notebooks.run(finished, tmp_path / "out", ["05-map"], SHOWN, workers=1) == 3


def test_a_killed_run_goes_on_with_what_is_missing(executed, finished, tmp_path):
    command = [Path(sys.executable).with_name("oip"), "run", "05-map", "--maps", "0,3,7"]
    command += ["--db", finished.store.name, "--out", tmp_path]
    process = subprocess.Popen(command, start_new_session=True)
    maps = tmp_path / "maps"
    deadline = time.monotonic() + 120
    while not list(maps.glob("map-???.ipynb")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in maps.glob("map-???.ipynb")}
    assert 1 <= len(kept) < 3
    assert notebooks.run(finished, tmp_path, ["05-map"], SHOWN) == 3 - len(kept)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    names = sorted(path.name for path in maps.iterdir())
    assert names == [f"map-{map:03d}.ipynb" for map in SHOWN]
    for name in names:  # the same as in a run that was not killed
        assert (maps / name).read_bytes() == (executed / "maps" / name).read_bytes()
