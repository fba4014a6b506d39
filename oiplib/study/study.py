"""A study: get or compute everything that is asked of one network and one of its layers.

A study asks the store first, and the engine only for what isn't there. Each finished unit of
work (a network, a screening, one map's scan) is one transaction, so a run that is killed goes
on where it stood. TensorFlow is loaded when the engine first runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InputError, OipError
from ..store import Rung, Screening, Store
from ..values import (
    Channel,
    CnnSpec,
    GridSpec,
    Inputs,
    Maps,
    Objective,
    Prior,
    ScanSpec,
    ScreeningSpec,
    StudySpec,
    TrialSpec,
    prior_of,
)
from . import objectives, rows, screenings
from .computing import Computing
from .executors import Executor
from .networks import add_model
from .units import SearchUnit
from .work import Work

if TYPE_CHECKING:
    import numpy as np

    from ..engine.ascent import Ascents
    from ..search import scan as search


# What a race gains is measured by its best start. Where it is less, its steps may be too large
# for the map; they were chosen on the articles' network, where it is more than four.
_LEAST_GAIN = 4
_SMALLER_STEPS = 1 / 4, 1 / 16


class Study(Computing):
    """Everything done with one network and one of its layers.

    A study is fixed when it is made. To ask something else, make another one with `replace`.

    Parameters
    ----------
    db : str, path or Store, optional
        The database: a file or an SQLAlchemy URL, made if it doesn't exist, or one that is
        open; ``OIP_DB``, else ``oip.db`` by default.
    spec : StudySpec, its JSON or its SHA-256, optional
        Network, layer and searches; by its SHA-256 one that was asked before. Without it, those
        that were asked last of the network; in an empty database those of the articles.
    network : int, optional
        Id of a stored network; without it the one of `spec`, else the first.
    layer : str, optional
        Whose maps, if not those of the spec's layer.
    data : path, optional
        Folder where to look for the data set's files first, or the file itself; ``OIP_DATA`` by
        default.
    model : keras.Model or path, optional
        A trained model to take in and study, in place of `network`.
    inputs : Inputs or str, optional
        What images the model takes, such as ``"0..255"``; by default what its first layers tell.
    dataset : str, optional
        A data set to join to the model: a name, or the path of an ``.npz`` file.
    image_size : (height, width), optional
        Where the model takes images of any size.
    executor : Executor, optional
        Where units of work are computed: `Workers` or a `Cluster`; in this process by default.

    Raises
    ------
    InputError
        If there is no such network, or the spec describes another one.

    Examples
    --------
    ::

        study = Study("oip.db")
        study.derive_from_fluctuations(maps=[120])
        best = study.oips(120).best()
        print(best.loss, best.image.shape)
    """

    def __init__(
        self,
        db: str | os.PathLike[str] | Store | None = None,
        spec: StudySpec | str | None = None,
        network: int | None = None,
        layer: str | None = None,
        data: str | os.PathLike[str] | None = None,
        model: Any = None,
        inputs: Inputs | str | None = None,
        dataset: str | None = None,
        image_size: tuple[int, int] | None = None,
        executor: Executor | None = None,
    ) -> None:
        store = db if isinstance(db, Store) else Store(db, create=True)
        data = data or os.environ.get("OIP_DATA")
        if model is not None:
            if network is not None:
                raise InputError("model and network name two networks: choose one of them")
            network = add_model(store, model, inputs, image_size, dataset, data, layer)
        elif inputs is not None or dataset is not None or image_size is not None:
            raise InputError("inputs, dataset and image_size belong to a model: name it, too")
        if isinstance(spec, str) and re.fullmatch("[0-9a-f]{64}", spec):
            asked_of, values = store.asked_study(spec)
            network, spec = asked_of if network is None else network, StudySpec.from_dict(values)
        elif isinstance(spec, str):
            spec = StudySpec.from_json(spec)
        if network is None and spec is None:
            network = next(iter(store.network_ids()), None)
        if spec is None:
            spec = StudySpec() if network is None else _asked_last(store, network)
        if layer is not None:
            spec = spec.replace(layer=layer)
        super().__init__(store, spec, network, data, executor)
        if layer is not None and self.is_trained:
            self.layer  # noqa: B018 - an error now that names the choices

    def replace(self, **changes: Any) -> Study:
        """A study of the same database with some fields of its spec changed."""
        network = None if "cnn" in changes else self._network_id
        return self._other(self.spec.replace(**changes), network)

    def part(self, spec: StudySpec, network: int | None = None) -> Study:
        """A study that this one needs, such as that of an earlier layer or another training.

        It isn't noted as what was asked of its network.
        """
        study = self._other(spec, network)
        vars(study).update(is_part=True)
        return study

    def _other(self, spec: StudySpec, network: int | None) -> Study:
        """Another study of the database; it shares what both have, such as compiled functions."""
        study = Study(self.store, spec, network, data=self.data, executor=self.executor)
        vars(study).update(_engines=self._engines)
        known = "network" in vars(self) and network in (self._network_id, self.network.id)
        if known and spec.cnn == self.spec.cnn:
            same = ["network", "model"]
            same += ["layer", "engine"] if spec.layer == self.spec.layer else []
            vars(study).update({name: vars(self)[name] for name in same if name in vars(self)})
        return study

    # --- get or compute ---

    def screening(self, grid: GridSpec | None = None) -> Screening:
        """The layer's responses to all distinct patterns of a grid (that of `spec.scan`)."""
        return screenings.screened(self, self._screening_spec(grid))

    def derive_from_fluctuations(
        self, maps: Maps | Objective = None, prior: Prior | str | None = None
    ) -> list[int]:
        """Article IX: show maps random images, ascend those to which they respond.

        Parameters
        ----------
        maps
            Which maps; all of the layer by default. Or another objective, as a value or a text.
        prior
            What the images are led to look like; by default what `spec` says, which is nothing.

        Returns
        -------
        list of int
            The maps that had not been searched this way before; [0] for another objective.
        """
        spec = self.spec.trials
        return self.search(spec if prior is None else spec.led_by(prior), maps, "Fluctuations")

    def derive_from_patterns(
        self, maps: Maps | Objective = None, prior: Prior | str | None = None
    ) -> list[int]:
        """Article X: the precursor scan; parameters and result as `derive_from_fluctuations`.

        Maps that gain little by it are raced again with smaller steps, as scans of their own.
        Under a prior the best OIP of each map is kept, and no other.
        """
        spec = self.spec.scan if prior is None else self.spec.scan.led_by(prior)
        if prior_of(prior):
            spec = spec.replace(n_oips=min(1, spec.n_oips))
        searched = self.search(spec, maps, "Precursor scan")
        if spec.strategy == "race":
            for objective, hard in self._hard_to_excite(spec, maps).items():
                for share in _SMALLER_STEPS if hard else ():
                    title = f"Steps of 1/{1 / share:.0f}"
                    self.search(spec.gentler(share, objective), hard, title)
        return searched

    def derive(self, maps: Maps | Objective = None, prior: Prior | str | None = None) -> None:
        """Both articles, fluctuations and the precursor scan; parameters as there."""
        self.derive_from_fluctuations(maps, prior)
        self.derive_from_patterns(maps, prior)

    def grow(self, objective: Objective | str, prior: Prior | str | None = None) -> Ascents:
        """What the precursor scan finds for an objective, without storing it.

        Parameters
        ----------
        objective
            Any, also a `Function` of a layer's activations.
        prior
            As for `derive`.

        Returns
        -------
        Ascents
            The finalists, the largest loss first.

        Examples
        --------
        ::

            centre = Function("Conv2D_3", lambda activations: activations[:, 1, 1, 120])
            image = study.grow(centre).images[0]
        """
        self.train()
        spec = self.spec.scan if prior is None else self.spec.scan.led_by(prior)
        asked = self.objective(objective)
        best = objectives.found(self, spec, asked, str(asked))
        if spec.strategy == "race" and _gained_little(best.rungs):
            smaller = [spec.gentler(share) for share in _SMALLER_STEPS]
            again = [objectives.found(self, each, asked, str(asked)) for each in smaller]
            best = max(best, *again, key=lambda scan: float(scan.rungs[-1].losses.max()))
        return best.ascents

    def search(
        self,
        spec: TrialSpec | ScanSpec,
        maps: Maps | Objective = None,
        title: str = "Search",
        keep_screening: bool = True,
    ) -> list[int]:
        """Search what hasn't been searched by a spec; each map is stored when it is finished.

        Parameters
        ----------
        spec
            Which starts compete, and how.
        maps
            Which maps; all of the layer by default. Or another objective, as a value or a text.
        title
            Of the progress bar.
        keep_screening
            Whether the screening that a race needs is stored, too.

        Returns
        -------
        list of int
            The maps that had not been searched this way before; [0] for another objective.
        """
        if isinstance(maps, Objective) or (isinstance(maps, str) and ":" in maps):
            return self._search_objective(spec, maps, title)
        indices = self.check_maps(maps)
        self.train()
        searched = self.store.scanned_maps(self.layer.id, spec.sha256)
        missing = [map for map in indices if map not in searched]
        if not missing:
            return missing
        starts = {}
        if isinstance(spec, ScanSpec) and spec.strategy == "race" and not spec.responding:
            from ..search.scan import race_starts

            screening = (
                rows.screening_of(screenings.screened(self, spec.screening))
                if keep_screening
                else screenings.not_stored(self, spec.screening)
            )
            starts = dict(zip(missing, race_starts(spec, missing, screening), strict=True))
        kind = "select" if spec.origin == "selection" else "derive"
        with self.running(kind, spec) as run_id:

            def keep(maps: tuple[int, ...], scans: list[search.MapScan]) -> None:
                scan_rows = [rows.scan_row(scan, spec, self.layer, run_id) for scan in scans]
                found = [rows.oip_rows(scan, spec, self.layer, run_id) for scan in scans]
                self.store.add_scans(scan_rows, [oip for of_map in found for oip in of_map])

            self.carry_out(searching(self, spec, missing, starts, keep), title, "maps")
        return missing

    def _search_objective(
        self, spec: TrialSpec | ScanSpec, what: Objective | str, title: str
    ) -> list[int]:
        """The mean of a map is that map of its layer, and is searched as the layer's others."""
        self.train()
        objective = self.objective(what)
        if not isinstance(objective, Channel):
            return objectives.search(self, spec, objective, title)
        of_layer = self.part(self.spec.replace(layer=objective.layer), self.network.id)
        return of_layer.search(spec, [objective.map], title)

    def _hard_to_excite(
        self, spec: ScanSpec, maps: Maps | Objective
    ) -> dict[str | None, Maps | Objective]:
        """The maps for which a race's steps may be too large, by what leads them.

        A map without any response may have one only in a corner of the image, from which the
        mean of its pre-activation leads away; so its largest leads it, too.
        """
        if isinstance(maps, Objective) or (isinstance(maps, str) and ":" in maps):
            objective = self.objective(maps)
            layer = objectives.layer_of(self, objective)
            scans = self.store.scans(layer.id, spec.sha256, objective=str(objective))
            return {None: objective} if any(_gained_little(scan.rungs) for scan in scans) else {}
        asked = set(self.check_maps(maps))
        only = next(iter(asked)) if len(asked) == 1 else None
        scans = self.store.scans(self.layer.id, spec.sha256, only)
        hard = {scan.map: scan for scan in scans if _gained_little(scan.rungs)}
        silent = [map for map, scan in hard.items() if not scan.rungs[-1].losses.any()]
        return {
            None: sorted(asked.intersection(hard)),
            "peak pre-activation": sorted(asked.intersection(silent)),
        }

    def _screening_spec(self, grid: GridSpec | None) -> ScreeningSpec:
        spec = self.spec.scan.screening
        return spec if grid is None else spec.replace(grid=grid)


