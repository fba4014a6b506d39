"""Get or compute: everything done with one network, kept in the store.

A study asks the store first and the engine only for what isn't there. Each finished unit of
work (a network, a screening, one map's scan) is one transaction, so a run that is killed goes
on where it stood. TensorFlow is loaded when the engine first runs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError
from .pictures import in_bytes
from .progress import bar
from .specs import (
    CnnSpec,
    FluctuationStart,
    GridSpec,
    ScanSpec,
    Start,
    StudySpec,
    TrialSpec,
    VarietySpec,
)
from .store import (
    Layer,
    Network,
    Oip,
    OipFilter,
    Oips,
    Reaction,
    Rung,
    Scan,
    Screening,
    Store,
    Variety,
)

if TYPE_CHECKING:
    from .precursor import MapScan
    from .responses import LayerMaps
    from .variety import MapVariety

#: Map indices, a text such as "0-7,120", or None for all maps of the layer.
Maps = Sequence[int] | str | None

# So many images that excite a map most are kept of each kind.
_N_TOP = 10
# Of so many distinct patterns of a map, the commonest, an image is kept.
_N_PATTERNS = 8
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
    db : str, path or Store, optional
        The database: a file or an SQLAlchemy URL, made if it doesn't exist, or one that is
        open; ``OIP_DB``, else ``oip.db`` by default.
    spec : StudySpec or its JSON, optional
        Network, layer and searches. Without it those of the database; an empty database gets
        those of the articles.
    network : int, optional
        Id of a stored network; without it the one of `spec`, else the first.
    layer : str, optional
        Whose maps, if not those of the spec's layer.
    data : path, optional
        Folder where to look for the data set's files first.

    Examples
    --------
    ::

        study = Study("oip.db")
        study.derive_from_fluctuations(maps=[120])
        best = study.oips(map=120).best()
        print(best.loss, best.image.shape)
    """

    def __init__(
        self,
        db: str | os.PathLike[str] | Store | None = None,
        spec: StudySpec | str | None = None,
        network: int | None = None,
        layer: str | None = None,
        data: str | os.PathLike[str] | None = None,
    ) -> None:
        self.store = db if isinstance(db, Store) else Store(db, create=True)
        self.data = data
        if isinstance(spec, str):
            spec = StudySpec.from_json(spec)
        if network is None and spec is None:
            network = next((row.id for row in self.store.networks()), None)
        if network is not None:
            self.network = self.store.network(network)
        self.spec = spec or (StudySpec() if network is None else self._stored_spec())
        if layer is not None:
            self.spec = self.spec.replace(layer=layer)

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
        stored = self.store.screening(self.layer.id, grid.sha256, (0, grid.n_patterns))
        return stored or self._merge(grid, self.screen_parts(grid))

    def screen_parts(
        self, grid: GridSpec | None = None, shard: int = 0, n_shards: int = 1
    ) -> list[tuple[int, int]]:
        """Screen the parts of a grid that aren't yet; each is stored when it is finished.

        Parameters
        ----------
        shard, n_shards
            Do only the share of one of several processes or machines.

        Returns
        -------
        list
            The parts of this shard.
        """
        grid = grid or self.spec.scan.grid
        if not 0 <= shard < n_shards:
            raise InputError(f"there is no shard {shard + 1} of {n_shards}")
        from . import precursor

        parts = precursor.parts_of(grid)[shard::n_shards]
        done = self.store.screened_parts(self.layer.id, grid.sha256)
        missing = [part for part in parts if part not in done]
        if not missing or (0, grid.n_patterns) in done:
            return parts
        total = sum(last - first for first, last in parts)
        ready = total - sum(last - first for first, last in missing)
        with (
            self.running("screen", grid) as run_id,
            bar(total, "Screening", "patterns", ready) as b,
        ):
            for part in missing:
                found = precursor.screen(self.engine, grid, part, progress=b)
                self.store.add(self._screening_row(grid, part, found, run_id))
        return parts

    def _merge(self, grid: GridSpec, parts: list[tuple[int, int]]) -> Screening:
        """The screening of a whole grid from its stored parts, in whose place it is stored."""
        from . import precursor

        stored = [self.store.screening(self.layer.id, grid.sha256, part) for part in parts]
        rows = [row for row in stored if row is not None]
        if len(rows) == len(parts) > 1:
            total = precursor.merged([self._screening_of(row) for row in rows])
            whole = self._screening_row(grid, (0, grid.n_patterns), total, rows[-1].run_id)
            self.store.replace_parts(whole)
        # Where parts are missing, another process has merged them.
        found = self.store.screening(self.layer.id, grid.sha256, (0, grid.n_patterns))
        assert found is not None
        return found

    def _screening_row(
        self, grid: GridSpec, part: tuple[int, int], found: Any, run_id: int
    ) -> Screening:
        from . import precursor

        values = {f.name: getattr(found, f.name) for f in dataclasses.fields(found)}
        return Screening(
            layer_id=self.layer.id,
            run_id=run_id,
            spec=grid.to_dict(),
            spec_sha256=grid.sha256,
            first=part[0],
            last=part[1],
            edges=precursor.HISTOGRAM_EDGES,
            **values,
        )

    @staticmethod
    def _screening_of(row: Screening) -> Any:
        """A stored screening as the engine's."""
        from . import precursor

        names = [f.name for f in dataclasses.fields(precursor.Screening)]
        return precursor.Screening(**{name: getattr(row, name) for name in names})

    def reaction(self, kind: str) -> Reaction:
        """How the maps respond to images of a kind, in one pass for all of them.

        Parameters
        ----------
        kind
            ``fluctuation``: 2048 random images of `spec.trials`; ``digit``: all training
            images of the network's data set.
        """
        identity = {
            "fluctuation": self.spec.trials.fluctuation.sha256,
            "digit": self.network.spec_sha256,
        }
        if kind not in identity or identity[kind] is None:
            raise InputError(f"unknown kind {kind!r}: choose one of {', '.join(identity)}")
        key = str(identity[kind])
        stored = self.store.reaction(self.layer.id, kind, key)
        if stored is not None:
            return stored
        from .fluctuations import fluctuation_images
        from .images import standardized

        height, width, channels = self.engine.image_shape
        labels, pixels = np.empty(0, int), np.empty((0, height, width, channels), np.uint8)
        if kind == "digit":
            dataset = self.dataset()
            labels, pixels = dataset.train_labels, dataset.train_images
            images = standardized(pixels)
        else:
            spec = self.spec.trials.fluctuation
            starts = [FluctuationStart(spec, map=0, trial=trial) for trial in range(2048)]
            images = fluctuation_images(starts, self.engine.image_shape)
        with self.running("react") as run_id, bar(len(images), f"{kind}s", "images") as progress:
            responses, before = self.engine.respond(images, progress=progress)
            top = np.argsort(-responses, axis=0, kind="stable")[:_N_TOP].T
            classes = [responses[labels == label].mean(axis=0) for label in np.unique(labels)]
            row = Reaction(
                layer_id=self.layer.id,
                run_id=run_id,
                kind=kind,
                spec_sha256=key,
                n_images=len(images),
                n_reacting=(responses > 0).sum(axis=0),
                strongest_preactivation=before.max(axis=0),
                top_images=top,
                top_responses=np.take_along_axis(responses.T, top, axis=1),
                class_means=np.array(classes).T.reshape(responses.shape[1], len(classes)),
                images=pixels[np.unique(top)] if kind == "digit" else pixels,
            )
            self.store.add(row)
        return row

    def varieties(self, maps: Maps = None) -> dict[int, Variety]:
        """How many different patterns excite each map: restarts, and a search away from them.

        Returns
        -------
        dict
            Map -> `Variety`. Maps that no start could excite, and a map that is the only one of
            its layer, are missing.
        """
        spec, chosen = self.spec.variety, self.check_maps(maps)
        known = self.store.varieties(self.layer.id, spec.sha256)
        missing = [map for map in chosen if map not in known]
        if missing:
            from . import variety

            # The null needs other maps.
            others = [map for map in range(self.layer.n_maps) if map not in missing]
            shown = sorted([*missing, *others[: max(0, 8 - len(missing))]])
            with self.running("restart", spec) as run_id:
                found = variety.explore(self.engine, spec, shown)
                rows = [self._variety(each, spec, run_id) for each in found]
                self.store.add(*(row for row in rows if row.map in missing))
            known = self.store.varieties(self.layer.id, spec.sha256)
        return {map: known[map] for map in chosen if map in known}

    def derive_for_comparison(self) -> list[int]:
        """One good OIP for every map that has none; returns the maps searched."""
        known = {row["map"] for row in self.rows()}
        missing = [map for map in self.check_maps() if map not in known]
        spec = self.spec.scan.compared()
        title = f"{self.layer.name} of {self.network.name}"
        return self._derive(spec, missing, title, "comparison")

    def map_table(self, maps: Maps = None) -> list[dict[str, Any]]:
        """What became of each map.

        Returns
        -------
        list of dict
            Per map: ``map``; ``found by`` (the first of fluctuation, pattern, revival that led
            to an OIP, or ``nothing``); ``loss`` (the largest, 0 without an OIP); the shares of
            ``patterns``, ``fluctuations`` and, where the data set is known, ``digits`` to which
            it responds, in [0, 1]; ``strongest pre-activation`` over all of these.
        """
        chosen = self.check_maps(maps)
        found = {m: origin for origin, ms in self.summary(chosen).found.items() for m in ms}
        best = {row["map"]: row["loss"] for row in self.rows(chosen, best=True)}
        screening = self.screening()
        kinds = ["fluctuation", *(["digit"] if self.network.spec else [])]
        reactions = {f"{kind}s": self.reaction(kind) for kind in kinds}
        shares = {"patterns": screening.n_reacting / screening.n_patterns}
        shares |= {name: row.n_reacting / row.n_images for name, row in reactions.items()}
        strongest = np.max(
            [
                screening.top_preactivations.max(axis=1),
                *(row.strongest_preactivation for row in reactions.values()),
            ],
            axis=0,
        )
        return [
            {
                "map": map,
                "found by": found.get(map, "nothing"),
                "loss": best.get(map, 0.0),
                **{name: float(share[map]) for name, share in shares.items()},
                "strongest pre-activation": float(strongest[map]),
            }
            for map in chosen
        ]

    def derive_from_fluctuations(self, maps: Maps = None) -> list[int]:
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
        return self._derive(self.spec.trials, maps, "Fluctuations", "fluctuation")

    def derive_from_patterns(self, maps: Maps = None) -> list[int]:
        """Article X: the precursor scan; parameters and result as `derive_from_fluctuations`."""
        return self._derive(self.spec.scan, maps, "Precursor scan", "pattern")

    def derive(self, maps: Maps = None) -> None:
        """Both articles for some maps, or all: fluctuations, then the precursor scan."""
        self.derive_from_fluctuations(maps)
        self.derive_from_patterns(maps)

    def selection(self, maps: Maps = None) -> dict[str, list[Scan]]:
        """Scans from which no start was dropped, by which to judge how the searches select.

        Their OIPs are not kept.

        Parameters
        ----------
        maps
            Maps to draw 24 from, by a fixed seed; all of the layer by default.

        Returns
        -------
        dict
            ``article`` and ``race``: a scan for each of these maps, its rungs with all starts.
        """
        rng = np.random.default_rng(0)
        chosen = sorted(rng.permutation(self.check_maps(maps))[:24].tolist())
        found = {}
        for strategy in ("article", "race"):
            spec = self.spec.scan.undropped(strategy)
            self._derive(spec, chosen, f"Selection ({strategy})", origin="selection")
            scans = self.store.scans(self.layer.id, spec.sha256)
            found[strategy] = [scan for scan in scans if scan.map in chosen]
        return found

    def earlier_layers(self) -> list[Study]:
        """Studies of the convolutional layers before this one (article XII), nearest first.

        Each keeps one OIP a map from the precursor scan of this study.
        """
        told = json.loads(self.network.architecture)["config"]["layers"]
        kinds = {layer["config"].get("name"): layer["class_name"] for layer in told}
        scan = self.spec.scan.replace(n_oips=1)
        return [
            Study(
                self.store,
                self.spec.replace(layer=layer.name, scan=scan),
                self.network.id,
                data=self.data,
            )
            for layer in reversed(self.network.layers)
            if layer.position < self.layer.position and kinds.get(layer.name) == "Conv2D"
        ]

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
        name = re.sub(r"[^\w .+()-]", "_", Path(path).stem)[:200]
        row = self._network_row(model, name, run_id=0)
        stored = self.store.network_with(row.weights_sha256, row.architecture)
        if stored is not None:
            return stored.id
        with self.running("import") as run_id:
            row.run_id = run_id
            self.store.add(row)
        return row.id

    # --- read ---

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Of the images that the network takes: (height, width, channels)."""
        row = self.network
        return row.image_height, row.image_width, row.image_channels

    @property
    def is_trained(self) -> bool:
        """Whether the network is stored already."""
        return "network" in vars(self) or self.store.network_of(self._network_key()) is not None

    @property
    def is_screened(self) -> bool:
        """Whether the screening of the spec's grid is stored already."""
        grid = self.spec.scan.grid
        return self.store.screening(self.layer.id, grid.sha256, (0, grid.n_patterns)) is not None

    def oips(self, map: int | None = None, best: bool = False) -> Oips:
        """The layer's stored OIPs, or those of one map; the largest loss first.

        They are a list with some abilities: ``study.oips(map=120).best()`` is one OIP,
        ``.frame()`` and ``.traces()`` are pandas tables, and a notebook shows all as pictures.
        """
        return self.store.oips(self._filter(None if map is None else [map], best))

    def rows(self, maps: Maps = None, best: bool = False) -> list[dict[str, Any]]:
        """The layer's OIPs, or those of some maps, as plain values without their arrays."""
        return self.store.oip_rows(self._filter(self.check_maps(maps), best))

    def scans(self, origin: str, map: int | None = None) -> list[Scan]:
        """The study's finished searches with their rungs, or that of one map.

        Parameters
        ----------
        origin
            ``fluctuation`` for those of `spec.trials`, ``pattern`` for those of `spec.scan`.
        """
        specs: dict[str, TrialSpec | ScanSpec] = {
            "fluctuation": self.spec.trials,
            "pattern": self.spec.scan,
        }
        if origin not in specs:
            raise InputError(f"unknown origin {origin!r}: choose one of {', '.join(specs)}")
        return self.store.scans(self.layer.id, specs[origin].sha256, map)

    def check_maps(self, maps: Maps = None) -> list[int]:
        """The named maps, or all of the layer; `InputError` if one doesn't exist."""
        n_maps = self.layer.n_maps
        if maps is None:
            return list(range(n_maps))
        chosen = parse_ranges(maps) if isinstance(maps, str) else list(maps)
        for map in chosen:
            if not 0 <= map < n_maps:
                raise InputError(
                    f"there is no map {map} in {self.layer.name}: choose 0 to {n_maps - 1}"
                )
        return chosen

    def summary(self, maps: Maps = None) -> Summary:
        """What has been found so far for the maps, from the store alone."""
        chosen = self.check_maps(maps)
        rows = self.rows(chosen)
        found: dict[str, list[int]] = {"fluctuation": [], "pattern": [], "revival": [], "digit": []}
        taken: set[int] = set()
        for origin, maps in found.items():
            maps.extend(sorted({row["map"] for row in rows if row["origin"] == origin} - taken))
            taken.update(maps)
        silent = sorted(set(self.searched_maps()).intersection(chosen) - taken)
        return Summary(self.network.accuracy, found, silent, len(rows))

    def searched_maps(self) -> list[int]:
        """The maps that any search for OIPs has been finished for."""
        return sorted({map for map, _ in self.store.scan_keys(self.layer.id)})

    def fingerprint(self, map: int | None = None) -> str:
        """A hash of what is stored about the network, or of what a map's page shows of it."""
        if map is None:
            rows = self.store.oip_rows(OipFilter(network=self.network.id))
        else:  # its own OIPs, and the best of all the others that it may resemble
            rows = [*self.rows([map]), *self.rows(best=True)]
        losses = [(row["id"], row["map"], row["loss"]) for row in rows]
        scans = self.store.scan_keys(self.layer.id, map)
        compared = self.store.comparing_runs(self.layer.id)
        told = repr((self.network.weights_sha256, self.spec.sha256, losses, scans, compared))
        return hashlib.sha256(told.encode()).hexdigest()

    def prepare(self, maps: Maps = None) -> None:
        """Compute and store all that a book of some maps shows: once, for all maps together."""
        chosen = self.check_maps(maps)
        self.derive(chosen)
        for other in self.earlier_layers():
            other.derive_from_patterns([m for m in chosen if m < other.layer.n_maps])
        self.selection(chosen)
        self.map_table(chosen)
        self.varieties(chosen)

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

        if "network" in vars(self) and self.network.spec is None:
            raise InputError(
                f"network {self.network.id} ({self.network.name}) came as a model, without data"
            )
        return data.load(self.spec.cnn.dataset, self.data)

    # --- how it is done ---

    def _filter(self, maps: Sequence[int] | None = None, best: bool = False) -> OipFilter:
        return OipFilter(maps, self.layer.name, self.network.id, best)

    def _stored_spec(self) -> StudySpec:
        """What was done with the network, as a spec: the searches of most of its maps."""
        parts: dict[str, Any] = {}
        if self.network.spec is not None:
            parts["cnn"] = CnnSpec.from_dict(self.network.spec)
        for name, kind, origin in (
            ("trials", TrialSpec, "fluctuation"),
            ("scan", ScanSpec, "pattern"),
        ):
            main = self.store.main_scan(self.network.id, origin)
            if main is not None:
                parts["layer"], parts[name] = main[0], kind.from_dict(main[1])
        variety = self.store.main_variety(self.network.id)
        if variety is not None:
            parts["variety"] = VarietySpec.from_dict(variety)
        layers = self.network.layers
        if "layer" not in parts and StudySpec().layer not in [layer.name for layer in layers]:
            spatial = [layer for layer in layers if layer.map_height * layer.map_width > 1]
            parts["layer"] = (spatial or layers)[-1].name
        return StudySpec(**parts)

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
        # Of the initial weights, and of the images' order.
        seeds = "-".join(map(str, dict.fromkeys((spec.weights_seed, spec.order_seed))))
        with self.running("train", spec) as run_id:
            model, history = network.train(spec, dataset, title=f"Training, seeds {seeds}")
            row = self._network_row(model, f"{Path(dataset.name).stem}-{seeds}", run_id)
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

    def _derive(self, spec: TrialSpec | ScanSpec, maps: Maps, title: str, origin: str) -> list[int]:
        """Search the maps that haven't been searched by this spec; returns which they were."""
        done = self.store.scanned_maps(self.layer.id, spec.sha256)
        missing = [map for map in self.check_maps(maps) if map not in done]
        if not missing:
            return missing
        from . import precursor

        screening = None
        # What serves a comparison only isn't kept.
        kept = origin != "comparison" or self.is_screened
        if isinstance(spec, ScanSpec) and spec.strategy == "race" and kept:
            screening = self._screening_of(self.screening(spec.grid))
        kind = "select" if origin == "selection" else "derive"
        with self.running(kind, spec) as run_id, bar(len(missing), title, "maps") as progress:
            if isinstance(spec, TrialSpec):
                found = precursor.try_fluctuations(self.engine, spec, missing, progress)
            else:
                found = precursor.scan(self.engine, spec, missing, screening, progress)
            for scan in found:
                self._keep(scan, spec, run_id, origin)
        return missing

    def _keep(self, found: MapScan, spec: TrialSpec | ScanSpec, run_id: int, origin: str) -> None:
        scan = Scan(
            layer_id=self.layer.id,
            run_id=run_id,
            map=found.map,
            origin=origin,
            spec=spec.to_dict(),
            spec_sha256=spec.sha256,
            rungs=[
                Rung(number=number, steps=rung.steps, starts=rung.starts, losses=rung.losses)
                for number, rung in enumerate(found.rungs)
            ],
        )
        losses = found.ascents.losses
        best = None if origin == "comparison" or not len(losses) else losses.argmax()
        oips = [
            self._oip(found, i, start, spec, run_id, whole=i == best)
            for i, start in enumerate(found.starts)
            if losses[i] > 0 and origin != "selection"
        ]
        self.store.add_scans([scan], oips)

    def _oip(
        self,
        found: MapScan,
        i: int,
        start: Start,
        spec: TrialSpec | ScanSpec,
        run_id: int,
        whole: bool,
    ) -> Oip:
        """A row, `whole` with its frames."""
        ascents, steps = found.ascents, int(found.ascents.steps[i])
        reached = (ascents.report_steps <= steps) & whole
        climb = spec.climb
        identity = (self.network.weights_sha256, self.layer.name, str(found.map))
        told = "|".join([*identity, start.to_json(), climb.to_json()])
        # A start to which the map did not respond was revived by climbing the pre-activation.
        origin = start.origin if ascents.traces[i, 0] > 0 else "revival"
        return Oip(
            key=hashlib.sha256(told.encode()).hexdigest(),
            layer_id=self.layer.id,
            run_id=run_id,
            map=found.map,
            origin=origin,
            start=start.to_dict(),
            spec=climb.to_dict(),
            spec_sha256=climb.sha256,
            loss=float(ascents.losses[i]),
            steps=steps,
            stop_reason=str(ascents.stop_reasons[i]),
            image=ascents.images[i],
            report_steps=ascents.report_steps[reached],
            frames=_pictures(ascents.frames[i][reached]),
            trace=ascents.traces[i, : steps + 1],
            created=datetime.now(UTC),
        )

    def _variety(self, found: MapVariety, spec: VarietySpec, run_id: int) -> Variety:
        restarts, labels, unlike = found.restarts, found.patterns, found.unlike
        n, n_patterns = len(restarts.starts), int(labels.max()) + 1
        best = [
            max(np.flatnonzero(labels == k), key=lambda i: float(restarts.losses[i]))
            for k in range(n_patterns)
        ]
        different = unlike.losses[unlike.alike < found.limit]
        return Variety(
            layer_id=self.layer.id,
            run_id=run_id,
            map=restarts.map,
            spec=spec.to_dict(),
            spec_sha256=spec.sha256,
            n_starts=n,
            n_patterns=n_patterns,
            commonest=float(np.mean(labels == 0)),
            median=float(np.median(found.pixels.peaks)),
            best_loss=float(restarts.losses.max()),
            unlike_loss=float(different.max()) if len(different) else None,
            threshold=found.limit,
            feature_threshold=found.feature_limit,
            starts=restarts.starts,
            losses=restarts.losses,
            patterns=labels,
            peaks=found.pixels.peaks,
            features=found.features.peaks,
            shifts=found.pixels.shifts,
            null_peaks=found.null_pixels,
            null_features=found.null_features,
            images=_pictures(restarts.images[best[:_N_PATTERNS]]),
            unlike_losses=unlike.losses,
            unlike_alike=unlike.alike,
            unlike_images=_pictures(unlike.images),
        )

    @contextmanager
    def running(self, kind: str, spec: Any = None) -> Iterator[int]:
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


def _pictures(images: np.ndarray) -> np.ndarray:
    return np.array([in_bytes(image) for image in images], np.uint8).reshape(images.shape)


def parse_ranges(text: str) -> list[int]:
    """Indices named like "0-7,120", increasing, each once; `InputError` if it says none."""
    chosen: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*", part)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if low > high:
            raise InputError(f"{text!r} names no maps: write them like 0-7,120")
        chosen.update(range(low, min(high, low + 10**6) + 1))
    return sorted(chosen)


def environment() -> dict[str, Any]:
    """On what a run computes: versions, device, threads, batch size, commit of our code."""
    from . import network
    from .ascent import BATCH_SIZE

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: _version(name) for name in _PACKAGES},
        "device": network.device(),
        "threads": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "batch_size": BATCH_SIZE,
        "git_commit": _git_commit(),
    }


def _version(package: str) -> str | None:
    """Of a package, or of its build without a graphics card, which goes by another name."""
    for name in (package, f"{package}-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            pass
    return None


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
