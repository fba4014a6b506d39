"""The network as data for the page on which it runs in the reader's browser.

``try-data.js`` holds the layers in order with their weights, some images of the data set, and the
best OIP of each map. ``try-starts.js`` holds starts of stored OIPs with the steps that they took,
so that the page can take the same steps. The page's scripts know a few kinds of layers. A network
with others gets a page that names them.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..analysis.layout import shrunk
from ..errors import OipError
from ..pictures import displayable
from ..store import Oip, OipFilter
from ..study.questions import reaction
from ..study.study import Study
from ..values import AscentSpec, seed_of
from ..values.ascents import stages_of
from .notebooks import map_page

# What a browser can be asked to load, and to do for one gradient.
_MOST_WEIGHTS = 4_000_000
_MOST_PRODUCTS = 50_000_000
# Of all stored starts together, in numbers, and of a small picture's side.
_MOST_IN_STARTS = 400_000
_LARGEST = 64
# Examples of each class, and in all.
_PER_CLASS = 2
_MOST_EXAMPLES = 20
#: Under these priors the page can take a stored OIP's steps.
PRIORS = ("none", "smooth(1)")

Operation = dict[str, Any]


class Unknown(OipError):
    """The page's scripts can't run a network; the message says why, as the end of a sentence."""


def write_network(study: Study, maps: Sequence[int], folder: Path) -> None:
    """Write ``try-data.js`` and ``try-starts.js``.

    Parameters
    ----------
    study
        Whose network and layer.
    maps
        Those of the layer that have a page.
    folder
        Where the files go.
    """
    try:
        network = described(study)
    except Unknown as problem:
        told: dict[str, Any] = {"unknown": str(problem)}
        starts: list[dict[str, Any]] = []
    else:
        pages = {map: f"{map_page(map)}.html" for map in maps}
        told = {**network, "pages": pages, **_shown(study)}
        starts = _starts(study)
    for name, variable, value in (
        ("try-data", "NETWORK", told),
        ("try-starts", "STARTS", starts),
    ):
        text = json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
        (folder / f"{name}.js").write_text(f"window.{variable} = {text};\n")


def described(study: Study) -> dict[str, Any]:
    """The network and the studied layer, as the scripts take them.

    Returns
    -------
    dict
        ``operations`` in order, an activation being one of its own; ``before`` and ``after``:
        how many of them come before the studied layer's activation, and with it; the images'
        shape and limits.

    Raises
    ------
    Unknown
        If the scripts can't run the network.
    """
    row, layer = study.network, study.layer
    operations, ends = operations_of(json.loads(row.architecture), _weights(row.weights))
    before, after = ends[layer.name]
    low, high = study.inputs.limits()
    return {
        "network": row.name,
        "layer": layer.name,
        "maps": layer.n_maps,
        "noun": study.noun,
        "image": list(study.image_shape),
        "limits": None if study.inputs.is_standardized else [list(low), list(high)],
        "operations": operations,
        "before": before,
        "after": after,
    }


def operations_of(
    architecture: Mapping[str, Any], weights: Iterable[np.ndarray]
) -> tuple[list[Operation], dict[str, tuple[int, int]]]:
    """A chain of layers as operations that the scripts know.

    Parameters
    ----------
    architecture
        Keras' own.
    weights
        Of all layers, in their order.

    Returns
    -------
    operations : list of dict
    ends : dict
        Name of a layer -> how many operations come before its activation, and with it. What
        goes into a softmax counts as what comes out of it, as in `oiplib.engine.layers`.

    Raises
    ------
    Unknown
        If there are other layers, the layers aren't a chain, or they are too many numbers.

    Examples
    --------
    >>> shape = {"name": "image", "batch_shape": [None, 4, 4, 1]}
    >>> image = {"class_name": "InputLayer", "config": shape}
    >>> flat = {"class_name": "Flatten", "config": {"name": "flat"}}
    >>> dense = {"name": "classes", "units": 2, "activation": "softmax", "use_bias": True}
    >>> layers = [image, flat, {"class_name": "Dense", "config": dense}]
    >>> chain = {"class_name": "Sequential", "config": {"layers": layers}}
    >>> operations, ends = operations_of(chain, [np.zeros((16, 2)), np.zeros(2)])
    >>> [operation["kind"] for operation in operations], ends["classes"]
    (['dense', 'softmax'], (1, 1))
    """
    layers = architecture["config"].get("layers") or []
    unknown = [name for layer in layers if (name := _unknown(layer))]
    if unknown:
        raise Unknown(f"has layers that this page doesn't know: {', '.join(unknown)}")
    _check_chain(architecture["class_name"], layers)
    given, shape = iter(weights), list(layers[0]["config"]["batch_shape"][1:])
    operations: list[Operation] = []
    ends, n_products, n_weights = {}, 0, 0
    for layer in layers:
        kind, config = layer["class_name"], layer["config"]
        if kind in ("Conv2D", "Dense"):
            kernel = np.asarray(next(given), np.float32)
            bias = np.asarray(next(given), np.float32) if config["use_bias"] else None
            if kind == "Dense" and len(shape) > 1:
                raise Unknown(f"has a dense layer {config['name']} at each position of a map")
            shape = _after(shape, kernel, config.get("padding", "valid"))
            n_weights += kernel.size
            n_products += kernel.size * math.prod(shape[:-1])
            operations.append(_product(kernel, bias, config, shape))
        elif kind in ("MaxPooling2D", "AveragePooling2D"):
            size = list(config["pool_size"])
            shape = [shape[0] // size[0], shape[1] // size[1], shape[2]]
            name = "max" if kind == "MaxPooling2D" else "average"
            operations.append({"kind": name, "size": size, "shape": shape})
        elif kind == "Flatten":
            shape = [math.prod(shape)]
        before = after = len(operations)
        activation = "relu" if kind == "ReLU" else config.get("activation", "linear")
        if activation != "linear":
            operations.append({"kind": activation, "shape": shape})
            after += activation != "softmax"
        ends[config["name"]] = before, after
    if n_weights > _MOST_WEIGHTS or n_products > _MOST_PRODUCTS:
        raise Unknown(
            f"is too large for a page: it has {n_weights:,} weights, and takes {n_products:,} "
            "products for an image"
        )
    return operations, ends


def _unknown(layer: Mapping[str, Any]) -> str | None:
    """The kind and the name of a layer that the scripts don't know, with what is strange in it."""
    kind, config = layer["class_name"], layer["config"]
    named = f"{kind} {config.get('name')}"
    known = ("InputLayer", "Conv2D", "MaxPooling2D", "AveragePooling2D", "Flatten", "Dense")
    if kind not in (*known, "Dropout", "Activation", "ReLU"):
        return named
    of_keras = config.get("data_format", "channels_last") == "channels_last"
    activation = config.get("activation", "linear")
    if not of_keras or activation not in ("linear", "relu", "softmax"):
        return f"{named} with {activation if of_keras else config['data_format']}"
    if kind == "Conv2D" and (
        _both(config["strides"]) != (1, 1)
        or _both(config["dilation_rate"]) != (1, 1)
        or config.get("groups", 1) != 1
        or activation == "softmax"
    ):
        return f"{named} with strides, dilation, groups or softmax"
    if kind.endswith("Pooling2D") and (
        config["padding"] != "valid" or _both(config["strides"]) != _both(config["pool_size"])
    ):
        return f"{named} with windows that overlap or reach out"
    if kind == "ReLU" and any(
        config.get(name) for name in ("max_value", "negative_slope", "threshold")
    ):
        return f"{named} with a bound, a slope or a threshold"
    return None