def searching(
    study: Computing,
    spec: TrialSpec | ScanSpec,
    maps: Sequence[int],
    starts: Mapping[int, np.ndarray],
    keep: Callable[[tuple[int, ...], list[search.MapScan]], None],
) -> Work[int]:
    """The search for some maps as units of work.

    Parameters
    ----------
    starts
        For each map the patterns that race, if the search needs them.
    keep
        Takes maps and what was found for them.
    """
    from ..search.scan import units_of

    layer = study.layer
    return Work(
        name=f"search|{study.network.sha256}|{layer.name}|{spec.sha256}",
        subject=study.subject,
        groups=[
            tuple(group) for group in units_of(study.engine, spec, maps, study.executor.n_workers)
        ],
        unit=lambda group: SearchUnit(
            layer.name, spec, group, tuple(starts[map] for map in group if map in starts)
        ),
        keep=keep,
        stored=lambda: study.store.scanned_maps(layer.id, spec.sha256),
    )


def _gained_little(rungs: Sequence[Rung | search.Rung]) -> bool:
    first, *_, last = (rung.losses.max() for rung in rungs)
    return not last > _LEAST_GAIN * max(first, 0)


def _asked_last(store: Store, network: int) -> StudySpec:
    """What was asked of a network last; else the articles' searches of its last layer of maps."""
    asked = store.last_study(network)
    if asked is not None:
        return StudySpec.from_dict(asked)
    row = store.network(network)
    spec = StudySpec() if row.spec is None else StudySpec(cnn=CnnSpec.from_dict(row.spec))
    if spec.layer in [layer.name for layer in row.layers]:
        return spec
    spatial = [layer for layer in row.layers if layer.map_height * layer.map_width > 1]
    if not row.layers:
        raise OipError(f"network {network} ({row.name}) has no layer with maps")
    return spec.replace(layer=(spatial or row.layers)[-1].name)
