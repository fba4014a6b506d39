"""Objectives: arithmetic on values, gradients, searches, and the way through the database."""

import json
from itertools import permutations

import numpy as np
import pytest

from oiplib import (
    AscentSpec,
    Channel,
    CnnSpec,
    Direction,
    Function,
    InputError,
    LayerMaps,
    Logit,
    Neuron,
    OipFilter,
    Study,
    ascend,
    parse_objective,
)
from oiplib.engine.ascent import gradients
from oiplib.engine.network import build
from oiplib.engine.objectives import Target, responses_of
from oiplib.engine.tf import keras, tf
from oiplib.study.check import problems
from oiplib.study.replay import replay
from oiplib.values.objectives import Objective

KINDS = {
    "a map": Channel("Conv2D_2", 1),
    "a neuron": Neuron("Conv2D_2", 1, 2, 3),
    "a class": Logit("Classes", 7),
    "a direction": Direction("Conv2D_2", (0.5, -1, 0, 2)),
    "a direction of units": Direction("Dense_1", (1, 0, -1, 0.5, 2)),
    "a difference": Logit("Classes", 4) - Logit("Classes", 9),
    "a sum over layers": 2 * Logit("Classes", 4)
    + Channel("Conv2D_1", 1)
    - Neuron("Conv2D_2", 0, 1, 1),
    "a negative": -Logit("Classes", 3),
}


@pytest.fixture(scope="module")
def model():
    return build(CnnSpec(maps=(3, 4), dense=(5,)), (14, 14, 1), n_classes=10)


@pytest.fixture(scope="module")
def target(model):
    layers = {}

    def layer_of(name):
        return layers.setdefault(name, LayerMaps(model, name))

    return lambda objective: Target(objective, layer_of)


def images_of(n, shape=(14, 14, 1), seed=0):
    images = np.random.default_rng(seed).standard_normal((n, *shape)).astype(np.float32)
    images -= images.mean(axis=(1, 2, 3), keepdims=True)
    return images / images.std(axis=(1, 2, 3), keepdims=True)


def activations(model, names, images):
    """Plain Keras; of the classes what goes into the softmax."""
    values = {}
    for name in names:
        layer = model.get_layer(name)
        until = keras.Model(model.inputs[0], layer.output)(images, training=False)
        if name == "Classes":
            before = keras.Model(model.inputs[0], layer.input)(images, training=False)
            until = before @ layer.kernel + layer.bias
        values[name] = until.numpy()
    return values


