"""The site: executed notebooks and a few pages, built by Jupyter Book into a plain folder."""

from __future__ import annotations

import hashlib
import html
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from ..errors import InputError, OipError
from ..files import check_target
from ..progress import bar
from ..study.chapters import CHAPTERS
from ..study.study import Study
from ..values import Maps
from . import frame, notebooks, words
from .browser import write_network
from .pages import write_database, write_explore
from .shared import write_shared
from .wall import write_front

#: The page to which the pages of the maps belong.
EXPLORE = "explore"
#: The page on Python, and the floors that have a page of their own there.
PYTHON = "reference"
FLOORS = ("study", "publish", "analysis", "store", "engine", "values")
#: Pages to play with, which stand before the chapters.
_FIRST = (EXPLORE, "try")
#: Pages and chapters that are looked up, not read, which stand at the end under a caption.
_TECHNICAL = (
    *("glossary", "01-network", "query", "your-network", "machines", "limits"),
    *("commands", PYTHON, "cite"),
)
# What the texts of the site say of the study: the arguments of `words.filled`.
_Told = tuple[dict[str, str], frozenset[str]]
#: Marks a folder as a site of ours, which may be replaced, and says what it was built from.
MARKER = ".oip-site"


def build(
    study: Study,
    site: Path,
    maps: Maps = None,
    address: str | None = None,
    is_prepared: bool = False,
) -> tuple[int, bool]:
    """Compute what is missing, execute the notebooks that aren't yet, build if anything changed.

    Parameters
    ----------
    study
        What to show.
    site
        Folder of the site; any static host can serve it under any path. Beside it,
        ``<site>.work`` keeps the executed notebooks.
    maps
        Maps that get a page; all of the layer by default.
    address
        Where the site will be, such as ``https://me.github.io/oip``. With it, pages name their
        own address and that of the picture beside a link, and there is a ``sitemap.xml``.
        Nothing else of the site depends on it; it is stored in no other place.
    is_prepared
        Whether all that the site shows is known to be stored.

    Returns
    -------
    executed : int
        How many notebooks were executed.
    built : bool
        Whether the site was built; False if it was up to date.

    Raises
    ------
    InputError
        If the folder holds something that isn't a site of ours, or the address is none.
    OipError
        If a notebook fails, or Jupyter Book does.
    """
    work = check_site(site)
    address = check_address(address)
    indices = study.check_maps(maps)
    work.mkdir(parents=True, exist_ok=True)
    if not (work / MARKER).exists():
        (work / MARKER).touch()
    executed = notebooks.run(study, work / "notebooks", maps=indices, is_prepared=is_prepared)
    pages = [*(chapter.name for chapter in CHAPTERS), *map(notebooks.map_page, indices)]
    told = words.facts(study, indices), words.holding(study)
    key = _key(study, (told, address), work / "notebooks", pages)
    if (site / MARKER).is_file() and (site / MARKER).read_text().strip() == key:
        return executed, False
    source = _sources(study, told, indices, work, pages)
    pages_folder = _jupyter_book(source, work, address)
    (pages_folder / MARKER).write_text(key + "\n")
    _replace(site, pages_folder, work)
    return executed, True


def _sources(study: Study, told: _Told, maps: list[int], work: Path, pages: list[str]) -> Path:
    """The folder that Jupyter Book reads: our pages for this study, notebooks, contents."""
    source = work / "source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(notebooks.templates("book"), source)
    for page in pages:
        target = source / f"{page}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(work / "notebooks" / f"{page}.ipynb", target)
    for text in source.glob("*.md"):
        text.write_text(words.filled(text.read_text(), *told))
    write_explore(study, maps, source / "extra")
    write_network(study, maps, source / "extra")
    write_front(study, maps, source)
    archive = source / "extra" / "oip.db.zip"
    write_database(study.store, archive)
    size = archive.stat().st_size / 1e6
    link = f'<a href="oip.db.zip" download>oip.db.zip</a> ({size:.1f} MB)'
    explore = source / f"{EXPLORE}.md"
    explore.write_text(explore.read_text().replace("{download-database}", link))
    write_shared(study, maps, source / "extra" / frame.SHARED)
    (source / "_toc.yml").write_text(yaml.safe_dump(_contents(source, pages), sort_keys=False))
    return source


def _contents(source: Path, pages: list[str]) -> dict[str, Any]:
    """The table of contents: pages to play with, chapters to read, pages to look things up.

    The pages of the maps belong to one of the first, those of our code's floors to one of the last;
    they aren't in the sidebar.
    """
    files = [path.stem for kind in ("*.md", "*.ipynb") for path in source.glob(kind)]
    there = {*files} - {"index", *FLOORS}
    belonging = {EXPLORE: [page for page in pages if page.startswith("maps/")], PYTHON: FLOORS}
    first = [page for page in _FIRST if page in there]
    last = [page for page in _TECHNICAL if page in there]
    to_read = [page for page in pages if page in there - {*first, *last}]
    last += sorted(there - {*first, *to_read, *last})
    parts = []
    for caption, names in (("", first), ("To read", to_read), ("To look up", last)):
        chapters: list[dict[str, Any]] = [{"file": name} for name in names]
        for chapter in chapters:
            if chapter["file"] in belonging:
                own = belonging[chapter["file"]]
                chapter["sections"] = [{"file": page} for page in own]
        parts.append({**({"caption": caption} if caption else {}), "chapters": chapters})
    return {"format": "jb-book", "root": "index", "parts": parts}


