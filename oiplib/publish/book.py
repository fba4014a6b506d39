"""The site: executed notebooks and a few pages, built by Jupyter Book into a plain folder."""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError, OipError
from ..files import check_target
from ..progress import bar
from ..study.chapters import CHAPTERS, prepare
from ..study.study import Study
from ..values import Maps
from . import notebooks, words
from .pages import write_database, write_finding

# Browsers refuse these in a folder without a server, and load the fonts all the same.
_PRELOADED_FONT = re.compile(r'<link rel="preload" as="font"[^>]*>\s*')
#: The chapter to which the pages of the maps belong.
GALLERY = "06-gallery"
#: Pages of the folder ``book`` that follow the chapters.
OWN_PAGES = (
    "find",
    "your-network",
    "machines",
    "limits",
    "commands",
    "reference",
    "glossary",
    "cite",
)
# What the texts of the site say of the study: the arguments of `words.filled`.
_Told = tuple[dict[str, str], frozenset[str]]
#: Marks a folder as a site of ours, which may be replaced, and says what it was built from.
MARKER = ".oip-site"


def build(study: Study, site: Path, maps: Maps = None) -> tuple[int, bool]:
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

    Returns
    -------
    executed : int
        How many notebooks were executed.
    built : bool
        Whether the site was built; False if it was up to date.

    Raises
    ------
    InputError
        If the folder holds something that isn't a site of ours.
    OipError
        If a notebook fails, or Jupyter Book does.
    """
    work = check_site(site)
    indices = prepare(study, maps=maps)
    work.mkdir(parents=True, exist_ok=True)
    if not (work / MARKER).exists():
        (work / MARKER).touch()
    executed = notebooks.run(study, work / "notebooks", maps=indices)
    pages = [*(chapter.name for chapter in CHAPTERS), *map(notebooks.map_page, indices)]
    told = words.facts(study, indices), words.holding(study)
    key = _key(study, told, work / "notebooks", pages)
    if (site / MARKER).is_file() and (site / MARKER).read_text().strip() == key:
        return executed, False
    source = _sources(study, told, indices, work, pages)
    pages_folder = _jupyter_book(source, work)
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
    write_finding(study, maps, source / "extra")
    archive = source / "extra" / "oip.db.zip"
    write_database(study.store, archive)
    size = archive.stat().st_size / 1e6
    link = f'<a href="oip.db.zip" download>oip.db.zip</a> ({size:.1f} MB)'
    find = source / "find.md"
    find.write_text(find.read_text().replace("{download-database}", link))
    chapters: list[dict[str, Any]] = [{"file": chapter.name} for chapter in CHAPTERS]
    for chapter in chapters:
        if chapter["file"] == GALLERY:
            chapter["sections"] = [{"file": page} for page in pages if page.startswith("maps/")]
    others = [{"file": page} for page in OWN_PAGES]
    contents = {"format": "jb-book", "root": "index", "chapters": [*chapters, *others]}
    (source / "_toc.yml").write_text(yaml.safe_dump(contents, sort_keys=False))
    return source


def _jupyter_book(source: Path, work: Path) -> Path:
    """Build the book from scratch, warnings being errors; returns the folder of its pages."""
    output = work / "build"
    shutil.rmtree(output, ignore_errors=True)
    program = (
        "from oiplib.lifeline import end_with_input; end_with_input(); "
        "from jupyter_book.cli.main import main; main()"
    )
    command = [sys.executable, "-c", program, "build", "-W", "--keep-going", "-q"]
    log = work / "jupyter-book.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, "--path-output", str(output), str(source)],
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
    for page in folder.rglob("*.html"):
        page.write_text(_PRELOADED_FONT.sub("", page.read_text()))
    _escape_headings(folder / "searchindex.js")
    # Sphinx' notes to itself, and templates of the theme that are no pages.
    notes = [folder / ".buildinfo", folder / "objects.inv"]
    for leftover in [*notes, *folder.glob("_static/**/*webpack-macros.html")]:
        leftover.unlink(missing_ok=True)
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


def _key(study: Study, told: _Told, folder: Path, pages: list[str]) -> str:
    """A hash of everything that the site is built from."""
    facts, holds = told
    made_from = study.fingerprint(), sorted(facts.items()), sorted(holds)
    digest = hashlib.sha256(repr(made_from).encode())
    templates = sorted(notebooks.templates("book").rglob("*"))
    files = [path for path in templates if path.is_file()]
    for path in [*files, *(folder / f"{page}.ipynb" for page in pages)]:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
