"""How much of the image a position of a layer sees, from the network's architecture alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
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
    first : (float, float) or None
        The row and the column where the part begins that the first position sees; below 0 where
        it reaches over the edge. None where that isn't known.
    positions : (int, int) or None
        How many rows and columns of positions there are; None where that isn't known.
    """

    height: float
    width: float
    stride: tuple[float, float]
    first: tuple[float, float] | None = field(default=None, repr=False, compare=False)
    positions: tuple[int, int] | None = field(default=None, repr=False, compare=False)

    def part(self, row: int, column: int) -> tuple[float, float, float, float] | None:
        """The part of the image that a position sees: its top, left, height and width in pixels.

        None where that isn't known, or where it is all of the image.

        Examples
        --------
        >>> Sight(18.0, 18.0, (4.0, 4.0), first=(0.0, 0.0)).part(2, 1)
        (8.0, 4.0, 18.0, 18.0)
        """
        if self.first is None or not (math.isfinite(self.height) and math.isfinite(self.width)):
            return None
        top, left = self.first[0] + row * self.stride[0], self.first[1] + column * self.stride[1]
        return top, left, self.height, self.width

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
        _walk(architecture, [_pixel(architecture)], "", found)
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


def _pixel(architecture: Architecture) -> Sight:
    """What a pixel of the image sees: itself."""
    pixel = Sight(1.0, 1.0, (1.0, 1.0))
    for layer in architecture["config"]["layers"]:
        shape = list(layer["config"].get("batch_shape") or ())
        if layer["class_name"] == "InputLayer" and len(shape) == 4 and None not in shape[1:3]:
            return replace(pixel, first=(0.0, 0.0), positions=(int(shape[1]), int(shape[2])))
    return pixel


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
    together = Sight(
        max(sight.height for sight in seen),
        max(sight.width for sight in seen),
        (max(sight.stride[0] for sight in seen), max(sight.stride[1] for sight in seen)),
    )
    # Where all of them see parts of the largest of these, it is known where that begins.
    largest = [
        sight
        for sight in seen
        if sight.first is not None and all(_is_within(other, sight) for other in seen)
    ]
    return largest[0] if largest else together


def _is_within(sight: Sight, other: Sight) -> bool:
    """Whether each position sees no more than the same position of another layer."""
    if sight.first is None or other.first is None:
        return False
    if (sight.stride, sight.positions) != (other.stride, other.positions):
        return False
    begins = zip(sight.first, other.first, strict=True)
    sides = zip((sight.height, sight.width), (other.height, other.width), strict=True)
    return all(
        theirs <= own and own + side <= theirs + their_side
        for (own, theirs), (side, their_side) in zip(begins, sides, strict=True)
    )


def _through(kind: str, config: Architecture, sight: Sight | None) -> Sight | None:
    """What a position sees behind one layer; None where that isn't known."""
    if sight is None:
        return None
    is_plain = kind in _POINTWISE
    if kind == "LayerNormalization":
        is_plain = config.get("axis", -1) in (-1, 3, [-1], [3])
    if kind in ("Cropping2D", "ZeroPadding2D"):
        return _edged(sight, kind, config)
    if is_plain:
        return sight
    if kind in _ALL_OF_IT or kind == "LayerNormalization":
        return Sight(math.inf, math.inf, (0.0, 0.0))
    if kind in _POOLS or kind in _CONVOLUTIONS:
        sides = _pair(config["pool_size" if kind in _POOLS else "kernel_size"])
        steps = _pair(config.get("strides") or (sides if kind in _POOLS else 1))
        dilations = _pair(config.get("dilation_rate") or 1)
        reach = [(side - 1) * far for side, far in zip(sides, dilations, strict=True)]
        moved = _moved(sight, reach, steps)
        return _placed(moved, sight, reach, steps, str(config.get("padding", "valid")))
    if kind == "Conv2DTranspose":
        sides, steps = _pair(config["kernel_size"]), _pair(config.get("strides") or 1)
        reach = [math.ceil(side / step) - 1 for side, step in zip(sides, steps, strict=True)]
        return _moved(sight, reach, [1 / step for step in steps])
    if kind == "UpSampling2D":
        reach = [0, 0] if config.get("interpolation") == "nearest" else [1, 1]
        return _moved(sight, reach, [1 / step for step in _pair(config["size"])])
    return None


def _edged(sight: Sight, kind: str, config: Architecture) -> Sight:
    """Behind a layer that cuts edges off, or puts some around."""
    if sight.first is None or sight.positions is None:
        return sight
    sides = config["cropping" if kind == "Cropping2D" else "padding"]
    before_after = [(int(before), int(after)) for before, after in sides]
    sign = 1 if kind == "Cropping2D" else -1
    down, right = (
        first + sign * before * stride
        for first, stride, (before, _) in zip(sight.first, sight.stride, before_after, strict=True)
    )
    rows, columns = (
        n - sign * (before + after)
        for n, (before, after) in zip(sight.positions, before_after, strict=True)
    )
    return replace(sight, first=(down, right), positions=(rows, columns))


def _placed(
    moved: Sight, before: Sight, reach: list[float], steps: list[float], padding: str
) -> Sight:
    """The sight behind a convolution or a pool, with where it begins if that is known."""
    if before.first is None or before.positions is None or padding not in ("valid", "same"):
        return moved
    first, positions = [], []
    for axis, (n, far, step) in enumerate(zip(before.positions, reach, steps, strict=True)):
        n_after = math.floor((n - far - 1) / step) + 1
        n_put_before = 0
        if padding == "same":  # TensorFlow's rule: the odd one comes after
            n_after = math.ceil(n / step)
            n_put_before = max(int((n_after - 1) * step + far + 1 - n), 0) // 2
        first.append(before.first[axis] - n_put_before * before.stride[axis])
        positions.append(n_after)
    return replace(moved, first=(first[0], first[1]), positions=(positions[0], positions[1]))


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
