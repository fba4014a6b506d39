"""A map's page in a real browser: its OIP grows along a slider, keys lead to its neighbours."""

import base64
import io
import json
import re

import numpy as np
import pytest
from browsing import Watched, needs_browser
from bs4 import BeautifulSoup
from conftest import SHOWN
from PIL import Image
from test_site import HOSTILE

from oiplib.analysis.sight import Sight
from oiplib.figures import growing
from oiplib.pictures import contrast_gain, from_bytes, in_bytes, on_one_scale, scaled
from oiplib.publish import for_maps, growth, plots
from oiplib.publish.words import sight_of
from oiplib.study.questions import reaction
from oiplib.study.unique import PRIORS
from oiplib.values import AscentSpec, ClimbSpec, Inputs

MAP = SHOWN[1]


@pytest.fixture
def watched(browser, home):
    watched = Watched(browser, home)
    yield watched
    assert watched.wrong == []


@pytest.fixture
def page(watched, home):
    return watched.open(f"{home}/maps/map-{MAP:03d}.html")


def bests(study):
    found = {name: study.oips(MAP, prior=prior) for name, prior in PRIORS.items()}
    return {name: of_prior.best() for name, of_prior in found.items() if of_prior}


SHOWN_VERSION = ".oip-growth-version:not([hidden])"


def at(page):
    """What the page shows of the growth: picture, dot, and the words beside the slider."""
    return page.evaluate(
        """version => {
          const shown = document.querySelector(version);
          const image = shown.querySelector("img"), dot = shown.querySelector(".oip-curve-dot");
          const style = getComputedStyle(image);
          return {
            place: style.objectPosition, filter: style.filter,
            dot: [Number(dot.getAttribute("cx")), Number(dot.getAttribute("cy"))],
            said: document.querySelector(".oip-growth output").textContent,
          };
        }""",
        SHOWN_VERSION,
    )


def middle_pixel(page):
    """The grey values that the reader sees in the middle of the large picture, 28 x 28."""
    picture = page.locator(f"{SHOWN_VERSION} img")
    shot = Image.open(io.BytesIO(picture.screenshot())).convert("L")
    side = shot.width / 28
    centres = ((np.arange(28) + 0.5) * side).astype(int)
    return np.asarray(shot)[np.ix_(centres, centres)]


@needs_browser
def test_the_slider_moves_picture_and_dot(page, finished):
    oip = bests(finished)["strongest"]
    pictures, slider = (
        growing(oip.frames, oip.inputs),
        page.locator(".oip-growth input[type=range]"),
    )
    page.check("input[name=oip-contrast][value=plain]")
    dots = []
    for k, step in enumerate(oip.report_steps):
        slider.fill(str(k))
        assert at(page)["said"] == f"step {step}, loss {oip.trace[step]:.3g}"
        np.testing.assert_allclose(middle_pixel(page), pictures[k, ..., 0], atol=2)
        dots.append(at(page)["dot"])
    assert np.all(np.diff([x for x, _ in dots]) > 0)
    # The dot stands higher where the loss is larger.
    heights = -np.array([y for _, y in dots])
    assert (np.argsort(heights) == np.argsort(oip.trace[oip.report_steps])).all()
    # And it stands on the curve.
    points = page.get_attribute(f"{SHOWN_VERSION} polyline", "points").split()
    assert {f"{x:g},{y:g}" for x, y in dots} <= set(points)


@needs_browser
def test_it_grows_by_itself_and_ends(page):
    page.click(".oip-growth-play")
    assert page.inner_text(".oip-growth-play") == "Pause"
    page.wait_for_function("document.querySelector('.oip-growth-play').textContent == 'Grow'")
    slider = page.locator(".oip-growth input[type=range]")
    assert slider.input_value() == slider.get_attribute("max") != "0"


