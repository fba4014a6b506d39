"""Gradient ascent of many images at once, each towards its own map (article IX).

One step of the article's rule is ``x <- standardize(x + epsilon * g / rms(g))``, where g is the
gradient of the map's response with respect to the pixels.

======================  ================================================================
the map responds        the image climbs; its loss is traced at every step
the map doesn't         loss and gradient stay 0: the image never changes, and the
                        ascent ends as ``silent``
======================  ================================================================

Batches have a fixed size; copies of its images fill up a smaller one. A convolution may sum in
another order for another batch size, and a hundred steps make the difference visible. In a
batch of fixed size an image's ascent doesn't depend on its neighbours.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..progress import SILENT
from ..values import AscentSpec
from .images import standardize
from .layers import LayerMaps, check_images
from .tf import tf
from .threads import first_alone, side_by_side

BATCH_SIZE = 128

#: Why an ascent ended: all epochs are done, the relative change of the loss fell below the
#: criterion, or the map doesn't respond to the image.
STOP_REASONS = ("n_epochs", "converged", "silent")

# After so many steps, finished ascents leave their batch.
_STRETCH = 100

# Prevents 0/0; far smaller than the gradient of any map that responds.
_TINY = 1e-20


@dataclass(frozen=True)
class Ascents:
    """The results of n ascents.

    Attributes
    ----------
    images : float32, (n, height, width, channels)
        The images that the ascents ended with.
    losses : float32, (n,)
        The maps' responses to these images.
    steps : int64, (n,)
        How many steps were taken.
    stop_reasons : str, (n,)
        One of `STOP_REASONS`.
    report_steps : (r,)
        The steps at which the frames were taken.
    frames : float32, (n, r, height, width, channels)
        Images on the way. After an ascent's end its frames repeat its last image.
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

    def take(self, indices: np.ndarray) -> Ascents:
        """Some of the ascents, by their indices, in this order, or by a mask of bools."""
        per_ascent = {
            f.name: getattr(self, f.name)[indices]
            for f in dataclasses.fields(self)
            if f.name != "report_steps"
        }
        return Ascents(report_steps=self.report_steps, **per_ascent)


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
        The layer that the maps belong to.
    images : array, (n, height, width, channels)
        Starts, standardized.
    maps : integers, (n,)
        The map that each start shall excite, in [0, layer.n_maps).
    spec
        Rule, number of epochs, reports and stop criterion.
    batch_size
        Images per gradient. Only the same batch size gives the same bytes.
    progress
        A progress bar that counts gradients, one per image and step.

    Raises
    ------
    InputError
        If shapes don't match, or a map is out of range.
    """
    check_images(images, layer.image_shape)
    maps = layer.map_array(maps)
    if len(images) != len(maps):
        raise InputError(f"{len(images)} images need as many maps, not {len(maps)}")
    climb_batch = climber(layer, spec.objective)
    state = _AscentState(images, spec)
    for begin, end in state.stretches:

        def climb_stretch(batch: np.ndarray, begin: int = begin, end: int = end) -> int:
            padded = np.resize(batch, batch_size)
            state.advance(climb_batch, batch, padded, maps[padded], begin, end)
            return len(batch) * (end - begin)

        state.report(begin)
        # Finished ascents leave the batch, so the rest need fewer batches.
        active = np.flatnonzero(state.active)
        batches = [active[i : i + batch_size] for i in range(0, len(active), batch_size)]
        for n_gradients in side_by_side(climb_stretch, batches):
            progress.update(n_gradients)
        progress.update((len(images) - len(active)) * (end - begin))
    return state.concluded()


def chain(first: Ascents, second: Ascents) -> Ascents:
    """Two ascents of the same n starts as one; the second began where the first ended."""
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
    """Several ascents as one, each from where the one before ended; parameters as `ascend`."""
    first, *later_stages = stages
    ascents = ascend(layer, images, maps, first, progress=progress)
    for stage in later_stages:
        ascents = chain(ascents, ascend(layer, ascents.images, maps, stage, progress=progress))
    return ascents


def climber(layer: LayerMaps, objective: str) -> Any:
    """The compiled loop that climbs a layer's maps; the layer keeps one for each objective."""
    if objective not in layer.compiled:
        layer.compiled[objective] = first_alone(_compile(layer, objective))
    return layer.compiled[objective]