def _jupyter_book(source: Path, work: Path, address: str | None = None) -> Path:
    """Build the book from scratch, warnings being errors; returns the folder of its pages."""
    output = work / "build"
    shutil.rmtree(output, ignore_errors=True)
    program = (
        "from oiplib.lifeline import end_with_input; end_with_input(); "
        "from oiplib.publish.frame import main; main()"
    )
    command = [sys.executable, "-c", program, str(source), str(output), address or ""]
    log = work / "jupyter-book.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYDEVD_DISABLE_FILE_VALIDATION": "1"},
        )
        try:
            _watch(process, output / "_build", len(list(source.rglob("*.ipynb"))))
        finally:
            process.kill()
            process.communicate()  # waits, and closes the line
    folder = output / "_build" / "html"
    if process.returncode or not (folder / "index.html").is_file():
        log_lines = log.read_text().splitlines()
        reasons = [line for line in log_lines if "WARNING" in line or "ERROR" in line]
        reason = reasons[0] if reasons else "no pages"
        raise OipError(f"Jupyter Book failed: {reason}; all of it is in {log}")
    _escape_headings(folder / "searchindex.js")
    frame.finish(folder, address)
    return folder


def _escape_headings(index: Path) -> None:
    """Make the headings in the index of Sphinx' search text.

    Its script puts them into the page as HTML. They are text, unlike the titles of the pages there.
    """
    before, after = "Search.setIndex(", ")"
    text = index.read_text()
    if not (text.startswith(before) and text.endswith(after)):
        raise OipError(f"{index} isn't what Sphinx used to write: its headings can't be escaped")
    entries = json.loads(text[len(before) : -len(after)])
    headings = entries["alltitles"]
    entries["alltitles"] = {
        html.escape(heading, quote=False): headings[heading] for heading in headings
    }
    index.write_text(f"{before}{json.dumps(entries, separators=(',', ':'))}{after}")


def _watch(process: subprocess.Popen[bytes], folder: Path, n_pages: int) -> None:
    """Show how far Sphinx is: it reads each page, then writes it."""
    seen = 0
    with bar(2 * n_pages, "Book", "pages read and written") as progress:
        while process.poll() is None:
            done = sum(1 for kind in ("*.doctree", "*.html") for _ in folder.rglob(kind))
            progress.update(min(done, 2 * n_pages) - seen)
            seen = min(done, 2 * n_pages)
            time.sleep(0.2)


def _replace(site: Path, html: Path, work: Path) -> None:
    """Put the new site in the old one's place, so that there is always a whole one."""
    fresh, old = work / "fresh", work / "old"
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(html, fresh)
    if site.exists():
        site.rename(old)
    fresh.rename(site)
    shutil.rmtree(old, ignore_errors=True)


def check_site(site: Path) -> Path:
    """The folder beside a site that keeps what it is built from, if both are free or ours.

    Raises
    ------
    InputError
        If one of them is something else, or can't be written.
    """
    work = check_target(site.with_name(f"{site.name or 'site'}.work"), "folder")
    check_target(site, "folder")
    # What stands beside a site of ours is ours, too, and needn't say so.
    for folder, markers in ((site, [site]), (work, [work, site])):
        is_ours = any((marked / MARKER).is_file() for marked in markers)
        if folder.is_dir() and any(folder.iterdir()) and not is_ours:
            raise InputError(
                f"{folder} holds other files and no site of ours: name an empty or a new folder "
                "for the site"
            )
    return work


def check_address(address: str | None) -> str | None:
    """The address of a site with ``/`` at its end.

    Raises
    ------
    InputError
        If it isn't one of a folder on a web server.
    """
    if address is None:
        return None
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InputError(
            f"no address of a site: {address!r}; write it like https://example.org/oip"
        )
    return address.rstrip("/") + "/"


def _key(study: Study, told: tuple[_Told, str | None], folder: Path, pages: list[str]) -> str:
    """A hash of everything that the site is built from."""
    (facts, holds), address = told
    oips = study.store.oip_ids()  # those of other networks, too
    made_from = study.fingerprint(), oips, sorted(facts.items()), sorted(holds), address
    digest = hashlib.sha256(repr(made_from).encode())
    templates = sorted(notebooks.templates("book").rglob("*"))
    files = [path for path in templates if path.is_file()]
    for path in [*files, *(folder / f"{page}.ipynb" for page in pages)]:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
