"""The site in a real browser: over HTTP below some path, and from the folder itself."""

import functools
import http.server
import shutil
import threading

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to look with")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def served(built):
    """Address of the site on a server, below a path that it knows nothing of."""
    handler = functools.partial(Quiet, directory=str(built.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{built.name}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}
        with playwright.chromium.launch(**options) as launched:
            yield launched


class Watched:
    """A page, and what went wrong on it."""

    def __init__(self, browser, home, **context):
        self.page = browser.new_context(**context).new_page()
        self.wrong = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("requestfailed", lambda request: self.wrong.append(f"failed: {request.url}"))
        self.page.on("console", lambda said: said.type == "error" and self.wrong.append(said.text))
        self.page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((home, "data:", "blob:"))
                else self.wrong.append(f"elsewhere: {request.url}")
            ),
        )

    def open(self, address):
        self.page.goto(address)
        self.page.wait_for_load_state("networkidle")
        return self.page


def pages(built):
    return sorted(path.relative_to(built).as_posix() for path in built.rglob("*.html"))


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_every_page_is_whole_and_asks_nobody_else(browser, built, served, scheme):
    home = served if scheme == "http" else built.as_uri()
    watched = Watched(browser, home, viewport={"width": 1280, "height": 900})
    for name in pages(built):
        page = watched.open(f"{home}/{name}")
        broken = page.eval_on_selector_all(
            "img",
            "all => all.filter(i => !i.naturalWidth || !i.hasAttribute('alt')).map(i => i.src)",
        )
        assert broken == [], name
    assert watched.wrong == []


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_a_narrow_screen_has_no_sideways_scroll(browser, built, served, mode):
    watched = Watched(browser, served, viewport={"width": 390, "height": 800}, color_scheme=mode)
    for name in pages(built):
        page = watched.open(f"{served}/{name}")
        widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert widths[0] <= widths[1], name
        assert page.evaluate("document.documentElement.dataset.theme") == mode


def test_search_finds_a_map(browser, served):
    watched = Watched(browser, served)
    page = watched.open(f"{served}/search.html?q=map+7")
    page.wait_for_selector("#search-results a")
    assert "Map 7" in page.inner_text("#search-results")
    assert watched.wrong == []


def told(loss):
    """A loss as the page shows it, which has six digits and shows four."""
    return float(f"{float(f'{loss:.6g}'):.4g}")


def rows(page):
    cells = page.eval_on_selector_all(
        ".oip-table tbody tr", "all => all.map(r => [...r.cells].map(c => c.innerText))"
    )
    return [(int(row[1]), int(row[2]), float(row[4]), row[5]) for row in cells]


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_oips_are_found_by_filter_and_order(browser, built, served, shown, scheme):
    home = served if scheme == "http" else built.as_uri()
    watched = Watched(browser, home)
    page = watched.open(f"{home}/find.html")
    stored = [(r["id"], r["map"], told(r["loss"]), r["origin"]) for r in shown.rows()]
    page.select_option("#oip-layer", "Conv2D_3")
    page.fill("#oip-map", "3,5-7")
    page.click("th[data-column=loss] button")
    wanted = sorted((r for r in stored if r[1] in (3, 5, 6, 7)), key=lambda r: -r[2])
    assert [row[2] for row in rows(page)] == [row[2] for row in wanted][:50]
    page.select_option("#oip-origin", "fluctuation")
    wanted = [row for row in wanted if row[3] == "fluctuation"]
    assert sorted(rows(page)) == sorted(wanted)
    assert page.inner_text(".oip-count").startswith(f"{len(wanted)} of ")
    assert page.get_attribute("th[data-column=loss]", "aria-sort") == "descending"

    # The address alone, opened anew, shows the same.
    again = Watched(browser, home).open(page.url)
    assert rows(again) == rows(page)
    assert again.input_value("#oip-map") == "3,5-7"
    again.click("tbody a:text-is('3')")
    again.wait_for_load_state("networkidle")
    assert again.inner_text("h1").startswith("Map 3")
    assert watched.wrong == []


def test_the_database_can_be_downloaded(browser, served, shown, tmp_path):
    import zipfile

    from oiplib import Store

    page = Watched(browser, served).open(f"{served}/find.html")
    with page.expect_download() as download:
        page.click("a[download]")
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extract("oip.db", tmp_path)
    assert Store(tmp_path / "oip.db").oip_ids() == shown.store.oip_ids()
