"""What a study computes with: network, engine and data set, and the runs that it notes."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import InputError, OipError
from ..store import Network, Store
from ..values import Maps, Spec, StudySpec, map_list
from . import networks
from .read import Findings
from .runs import running

if TYPE_CHECKING:
    from ..engine.layers import LayerMaps


class Computing(Findings):
    """Findings that can grow: the network and its engine beside what is stored.

    Attributes
    ----------
    data
        Folder where to look for the data set's files first.
    is_part
        Whether another study needs this one. Then it isn't noted as what was asked.
    """

    data: str | os.PathLike[str] | None
    is_part: bool

    def __init__(
        self,
        store: Store,
        spec: StudySpec,
        network: int | None = None,
        data: str | os.PathLike[str] | None = None,
    ) -> None:
        vars(self).update(data=data, is_part=False)
        super().__init__(store, spec, network)

    def train(self) -> Network:
        """The network with its weights: the stored one, or trained now."""
        if not self.is_trained:
            networks.train(self.store, self.spec.cnn, self.dataset())
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
        from ..engine.layers import LayerMaps

        return LayerMaps(self.model, self.spec.layer)

    def dataset(self) -> Any:
        """The data set of the network's training.

        Raises
        ------
        InputError
            If the network came without one, or the file is no longer the one it was trained on.
        """
        from ..engine import data

        if not self.is_trained:
            return data.load(self.spec.cnn.dataset, self.data)
        network = self.network
        if network.spec is None:
            raise InputError(f"network {network.id} ({network.name}) came as a model, without data")
        if network.spec_sha256 not in networks.training_keys(self.spec.cnn):
            raise InputError(
                f"{self.spec.cnn.dataset} isn't the file that network {network.id} was trained on"
            )
        return data.load(self.spec.cnn.dataset, self.data)

    def running(self, kind: str, spec: Spec | None = None) -> AbstractContextManager[int]:
        """Note in the database that work goes on, and how it ended; gives the run's id."""
        return running(self.store, kind, spec)

    def note_asked(self) -> None:
        """Note the spec as the one that was asked last of its network, unless it is already."""
        spec = self.spec.to_dict()
        if not self.is_part and self.store.last_study(self.network.id) != spec:
            # A database that can't be written keeps no note. What must be stored fails by itself.
            with suppress(OipError):
                self.store.put_study(self.network.id, spec, self.spec.sha256)
