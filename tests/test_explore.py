"""The page for exploring, the search's direct hits, and what both are made from."""

import io
import itertools
import json
import shutil
import sqlite3
import zipfile
from contextlib import closing

import numpy as np
import pytest
from browsing import Watched, needs_browser
from conftest import SHOWN
from PIL import Image

from oiplib import OipFilter, Store, Study
from oiplib.analysis.neighbours import most_similar_pairs
from oiplib.analysis.similarity import similarities
from oiplib.pictures import displayable
from oiplib.publish.pages import write_explore
from oiplib.study.chapters import CHAPTERS

pytestmark = needs_browser

SCHEMES = pytest.mark.parametrize("scheme", ["http", "file"])


@pytest.fixture
def explore(browser, served, built):
    """A function that opens the page at an address; nothing may have gone wrong at the end."""
    opened = []

    def explore(address="", scheme="http", name="explore.html"):
        home = served if scheme == "http" else built.as_uri()
        opened.append(Watched(browser, home))
        return opened[-1].open(f"{home}/{name}{address}")

    yield explore
    for watched in opened:
        assert watched.wrong == []
        watched.context.close()


def as_shown(loss):
    """A loss as the page shows it, which has six digits and shows four."""
    return float(f"{float(f'{loss:.6g}'):.4g}")


def cells(page, column):
    return page.locator(f".oip-table td[data-column={column}]").all_inner_texts()


def losses(page):
    return [float(loss) for loss in cells(page, "loss")]


def shown(page, where=".oip-body"):
    """The ids of the pictures, in their order."""
    links = page.locator(f"{where} a.oip-cell")
    return [int(id) for id in links.evaluate_all("all => all.map(a => a.dataset.oip)")]


def best(study, **options):
    return {oip.map: oip for oip in study.oips(best=True, **options)}


@SCHEMES
def test_oips_are_found_by_filter_and_order(explore, finished, scheme):
    page = explore("#view=table", scheme)
    rows = finished.store.oip_rows(OipFilter())
    assert page.inner_text(".oip-count") == f"{len(rows):,} of {len(rows):,} OIPs"
    page.select_option("#oip-network", str(finished.network.id))
    page.select_option("#oip-layer", "Conv2D_3")
    page.fill("#oip-maps", "3,5-7")
    page.click("th[data-column=loss] button")
    rows = [row for row in rows if row["network"] == finished.network.id]
    rows = [row for row in rows if row["layer"] == "Conv2D_3" and row["map"] in (3, 5, 6, 7)]
    rows.sort(key=lambda row: -row["loss"])
    assert losses(page) == [as_shown(row["loss"]) for row in rows][:50]
    assert page.get_attribute("th[data-column=loss]", "aria-sort") == "descending"
    page.select_option("#oip-origin", "fluctuation")
    page.select_option("#oip-prior", "none")
    least = as_shown(rows[-1]["loss"]) / 2
    page.fill("#oip-least", str(least))
    rows = [row for row in rows if row["origin"] == "fluctuation" and row["prior"] == "none"]
    assert sorted(map(int, cells(page, "id"))) == sorted(row["id"] for row in rows)
    assert page.inner_text(".oip-count").startswith(f"{len(rows)} of ")
    assert all(text.startswith("random image no. ") for text in cells(page, "origin"))

    # The address alone, opened anew, shows the same.
    again = explore("#" + page.url.partition("#")[2], scheme)
    assert (cells(again, "id"), losses(again)) == (cells(page, "id"), losses(page))
    assert again.input_value("#oip-maps") == "3,5-7"
    assert again.input_value("#oip-origin") == "fluctuation"
    assert again.input_value("#oip-least") == str(least)
    assert again.get_attribute("th[data-column=loss]", "aria-sort") == "descending"
    again.click("tbody a:text-is('3')")
    again.wait_for_load_state("networkidle")
    assert again.inner_text("h1").startswith("Map 3")
    page.click("text=Reset filters")
    assert page.inner_text(".oip-count").startswith(f"{len(finished.store.oip_ids()):,} of ")
    assert page.input_value("#oip-maps") == ""


