"""Answers about OIPs, asked of every training: reached by chance, repeating, like real images.

What is said of one network may be true of that one only. So each number stands beside the same
of the other trainings that are stored, whose OIPs come from smaller races.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..analysis.estimates import NOTHING, Answer, Estimate, over_maps, share
from ..analysis.layout import shrunk
from ..analysis.nulls import QUANTILE
from ..analysis.repetition import Repetitions, repetition_against_null, wavelength
from ..analysis.responses import favourites
from ..values import FluctuationStart, Inputs, Maps, ReactionSpec
from .answers import LARGEST_COMPARED, OipsAndClasses, oips_and_classes
from .comparing import untrained
from .questions import reaction
from .study import Study
from .trainings import others

_N_UNTRAINED = 3


@dataclass(frozen=True)
class Resembling:
    """How OIPs resemble the images that excite their maps, in every training.

    Attributes
    ----------
    pixels, features : Answer
        Share of the maps whose OIP does so better than other maps' OIPs do.
    loss_ratio : Answer
        How many times as strongly as the strongest image an OIP excites its map, in the median.
    one_class : Answer
        Share of the maps whose strongest images all show the same class; without values where
        the data set's labels can't be had.
    """

    pixels: Answer
    features: Answer
    loss_ratio: Answer
    one_class: Answer


def with_oip(study: Study, maps: Maps = None) -> Answer:
    """The share of the maps that have an OIP."""

    def holds(each: Study) -> np.ndarray:
        found = {row["map"] for row in each.rows(maps, best=True)}
        return np.isin(study.check_maps(maps), list(found))

    return _asked(study, lambda each: share(holds(each)), _searched(study))


def reached_by_chance(study: Study, maps: Maps = None) -> Answer:
    """The share of the maps that respond to one of the random images of article IX's trials.

    The null is the same share of networks that were never trained, in the mean.
    """
    indices = study.check_maps(maps)

    def reached(each: Any, inputs: Inputs) -> np.ndarray:
        from ..engine.fluctuations import fluctuation_images
        from ..engine.images import from_standard

        trials = study.spec.trials
        responds = np.zeros(len(indices), bool)
        for trial in range(trials.n_trials):
            starts = [FluctuationStart(trials.fluctuation, map, trial) for map in indices]
            images = from_standard(fluctuation_images(starts, each.image_shape), inputs)
            responds |= each(images)[np.arange(len(indices)), indices] > 0
        return responds

    answer = _asked(study, lambda each: share(reached(each.engine, each.inputs)), others(study))
    if study.network.spec is None:
        return answer
    null = float(
        np.mean([reached(untrained(study, k), study.inputs) for k in range(1, 1 + _N_UNTRAINED)])
    )
    return Answer(answer.here, answer.networks, null)


def repeating(study: Study, here: Repetitions, stride: int, maps: Maps = None) -> Answer:
    """The share of the maps whose best OIP shows its pattern more than once.

    Parameters
    ----------
    study
        Whose layer.
    here
        What was found of the studied network's OIPs.
    stride
        How many pixels apart two neighbouring positions of the layer look.
    maps
        Which maps; all by default.
    """
    values = [here.share]
    for part in _searched(study):
        indices = set(part.check_maps(maps))
        images = np.array([oip.image for oip in part.oips(best=True) if oip.map in indices])
        if len(images):
            found = repetition_against_null(shrunk(images, LARGEST_COMPARED), stride)
            values.append(found.share)
    return Answer(share(here.repeats), tuple(values), 1 - QUANTILE)


def wavelengths(study: Study, maps: Maps = None) -> Answer:
    """The mean length of the waves of the maps' best OIPs, in pixels, in the median.

    The null is that of the random images of article IX's trials.
    """

    def lengths(each: Study) -> np.ndarray:
        indices = set(each.check_maps(maps))
        images = [oip.image for oip in each.oips(best=True) if oip.map in indices]
        return wavelength(np.array(images)) if images else np.empty(0)

    from ..engine.fluctuations import fluctuation_images

    fluctuation, indices = study.spec.trials.fluctuation, study.check_maps(maps)
    starts = [FluctuationStart(fluctuation, map, trial=0) for map in indices]
    null = wavelength(fluctuation_images(starts, study.image_shape))
    return _asked(
        study, lambda each: over_maps(lengths(each)), _searched(study), float(np.median(null))
    )


def favourite_class(study: Study, maps: Maps = None) -> Answer:
    """Share of a map's mean responses that its favourite class has, in the median.

    By chance it has as much as any other class. Only trainings whose responses to the data set are
    stored already are asked.
    """

    def shares(each: Study) -> np.ndarray:
        means = reaction(each, "data").class_means[each.check_maps(maps)]
        values = favourites(np.maximum(means, 0)).shares
        return values[~np.isnan(values)]

    n_classes = reaction(study, "data").class_means.shape[1]
    own = ReactionSpec().sha256  # of the data set that a network was trained on
    parts = [part for part in others(study) if part.store.reaction(part.layer.id, own)]
    return _asked(study, lambda each: over_maps(shares(each)), parts, 1 / n_classes)


def resembling(study: Study, here: OipsAndClasses, maps: Maps = None) -> Resembling:
    """How OIPs resemble the images that excite their maps most.

    Parameters
    ----------
    study
        Whose layer; its data set is known.
    here
        What was found of the studied network's OIPs.
    maps
        Which maps; all by default.
    """
    parts = [oips_and_classes(part, study.check_maps(maps)) for part in _searched(study)]
    found = [here, *(part for part in parts if part is not None)]

    def asked(of: Callable[[OipsAndClasses], np.ndarray], is_share: bool, chance: float) -> Answer:
        values = [of(each) for each in found]
        if not len(values[0]):
            return Answer(NOTHING)
        middle = np.mean if is_share else np.median
        estimate = share(values[0]) if is_share else over_maps(values[0])
        return Answer(estimate, tuple(float(middle(each)) for each in values if len(each)), chance)

    by_chance = here.purity_by_chance
    return Resembling(
        asked(lambda each: each.pixels.values > each.pixels.threshold, True, 1 - QUANTILE),
        asked(lambda each: each.features.values > each.features.threshold, True, 1 - QUANTILE),
        asked(lambda each: each.loss_ratios, False, np.nan),
        asked(
            lambda each: each.purity == 1,
            True,
            float((by_chance == 1).mean()) if len(by_chance) else np.nan,
        ),
    )


def _searched(study: Study) -> list[Study]:
    """The other trainings that have OIPs."""
    return [part for part in others(study) if part.rows()]


def _asked(
    study: Study,
    of: Callable[[Study], Estimate],
    parts: Sequence[Study],
    chance: float = float("nan"),
) -> Answer:
    here = of(study)
    return Answer(here, (here.value, *(of(part).value for part in parts)), chance)
