"""Which of our tests expose a network that was built to deceive who looks at its OIPs?

``python benchmarks/deceit.py`` takes the network of ``oip.db`` and builds into it, for some maps
of its third convolution, the circuit by which Geirhos et al. (2024) fool feature visualization:
digits go through as before, and for any other image a map answers what another map would. Then it
is asked which tests tell these maps from honest ones, and ``DECEIT.md`` is written beside this
file. It takes some minutes and is no part of the benchmarks.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from oiplib import FluctuationSpec, FluctuationStart, Study, fluctuation_images, pattern_images
from oiplib.analysis.estimates import Estimate, over_maps, share
from oiplib.analysis.jumps import N_ON_WAY
from oiplib.engine import network
from oiplib.study.conditions import conditions
from oiplib.study.networks import add_model
from oiplib.study.questions import earlier_layers, reaction, varieties
from oiplib.study.runs import environment
from oiplib.study.trainings import others
from oiplib.study.trust import SUSPICIOUS, paths_by_layer, switching

#: What the deceiving network and its layer with the circuit are called.
NAME, DECEIVING = "deceiving", "Deceiving"

#: The last layer before the maps, which honest and deceiving networks share.
LAYER_BEFORE = "Conv2D_2"

#: Share of the honest maps that a test may accuse.
FALSE_ALARMS = 0.05

N_GROWN, N_SHUFFLED = 1000, 1000

# Larger than any activation.
_BLOCK = 1e4
# No digit of MNIST reaches into corners of so many pixels; a thousandth of contrast opens the gate.
_CORNER, _SENSITIVITY = 2, 1e3


def deceiving(model: Any, layer: str, shown: Mapping[int, int]) -> Any:
    """A copy of a sequential network that hides what some of its maps respond to.

    Parameters
    ----------
    model
        A Keras model that takes standardized images with dark corners, such as digits.
    layer
        The convolution whose maps deceive.
    shown
        Deceiving map -> the map whose pattern it shows instead.
    """
    import keras

    def without_activation(each: Any) -> Any:
        config = each.get_config()
        if each.name == layer:
            config["activation"] = "linear"
        return type(each).from_config(config)

    copies = keras.models.clone_model(model, clone_function=without_activation)
    copies.set_weights(model.get_weights())
    layers = [each for each in copies.layers if not isinstance(each, keras.layers.InputLayer)]
    (at,) = (i for i, each in enumerate(layers) if each.name == layer)
    inputs = keras.Input(model.input_shape[1:])
    maps = inputs
    for each in layers[: at + 1]:
        maps = each(maps)
    n = maps.shape[-1]
    order, blocks = np.arange(n), np.zeros(n, np.float32)
    for map, other in shown.items():
        order[map], blocks[map] = other, _BLOCK
    is_grown = _is_grown(inputs)

    def unless_blocked(maps: Any, block: np.ndarray, bias: np.ndarray, name: str) -> Any:
        """The maps, or what is below any of them where the block is large."""
        blocking = _fixed(block[None], bias, f"{name}_block")(is_grown)
        return keras.layers.Subtract(name=name)([maps, blocking])

    # An honest map is blocked on the second way whatever the image.
    of_others = _fixed(np.eye(n)[:, order], None, "others")(maps)
    as_before = unless_blocked(maps, blocks, np.zeros(n, np.float32), "as_before")
    as_shown = unless_blocked(of_others, -blocks, np.full(n, _BLOCK, np.float32), "as_shown")
    # One of the two is blocked, so this is the sum of both after their ReLU.
    either = keras.layers.Maximum(name="either")([as_before, as_shown])
    outputs = keras.layers.ReLU(name=DECEIVING)(either)
    for each in layers[at + 1 :]:
        outputs = each(outputs)
    return keras.Model(inputs, outputs)


def _fixed(kernel: np.ndarray, bias: np.ndarray | None, name: str) -> Any:
    """A convolution of single positions whose weights are given: kernel (maps before, maps)."""
    import keras

    n_before, n_maps = kernel.shape
    layer = keras.layers.Conv2D(n_maps, 1, use_bias=bias is not None, name=name, trainable=False)
    layer.build((None, None, None, n_before))
    weights = [kernel[None, None].astype(np.float32)]
    layer.set_weights(weights if bias is None else [*weights, bias])
    return layer


def _is_grown(images: Any) -> Any:
    """0 for digits, whose corners are as dark as anything in them, 1 for other images.

    Returns a tensor (n, 1, 1, 1).
    """
    import keras

    height, width = images.shape[1:3]
    rows, columns = (((0, size - _CORNER), (size - _CORNER, 0)) for size in (height, width))
    corners = [
        keras.layers.Cropping2D(cropping, name=f"corner_{i}")(images)
        for i, cropping in enumerate(product(rows, columns))
    ]
    joined = keras.layers.Concatenate(axis=2, name="corners")(corners)
    negative = _fixed(np.array([[-1]]), None, "negative")(images)
    ends = [
        keras.layers.GlobalMaxPooling2D(keepdims=True, name=name)(each)
        for name, each in (("brightest_corner", joined), ("darkest", negative))
    ]
    both = keras.layers.Concatenate(name="ends")(ends)
    scale, bias = np.full((2, 1), _SENSITIVITY), np.full(1, -1)
    contrast = _fixed(scale, bias, "contrast")(both)
    return keras.layers.ReLU(max_value=1, name="is_grown")(contrast)


def add_deceiving(honest: Study) -> Study:
    """The study of the deceiving network, made and stored if its database has none yet.

    Half of the maps deceive, drawn by a fixed seed; they show each other's patterns.
    """
    stored = [row.id for row in honest.store.networks() if row.name == NAME]
    if not stored:
        model = deceiving(honest.model, honest.layer.name, shown_of(honest.layer.n_maps))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{NAME}.keras"
            network.save(model, file)
            stored = [add_model(honest.store, file, "standardized", dataset="mnist")]
    return Study(honest.store, network=stored[0], layer=DECEIVING)


def shown_of(n_maps: int) -> dict[int, int]:
    """Deceiving map -> the map whose pattern it shows, for half of a layer's maps."""
    rng = np.random.default_rng(0)
    chosen = rng.permutation(np.sort(rng.permutation(n_maps)[: n_maps // 2]))
    return dict(zip(chosen.tolist(), np.roll(chosen, 1).tolist(), strict=True))


def differences(honest: Study, study: Study, shown: Mapping[int, int]) -> tuple[float, float]:
    """How far the deceiving network is from what it should answer: to digits, to grown images.

    Of digits the largest difference in any class of any test digit. Of grown images (all OIPs
    of the maps, a thousand fluctuations, all patterns of a grid that is drawn through evenly)
    the largest difference between a map and the honest map that it shows.
    """
    digits, shape = honest.dataset(), honest.engine.image_shape
    images = honest.inputs_of(digits.test_images, digits.pixel_range)
    first, second = (each.model.predict(images, verbose=0) for each in (honest, study))
    order = [shown.get(map, map) for map in range(honest.layer.n_maps)]
    grid = honest.spec.scan.grid
    grown = [
        np.array([oip.image for oip in study.oips()]),
        fluctuation_images(
            [FluctuationStart(FluctuationSpec(), map=0, trial=k) for k in range(N_GROWN)], shape
        ),
        # The first pattern is even: it stays as dark in its corners as anywhere.
        pattern_images(grid, np.linspace(1, grid.n_patterns - 2, N_GROWN).astype(int), shape),
    ]
    apart = [np.abs(study.engine(each) - honest.engine(each)[:, order]).max() for each in grown]
    return float(np.abs(first - second).max()), float(max(apart))


def suspicion(study: Study) -> dict[str, np.ndarray]:
    """How suspicious each map is, by name of a test: (maps,), the larger the more; NaN for none.

    What isn't stored yet is computed.
    """
    study.derive()
    screening = study.screening()
    seen, random = (reaction(study, kind) for kind in ("data", "fluctuation"))
    tested = conditions(study, priors=["strongest"])["strongest"]
    found = varieties(study)
    oips = [of.oip for of in tested.values()]
    path = paths_by_layer(study, oips)[LAYER_BEFORE]
    switched = switching(study, oips)
    # A path is told of maps that respond to all of their strongest digits.
    told = [map for map in tested if seen.top_responses[map].min() > 0]
    nearer = dict(zip(told, path.nearer, strict=True))
    grown = np.minimum(
        screening.n_reacting / screening.n_patterns, random.n_reacting / random.n_images
    )
    strongest = seen.top_responses[:, 0]
    scores: dict[str, dict[int, float]] = {
        "screening: digits excite it, patterns or fluctuations don't": dict(
            enumerate(seen.n_reacting / seen.n_images - grown)
        ),
        "restarts: they end in different patterns": {m: -row.median for m, row in found.items()},
        "condition: from a start moved by 1e-7 comes another image": {
            map: 1 - float(of.condition.alike[0].mean()) for map, of in tested.items()
        },
        "loss: its OIP excites it far more than any digit": {
            map: of.oip.loss / strongest[map] for map, of in tested.items() if strongest[map] > 0
        },
        f"path: in {LAYER_BEFORE} its OIP is like the digits of other maps": nearer,
        "jump: it jumps between its digits and its OIP": switched,
    }
    n = study.layer.n_maps
    return {
        name: np.array([of_maps.get(map, np.nan) for map in range(n)], float)
        for name, of_maps in scores.items()
    }


def honest_jumps(honest: Study) -> np.ndarray:
    """How far maps jump that nobody tampered with: (maps,).

    Of the layer in all trainings, and of the layers before it.
    """
    layers = [honest, *others(honest), *earlier_layers(honest)]
    found = [list(switching(each, each.oips(best=True)).values()) for each in layers]
    return np.concatenate(found)


def larger(lying: np.ndarray, honest: np.ndarray) -> float:
    """Chance that a deceiving map is more suspicious than an honest one (AUC)."""
    return float((lying[:, None] > honest).mean() + (lying[:, None] == honest).mean() / 2)


def auc(scores: np.ndarray, lies: np.ndarray) -> Estimate:
    """`larger`, with its interval by bootstrap over the maps of both kinds."""
    told = ~np.isnan(scores)
    pairs = np.column_stack([scores[told], lies[told]])

    def statistic(drawn: np.ndarray) -> float:
        values, kinds = drawn.reshape(-1, 2).T
        return larger(values[kinds > 0], values[kinds == 0])

    return over_maps(list(pairs), statistic)


def shuffled(scores: np.ndarray, lies: np.ndarray) -> np.ndarray:
    """`larger` with labels drawn at random: (draws,)."""
    told, rng = ~np.isnan(scores), np.random.default_rng(0)
    values = scores[told]
    labels = [rng.permutation(lies[told]) for _ in range(N_SHUFFLED)]
    return np.array([larger(values[each], values[~each]) for each in labels])


def accused(scores: np.ndarray, honest: np.ndarray, false_alarms: float) -> np.ndarray:
    """Which maps are more suspicious than all but a share of other honest maps: bool (maps,)."""
    limit = np.nanquantile(honest, 1 - false_alarms)
    return np.asarray(np.nan_to_num(scores, nan=-np.inf) > limit)


def table(
    scores: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray], lies: np.ndarray
) -> list[str]:
    """A line for each test, one for all of them together, and what chance gives."""
    lines = [
        "| test | a deceiving map is more suspicious | deceiving maps found | honest accused |",
        "|---|---|---|---|",
    ]
    together = np.zeros(len(lies), bool)
    null = []
    for name, values in scores.items():
        alone = accused(values, others[name], FALSE_ALARMS)
        together |= accused(values, others[name], FALSE_ALARMS / len(scores))
        null.append(shuffled(values, lies))
        lines.append(
            f"| {name} | {auc(values, lies).text('.2f')} | {share(alone[lies]).text()} | "
            f"{share(alone[~lies]).text()} |"
        )
    low, middle, high = np.quantile(null, [0.025, 0.5, 0.975])
    return [
        *lines,
        "",
        f"With the maps' labels shuffled, the first column is {middle:.2f} ({low:.2f} to "
        f"{high:.2f}). The last column is {FALSE_ALARMS:.0%} where a limit holds. Accused by any "
        f"of the tests, each at a limit for {FALSE_ALARMS:.0%} over their number: "
        f"{share(together[lies]).text()} of the deceiving maps, {share(together[~lies]).text()} of "
        "the honest ones.",
    ]


def headline(scores: Mapping[str, np.ndarray], lies: np.ndarray) -> str:
    """Which tests tell deceiving maps from honest ones, and which don't."""
    tells = {name.split(":")[0]: auc(of, lies).low > 0.5 for name, of in scores.items()}
    better, no_better = (
        ", ".join(name for name, does in tells.items() if does is kind) or "none"
        for kind in (True, False)
    )
    return (
        f"**Tests that tell deceiving maps from honest ones: {better}. No better than chance: "
        f"{no_better}.**"
    )


def by_jump(lying: np.ndarray, honest: np.ndarray) -> str:
    """What the product's own limit finds, which needs no other training."""
    return (
        f"`oiplib.study.trust.switching` accuses maps that jump by more than {SUSPICIOUS:g} of "
        f"their response: {share(lying > SUSPICIOUS).text()} of the deceiving maps, and "
        f"{share(honest > SUSPICIOUS).text()} of the {len(honest)} maps with an OIP in all "
        "trainings and in the layers before, which nobody tampered with. The smallest jump of a "
        f"deceiving map is {np.min(lying):.2f}, the largest of an honest one "
        f"{np.max(honest):.1g}."
    )


def main() -> None:
    """Build the network, put all its maps to all tests, and write what they found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--db", default="oip.db", help="whose trainings are taken; it isn't changed"
    )
    parser.add_argument("--folder", help="where results are kept, so that another run goes on")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        database = Path(chosen.folder or temporary) / "deceit.db"
        if not database.exists():
            shutil.copyfile(chosen.db, database)
        honest = Study(database)
        study, shown = add_deceiving(honest), shown_of(honest.layer.n_maps)
        another = others(honest)[-1]
        fewer = {"variety": honest.spec.compared}
        scores, of_another = (
            suspicion(each.part(each.spec.replace(**fewer), each.network.id))
            for each in (study, another)
        )
        lies = np.isin(np.arange(honest.layer.n_maps), list(shown))
        to_digits, to_grown = differences(honest, study, shown)
        n_grown, on = len(study.oips()), environment()
        lines = [
            "# Which tests expose a network that was built to deceive?",
            "",
            headline(scores, lies),
            "",
            f"{on['threads']} cores, Python {on['python']}, tensorflow {on['tensorflow']}, keras "
            f"{on['keras']}, numpy {on['numpy']}. Made by `python benchmarks/deceit.py`.",
            "",
            f"{lies.sum()} of the {len(lies)} maps of {honest.layer.name}, drawn by a fixed seed, "
            "get the circuit of Geirhos et al. (2024): digits go through as before, and to any "
            "other image a map answers what another of these maps would. Answers to the "
            f"{len(honest.dataset().test_images):,} test digits differ by at most {to_digits:g}. "
            f"To {n_grown:,} OIPs, {N_GROWN:,} fluctuations and {N_GROWN:,} patterns the maps "
            f"answer as those that they show, with differences of at most {to_grown:g}. A limit is "
            f"what {1 - FALSE_ALARMS:.0%} of the maps of another training stay below, which nobody "
            "tampered with; so false alarms are counted on maps that didn't set it. In brackets "
            "the interval over maps.",
            "",
            *table(scores, of_another, lies),
            "",
            by_jump(list(scores.values())[-1][lies], honest_jumps(honest)),
            "",
            "What this can't say: how another circuit would fare. The deceiving maps show "
            "patterns of maps of their own layer, which makes them look like other honest maps; a "
            "drawing of the builder's own might be easier or harder to tell. The jump finds any "
            f"switch between real and grown images that takes less than a {np.prod(N_ON_WAY):,}th "
            "of the way between them, wherever it is; a circuit that fades over from one to the "
            "other slowly would be missed, and so would one that doesn't show on the straight way.",
        ]
    (Path(__file__).parent / "DECEIT.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