@pytest.mark.parametrize("kind", KINDS)
def test_the_response_is_what_plain_keras_says(model, target, kind):
    images, objective = images_of(6), KINDS[kind]
    values = activations(model, objective.layers, images)
    expected, size = responses_of(objective, values)
    assert target(objective)(images)[:, 0] == pytest.approx(expected, abs=1e-5 * size.max())
    plain = 0
    for factor, term in objective.terms:
        of_layer = values[term.layer]
        if isinstance(term, Neuron):
            plain = plain + factor * of_layer[:, term.y, term.x, term.map]
            continue
        mean = of_layer.reshape(len(images), -1, of_layer.shape[-1]).mean(axis=1)
        vector = np.eye(mean.shape[1])[term.map] if isinstance(term, Channel) else term.vector
        plain = plain + factor * mean @ np.array(vector)
    assert expected == pytest.approx(plain, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_agree_with_central_finite_differences(target, kind):
    engine, images = target(KINDS[kind]), images_of(3, seed=1)
    _, gradient = gradients(engine, tf.constant(images), tf.zeros(3, tf.int32))
    gradient, rng = gradient.numpy(), np.random.default_rng(2)
    assert np.abs(gradient).max() > 0
    near = []
    for image, of_image in zip(images, gradient, strict=True):
        for _ in range(20):
            pixel = (int(rng.integers(14)), int(rng.integers(14)), 0)
            shifted = np.repeat(image[None], 2, axis=0)
            shifted[0][pixel] += 1e-2
            shifted[1][pixel] -= 1e-2
            up, down = engine(shifted)[:, 0].astype(np.float64)
            near.append(abs((up - down) / 2e-2 - of_image[pixel]))
    scale = np.abs(gradient).max()
    assert np.median(near) < 2e-3 * scale
    assert np.mean(np.array(near) < 0.05 * scale) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_rises(target, kind):
    engine = target(KINDS[kind])
    ascents = ascend(engine, images_of(6, seed=3), np.zeros(6, int), AscentSpec(40, 0.1))
    moved = ascents.stop_reasons != "silent"
    assert moved.any()
    assert ascents.rose[moved].all()
    again = ascend(engine, images_of(6, seed=3), np.zeros(6, int), AscentSpec(40, 0.1))
    assert ascents.images.tobytes() == again.images.tobytes()


def test_one_image_climbs_as_it_does_among_others(target):
    engine, images = target(KINDS["a difference"]), images_of(5, seed=4)
    together = ascend(engine, images, np.zeros(5, int), AscentSpec(20, 0.1))
    alone = ascend(engine, images[2:3], np.zeros(1, int), AscentSpec(20, 0.1))
    assert alone.images.tobytes() == together.images[2:3].tobytes()


def test_a_negative_loss_is_one_and_rises_towards_zero(target):
    ascents = ascend(
        target(-Logit("Classes", 3) - 50 * Channel("Conv2D_1", 0)),
        images_of(4),
        np.zeros(4, int),
        AscentSpec(10, 0.05),
    )
    assert (ascents.traces[:, 0] < 0).all()
    assert ascents.rose.all()


def test_arithmetic_makes_new_values_and_leaves_the_operands():
    four, nine = Logit("Classes", 4), Logit("Classes", 9)
    texts = str(four), str(nine)
    made = [four - nine, nine + four, -four, 2 * four, four * 0.5, (four - nine) - nine]
    assert (str(four), str(nine)) == texts
    assert list(map(str, made)) == [
        "Classes:4 - Classes:9",
        "Classes:4 + Classes:9",
        "-Classes:4",
        "2*Classes:4",
        "0.5*Classes:4",
        "Classes:4 - 2*Classes:9",
    ]
    assert four - nine == -nine + four == -(nine - four)
    assert four + four == 2 * four
    assert -1 * -four == four
    assert sum([four, nine, four]) == 2 * four + nine
    assert four / 4 == 0.25 * four
    assert len({objective.sha256 for objective in [four, nine, *made]}) == 8
    for order in permutations([0.1 * four, 0.2 * four, 0.3 * four, nine]):
        assert sum(order) == 0.1 * four + 0.2 * four + 0.3 * four + nine
    with pytest.raises(TypeError):
        four + 1
    with pytest.raises(InputError, match="all terms cancel"):
        four - four
    with pytest.raises(InputError, match="can't be divided by 0"):
        four / 0
    for factor in (1e39, 1e-39):
        with pytest.raises(InputError, match="between 1e-30 and 1e30"):
            factor * four
        with pytest.raises(InputError, match="between 1e-30 and 1e30"):
            Direction("Dense_1", (1, factor))


@pytest.mark.parametrize(
    "text",
    [
        *map(str, KINDS.values()),
        "backbone/b3_out:7",
        '"odd name":3 + logits:cat',
        'logits:"T-shirt/top" - logits:cat',
        "-my-layer:3 - 1e-05*b:2",
    ],
)
def test_a_text_is_read_as_the_value_that_wrote_it(text):
    objective = parse_objective(text)
    assert isinstance(objective, Objective)
    assert parse_objective(str(objective)) == objective
    assert str(parse_objective(str(objective))) == str(objective)


@pytest.mark.parametrize(
    "text", ["", "a", "a:", "a:1 b:2", "a:1 -", "--a:1", "2*", "a:1*2", "a:-1", "a:[x]", "a:[0]"]
)
def test_a_text_that_is_no_objective_is_refused_in_one_line(text):
    with pytest.raises(InputError) as refused:
        parse_objective(text)
    assert "\n" not in str(refused.value)


@pytest.fixture
def study(copy):
    return Study(copy)


@pytest.mark.parametrize(
    "text",
    [
        "Conv2D_3:1@1,1",
        "Classes:7",
        "Classes:4 - Classes:9",
        "2*Conv2D_2:1 + Conv2D_3:1",
        "-Classes:2",
    ],
)
def test_an_objective_is_stored_queried_and_replayed(study, text):
    n_maps = len(study.oips())
    study.derive(text)
    stored = study.oips(objective=text)
    assert stored
    for oip in stored:
        assert oip.objective == text
        assert oip.map == (7 if text == "Classes:7" else None)
        assert oip.loss > oip.trace[0]
        assert text in repr(oip) or oip.map is not None
    assert len(study.oips()) == n_maps  # a layer's maps stay among themselves
    assert [oip.id for oip in study.store.oips(OipFilter(objective=text))] == [o.id for o in stored]
    assert all(each.same_bytes for each in replay(study.store, [oip.id for oip in stored]))
    assert list(problems(study.store)) == []
    assert study.derive_from_patterns(text) == []
    assert study.derive_from_fluctuations(text) == []


def test_the_mean_of_a_map_is_the_map(study):
    layer = study.spec.layer
    assert study.derive_from_patterns(Channel(layer, 0)) == []  # searched with the layer's maps
    assert [oip.id for oip in study.oips(objective=f"{layer}:0")] == [
        oip.id for oip in study.oips(0)
    ]


def test_classes_are_found_by_their_names(study):
    study.derive_from_patterns('Classes:"4" - Classes:"9"')
    assert study.oips(objective="Classes:4 - Classes:9")
    with pytest.raises(InputError, match=r"no class 'cat': choose one of 0, 1"):
        study.derive("Classes:cat")
    # A name of a class is none of a map, nor of another layer's unit.
    for layer in ("Conv2D_3", "Dense_1"):
        with pytest.raises(InputError, match=f"{layer} isn't a layer of 10 classes"):
            study.derive(f"{layer}:4x".replace("4x", '"4"'))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Conv2D_9:1", "unknown layer 'Conv2D_9': choose one of Conv2D_1"),
        ("Conv2D_3:999", "no map 999 in Conv2D_3: choose 0 to"),
        ("Conv2D_3:1@3,0", "3 rows and 3 columns"),
        ("Classes:[1,2]", "Classes has 10 maps"),
    ],
)
def test_what_the_network_does_not_have_is_refused(study, text, message):
    with pytest.raises(InputError, match=message):
        study.derive(text)


