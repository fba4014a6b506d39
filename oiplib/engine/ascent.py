"""Gradient ascent of many images at once, each towards its own map (article IX).

One step of the article's rule is ``x <- standardize(x + epsilon * g / rms(g))``, where g is the
gradient of the map's response with respect to the pixels.

======================  ================================================================
the map responds        the image climbs; its loss is traced at every step
the map doesn't         loss and gradient stay 0: the image never changes, and the
                        ascent ends as ``silent``
======================  ================================================================

Length scales that a start leaves out may join its climbing image at some steps. An ascent that
ended before waits for them.

A network that takes a range of pixels has its images cut off at the ends of it, instead of
standardized. A prior may move the image before its gradient is taken, and filter the gradient.

Batches have a fixed size; copies of its images fill up a smaller one. A convolution may sum in
another order for another batch size, and a hundred steps make the difference visible. In a
batch of fixed size an image's ascent doesn't depend on its neighbours.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..errors import InputError
from ..progress import SILENT
from ..values import AscentSpec
from ..values.inputs import Inputs
from ..values.priors import Prior
from .fluctuations import Joining
from .images import project, unit
from .layers import check_images
from .objectives import Responding
from .priors import N_DISTURBANCES, Led, disturbances, moved, moved_back
from .tf import tf
from .threads import side_by_side

#: Why an ascent ended: all epochs are done, the relative change of the loss fell below the
#: criterion, or the image gives no gradient.
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
        Loss at every step, NaN after an ascent's end. Where a prior moves the images by chance,
        it is the moved image's, but for the first and the last one.

    Examples
    --------
    Half of two ascents, and where it began:

    >>> ascents = Ascents(
    ...     images=np.zeros((2, 4, 4, 1)), losses=np.array([3.0, 2.0]), steps=np.array([1, 1]),
    ...     stop_reasons=np.array(["n_epochs"] * 2), report_steps=np.array([0]),
    ...     frames=np.zeros((2, 1, 4, 4, 1)), traces=np.array([[1.0, 3.0], [2.5, 2.0]]),
    ... )
    >>> ascents.rose.tolist(), len(ascents.take(ascents.rose))
    ([True, False], 1)
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

    @property
    def rose(self) -> np.ndarray:
        """Which ascents ended with a larger loss than they began with, bool (n,)."""
        return np.asarray(self.losses > self.traces[:, 0])

    def take(self, indices: np.ndarray) -> Ascents:
        """Some of the ascents, by their indices, in this order, or by a mask of bools."""
        per_ascent = {
            f.name: getattr(self, f.name)[indices]
            for f in dataclasses.fields(self)
            if f.name != "report_steps"
        }
        return Ascents(report_steps=self.report_steps, **per_ascent)


def ascend(
    layer: Responding,
    images: np.ndarray,
    maps: np.ndarray,
    spec: AscentSpec,
    batch_size: int | None = None,
    progress: Any = SILENT,
    seeds: np.ndarray | None = None,
    first_step: int = 0,
    joining: Joining | None = None,
) -> Ascents:
    """Ascend each image towards its map.

    Parameters
    ----------
    layer
        The layer that the maps belong to, or an objective, whose only map is 0.
    images : array, (n, height, width, channels)
        Starts, within the network's inputs.
    maps : integers, (n,)
        The map that each start shall excite, in [0, layer.n_maps).
    spec
        Rule, number of epochs, reports and stop criterion.
    batch_size
        Images per gradient; the layer's by default. Only the same size gives the same bytes.
    progress
        A progress bar that counts gradients, one per image and step.
    seeds : uint64, (n,)
        The number of each start (`oiplib.values.seed_of`); only a prior that moves images by
        chance needs it.
    first_step
        How many steps the starts have taken before, in ascents that this one goes on with.
    joining
        What joins the images on their way, at steps counted from the starts on.

    Raises
    ------
    InputError
        If shapes don't match, a map is out of range, or seeds are missing.

    Examples
    --------
    A model of your own, and two random images that climb for ten epochs:

    >>> from oiplib import AscentSpec, LayerMaps
    >>> from oiplib.engine.tf import keras
    >>> image = keras.Input((8, 8, 1))
    >>> start = keras.initializers.GlorotUniform(seed=0)
    >>> conv = keras.layers.Conv2D(2, 3, kernel_initializer=start, name="conv")
    >>> layer = LayerMaps(keras.Model(image, conv(image)), "conv")
    >>> images = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)
    >>> ascents = ascend(layer, images, np.array([0, 1]), AscentSpec(10))
    >>> ascents.images.shape, ascents.traces.shape, bool(ascents.rose.all())
    ((2, 8, 8, 1), (2, 10), True)
    """
    check_images(images, layer.image_shape)
    maps = layer.map_array(maps)
    if len(images) != len(maps):
        raise InputError(f"{len(images)} images need as many maps, not {len(maps)}")
    batch_size = batch_size or layer.batch_size
    climb_batch = climber(layer, spec.objective, spec.prior)
    _check_seeds(seeds, spec, len(images))
    state = _AscentState(images, spec, seeds, first_step, joining)
    for begin, end in state.stretches:

        def climb_stretch(batch: np.ndarray, begin: int = begin, end: int = end) -> int:
            padded = np.resize(batch, batch_size)
            state.advance(climb_batch, batch, padded, maps[padded], begin, end)
            return len(batch) * (end - begin)

        state.join(begin, layer.inputs)
        state.report(begin)
        # Finished ascents leave the batch, so the rest need fewer batches.
        active = np.flatnonzero(state.active)
        batches = [active[i : i + batch_size] for i in range(0, len(active), batch_size)]
        for n_gradients in side_by_side(climb_stretch, batches):
            progress.update(n_gradients)
        progress.update((len(images) - len(active)) * (end - begin))
    return state.concluded()


def chain(first: Ascents, second: Ascents) -> Ascents:
    """Two ascents of the same n starts as one; the second began where the first ended.

    Examples
    --------
    >>> part = Ascents(
    ...     images=np.zeros((1, 4, 4, 1)), losses=np.array([3.0]), steps=np.array([1]),
    ...     stop_reasons=np.array(["n_epochs"]), report_steps=np.array([0, 1]),
    ...     frames=np.zeros((1, 2, 4, 4, 1)), traces=np.array([[1.0, 3.0]]),
    ... )
    >>> whole = chain(part, part)
    >>> whole.steps.tolist(), whole.traces.tolist(), whole.report_steps.tolist()
    ([2], [[1.0, 3.0, 3.0]], [0, 1, 2])
    """
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
    layer: Responding,
    images: np.ndarray,
    maps: np.ndarray,
    stages: Sequence[AscentSpec],
    progress: Any = SILENT,
    seeds: np.ndarray | None = None,
    joining: Joining | None = None,
) -> Ascents:
    """Several ascents as one, each from where the one before ended; parameters as `ascend`."""
    first, *later_stages = stages
    ascents = ascend(layer, images, maps, first, progress=progress, seeds=seeds, joining=joining)
    for stage in later_stages:
        ascents = go_on(layer, ascents, maps, stage, progress, seeds, joining)
    return ascents


def go_on(
    layer: Responding,
    ascents: Ascents,
    maps: np.ndarray,
    stage: AscentSpec,
    progress: Any = SILENT,
    seeds: np.ndarray | None = None,
    joining: Joining | None = None,
) -> Ascents:
    """Ascents with one more stage, as one; parameters as `ascend`."""
    n_steps = ascents.traces.shape[1] - 1
    later = ascend(layer, ascents.images, maps, stage, None, progress, seeds, n_steps, joining)
    return chain(ascents, later)


def climber(layer: Responding, objective: str, prior: Prior) -> Any:
    """The compiled loop that climbs a layer's maps; the layer keeps one for each way."""
    return layer.compiled.get(f"{objective}, {prior}", lambda: _loop(layer, objective, prior))