@needs_browser
def test_toggles_switch_contrast_and_version(page, finished):
    versions = bests(finished)
    assert len(versions) == 3
    for number, (name, oip) in enumerate(versions.items()):
        page.get_by_label(name, exact=True).check()
        assert page.locator(SHOWN_VERSION).get_attribute("data-version") == str(number)
        assert at(page)["said"] == f"step {oip.steps}, loss {oip.loss:.3g}"
        enhanced = float(re.fullmatch(r"contrast\((.*)\)", at(page)["filter"])[1])
        assert enhanced == pytest.approx(contrast_gain(oip.image, oip.inputs), rel=1e-3)
        gained = np.clip(0.5 + enhanced * (scaled(oip.image)[..., 0] - 0.5), 0, 1)
        assert np.abs(middle_pixel(page) / 255 - gained).mean() < 0.01
        page.get_by_label("as computed").check()
        assert at(page)["filter"] == "none"
        page.get_by_label("enhanced", exact=True).check()


@needs_browser
def test_keys_lead_to_the_neighbours_and_to_all_maps(page, home):
    for key, number in (("ArrowRight", SHOWN[2]), ("ArrowLeft", MAP), ("ArrowLeft", SHOWN[0])):
        page.keyboard.press(key)
        page.wait_for_url(f"{home}/maps/map-{number:03d}.html")
        page.wait_for_load_state("networkidle")
    page.keyboard.press("ArrowLeft")  # nothing comes before the first map
    page.route("**/explore.html", lambda route: route.fulfill(body="<title>all</title>"))
    page.keyboard.press("Control+g")
    page.wait_for_timeout(100)
    assert page.url == f"{home}/maps/map-{SHOWN[0]:03d}.html"
    page.keyboard.press("g")
    page.wait_for_url(f"{home}/explore.html")


