"""Are OIPs unique? Asked of every training, and under every prior that patterns are shown with.

A map that is restarted may come to the same pattern or to another one. How often depends on what
the images are led to look like, on where a pattern is said to end, and on the training. So each
number stands beside its interval over maps, its range over trainings, and what it would be with
a threshold a little lower or higher.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..analysis import variety
from ..analysis.estimates import Answer, over_maps, share
from ..analysis.numbers import Quartiles, quartiles
from ..analysis.similarity import similarities
from ..analysis.uniqueness import best_unlike, class_middles
from ..store import Null, Variety
from ..values import LEGIBLE, STEADY, Maps, Prior
from .questions import null, varieties
from .study import Study
from .trainings import others

#: The priors under which patterns are shown: the strongest, legible ones, and steady ones.
PRIORS = {"strongest": Prior(), "legible": LEGIBLE, "steady": STEADY}

#: By how much the threshold is lowered and raised to see what hangs on it.
BAND = 0.05


@dataclass(frozen=True)
class InSpace:
    """How often restarts of a map come to the same pattern, by pixels or by features.

    Attributes
    ----------
    one_pattern : Answer
        Share of the maps with one pattern only.
    lower, higher : Answer
        The same with a threshold `BAND` lower, and higher.
    within : Answer
        Similarity of two OIPs of the same map, in the median.
    null : Quartiles
        Of two OIPs of different maps.
    threshold : float
        Above it two OIPs show the same pattern.
    """

    one_pattern: Answer
    lower: Answer
    higher: Answer
    within: Answer
    null: Quartiles
    threshold: float


@dataclass(frozen=True)
class UnderPrior:
    """What restarts under a prior say.

    Attributes
    ----------
    name : str
        One of `PRIORS`.
    prior : Prior
    n_starts : int
        Restarts of each map.
    n_maps : int
        Maps that were compared.
    pixels, features : InSpace
    """

    name: str
    prior: Prior
    n_starts: int
    n_maps: int
    pixels: InSpace
    features: InSpace


@dataclass(frozen=True)
class Unlike:
    """The strongest OIP of each map that was kept away from its patterns, and how alike it is.

    Attributes
    ----------
    losses : array, (maps with such an OIP,)
        Relative to the best of the map's restarts.
    pixels, features : array, in [0, 1]
        Similarity to the nearest of the map's stored patterns.
    thresholds : tuple of float
        From which on two OIPs show the same pattern, by pixels and by features.
    n_maps : int
        Of how many maps.
    """

    losses: np.ndarray
    pixels: np.ndarray
    features: np.ndarray
    thresholds: tuple[float, float]
    n_maps: int


def restarted(study: Study) -> dict[str, list[Study]]:
    """By name of a prior the same question to every training, the studied one first.

    A network that came as a model is the only one.
    """
    all_trainings = [study, *others(study)]
    asked: dict[str, list[Study]] = {}
    for name, prior in PRIORS.items():
        spec = study.spec.compared.led_by(prior)
        asked[name] = [
            each.part(each.spec.replace(variety=spec), each.network.id) for each in all_trainings
        ]
    return asked


def under_priors(study: Study, maps: Maps = None) -> list[UnderPrior]:
    """How often restarts come to the same pattern, for each of `PRIORS`.

    What isn't stored yet is computed, which takes some seconds for each prior and training.

    Parameters
    ----------
    study
        Whose layer.
    maps
        Which maps; all by default. In the other trainings maps of the same numbers are taken,
        which are others.

    Returns
    -------
    list of UnderPrior
        Priors under which too few maps could be compared are left out.
    """
    found = []
    for name, parts in restarted(study).items():
        rows = [list(varieties(part, maps).values()) for part in parts]
        nulls = [null(part) for part in parts]
        if rows[0]:
            found.append(
                UnderPrior(
                    name=name,
                    prior=PRIORS[name],
                    n_starts=parts[0].spec.variety.n_starts,
                    n_maps=len(rows[0]),
                    pixels=_in_space(rows, nulls, "peaks", "threshold"),
                    features=_in_space(rows, nulls, "features", "feature_threshold"),
                )
            )
    return found


def unlike(study: Study, of_maps: Mapping[int, Variety]) -> Unlike:
    """Are the OIPs that were kept away from a map's patterns really others?

    Parameters
    ----------
    study
        Whose layer.
    of_maps
        What `questions.varieties` found; at least one map.
    """
    losses, pixels, features = [], [], []
    for row in of_maps.values():
        best = best_unlike(row.unlike_losses, row.unlike_alike, row.null.threshold)
        if best is None:
            continue
        images = study.inputs_of(
            np.concatenate([row.unlike_images[best : best + 1], row.images]), (0.0, 255.0)
        )
        described = study.engine.features(images)
        losses.append(float(row.unlike_losses[best] / row.losses.max()))
        pixels.append(float(similarities(images[:1], images[1:]).max()))
        features.append(float(similarities(described[:1], described[1:]).max()))
    of_layer = next(iter(of_maps.values())).null
    return Unlike(
        np.array(losses),
        np.array(pixels),
        np.array(features),
        (of_layer.threshold, of_layer.feature_threshold),
        len(of_maps),
    )


def _in_space(
    rows: Sequence[Sequence[Variety]], nulls: Sequence[Null], pairs: str, limit: str
) -> InSpace:
    """The numbers of a space, from the rows and the null of each training."""

    def one_pattern(moved: float) -> Answer:
        of_networks = [
            np.array([apart <= 1 - (getattr(of_layer, limit) + moved) for apart in of])
            for of, of_layer in zip(furthest, nulls, strict=True)
        ]
        return Answer(share(of_networks[0]), _means(np.mean, of_networks))

    furthest = [
        [variety.furthest_apart(getattr(row, pairs), row.n_starts) for row in of] for of in rows
    ]
    within = [[np.asarray(getattr(row, pairs), float) for row in of] for of in rows]
    return InSpace(
        one_pattern=one_pattern(0),
        lower=one_pattern(-BAND),
        higher=one_pattern(BAND),
        within=Answer(
            over_maps(within[0]),
            _means(np.median, [np.concatenate(of) if of else np.empty(0) for of in within]),
        ),
        null=quartiles(class_middles(getattr(nulls[0], pairs).sum(axis=0))),
        threshold=getattr(nulls[0], limit),
    )


def _means(
    statistic: Callable[[np.ndarray], float], of_networks: Sequence[np.ndarray]
) -> tuple[float, ...]:
    return tuple(float(statistic(values)) if len(values) else np.nan for values in of_networks)