def moves_of(
    prior: Prior, seeds: np.ndarray | None, batch: np.ndarray, first: int, n_steps: int = 1
) -> np.ndarray:
    """How a prior moves the images of a batch at some steps of their climb, for `climber`.

    Parameters
    ----------
    prior, seeds
        As in an ascent.
    batch : integers, (n,)
        Which of the seeds.
    first, n_steps
        The first of the steps, and how many.

    Returns
    -------
    array, float32, (n_steps, n, 4), or (n_steps, 0, 4) where the prior moves nothing
    """
    if seeds is None or not prior.disturbs:
        return np.zeros((n_steps, 0, N_DISTURBANCES), np.float32)
    return disturbances(prior, seeds[batch], first, first + n_steps)


def have_no_gradient(layer: Responding, images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Whether each image gives its map's response no gradient at all, bool (n,).

    The plain ascent can never move such an image.
    """
    dead = np.empty(len(images), bool)
    for first in range(0, len(images), layer.batch_size):
        part = np.arange(first, min(first + layer.batch_size, len(images)))
        padded = np.resize(part, layer.batch_size)
        _, gradient = _gradients_of(layer)(images[padded], maps[padded].astype(np.int32))
        dead[part] = ~np.any(gradient.numpy(), axis=(1, 2, 3))[: len(part)]
    return dead


def gradients(
    layer: Responding, images: Any, maps: Any, objective: str = "response"
) -> tuple[Any, Any]:
    """Losses (n,) and gradients of the objective (n, height, width, channels), as tensors.

    The losses are the responses, whatever the objective.
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        responses, before = layer.traced(images, maps, objective == "peak pre-activation")
        objectives = responses if objective == "response" else before
    gradient = tape.gradient(objectives, images)
    if gradient is None:
        raise InputError(
            "the objective has no gradient: make its function of TensorFlow's operations on the "
            "layer's activations"
        )
    return responses, gradient


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


def _check_seeds(seeds: np.ndarray | None, spec: AscentSpec, n: int) -> None:
    if seeds is None and spec.prior.disturbs:
        raise InputError(f"the prior {spec.prior} needs the number of each start: name the seeds")
    if seeds is not None and len(seeds) != n:
        raise InputError(f"{n} images need as many seeds, not {len(seeds)}")


def _gradients_of(layer: Responding) -> Any:
    """`gradients` of the responses, compiled; the layer keeps it."""
    types = tf.TensorSpec((None, *layer.image_shape)), tf.TensorSpec((None,), tf.int32)
    return layer.compiled.get("gradients", lambda: (partial(gradients, layer), types))


def _step_taker(layer: Responding, prior: Prior) -> Any:
    """One step of the rule, compiled: images, gradient, active, epsilon -> images, active."""
    inputs, led = layer.inputs, Led(prior, layer.image_shape)
    size = unit(inputs)
    middle = np.mean(np.array(inputs.limits(), np.float32), axis=0)

    @tf.function(jit_compile=True, autograph=False)
    def take_step(images, gradient, active, epsilon):  # type: ignore[no-untyped-def]
        direction, has_gradient = rms_normalized(led.gradient(gradient))
        active = active & has_gradient
        if prior.variation or prior.l2:
            direction -= led.costs((images - middle) / size)
        if not inputs.is_standardized:
            direction *= size
        stepped = project(images + epsilon * direction, inputs)
        return tf.where(active[:, None, None, None], stepped, images), active

    return take_step


def _loop(layer: Responding, objective: str, prior: Prior) -> tuple[Any, list[Any]]:
    """The loop, to be compiled, and its arguments' types; its gradients come from `gradients`."""
    images_type = tf.TensorSpec((None, *layer.image_shape), tf.float32)
    types_per_image = [tf.TensorSpec((None,), dtype) for dtype in (tf.int32, tf.bool, tf.float32)]
    types_of_rule = [
        tf.TensorSpec((None,), tf.float32),
        tf.TensorSpec((), tf.float32),
        tf.TensorSpec((None, None, N_DISTURBANCES), tf.float32),
    ]
    take_step = _step_taker(layer, prior)

    def gradients_under_prior(images: Any, maps: Any, moves: Any) -> tuple[Any, Any]:
        if not prior.disturbs:
            return gradients(layer, images, maps, objective)
        losses, gradient = gradients(layer, moved(images, moves, prior), maps, objective)
        return losses, moved_back(gradient, moves, prior)

    def climb_batch(images, maps, active, previous, epsilons, criterion, moves):  # type: ignore[no-untyped-def]
        n_steps = tf.size(epsilons)
        trace = tf.TensorArray(tf.float32, n_steps, element_shape=(None,))

        def any_climbs(step, images, active, previous, trace):  # type: ignore[no-untyped-def]
            return (step < n_steps) & tf.reduce_any(active)

        def climb_step(step, images, active, previous, trace):  # type: ignore[no-untyped-def]
            losses, gradient = gradients_under_prior(images, maps, moves[step])
            trace = trace.write(step, tf.where(active, losses, np.nan))
            converged = tf.abs(losses - previous) < criterion * tf.abs(losses)
            previous = tf.where(active, losses, previous)
            images, moving = take_step(images, gradient, active & ~converged, epsilons[step])
            if prior.disturbs:
                # Elsewhere than where it was moved to, the image may have a gradient.
                was_moved = tf.reduce_any(moves[step] != 0, axis=1)
                moving |= active & ~converged & was_moved
            return step + 1, images, moving, previous, trace

        def trace_has_gaps(step, trace):  # type: ignore[no-untyped-def]
            return step < n_steps

        def write_nan(step, trace):  # type: ignore[no-untyped-def]
            return step + 1, trace.write(step, tf.fill(tf.shape(maps), np.nan))

        first_state = (tf.constant(0), images, active, previous, trace)
        step, images, active, previous, trace = tf.while_loop(any_climbs, climb_step, first_state)
        _, trace = tf.while_loop(trace_has_gaps, write_nan, (step, trace))
        return images, active, previous, trace.stack()

    return climb_batch, [images_type, *types_per_image, *types_of_rule]


class _AscentState:
    """The state of n ascents between two stretches of steps."""

    def __init__(
        self,
        images: np.ndarray,
        spec: AscentSpec,
        seeds: np.ndarray | None,
        first_step: int,
        joining: Joining | None,
    ) -> None:
        n, n_reports = len(images), len(spec.report_steps)
        self.joining = joining
        self.spec, self.seeds, self.first_step = spec, seeds, first_step
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
        """Begin and end of each stretch: cut at multiples of `_STRETCH`, reports and joins."""
        n = self.spec.n_epochs
        ends = {*self.spec.report_steps, *range(0, n, _STRETCH), n}
        if self.joining is not None:
            joins = (self.joining.steps - self.first_step).tolist()
            ends.update(step for step in joins if 0 < step < n)
        return list(itertools.pairwise(sorted(ends)))

    def join(self, step: int, inputs: Inputs) -> None:
        """Add what joins the images at a step; those whose ascent had ended go on."""
        # What joins at the first step has joined at the last one of the ascent before.
        if self.joining is None or step == 0:
            return
        now = self.joining.steps == self.first_step + step
        which = self.joining.which[now]
        if not len(which):
            return
        grown = self.images[which] + unit(inputs) * self.joining.images[now]
        self.images[which] = project(grown, inputs)
        for waiting in which[~self.active[which]]:
            trace = self.traces[waiting, :step]
            trace[np.isnan(trace)] = trace[~np.isnan(trace)][-1]
        self.active[which], self.previous[which] = True, np.inf

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
            self._moves(padded, begin, end),
        )
        self.traces[batch, begin:end] = trace.numpy().T[:n]
        self.active[batch], self.previous[batch] = active[:n], previous[:n]
        if end < self.spec.n_epochs:
            self.images[batch] = images[:n]

    def _moves(self, padded: np.ndarray, begin: int, end: int) -> np.ndarray:
        """How a batch is disturbed at each step; the last image of an ascent isn't."""
        n_steps = end - begin
        moves = moves_of(self.spec.prior, self.seeds, padded, self.first_step + begin, n_steps)
        if end == self.spec.n_epochs:
            moves[-1] = 0
        return moves

    def concluded(self) -> Ascents:
        """The results, when all stretches are done."""
        steps = np.sum(~np.isnan(self.traces), axis=1) - 1
        losses = self.traces[np.arange(len(steps)), steps]
        last, before = losses, self.traces[np.arange(len(steps)), np.maximum(steps - 1, 0)]
        converged = (steps > 0) & (np.abs(last - before) < self.criterion * np.abs(last))
        reasons = np.where(self.active, "n_epochs", np.where(converged, "converged", "silent"))
        return Ascents(
            images=self.images,
            losses=losses,
            steps=steps,
            stop_reasons=reasons,
            report_steps=np.array(self.spec.report_steps, np.int64),
            frames=self.frames,
            traces=self.traces,
        )
