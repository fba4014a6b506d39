"""What stands around the text of each page: sidebar, neighbours, what others see of a link to it.

This is an extension of Sphinx, named in ``book/_config.yml``; the templates that draw the frame
are in ``book/_templates``. A page loads the scripts and styles that its text uses, and no others.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

#: The picture that is shown beside a link to the site, and its size.
SHARED, SHARED_SIZE = "share.png", (1200, 630)
#: How long the text beside a link is at most.
_LONGEST = 200
# A first paragraph shorter than this is a line of links or a date.
_SHORTEST = 50

# Which sign in a page's text tells that it uses a file.
_USED_BY = {
    "copybutton": '<div class="highlight',
    "clipboard": '<div class="highlight',
    "togglebutton": 'class="toggle',
    "toggleHint": 'class="toggle',
    "toggleOpenOnPrint": 'class="toggle',
    "design-tabs": "sd-tab-",
    "sphinx-design": 'class="sd-',
    "mystnb": 'class="cell',
    "pygments": '<div class="highlight',
}
# What the extensions write otherwise than a screen reader needs it.
_MENDED = {
    '<summary aria-label="Toggle hidden content">': "<summary>",
    "<th></th>": "<td></td>",
}
# Each word of a signature has a span for itself, which is a quarter of the page on Python.
_SIGNATURE, _WORD = 'class="sig ', re.compile(r'<span class="(?:pre|w)">([^<]*)</span>')
# Stands in a page that only leads to another one.
_MOVED = '<meta http-equiv="refresh"'
# Files that no page loads any more: icons, notes for debuggers, templates that are no pages.
_LEFT_OVER = (
    ".buildinfo",
    "objects.inv",
    "_static/vendor",
    "_static/**/*.map",
    "_static/**/*webpack-macros.html",
    "_static/locales",
    "_static/sbt-webpack-macros.html",
)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what Sphinx is to call."""
    # Before the theme leaves out what it finds empty, and after all scripts are named.
    app.connect("html-page-context", _frame_page, priority=400)
    app.connect("html-page-context", _drop_unused, priority=900)
    app.connect("html-collect-pages", _other_pages)
    # It numbers sections after all pages are read, and doesn't say so; ours have no numbers.
    numbering = app.extensions.get("sphinx_multitoc_numbering")
    if numbering is not None:
        numbering.parallel_read_safe = True
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _other_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    yield "404", {"title": "No such page"}, "404.html"


