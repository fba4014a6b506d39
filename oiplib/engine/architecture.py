"""A model's architecture as data: what may stand in it, and how it is made one that we study.

Keras writes an architecture as JSON. It is checked before anything is built from it: a file or a
database may bring no code, and whoever gets a database must be able to rebuild its networks with
Keras alone.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from copy import deepcopy
from inspect import signature
from types import ModuleType
from typing import Any

from ..errors import InputError
from .tf import keras

#: Keras' JSON, parsed.
Architecture = dict[str, Any]

# Where classes and functions of a network come from. Losses and optimizers belong to inner models
# that were trained by themselves.
_CLASSES: tuple[ModuleType, ...] = (
    *(keras.layers, keras.models, keras.initializers, keras.regularizers, keras.constraints),
    *(keras.random, keras.dtype_policies, keras.losses, keras.metrics, keras.optimizers),
    keras.optimizers.schedules,
)
_FUNCTIONS: tuple[ModuleType, ...] = (keras.activations, keras.ops, keras.losses, keras.metrics)
_PRIVATE = ("keras.src.layers.", "keras.src.ops.", "keras.src.models.", "keras.src.applications.")

# Not objects, or without a public name.
_VALUES = {
    *("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"),
    *("Functional", "Policy"),
}

# Those that become arrays, and what such an array may hold: a text of one letter could have 2 GB.
_ARRAYS = ("__tensor__", "__numpy__")
_NUMBERS = {
    *("bool", "bfloat16", "float16", "float32", "float64"),
    *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
}

# Layers of Keras that run what isn't Keras, or read other files.
_FOREIGN = {"FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper"}
_TEXT = {"IntegerLookup", "StringLookup", "TextVectorization"}

# Inner ones included. NASNetLarge has about 1,000.
_MOST_LAYERS = 3000

_FLOATS = {"float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16"}


def architecture_of(model: Any) -> Architecture:
    """The architecture of a model, without how it was trained."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about losses that aren't kept
        architecture: Architecture = json.loads(model.to_json())
    architecture.pop("compile_config", None)  # names the optimizer, whose state isn't kept
    return architecture


def check(architecture: Any) -> None:
    """Refuse an architecture from which Keras alone couldn't or shouldn't build a network.

    Raises
    ------
    InputError
        If it holds code, layers or functions that aren't Keras' own, or a quantized layer. The
        message names the layer. Also if it has more layers than any network.
    """
    n_layers = 0
    for part, layer in _parts(architecture):
        n_layers += isinstance(part["config"], dict) and "name" in part["config"]
        if n_layers > _MOST_LAYERS:
            raise InputError(f"the model has more than {_MOST_LAYERS:,} layers")
        where = f"the layer {layer!r}" if layer else "the model"
        kind = str(part["class_name"])
        if kind in ("Lambda", "__lambda__"):
            raise InputError(
                f"{where} is a Lambda, which is Python code: replace it by Keras' own layers or "
                "by keras.ops, and save the model again"
            )
        if kind in _TEXT:
            raise InputError(f"{where} reads text ({kind}): a network must take one image")
        if "Quantized" in kind:
            raise InputError(f"{where} is quantized: take the model from before quantization")
        if kind in _ARRAYS and _type_of(part) not in _NUMBERS:
            raise InputError(f"{where} holds an array of {_type_of(part)[:20]!r}: no numbers")
        if not _is_of_keras(part):
            what = f"uses the function {part['config']!r}" if kind == "function" else f"is a {kind}"
            raise foreign(f"{where} {what}")


def foreign(what: str) -> InputError:
    """The error for a part of a model that isn't Keras' own."""
    return InputError(
        f"{what}, which Keras can't build by itself: build the model from Keras' own layers and "
        "activations, so that others can rebuild it from the database"
    )


def for_study(architecture: Architecture, size: tuple[int, int] | None = None) -> Architecture:
    """The same network in float32, for images of one size, in batches of any size.

    What is so already stays as it is, to the letter.

    Parameters
    ----------
    architecture
        Of a model with one input.
    size
        Height and width of the images, if the architecture leaves them open.
    """
    architecture = _in_float32(architecture)
    inputs = [part["config"] for part, _ in _parts(architecture) if _is_input(part)]
    if size is not None or any(config["batch_shape"][0] is not None for config in inputs):
        _drop(architecture, ("build_config", "build_input_shape"))
        for config in inputs:
            config["batch_shape"] = [None, *config["batch_shape"][1:]]
    (image,) = (part["config"] for part in architecture["config"]["layers"] if _is_input(part))
    image["dtype"] = "float32"  # a gradient needs more than uint8
    if size is not None:
        image["batch_shape"][1:3] = size
    return architecture


def without_training(architecture: Architecture) -> Architecture:
    """The same without how inner models were trained by themselves."""
    architecture = deepcopy(architecture)
    _drop(architecture, ("compile_config",))
    return architecture


def floats_of(architecture: Any) -> set[str]:
    """The names of all types of floating-point numbers but float32 in which a network computes."""
    names: set[str] = set()
    _in_float32(architecture, found=names)
    return names


