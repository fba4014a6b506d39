"""The same layer of several trainings, held against each other and against untrained networks.

Whatever two trained networks have in common, some of it two networks have that learnt nothing:
their filters see the same images. So each layer is compared with many untrained networks, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..progress import bar
from ..store import Baseline, Correspondence, Oips
from ..values import CnnSpec, CorrespondenceSpec, ScanSpec
from .rows import network_sha256
from .study import Study
from .units import PackedNetwork, SearchUnit, Subject
from .work import Work

if TYPE_CHECKING:
    from ..analysis.matching import Correlated
    from ..search.scan import MapScan

#: In what two trainings may differ.
RELATIONS = ("order", "weights", "both")

#: What tells that two maps correspond.
WAYS = ("activations", "oips")


@dataclass(frozen=True)
class Compared:
    """How well the maps of one layer correspond in some trainings, and in untrained networks.

    Attributes
    ----------
    pairs : list of Correspondence
        Each two trainings by each of `WAYS`, in the order of their networks.
    baselines : list of Baseline
        Each training against the untrained networks by each of `WAYS`, in the same order.
    """

    pairs: list[Correspondence]
    baselines: list[Baseline]

    def of(self, way: str) -> Compared:
        """What one of `WAYS` tells."""
        return Compared(
            [row for row in self.pairs if row.way == way],
            [row for row in self.baselines if row.way == way],
        )

    @property
    def untrained(self) -> np.ndarray:
        """Scores of the assigned maps of each two untrained networks: (pairs, maps)."""
        # All trainings are held against the same networks.
        return self.baselines[0].pair_scores


@dataclass(frozen=True)
class _MapImages:
    """An OIP for each map that has one: images (n, height, width, channels), and whose (n,)."""

    images: np.ndarray
    maps: np.ndarray


@dataclass(frozen=True)
class _Way:
    """How well the maps of each two networks suit each other, one way.

    Attributes
    ----------
    scores : function
        From the numbers of two networks to their scores and those torn apart, (n, n) each.
    n_networks : int
        How many can be compared so, the trained ones first.
    n_images : function
        From the numbers of two networks to by how many images.
    sees_wholes : bool
        Whether it also tells how alike the layers are as wholes.
    """

    scores: Callable[[int, int], tuple[np.ndarray, np.ndarray]]
    n_networks: int
    n_images: Callable[[int, int], int]
    sees_wholes: bool


def training(study: Study) -> CnnSpec:
    """How the network of a study was trained.

    Raises
    ------
    InputError
        If it came as a model.
    """
    if study.network.spec is None:
        raise InputError(
            f"network {study.network.id} ({study.network.name}) came as a model: how it was "
            "trained isn't known, so there is no other training to compare it with"
        )
    return study.spec.cnn


def relation(a: Study, b: Study) -> str:
    """In what the trainings of two studies differ: one of `RELATIONS`."""
    first, second = training(a), training(b)
    differ = first.order_seed != second.order_seed, first.weights_seed != second.weights_seed
    return {(True, False): "order", (False, True): "weights"}.get(differ, "both")


def compare(studies: Sequence[Study], spec: CorrespondenceSpec, best: Sequence[Oips]) -> Compared:
    """Compare a layer of some trainings, each with each and with untrained networks.

    Parameters
    ----------
    studies
        The same layer of at least two trainings.
    spec
        How, and with which untrained networks.
    best
        The best OIPs of each study's maps.

    Returns
    -------
    Compared
        New rows that lack their run and the hash of their images.
    """
    from ..analysis import matching

    n, n_trained = studies[0].layer.n_maps, len(studies)
    never_trained = [untrained(studies[0], k) for k in spec.untrained]
    engines = [*(study.engine for study in studies), *never_trained]
    correlated = _correlated(studies[0], engines, spec)
    ways = {
        "activations": _by_activations(correlated, n, len(engines), _n_images(studies[0], spec)),
        "oips": _by_oips(studies[0], engines[: n_trained + spec.n_searched], best, spec),
    }
    alike = _as_wholes(correlated.covariances, n)
    pairs, baselines = [], []
    told = {"spec": spec.to_dict(), "spec_sha256": spec.sha256}
    for name, way in ways.items():
        for a, b in combinations(range(n_trained), 2):
            scores, torn_apart = way.scores(a, b)
            svcca, cka = alike(a, b) if way.sees_wholes else (None, None)
            pairs.append(
                Correspondence(
                    layer_id=studies[a].layer.id,
                    other_id=studies[b].layer.id,
                    relation=relation(studies[a], studies[b]),
                    way=name,
                    **told,
                    n_images=way.n_images(a, b),
                    median=float(np.nanmedian(matching.assigned(scores)[1])),
                    shuffled_median=float(np.nanmedian(matching.assigned(torn_apart)[1])),
                    svcca=svcca,
                    cka=cka,
                    scores=scores,
                    shuffled=torn_apart,
                )
            )

        def assigned(of_pairs: Sequence[tuple[int, int]], way: _Way = way) -> np.ndarray:
            return np.array([matching.assigned(way.scores(*pair)[0])[1] for pair in of_pairs])

        def wholes(of_pairs: Sequence[tuple[int, int]], way: _Way = way) -> np.ndarray:
            found = [alike(*pair) for pair in of_pairs] if way.sees_wholes else []
            return np.array(found, np.float32).reshape(-1, 2).T

        others = range(n_trained, way.n_networks)
        of_others = list(combinations(others, 2))
        pair_scores, pair_wholes = assigned(of_others), wholes(of_others)
        for a, study in enumerate(studies):
            own = [(a, b) for b in others]
            svccas, ckas = np.concatenate([wholes(own), pair_wholes], axis=1)
            baselines.append(
                Baseline(
                    layer_id=study.layer.id,
                    way=name,
                    **told,
                    n_images=way.n_images(a, n_trained),
                    own_scores=assigned(own),
                    pair_scores=pair_scores,
                    active=correlated.active[a * n : (a + 1) * n],
                    svcca=svccas,
                    cka=ckas,
                )
            )
    return Compared(pairs, baselines)


def _n_images(study: Study, spec: CorrespondenceSpec) -> int:
    n = len(study.dataset().test_images)
    return n if spec.n_images is None else min(n, spec.n_images)


def _correlated(study: Study, engines: Sequence[Any], spec: CorrespondenceSpec) -> Correlated:
    from ..analysis import matching

    dataset, n_images = study.dataset(), _n_images(study, spec)
    images = study.inputs_of(dataset.test_images[:n_images], dataset.pixel_range)
    with bar(n_images, f"{study.layer.name} of all networks", "images") as progress:
        return matching.correlations(engines, images, spec.batch_size, spec.least_spread, progress)


def _by_activations(correlated: Correlated, n: int, n_networks: int, n_images: int) -> _Way:
    def scores(a: int, b: int) -> tuple[np.ndarray, np.ndarray]:
        block = np.s_[a * n : (a + 1) * n, b * n : (b + 1) * n]
        return correlated.whole[block], correlated.shuffled[block]

    return _Way(scores, n_networks, lambda a, b: n_images, sees_wholes=True)


def _as_wholes(covariances: np.ndarray, n: int) -> Callable[[int, int], tuple[float, float]]:
    """How alike two layers are as wholes; 0 where one never changes."""
    from ..analysis.subspaces import linear_cka, svcca

    def alike(a: int, b: int) -> tuple[float, float]:
        first, second = (np.s_[k * n : (k + 1) * n] for k in (a, b))
        parts = covariances[first, first], covariances[first, second], covariances[second, second]
        return float(np.nan_to_num(svcca(*parts))), float(np.nan_to_num(linear_cka(*parts)))

    return alike


def _by_oips(
    study: Study, engines: Sequence[Any], best: Sequence[Oips], spec: CorrespondenceSpec
) -> _Way:
    from ..analysis import matching

    oips = [
        *(_map_images(of_training) for of_training in best),
        *(_searched(study, engine, spec.scan) for engine in engines[len(best) :]),
    ]

    def scores(a: int, b: int) -> tuple[np.ndarray, np.ndarray]:
        return matching.mutual(
            _relative(engines[b], oips[a], oips[b]),
            _relative(engines[a], oips[b], oips[a]),
            spec.seed,
        )

    def n_images(a: int, b: int) -> int:
        return len(oips[a].maps) + len(oips[b].maps)

    return _Way(scores, len(engines), n_images, sees_wholes=False)


def _map_images(oips: Oips) -> _MapImages:
    return _MapImages(np.array([o.image for o in oips]), np.array([o.map for o in oips]))


def untrained(study: Study, k: int) -> Any:
    """The layer in a network of the same kind with the k-th initial weights of no training."""
    from ..engine import network
    from ..engine.layers import LayerMaps

    cnn = training(study)
    seed = (cnn.weights_seed | 1) + k  # the family of the trainings has two seeds
    n_classes = study.network.layers[-1].n_maps
    model = network.build(cnn.replace(weights_seed=seed), study.image_shape, n_classes)
    return LayerMaps(model, study.layer.name, is_shared=True)


def _searched(study: Study, engine: Any, spec: ScanSpec) -> _MapImages:
    """An OIP for each map of a network that isn't stored, found as those of the other networks."""
    from ..engine import network
    from ..search.scan import race_starts, units_of
    from ..search.screening import screen

    layer, maps = engine.layer, range(engine.n_maps)
    starts = race_starts(spec, maps, screen(engine, spec.screening))
    found: dict[int, MapScan] = {}

    def keep(group: tuple[int, ...], scans: list[MapScan]) -> None:
        found.update(zip(group, scans, strict=True))

    packed = PackedNetwork(*network.pack(engine.model), str(engine.inputs))
    sha256 = network_sha256(
        network.weights_sha256(engine.model), packed.architecture, engine.inputs
    )
    work = Work(
        name="untrained",
        subject=Subject(sha256, lambda: lambda layer: engine, lambda: packed),
        groups=[tuple(group) for group in units_of(engine, spec, maps, study.executor.n_workers)],
        unit=lambda group: SearchUnit(layer, spec, group, tuple(starts[map] for map in group)),
        keep=keep,
    )
    study.carry_out(work, f"{layer}, untrained", "maps")
    with_oip = [map for map in maps if len(found[map].starts) and found[map].ascents.losses[0] > 0]
    return _MapImages(
        np.array([found[map].ascents.images[0] for map in with_oip]), np.array(with_oip)
    )


def _relative(engine: Any, foreign: _MapImages, own_oips: _MapImages) -> np.ndarray:
    """Responses of all maps to another network's OIPs: (maps shown, maps asked), in [0, 1].

    They are relative to the strongest response of the asked map to any OIP of either network.
    Where a map has no OIP its row or its column is 0.
    """
    relative = np.zeros((engine.n_maps, engine.n_maps), np.float32)
    asked = own_oips.maps
    if len(foreign.maps) and len(asked):
        to_foreign, to_own = (engine(oips.images)[:, asked] for oips in (foreign, own_oips))
        strongest = np.maximum(to_foreign.max(axis=0), to_own.max(axis=0))
        relative[np.ix_(foreign.maps, asked)] = to_foreign / strongest
    return relative
