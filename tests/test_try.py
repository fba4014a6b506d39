"""The page on which the network runs in the reader's browser: it computes what the engine does."""

import json
import re
import shutil

import numpy as np
import pytest
from browsing import Watched, needs_browser

from oiplib import AscentSpec, FluctuationSpec, Study
from oiplib.engine.ascent import ascend, gradients
from oiplib.engine.priors import disturbances
from oiplib.engine.starts import start_images
from oiplib.engine.tf import keras, tf
from oiplib.publish.browser import Unknown, box_of, operations_of, write_network
from oiplib.publish.notebooks import templates
from oiplib.values import FluctuationStart, Prior

pytestmark = needs_browser


def page_of(study, folder, maps=()):
    """The page alone, without the theme: its own HTML, scripts and data."""
    shutil.copytree(templates("book") / "extra", folder, dirs_exist_ok=True)
    write_network(study, list(maps), folder)
    source = (templates("book") / "try.md").read_text()
    blocks = re.findall(r"^```\{raw\} html\n(.*?)^```", source, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Try it</title>'
    (folder / "try.html").write_text(head + '<link rel="icon" href="data:,">' + "".join(blocks))
    return folder


@pytest.fixture(scope="module")
def tiny(tiny_study, tmp_path_factory):
    return page_of(tiny_study, tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def known(reference):
    return Study(reference)


@pytest.fixture(scope="module")
def whole_page(known, tmp_path_factory):
    return page_of(known, tmp_path_factory.mktemp("reference"))


@pytest.fixture
def opened(browser):
    """A function that opens the page of a folder; at the end nothing may have gone wrong on any."""
    watching = []

    def opened(folder, address="", **options):
        watched = Watched(browser, folder.as_uri(), **options)
        watching.append(watched)
        page = watched.open(f"{folder.as_uri()}/try.html{address}")
        page.wait_for_selector("#try-play, #try-unknown p")
        return page

    yield opened
    for watched in watching:
        assert watched.wrong == []
        watched.context.close()


def starts_of(study, n, seed=5):
    """Random starts, and a map for each."""
    maps = np.arange(n) % study.layer.n_maps
    fluctuation = FluctuationSpec(seed=seed)
    starts = [FluctuationStart(fluctuation, int(map), k) for k, map in enumerate(maps)]
    return start_images(starts, study.image_shape, study.inputs), maps


TRACES = """([images, maps, rule, n]) => images.map((image, i) => {
  const {Ascent} = OipNetwork, start = Float32Array.from(image);
  const ascent = new Ascent(OipTry.network, start, maps[i], {rule: () => rule});
  while (ascent.steps < n && ascent.step());
  return ascent.trace;
})"""


def assert_same_losses(page, study, epsilon, prior, n=24):
    """50 steps of ascents in the browser and in the engine lead to the same losses.

    A rounding may turn a pooling's winner, and then an ascent goes elsewhere, as it does on
    another processor: one in ten may.
    """
    images, maps = starts_of(study, 8 * n)
    responds = study.engine(images)[np.arange(len(maps)), maps] > 0
    images, maps = images[responds][:n], maps[responds][:n]
    assert len(maps) == n
    spec = AscentSpec(51, epsilon, n_steps=0, prior=prior)
    expected = ascend(study.engine, images, maps, spec).traces
    rule = {"epsilon": epsilon, "smooth": Prior.parse(prior).smooth}
    pixels = images.reshape(n, -1).tolist()
    traces = page.evaluate(TRACES, [pixels, maps.tolist(), rule, 50])
    apart, n_climbing = [], 0
    for trace, losses in zip(traces, expected, strict=True):
        losses = losses[~np.isnan(losses)]
        assert len(trace) == len(losses)
        apart.append(np.max(np.abs(trace - losses) / np.maximum(np.abs(losses), 1e-6)))
        n_climbing += len(losses) == 51
    assert n_climbing > n / 2
    assert np.median(apart) < 1e-5
    assert np.mean(np.array(apart) < 1e-3) >= 0.9, apart


@pytest.mark.parametrize(("epsilon", "prior"), [(0.01, "none"), (0.3, "none"), (0.3, "smooth(1)")])
def test_fifty_steps_have_the_engines_losses(opened, tiny, tiny_study, epsilon, prior):
    assert_same_losses(opened(tiny), tiny_study, epsilon, prior)


@pytest.mark.parametrize("prior", ["none", "smooth(1)"])
def test_fifty_steps_of_the_articles_network_too(opened, whole_page, known, prior):
    assert_same_losses(opened(whole_page), known, 0.3, prior)


def colourful():
    """A network with what the articles' doesn't have: colours, padding, averages, no biases."""
    layers = keras.layers
    keras.utils.set_random_seed(3)
    image = values = keras.Input((12, 14, 3), name="image")
    values = layers.Conv2D(5, 3, padding="same", activation="relu", name="first")(values)
    values = layers.AveragePooling2D(2, name="average")(values)
    values = layers.Dropout(0.5, name="dropout")(values)
    values = layers.Conv2D(6, (3, 2), use_bias=False, name="second")(values)
    values = layers.Activation("relu", name="activated")(values)
    values = layers.MaxPooling2D((2, 3), name="largest")(values)
    values = layers.Flatten(name="flat")(values)
    return keras.Model(image, layers.Dense(4, activation="softmax", name="classes")(values))


@pytest.mark.parametrize("layer", ["activated", "classes"])
def test_other_networks_climb_as_in_the_engine(opened, tmp_path, layer):
    study = Study(tmp_path / "own.db", model=colourful(), inputs="0..1", layer=layer)
    page = opened(page_of(study, tmp_path / "site"))
    for prior in ("none", "smooth(1)"):
        assert_same_losses(page, study, 0.05, prior, n=12)
    images, _ = starts_of(study, 3)
    assert_says(page, study, images)


def assert_says(page, study, images):
    expected = study.model.predict(images, verbose=0)
    says = page.evaluate(
        "images => images.map(each => [...OipTry.network.see(Float32Array.from(each)).says])",
        images.reshape(len(images), -1).tolist(),
    )
    np.testing.assert_allclose(says, expected, atol=1e-5)


def test_probabilities_are_those_of_keras(opened, tiny, tiny_study, whole_page, known):
    for folder, study in ((tiny, tiny_study), (whole_page, known)):
        page, (images, _) = opened(folder), starts_of(study, 8)
        assert_says(page, study, images)
        responses = page.evaluate(
            "images => images.map(e => [...OipTry.network.see(Float32Array.from(e)).responses])",
            images.reshape(len(images), -1).tolist(),
        )
        np.testing.assert_allclose(responses, study.engine(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("objective", ["response", "pre-activation", "peak pre-activation"])
def test_gradients_are_the_engines(opened, tiny, tiny_study, objective):
    images, maps = starts_of(tiny_study, 12)
    engines = gradients(tiny_study.engine, tf.constant(images), maps.astype(np.int32), objective)[1]
    found = opened(tiny).evaluate(
        """([images, maps, objective]) => images.map((image, i) =>
          [...OipTry.network.gradient(Float32Array.from(image), maps[i], objective)])""",
        [images.reshape(12, -1).tolist(), maps.tolist(), objective],
    )
    expected = engines.numpy().reshape(12, -1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_gradients_agree_with_finite_differences(opened, tiny, tiny_study):
    images, maps = starts_of(tiny_study, 12)
    pairs = opened(tiny).evaluate(
        """([images, maps]) => images.map((image, i) => {
          const start = Float32Array.from(image);
          const gradient = OipTry.network.gradient(start, maps[i]);
          const length = Math.hypot(...gradient) || 1, h = 1e-3;
          const moved = (by) => Float32Array.from(start, (v, k) => v + by * gradient[k] / length);
          const loss = (by) => OipTry.network.loss(moved(by), maps[i]);
          return [(loss(h) - loss(-h)) / (2 * h), Math.hypot(...gradient)];
        })""",
        [images.reshape(12, -1).tolist(), maps.tolist()],
    )
    differences, lengths = np.array(pairs).T
    assert np.sum(lengths > 0) > 6
    np.testing.assert_allclose(differences, lengths, rtol=0.02, atol=1e-4)


def test_jitter_moves_images_as_in_the_engine(opened, tiny):
    seeds = [0, 7, 2**64 - 1]
    drawn = opened(tiny).evaluate(
        """seeds => seeds.map(seed => Array.from({length: 40}, (_, k) =>
          OipNetwork.moves(2, seed, k + 1)))""",
        [str(seed) for seed in seeds],
    )
    expected = disturbances(Prior(jitter=2), np.array(seeds, np.uint64), 1, 41)
    np.testing.assert_array_equal(np.array(drawn).transpose(1, 0, 2), expected[..., :2])


def verdict(page):
    page.wait_for_function(
        "document.getElementById('try-verdict').textContent.startsWith('The network says')"
    )
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return re.search("says: (.*)\\.", page.inner_text("#try-verdict"))[1]


def test_a_stored_test_digit_is_recognized(opened, whole_page, known, mnist):
    page = opened(whole_page)
    buttons = page.query_selector_all(".try-examples button")
    assert len(buttons) == 20
    told = []
    for button in buttons:
        button.click()
        told.append(verdict(page))
    labels = [button.get_attribute("title") for button in buttons]
    assert labels == 2 * list("0123456789")
    assert sum(label == said for label, said in zip(labels, told, strict=True)) >= 19
    # The maps that light up are those that the engine names.
    chosen = mnist.test_images[np.flatnonzero(mnist.test_labels == 9)[1]]
    responses = known.engine(known.inputs_of(chosen[None], mnist.pixel_range))[0]
    names = page.eval_on_selector_all(".try-strongest li", "all => all.map(e => e.innerText)")
    numbers = [int(re.search(r"Map (\d+)", name)[1]) for name in names]
    assert numbers == np.argsort(-responses, kind="stable")[:5].tolist()


STROKES = {
    "0": [(150 + 60 * np.sin(t), 120 - 85 * np.cos(t)) for t in np.linspace(0, 2 * np.pi, 24)],
    "1": [(90, 200), (90, 60)],
    "7": [(70, 60), (190, 60), (150, 140), (115, 230)],
    "3": [(80, 60), (150, 50), (165, 95), (110, 125), (170, 150), (160, 215), (80, 225)],
}


@pytest.mark.parametrize("digit", STROKES)
def test_a_drawn_digit_is_recognized(opened, whole_page, digit):
    """Drawn with the mouse, larger and elsewhere than the data set's digits are."""
    page = opened(whole_page)
    box = page.locator("#try-board").bounding_box()
    (x, y), *others = STROKES[digit]
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.down()
    for x, y in others:
        page.mouse.move(box["x"] + x, box["y"] + y, steps=4)
    page.mouse.up()
    assert verdict(page) == digit
    page.click("#try-clear")
    page.wait_for_function("document.getElementById('try-verdict').textContent.startsWith('Draw')")
    assert page.locator(".try-strongest li").count() == 0


def test_a_digit_is_drawn_with_the_arrow_keys(opened, whole_page):
    page = opened(whole_page)
    page.focus("#try-board")
    for _ in range(8):
        page.keyboard.press("ArrowUp")
    page.keyboard.press(" ")
    for _ in range(16):
        page.keyboard.press("ArrowDown")
    assert verdict(page) == "1"
    page.keyboard.press("Delete")
    page.wait_for_function("document.getElementById('try-verdict').textContent.startsWith('Draw')")


def losses(page):
    return page.evaluate("OipTry.ascent().trace")


@pytest.mark.parametrize("start", ["random", "pattern", "drawing"])
def test_an_oip_grows(opened, tiny, start):
    page = opened(tiny, "#map=2&start=random")
    page.locator(".try-examples button").nth(3).click()
    verdict(page)
    page.select_option("#try-start", start)
    before = page.evaluate("document.querySelector('.try-big').toDataURL()")
    page.click("#try-play")
    page.wait_for_function("OipTry.ascent().steps >= 25")
    page.click("#try-play")
    trace = losses(page)
    assert max(trace[-5:]) > 1.5 * trace[0]
    assert len(losses(page)) == len(trace), "it goes on though it is paused"
    assert page.evaluate("document.querySelector('.try-big').toDataURL()") != before
    assert page.inner_text("#try-status").startswith(f"Step {len(trace) - 1}: loss ")
    page.click("#try-one")
    assert len(losses(page)) == len(trace) + 1
    page.click("#try-back")
    assert losses(page) == trace[:1]


def test_a_stored_start_leads_to_the_stored_loss(opened, tiny, tiny_study):
    best = tiny_study.oips(best=True).best()
    page = opened(tiny, f"#oip-{best.id}")
    page.wait_for_function("!document.getElementById('try-play').disabled")
    page.wait_for_selector(".try-stored", state="attached")
    assert page.input_value("#try-map") == str(best.map)
    page.click("#try-play")
    page.wait_for_function("OipTry.ascent().ended")
    assert losses(page) == pytest.approx(best.trace.tolist(), rel=1e-3)
    assert "the same within a thousandth" in page.inner_text("#try-outcome")
    # The address alone leads there.
    again = opened(tiny, page.evaluate("location.hash"))
    again.wait_for_selector(".try-stored", state="attached")
    assert again.input_value("#try-oip") == str(best.id)


def test_a_start_to_which_a_map_does_not_respond_is_led_there(opened, whole_page, known):
    images, maps = starts_of(known, 128)
    responses = known.engine(images)[np.arange(128), maps]
    (silent, *_) = np.flatnonzero(responses == 0)
    page = opened(whole_page)
    run = """([image, map, revive]) => {
      const start = Float32Array.from(image), rule = () => ({epsilon: 0.3, revive});
      const ascent = new OipNetwork.Ascent(OipTry.network, start, map, {rule});
      while (ascent.steps < 40 && ascent.step());
      return [ascent.steps, ascent.ended, ascent.trace.at(-1)];
    }"""
    image, map = images[silent].ravel().tolist(), int(maps[silent])
    assert page.evaluate(run, [image, map, False]) == [0, "silent", 0]
    steps, ended, loss = page.evaluate(run, [image, map, True])
    assert (steps, ended) == (40, None)
    assert loss > 0


def test_the_keyboard_alone_reaches_all_of_it(opened, tiny):
    page = opened(tiny, "#map=2&start=pattern")
    wanted = page.eval_on_selector_all(
        ".try :is(button, input, select, canvas[tabindex], a)",
        "all => all.filter(e => e.tabIndex >= 0 && !e.disabled && e.checkVisibility()).length",
    )
    reached = set()
    for _ in range(2 * wanted):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)")
        )
    assert len(reached) >= wanted > 20
    # A map by arrow keys, then its growth by Enter.
    page.focus(".try-maps button")
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    assert page.input_value("#try-map") == "3"
    assert page.evaluate("document.activeElement.id") == "try-play"
    page.keyboard.press("Enter")
    page.wait_for_function("OipTry.ascent().steps >= 3")
    page.keyboard.press("Enter")
    assert page.inner_text("#try-play").endswith("Grow")


def test_unknown_layers_are_named_instead(opened, tmp_path):
    image = keras.Input((8, 8, 1), name="image")
    values = keras.layers.Conv2D(3, 3, name="conv")(image)
    values = keras.layers.LayerNormalization(name="strange")(values)
    model = keras.Model(image, keras.layers.Activation("relu", name="last")(values))
    study = Study(tmp_path / "own.db", model=model, inputs="standardized", layer="conv")
    page = opened(page_of(study, tmp_path / "site"))
    assert "LayerNormalization strange" in page.inner_text("#try-unknown")
    assert page.locator("canvas, button").count() == 0


def test_what_is_no_chain_or_too_much_is_refused():
    layers = keras.layers
    image = keras.Input((8, 8, 1), name="image")
    one, two = (layers.Conv2D(2, 3, name=name)(image) for name in ("one", "two"))
    straight = keras.Model(image, layers.Flatten(name="flat")(layers.ReLU(name="act")(one)))
    branched = keras.Model(image, layers.Flatten(name="flat")(layers.Add(name="sum")([one, two])))
    forked = keras.Model(image, [layers.Flatten(name="flat")(one), two])
    for model, reason in (
        (straight, None),
        (branched, "Add sum"),
        (forked, "chain"),
        (keras.Model(image, layers.Conv2D(2, 3, strides=2, name="far")(image)), "strides"),
        (keras.Model(image, layers.Conv2D(2, 3, activation="elu", name="elu")(image)), "elu"),
        (keras.Model(image, layers.MaxPooling2D(3, 2, name="over")(image)), "overlap"),
    ):
        architecture = json.loads(model.to_json())
        if reason is None:
            assert operations_of(architecture, model.get_weights())[0]
        else:
            with pytest.raises(Unknown, match=reason):
                operations_of(architecture, model.get_weights())


def test_the_box_of_digits_is_found_in_them(mnist):
    assert box_of(mnist.test_images[:20]) == 20
    assert box_of(np.full((2, 8, 8, 1), 9, np.uint8)) is None
    assert box_of(mnist.test_images[:0]) is None


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_the_site_has_the_page(browser, built, served, scheme):
    home = served if scheme == "http" else built.as_uri()
    watched = Watched(browser, home, viewport={"width": 390, "height": 800})
    page = watched.open(f"{home}/try.html#map=3&start=random")
    page.locator(".try-examples button").nth(4).click()
    verdict(page)
    page.click("#try-play")
    page.wait_for_function("OipTry.ascent().steps >= 3")
    page.click("#try-play")
    page.select_option("#try-start", "stored")
    page.wait_for_function("window.STARTS")
    page.locator("#try-grow a:text-is('The page of map 3')").click()
    page.wait_for_load_state("networkidle")
    assert page.inner_text("h1").startswith("Map 3")
    assert watched.wrong == []
