"""How many filters do two trainings share? By three nulls, and by what the trainings differ in.

`trainings` tells which maps correspond; here it is said what that is worth. Nothing is computed
that isn't stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..analysis.estimates import Answer, Estimate, share
from ..analysis.numbers import Quartiles, quartiles
from ..analysis.shared import RARE, Limit, Pair, found_of_known, own, pooled, shared
from ..store import Baseline, Correspondence
from .answers import stored_comparisons
from .comparing import RELATIONS, Compared
from .study import Study

#: The nulls by which maps count as shared, and what each holds a pair of trained networks against.
NULLS = {
    "untrained": "pairs of networks that were never trained",
    "half trained": "a trained network with ones that were never trained",
    "own partners": "each map with its own partners in networks that were never trained",
}

#: What tells how alike two layers are as wholes.
WHOLES = ("svcca", "cka")


@dataclass(frozen=True)
class SharedFilters:
    """How many filters of a layer two trainings share, by their activations.

    Attributes
    ----------
    name : str
        Of the layer.
    n_maps, n_untrained : int
        Maps of the layer; networks that were never trained.
    shares : dict
        What the trainings differ in -> one of `NULLS` -> share of the maps, above chance: with
        its interval over maps, and of each pair of trainings. Maps that are rare don't count.
    known : Estimate
        Of the maps that keep their number where the initial weights are the same, the share that
        counts as shared by the first of the `NULLS`.
    kept : dict
        What the trainings differ in -> share of the assigned maps that keep their number.
    rare : tuple of int
        How many maps of each training are active at fewer than `RARE` of all positions.
    wholes : dict
        One of `WHOLES` -> what the trainings differ in, ``half trained``, ``untrained`` -> how
        alike the layers are.
    """

    name: str
    n_maps: int
    n_untrained: int
    shares: dict[str, dict[str, Answer]]
    known: Estimate
    kept: dict[str, Estimate]
    rare: tuple[int, ...]
    wholes: dict[str, dict[str, Quartiles]]

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest share, over all nulls and all that trainings differ in."""
        values = [answer.here.value for of in self.shares.values() for answer in of.values()]
        return min(values), max(values)


def shared_filters(study: Study) -> list[SharedFilters]:
    """How many filters the trainings of a study share in its layer and in those before.

    Returns
    -------
    list of SharedFilters
        The first layer first. Empty if the network came as a model.

    Raises
    ------
    OipError
        If the trainings aren't stored and compared yet.
    """
    return [
        _of_layer(name, compared.of("activations"))
        for name, compared in stored_comparisons(study).items()
    ]


def _of_layer(name: str, compared: Compared) -> SharedFilters:
    baselines = {row.layer_id: row for row in compared.baselines}
    pairs = {row.id: Pair.of(row.scores.astype(float)) for row in compared.pairs}
    limits = {row.id: _limits(row, baselines) for row in compared.pairs}
    by_relation = {
        relation: [row for row in compared.pairs if row.relation == relation]
        for relation in RELATIONS
    }

    counts = {id: row.active >= RARE for id, row in baselines.items()}

    def shares(rows: Sequence[Correspondence], null: str) -> Estimate:
        return shared(
            [pairs[row.id] for row in rows],
            [limits[row.id][null] for row in rows],
            [(counts[row.layer_id], counts[row.other_id]) for row in rows],
        )

    kept = {
        relation: [pairs[row.id].partners == np.arange(row.layer.n_maps) for row in rows]
        for relation, rows in by_relation.items()
    }
    first = compared.baselines[0]
    same_weights = by_relation["order"]
    return SharedFilters(
        name=name,
        n_maps=first.layer.n_maps,
        n_untrained=len(first.own_scores),
        shares={
            relation: {
                null: Answer(
                    shares(rows, null), tuple(shares([row], null).value for row in rows), chance=0.0
                )
                for null in NULLS
            }
            for relation, rows in by_relation.items()
        },
        known=found_of_known(
            [pairs[row.id] for row in same_weights],
            [limits[row.id]["untrained"][0] for row in same_weights],
            [counts[row.layer_id] for row in same_weights],
        ),
        kept={relation: share(np.concatenate(holds)) for relation, holds in kept.items()},
        rare=tuple(int((row.active < RARE).sum()) for row in compared.baselines),
        wholes={measure: _wholes(measure, by_relation, compared) for measure in WHOLES},
    )


def _limits(row: Correspondence, baselines: dict[int, Baseline]) -> dict[str, tuple[Limit, Limit]]:
    """From which score on maps of two trainings, of each one, count as shared, by each null."""
    both = baselines[row.layer_id], baselines[row.other_id]
    # Maps that don't count set no limit either.
    common = [_null(scores[of.active >= RARE]) for of in both for scores in of.own_scores]
    never_trained = [_null(scores) for scores in both[0].pair_scores]
    n_maps = row.layer.n_maps
    untrained, half_trained = pooled(never_trained, n_maps), pooled(common, n_maps)
    first, second = (own([_null(scores) for scores in of.own_scores]) for of in both)
    return {
        "untrained": (untrained, untrained),
        "half trained": (half_trained, half_trained),
        "own partners": (first, second),
    }


def _null(scores: np.ndarray) -> Pair:
    """Pairs of a null: which maps they are doesn't matter, only how well they suit each other."""
    return Pair(np.arange(len(scores)), scores)


def _wholes(
    measure: str, by_relation: dict[str, list[Correspondence]], compared: Compared
) -> dict[str, Quartiles]:
    n_untrained = len(compared.baselines[0].own_scores)
    of_baselines = [getattr(row, measure) for row in compared.baselines]
    return {
        **{
            relation: quartiles([getattr(row, measure) for row in rows])
            for relation, rows in by_relation.items()
        },
        "half trained": quartiles(np.concatenate([of[:n_untrained] for of in of_baselines])),
        "untrained": quartiles(of_baselines[0][n_untrained:]),
    }
