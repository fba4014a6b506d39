"""Make stored OIPs again from their recorded numbers alone, and compare.

Start, ascent and weights come from the database; nothing else is needed. On the machine that
made an OIP, with the same versions and as many threads, its bytes are the same. Elsewhere
rounding may differ, and an ascent of hundreds of steps can make that visible.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import OipError
from ..progress import bar
from ..store import Oip, Store
from ..values import (
    Channel,
    may_take,
    objective_of,
    seed_of,
    stages_of,
)
from .runs import environment
from .study import Study

if TYPE_CHECKING:
    from ..engine.objectives import Responding

# OIPs whose frames are in memory at a time.
_GROUP = 512

# A loss of 0 can't be divided by.
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Replay:
    """An OIP made again, beside the stored one.

    Attributes
    ----------
    id : int
    objective : str
        What it excites.
    loss, loss_now : float
    pixel_difference : float
        The largest between the two images, in the unit of the network's inputs.
    correlation : float
        Of the two images, in [-1, 1].
    same_bytes : bool
        Whether image, loss and whole trace are equal, byte for byte.
    """

    id: int
    objective: str
    loss: float
    loss_now: float
    pixel_difference: float
    correlation: float
    same_bytes: bool

    @property
    def loss_difference(self) -> float:
        """Relative to the stored loss."""
        return abs(self.loss_now - self.loss) / max(abs(self.loss), _SMALLEST)

    def holds(self, tolerance: float = 0.0) -> bool:
        """Whether the bytes are the same, or else loss and image within a tolerance.

        That is the largest relative difference of the losses, and distance of the images'
        correlation from 1, that still passes; 0 asks for equal bytes.
        """
        difference = max(self.loss_difference, 1 - self.correlation)
        return self.same_bytes or 0 < tolerance >= difference


def replay(store: Store, ids: Sequence[int]) -> Iterator[Replay]:
    """Make OIPs again, in batches of those that went through the same ascents.

    Parameters
    ----------
    store
        The database.
    ids
        Of the OIPs.

    Raises
    ------
    InputError
        If there is no such OIP.
    """
    same_climb: dict[tuple[int, str, str, str], list[int]] = {}
    for id, network, layer, objective, spec in store.oip_origins(ids):
        # All maps of a layer climb together; another objective is alone.
        alone = "" if isinstance(objective_of(objective), Channel) else objective
        climb = json.dumps(spec, sort_keys=True)
        same_climb.setdefault((network, layer, alone, climb), []).append(id)
    studies: dict[tuple[int, str], Study] = {}
    with bar(len(ids), "Replay", "OIPs") as progress:
        for (network, layer, alone, _), group in same_climb.items():
            if (network, layer) not in studies:
                studies[network, layer] = Study(store, network=network, layer=layer)
            study = studies[network, layer]
            engine = study.target(objective_of(alone)) if alone else study.engine
            for i in range(0, len(group), _GROUP):
                oips = [store.oip(id) for id in group[i : i + _GROUP]]
                yield from _again(engine, oips)
                progress.update(len(oips))


def differences(store: Store, ids: Sequence[int]) -> dict[str, tuple[Any, Any]]:
    """In what the machines differ: name -> (where an OIP was made, here)."""
    here = environment()
    differing: dict[str, tuple[Any, Any]] = {}
    for there in store.environments(ids):
        for name in here:
            if name != "git_commit" and there.get(name) != here[name]:
                differing[name] = there.get(name), here[name]
    return differing


def _again(engine: Responding, oips: Sequence[Oip]) -> Iterator[Replay]:
    from ..engine.ascent import climb
    from ..engine.fluctuations import joining
    from ..engine.starts import start_images

    for oip in oips:
        _check_steps(oip)
    starts = [oip.start for oip in oips]
    images = start_images(starts, engine.image_shape, engine.inputs)
    maps = np.array([oip.map or 0 for oip in oips])
    seeds = np.array([seed_of(start) for start in starts], np.uint64)
    ascents = climb(
        engine,
        images,
        maps,
        stages_of(oips[0].spec),
        seeds=seeds,
        joining=joining(starts, engine.image_shape),
    )
    for i, oip in enumerate(oips):
        trace = ascents.traces[i, : ascents.steps[i] + 1]
        yield Replay(
            id=oip.id,
            objective=oip.objective,
            loss=oip.loss,
            loss_now=float(ascents.losses[i]),
            pixel_difference=float(np.abs(ascents.images[i] - oip.image).max()),
            correlation=float(np.corrcoef(ascents.images[i].ravel(), oip.image.ravel())[0, 1]),
            same_bytes=float(ascents.losses[i]) == oip.loss
            and trace.tobytes() == oip.trace.tobytes()
            and ascents.images[i].tobytes() == oip.image.tobytes(),
        )


def _check_steps(oip: Oip) -> None:
    """Raise `OipError` if an OIP's ascents have other steps than it; they could ask for years."""
    stages = stages_of(oip.spec)
    if len(oip.trace) != oip.steps + 1 or not may_take(stages, oip.steps, oip.stop_reason):
        n_steps = sum(stage.n_epochs - 1 for stage in stages)
        raise OipError(f"{oip.row_name}: it took {oip.steps} steps, and its ascents have {n_steps}")
