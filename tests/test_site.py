"""The site in a real browser: over HTTP below some path, and from the folder itself."""

import itertools
import json
import sqlite3
from contextlib import closing
from urllib.parse import quote

import pytest
from browsing import NARROW, OTHER, WIDE, Watched, needs_browser, serving

from oiplib import Study
from oiplib.publish import book

pytestmark = needs_browser


@pytest.mark.parametrize(
    ("scheme", "size", "mode"), [("http", NARROW, "light"), ("file", WIDE, "dark")]
)
def test_every_page_is_whole_fits_a_phone_and_asks_nobody_else(
    browser, built, served, scheme, size, mode
):
    """Pages that are loaded on a phone or on a wide screen, by day or by night."""
    home = served if scheme == "http" else built.as_uri()
    names = sorted(path.relative_to(built).as_posix() for path in built.rglob("*.html"))
    # Those that lead on at once are tested in test_explore.py.
    names = [name for name in names if name not in ("06-gallery.html", "atlas.html", "find.html")]
    watched = Watched(browser, home, viewport=size, color_scheme=mode)
    for first in range(0, len(names), 8):
        group = names[first : first + 8]
        tabs = watched.open_together([f"{home}/{name}" for name in group])
        for name, page in zip(group, tabs, strict=True):
            page.bring_to_front()  # a page behind another one waits
            assert broken_images(page) == [], name
            page.set_viewport_size(NARROW)
            assert_no_sideways_scroll(page, mode, name)
            page.emulate_media(color_scheme=OTHER[mode])
            assert_no_sideways_scroll(page, OTHER[mode], name)
            page.close()
    assert watched.wrong == []


def broken_images(page):
    return page.eval_on_selector_all(
        "img", "all => all.filter(i => !i.naturalWidth || !i.hasAttribute('alt')).map(i => i.src)"
    )


def assert_no_sideways_scroll(page, mode, name):
    # The page for missing addresses has no theme, and follows the reader's setting.
    page.wait_for_function(
        "mode => (document.documentElement.dataset.theme || "
        "(matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) == mode",
        arg=mode,
    )
    widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert widths[0] <= widths[1] == NARROW["width"], name


# A site made from a stranger's file


HOSTILE = (
    '<img src=x onerror="window.hacked=1">',
    "</script><script>window.hacked=1</script>",
    "[x](javascript:window.hacked=1)",
    "<a href='javascript:window.hacked=1'>x</a>",
    "{raw}`<script>window.hacked=1</script>`",
    "```{raw} html\n<script>window.hacked=1</script>\n```",
    "\n\n# title\n\n<script>window.hacked=1</script>",
    '"><svg onload=window.hacked=1>',
    r"\(x\) $\undefined$ {{ layer }} <!-- end -->",
)
#: What is left as it is: rows are found, made again and compared by it, or the file's constraints
#: and what reads it allow a few words only.
KEPT = {
    *("spec", "spec_sha256", "sha256", "weights_sha256", "images_sha256", "key", "architecture"),
    *(
        "objective",
        "origin",
        "prior",
        "start",
        "status",
        "inputs",
        "relation",
        "way",
        "version_num",
    ),
    *("history", "layers.name", "reactions.kind"),
    *("source", "sha256"),  # of a data set: where it is found
}


def hostile(value, texts):
    """A value of a column, or of a JSON text in it, with a hostile text for each text."""
    if isinstance(value, dict):
        return {key: v if key in KEPT else hostile(v, texts) for key, v in value.items()}
    return [hostile(item, texts) for item in value] if isinstance(value, list) else next(texts)


def spoil(path):
    """Put hostile texts wherever a database may hold any; returns the columns."""
    rotated = [" ".join(HOSTILE[k:] + HOSTILE[:k]) for k in range(len(HOSTILE))]
    texts, columns = itertools.cycle(rotated), set()
    with closing(sqlite3.connect(path)) as db, db:
        for (table,) in db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        ).fetchall():
            for _, column, kind, *_ in db.execute(f"PRAGMA table_info({table})").fetchall():
                if kind not in ("VARCHAR", "JSON") or {column, f"{table}.{column}"} & KEPT:
                    continue
                columns.add(f"{table}.{column}")
                for id, value in db.execute(f"SELECT id, {column} FROM {table}").fetchall():
                    new = (
                        hostile(json.loads(value or "[]"), texts) if kind == "JSON" else next(texts)
                    )
                    if column == "name":  # no markup is allowed, so what comes nearest to it
                        new = "javascript:alert(1) http://elsewhere.example/__x__ 1."
                    new = json.dumps(new) if kind == "JSON" else new
                    db.execute(f"UPDATE {table} SET {column} = ? WHERE id = ?", (new, id))
    return columns


# What a page has of elements that could run something: the theme's own don't name `hacked`.
RUNNING = """
[...document.querySelectorAll("*")].filter(e =>
  (e.localName == "script" && !e.src && e.textContent.includes("hacked"))
  || [...e.attributes].some(a => a.value.includes("hacked")
    && (a.name.startsWith("on") || /^\\s*javascript:/i.test(a.value)))
  || e.matches("img[src='x'], svg[onload], a[href^='http://elsewhere']")
).map(e => e.outerHTML)
"""


@pytest.mark.slow
def test_nothing_in_a_database_runs_on_its_pages(browser, finished, copied, tmp_path):
    path = copied(finished.store.name, tmp_path / "hostile.db")
    assert {"runs.environment", "networks.dataset", "oips.stop_reason"} <= spoil(path)
    site = tmp_path / "site"
    book.build(Study(path), site, maps=[7])
    names = sorted(page.relative_to(site).as_posix() for page in site.rglob("*.html"))
    with serving(site) as home:
        watched = Watched(browser, home)
        shown, titles = {}, set()
        for name in names:
            page = watched.open(f"{home}/{name}")
            assert_nothing_ran(page, name)
            shown[name] = page.inner_text("article") if page.query_selector("article") else ""
            titles |= {h.inner_text() for h in page.query_selector_all("h1, h2, h3")}
            page.close()
        for title in sorted(title for title in titles if "hacked" in title):
            # The search compares with headings as they are.
            page = watched.open(f"{home}/search.html?q={quote(title.rstrip('#'))}")
            page.wait_for_selector("#search-results a")
            assert_nothing_ran(page, title)
            page.close()
    assert watched.wrong == []
    # The texts are there, as texts.
    for name in (
        "maps/map-007.html",
        "activations.html",
        "explore.html",
        "index.html",
        "query.html",
    ):
        assert HOSTILE[0] in shown[name], name
    assert sum("hacked" in title for title in titles) > 3


def assert_nothing_ran(page, name):
    assert page.evaluate("window.hacked") is None, name
    assert page.evaluate(RUNNING) == [], name
