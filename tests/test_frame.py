"""What stands around each page's text: weight, sidebar, links as others show them, for everyone."""

import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from browsing import NARROW, WIDE, Quiet, Watched, needs_browser, serving
from bs4 import BeautifulSoup
from conftest import SHOWN
from PIL import Image

from oiplib import InputError
from oiplib.publish import book, frame

#: Pages of one kind look alike: one of each.
KINDS = (
    *(
        "index.html",
        "limits.html",
        "reference.html",
        "study.html",
        "query.html",
        "search.html",
        "404.html",
    ),
    *("04-precursor.html", "07-uniqueness.html", "maps/map-007.html", "explore.html", "try.html"),
)
#: Pages of text; what is drawn and tried out may be larger.
TEXT = ("limits", "machines", "commands", "cite", "your-network", "01-network", "query")


def soups(site):
    """The pages with a frame: not those that lead elsewhere, nor the one for what isn't there."""
    for path in sorted(site.rglob("*.html")):
        soup = BeautifulSoup(path.read_text(), "html.parser")
        if path.name != "404.html" and not soup.find("meta", {"http-equiv": "refresh"}):
            yield path.relative_to(site).as_posix(), soup


def kinds(site):
    return [name for name in KINDS if (site / name).is_file()]


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The text of axe-core's script, from npm; no test of ours without it."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm to get axe-core with")
    folder = tmp_path_factory.mktemp("axe")
    command = [npm, "install", "--prefix", folder, "--no-audit", "--no-fund", "axe-core@4"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    if done.returncode:
        pytest.skip(f"npm can't get axe-core: {done.stderr[-300:]}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


@needs_browser
@pytest.mark.parametrize(
    ("mode", "size"), [("light", WIDE), ("dark", WIDE), ("light", NARROW), ("dark", NARROW)]
)
def test_axe_finds_nothing_moderate_or_worse(
    browser,
    built,
    served,
    axe,
    mode,
    size,
):
    watched = Watched(browser, served, viewport=size, color_scheme=mode, reduced_motion="reduce")
    found = []
    for name in kinds(built):
        page = watched.open(f"{served}/{name}")
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        page.wait_for_timeout(50)  # what was unfolded is looked through for what scrolls
        page.evaluate(axe)
        report = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert report["passes"], "axe looked at nothing"
        found += [
            (name, each["impact"], each["id"], node["html"][:120])
            for each in report["violations"]
            if each["impact"] not in ("minor", None)
            for node in each["nodes"]
        ]
        page.close()
    assert found == []


def loaded(browser, address):
    """How many bytes a page loads, unpacked, with all that it asks for."""
    page = browser.new_page()
    sizes = {}
    page.on("response", lambda answer: sizes.update({answer.url: len(answer.body())}))
    page.goto(address)
    page.wait_for_load_state("networkidle")
    page.close()
    return sum(sizes.values())


@needs_browser
def test_a_page_of_text_loads_less_than_a_megabyte(browser, built, served):
    sizes = {
        name: loaded(browser, f"{served}/{name}.html")
        for name in TEXT
        if (built / f"{name}.html").is_file()
    }
    assert len(sizes) >= 5
    assert {name: size for name, size in sizes.items() if size > 1_000_000} == {}


def test_a_page_loads_what_its_text_uses_and_no_icon_font(built):
    for name, soup in soups(built):
        files = [tag.get("src") or tag.get("href") for tag in soup.find_all(["script", "link"])]
        text = " ".join(file for file in files if file)
        assert "fontawesome" not in text, name
        has_code = soup.select_one("div.highlight") is not None
        assert ("copybutton" in text) == has_code, name
        assert ("sphinx-design" in text) <= (soup.select_one("[class*='sd-']") is not None), name
    assert not list(built.rglob("*.map"))


def test_the_sidebar_has_captions_and_no_maps(built):
    for name, soup in soups(built):
        sidebar = soup.select_one(".bd-sidebar-primary nav")
        links = [link["href"] for link in sidebar.find_all("a")]
        assert not any("map-" in link for link in links), name
        captions = [caption.get_text() for caption in sidebar.select(".caption")]
        assert captions == ["To read", "To look up"], name
        names = [link.rsplit("/", 1)[-1] for link in links]
        # The logo leads to the front page, too.
        assert names[2:4] == ["explore.html", "try.html"] or "#" in names[1:4], name
        assert names[-1] in ("cite.html", "#"), name


def test_a_map_leads_to_its_neighbours_and_to_where_it_belongs(built):
    pages = dict(soups(built))
    first, middle, last = (f"map-{map:03d}.html" for map in SHOWN)
    ways = {
        name: {
            side: link["href"]
            for side in ("prev", "next")
            for link in pages[f"maps/{name}"].select(
                f"a.{'left' if side == 'prev' else 'right'}-{side}"
            )
        }
        for name in (first, middle, last)
    }
    home = pages[f"maps/{first}"].select_one(".oip-trail a")["href"]
    assert ways[first] == {"prev": home, "next": middle}
    assert ways[middle] == {"prev": first, "next": last}
    assert ways[last] == {"prev": middle}
    # A chapter's neighbours are chapters.
    for name, soup in pages.items():
        if not name.startswith("maps/"):
            around = [link["href"] for link in soup.select(".prev-next-area a")]
            assert not any("map-" in link for link in around), name


def properties(soup):
    """Name -> content of what a page says of itself."""
    tags = soup.find_all("meta")
    return {tag.get("property") or tag.get("name"): tag.get("content") for tag in tags}


def test_each_page_says_what_others_show_of_a_link_to_it(built):
    seen = set()
    for name, soup in soups(built):
        said = properties(soup)
        assert said["og:title"], name
        assert said["og:title"] in soup.title.get_text(), name
        assert 20 <= len(said["description"]) <= 201, name
        assert said["og:description"] == said["description"]
        assert "\n" not in said["description"]
        assert said["twitter:card"] == "summary_large_image"
        assert (built / name).parent.joinpath(said["og:image"]).resolve() == built / frame.SHARED
        assert "og:url" not in said
        assert soup.find("link", rel="canonical") is None
        seen.add(soup.title.get_text())
    assert len(seen) > 0.9 * len(list(soups(built)))
    assert not (built / "sitemap.xml").exists()
    with Image.open(built / frame.SHARED) as picture:
        assert picture.size == frame.SHARED_SIZE
        assert len(picture.convert("RGB").getcolors(1_000_000)) > 20


def test_a_description_ends_at_a_word():
    assert frame.cut("one two  three\nfour", 13) == "one two…"
    assert frame.cut("one two", 13) == "one two"


def test_an_address_is_one_of_a_folder_on_a_server():
    assert book.check_address("https://me.example/oip") == "https://me.example/oip/"
    assert book.check_address(None) is None
    for wrong in ("me.example/oip", "file:///tmp", "https://me.example/?page=1", ""):
        with pytest.raises(InputError, match="no address of a site"):
            book.check_address(wrong)


@pytest.mark.parametrize("command", ["book", "reproduce"])
def test_a_wrong_address_ends_a_command_before_it_begins(oip_here, tmp_path, command):
    done = oip_here(command, "--address", "me.example/oip", "--db", "none.db", check=2)
    assert "no address of a site: 'me.example/oip'" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def addressed(built, tmp_path_factory):
    """The site for an address, of the same notebooks."""
    work = tmp_path_factory.mktemp("addressed")
    source = shutil.copytree(built.with_name("site.work") / "source", work / "source")
    return book._jupyter_book(source, work, "https://me.example/oip/")


def test_a_site_with_an_address_names_it(addressed):
    listed = ElementTree.parse(addressed / "sitemap.xml").getroot()
    places = [place.text for place in listed.findall(".//{*}loc")]
    pages = {name: soup for name, soup in soups(addressed) if name != "search.html"}
    named = {soup.find("link", rel="canonical")["href"] for soup in pages.values()}
    assert sorted(places) == sorted(named)
    assert "https://me.example/oip/" in places
    assert "https://me.example/oip/maps/map-003.html" in places
    for name, soup in pages.items():
        said = properties(soup)
        assert said["og:url"] in named, name
        assert said["og:image"] == f"https://me.example/oip/{frame.SHARED}", name
    lost = BeautifulSoup((addressed / "404.html").read_text(), "html.parser")
    assert lost.select_one("#home")["href"] == "https://me.example/oip/"


class Lost(Quiet):
    """A host that answers with the site's own page where there is nothing."""

    def send_error(self, code, message=None, explain=None):
        site = self.path.split("/")[1]
        body = Path(self.directory, site, "404.html").read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body)


@needs_browser
@pytest.mark.parametrize("lost", ["nowhere.html", "maps/map-999.html", "a/b/c/d.html"])
def test_from_an_address_without_a_page_a_link_leads_home(browser, built, lost):
    with serving(built, Lost) as home:
        page = browser.new_page()
        page.goto(f"{home}/{lost}")
        page.wait_for_load_state("networkidle")
        page.click("#home")
        page.wait_for_load_state()
        assert page.url == f"{home}/index.html"
        assert page.query_selector(".bd-article") is not None
        page.close()


@needs_browser
def test_what_scrolls_is_reached_by_the_keyboard_and_shows_it(browser, built, served):
    page = Watched(browser, served, viewport=NARROW).open(f"{served}/analysis.html")
    scrolled = page.query_selector("[data-oip-scrolls]")
    assert scrolled.get_attribute("tabindex") == "0"
    assert "scrolls sideways" in scrolled.get_attribute("aria-label")
    scrolled.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")


@needs_browser
def test_signs_are_drawn_without_an_icon_font(browser, served):
    page = Watched(browser, served, viewport=WIDE).open(f"{served}/limits.html")
    signs = page.eval_on_selector_all(
        ".fa-solid, .fas",
        "all => all.filter(s => s.checkVisibility()).map(s => [s.clientWidth || "
        "s.getBoundingClientRect().width, getComputedStyle(s).maskImage])",
    )
    assert len(signs) >= 3
    assert all(width >= 8 and "svg" in mask for width, mask in signs)


def test_plain_sphinx_builds_the_sources(built, tmp_path):
    """Without Jupyter Book: should that stop working, the sources stay."""
    names = ["glossary.md", "values.md", "02-fluctuations.ipynb", "maps/map-007.ipynb"]
    source = tmp_path / "source"
    for name in names:
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        kind = "notebooks" if name.endswith(".ipynb") else "source"
        shutil.copyfile(book.check_site(built) / kind / name, target)
    contents = "\n".join(["# Pages", "", "```{toctree}", *names, "```", ""])
    (source / "index.md").write_text(contents)
    extensions = "myst_nb,sphinx.ext.autodoc,sphinx.ext.napoleon,sphinx_design,sphinx_togglebutton"
    settings = {"extensions": extensions, "nb_execution_mode": "off", "html_theme": "basic"}
    options = [part for name, value in settings.items() for part in ("-D", f"{name}={value}")]
    command = [sys.executable, "-m", "sphinx", "-q", "-C", "-b", "html", *options]
    subprocess.run([*command, str(source), str(tmp_path / "site")], check=True, capture_output=True)
    for name, heading in zip(
        names, ("Words", "Python: values", "Fluctuation images", "Map 7"), strict=True
    ):
        page = (tmp_path / "site" / name).with_suffix(".html").read_text()
        assert heading in BeautifulSoup(page, "html.parser").h1.text
