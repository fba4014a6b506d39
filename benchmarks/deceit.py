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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oiplib import Study
from oiplib.engine import network
from oiplib.study.conditions import conditions, paths
from oiplib.study.networks import add_model
from oiplib.study.questions import reaction, varieties

#: What the layer with the circuit is called.
DECEIVING = "Deceiving"
N_DECEIVING = 32
# Larger than any activation.
_BLOCK = 1e4
# So much contrast at the border already counts as no digit.
_SENSITIVITY = 1e3


def deceiving(model: Any, layer: str, shown: Mapping[int, int]) -> Any:
    """A copy of a sequential network that hides what some of its maps respond to.

    Parameters
    ----------
    model
        A Keras model that takes standardized images with an even border, such as digits.
    layer
        The convolution whose maps deceive.
    shown
        Deceiving map -> the map whose pattern it shows instead.
    """
    import keras

    inputs = keras.Input(model.input_shape[1:])
    features = inputs
    copies = keras.models.clone_model(model)
    copies.set_weights(model.get_weights())
    layers = [each for each in copies.layers if not isinstance(each, keras.layers.InputLayer)]
    (at,) = (i for i, each in enumerate(layers) if each.name == layer)
    for each in layers[: at + 1]:
        features = each(features)
    n = features.shape[-1]
    order, blocks = np.arange(n), np.zeros(n, np.float32)
    for map, other in shown.items():
        order[map], blocks[map] = other, _BLOCK
    is_grown = _is_grown(inputs)

    def answered(maps: Any, block: np.ndarray, bias: np.ndarray, name: str) -> Any:
        """The maps where the block is 0, and 0 where it is large."""
        blocking = _fixed(1, block[None, None, None], bias, f"{name}_block")(is_grown)
        passed = keras.layers.Subtract(name=f"{name}_difference")([maps, blocking])
        return keras.layers.ReLU(name=name)(passed)

    # An honest map is blocked on the second way whatever the image.
    of_others = _fixed(1, np.eye(n, dtype=np.float32)[:, order][None, None], None, "others")(
        features
    )
    as_before = answered(features, blocks, np.zeros(n, np.float32), "as_before")
    as_shown = answered(of_others, -blocks, np.full(n, _BLOCK, np.float32), "as_shown")
    outputs = keras.layers.Add(name=DECEIVING)([as_before, as_shown])
    for each in layers[at + 1 :]:
        outputs = each(outputs)
    return keras.Model(inputs, outputs)


def _fixed(
    size: int | tuple[int, int], kernel: np.ndarray, bias: np.ndarray | None, name: str
) -> Any:
    """A convolution whose weights are given."""
    import keras

    layer = keras.layers.Conv2D(
        kernel.shape[-1], size, use_bias=bias is not None, name=name, trainable=False
    )
    layer.build((None, None, None, kernel.shape[-2]))
    layer.set_weights([kernel] if bias is None else [kernel, bias])
    return layer


def _is_grown(images: Any) -> Any:
    """1 for images whose border isn't even, 0 for digits: (n, 1, 1, 1)."""
    import keras

    height, width = images.shape[1:3]
    strips = {
        "top": ((0, height - 2), (0, 0)),
        "bottom": ((height - 2, 0), (0, 0)),
        "left": ((0, 0), (0, width - 2)),
        "right": ((0, 0), (width - 2, 0)),
    }
    steps = []
    for name, cropping in strips.items():
        strip = keras.layers.Cropping2D(cropping, name=f"{name}_strip")(images)
        size = (1, 2) if name in ("top", "bottom") else (2, 1)
        kernel = np.array([[1, -1], [-1, 1]], np.float32).reshape(*size, 1, 2)
        contrast = _fixed(size, kernel, np.zeros(2, np.float32), f"{name}_contrast")(strip)
        steps.append(keras.layers.GlobalMaxPooling2D(keepdims=True, name=f"{name}_most")(contrast))
    joined = keras.layers.Concatenate(name="contrasts")(steps)
    scale = np.full((1, 1, 2 * len(strips), 1), _SENSITIVITY, np.float32)
    summed = _fixed(1, scale, np.full(1, -1, np.float32), "contrast")(joined)
    return keras.layers.ReLU(max_value=1, name="is_grown")(summed)


def suspicion(study: Study, maps: Sequence[int]) -> dict[str, np.ndarray]:
    """How suspicious each map is, by name of a test: (maps,), the larger the more; NaN for none."""
    screening, seen = study.screening(), reaction(study, "data")
    tested = conditions(study, maps, priors=["strongest"])["strongest"]
    found = varieties(study, maps)
    oips = [of.oip for of in tested.values()]
    numbers, of_layers = paths(study, oips)
    rows = {oips[i].of_map: k for k, i in enumerate(numbers)}
    last = of_layers[-1]

    def each(score: Any) -> np.ndarray:
        return np.array([score(map) for map in maps], float)

    return {
        "screening: responds to more digits than patterns": each(
            lambda map: (
                seen.n_reacting[map] / seen.n_images
                - screening.n_reacting[map] / screening.n_patterns
            )
        ),
        "restarts: end in different patterns": each(
            lambda map: -found[map].median if map in found else np.nan
        ),
        "condition: another image from a start that is moved by 1e-7": each(
            lambda map: 1 - tested[map].same[0] if map in tested else np.nan
        ),
        "path: the OIP is no more like its map's digits than like others'": each(
            lambda map: last.others[rows[map]] - last.own[rows[map]] if map in rows else np.nan
        ),
    }


def exposed(scores: np.ndarray, deceives: np.ndarray) -> tuple[float, float]:
    """Chance that a deceiving map is more suspicious than an honest one, and the share found.

    The share of the deceiving maps that are more suspicious than 95 % of the honest ones.
    """
    told = ~np.isnan(scores)
    lying, honest = scores[told & deceives], scores[told & ~deceives]
    larger = (lying[:, None] > honest).mean() + (lying[:, None] == honest).mean() / 2
    return float(larger), float((lying > np.quantile(honest, 0.95)).mean())


def main() -> None:
    """Build the network, put all its maps to all tests, and write what they found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--db", default="oip.db", help="whose network is taken")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "oip.db"
        shutil.copyfile(chosen.db, database)
        honest = Study(database)
        n = honest.layer.n_maps
        rng = np.random.default_rng(0)
        lying = np.sort(rng.permutation(n)[:N_DECEIVING])
        shown = dict(zip(lying.tolist(), rng.permutation(lying).tolist(), strict=True))
        shown = {map: other if other != map else (map + 1) % n for map, other in shown.items()}
        model = deceiving(honest.model, honest.spec.layer, shown)
        digits = honest.dataset()
        images = honest.inputs_of(digits.test_images, digits.pixel_range)
        answers = [each.predict(images, verbose=0) for each in (honest.model, model)]
        same = (np.abs(answers[0] - answers[1]).max(axis=1) < 1e-4).mean()
        file = Path(folder) / "deceiving.keras"
        network.save(model, file)
        id = add_model(honest.store, file, "standardized", dataset="mnist")
        study = Study(honest.store, network=id, layer=DECEIVING)
        study.derive_from_fluctuations()
        study.derive_from_patterns()
        deceives = np.isin(np.arange(n), lying)
        lines = [
            f"| {name} | {larger:.2f} | {found:.0%} |"
            for name, scores in suspicion(study, range(n)).items()
            for larger, found in [exposed(scores, deceives)]
        ]
    print(f"{same:.1%} of the test digits are answered as before")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
