"""How much of the image a position of a layer sees, from the network's architecture alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

Architecture = Mapping[str, Any]

# What leaves every position where it is, and looks at no other one.
_POINTWISE = (
    *("Activation", "ELU", "Elu", "Gelu", "HardSigmoid", "HardSilu", "LeakyRelu", "LeakyReLU"),
    *("Mish", "PReLU", "ReLU", "Relu", "Relu6", "Selu", "Sigmoid", "Silu"),
    *("Softmax", "Softplus", "Swish", "Tanh"),
    *("Add", "Average", "Concatenate", "Divide", "Maximum", "Minimum", "Multiply", "Negative"),
    *("Subtract", "TrueDivide", "Cast", "Clip", "Identity", "Rescaling", "Normalization"),
    *("BatchNormalization", "ActivityRegularization", "AlphaDropout", "Dropout"),
    *("GaussianDropout", "GaussianNoise", "SpatialDropout2D"),
    *("Cropping2D", "Dense", "ZeroPadding2D"),
)
_POOLS = ("MaxPooling2D", "AveragePooling2D")
_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D")
_ALL_OF_IT = (
    *("Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D"),
    *("GroupNormalization", "Resizing"),
)


@dataclass(frozen=True)
class Sight:
    """What a position of a layer sees.

    Attributes
    ----------
    height, width : float
        Of the part of the image on which a position depends, in pixels, edges apart; infinite
        where it depends on all of it.
    stride : (float, float)
        By how many rows and columns of pixels two neighbouring positions look apart; 0 where
        there is only one position.
    """

    height: float
    width: float
    stride: tuple[float, float]

    def text(self, image_height: int, image_width: int) -> str:
        """In words, for images of some size.

        Examples
        --------
        >>> Sight(18.0, 18.0, (4.0, 4.0)).text(28, 28)
        '18 x 18 pixels'
        >>> Sight(35.0, 35.0, (4.0, 4.0)).text(32, 32)
        'the whole image'
        """
        if self.height >= image_height and self.width >= image_width:
            return "the whole image"
        height, width = min(self.height, image_height), min(self.width, image_width)
        return f"{math.ceil(height)} x {math.ceil(width)} pixels"


def sights(architecture: Architecture) -> dict[str, Sight]:
    """What a position of each layer sees.

    Parameters
    ----------
    architecture
        Keras' JSON of a model, parsed.

    Returns
    -------
    dict
        Path of a layer, such as ``backbone/b3_out`` -> its sight. A layer is missing where
        something stands before it of which this isn't known.

    Examples
    --------
    >>> layers = [
    ...     {"class_name": "InputLayer", "config": {"name": "image"}},
    ...     {"class_name": "Conv2D", "config": {"name": "conv", "kernel_size": [3, 3]}},
    ... ]
    >>> sights({"class_name": "Sequential", "config": {"layers": layers}})["conv"]
    Sight(height=3.0, width=3.0, stride=(1.0, 1.0))
    """
    found: dict[str, Sight | None] = {}
    # What Keras wouldn't write ends the walk; the layers before that are known.
    with suppress(KeyError, TypeError, ValueError, IndexError, AttributeError):
        _walk(architecture, [Sight(1.0, 1.0, (1.0, 1.0))], "", found)
    return {path: sight for path, sight in found.items() if sight is not None}


def kinds(architecture: Architecture) -> dict[str, str]:
    """Path of a layer -> its Keras class, in the order in which the architecture lists them.

    Examples
    --------
    >>> inner = {"layers": [{"class_name": "Conv2D", "config": {"name": "conv"}}]}
    >>> layer = {"class_name": "Functional", "config": {"name": "backbone", **inner}}
    >>> kinds({"class_name": "Functional", "config": {"layers": [layer]}})
    {'backbone': 'Functional', 'backbone/conv': 'Conv2D'}
    """
    return dict(_kinds(architecture, ""))


def _kinds(model: Architecture, prefix: str) -> Iterator[tuple[str, str]]:
    for layer in model["config"].get("layers", ()):
        path = prefix + str(_name(layer))
        yield path, str(layer["class_name"])
        if "layers" in layer["config"]:
            yield from _kinds(layer, f"{path}/")


def _walk(
    model: Architecture, inputs: list[Sight | None], prefix: str, found: dict[str, Sight | None]
) -> list[Sight | None]:
    """The sights of a model's outputs; those of its layers go to `found`, by their first use."""
    layers = model["config"]["layers"]
    if model["class_name"] == "Sequential":
        current = inputs
        for layer in layers:
            current = _out_of(layer, current, prefix, found)
        return current
    known: dict[tuple[str, int, int], Sight | None] = {}
    names = [key[0] for key in _keys(model["config"].get("input_layers", ()))]
    for name, sight in zip(names, inputs, strict=False):
        known[name, 0, 0] = found[prefix + name] = sight
    waiting = [
        (layer, place, list(_keys(node)))
        for layer in layers
        if _name(layer) not in names
        for place, node in enumerate(layer.get("inbound_nodes", ()))
    ]
    while waiting:  # once, unless a shared layer is used again further in
        later = []
        for layer, place, keys in waiting:
            if not keys or not all(key in known for key in keys):
                later.append((layer, place, keys))
                continue
            outputs = _out_of(layer, [known[key] for key in keys], prefix, found)
            known |= {(_name(layer), place, k): sight for k, sight in enumerate(outputs)}
        if len(later) == len(waiting):
            break
        waiting = later
    return [known.get(key) for key in _keys(model["config"].get("output_layers", ()))]


