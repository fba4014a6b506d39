"""The front page in a real browser: its wall grows, is ordered, and is kept in the address."""

import io
import itertools
import json
import re

import numpy as np
import pytest
from browsing import Watched, needs_browser
from conftest import SHOWN
from PIL import Image

from oiplib import Inputs, Study
from oiplib.analysis.estimates import over_maps
from oiplib.analysis.layout import layout
from oiplib.analysis.similarity import similarities
from oiplib.pictures import contrast_gain, from_bytes, scaled
from oiplib.publish import wall
from oiplib.publish.findings import MOST_FINDINGS, findings
from oiplib.study.questions import reaction
from oiplib.study.unique import PRIORS

PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
CALM = {"reduced_motion": "reduce"}


@pytest.fixture
def watched(browser, home):
    """A browser whose reader wants no motion, so that nothing moves by itself."""
    watched = Watched(browser, home, **CALM)
    yield watched
    assert watched.wrong == []


def best(study, kind="strongest"):
    return {oip.map: oip for oip in study.oips(best=True, prior=PRIORS[kind])}


def opened(watched, home, state=""):
    page = watched.open(f"{home}/index.html{'#' if state else ''}{state}")
    shown(page)
    return page


def shown(page):
    """Wait until the pictures of the chosen kind are there."""
    page.wait_for_selector(".wall-grid[data-shown]")


def take(page, value):
    """Choose one of two looks."""
    page.click(f".wall-choice label:has(input[value={value}])")


def order(page):
    return page.eval_on_selector_all(".wall-map", "all => all.map(a => +a.dataset.map)")


def look(page, map):
    """The picture of a map as it is on the screen, (height, width, 3)."""
    shot = page.locator(f".wall-map[data-map='{map}'] canvas").screenshot(animations="disabled")
    return np.array(Image.open(io.BytesIO(shot)).convert("RGB"), int)


def pixels(page, map):
    """The pixels of a map's picture before its contrast is enhanced, over HTTP only."""
    script = """map => {
        const canvas = document.querySelector(`[data-map='${map}'] canvas`);
        const { height, width } = canvas;
        return [height, width, ...canvas.getContext("2d").getImageData(0, 0, width, height).data];
    }"""
    height, width, *values = page.evaluate(script, map)
    return np.array(values).reshape(height, width, 4)[..., :3]


def focused(page):
    return page.evaluate("document.activeElement.dataset.map ?? ''")


@needs_browser
def test_the_wall_grows_frame_by_frame(watched, home, finished):
    page = opened(watched, home, "frame=0")
    map = min(best(finished))
    looks = [look(page, map)]
    slider = page.locator(".wall-slider")
    n_frames = int(slider.get_attribute("max")) + 1
    for frame in range(1, n_frames):
        slider.press("ArrowRight")
        assert slider.input_value() == str(frame)
        looks.append(look(page, map))
    assert all((one != next).any() for one, next in itertools.pairwise(looks))

    # Grown by the button, the images end the same; on the way the button stops them.
    slider.press("Home")
    page.click(".wall-grow")
    page.wait_for_selector(".wall-grow:has-text('Pause')")
    page.wait_for_function(f"document.querySelector('.wall-slider').value == {n_frames - 1}")
    page.wait_for_selector(".wall-grow:has-text('Grow')")
    assert (look(page, map) == looks[-1]).all()


@needs_browser
def test_it_grows_by_itself_once_and_not_for_who_wants_no_motion(browser, served):
    watched = Watched(browser, served)
    watched.context.add_init_script(
        """window.lowest = Infinity;
        setInterval(() => {
          const slider = document.querySelector(".wall-slider");
          if (slider) window.lowest = Math.min(window.lowest, +slider.value);
        }, 5);"""
    )
    page = opened(watched, served)
    ended = (
        "document.querySelector('.wall-slider').value == document.querySelector('.wall-slider').max"
    )
    page.wait_for_function("window.lowest == 0")
    page.wait_for_function(ended)
    page.reload(wait_until="networkidle")
    shown(page)
    assert page.evaluate(f"{ended} && window.lowest > 0")
    assert watched.wrong == []

    page = opened(Watched(browser, served, **CALM), served)
    assert page.evaluate(ended)
    assert page.inner_text(".wall-grow").endswith("Grow")


@needs_browser
@pytest.mark.parametrize("kind", wall.KINDS)
def test_pictures_are_those_of_the_database(browser, served, finished, kind):
    page = opened(Watched(browser, served, **CALM), served, f"kind={kind}")
    n_frames = int(page.get_attribute(".wall-slider", "max")) + 1
    for map, oip in best(finished, kind).items():
        stored = 255 * scaled(oip.image, finished.inputs)
        assert np.abs(pixels(page, map) - stored).max() < 3, map
    page.locator(".wall-slider").press("Home")
    with_frames = [oip for oip in best(finished, kind).values() if len(oip.frames) == n_frames]
    assert with_frames
    for oip in with_frames:
        start = from_bytes(oip.frames[:1], finished.inputs)[0]
        # All frames have the scale of the last one.
        stored = 255 * np.clip(0.5 + start / (2 * np.abs(oip.image).max()), 0, 1)
        assert np.abs(pixels(page, oip.map) - stored).max() < 4, oip.map


