"""Units of work: small values that can be sent anywhere, each with a pure `compute`.

A unit names what is to be done for which of a layer's maps. What it is done to, a network or a
data set, is its *subject*, which is known by a hash of its content. So the same unit computes the
same result in this process, in another one, or on another machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import OipError
from ..progress import SILENT
from ..values import (
    AscentSpec,
    CnnSpec,
    ConditionSpec,
    Inputs,
    NullSpec,
    Objective,
    ScanSpec,
    ScreeningSpec,
    Start,
    TrialSpec,
    VarietySpec,
    map_ranges,
    seed_of,
)

if TYPE_CHECKING:
    from ..analysis.restarts import Restarts, Unlike
    from ..engine.data import Dataset
    from ..engine.layers import LayerMaps
    from ..engine.training import History
    from ..search.scan import MapScan
    from ..search.screening import Screening

#: Gives the maps of a network's layer, by the layer's name.
EngineOf = Callable[[str], "LayerMaps"]


class Packed(Protocol):
    """A subject as it travels: it can be pickled."""

    def opened(self) -> Any:
        """The subject as units take it."""


@dataclass(frozen=True)
class Subject:
    """What units are computed for: a network, or a data set.

    Attributes
    ----------
    sha256 : str
        Of its content, by which those who have it already know it.
    here : function
        Gives it as the units take it, in this process.
    packed : function
        Gives it as it is sent to others.
    """

    sha256: str
    here: Callable[[], Any]
    packed: Callable[[], Packed]


@dataclass(frozen=True)
class PackedNetwork:
    """A network as it is stored: Keras' JSON, the weights as ``.npz``, and what images it takes."""

    architecture: str
    weights: bytes
    inputs: str

    def opened(self) -> EngineOf:
        """The network's layers, each made when it is first asked for."""
        from functools import cache

        from ..engine.layers import LayerMaps
        from ..engine.network import unpack

        model, inputs = unpack(self.architecture, self.weights), Inputs.parse(self.inputs)
        return cache(lambda layer: LayerMaps(model, layer, inputs))


@dataclass(frozen=True)
class PackedData:
    """A data set, which travels as it is."""

    dataset: Dataset

    def opened(self) -> Dataset:
        """The data set."""
        return self.dataset


class Unit(Protocol):
    """A unit of work. Its text names it in messages."""

    def compute(self, subject: Any, progress: Any = SILENT) -> Any:
        """The result, which hangs on nothing but the unit and its subject.

        Parameters
        ----------
        subject
            What its `Subject` gives; of a network an `EngineOf`.
        progress
            A progress bar that counts what the unit is made of.
        """


@dataclass(frozen=True)
class TrainingUnit:
    """A training on a data set."""

    spec: CnnSpec

    def compute(self, dataset: Dataset, progress: Any = SILENT) -> tuple[str, bytes, History]:
        """The architecture, the weights and the history.

        Raises
        ------
        OipError
            If this process has several threads, with which the bytes would be others.
        """
        from ..engine import threads
        from ..engine.training import trained

        if threads.N_THREADS != 1:
            raise OipError(
                f"a worker has {threads.N_THREADS} threads, and a training needs one, so that it "
                "comes to the same bytes everywhere: start workers by 'dask worker --nthreads 1'"
            )
        return trained(self.spec, dataset, progress)

    def __str__(self) -> str:
        return f"training with seeds {self.spec.weights_seed} and {self.spec.order_seed}"


@dataclass(frozen=True)
class ScreeningUnit:
    """A part of a grid, patterns ``first`` to before ``last``, shown to all maps of a layer."""

    layer: str
    spec: ScreeningSpec
    first: int
    last: int

    def compute(self, engine_of: EngineOf, progress: Any = SILENT) -> Screening:
        """How the maps respond."""
        from ..search.screening import screen

        return screen(engine_of(self.layer), self.spec, (self.first, self.last), progress)

    def __str__(self) -> str:
        return f"screening of patterns {self.first:,} to {self.last - 1:,}, {self.layer}"


@dataclass(frozen=True, eq=False)
class SearchUnit:
    """A search for some maps.

    Attributes
    ----------
    starts : tuple of int64, (n,), one a map
        Which patterns race for each map; empty where the search finds its starts itself.
    """

    layer: str
    spec: TrialSpec | ScanSpec
    maps: tuple[int, ...]
    starts: tuple[np.ndarray, ...] = ()

    def compute(self, engine_of: EngineOf, progress: Any = SILENT) -> list[MapScan]:
        """What is found for each map."""
        from ..search.scan import scan, try_fluctuations

        engine = engine_of(self.layer)
        if isinstance(self.spec, TrialSpec):
            return list(try_fluctuations(engine, self.spec, self.maps, progress))
        return list(scan(engine, self.spec, self.maps, progress=progress, starts=self.starts))

    def __str__(self) -> str:
        return f"search for {_maps(self.layer, self.maps)}"


