"""Ascents as values: the article's rule, its schedule, and several of them in a row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from .fields import MANY, choice, count, instance, number, sequence
from .priors import Prior, prior_of
from .spec import Spec

OBJECTIVES = ("response", "pre-activation", "peak pre-activation")
SCHEDULES = ("constant", "cosine")

# In units of the image's deviation. Behind a step of 1 hardly anything is left of the image.
_LARGEST_STEP = 1e6
_MOST_STAGES = 100

#: That ascents in a row may take; the loss of each is kept.
MOST_STEPS = 2**24


@dataclass(frozen=True)
class AscentSpec(Spec):
    """Gradient ascent on an image (article IX).

    Each step is ``x <- standardize(x + epsilon * g / rms(g))``. Where a network takes a range of
    pixels, they are cut off at its ends instead, and `epsilon` is in units of a quarter of it.

    Attributes
    ----------
    n_epochs
        How often the loss is taken; the image takes one step less.
    epsilon
        Length of a step: the root mean square of the change before standardizing, in units of
        the image's standard deviation.
    n_steps
        Number of intermediate reports, at log-spaced steps, beside the first and the last.
    conv_criterion
        Relative change of the loss in a single step, below which an ascent counts as converged.
    stop_with_convergence
        Whether a converged ascent ends there, or goes on to `n_epochs`.
    objective
        What is climbed: the ``response``, or the ``pre-activation``, whose gradient also leads
        where the map does not respond yet, or the ``peak pre-activation``: the position's where
        it is largest.
    schedule
        ``constant``, or ``cosine``: `epsilon` falls to 0 along half a cosine.
    prior
        What the image is led to look like on its way; nothing by default.

    Examples
    --------
    >>> AscentSpec(90, 0.8, schedule="cosine").to_json()
    '{"epsilon":0.8,"kind":"AscentSpec","n_epochs":90,"schedule":"cosine"}'
    """

    n_epochs: int = 600
    epsilon: float = 0.01
    n_steps: int = 6
    conv_criterion: float = 2e-4
    stop_with_convergence: bool = False
    objective: str = "response"
    schedule: str = "constant"
    prior: Prior = field(default_factory=Prior)

    def __post_init__(self) -> None:
        self._set("n_epochs", count("n_epochs", self.n_epochs, 1, MANY))
        self._set("epsilon", number("epsilon", self.epsilon, above=0.0, high=_LARGEST_STEP))
        self._set("n_steps", count("n_steps", self.n_steps, 0, 62))
        self._set("conv_criterion", number("conv_criterion", self.conv_criterion, low=0.0))
        self._set("stop_with_convergence", bool(self.stop_with_convergence))
        choice("objective", self.objective, OBJECTIVES)
        choice("schedule", self.schedule, SCHEDULES)
        self._set("prior", prior_of(self.prior))

    @property
    def report_steps(self) -> tuple[int, ...]:
        """The steps whose images are kept: 0, 9, 18, 36, 72, 144, 288, 599 by default."""
        first = self.n_epochs >> self.n_steps
        spaced = {first << k for k in range(self.n_steps)}
        return tuple(sorted({0, self.n_epochs - 1} | {s for s in spaced if s < self.n_epochs}))

    @property
    def epsilons(self) -> tuple[float, ...]:
        """The size of each of the `n_epochs` - 1 steps."""
        n = self.n_epochs - 1
        if self.schedule == "constant":
            return (self.epsilon,) * n
        return tuple(self.epsilon * (1 + math.cos(math.pi * step / n)) / 2 for step in range(n))


@dataclass(frozen=True)
class ClimbSpec(Spec):
    """Ascents one after the other, each from where the one before ended.

    Examples
    --------
    >>> climb = ClimbSpec((AscentSpec(11, objective="pre-activation"), AscentSpec(91)))
    >>> [stage.n_epochs for stage in climb.stages]
    [11, 91]
    """

    stages: tuple[AscentSpec, ...]

    def __post_init__(self) -> None:
        self._set("stages", tuple(sequence("stages", self.stages)))
        for stage in self.stages:
            instance("stages", stage, AscentSpec)
        if not 1 <= len(self.stages) <= _MOST_STAGES:
            raise InputError(f"a climb has 1 to {_MOST_STAGES} stages, not {len(self.stages)}")
        if sum(stage.n_epochs for stage in self.stages) > MOST_STEPS:
            raise InputError(f"a climb takes at most {MOST_STEPS:,} steps: name fewer epochs")


def led_by(climb: AscentSpec | ClimbSpec, prior: Prior | str) -> AscentSpec | ClimbSpec:
    """The same ascents under a prior.

    Examples
    --------
    >>> str(prior_in(led_by(AscentSpec(), "smooth")))
    'smooth(1)'
    """
    if isinstance(climb, AscentSpec):
        return climb.replace(prior=prior_of(prior))
    return ClimbSpec(tuple(stage.replace(prior=prior_of(prior)) for stage in climb.stages))


def prior_in(climb: AscentSpec | ClimbSpec) -> Prior:
    """The prior under which ascents end."""
    return climb.prior if isinstance(climb, AscentSpec) else climb.stages[-1].prior


def stages_of(values: Any) -> tuple[AscentSpec, ...]:
    """The ascents that an OIP has gone through, from its stored spec."""
    climb = climb_of(values)
    return climb.stages if isinstance(climb, ClimbSpec) else (climb,)


def report_steps_of(stages: Sequence[AscentSpec]) -> list[int]:
    """The steps of several ascents in a row whose images are kept, counted through.

    Examples
    --------
    >>> report_steps_of([AscentSpec(11, n_steps=0), AscentSpec(21, n_steps=0)])
    [0, 10, 30]
    """
    steps, done = [0], 0
    for stage in stages:
        steps += [done + step for step in stage.report_steps if step]
        done += stage.n_epochs - 1
    return steps


def may_take(stages: Sequence[AscentSpec], steps: int, stop_reason: str) -> bool:
    """Whether ascents in a row can end after so many steps, and for this reason.

    They take all of theirs, unless one may converge, or the gradient vanishes on the way.

    Examples
    --------
    >>> may_take([AscentSpec(11), AscentSpec(21)], 30, "n_epochs")
    True
    >>> may_take([AscentSpec(11)], 9, "n_epochs"), may_take([AscentSpec(11)], 9, "silent")
    (False, True)
    """
    most = sum(stage.n_epochs - 1 for stage in stages)
    may_stop = stop_reason == "silent" or any(stage.stop_with_convergence for stage in stages)
    return 0 <= steps <= most and (may_stop or steps == most)


def climb_of(values: Any) -> AscentSpec | ClimbSpec:
    """An ascent, or several in a row, that `to_dict` took apart; `InputError` if it is none."""
    spec = Spec.from_dict(values)
    if not isinstance(spec, (AscentSpec, ClimbSpec)):
        raise InputError(f"no ascent: {str(values)[:80]}")
    return spec