@needs_browser
def test_the_keyboard_alone_reaches_all_of_it(page):
    wanted = [
        *(".oip-neighbours a[rel=prev]", ".oip-neighbours a[rel=next]", ".oip-growth-play"),
        *("input[type=range]", "input[name=oip-contrast]", "input[name=oip-version]"),
    ]
    reached = []
    while len(reached) < len(wanted):
        page.keyboard.press("Tab")
        here = "all => all.filter(each => document.activeElement.matches(each))"
        reached += page.evaluate(here, wanted)
        assert not page.evaluate("document.activeElement.matches('.oip-folded summary')"), reached
    assert reached == wanted
    page.keyboard.press("ArrowRight")  # the next version, and no other page
    assert page.locator(SHOWN_VERSION).get_attribute("data-version") == "1"
    slider = page.locator(".oip-growth input[type=range]")
    slider.focus()
    before = at(page)
    page.keyboard.press("ArrowLeft")
    after = at(page)
    assert after["place"] != before["place"]
    assert after["dot"] != before["dot"]
    assert slider.get_attribute("aria-valuetext") == after["said"]
    page.locator(".oip-folded summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator(".oip-folded").first.get_attribute("open") is not None


@needs_browser
def test_without_javascript_the_end_and_the_curve_are_shown(browser, built, finished):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{built.as_uri()}/maps/map-{MAP:03d}.html")
    assert page.locator(".oip-growth-version:visible").count() == 1
    assert page.locator(f"{SHOWN_VERSION} .oip-curve").is_visible()
    assert not page.locator(".oip-growth-controls").is_visible()
    oip = bests(finished)["strongest"]
    gained = on_one_scale(oip.image[None] * contrast_gain(oip.image), oip.image)[0, ..., 0]
    assert np.abs(middle_pixel(page).astype(int) - gained).mean() < 3
    assert "Without JavaScript" in page.inner_text(".oip-growth noscript")
    context.close()


def test_a_page_is_light(built):
    theme = 0.6e6  # what each page loads beside itself
    own = [built / "map.js", built / "map.css"]
    for number in SHOWN:
        page = built / "maps" / f"map-{number:03d}.html"
        assert sum(path.stat().st_size for path in (page, *own)) < 1e6 - theme


def test_frames_mark_what_the_strongest_position_sees(built, finished):
    """Outside of the frame the image may be anything: that position responds as before."""
    seen, sight = reaction(finished, "data"), sight_of(finished)
    facts = for_maps.for_maps(finished, [MAP])
    soup = BeautifulSoup((built / f"maps/map-{MAP:03d}.html").read_text(), "html.parser")
    frames = [tag["style"] for tag in soup.find_all("span") if "#f5a623" in tag.get("style", "")]
    assert len(frames) == for_maps.N_IMAGES
    pictures = seen.pictures(MAP)
    rng = np.random.default_rng(0)
    for k, frame in enumerate(frames):
        place = dict(re.findall(r"(left|top|width|height):([\d.]+)%", frame))
        left, top, width, height = (
            round(28 * float(place[name]) / 100) for name in ("left", "top", "width", "height")
        )
        row, column = facts.positions[MAP, k]
        inside = np.s_[top : top + height, left : left + width]
        image = finished.inputs_of(pictures[[k]], (0.0, 255.0))
        # Not standardized anew, or all of it would change.
        other = rng.normal(size=image.shape).astype(np.float32)
        other[0][inside] = image[0][inside]
        own, changed = finished.engine.activations(np.concatenate([image, other]))[..., MAP]
        assert own[row, column] == own.max() > 0
        assert changed[row, column] == pytest.approx(own[row, column], rel=1e-4)
        assert changed.sum() != pytest.approx(own.sum(), rel=1e-3)
    assert (facts.positions[MAP + 1] == -1).all()
    assert sight.text(28, 28) in soup.get_text()


def test_what_pages_share_is_handed_on(finished, tmp_path, monkeypatch):
    facts = for_maps.for_maps(finished, [MAP])
    assert len(facts.networks) == 3
    facts.save(tmp_path / "file")
    monkeypatch.setenv(for_maps.PLACE, str(tmp_path / "file"))
    monkeypatch.setattr(for_maps, "_positions", None)  # isn't asked again
    monkeypatch.setattr(for_maps, "pattern_images", None)
    again = for_maps.for_maps(finished, [MAP])
    liked = facts.liked[MAP]
    assert len(liked) == len(for_maps.liked_patterns(finished, MAP)[0]) > 0
    np.testing.assert_array_equal(again.liked[MAP], liked)
    for name, array in vars(facts).items():
        if name != "liked":
            np.testing.assert_array_equal(getattr(again, name), array)


def test_partners_are_those_of_the_comparison(finished):
    from oiplib.study.answers import compared_trainings

    facts = for_maps.for_maps(finished, [MAP])
    for pair in compared_trainings(finished):
        if pair.networks[0] == finished.network.id:
            row = facts.networks.tolist().index(pair.networks[1])
            np.testing.assert_array_equal(facts.partners[row], pair.partners)


# What is drawn, without a browser


def sprite_of(html):
    soup = BeautifulSoup(html, "html.parser")
    data = soup.find("img")["src"].split(",")[1]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    is_grey = (picture == picture[..., :1]).all()  # a WebP has three channels
    return picture[..., 0].astype(int) if is_grey else picture


def test_frames_have_one_scale_with_0_at_mid_grey(tiny_study):
    oip = next(oip for oip in tiny_study.oips() if len(oip.frames))
    sprite = sprite_of(growth.picture_html({"strongest": oip}))
    frames = np.split(sprite, len(oip.frames), axis=1)
    values = from_bytes(oip.frames, oip.inputs)[..., 0]
    shown = 127.5 + 127.5 * np.clip(values / np.abs(oip.image).max(), -1, 1)
    np.testing.assert_allclose(np.array(frames), shown, atol=1)  # frames are rounded
    last = 255 * scaled(oip.image)[..., 0]
    np.testing.assert_allclose(frames[-1], last, atol=2)


def test_colours_stay_and_large_images_get_smaller(tiny_study):
    oip = next(oip for oip in tiny_study.oips() if len(oip.frames))
    rng = np.random.default_rng(0)

    class Coloured:
        inputs, steps, report_steps, trace = oip.inputs, oip.steps, oip.report_steps, oip.trace
        spec, subject, loss = oip.spec, oip.subject, oip.loss
        image = rng.normal(size=(640, 480, 3)).astype(np.float32)
        frames = rng.integers(0, 256, (len(oip.frames), 640, 480, 3), np.uint8)

    html = growth.picture_html({"one": Coloured(), "two": Coloured(), "three": Coloured()})
    assert len(html) < 9e5
    assert sprite_of(html).shape == (160, 120 * len(oip.frames), 3)


def test_an_oip_without_frames_is_shown_as_it_ended(tiny_study):
    oip = next(oip for oip in tiny_study.oips() if not len(oip.frames))
    html = growth.picture_html({"strongest": oip})
    np.testing.assert_allclose(sprite_of(html), 255 * scaled(oip.image)[..., 0], atol=0.51)
    version = BeautifulSoup(html, "html.parser").find(class_="oip-growth-version")
    assert json.loads(version["data-growth"])["steps"] == [oip.steps]


class Climbed:
    def __init__(self, stages, trace):
        self.spec = (ClimbSpec(stages) if len(stages) > 1 else stages[0]).to_dict()
        self.trace, self.steps = np.array(trace, np.float32), len(trace) - 1


def test_jumps_are_where_steps_get_larger_again():
    first = AscentSpec(4, 0.8, n_steps=0, objective="pre-activation")
    second = AscentSpec(3, 0.8, n_steps=0, schedule="cosine")
    third = AscentSpec(3, 0.5, n_steps=0, schedule="cosine")
    oip = Climbed((first, second, third), [3, 1, 2, 3, 4, 6, 5, 7])
    assert growth.begins_below(oip) == 3
    (jump,) = growth.jumps(oip)  # the second begins as the first ended
    assert (jump.step, jump.falls) == (5, True)
    assert (jump.before, jump.after) == (second.epsilons[-1], 0.5)
    risen = Climbed((first, second, third), [0, 1, 2, 3, 4, 6, 7, 8])
    assert growth.begins_below(risen) == 0
    assert [jump.falls for jump in growth.jumps(risen)] == [False]
    assert growth.jumps(Climbed((second,), [0, 1, 2])) == []
    # An ascent that ended before has no later rounds.
    assert growth.jumps(Climbed((first, second, third), [0, 1])) == []


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_are_shown_as_they_are(tiny_study, text):
    oip = next(oip for oip in tiny_study.oips() if len(oip.frames))
    pages = [
        growth.picture_html({text: oip, f"other {text}": oip}),
        growth.neighbours_html((text, text), (text, text)),
        growth.folded_html(text, [text], [text], [{text: text}]),
    ]
    for html in pages:
        soup = BeautifulSoup(html, "html.parser")
        assert soup.find_all(["svg onload", "em", "strong"]) == []
        assert all(tag.get("src") in ("../map.js",) for tag in soup.find_all("script"))
        assert [a for tag in soup.find_all(True) for a in tag.attrs if a.startswith("on")] == []
        assert " ".join(text.split()) in " ".join(soup.get_text(" ").split())


def test_frames_are_cut_at_the_edge():
    part = Sight(6.0, 4.0, (2.0, 2.0), first=(-2.0, 8.0)).part(0, 0)
    html = plots.gallery_html([np.eye(10)[..., None]], ["x"], parts=[part])
    assert "left:80.00%;top:0.00%;width:20.00%;height:40.00%" in html


def test_pictures_of_a_range_are_drawn_back():
    inputs = Inputs(0, 1)
    images = np.linspace(0, 1, 12).reshape(1, 2, 2, 3)
    np.testing.assert_array_equal(on_one_scale(images, images[0], inputs), in_bytes(images, inputs))