def test_an_objective_has_no_peak(study):
    """The mean would be another climb than the one that was asked for."""
    spec = study.spec.scan.gentler(1 / 4, "peak pre-activation")
    with pytest.raises(InputError, match="only a map has a peak pre-activation"):
        study.search(spec, "Classes:4 - Classes:9")


def test_a_function_of_the_users_own_grows_and_is_not_stored(study):
    def corner(activations):
        return activations[:, 0, 0, 1] - 0.5 * tf.reduce_mean(activations[..., 2], axis=(1, 2))

    own = Function(study.spec.layer, corner)
    found = study.grow(own)
    assert len(found)
    assert found.rose.all()
    values = study.engine.activations(found.images)
    expected = values[:, 0, 0, 1] - 0.5 * values[..., 2].mean(axis=(1, 2))
    assert found.losses == pytest.approx(expected, rel=1e-4)
    with pytest.raises(InputError, match=r"function of your own and isn't stored: use Study\.grow"):
        study.derive(own)
    for function, message in (
        (lambda activations: activations, r"shape \(n,\)"),
        (lambda activations: np.zeros(3), r"shape \(n,\)"),
        (lambda activations: tf.zeros(tf.shape(activations)[0]), "has no gradient"),
        (lambda activations: np.nan * activations[:, 0, 0, 1], "aren't finite"),
    ):
        with pytest.raises(InputError, match=message):
            study.grow(Function(study.spec.layer, function))


def test_the_command_line_derives_and_lists_objectives(study, oip_here):
    db = study.store.name
    done = oip_here(
        "derive", "--objective", "Classes:4 - Classes:9", "--origin", "pattern", "--db", db
    )
    assert "Classes:4 - Classes:9" in done.stdout
    listed = oip_here("query", "--objective", "Classes:4-Classes:9", "--format", "json", "--db", db)
    rows = json.loads(listed.stdout)
    assert {row["objective"] for row in rows} == {"Classes:4 - Classes:9"}
    assert "Classes:4 - Classes:9" in oip_here("show", str(rows[0]["id"]), "--db", db).stdout
    done = oip_here("derive", "--objective", "Classes", "--db", db, check=2)
    assert done.stderr.startswith("Error: 'Classes' is no objective: write it like")
    done = oip_here("derive", "--objective", "Classes:1", "--maps", "1", "--db", db, check=2)
    assert "--objective doesn't apply" in done.stderr


def test_what_does_not_rise_is_told(study, oip_here):
    asked = "derive", "--objective", "-Conv2D_3:1", "--origin", "fluctuation", "--steps", "1"
    done = oip_here(*asked, "--db", study.store.name)
    assert "-Conv2D_3:1: no start rose above where it began, so there is no OIP" in done.stdout
    assert study.oips(objective="-Conv2D_3:1") == []
