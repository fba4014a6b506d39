"""Any objective as something that searches and ascents can work on, like one map of a layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from ..errors import InputError
from ..progress import SILENT
from ..values import Maps, map_list
from ..values.objectives import Channel, Direction, Function, Neuron, Objective, Term
from .compiled import Compiled
from .layers import LayerMaps, check_images
from .tf import tf


class Target:
    """One objective, with what a `LayerMaps` offers to a search: a layer with one map, 0.

    Parameters
    ----------
    objective
        What images are to excite.
    layer_of
        The `LayerMaps` of a layer, by its name; all of one model.

    Attributes
    ----------
    n_maps : int
        1.
    image_shape, inputs, batch_size
        Those of the layers; the smallest batch of them.
    silent_is_dead : bool
        Whether a response of exactly 0 implies a gradient of exactly 0.
    """

    n_maps = 1

    def __init__(self, objective: Objective, layer_of: Callable[[str], LayerMaps]) -> None:
        self.objective = objective
        self.layers = {name: layer_of(name) for name in objective.layers}
        layers = list(self.layers.values())
        self.layer = str(objective)
        self.image_shape, self.inputs = layers[0].image_shape, layers[0].inputs
        self.batch_size = min(layer.batch_size for layer in layers)
        own = not objective.can_be_stored
        self.silent_is_dead = not own and all(layer.silent_is_dead for layer in layers)
        self.compiled = Compiled()

    def traced(self, images: Any, maps: Any, peak: bool = False) -> tuple[Any, Any]:
        """Response and pre-activation of the objective as tensors (n,), to be compiled.

        The pre-activation is the same objective of what goes into the layers' activations. It
        has a gradient where a ReLU gives none. A function of the user's own has no other form:
        it is its own.

        Raises
        ------
        InputError
            If the largest of the pre-activation is asked for: only a map has positions.
        """
        if peak:
            raise InputError(
                "only a map has a peak pre-activation: climb the pre-activation of "
                f"{self.objective}"
            )
        values = {name: layer.traced_all(images) for name, layer in self.layers.items()}
        after, before = (
            reduce(
                tf.add,
                [
                    factor * _response(term, values[term.layer][which])
                    for factor, term in self.objective.terms
                ],
            )
            for which in (0, 1)
        )
        return after, before

    def _traced(self, images: Any) -> tuple[Any, Any]:
        after, before = self.traced(images, None)
        return after[:, None], before[:, None]

    def respond(
        self, images: np.ndarray, batch_size: int | None = None, progress: Any = SILENT
    ) -> tuple[np.ndarray, np.ndarray]:
        """Responses and pre-activations to images, each float32 (n, 1)."""
        check_images(images, self.image_shape)
        size = batch_size or 2 * self.batch_size
        images_type = tf.TensorSpec((None, *self.image_shape), tf.float32)
        compiled = self.compiled.get("responses", lambda: (self._traced, [images_type]))
        out = np.empty((2, len(images), 1), np.float32)
        for first in range(0, len(images), size):
            batch = np.arange(first, min(first + size, len(images)))
            # Always a full batch: another size may be rounded in another way.
            responses = compiled(images[np.resize(batch, size)])
            out[:, batch] = [values[: len(batch)] for values in responses]
            progress.update(len(batch))
        return out[0], out[1]

    def __call__(
        self, images: np.ndarray, batch_size: int | None = None, progress: Any = SILENT
    ) -> np.ndarray:
        """Responses to images, float32 (n, 1)."""
        return self.respond(images, batch_size, progress)[0]

    def map_array(self, maps: Maps | np.ndarray) -> np.ndarray:
        """Zeros, int32 (n,): an objective has no other map."""
        indices = maps.tolist() if isinstance(maps, np.ndarray) else maps
        return np.asarray(map_list(indices, 1, self.layer), np.int32)


def responses_of(
    objective: Objective, activations: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """An objective's responses from the activations of its layers, by NumPy alone.

    Parameters
    ----------
    objective
        What is asked for; no function of the user's own.
    activations
        Name of a layer -> float, (n, height, width, maps) or (n, units).

    Returns
    -------
    responses, sizes : float64, (n,)
        The responses, and the sums of the terms' sizes, against which rounding is to be judged.
    """
    responses, sizes = [], []
    for factor, term in objective.terms:
        values = np.asarray(activations[term.layer], np.float64)
        responses.append(factor * _plain_response(term, values))
        sizes.append(abs(factor) * _plain_response(_absolute(term), np.abs(values)))
    return np.sum(responses, axis=0), np.sum(sizes, axis=0)


def _response(term: Term, values: Any) -> Any:
    """One term's response from its layer's values, (n, height, width, maps) or (n, units)."""
    positions = list(range(1, len(values.shape) - 1))
    if isinstance(term, Function):
        response = tf.convert_to_tensor(term.function(values))
        if len(response.shape) != 1 or response.shape[0] != values.shape[0]:
            raise InputError(
                f"{term} must give a number for each image, shape (n,), not {response.shape}"
            )
        return response
    if isinstance(term, Neuron):
        return values[:, term.y, term.x, term.map] if positions else values[:, term.map]
    if isinstance(term, Direction):
        return tf.reduce_mean(
            tf.linalg.matvec(values, np.array(term.vector, np.float32)), axis=positions
        )
    assert isinstance(term, Channel)
    return tf.reduce_mean(values[..., term.map], axis=positions)


def _plain_response(term: Term, values: np.ndarray) -> np.ndarray:
    positions = tuple(range(1, values.ndim - 1))
    if isinstance(term, Neuron):
        return values[:, term.y, term.x, term.map] if positions else values[:, term.map]
    if isinstance(term, Direction):
        return np.asarray((values @ np.array(term.vector)).mean(axis=positions))
    assert isinstance(term, Channel)
    return np.asarray(values[..., term.map].mean(axis=positions))


def _absolute(term: Term) -> Term:
    if isinstance(term, Direction):
        return Direction(term.layer, tuple(abs(value) for value in term.vector))
    return term


#: What a search works on: all maps of a layer, or one objective.
Responding = LayerMaps | Target