def from_keras_2(architecture: Any) -> Architecture:
    """An architecture that Keras 1 or 2 wrote, so that Keras 3 can build the same network from it.

    Raises
    ------
    ValueError
        If it isn't that of a model.
    """
    if not isinstance(architecture, dict) or not architecture.get("config"):
        raise ValueError("its architecture isn't that of a model")
    architecture = deepcopy(architecture)
    _drop(architecture, ("module", "registered_name", "build_config", "compile_config"))
    for part, _ in list(_parts(architecture)):
        config = part["config"]
        if part["class_name"] == "Sequential" and isinstance(config, list):
            part["config"] = {"name": "sequential", "layers": config}
        if not isinstance(config, dict):
            continue
        if isinstance(config.get("dtype"), dict):
            config["dtype"] = config["dtype"]["config"]["name"]
        kind = getattr(keras.layers, part["class_name"], None)
        if kind is not None and "groups" not in signature(kind).parameters:
            config.pop("groups", None)  # a depthwise convolution named them, always 1
        _count_calls_anew(config)
    return architecture


def _count_calls_anew(config: dict[str, Any]) -> None:
    """Number the calls of inner models as Keras 3 does: from 0, and functional outputs from 1.

    In Keras 2 call 0 was that of the inner model on its own input.
    """
    parts = config.get("layers") or ()
    within = list(_calls([part.get("inbound_nodes") for part in parts]))
    outputs = list(_calls(config.get("output_layers")))
    for part in parts:
        if part["class_name"] not in ("Sequential", "Functional", "Model"):
            continue
        calls, as_outputs = (
            [call for call in some if call[0] == part["config"]["name"]]
            for some in (within, outputs)
        )
        first = min((call[1] for call in calls + as_outputs), default=0)
        for call in calls:
            call[1] -= first
        for call in as_outputs:
            call[1] -= first - (part["class_name"] != "Sequential")


def _calls(value: Any) -> Iterator[list[Any]]:
    """All references ``[layer, call, output]`` to what a layer gave, inside a value."""
    if not isinstance(value, list):
        return
    if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
        yield value
    for item in value:
        yield from _calls(item)


def reason(error: Exception) -> str:
    """An error's whole message in one line, without the configs that Keras adds to it."""
    line, depth = "", 0
    for letter in " ".join(str(error).split()):
        depth -= letter == "}" and depth > 0
        line += letter if not depth else ""
        depth += letter == "{"
    line = line.replace("Full object config: {}", "").replace("config={}.", "its config.").strip()
    return line or type(error).__name__


def _parts(value: Any, layer: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    """Everything that Keras would build, each with the path of the layer that it belongs to."""
    if isinstance(value, list):
        for item in value:
            yield from _parts(item, layer)
    if not isinstance(value, dict):
        return
    is_part = "class_name" in value and "config" in value
    if is_part:
        yield value, layer
    for key, item in value.items():
        if is_part and key == "config" and isinstance(item, dict):
            for layer_config in item.get("layers") or ():
                if isinstance(layer_config, dict):
                    yield from _parts(layer_config, _path(layer, layer_config))
            item = {name: inner for name, inner in item.items() if name != "layers"}
        yield from _parts(item, layer)


def _type_of(part: dict[str, Any]) -> str:
    """The type of the array that a part becomes."""
    config = part["config"]
    return str(config.get("dtype")) if isinstance(config, dict) else ""


def _path(outer: str, layer_config: dict[str, Any]) -> str:
    config = layer_config.get("config")
    name = layer_config.get("name") or (config.get("name") if isinstance(config, dict) else None)
    return f"{outer}/{name}" if outer else str(name)


def _is_of_keras(part: dict[str, Any]) -> bool:
    """Whether a class or a function is one that Keras exports, or a value."""
    kind, module = str(part["class_name"]), part.get("module", "keras")
    if kind in _FOREIGN:
        return False
    if kind in _VALUES:
        return True
    if kind == "function":
        return any(hasattr(place, str(part["config"])) for place in _FUNCTIONS)
    if not isinstance(module, str) or module.split(".")[0] != "keras":
        return False
    is_public = any(isinstance(getattr(place, kind, None), type) for place in _CLASSES)
    return is_public or module.startswith(_PRIVATE)


def _is_input(part: dict[str, Any]) -> bool:
    return bool(part["class_name"] == "InputLayer")


def _in_float32(value: Any, key: str = "", found: set[str] | None = None) -> Any:
    """A copy in which all floating-point numbers are float32; `found` collects the other types."""
    if isinstance(value, list):
        return [_in_float32(item, found=found) for item in value]
    if key == "dtype" and isinstance(value, str) and value in _FLOATS:
        if found is not None:
            found.add(value.removeprefix("mixed_"))
        return "float32"
    if not isinstance(value, dict):
        return value
    if key == "dtype" and isinstance(value.get("config"), dict):
        name = value["config"].get("name")
        if name == "float32":
            return value
        _in_float32(name, "dtype", found)
        policy = {"module": "keras", "class_name": "DTypePolicy", "registered_name": None}
        return {**policy, "config": {"name": "float32"}}
    return {name: _in_float32(item, name, found) for name, item in value.items()}


def _drop(value: Any, keys: tuple[str, ...]) -> None:
    """Remove keys from all dictionaries inside a value."""
    if isinstance(value, dict):
        for key in keys:
            value.pop(key, None)
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, (dict, list)):
            _drop(item, keys)
