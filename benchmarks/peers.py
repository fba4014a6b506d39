"""Gradient images per second of xplique and tf-keras-vis, in an environment of their own.

``python peers.py MODEL.keras LAYER`` prints JSON: peer -> its best rate over the batch sizes,
and at which. Both ascend one map per image, pixels as parameters, Adam, without transformations
or regularizers, so that nothing but the gradient step is timed. `bench.py` calls it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as oiplib's own

import numpy as np
import tensorflow as tf

BATCH_SIZES = (64, 128, 256)
SHORT, LONG = 10, 90


def xplique(model: tf.keras.Model, layer: str, maps: np.ndarray) -> Callable[[int], object]:
    """A function that takes so many steps."""
    from xplique.features_visualizations import Objective, optimize

    objective = Objective.channel(model, layer, [int(map) for map in maps])

    def climb(steps: int) -> object:
        return optimize(
            objective,
            optimizer=tf.keras.optimizers.Adam(0.05),
            nb_steps=steps,
            use_fft=False,
            transformations=None,
            custom_shape=model.input_shape[1:3],
        )

    return climb


def tf_keras_vis(model: tf.keras.Model, layer: str, maps: np.ndarray) -> Callable[[int], object]:
    """A function that takes so many steps."""
    from tf_keras_vis.activation_maximization import ActivationMaximization
    from tf_keras_vis.utils.model_modifiers import ExtractIntermediateLayer
    from tf_keras_vis.utils.scores import CategoricalScore

    visualization = ActivationMaximization(model, ExtractIntermediateLayer(layer), clone=False)
    seeds = np.random.default_rng(0).random((len(maps), *model.input_shape[1:]), np.float32)

    def climb(steps: int) -> object:
        return visualization(
            CategoricalScore([int(map) for map in maps]),
            seed_input=tf.constant(seeds),
            input_range=(0, 1),
            input_modifiers=[],
            regularizers=[],
            optimizer=tf.keras.optimizers.Adam(0.05),
            steps=steps,
        )

    return climb


def main(path: str, layer: str) -> None:
    """Time each peer at each batch size."""
    model = tf.keras.models.load_model(path, compile=False)
    n_maps = model.get_layer(layer).output.shape[-1]
    found = {}
    for name, peer in (("xplique", xplique), ("tf-keras-vis", tf_keras_vis)):
        rates = {}
        for n in BATCH_SIZES:
            maps = np.random.default_rng(n).integers(0, n_maps, n)
            climb = peer(model, layer, maps)
            _seconds(climb, SHORT)  # compiled
            # The difference leaves out what is done once a call.
            spent = min(_seconds(climb, LONG) for _ in range(3)) - min(
                _seconds(climb, SHORT) for _ in range(3)
            )
            rates[n] = n * (LONG - SHORT) / spent
        best = max(rates, key=rates.__getitem__)
        found[name] = {"version": version(name), "rate": rates[best], "batch_size": best}
    print(json.dumps(found))


def _seconds(climb: Callable[[int], object], steps: int) -> float:
    begin = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        climb(steps)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main(*sys.argv[1:])