@needs_browser
def test_looks_are_switched(watched, home, finished):
    page = opened(watched, home)
    asked = []
    page.on("request", lambda request: asked.append(request.url.rsplit("/", 1)[1]))
    oips, legible = best(finished), best(finished, "legible")
    map = max(oips)
    filter = (
        f"getComputedStyle(document.querySelector(`.wall-map[data-map='{map}'] canvas`)).filter"
    )
    enhanced = look(page, map)
    gain = float(re.fullmatch(r"contrast\((.+)\)", page.evaluate(filter))[1])
    assert gain == pytest.approx(contrast_gain(oips[map].image), rel=1e-4)
    take(page, "computed")
    assert page.evaluate(filter) == "none"
    computed = look(page, map)
    assert np.ptp(computed) < np.ptp(enhanced) or computed.std() < enhanced.std()

    # The sheet of the legible ones isn't loaded before it is asked for.
    assert "wall-legible.webp" not in asked
    take(page, "legible")
    shown(page)
    assert "wall-legible.webp" in asked
    assert (look(page, map) != computed).any()
    page.hover(f".wall-map[data-map='{map}']")
    assert f"OIP {legible[map].id}," in page.inner_text(".wall-lens")


@needs_browser
def test_maps_are_ordered_and_filtered_as_the_database_says(watched, home, finished):
    page = opened(watched, home)
    oips, n_maps = best(finished), finished.layer.n_maps
    silent = [map for map in range(n_maps) if map not in oips]
    assert order(page) == list(range(n_maps))
    page.select_option("#oip-wall-order", "loss")
    assert order(page) == sorted(oips, key=lambda map: -oips[map].loss) + silent
    page.select_option("#oip-wall-order", "similarity")
    images = np.array([oip.image for oip in oips.values()])
    placed = layout(similarities(images, images), min(16, len(images)))
    assert order(page) == [list(oips)[k] for k in placed] + silent

    found = finished.summary().found
    ways = [way for way, maps in found.items() if maps]
    assert len(ways) > 1
    for way in ways:
        page.select_option("#oip-wall-from", way)
        dim = page.eval_on_selector_all(".wall-map.is-dim", "all => all.map(a => +a.dataset.map)")
        assert sorted(dim) == [map for map in range(n_maps) if map not in found[way]]
        assert page.inner_text(".wall-said").startswith(f"{len(found[way])} of {n_maps} maps")


@needs_browser
def test_the_address_keeps_what_was_chosen(watched, home):
    page = opened(watched, home)
    take(page, "computed")
    take(page, "legible")
    page.select_option("#oip-wall-order", "loss")
    page.locator(".wall-slider").press("ArrowLeft")
    page.focus(".wall-map[data-map='3']")
    page.wait_for_function("location.hash.includes('map=3')")

    def state(page):
        shown(page)
        return (
            order(page),
            page.input_value(".wall-slider"),
            page.eval_on_selector_all(".wall-choice input:checked", "all => all.map(i => i.value)"),
            page.get_attribute(".wall-map.is-chosen", "data-map"),
            page.inner_text(".wall-lens"),
        )

    chosen = state(page)
    assert chosen[2:4] == (["computed", "legible"], "3")
    page.reload(wait_until="networkidle")
    assert state(page) == chosen
    elsewhere = watched.open(page.url)
    assert state(elsewhere) == chosen
    # What the page doesn't know changes nothing.
    odd = opened(watched, home, "frame=-1&order=x&map=999&from=constructor&kind=__proto__")
    assert order(odd) == sorted(order(odd))
    assert odd.input_value(".wall-slider") == odd.get_attribute(".wall-slider", "max")


@needs_browser
def test_the_keyboard_alone_reaches_a_map_and_opens_its_page(watched, home):
    page = opened(watched, home)
    for _ in range(60):
        page.keyboard.press("Tab")
        if focused(page):
            break
    page.keyboard.press("Home")
    assert focused(page) == "0"
    page.keyboard.press("End")
    last = int(focused(page))
    page.keyboard.press("ArrowLeft")
    assert focused(page) == str(last - 1)
    page.keyboard.press("Home")
    for _ in range(SHOWN[1]):
        page.keyboard.press("ArrowRight")
    assert page.inner_text(".wall-title") == f"Map {SHOWN[1]}"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/map-{SHOWN[1]:03}.html")
    assert page.inner_text("h1").startswith(f"Map {SHOWN[1]}")