def _out_of(
    layer: Architecture, inputs: list[Sight | None], prefix: str, found: dict[str, Sight | None]
) -> list[Sight | None]:
    """What the positions of a layer's outputs see."""
    path = prefix + _name(layer)
    if "layers" in layer["config"]:
        outputs = _walk(layer, inputs, f"{path}/", found)
    elif layer["class_name"] == "InputLayer":
        outputs = inputs
    else:
        outputs = [_through(str(layer["class_name"]), layer["config"], _together(inputs))]
    found.setdefault(path, outputs[0] if outputs else None)
    return outputs


def _together(inputs: list[Sight | None]) -> Sight | None:
    """What one sees that depends on several at the same position."""
    seen = [sight for sight in inputs if sight is not None]
    if not seen or len(seen) < len(inputs):
        return None
    return Sight(
        max(sight.height for sight in seen),
        max(sight.width for sight in seen),
        (max(sight.stride[0] for sight in seen), max(sight.stride[1] for sight in seen)),
    )


def _through(kind: str, config: Architecture, sight: Sight | None) -> Sight | None:
    """What a position sees behind one layer; None where that isn't known."""
    if sight is None:
        return None
    is_plain = kind in _POINTWISE
    if kind == "LayerNormalization":
        is_plain = config.get("axis", -1) in (-1, 3, [-1], [3])
    if is_plain:
        return sight
    if kind in _ALL_OF_IT or kind == "LayerNormalization":
        return Sight(math.inf, math.inf, (0.0, 0.0))
    if kind in _POOLS or kind in _CONVOLUTIONS:
        sides = _pair(config["pool_size" if kind in _POOLS else "kernel_size"])
        steps = _pair(config.get("strides") or (sides if kind in _POOLS else 1))
        dilations = _pair(config.get("dilation_rate") or 1)
        reach = [(side - 1) * far for side, far in zip(sides, dilations, strict=True)]
        return _moved(sight, reach, steps)
    if kind == "Conv2DTranspose":
        sides, steps = _pair(config["kernel_size"]), _pair(config.get("strides") or 1)
        reach = [math.ceil(side / step) - 1 for side, step in zip(sides, steps, strict=True)]
        return _moved(sight, reach, [1 / step for step in steps])
    if kind == "UpSampling2D":
        reach = [0, 0] if config.get("interpolation") == "nearest" else [1, 1]
        return _moved(sight, reach, [1 / step for step in _pair(config["size"])])
    return None


def _moved(sight: Sight, reach: list[float], steps: list[float]) -> Sight:
    """Behind a layer that looks at so many further positions, and goes on in such steps."""
    down, right = sight.stride
    return Sight(
        sight.height + reach[0] * down,
        sight.width + reach[1] * right,
        (down * steps[0], right * steps[1]),
    )


def _pair(value: Any) -> list[float]:
    rows, columns = value if isinstance(value, (list, tuple)) else (value, value)
    return [float(rows), float(columns)]


def _name(layer: Architecture) -> str:
    return str(layer["config"]["name"] if "name" in layer["config"] else layer.get("name"))


def _keys(value: Any) -> Iterator[tuple[str, int, int]]:
    """The (layer, node, tensor) of each tensor that a part of an architecture names."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            name, node, tensor = value["config"]["keras_history"]
            yield str(name), int(node), int(tensor)
        else:
            for item in value.values():
                yield from _keys(item)
    elif isinstance(value, (list, tuple)):
        if len(value) == 3 and isinstance(value[0], str):
            yield str(value[0]), int(value[1]), int(value[2])
        else:
            for item in value:
                yield from _keys(item)
