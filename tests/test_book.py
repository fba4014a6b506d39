"""Notebooks and site: real papermill, real Jupyter Book."""

import os
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


@pytest.mark.parametrize("name", notebooks.NOTEBOOKS)
def test_each_notebook_runs_alone_on_an_empty_database(name, tiny_spec, tmp_path, monkeypatch):
    monkeypatch.setenv("OIP_DB", str(tmp_path / "empty.db"))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    template = notebooks.templates("notebooks") / f"{name}.ipynb"
    parameters = {"spec": tiny_spec.to_json(), "maps": "0-3"}
    if name in ("03-oip", "05-map"):
        parameters["map"] = 3
    papermill.execute_notebook(
        template,
        tmp_path / "out.ipynb",
        parameters=parameters,
        kernel_name="python3",
        progress_bar=False,
    )
    cells = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert len(outputs) >= 3
    # No warnings, no logs: all that a notebook shows, it shows on purpose.
    assert {output.output_type for output in outputs} <= {"display_data", "execute_result"}


def test_templates_are_kept_without_outputs():
    for name in notebooks.NOTEBOOKS:
        notebook = nbformat.read(notebooks.templates("notebooks") / f"{name}.ipynb", as_version=4)
        assert not any(cell.get("outputs") for cell in notebook.cells)
        nbformat.validate(notebook)


@pytest.fixture(scope="module")
def built(tiny_study, tmp_path_factory):
    site = tmp_path_factory.mktemp("book") / "site"
    executed, fresh = book.build(tiny_study, site, maps=[0, 3, 7])
    assert fresh
    assert executed == len(notebooks.CHAPTERS) + 3
    return site


def test_the_site_is_whole(built):
    names = {page.relative_to(built).as_posix() for page in built.rglob("*.html")}
    wanted = {"index.html", *(f"{c}.html" for c in notebooks.CHAPTERS)}
    assert wanted | {f"maps/map-{m:03d}.html" for m in (0, 3, 7)} <= names
    assert broken_links(built) == []


def test_thumbnails_lead_to_the_pages_of_the_maps(built, tiny_study):
    soup = BeautifulSoup((built / "06-gallery.html").read_text(), "html.parser")
    links = {a["href"] for a in soup.find_all("a") if a.find("img", alt=lambda t: t and "OIP" in t)}
    found = [m for maps in tiny_study.summary().found.values() for m in maps]
    assert links == {f"maps/map-{m:03d}.html" for m in found if m in (0, 3, 7)}


def test_pages_hold_no_path_of_this_machine(built, tiny_study):
    folder = str(Path(tiny_study.store.name).parent)
    for page in [*built.rglob("*.html"), *built.rglob("*.ipynb")]:
        text = page.read_text()
        assert folder not in text, page
        assert os.path.expanduser("~") + "/" not in text, page


def test_what_is_up_to_date_is_left_alone(built, tiny_study):
    stamps = {path: path.stat().st_mtime_ns for path in built.parent.rglob("*.*")}
    assert book.build(tiny_study, built, maps=[0, 3, 7]) == (0, False)
    assert stamps == {path: path.stat().st_mtime_ns for path in built.parent.rglob("*.*")}


def test_a_folder_with_other_files_is_not_touched(tiny_study, tmp_path):
    (tmp_path / "thesis.tex").write_text("my only copy")
    with pytest.raises(InputError, match="holds other files"):
        book.build(tiny_study, tmp_path, maps=[0])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_failing_notebook_is_named_and_the_others_finish(tiny_study, tmp_path, monkeypatch):
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
        notebooks.run(tiny_study, out, ["01-network", "05-map"], [0, 3, 7])
    done = sorted(path.name for path in out.rglob("*") if path.suffix != ".log")
    assert done == ["01-network.ipynb", "map-000.ipynb", "map-007.ipynb", "maps"]