def picture_on(page, where):
    """The pixels of a picture on the page, each once."""
    sprite = page.locator(where).first
    zoom = int(sprite.evaluate("e => getComputedStyle(e).getPropertyValue('--zoom')"))
    pixels = np.asarray(Image.open(io.BytesIO(sprite.screenshot())).convert("L")).astype(float)
    return pixels[zoom // 2 :: zoom, zoom // 2 :: zoom]


def test_the_wall_shows_the_strongest_oip_of_each_map_as_it_is(explore, finished):
    page = explore()
    oips = best(finished)
    assert shown(page) == [oips[map].id for map in sorted(oips)]
    for name, contrast, most in (("As computed", False, 1), ("Enhanced", True, 3)):
        page.click(f".oip-bar button:text-is('{name}')")
        for map in list(oips)[:3]:
            oip = oips[map]
            wanted = 255 * displayable(oip.image, contrast, oip.inputs)
            on_page = picture_on(page, f"a[data-oip='{oip.id}'] .oip-sprite")
            assert np.abs(on_page - wanted).max() <= most
    assert "contrast=enhanced" in page.url
    page.select_option("#oip-sort", "-loss")
    by_loss = sorted(oips.values(), key=lambda oip: -oip.loss)
    assert shown(page) == [oip.id for oip in by_loss]
    page.reload()
    assert shown(page) == [oip.id for oip in by_loss]
    assert page.get_attribute(".oip-bar button:text-is('Enhanced')", "aria-pressed") == "true"


def test_other_layers_networks_and_priors_have_a_wall(explore, finished):
    page = explore()
    page.select_option("#oip-prior", "smooth(1)")
    assert set(shown(page)) == {oip.id for oip in best(finished, prior="smooth(1)").values()}
    rows = finished.store.oip_rows(OipFilter(best=True, prior="none"))
    page.select_option("#oip-prior", "none")
    for name in ("network", "layer"):
        page.select_option(f"#oip-{name}", "all")
    page.wait_for_function(
        "n => document.querySelectorAll('a.oip-cell').length == n", arg=len(rows)
    )
    assert set(shown(page)) == {row["id"] for row in rows}
    assert page.locator(".oip-body h2").count() == len({(r["network"], r["layer"]) for r in rows})


def test_the_atlas_shows_the_same_side_by_side_with_those_alike(explore, finished):
    page = explore("#view=atlas")
    oips = [oip for _, oip in sorted(best(finished).items())]
    images = np.array([oip.image for oip in oips])
    alike = similarities(images, images)
    assert sorted(shown(page, ".oip-grid")) == sorted(oip.id for oip in oips)
    pairs = most_similar_pairs(alike)
    assert shown(page, ".oip-pairs") == [oips[i].id for pair in pairs.indices for i in pair]
    assert page.inner_text(".oip-pair >> nth=0").split()[-1] == f"{pairs.alike[0]:.2f}"
    # Beside one another they are more alike than by chance.
    n_columns = int(
        page.eval_on_selector(".oip-grid", "e => e.style.getPropertyValue('--columns')")
    )
    number = {oip.id: i for i, oip in enumerate(oips)}
    laid = [number[id] for id in shown(page, ".oip-grid")]
    beside = [alike[a, b] for k, (a, b) in enumerate(itertools.pairwise(laid), 1) if k % n_columns]
    assert np.mean(beside) > pairs.median


@SCHEMES
def test_an_oip_has_an_address(explore, finished, scheme):
    oip = finished.oips(7, best=True).best()
    page = explore(f"#oip-{oip.id}", scheme)
    text = page.inner_text("dialog[open]")
    assert f"OIP {oip.id} of map 7" in " ".join(text.split())
    assert f"{as_shown(oip.loss):g}"[:4] in text
    for command in ("show", "replay"):
        assert f"oip {command} {oip.id}" in text
    wanted = 255 * displayable(oip.image, inputs=oip.inputs)
    assert np.abs(picture_on(page, "dialog .oip-sprite") - wanted).max() <= 1
    # Onwards among those that are shown.
    ids = [oips.id for _, oips in sorted(best(finished).items())]
    at = ids.index(oip.id)
    page.click("dialog >> text=Next")
    assert f"#oip-{ids[at + 1]}" in page.url
    page.click("dialog >> text=Previous")
    page.click("dialog >> text=Previous")
    assert f"OIP {ids[at - 1]} " in page.inner_text("dialog h2")
    page.keyboard.press("ArrowRight")
    page.reload()
    assert f"OIP {oip.id} " in page.inner_text("dialog h2")
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    assert "oip-" not in page.url
    page.click(f"a[data-oip='{oip.id}']")
    page.click("dialog >> text=All OIPs of map 7")
    page.wait_for_selector(".oip-table")
    rows = finished.store.oip_rows(
        OipFilter(maps=[7], layer="Conv2D_3", network=finished.network.id)
    )
    assert sorted(map(int, cells(page, "id"))) == sorted(row["id"] for row in rows)
    page.go_back()
    page.click("dialog >> text=The page of map 7")
    page.wait_for_load_state("networkidle")
    assert page.inner_text("h1").startswith("Map 7")


def test_it_says_where_an_oip_grew_from(explore, finished):
    said = {
        "fluctuation": "Grown from random image no. {}",
        "pattern": "Grown from coarse pattern no. {}",
        "revival": "Grown from coarse pattern no. {}, which the map at first did not respond to",
    }
    first = {row["origin"]: row for row in finished.store.oip_rows(OipFilter())}
    assert {"fluctuation", "pattern"} <= set(first)
    for origin, row in first.items():
        start = row["start"]
        page = explore(f"#oip-{row['id']}")
        number = start["trial"] if origin == "fluctuation" else start["index"]
        text = page.inner_text("dialog[open]")
        assert f"{said[origin].format(number)} (" in text
        assert f"all {row['steps']} steps done" in text
        assert "n_epochs" not in text
    assert "no OIP of this number" in explore("#oip-999999").inner_text("dialog[open]")


def test_the_keyboard_reaches_all_of_it(explore, finished):
    page = explore()
    ids = shown(page)
    page.focus(".oip-bar button >> nth=0")
    for _ in range(40):
        if page.evaluate("document.activeElement.matches('a.oip-cell')"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert f"OIP {ids[1]} " in page.inner_text("dialog[open] h2")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.oip") == str(ids[1])
    page.focus(".oip-bar button:text-is('Table')")
    page.keyboard.press("Enter")
    page.focus("th[data-column=loss] button")
    page.keyboard.press("Enter")
    assert losses(page) == sorted(losses(page), reverse=True)
    assert page.evaluate("document.activeElement.textContent") == "Loss"


@pytest.mark.parametrize(
    ("old", "view"),
    [
        ("find.html#map=3&sort=loss&down=1", "Table"),
        ("06-gallery.html", "Wall"),
        ("atlas.html", "Atlas"),
    ],
)
@SCHEMES
def test_old_addresses_lead_to_their_view(explore, scheme, old, view):
    page = explore(scheme=scheme, name=old)
    page.wait_for_selector(f".oip-switch button[aria-pressed=true]:text-is('{view}')")
    if view == "Table":
        assert set(cells(page, "map")) == {"3"}
        assert losses(page) == sorted(losses(page), reverse=True)


def test_the_database_can_be_downloaded(explore, finished, tmp_path):
    page = explore()
    with page.expect_download() as download:
        page.click("a[download]")
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extract("oip.db", tmp_path)
    assert Store(tmp_path / "oip.db").oip_ids() == finished.store.oip_ids()


# Databases unlike this one


@pytest.fixture
def page_of(browser, built, tmp_path):
    """A function that opens the page with other data beside it: a table, or what is written."""

    (tmp_path / "_static").symlink_to(built / "_static")

    def page_of(data=None, address=""):
        for name in ("explore.html", "explore.js", "explore.css"):
            shutil.copy(built / name, tmp_path)
        if data is not None:
            (tmp_path / "explore-data.js").write_text(f"window.OIPS = {json.dumps(data)};")
        page = browser.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{tmp_path.as_uri()}/explore.html{address}")
        return page

    errors = []
    yield page_of
    assert errors == []


def table_of(n, n_maps=128, **others):
    """Data of the page: n OIPs without pictures."""
    layer = {"network": 1, "name": "mine", "layer": "seen", "maps": n_maps}
    places = range(n)
    oips = {
        "id": [place + 1 for place in places],
        "layer": [0] * n,
        "map": [place % n_maps for place in places],
        "loss": [float(place) for place in places],
        "steps": [90] * n,
        "start": list(places),
        **{name: [0] * n for name in ("origin", "prior", "status", "family")},
        "objective": {},
        "gain": [],
        "texts": {
            "origin": ["pattern"],
            "prior": ["none"],
            "status": ["n_epochs"],
            "family": ["x"],
        },
    }
    table = {"across": 32, "sheets": [], "home": 0, "pages": "0", "dead": None, "atlas": []}
    return {**table, "layers": [{**layer, "silent": "", "unsearched": 0}], "oips": oips, **others}


def test_a_hundred_thousand_oips_are_shown_by_pages(page_of):
    page = page_of(table_of(100_000), "#view=table&sort=-loss")
    assert page.inner_text(".oip-count") == "100,000 of 100,000 OIPs"
    assert cells(page, "id") == [str(100_000 - k) for k in range(50)]
    page.click(".oip-pages >> text=Next")
    assert cells(page, "id")[0] == "99950"
    page.fill("#oip-page", "2000")
    page.keyboard.press("Enter")
    assert cells(page, "id")[-1] == "1"
    assert page.locator(".oip-pages button:disabled").all_inner_texts() == ["Next"]
    page.reload()
    assert cells(page, "id")[-1] == "1"
    page.fill("#oip-maps", "127")
    assert page.inner_text(".oip-count") == f"{100_000 // 128:,} of 100,000 OIPs"
    page.click(".oip-bar button:text-is('Wall')")
    page.fill("#oip-maps", "")
    assert len(shown(page)) == 128


def test_many_maps_have_a_wall_of_several_pages(page_of):
    page = page_of(table_of(2000, n_maps=2000))
    assert len(shown(page)) == 512
    for _ in range(3):
        page.click(".oip-pages >> text=Next")
    assert shown(page) == list(range(1537, 2001))


def test_one_map_alone_has_a_page(page_of):
    page = page_of(table_of(1, n_maps=1))
    assert shown(page) == [1]
    for control in ("network", "layer", "prior", "objective"):
        assert page.locator(f"#oip-{control}").count() == 0
    page.click(".oip-bar button:text-is('Atlas')")
    assert "no neighbours" in page.inner_text(".oip-body")


def test_a_text_of_a_database_is_a_text(page_of):
    text = "<img src=x onerror='window.hacked=1'></script>"
    table = table_of(1)
    table["layers"][0] |= {"name": text, "layer": text}
    table["oips"]["texts"] = {name: [text] for name in table["oips"]["texts"]}
    table["oips"] |= {"map": [None], "objective": {"0": text}}
    for address in ("", "#view=atlas", "#view=table", "#oip-1"):
        page = page_of(table, address)
        assert page.evaluate("window.hacked") is None
        assert page.locator(".oip-explore img").count() == 0
        assert "onerror" in page.inner_text(".oip-explore")


def emptied(finished, copied, path, statement):
    """A copy of the study from which something was removed."""
    copied(finished.store.name, path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)
    return Study(path, finished.spec)


def test_maps_without_an_oip_are_named(page_of, finished, copied, tmp_path):
    without = "DELETE FROM oips WHERE map IN (3, 5)"
    write_explore(emptied(finished, copied, tmp_path / "oip.db", without), SHOWN, tmp_path)
    page = page_of()
    assert "Searched without finding an OIP: Conv2D_3, maps 3, 5" in page.inner_text(".oip-body")
    assert page.get_attribute(".oip-without a:text-is('3')", "href") == "maps/map-003.html"
    assert page.locator(".oip-without a").count() == 1  # no other of them has a page
    assert len(shown(page)) == len({*best(finished)} - {3, 5})


def test_a_database_without_oips_says_so(page_of, finished, copied, tmp_path):
    study = emptied(finished, copied, tmp_path / "oip.db", "DELETE FROM oips")
    write_explore(study, SHOWN, tmp_path)
    for address in ("", "#view=atlas", "#view=table", "#oip-1"):
        page = page_of(None, address)
        assert "no OIPs yet" in page.inner_text(".oip-body")
    assert list(tmp_path.glob("explore-*.png")) == []


def test_pictures_end_where_there_would_be_too_many(finished, tmp_path, monkeypatch):
    """The strongest of each map come first, and of all others the numbers are there."""
    monkeypatch.setattr("oiplib.publish.pages._MOST_PIXELS", 20 * 28 * 28)
    write_explore(finished, SHOWN, tmp_path)
    text = (tmp_path / "explore-data.js").read_text()
    table = json.loads(text.removeprefix("window.OIPS = ")[:-2])
    n_pictures = sum(n for n, *_ in table["sheets"])
    assert n_pictures == 20 == len(table["oips"]["gain"])
    assert sorted(table["oips"]["id"]) == finished.store.oip_ids()
    strongest = {row["id"] for row in finished.store.oip_rows(OipFilter(best=True, prior="none"))}
    assert set(table["oips"]["id"][:20]) <= strongest


# The search


def hits(page):
    return page.locator("#oip-hits li").all_inner_texts()


@SCHEMES
def test_the_search_finds_an_oip_first(explore, finished, scheme):
    oip = finished.oips(7, best=True).best()
    page = explore(f"?q=OIP+{oip.id}", scheme, "search.html")
    assert hits(page)[0].startswith(f"OIP {oip.id} of map 7 of Conv2D_3")
    page.click("#oip-hits a >> nth=0")
    assert f"OIP {oip.id} " in page.inner_text("dialog[open] h2")


@SCHEMES
def test_the_search_finds_a_map_first(explore, scheme):
    page = explore("?q=map+7", scheme, "search.html")
    page.wait_for_selector("#search-results a")
    assert hits(page)[0] == "Map 7 of Conv2D_3: its page"
    assert "Map 7" in page.inner_text("#search-results")
    tops = [
        page.locator(which).first.bounding_box()["y"] for which in ("#oip-hits", "#search-results")
    ]
    assert tops[0] < tops[1]
    page.click("#oip-hits a >> nth=0")
    page.wait_for_load_state("networkidle")
    assert page.inner_text("h1").startswith("Map 7")


def test_the_search_finds_dead_maps_first(explore, finished):
    page = explore("?q=dead+map", name="search.html")
    with_oip = set(best(finished))
    silent = [map for map in finished.searched_maps() if map not in with_oip]
    assert "dead map" in hits(page)[0].lower()
    if silent:
        assert any(f"{silent[0]}" in hit and "Maps without an OIP" in hit for hit in hits(page))


def test_the_search_has_no_hits_of_its_own_for_a_word(explore):
    page = explore("?q=network", name="search.html")
    page.wait_for_selector("#search-results a")
    assert hits(page) == []


def test_the_search_finds_no_folded_code(explore, built):
    text = (built / "searchindex.js").read_text()
    index = json.loads(text[text.index("(") + 1 : text.rindex(")")])
    chapters = {chapter.name for chapter in CHAPTERS}

    def found(word):
        places = index["terms"].get(word, [])
        names = index["docnames"]
        return {names[place] for place in ([places] if isinstance(places, int) else places)}

    assert found("gallery_html") & chapters == set()
    assert "gallery_html" in (built / "03-oip.html").read_text()
    assert found("random") & chapters
    page = explore("?q=fluctuation", name="search.html")
    page.wait_for_selector("#search-results .context")
    assert "import " not in page.inner_text("#search-results")
