"""What is stored of one network and one of its layers: read, never computed, never trained."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

from ..errors import InputError, OipError
from ..store import ORIGINS, Layer, Network, Oip, OipFilter, Oips, Scan, Store
from ..values import (
    FluctuationStart,
    Inputs,
    Maps,
    Objective,
    Prior,
    ScanSpec,
    StudySpec,
    TrialSpec,
    check_objective,
    map_list,
    objective_of,
    resolved,
)
from .networks import training_key

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Summary:
    """What a study has found so far.

    Attributes
    ----------
    accuracy
        On the test images, in [0, 1]; None where the network came without data.
    found
        Origin -> the maps whose first OIP has it. A map that only article X finds an OIP for,
        beside a race, is in none of them.
    silent
        Maps that were searched and have no OIP.
    n_oips
        How many OIPs the maps have.

    Examples
    --------
    >>> Summary(None, {"fluctuation": [0, 2]}, [1], 5).text
    '5 OIPs; maps with an OIP: 2 (2 by fluctuation); searched without finding one: 1'
    """

    accuracy: float | None
    found: dict[str, list[int]]
    silent: list[int]
    n_oips: int

    @property
    def text(self) -> str:
        """All of it in a line."""
        by_origin = ", ".join(f"{len(maps)} by {name}" for name, maps in self.found.items() if maps)
        n_found = sum(map(len, self.found.values()))
        score = "" if self.accuracy is None else f"{self.accuracy:.2%} of the test images right; "
        return (
            f"{score}{self.n_oips} OIPs; maps with an OIP: {n_found}"
            + (f" ({by_origin})" if by_origin else "")
            + f"; searched without finding one: {len(self.silent)}"
        )

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.text)}</p>"


class Findings:
    """What is stored of one network and one of its layers.

    Nothing here computes, trains or writes. Network, layer and specs are fixed when it is
    made: to ask something else, make another one.

    Attributes
    ----------
    store : Store
    spec : StudySpec
    data
        Folder where to look for the data set's files first, or the file itself.
    """

    store: Store
    spec: StudySpec
    data: str | os.PathLike[str] | None

    def __init__(
        self,
        store: Store,
        spec: StudySpec,
        network: int | None = None,
        data: str | os.PathLike[str] | None = None,
    ) -> None:
        vars(self).update(store=store, spec=spec, data=data, _network_id=network)
        if network is not None:
            stored = self.network.spec
            if stored is not None and type(spec.cnn).from_dict(stored) != spec.cnn:
                raise InputError(
                    f"network {network} ({self.network.name}) was trained by another spec than "
                    "the study's: leave out one of the two"
                )

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a study is fixed when it is made: {name} can't be set; see replace")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a study is fixed when it is made: {name} can't be deleted")

    @property
    def text(self) -> str:
        """What it is of, and what it has found, in a line."""
        of = f"study of {self.spec.layer} in {self.store.name}"
        if not self.is_trained:
            return f"{of}: its network isn't trained yet"
        network = self.network
        return f"{of}, network {network.id} ({network.name}): {self.summary()}"

    def __repr__(self) -> str:
        return f"<{self.text}>"

    def _repr_html_(self) -> str:
        """A notebook shows what it has found, with the best OIPs."""
        found = self.oips(best=True)._repr_html_() if self.is_trained else ""
        return f"<p>{escape(self.text)}</p>{found}"

    def query(self, sql: str, **parameters: Any) -> pd.DataFrame:
        """What a query in SQL finds in the study's database; see `Store.query`.

        Examples
        --------
        ::

            study.query("SELECT map, loss FROM best_oips WHERE layer = :layer", layer="Conv2D_3")
        """
        return self.store.query(sql, **parameters)

    # --- network and layer ---

    @property
    def is_trained(self) -> bool:
        """Whether the network is stored already."""
        return self._stored_network_id() is not None

    @cached_property
    def network(self) -> Network:
        """The stored network with its weights.

        Raises
        ------
        OipError
            If it isn't trained yet.
        """
        network = self._stored_network_id()
        if network is None:
            raise OipError(
                f"{self.store.name} has no such network yet: train it with 'oip train' or "
                "Study.train(), or fill the database with 'oip reproduce'"
            )
        return self.store.network(network)

    @cached_property
    def layer(self) -> Layer:
        """The studied layer of the network."""
        return self.store.layer(self.network.id, self.spec.layer)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Of the images that the network takes: (height, width, channels)."""
        network = self.network
        return network.image_height, network.image_width, network.image_channels

    @property
    def inputs(self) -> Inputs:
        """What images the network takes."""
        return Inputs.parse(self.network.inputs)

    @property
    def has_data(self) -> bool:
        """Whether the network has a data set: the one it was trained on, or one that was joined."""
        return self.network.dataset is not None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the data set's classes, in the order of their numbers; empty if unknown."""
        return tuple(map(str, (self.network.dataset or {}).get("classes", ())))

    @property
    def noun(self) -> str:
        """What one of the data set's images shows, in a word: ``image`` if it has none."""
        return str((self.network.dataset or {}).get("noun", "image"))

    def objective(self, asked: Objective | str) -> Objective:
        """An objective of the network, given as a value or a text, classes by number.

        Raises
        ------
        InputError
            If the text names none, or the network has no such layer, map or class.
        """
        shapes = {
            layer.name: (layer.map_height, layer.map_width, layer.n_maps)
            for layer in self.network.layers
        }

        def number_of(layer: str, name: str) -> int:
            names = self.class_names
            if not names:
                raise InputError(
                    f"{layer}:{name}: the names of the classes aren't known here, so name a map "
                    "or unit by its number"
                )
            if shapes.get(layer, (1, 1, len(names))) != (1, 1, len(names)):
                raise InputError(
                    f"{layer}:{name}: {layer} isn't a layer of {len(names)} classes, so name its "
                    "map or unit by its number"
                )
            if name not in names:
                raise InputError(
                    f"{layer}: there is no class {name!r}: choose one of {', '.join(names)}"
                )
            return names.index(name)

        objective = resolved(objective_of(asked), number_of)
        check_objective(objective, shapes)
        return objective

    @property
    def is_screened(self) -> bool:
        """Whether the screening of the scan's grid is stored already."""
        spec = self.spec.scan.screening
        whole = (0, spec.grid.n_patterns)
        return self.store.screening(self.layer.id, spec.sha256, whole) is not None

    def check_maps(self, maps: Maps = None) -> list[int]:
        """The named maps, or all of the layer.

        Before the training the spec tells which there will be.

        Raises
        ------
        InputError
            If a map doesn't exist.
        """
        if self.is_trained:
            n_maps: int | None = self.layer.n_maps
        else:
            n_maps = self.spec.cnn.n_maps_of(self.spec.layer)
        if n_maps is None:
            raise OipError(f"how many units {self.spec.layer} has is known after the training")
        return map_list(maps, n_maps, self.spec.layer)

    # --- OIPs and searches ---

    def oips(
        self,
        maps: Maps = None,
        best: bool = False,
        prior: Prior | str = "none",
        objective: Objective | str | None = None,
        layer: str | None = None,
        origin: str | Sequence[str] | None = None,
    ) -> Oips:
        """The stored OIPs of the layer's maps, or of some, or of another objective.

        They are a list with some abilities: ``study.oips(120).best()`` is one OIP,
        ``.frame()`` and ``.traces()`` are pandas tables, and a notebook shows all as pictures.

        Parameters
        ----------
        maps
            Which maps, such as ``120`` or ``"0-7,120"``; all by default.
        best
            Only the one with the largest loss of each, among those that are asked for.
        prior
            By which they were led; by default, by none.
        objective
            Those of an objective, whatever its layers.
        layer
            Another layer of the network than the study's.
        origin
            Where they come from: ``fluctuation``, ``pattern``, ``revival``, or several of these.

        Returns
        -------
        Oips
            By map, the largest loss first.

        Raises
        ------
        InputError
            If there is no such map, layer, origin or objective, or an objective is named beside
            maps or a layer.

        Examples
        --------
        ::

            study.oips("0-7", origin="pattern", prior="smooth").frame()
        """
        if objective is not None and (maps is not None or layer is not None):
            raise InputError("an objective names its layers and maps itself: leave the others out")
        origins = ORIGINS if origin is None else (origin,) if isinstance(origin, str) else origin
        for unknown in set(origins).difference(ORIGINS):
            raise InputError(f"unknown origin {unknown!r}: choose one of {', '.join(ORIGINS)}")
        asked = OipFilter(network=self.network.id, best=best and origin is None, prior=prior)
        if objective is not None:
            asked = replace(asked, objective=self.objective(objective))
        else:
            of = self.layer if layer is None else self.store.layer(self.network.id, layer)
            asked = replace(asked, maps=map_list(maps, of.n_maps, of.name), layer=of.name)
        found = [oip for oip in self.store.oips(asked) if oip.origin in origins]
        if best:  # they come with the largest loss of each first
            found = list({oip.objective: oip for oip in reversed(found)}.values())[::-1]
        return Oips(found)

    def oips_of_trials(self) -> Oips:
        """The OIPs that the study's own trials found, not those of other trials."""
        trials = self.spec.trials

        def is_ours(oip: Oip) -> bool:
            start = oip.start
            return (
                isinstance(start, FluctuationStart)
                and start.fluctuation == trials.fluctuation
                and start.trial < trials.n_trials
                and oip.spec_sha256 == trials.climb.sha256
            )

        return Oips(oip for oip in self.oips() if is_ours(oip))

    def rows(
        self, maps: Maps = None, best: bool = False, prior: Prior | str = "none"
    ) -> list[dict[str, Any]]:
        """OIPs of the layer's maps, or of some, as plain values without their arrays."""
        return self.store.oip_rows(self._filter(self.check_maps(maps), best, prior))

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

    def summary(self, maps: Maps = None) -> Summary:
        """What has been found so far for the maps, by any search.

        Which search led to the first OIP of a map is told of our own. Where that is a race, what
        article X finds beside it (`StudySpec.article_scan`) changes no origin.
        """
        indices = self.check_maps(maps)
        rows = self.rows(indices)
        beside = self.spec.article_scan.climb.sha256 if self.spec.scan.strategy == "race" else ""
        first: dict[str, list[int]] = {origin: [] for origin in ORIGINS}
        seen: set[int] = set()
        for origin, of_origin in first.items():
            found = [row for row in rows if row["origin"] == origin]
            if origin == "pattern":
                found = [row for row in found if row["spec_sha256"] != beside]
            of_origin.extend(sorted({row["map"] for row in found} - seen))
            seen.update(of_origin)
        with_oip = {row["map"] for row in rows}
        silent = sorted(set(self.searched_maps()).intersection(indices) - with_oip)
        return Summary(self.network.accuracy, first, silent, len(rows))

    def searched_maps(self) -> list[int]:
        """The maps that any search for OIPs has been finished for."""
        return sorted({map for map, _ in self.store.scan_keys(self.layer.id)})

    def fingerprint(self) -> str:
        """A hash of what is stored about the network."""
        rows = self.store.oip_rows(OipFilter(network=self.network.id))
        scans = self.store.scan_keys(self.layer.id)
        return self._hash(rows, scans, self.store.answering_runs(self.layer.id))

    def fingerprints(self, maps: Sequence[int]) -> dict[int, str]:
        """Map -> a hash of what its page shows: its OIPs, and the best of all others."""
        best, runs = self.rows(best=True), self.store.answering_runs(self.layer.id)
        own: dict[int, list[dict[str, Any]]] = {map: [] for map in maps}
        for row in self.rows(maps):
            own[row["map"]].append(row)
        return {
            map: self._hash([*own[map], *best], self.store.scan_keys(self.layer.id, map), runs)
            for map in maps
        }

    def _hash(self, rows: Sequence[dict[str, Any]], scans: object, runs: object) -> str:
        losses = [(row["id"], row["map"], row["loss"]) for row in rows]
        made_from = self.network.sha256, self.network.dataset, self.spec.sha256, losses, scans, runs
        return hashlib.sha256(repr(made_from).encode()).hexdigest()

    def _filter(self, maps: Sequence[int], best: bool, prior: Prior | str) -> OipFilter:
        return OipFilter(maps, self.layer.name, self.network.id, best, prior=prior)

    def _stored_network_id(self) -> int | None:
        if "network" in vars(self):
            return self.network.id
        if self._network_id is not None:
            return self._network_id
        return self.store.trained_by(training_key(self.spec.cnn, self.data))

    _network_id: int | None