def _both(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _check_chain(kind: str, layers: Sequence[Mapping[str, Any]]) -> None:
    """Raise `Unknown` unless each layer takes what the one before gives, and nothing else."""
    if not layers or layers[0]["class_name"] != "InputLayer":
        raise Unknown("doesn't begin with its image")
    if kind == "Sequential":
        return
    for before, layer in itertools.pairwise(layers):
        histories = list(_histories(layer.get("inbound_nodes")))
        if histories != [[before["config"]["name"], 0, 0]]:
            raise Unknown(f"isn't a chain of layers: {layer['config']['name']} stands beside it")


def _histories(value: Any) -> Iterable[list[Any]]:
    """What a layer takes, as Keras names it: [layer, call, output]."""
    if isinstance(value, dict) and "keras_history" in value:
        yield list(value["keras_history"])
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _histories(item)


def _after(shape: list[int], kernel: np.ndarray, padding: str) -> list[int]:
    """The shape of what a convolution or a dense layer gives."""
    if kernel.ndim == 2:
        return [kernel.shape[1]]
    missing = [side - 1 if padding == "valid" else 0 for side in kernel.shape[:2]]
    return [shape[0] - missing[0], shape[1] - missing[1], kernel.shape[3]]


def _product(
    kernel: np.ndarray, bias: np.ndarray | None, config: Mapping[str, Any], shape: list[int]
) -> Operation:
    operation = {
        "kind": "dense" if kernel.ndim == 2 else "convolution",
        "shape": shape,
        "sides": list(kernel.shape),
        "kernel": _packed(kernel),
        "bias": _packed(np.zeros(shape[-1], np.float32) if bias is None else bias),
    }
    return {**operation, "same": True} if config.get("padding") == "same" else operation


def _weights(packed: bytes) -> list[np.ndarray]:
    """All weights of a stored network, in the order of its layers."""
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        return [arrays[name] for name in sorted(arrays.files)]


def _packed(array: np.ndarray) -> str:
    """Numbers as base64 of their bytes, the smallest byte of each first."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return base64.b64encode(little.tobytes()).decode()


def _shown(study: Study) -> dict[str, Any]:
    """What the page shows beside the network: examples, classes, OIPs, and what starts are of."""
    pixels, labels, names = _examples(study)
    height, width, _ = study.image_shape
    fluctuation, grid = study.spec.trials.fluctuation, study.spec.scan.grid
    return {
        "classes": list(names),
        "examples": [
            {"label": label, "pixels": _packed(image)}
            for image, label in zip(pixels, labels, strict=True)
        ],
        "box": box_of(pixels),
        "oips": _best(study),
        "fluctuation": [
            _resizers(sides, height, width) | {"factor": factor}
            for sides, factor in zip(fluctuation.grids, fluctuation.factors, strict=True)
            if factor
        ],
        "pattern": _resizers((grid.rows, grid.columns), height, width)
        | {"values": list(grid.values)},
    }


def _examples(study: Study) -> tuple[np.ndarray, list[int], Sequence[str]]:
    """Some images as uint8, their classes (-1 where unknown), and the names of all classes.

    They are test images where the data set can be had on this machine; else those training
    images that are stored because maps respond to them strongly.
    """
    nothing = np.empty((0, *study.image_shape), np.uint8)
    if not study.has_data:
        return nothing, [], ()
    try:
        data = study.dataset()
    except OipError:
        stored = reaction(study, "data").images
        few = stored[np.linspace(0, len(stored) - 1, min(len(stored), _MOST_EXAMPLES)).astype(int)]
        return few, [-1] * len(few), study.class_names
    labels = data.test_labels
    chosen = [np.flatnonzero(labels == c)[:_PER_CLASS] for c in range(data.n_classes)]
    first = np.array(chosen[0][:0])
    order = np.concatenate([first, *[of[k : k + 1] for k in range(_PER_CLASS) for of in chosen]])
    order = order[:_MOST_EXAMPLES]
    low, high = data.pixel_range
    pixels = np.round(255 * ((data.test_images[order] - low) / (high - low))).astype(np.uint8)
    return pixels, labels[order].tolist(), data.class_names


def box_of(pixels: np.ndarray) -> int | None:
    """The longer side of what each image shows on black, if it is the same for all.

    MNIST's digits were scaled to 20 pixels, and centred by their mass (LeCun et al. 1998).

    Parameters
    ----------
    pixels : uint8, (n, height, width, channels)

    Returns
    -------
    int or None
        None if it differs, if what they show fills the images, or if they have colours.

    Examples
    --------
    >>> pixels = np.zeros((2, 9, 9, 1), np.uint8)
    >>> pixels[0, 2:7, 4], pixels[1, 3, 1:6] = 255, 9
    >>> box_of(pixels), box_of(pixels[:, 1:])
    (5, 5)
    """
    if not len(pixels) or pixels.shape[3] != 1:
        return None
    sides = []
    for image in pixels[..., 0]:
        rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return None
        sides.append(int(max(np.ptp(rows), np.ptp(columns))) + 1)
    is_framed = max(sides) < min(pixels.shape[1:3])
    return sides[0] if is_framed and len(set(sides)) == 1 else None


def _resizers(sides: tuple[int, int], height: int, width: int) -> dict[str, Any]:
    """What makes a coarse grid an image: ``down @ grid @ across.T``, as the engine resizes."""
    from ..engine.images import resize

    rows, columns = sides
    down = resize(np.eye(rows)[:, :, None, None], height, 1)[:, :, 0, 0].T
    across = resize(np.eye(columns)[:, None, :, None], 1, width)[:, 0, :, 0].T
    return {"sides": [rows, columns], "down": _packed(down), "across": _packed(across)}


def _best(study: Study) -> dict[str, Any]:
    """The best OIP of each map as a small grey picture: map -> number, loss, pixels."""
    best = [oip for oip in study.oips(best=True) if oip.map is not None]
    if not best:
        return {"size": [0, 0], "of": {}}
    pictures = [_grey(oip, study) for oip in best]
    height, width = pictures[0].shape
    of_maps = {
        oip.of_map: {"id": oip.id, "loss": _short(oip.loss), "pixels": _packed(picture)}
        for oip, picture in zip(best, pictures, strict=True)
    }
    return {"size": [height, width], "of": of_maps}


def _grey(oip: Oip, study: Study) -> np.ndarray:
    small = shrunk(oip.image[None], _LARGEST)[0]
    shown = displayable(small, contrast=True, inputs=study.inputs)
    return np.round(255 * (shown if shown.ndim == 2 else shown.mean(axis=-1))).astype(np.uint8)


def _short(value: float) -> float:
    return float(f"{value:.7g}")


def _starts(study: Study) -> list[dict[str, Any]]:
    """Starts of the maps' best OIPs, each with its steps and the losses that they had."""
    from ..engine.starts import start_images

    oips = [
        oip
        for prior in PRIORS
        for oip in study.store.oips(
            OipFilter(layer=study.layer.name, network=study.network.id, best=True, prior=prior)
        )
        if oip.map is not None and _can_be_repeated(oip)
    ]
    oips = oips[: _MOST_IN_STARTS // math.prod(study.image_shape)]
    starts = [oip.start for oip in oips]
    images = start_images(starts, study.image_shape, study.inputs)
    return [
        {
            "id": oip.id,
            "map": oip.of_map,
            "prior": oip.prior,
            "text": str(start),
            "seed": str(seed_of(start)),
            "stages": [_stage(stage) for stage in stages_of(oip.spec)],
            "trace": [_short(loss) for loss in oip.trace.tolist()],
            "image": _packed(image),
        }
        for oip, start, image in zip(oips, starts, images, strict=True)
    ]


def _can_be_repeated(oip: Oip) -> bool:
    """Whether the page knows all that an OIP's ascents did."""
    fluctuation = oip.start_fields.get("fluctuation") or {}
    joins = any(fluctuation.get("join_epochs") or ())
    stages = stages_of(oip.spec)
    return not joins and not any(stage.stop_with_convergence for stage in stages)


def _stage(stage: AscentSpec) -> dict[str, Any]:
    """An ascent as the scripts take it."""
    return {
        "epochs": stage.n_epochs,
        "epsilon": stage.epsilon,
        "cosine": stage.schedule == "cosine",
        "objective": stage.objective,
        "smooth": stage.prior.smooth,
        "jitter": stage.prior.jitter,
    }
