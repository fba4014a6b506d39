"""Ascents in networks of other people's size, over a plain loop.

A section of ``make bench``; ``python benchmarks/large.py`` measures it alone.

The plain loop is what one writes with Keras and TensorFlow alone: a compiled step that takes the
gradient of each image's own map, normalizes and standardizes, for the same images in the same
batch. Both take turns in one process, and what is compared is the CPU time of all threads, since
wall time says more about a machine's other work. Weights are random; only the time is measured.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from oiplib import AscentSpec, CnnSpec, LayerMaps, ascend, standardize
from oiplib.engine import network
from oiplib.engine.tf import keras, tf

SEED = 20201125
STEPS = 6
TURNS = 9

#: What is measured: how a network is made, the layers whose maps are excited, batch sizes.
NETWORKS: dict[str, tuple[Callable[[], Any], tuple[str, ...], tuple[int, ...]]] = {
    "MobileNetV2, 224x224": (
        lambda: keras.applications.MobileNetV2(weights=None),
        ("block_6_expand_relu", "block_13_expand_relu", "out_relu"),
        (4, 16),
    ),
    "ResNet50, 96x96": (
        lambda: keras.applications.ResNet50(
            weights=None, include_top=False, input_shape=(96, 96, 3)
        ),
        ("conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
        (4, 16),
    ),
    "the articles', 28x28": (
        lambda: network.build(CnnSpec(), (28, 28, 1), 10),
        ("Conv2D_1", "Conv2D_2", "Conv2D_3"),
        (128,),
    ),
}


def plain_loop(model: Any, layer: str, epsilon: float) -> Callable[[np.ndarray, np.ndarray], Any]:
    """The ascent as one writes it without oiplib: images and maps -> images after all steps."""
    until = keras.Model(model.inputs[0], model.get_layer(layer).output)

    @tf.function(autograph=False)
    def step(images: Any, maps: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(images)
            means = tf.reduce_mean(until(images, training=False), axis=(1, 2))
            responses = tf.gather(means, maps, axis=1, batch_dims=1)
        gradient = tape.gradient(responses, images)
        size = tf.sqrt(tf.reduce_mean(tf.square(gradient), axis=(1, 2, 3), keepdims=True))
        return standardize(images + epsilon * gradient / (size + 1e-20))

    def climb(images: np.ndarray, maps: np.ndarray) -> Any:
        climbing = tf.constant(images)
        for _ in range(STEPS):
            climbing = step(climbing, tf.constant(maps, tf.int32))
        return climbing.numpy()

    return climb


def measure(
    model: Any, layer_name: str, batch_sizes: tuple[int, ...]
) -> list[tuple[int, float, int, float]]:
    """CPU time of plain loops over that of ascents, and of our batches over batches of n."""
    layer, spec = LayerMaps(model, layer_name), AscentSpec(STEPS, 0.1, n_steps=0)
    plain = plain_loop(model, layer_name, spec.epsilon)

    def row(n: int) -> tuple[int, float, int, float]:
        rng = np.random.default_rng(SEED)
        images = np.asarray(standardize(rng.standard_normal((n, *layer.image_shape))))
        maps = rng.integers(0, layer.n_maps, n)
        theirs, ours, by_default = _in_turns(
            lambda: plain(images, maps),
            lambda: ascend(layer, images, maps, spec, batch_size=n),
            lambda: ascend(layer, images, maps, spec),
        )
        return n, _median(theirs, ours), layer.batch_size, _median(by_default, ours)

    return [row(n) for n in batch_sizes]


def _median(above: list[float], below: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def _in_turns(*works: Callable[[], object]) -> list[list[float]]:
    """CPU seconds of each piece of work in every turn, after one that compiles."""
    seconds: list[list[float]] = [[] for _ in works]
    for turn in range(TURNS + 1):
        pairs = list(zip(seconds, works, strict=True))
        for times, work in pairs if turn % 2 else reversed(pairs):
            begin = time.process_time()
            work()
            if turn:
                times.append(time.process_time() - begin)
    return seconds


def rows(part: str = "") -> Iterator[tuple[str, str]]:
    """What is claimed of the networks whose names have this part: what, and the ratio."""
    for name, (make, layers, batch_sizes) in NETWORKS.items():
        if part not in name:
            continue
        keras.utils.set_random_seed(SEED)
        model = make()
        for layer in layers:
            for n, over_plain, batch_size, over_own in measure(model, layer, batch_sizes):
                what = f"{name}, {layer}, {n} images"
                yield f"{what}: CPU time of a plain loop over ours", f"{over_plain:.2f}"
                if n < 128:
                    yield (
                        f"{what}: CPU time in our batch ({batch_size}) over a batch of {n}",
                        f"{over_own:.2f}",
                    )


def main() -> None:
    """Print the ratios of all networks, or of those named by a part of their names."""
    for what, ratio in rows(*sys.argv[1:2]):
        print(f"| {what} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