@dataclass(frozen=True)
class ObjectiveUnit:
    """A search for one objective that isn't a map."""

    spec: TrialSpec | ScanSpec
    objective: Objective

    def compute(self, engine_of: EngineOf, progress: Any = SILENT) -> MapScan:
        """What is found."""
        from ..engine.objectives import Target
        from ..search.scan import scan, try_fluctuations

        target = Target(self.objective, engine_of)
        if isinstance(self.spec, TrialSpec):
            return next(try_fluctuations(target, self.spec, [0], progress))
        return next(scan(target, self.spec, [0], progress=progress))

    def __str__(self) -> str:
        return f"search for {self.objective}"


@dataclass(frozen=True)
class RestartUnit:
    """Restarts of some maps."""

    layer: str
    spec: NullSpec
    maps: tuple[int, ...]

    def compute(self, engine_of: EngineOf, progress: Any = SILENT) -> list[Restarts]:
        """Where the restarts of each map ended."""
        from ..analysis.restarts import restart

        return list(restart(engine_of(self.layer), self.spec, self.maps, progress))

    def __str__(self) -> str:
        return f"restarts of {_maps(self.layer, self.maps)}"


@dataclass(frozen=True, eq=False)
class UnlikeUnit:
    """Ascents of some maps, kept away from what their restarts came to.

    Attributes
    ----------
    restarts, peaks, patterns
        Of each map, as `analysis.restarts.unlike` takes them.
    threshold : float
        Similarity from which on two OIPs show the same pattern.
    """

    layer: str
    spec: VarietySpec
    restarts: tuple[Restarts, ...]
    peaks: tuple[np.ndarray, ...]
    patterns: tuple[np.ndarray, ...]
    threshold: float

    def compute(self, engine_of: EngineOf, progress: Any = SILENT) -> list[Unlike]:
        """Where these ascents ended, for each map."""
        from ..analysis.restarts import unlike

        known = self.restarts, self.peaks, self.patterns
        return list(unlike(engine_of(self.layer), self.spec, *known, self.threshold, progress))

    def __str__(self) -> str:
        return f"others than the patterns of {_maps(self.layer, [r.map for r in self.restarts])}"


@dataclass(frozen=True, eq=False)
class MovedUnit:
    """Ascents of some OIPs once more, from starts that are moved a little.

    Attributes
    ----------
    maps : tuple of int
        Whose each OIP is.
    starts : tuple of Start
    stages : tuple of AscentSpec
        The ascents that all of them went through.
    oips : float32, (n, height, width, channels)
        The images that they came to.
    """

    layer: str
    spec: ConditionSpec
    maps: tuple[int, ...]
    starts: tuple[Start, ...]
    stages: tuple[AscentSpec, ...]
    oips: np.ndarray

    def compute(
        self, engine_of: EngineOf, progress: Any = SILENT
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each OIP losses, and how the images correlate with it: (moves, draws) each."""
        from ..engine.ascent import climb
        from ..engine.fluctuations import joining
        from ..engine.images import project
        from ..engine.starts import start_images

        engine, spec = engine_of(self.layer), self.spec
        seeds = np.array([seed_of(start) for start in self.starts], np.uint64)
        images = start_images(self.starts, engine.image_shape, engine.inputs)
        shape = (len(spec.moves), spec.n_draws, *images.shape[1:])
        sizes = np.array(spec.moves, np.float32).reshape(-1, 1, 1, 1, 1)
        moved = []
        for image, seed in zip(images, seeds, strict=True):  # whatever stands beside it
            noise = np.random.default_rng([spec.seed, int(seed)]).standard_normal(shape, np.float32)
            moved.append(image + sizes * image.std() * noise)
        n_each = len(spec.moves) * spec.n_draws
        flat = np.array(moved).reshape(-1, *images.shape[1:])
        ascents = climb(
            engine,
            np.asarray(project(flat, engine.inputs)),
            np.repeat(self.maps, n_each),
            self.stages,
            seeds=np.repeat(seeds, n_each),
            joining=joining([s for s in self.starts for _ in range(n_each)], images.shape[1:]),
        )
        losses = ascents.losses.reshape(len(self.maps), *shape[:2])
        ends = ascents.images.reshape(len(self.maps), *shape[:2], -1)
        progress.update(len(flat))
        return [
            (of_oip, _correlation(of_ends, oip.ravel()))
            for of_oip, of_ends, oip in zip(losses, ends, self.oips, strict=True)
        ]

    def __str__(self) -> str:
        return f"moved starts of {_maps(self.layer, self.maps)}"


def _maps(layer: str, maps: Sequence[int]) -> str:
    return f"{'map' if len(maps) == 1 else 'maps'} {map_ranges(maps)} of {layer}"


def _correlation(images: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Of images (..., pixels) with one (pixels,): (...), float32; 0 where one is even."""
    images, image = images.astype(float), image.astype(float)
    centred, of_image = images - images.mean(axis=-1, keepdims=True), image - image.mean()
    norms = np.linalg.norm(centred, axis=-1) * np.linalg.norm(of_image)
    # Rounded, as the sum's order depends on how many images there are.
    return np.round((centred @ of_image) / np.where(norms > 0, norms, 1), 6).astype(np.float32)
