"""What a study computes with: network, engine and data set, and the runs that it notes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import InputError, OipError
from ..progress import bar
from ..store import Network, Store
from ..values import Maps, Objective, Spec, StudySpec, map_list
from . import networks
from .executors import Executor, Here
from .read import Findings
from .runs import running
from .units import PackedNetwork, Subject
from .work import LOOK_ELSEWHERE, Item, Work, carry_out

if TYPE_CHECKING:
    import numpy as np

    from ..engine.layers import LayerMaps
    from ..engine.objectives import Target


class Computing(Findings):
    """Findings that can grow: the network and its engine beside what is stored.

    Attributes
    ----------
    is_part
        Whether another study needs this one. Then it isn't noted as what was asked.
    executor
        Where units of work are computed.
    """

    is_part: bool
    executor: Executor

    def __init__(
        self,
        store: Store,
        spec: StudySpec,
        network: int | None = None,
        data: str | os.PathLike[str] | None = None,
        executor: Executor | None = None,
    ) -> None:
        vars(self).update(is_part=False, executor=executor or Here())
        super().__init__(store, spec, network, data)

    def train(self) -> Network:
        """The network with its weights: the stored one, or trained now."""
        if not self.is_trained:
            networks.train(self.store, self.executor, [self.spec.cnn], self.dataset(), self.data)
        self.note_asked()
        return self.network

    def check_maps(self, maps: Maps = None) -> list[int]:
        """As `Findings.check_maps`; where the data decide how many units there will be, asks them.

        Nothing is trained for that.
        """
        if self.is_trained or self.spec.cnn.n_maps_of(self.spec.layer) is not None:
            return super().check_maps(maps)
        from ..engine import layers, network

        data = self.dataset()
        model = network.build(self.spec.cnn, data.train_images.shape[1:], data.n_classes)
        n_units = layers.map_layers(model)[self.spec.layer][-1]
        return map_list(maps, n_units, self.spec.layer)

    @cached_property
    def model(self) -> Any:
        """The Keras model, rebuilt from the database alone."""
        from ..engine import network

        return network.unpack(self.network.architecture, self.network.weights)

    @cached_property
    def engine(self) -> LayerMaps:
        """The layer's maps as a function of images."""

        return self.engine_of(self.spec.layer)

    @property
    def subject(self) -> Subject:
        """The network as units of work take it."""

        def packed() -> PackedNetwork:
            row = self.network
            return PackedNetwork(row.architecture, row.weights, row.inputs)

        return Subject(self.network.sha256, lambda: self.engine_of, packed)

    def carry_out(
        self,
        work: Work[Item],
        title: str,
        counted: str,
        size: Callable[[Item], int] = lambda item: 1,
        done: int = 0,
    ) -> None:
        """Compute units of work and store them, with a progress bar.

        Parameters
        ----------
        work
            What is to be done.
        title, counted
            Of the bar: what is done, and what is counted.
        size
            How many of these an item is.
        done
            How many were done earlier.
        """
        total = done + sum(size(item) for group in work.groups for item in group)
        with bar(total, title, counted, done) as progress:
            carry_out(self.executor, self.store, work, progress, size)

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """While this goes on, no other driver of the database does the same; waits for one.

        Parameters
        ----------
        what
            What is done; the network and the layer needn't be named.
        """
        with self.store.leases() as leases:
            text = f"{what}|{self.network.sha256}|{self.layer.name}"
            while not leases.take(text):
                time.sleep(LOOK_ELSEWHERE)
            yield

    def target(self, objective: Objective) -> Target:
        """An objective as a function of images."""
        from ..engine.objectives import Target

        return Target(objective, self.engine_of)

    def engine_of(self, layer: str) -> LayerMaps:
        """The maps of any of the network's layers as a function of images."""
        from ..engine.layers import LayerMaps

        key = self.network.id, layer
        if key not in self._engines:
            self._engines[key] = LayerMaps(self.model, layer, self.inputs)
        return self._engines[key]

    @cached_property
    def _engines(self) -> dict[tuple[int, str], LayerMaps]:
        """By network and layer; all studies that come from one share them, see `Study.part`."""
        return {}

    def dataset(self) -> Any:
        """The data set of the network: the one it was trained on, or one that was joined.

        Raises
        ------
        InputError
            If the network has none, or what is found isn't the one that it names.
        """
        from ..engine import data

        if not self.is_trained:
            return data.load(self.spec.cnn.dataset, self.data)
        network = self.network
        if network.dataset is None:
            raise InputError(
                f"network {network.id} ({network.name}) came as a model, without data: join some "
                "with 'oip train --model FILE --dataset DATA'"
            )
        source = str(network.dataset.get("source"))
        dataset = data.load(source, self.data)
        if network.dataset.get("sha256") != dataset.sha256:
            found_at = networks.found_at(source, self.data)
            raise InputError(
                f"{found_at} isn't the data set of network {network.id} ({network.name}): its "
                "content is another; name the right one with --data"
            )
        return dataset

    def inputs_of(self, pixels: np.ndarray, pixel_range: tuple[float, float]) -> np.ndarray:
        """A data set's images as the network takes them."""
        from ..engine.images import to_inputs

        return to_inputs(pixels, self.inputs, pixel_range)

    def running(self, kind: str, spec: Spec | None = None) -> AbstractContextManager[int]:
        """Note in the database that work goes on, and how it ended; gives the run's id."""
        return running(self.store, kind, spec)

    def note_asked(self) -> None:
        """Note the spec as the one that was asked last of its network, unless it is already."""
        spec = self.spec.to_dict()
        last = self.store.last_study(self.network.id)
        if not self.is_part and (last is None or StudySpec.from_dict(last) != self.spec):
            # A database that can't be written keeps no note. What must be stored fails by itself.
            with suppress(OipError):
                self.store.put_study(self.network.id, spec, self.spec.sha256)
