"""Models inside models: their layers by path, such as ``backbone/b3_out``, and all layers in one.

Keras knows an inner layer only on the inner model's own input, from which no gradient reaches the
outer image. So a network with inner models is studied as a flat copy of itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .tf import keras


def flat(model: Any) -> tuple[Any, dict[str, str]]:
    """The same network without inner models, and what its layers are called there.

    Parameters
    ----------
    model : keras.Model
        A model with a graph and one input.

    Returns
    -------
    flat_model : keras.Model
        Fresh layers with the same weights; the model itself if it has no inner models.
    names : dict
        Path of a layer -> its name in the flat model. Keras allows no "/" in names.

    Examples
    --------
    >>> inner = keras.Sequential([keras.layers.Conv2D(2, 3, name="conv")], name="inner")
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), inner, keras.layers.Flatten(name="flat")])
    >>> flat(model)[1]
    {'inner/conv': 'inner.conv', 'flat': 'flat'}
    """
    if not any(is_nested(layer) for layer in model.layers):
        return model, {layer.name: layer.name for layer in model.layers}
    image = keras.Input(model.inputs[0].shape[1:], name=model.inputs[0].name)
    names: dict[str, str] = {}
    used = {image.name}
    copies: dict[int, tuple[Any, Any]] = {}  # a shared layer stays one layer

    def copied(operation: Any, path: str) -> Any:
        if id(operation) not in copies:
            name = path.replace("/", ".")
            while name in used:
                name += "_"
            used.add(name)
            names[path] = name
            config = {**operation.get_config(), "name": name}
            copies[id(operation)] = operation, type(operation).from_config(config)
        return copies[id(operation)][1]

    flat_model = keras.Model(image, run(model, image, copied), name=model.name)
    for operation, copy in copies.values():
        if getattr(operation, "weights", None):
            set_weights(copy, operation.get_weights())
    return flat_model, names


def layer_outputs(model: Any) -> dict[str, Any]:
    """The outputs of a model's layers, from the input on: path of a layer -> Keras tensor.

    Inner models are replaced by their layers. A layer that is called twice has no output of its
    own; an inner model that is called twice has none in any of its layers.
    """
    if not any(is_nested(layer) for layer in model.layers):
        return {
            layer.name: layer.output
            for layer in model.layers
            if not isinstance(layer, keras.layers.InputLayer) and hasattr(layer, "output")
        }
    outputs: dict[int, Any] = {}
    n_calls: Counter[int] = Counter()

    def noted(operation: Any, path: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            outputs[id(operation)] = output = operation.compute_output_spec(*args, **kwargs)
            n_calls[id(operation)] += 1
            return output

        return call

    run(model, model.inputs[0], noted)
    return {path: outputs[id(layer)] for path, layer in _paths(model) if n_calls[id(layer)] == 1}


def run(model: Any, inputs: Any, called: Callable[[Any, str], Any], prefix: str = "") -> Any:
    """What a model makes of its input if something else is called in the place of its operations.

    Parameters
    ----------
    model : keras.Model
        A model with a graph.
    inputs
        A Keras tensor or a tensor.
    called : function
        An operation (a layer mostly) and its path -> what is called with its arguments.
    """

    def operation_fn(operation: Any) -> Any:
        path = prefix + operation.name
        if not is_nested(operation):
            return called(operation, path)
        # How an inner model was called (training, mask) says nothing at test time.
        return lambda inner_inputs, **_: run(operation, inner_inputs, called, f"{path}/")

    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            inputs = operation_fn(layer)(inputs)
        return inputs
    outputs = model._run_through_graph(inputs, operation_fn=operation_fn)
    return outputs[0] if isinstance(outputs, list) and len(outputs) == 1 else outputs


def is_nested(layer: Any) -> bool:
    """Whether a layer is itself a model with a graph."""
    return isinstance(layer, keras.Model) and (
        isinstance(layer, keras.Sequential) or hasattr(layer, "_run_through_graph")
    )


def all_layers(layer: Any) -> list[Any]:
    """A layer or model with all layers inside it, at any depth."""
    return list(layer._flatten_layers())


def set_weights(layer: Any, weights: list[np.ndarray]) -> None:
    """Give a layer or model its weights, and let what follows from them follow.

    Keras' own ``set_weights`` leaves a ``Normalization`` at the mean and variance that it was
    built with.

    Raises
    ------
    ValueError
        If the weights don't fit.
    """
    layer.set_weights(weights)
    finalize(layer)


def finalize(layer: Any) -> None:
    """Let each ``Normalization`` inside take its mean and variance from its weights."""
    for inner in all_layers(layer):
        if isinstance(inner, keras.layers.Normalization):
            inner.finalize_state()


def _paths(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for layer in model.layers:
        if is_nested(layer):
            yield from _paths(layer, f"{prefix}{layer.name}/")
        elif not isinstance(layer, keras.layers.InputLayer):
            yield prefix + layer.name, layer
