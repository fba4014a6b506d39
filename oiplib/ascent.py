"""Gradient ascent of many images at once, each towards the map of its own (article IX).

One step of the article's rule: ``x <- standardize(x + epsilon * g / rms(g))``, where g is the
gradient of the map's response with respect to the pixels.

==================  ===============================================================
the map responds     the image climbs; its loss is traced at every step
it doesn't, at 0     loss and gradient are 0 for ever: the image stays as it was and
                     the ascent ends as ``silent``
==================  ===============================================================

The batch has a fixed size, filled up with copies where images are missing: a convolution may
sum in another order for another batch size, and a hundred steps make that visible. In a batch
of fixed size an image's ascent doesn't depend on its neighbours.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._tf import tf
from .errors import InputError
from .images import standardize
from .progress import SILENT
from .responses import LayerMaps, check_images
from .specs import AscentSpec
from .threads import first_alone, side_by_side

BATCH_SIZE = 128

#: Why an ascent ended: all epochs done; the relative change of the loss fell below the
#: criterion; the map doesn't react to the image.
STOP_REASONS = ("n_epochs", "converged", "silent")

# Steps after which ended ascents leave their batch.
_STRETCH = 100

# Keeps 0/0 away, far below the gradient of any map that reacts.
_TINY = 1e-20


@dataclass(frozen=True)
class Ascents:
    """What became of n starts.

    Attributes
    ----------
    images : float32, (n, height, width, channels)
        The images they ended with.
    losses : float32, (n,)
        The maps' responses to these images.
    steps : int64, (n,)
        How many steps were taken.
    stop_reasons : str, (n,)
        One of `STOP_REASONS`.
    report_steps : (r,)
        The steps at which the frames were taken.
    frames : float32, (n, r, height, width, channels)
        Images on the way; from its end on, an ascent's frames repeat its last image.
    traces : float32, (n, n_epochs)
        Loss at every step, NaN after an ascent's end.
    """

    images: np.ndarray
    losses: np.ndarray
    steps: np.ndarray
    stop_reasons: np.ndarray
    report_steps: np.ndarray
    frames: np.ndarray
    traces: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def take(self, chosen: np.ndarray) -> Ascents:
        """Some of them, by index or as a mask."""
        per_start = {
            f.name: getattr(self, f.name)[chosen]
            for f in dataclasses.fields(self)
            if f.name != "report_steps"
        }
        return Ascents(report_steps=self.report_steps, **per_start)


def ascend(
    layer: LayerMaps,
    images: np.ndarray,
    maps: np.ndarray,
    spec: AscentSpec,
    batch_size: int = BATCH_SIZE,
    progress: Any = SILENT,
) -> Ascents:
    """Ascend each image towards its map.

    Parameters
    ----------
    layer
        Whose maps.
    images : array, (n, height, width, channels)
        Starts, standardized.
    maps : integers, (n,)
        The map that each start shall excite, in [0, layer.n_maps).
    spec
        Rule, number of epochs, reports and stop criterion.
    batch_size
        Images per gradient. Results are bit for bit the same only for the same batch size.
    progress
        A progress bar that counts gradient images.

    Raises
    ------
    InputError
        If shapes don't match, or a map is out of range.
    """
    check_images(images, layer.image_shape)
    maps = check_maps(maps, layer.n_maps)
    if len(images) != len(maps):
        raise InputError(f"{len(images)} images need as many maps, not {len(maps)}")
    climb = climber(layer, spec.objective)
    climbing = _Climbing(images, spec)
    for begin, end in climbing.stretches:

        def stretch(chosen: np.ndarray, begin: int = begin, end: int = end) -> int:
            padded = np.resize(chosen, batch_size)
            climbing.go(climb, chosen, padded, maps[padded], begin, end)
            return len(chosen) * (end - begin)

        climbing.report(begin)
        # Who has ended leaves the batch, so that the others need fewer.
        going = np.flatnonzero(climbing.active)
        batches = [going[i : i + batch_size] for i in range(0, len(going), batch_size)]
        for done in side_by_side(stretch, batches):
            progress.update(done)
        progress.update((len(images) - len(going)) * (end - begin))
    return climbing.concluded()


def chain(first: Ascents, second: Ascents) -> Ascents:
    """The same n starts' ascents, the second from where the first ended, as one."""
    n_steps = first.traces.shape[1] - 1
    return Ascents(
        images=second.images,
        losses=second.losses,
        steps=first.steps + second.steps,
        stop_reasons=second.stop_reasons,
        report_steps=np.concatenate([first.report_steps, second.report_steps[1:] + n_steps]),
        frames=np.concatenate([first.frames, second.frames[:, 1:]], axis=1),
        traces=np.concatenate([first.traces, second.traces[:, 1:]], axis=1),
    )


def climb(
    layer: LayerMaps,
    images: np.ndarray,
    maps: np.ndarray,
    stages: Sequence[AscentSpec],
    progress: Any = SILENT,
) -> Ascents:
    """Several ascents, each from where the one before ended, as one; parameters as `ascend`."""
    first, *others = stages
    found = ascend(layer, images, maps, first, progress=progress)
    for stage in others:
        found = chain(found, ascend(layer, found.images, maps, stage, progress=progress))
    return found


def climber(layer: LayerMaps, objective: str) -> Any:
    """The compiled loop of a layer for an objective, made once and kept with it."""
    if objective not in layer.compiled:
        layer.compiled[objective] = first_alone(_compile(layer, objective))
    return layer.compiled[objective]


