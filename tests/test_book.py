"""Notebooks and site: real papermill, real Jupyter Book."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import papermill
import pytest
from bs4 import BeautifulSoup

from oiplib import InputError, OipError, book, notebooks


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
            elif url.fragment and path in ids and url.fragment not in ids[path]:
                broken.append(f"{page.name}: {target} names no place")
    return broken


# Begins with what the other one has to compute as well.
FOLLOWING = {"08-two-trainings": "beside"}


@pytest.mark.parametrize("name", [n for n in notebooks.NOTEBOOKS if n != "beside"])
def test_each_notebook_runs_alone_on_an_empty_database(name, tiny_spec, tmp_path, monkeypatch):
    monkeypatch.setenv("OIP_DB", str(tmp_path / "empty.db"))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    parameters = {"spec": tiny_spec.to_json(), "maps": "0-3"}
    if name in ("03-oip", "05-map"):
        parameters["map"] = 3
    for each in (name, FOLLOWING.get(name)):
        if each is not None:
            assert_it_shows_something(each, parameters, tmp_path / "out.ipynb")


def assert_it_shows_something(name, parameters, target):
    papermill.execute_notebook(
        notebooks.templates("notebooks") / f"{name}.ipynb",
        target,
        parameters=parameters,
        kernel_name="python3",
        progress_bar=False,
    )
    cells = nbformat.read(target, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert len(outputs) >= 3
    # No warnings, no logs: all that a notebook shows, it shows on purpose.
    said = [output.text for output in outputs if output.output_type == "stream"]
    assert said == []
    assert {output.output_type for output in outputs} <= {"display_data", "execute_result"}


def test_templates_are_kept_without_outputs():
    for name in notebooks.NOTEBOOKS:
        notebook = nbformat.read(notebooks.templates("notebooks") / f"{name}.ipynb", as_version=4)
        assert not any(cell.get("outputs") for cell in notebook.cells)
        nbformat.validate(notebook)


def test_the_site_is_whole(built):
    names = {page.relative_to(built).as_posix() for page in built.rglob("*.html")}
    wanted = {"index.html", *(f"{c}.html" for c in notebooks.CHAPTERS)}
    assert wanted | {f"maps/map-{m:03d}.html" for m in (0, 3, 7)} <= names
    assert broken_links(built) == []


def test_thumbnails_lead_to_the_pages_of_the_maps(built, tiny_study):
    soup = BeautifulSoup((built / "06-gallery.html").read_text(), "html.parser")
    links = {a["href"] for a in soup.article.find_all("a") if a.find("img")}
    found = [m for maps in tiny_study.summary().found.values() for m in maps]
    assert links == {f"maps/map-{m:03d}.html" for m in found if m in (0, 3, 7)}


def test_pages_hold_no_path_of_this_machine(built, shown):
    folder = str(Path(shown.store.name).parent)
    for page in [*built.rglob("*.html"), *built.rglob("*.ipynb")]:
        text = page.read_text()
        assert folder not in text, page
        assert os.path.expanduser("~") + "/" not in text, page


def test_what_is_up_to_date_is_left_alone(built, shown):
    stamps = {path: path.stat().st_mtime_ns for path in built.parent.rglob("*.*")}
    assert book.build(shown, built, maps=[0, 3, 7]) == (0, False)
    assert stamps == {path: path.stat().st_mtime_ns for path in built.parent.rglob("*.*")}


def test_a_folder_with_other_files_is_not_touched(tiny_study, tmp_path):
    (tmp_path / "thesis.tex").write_text("my only copy")
    with pytest.raises(InputError, match="holds other files"):
        book.build(tiny_study, tmp_path, maps=[0])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_failing_notebook_is_named_and_the_others_finish(shown, tmp_path, monkeypatch):
    folder = tmp_path / "templates"
    folder.mkdir()
    for name in ("01-network", "05-map"):
        source = notebooks.templates("notebooks") / f"{name}.ipynb"
        (folder / source.name).write_bytes(source.read_bytes())
    notebook = nbformat.read(folder / "05-map.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("assert map != 3, 'three is wrong'"))
    nbformat.write(notebook, folder / "05-map.ipynb")
    monkeypatch.setattr(notebooks, "templates", lambda kind: folder)
    out = tmp_path / "out"
    with pytest.raises(OipError, match=r"1 of 4 .*map-003 in cell \d+: AssertionError: three"):
        notebooks.run(shown, out, ["01-network", "05-map"], [0, 3, 7])
    done = sorted(path.name for path in out.rglob("*") if path.suffix != ".log")
    assert done == ["01-network.ipynb", "map-000.ipynb", "map-007.ipynb", "maps"]


def test_forked_and_stock_kernels_give_the_same_bytes(shown, tmp_path):
    for stock in (False, True):
        out = tmp_path / str(stock)
        assert notebooks.run(shown, out, ["05-map"], [3], stock=stock) == 1
    forked, stock = (
        (tmp_path / kind / "maps" / "map-003.ipynb").read_bytes() for kind in ("False", "True")
    )
    assert forked == stock


def test_kernels_share_nothing(shown, tmp_path, monkeypatch):
    folder = tmp_path / "templates"
    folder.mkdir()
    spoil = (
        "import os, oiplib.plots, numpy as np\n"
        "assert not hasattr(oiplib.plots, 'spoilt') and 'SPOILT' not in os.environ\n"
        "assert np.random.get_state()[1][0] != 77\n"
        "oiplib.plots.spoilt = os.environ['SPOILT'] = 'yes'; np.random.seed(77)"
    )
    notebook = nbformat.read(notebooks.templates("notebooks") / "05-map.ipynb", as_version=4)
    notebook.cells = [notebook.cells[1], nbformat.v4.new_code_cell(spoil)]
    nbformat.write(notebook, folder / "05-map.ipynb")
    monkeypatch.setattr(notebooks, "templates", lambda kind: folder)
    assert notebooks.run(shown, tmp_path / "out", ["05-map"], [0, 3, 7], workers=1) == 3


def test_a_killed_run_goes_on_with_what_is_missing(shown, tmp_path):
    command = [Path(sys.executable).with_name("oip"), "run", "05-map", "--maps", "0-11"]
    command += ["--db", shown.store.name, "--out", tmp_path / "killed"]
    process = subprocess.Popen(command, start_new_session=True)
    maps = tmp_path / "killed" / "maps"
    deadline = time.monotonic() + 120
    while len(list(maps.glob("map-???.ipynb"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in maps.glob("map-???.ipynb")}
    assert 2 <= len(kept) < 12
    assert notebooks.run(shown, tmp_path / "killed", ["05-map"], range(12)) == 12 - len(kept)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert notebooks.run(shown, tmp_path / "unbroken", ["05-map"], range(12)) == 12
    names = sorted(path.name for path in maps.iterdir())
    assert names == [f"map-{map:03d}.ipynb" for map in range(12)]
    for name in names:
        unbroken = tmp_path / "unbroken" / "maps" / name
        assert (maps / name).read_bytes() == unbroken.read_bytes()
