"""Get or compute: everything done with one network, kept in the store.

A study asks the store first and the engine only for what isn't there. Each finished unit of
work (a network, a screening, one map's scan) is one transaction, so a run that is killed goes
on where it stood. TensorFlow is loaded when the engine first runs.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .progress import bar
from .specs import GridSpec, ScanSpec, Start, StudySpec, TrialSpec
from .store import Layer, Network, Oip, OipFilter, Rung, Scan, Screening, Store

if TYPE_CHECKING:
    from .precursor import MapScan
    from .responses import LayerMaps

_PACKAGES = ("oiplib", "tensorflow", "keras", "numpy", "sqlalchemy")


@dataclass(frozen=True)
class Summary:
    """What a study has found so far.

    Attributes
    ----------
    accuracy
        On the test images, in [0, 1]; None where the network came without data.
    found
        Origin -> the maps that owe their first OIP to it.
    silent
        Maps that were searched and have no OIP.
    n_oips
        OIPs of the layer.
    """

    accuracy: float | None
    found: dict[str, list[int]]
    silent: list[int]
    n_oips: int


class Study:
    """Everything done with one network and one of its layers.

    Parameters
    ----------
    db : str or path
        The database: a file or an SQLAlchemy URL. It is made if it doesn't exist.
    spec
        Network, layer and searches.
    network : int, optional
        Id of a stored network to use instead of the one that `spec.cnn` trains.
    data : path, optional
        Folder where to look for the data set's files first.

    Examples
    --------
    ::

        study = Study("oip.db")
        study.derive_from_fluctuations(maps=[120])
        best = study.oips(map=120)[0]
        print(best.loss, best.image.shape)
    """

    def __init__(
        self,
        db: str | os.PathLike[str] = "oip.db",
        spec: StudySpec | None = None,
        network: int | None = None,
        data: str | os.PathLike[str] | None = None,
    ) -> None:
        self.spec = spec or StudySpec()
        self.store = Store(db, create=True)
        self._data = data
        if network is not None:
            self.network = self.store.network(network)

    # --- get or compute ---

    @cached_property
    def network(self) -> Network:
        """The network with its weights: the stored one, or trained now."""
        key = self._network_key()
        stored = self.store.network_of(key)
        if stored is None:
            self._train(key)
            stored = self.store.network_of(key)
            assert stored is not None
        return self.store.network(stored.id)

    @cached_property
    def layer(self) -> Layer:
        """The studied layer of the network."""
        return self.store.layer(self.network.id, self.spec.layer)

    def screening(self, grid: GridSpec | None = None) -> Screening:
        """The layer's responses to all distinct patterns of a grid (that of `spec.scan`)."""
        grid = grid or self.spec.scan.grid
        stored = self.store.screening(self.layer.id, grid.sha256)
        if stored is not None:
            return stored
        from . import precursor

        with (
            self._run("screen", grid) as run_id,
            bar(grid.n_patterns, "Screening", "patterns") as b,
        ):
            found = precursor.screen(self.engine, grid, progress=b)
            row = Screening(
                layer_id=self.layer.id,
                run_id=run_id,
                spec=grid.to_dict(),
                spec_sha256=grid.sha256,
                n_patterns=found.n_patterns,
                n_reacting=found.n_reacting,
                top_indices=found.top_indices,
                top_responses=found.top_responses,
                histogram=found.histogram,
            )
            self.store.add(row)
        return row

    def derive_from_fluctuations(self, maps: Sequence[int] | None = None) -> list[int]:
        """Article IX: show maps random images, ascend those to which they respond.

        Parameters
        ----------
        maps
            Which maps; all of the layer by default.

        Returns
        -------
        list of int
            The maps that had not been searched this way before.
        """
        from . import precursor

        return self._derive(self.spec.trials, maps, precursor.try_fluctuations, "Fluctuations")

    def derive_from_patterns(self, maps: Sequence[int] | None = None) -> list[int]:
        """Article X: the precursor scan; parameters and result as `derive_from_fluctuations`."""
        from . import precursor

        return self._derive(self.spec.scan, maps, precursor.scan, "Precursor scan")

    def derive(self, maps: Sequence[int] | None = None) -> None:
        """Both articles: fluctuations for all maps, patterns for those that found nothing."""
        chosen = self.check_maps(maps)
        self.derive_from_fluctuations(chosen)
        self.derive_from_patterns(self.maps_without("fluctuation", chosen))

    def add_model(self, path: str | os.PathLike[str]) -> int:
        """Keep any trained Keras model (a ``.keras`` file) as a network; returns its id.

        Raises
        ------
        InputError
            If the file is no model that can be loaded safely, or the model doesn't take one
            image.
        """
        from . import network

        model = network.load(os.fspath(path))
        row = self._network_row(model, Path(path).stem, run_id=0)
        stored = self.store.network_with(row.weights_sha256, row.architecture)
        if stored is not None:
            return stored.id
        with self._run("import", None) as run_id:
            row.run_id = run_id
            self.store.add(row)
        return row.id

    # --- read ---

    @property
    def is_trained(self) -> bool:
        """Whether the network is stored already."""
        return "network" in vars(self) or self.store.network_of(self._network_key()) is not None

    def oips(self, map: int | None = None, best: bool = False) -> list[Oip]:
        """The layer's stored OIPs, or those of one map; the largest loss first."""
        return self.store.oips(self._filter(None if map is None else [map], best))

    def scans(self, map: int | None = None) -> list[Scan]:
        """Finished scans of the layer, or of one of its maps, with all their rungs."""
        return self.store.scans(self.layer.id, map)

    def check_maps(self, maps: Sequence[int] | None) -> list[int]:
        """The maps, or all of the layer; `InputError` if one doesn't exist."""
        n_maps = self.layer.n_maps
        if maps is None:
            return list(range(n_maps))
        for map in maps:
            if not 0 <= map < n_maps:
                raise InputError(f"there is no map {map}: choose 0 to {n_maps - 1}")
        return list(maps)

    def maps_without(self, origin: str, maps: Sequence[int]) -> list[int]:
        """Those of the maps that have no OIP of an origin."""
        rows = self.store.oip_rows(self._filter(maps))
        having = {row["map"] for row in rows if row["origin"] == origin}
        return [map for map in maps if map not in having]

    def summary(self) -> Summary:
        """What has been found so far, from the store alone."""
        rows = self.store.oip_rows(self._filter())
        found: dict[str, list[int]] = {"fluctuation": [], "pattern": [], "revival": [], "digit": []}
        taken: set[int] = set()
        for origin, maps in found.items():
            maps.extend(sorted({row["map"] for row in rows if row["origin"] == origin} - taken))
            taken.update(maps)
        searched = {map for map, _ in self.store.scan_keys(self.layer.id)}
        return Summary(self.network.accuracy, found, sorted(searched - taken), len(rows))

    def fingerprint(self, map: int | None = None) -> str:
        """A hash of what is stored about the layer, or about one of its maps."""
        maps = None if map is None else [map]
        losses = [
            (row["id"], row["map"], row["loss"]) for row in self.store.oip_rows(self._filter(maps))
        ]
        scans = self.store.scan_keys(self.layer.id, map)
        told = repr((self.network.weights_sha256, self.spec.sha256, losses, scans))
        return hashlib.sha256(told.encode()).hexdigest()

    # --- the engine ---

    @cached_property
    def model(self) -> Any:
        """The Keras model, rebuilt from the database alone."""
        from . import network

        return network.unpack(self.network.architecture, self.network.weights)

    @cached_property
    def engine(self) -> LayerMaps:
        """The layer's maps as a function of images."""
        from .responses import LayerMaps

        return LayerMaps(self.model, self.spec.layer)

    def dataset(self) -> Any:
        """The data set of the network's training."""
        from . import data

        return data.load(self.spec.cnn.dataset, self._data)

    # --- how it is done ---

    def _filter(self, maps: Sequence[int] | None = None, best: bool = False) -> OipFilter:
        return OipFilter(maps, self.layer.name, self.network.id, best)

    def _network_key(self) -> str:
        """The training's identity; a user's file counts by its content, not by its name."""
        spec = self.spec.cnn
        if not spec.dataset.endswith(".npz"):
            return spec.sha256
        try:
            content = Path(spec.dataset).read_bytes()
        except OSError as error:
            raise InputError(f"{spec.dataset} can't be read: {error.strerror}") from None
        return hashlib.sha256(spec.replace(dataset=".npz").to_json().encode() + content).hexdigest()

    def _train(self, key: str) -> None:
        from . import network

        spec = self.spec.cnn
        dataset = self.dataset()
        with self._run("train", spec) as run_id:
            model, history = network.train(spec, dataset, title="Training")
            row = self._network_row(model, f"{Path(dataset.name).stem}-{spec.weights_seed}", run_id)
            row.spec, row.spec_sha256, row.history = spec.to_dict(), key, history
            row.accuracy = network.evaluate(model, dataset.test_images, dataset.test_labels)
            self.store.add(row)

    def _network_row(self, model: Any, name: str, run_id: int) -> Network:
        from . import network, responses

        height, width, channels = responses.image_shape(model)
        architecture, weights = network.pack(model)
        layers = [
            Layer(
                position=position,
                name=layer,
                n_maps=shape[-1],
                map_height=shape[0] if len(shape) == 3 else 1,
                map_width=shape[1] if len(shape) == 3 else 1,
            )
            for position, (layer, shape) in enumerate(responses.map_layers(model).items())
        ]
        return Network(
            name=name,
            architecture=architecture,
            weights=weights,
            weights_sha256=network.weights_sha256(model),
            image_height=height,
            image_width=width,
            image_channels=channels,
            history={},
            run_id=run_id,
            created=datetime.now(UTC),
            layers=layers,
        )

    def _derive(
        self, spec: TrialSpec | ScanSpec, maps: Sequence[int] | None, search: Any, title: str
    ) -> list[int]:
        done = self.store.scanned_maps(self.layer.id, spec.sha256)
        missing = [map for map in self.check_maps(maps) if map not in done]
        if missing:
            with self._run("derive", spec) as run_id, bar(len(missing), title, "maps") as progress:
                for found in search(self.engine, spec, missing, progress):
                    self._keep(found, spec, run_id)
        return missing

    def _keep(self, found: MapScan, spec: TrialSpec | ScanSpec, run_id: int) -> None:
        scan = Scan(
            layer_id=self.layer.id,
            run_id=run_id,
            map=found.map,
            origin="fluctuation" if isinstance(spec, TrialSpec) else "pattern",
            spec=spec.to_dict(),
            spec_sha256=spec.sha256,
            rungs=[
                Rung(number=number, steps=rung.steps, starts=rung.starts, losses=rung.losses)
                for number, rung in enumerate(found.rungs)
            ],
        )
        oips = [
            self._oip(found, i, start, spec, run_id)
            for i, start in enumerate(found.starts)
            if found.ascents.losses[i] > 0
        ]
        self.store.add_scan(scan, oips)

    def _oip(
        self, found: MapScan, i: int, start: Start, spec: TrialSpec | ScanSpec, run_id: int
    ) -> Oip:
        ascents, steps = found.ascents, int(found.ascents.steps[i])
        reached = ascents.report_steps <= steps
        identity = (self.network.weights_sha256, self.layer.name, found.map, start, spec.ascent)
        told = "|".join(
            x.to_json() if isinstance(x, (Start, type(spec.ascent))) else str(x) for x in identity
        )
        return Oip(
            key=hashlib.sha256(told.encode()).hexdigest(),
            layer_id=self.layer.id,
            run_id=run_id,
            map=found.map,
            origin=start.origin,
            start=start.to_dict(),
            spec=spec.ascent.to_dict(),
            loss=float(ascents.losses[i]),
            steps=steps,
            stop_reason=str(ascents.stop_reasons[i]),
            image=ascents.images[i],
            report_steps=ascents.report_steps[reached],
            frames=ascents.frames[i][reached],
            trace=ascents.traces[i, : steps + 1],
            created=datetime.now(UTC),
        )

    @contextmanager
    def _run(self, kind: str, spec: Any) -> Iterator[int]:
        """Note in the database that work goes on, and how it ended."""
        asked = None if spec is None else spec.to_dict()
        run_id = self.store.start_run(kind, asked, environment())
        try:
            yield run_id
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            self.store.end_run(run_id, "interrupted" if stopped else "failed", str(error)[:500])
            raise
        self.store.end_run(run_id, "done")


def environment() -> dict[str, Any]:
    """On what a run computes: versions, device, threads, batch size, commit of our code."""
    from . import network
    from .ascent import BATCH_SIZE

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: version(name) for name in _PACKAGES},
        "device": network.device(),
        "threads": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "batch_size": BATCH_SIZE,
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """The commit of the checkout that the package is imported from, if it is one."""
    here = Path(__file__).parent
    if not (here.parent / ".git").exists():
        return None
    command = ["git", "-C", str(here), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