def gradients(
    layer: LayerMaps, images: Any, maps: Any, objective: str = "response"
) -> tuple[Any, Any]:
    """Losses (n,), and the gradients of the objective (n, height, width, channels), as tensors."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        responses, before = layer.traced(images, maps)
        climbed = responses if objective == "response" else before
    return responses, tape.gradient(climbed, images)


def rms_normalized(gradient: Any) -> tuple[Any, Any]:
    """Each image's gradient with root mean square 1, and which of them aren't exactly 0."""
    pixels = (1, 2, 3)
    # Squares of small gradients would underflow: take the largest component out first.
    largest = tf.reduce_max(tf.abs(gradient), axis=pixels, keepdims=True)
    scaled = gradient / (largest + _TINY)
    rms = tf.sqrt(tf.reduce_mean(tf.square(scaled), axis=pixels, keepdims=True))
    return scaled / (rms + _TINY), tf.reshape(largest, [-1]) > 0


def check_maps(maps: Any, n_maps: int) -> np.ndarray:
    """The map indices as an array; `InputError` if one is out of range."""
    maps = np.atleast_1d(np.asarray(maps, np.int32))
    wrong = maps[(maps < 0) | (maps >= n_maps)]
    if len(wrong):
        raise InputError(f"there is no map {wrong[0]}: choose 0 to {n_maps - 1}")
    return maps


def _compile(layer: LayerMaps, objective: str) -> Any:
    pixels = tf.TensorSpec((None, *layer.image_shape), tf.float32)
    per_image = [tf.TensorSpec((None,), kind) for kind in (tf.int32, tf.bool, tf.float32)]
    rule = [tf.TensorSpec((None,), tf.float32), tf.TensorSpec((), tf.float32)]

    @tf.function(jit_compile=True, autograph=False)
    def stepped(images, gradient, active, epsilon):  # type: ignore[no-untyped-def]
        direction, moves = rms_normalized(gradient)
        active = active & moves
        moved = standardize(images + epsilon * direction)
        return tf.where(active[:, None, None, None], moved, images), active

    # Loops are written out: AutoGraph, which turns Python's into TensorFlow's, fails on 3.13.
    @tf.function(input_signature=[pixels, *per_image, *rule], autograph=False)
    def climb(images, maps, active, previous, epsilons, criterion):  # type: ignore[no-untyped-def]
        n_steps = tf.size(epsilons)
        trace = tf.TensorArray(tf.float32, n_steps, element_shape=(None,))

        def climbing(done, images, active, previous, trace):  # type: ignore[no-untyped-def]
            return (done < n_steps) & tf.reduce_any(active)

        def step(done, images, active, previous, trace):  # type: ignore[no-untyped-def]
            losses, gradient = gradients(layer, images, maps, objective)
            trace = trace.write(done, tf.where(active, losses, np.nan))
            converged = tf.abs(losses - previous) < criterion * tf.abs(losses)
            previous = tf.where(active, losses, previous)
            images, active = stepped(images, gradient, active & ~converged, epsilons[done])
            return done + 1, images, active, previous, trace

        def unfinished(done, trace):  # type: ignore[no-untyped-def]
            return done < n_steps

        def leave_empty(done, trace):  # type: ignore[no-untyped-def]
            return done + 1, trace.write(done, tf.fill(tf.shape(maps), np.nan))

        begin = (tf.constant(0), images, active, previous, trace)
        done, images, active, previous, trace = tf.while_loop(climbing, step, begin)
        _, trace = tf.while_loop(unfinished, leave_empty, (done, trace))
        return images, active, previous, trace.stack()

    return climb


class _Climbing:
    """The state of n ascents between two stretches of their way."""

    def __init__(self, images: np.ndarray, spec: AscentSpec) -> None:
        n, reports = len(images), spec.report_steps
        self.spec = spec
        self.images = np.array(images, np.float32)
        self.active = np.ones(n, bool)
        self.previous = np.full(n, np.inf, np.float32)
        self.frames = np.empty((n, len(reports), *images.shape[1:]), np.float32)
        self.traces = np.full((n, spec.n_epochs), np.nan, np.float32)
        # The last stretch takes the loss of the final image; its step is not kept.
        self.epsilons = np.array([*spec.epsilons, 0], np.float32)
        self.criterion = spec.conv_criterion if spec.stop_with_convergence else 0.0

    @property
    def stretches(self) -> list[tuple[int, int]]:
        n = self.spec.n_epochs
        ends = sorted({*self.spec.report_steps, *range(0, n, _STRETCH), n})
        return list(itertools.pairwise(ends))

    def report(self, step: int) -> None:
        if step in self.spec.report_steps:
            self.frames[:, self.spec.report_steps.index(step)] = self.images

    def go(
        self,
        climb: Any,
        chosen: np.ndarray,
        padded: np.ndarray,
        maps: np.ndarray,
        begin: int,
        end: int,
    ) -> None:
        n = len(chosen)
        images, active, previous, trace = climb(
            self.images[padded],
            maps,
            self.active[padded],
            self.previous[padded],
            self.epsilons[begin:end],
            self.criterion,
        )
        self.traces[chosen, begin:end] = trace.numpy().T[:n]
        self.active[chosen], self.previous[chosen] = active[:n], previous[:n]
        if end < self.spec.n_epochs:
            self.images[chosen] = images[:n]

    def concluded(self) -> Ascents:
        steps = np.sum(~np.isnan(self.traces), axis=1) - 1
        losses = self.traces[np.arange(len(steps)), steps]
        reasons = np.where(self.active, "n_epochs", "converged")
        return Ascents(
            images=self.images,
            losses=losses,
            steps=steps,
            stop_reasons=np.where(~self.active & (losses == 0), "silent", reasons),
            report_steps=np.array(self.spec.report_steps, np.int64),
            frames=self.frames,
            traces=self.traces,
        )