@needs_browser
def test_the_pointer_names_a_map(watched, home, finished):
    page = opened(watched, home)
    for map, oip in list(best(finished).items())[:4]:
        page.hover(f".wall-map[data-map='{map}']")
        told = page.inner_text(".wall-lens")
        assert f"Map {map}\n" in told
        assert f"Loss {float(f'{oip.loss:.3g}'):g}" in told
        assert f"OIP {oip.id}," in told
    # A map without a page leads nowhere.
    without = next(map for map in range(finished.layer.n_maps) if map not in SHOWN)
    assert page.get_attribute(f".wall-map[data-map='{without}']", "href") is None


@needs_browser
def test_on_a_phone_the_first_tap_names_a_map_and_the_second_opens_its_page(browser, served):
    watched = Watched(browser, served, **PHONE, **CALM)
    page = opened(watched, served)
    columns = "getComputedStyle(document.querySelector('.wall-grid')).gridTemplateColumns"
    assert len(page.evaluate(columns).split()) == 8
    tile = f".wall-map[data-map='{SHOWN[2]}']"
    assert not page.is_visible(".wall-lens")
    page.tap(tile)
    assert page.inner_text(".wall-title") == f"Map {SHOWN[2]}"
    assert page.is_visible(".wall-picture canvas")
    assert "index.html" in page.url
    page.tap(".wall-close")
    assert not page.is_visible(".wall-lens")
    page.tap(tile)
    page.tap(tile)
    page.wait_for_url(f"**/map-{SHOWN[2]:03}.html")
    assert watched.wrong == []


@needs_browser
def test_a_layer_without_oips_or_without_one_kind_says_so(browser, served, built):
    data = json.loads((built / "wall-data.js").read_text()[len("window.WALL = ") : -2])

    def front(altered):
        watched = Watched(browser, served, **CALM)
        text = f"window.WALL = {json.dumps(altered)};"
        watched.context.route("**/wall-data.js", lambda route: route.fulfill(body=text))
        page = watched.open(f"{served}/index.html")
        assert watched.wrong == []
        return page

    silent = {**data, "sheets": {}, "maps": [{**row, "oips": {}} for row in data["maps"]]}
    assert "No map has an OIP" in front(silent).inner_text("#oip-wall")
    (file, *_) = data["sheets"].items()
    page = front({**data, "sheets": dict([file])})
    assert "legible" not in page.inner_text(".wall-controls")
    data["maps"][2]["oips"] = {}
    page = front(data)
    page.hover(".wall-map[data-map='2']")
    assert "No OIP was found" in page.inner_text(".wall-lens")


# What stands in the files


def front_page(built):
    from bs4 import BeautifulSoup

    return BeautifulSoup((built / "index.html").read_text(), "html.parser")


def test_findings_say_what_the_study_says(built, finished):
    page = front_page(built)
    told = [cell.get_text(" ", strip=True) for cell in page.select(".wall-findings .sd-col")]
    pictures = page.select(".wall-findings img")
    assert len(told) == len(pictures) == len(findings(finished)) == MOST_FINDINGS
    assert all(picture["alt"] for picture in pictures)
    oips, legible = best(finished), best(finished, "legible")
    ratios = [legible[map].loss / oips[map].loss for map in oips if map in legible]
    assert any(over_maps(np.array(ratios)).text() in text for text in told)
    top = reaction(finished, "data").top_responses[:, 0]
    times = over_maps(np.array([oips[map].loss / top[map] for map in oips if top[map] > 0]))
    assert any(times.text(".1f") in text for text in told) == (times.value > 1)
    for cell in page.select(".wall-findings .sd-col"):
        for paragraph in cell.select("p"):
            assert len(re.findall(r"\d[\d.,]*", paragraph.get_text())) <= 3


def test_a_finding_that_a_study_lacks_data_for_is_left_out(finished, copied, tmp_path):
    import sqlite3
    from contextlib import closing

    path = copied(finished.store.name, tmp_path / "bare.db")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE networks SET dataset = NULL, spec = NULL")
        db.execute("DELETE FROM reactions WHERE kind = 'data'")
    pages = [finding.page for finding in findings(Study(path, network=finished.network.id))]
    assert "classes" not in pages
    assert "08-two-trainings" not in pages
    assert "legible" in pages


@pytest.mark.parametrize("channels", [1, 3])
def test_sheets_of_large_images_stay_small(channels, monkeypatch):
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (3, 224, 224, channels)).astype(np.float32)
    grown = [wall._Grown(images, np.array([0, 5, 9])), None] * 8
    n_frames, (width, height), encoded = wall._sheet(grown, Inputs(0, 255))
    assert (n_frames, max(width, height) <= 64) == (3, True)
    monkeypatch.setattr(wall, "MOST_BYTES", len(encoded) // 3)
    _, size, smaller = wall._sheet(grown, Inputs(0, 255))
    assert len(smaller) <= len(encoded) // 3
    sheet = Image.open(io.BytesIO(smaller))
    assert sheet.size == (16 * size[0], 3 * size[1])
