"""Responses of several layers at once, by the model as Keras runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .tf import keras, tf


def responses(
    model: Any, layers: Sequence[str], images: np.ndarray, batch_size: int = 256
) -> dict[str, np.ndarray]:
    """How all maps of some layers respond to images, in one pass.

    Nothing is left out or reordered for speed. So this is an independent check of what
    `LayerMaps` computes; the two agree within rounding.

    Parameters
    ----------
    model : keras.Model
    layers
        Names of layers whose outputs are (n, height, width, maps) or (n, units).
    images : array, (n, height, width, channels)
    batch_size
        Images per forward pass.

    Returns
    -------
    dict
        Name of a layer -> float32, (2, n, maps): the responses, and the means of the
        activations' absolute values, against which rounding is to be judged.
    """
    outputs = {name: model.get_layer(name).output for name in layers}
    until = keras.Model(model.inputs[0], outputs)

    def means(batch: Any) -> Any:
        values = until(batch, training=False)
        return {
            name: tf.stack(
                [
                    tf.reduce_mean(of, axis=list(range(1, len(value.shape) - 1)))
                    for of in (value, tf.abs(value))
                ]
            )
            for name, value in values.items()
        }

    compiled = tf.function(means, autograph=False)
    n_maps = {name: output.shape[-1] for name, output in outputs.items()}
    responses_of = {name: np.empty((2, len(images), n), np.float32) for name, n in n_maps.items()}
    for first in range(0, len(images), batch_size):
        indices = np.arange(first, min(first + batch_size, len(images)))
        # Batches are filled up, so that the function is traced once.
        batch = compiled(tf.constant(images[np.resize(indices, batch_size)]))
        for name, of_layer in batch.items():
            responses_of[name][:, indices] = of_layer.numpy()[:, : len(indices)]
    return responses_of