def gradients(
    layer: LayerMaps, images: Any, maps: Any, objective: str = "response"
) -> tuple[Any, Any]:
    """Losses (n,) and gradients of the objective (n, height, width, channels), as tensors.

    The losses are the responses, whatever the objective.
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        responses, before = layer.traced(images, maps)
        objectives = responses if objective == "response" else before
    return responses, tape.gradient(objectives, images)


def rms_normalized(gradient: Any) -> tuple[Any, Any]:
    """Each image's gradient with root mean square 1, and whether it isn't exactly 0.

    Examples
    --------
    >>> gradient = tf.constant([3.0, -3.0, 0.0, 0.0], shape=(2, 1, 2, 1))
    >>> direction, moves = rms_normalized(gradient)
    >>> direction.numpy().ravel().tolist(), moves.numpy().tolist()
    ([1.0, -1.0, 0.0, 0.0], [True, False])
    """
    axes = (1, 2, 3)
    # Squares of small gradients would underflow: take the largest component out first.
    largest = tf.reduce_max(tf.abs(gradient), axis=axes, keepdims=True)
    scaled = gradient / (largest + _TINY)
    rms = tf.sqrt(tf.reduce_mean(tf.square(scaled), axis=axes, keepdims=True))
    return scaled / (rms + _TINY), tf.reshape(largest, [-1]) > 0


def _compile(layer: LayerMaps, objective: str) -> Any:
    """The loop as one TensorFlow function; its gradients come from `gradients`."""
    images_type = tf.TensorSpec((None, *layer.image_shape), tf.float32)
    types_per_image = [tf.TensorSpec((None,), dtype) for dtype in (tf.int32, tf.bool, tf.float32)]
    types_of_rule = [tf.TensorSpec((None,), tf.float32), tf.TensorSpec((), tf.float32)]

    @tf.function(jit_compile=True, autograph=False)
    def take_step(images, gradient, active, epsilon):  # type: ignore[no-untyped-def]
        direction, moves = rms_normalized(gradient)
        active = active & moves
        moved = standardize(images + epsilon * direction)
        return tf.where(active[:, None, None, None], moved, images), active

    # AutoGraph, which turns Python's loops into TensorFlow's, fails on Python 3.13. So the loops
    # are written with TensorFlow's own functions.
    @tf.function(input_signature=[images_type, *types_per_image, *types_of_rule], autograph=False)
    def climb_batch(images, maps, active, previous, epsilons, criterion):  # type: ignore[no-untyped-def]
        n_steps = tf.size(epsilons)
        trace = tf.TensorArray(tf.float32, n_steps, element_shape=(None,))

        def any_climbs(step, images, active, previous, trace):  # type: ignore[no-untyped-def]
            return (step < n_steps) & tf.reduce_any(active)

        def climb_step(step, images, active, previous, trace):  # type: ignore[no-untyped-def]
            losses, gradient = gradients(layer, images, maps, objective)
            trace = trace.write(step, tf.where(active, losses, np.nan))
            converged = tf.abs(losses - previous) < criterion * tf.abs(losses)
            previous = tf.where(active, losses, previous)
            images, active = take_step(images, gradient, active & ~converged, epsilons[step])
            return step + 1, images, active, previous, trace

        def trace_has_gaps(step, trace):  # type: ignore[no-untyped-def]
            return step < n_steps

        def write_nan(step, trace):  # type: ignore[no-untyped-def]
            return step + 1, trace.write(step, tf.fill(tf.shape(maps), np.nan))

        first_state = (tf.constant(0), images, active, previous, trace)
        step, images, active, previous, trace = tf.while_loop(any_climbs, climb_step, first_state)
        _, trace = tf.while_loop(trace_has_gaps, write_nan, (step, trace))
        return images, active, previous, trace.stack()

    return climb_batch


class _AscentState:
    """The state of n ascents between two stretches of steps."""

    def __init__(self, images: np.ndarray, spec: AscentSpec) -> None:
        n, n_reports = len(images), len(spec.report_steps)
        self.spec = spec
        self.images = np.array(images, np.float32)
        self.active = np.ones(n, bool)
        self.previous = np.full(n, np.inf, np.float32)
        self.frames = np.empty((n, n_reports, *images.shape[1:]), np.float32)
        self.traces = np.full((n, spec.n_epochs), np.nan, np.float32)
        # The last step has size 0: it only takes the loss of the final image.
        self.epsilons = np.array([*spec.epsilons, 0], np.float32)
        self.criterion = spec.conv_criterion if spec.stop_with_convergence else 0.0

    @property
    def stretches(self) -> list[tuple[int, int]]:
        """Begin and end of each stretch: cut at each report and each multiple of `_STRETCH`."""
        n = self.spec.n_epochs
        ends = sorted({*self.spec.report_steps, *range(0, n, _STRETCH), n})
        return list(itertools.pairwise(ends))

    def report(self, step: int) -> None:
        """Keep the images of a step as frames, if the spec asks for it."""
        if step in self.spec.report_steps:
            self.frames[:, self.spec.report_steps.index(step)] = self.images

    def advance(
        self,
        climb_batch: Any,
        batch: np.ndarray,
        padded: np.ndarray,
        maps: np.ndarray,
        begin: int,
        end: int,
    ) -> None:
        """Take the steps from begin to end with the ascents of a batch.

        `batch` holds their indices; `padded` holds the same, filled up to the batch size.
        """
        n = len(batch)
        images, active, previous, trace = climb_batch(
            self.images[padded],
            maps,
            self.active[padded],
            self.previous[padded],
            self.epsilons[begin:end],
            self.criterion,
        )
        self.traces[batch, begin:end] = trace.numpy().T[:n]
        self.active[batch], self.previous[batch] = active[:n], previous[:n]
        if end < self.spec.n_epochs:
            self.images[batch] = images[:n]

    def concluded(self) -> Ascents:
        """The results, when all stretches are done."""
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