def _frame_page(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Put into a page's context what the templates show around its text."""
    order = Contents(app.env)
    titles = app.env.titles

    def linked(name: str) -> dict[str, str]:
        link = app.builder.get_relative_uri(page, name) or "#"
        return {"link": link, "title": escape(titles[name].astext()), "name": name}

    before, after = order.neighbours(page)
    context["prev"] = linked(before) if before else None
    context["next"] = linked(after) if after else None
    parent = order.parents.get(page)
    context["trail"] = [linked(parent)] if parent else []
    context["groups"] = [
        (caption, [linked(name) for name in names]) for caption, names in order.groups
    ]
    # The site's own page in the sidebar, for a page that isn't there itself.
    context["here"] = parent or page
    front = app.config.root_doc
    context["description"] = description(doctree) or f"Of: {app.config.html_title}"
    address = context["address"] = app.config.html_baseurl
    if address and context.get("pageurl"):
        context["pageurl"] = context["pageurl"].removesuffix("index.html")
    if (Path(app.srcdir) / "extra" / SHARED).is_file():
        inside = "../" * page.count("/")
        context["shared_picture"] = (address or inside) + SHARED
        context["shared_width"], context["shared_height"] = SHARED_SIZE
    # The search has no text of its own, and so no title.
    named = context.get("title") or page.capitalize()
    context["page_title"] = titles[page].astext() if page in titles else named
    context["is_front"] = page == front
    if "body" in context:
        for found, mended in _MENDED.items():
            context["body"] = context["body"].replace(found, mended)
        if _SIGNATURE in context["body"]:
            context["body"] = _WORD.sub(r"\1", context["body"])


def _drop_unused(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Leave out the scripts and styles whose sign isn't in the text of the page."""
    body = context.get("body") or ""

    def is_used(asset: Any) -> bool:
        name = str(getattr(asset, "filename", asset) or "")
        text = f"{name} {getattr(asset, 'attributes', {}).get('body') or ''}"
        return all(sign in body for file, sign in _USED_BY.items() if file in text)

    for kind in ("script_files", "css_files"):
        context[kind][:] = [asset for asset in context.get(kind, []) if is_used(asset)]


class Contents:
    """The order of the pages, from the tables of contents of the front page and of others.

    Attributes
    ----------
    front : str
    groups : list of (str, list of str)
        Caption -> pages, as in the sidebar.
    children : dict of str to list of str
        Pages that aren't in the sidebar, such as those of the maps, by the page they belong to.
    parents : dict of str to str
        The same the other way round.
    """

    def __init__(self, environment: BuildEnvironment) -> None:
        self.front = environment.config.root_doc
        self.groups = _tables(environment, self.front)
        self.children = {
            page: [name for _, names in _tables(environment, page) for name in names]
            for page in environment.toctree_includes
            if page != self.front
        }
        self.parents = {name: page for page, names in self.children.items() for name in names}

    def neighbours(self, page: str) -> tuple[str | None, str | None]:
        """The page before and the page after, among those of its kind.

        The first of a page's own pages comes after that page.
        """
        parent = self.parents.get(page)
        if parent:
            line = [parent, *self.children[parent]]
        else:
            line = [self.front, *(name for _, names in self.groups for name in names)]
        if page not in line:
            return None, None
        place = line.index(page)
        around = [None, *line, None]
        return around[place], around[place + 2]


def _tables(environment: BuildEnvironment, page: str) -> list[tuple[str, list[str]]]:
    """The tables of contents on a page: caption and pages of each."""
    from sphinx import addnodes

    return [
        (table.get("caption") or "", [name for _, name in table["entries"]])
        for table in environment.tocs[page].findall(addnodes.toctree)
    ]


def description(page: nodes.document | None) -> str:
    """The first paragraph of a page as plain text, cut at a word; empty without one."""
    from docutils import nodes

    if page is None:
        return ""
    for paragraph in page.findall(nodes.paragraph):
        text = cut(paragraph.astext())
        if len(text) >= _SHORTEST:
            return text
    return ""


def cut(text: str, longest: int = _LONGEST) -> str:
    """A text in one line, ended at a word where it is too long.

    Examples
    --------
    >>> cut("What does each\\nfilter look for?", 20)
    'What does each…'
    >>> cut("Short.")
    'Short.'
    """
    line = " ".join(text.split())
    if len(line) <= longest:
        return line
    return line[:longest].rsplit(" ", 1)[0].rstrip(" ,;:.") + "…"


def main() -> None:
    """Let Jupyter Book build a site, by all cores; warnings are errors.

    The program's arguments are the folder of its sources, a folder for what it writes, and the
    address of the site, or nothing. Jupyter Book's own command uses one core, and knows no
    address.
    """
    from jupyter_book.sphinx import build_sphinx

    source, output, address = sys.argv[1:]
    status = build_sphinx(
        source,
        Path(output) / "_build" / "html",
        noconfig=True,
        path_config=Path(source) / "_config.yml",
        confoverrides={
            "external_toc_path": str(Path(source) / "_toc.yml"),
            "html_baseurl": address,
            "latex_individualpages": False,
        },
        quiet=True,
        warningiserror=True,
        keep_going=True,
        jobs=os.cpu_count() or 1,
    )
    sys.exit(0 if status == 0 else 1)


# After Sphinx: pages as files


def finish(folder: Path, address: str | None) -> None:
    """Mend the written pages, and write what isn't a page of Sphinx.

    Parameters
    ----------
    folder
        The site as Sphinx wrote it.
    address
        Where the site will be, with ``/`` at its end; without one there is no ``sitemap.xml``,
        which has to hold whole addresses.
    """
    from shutil import rmtree

    for pattern in _LEFT_OVER:
        for path in folder.glob(pattern):
            rmtree(path) if path.is_dir() else path.unlink()
    if address is not None:
        (folder / "sitemap.xml").write_text(_sitemap(folder, address))


def _sitemap(folder: Path, address: str) -> str:
    """All pages that are worth finding."""
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.html")
        if path.name not in ("404.html", "search.html") and _MOVED not in path.read_text()
    )
    places = [
        f"  <url><loc>{escape(address + name.removesuffix('index.html'))}</loc></url>\n"
        for name in names
    ]
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    space = "http://www.sitemaps.org/schemas/sitemap/0.9"
    return f'{head}<urlset xmlns="{space}">\n{"".join(places)}</urlset>\n'
