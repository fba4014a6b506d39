"""What a database holds, in numbers."""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import func, select

from . import schema
from .answers import Baseline, Condition, Correspondence, Null, Reaction, Variety
from .find import OipFinder
from .sound import all_rows
from .tables import Network, Oip, Run, Scan, Screening, StoredStudy

Row = dict[str, Any]

_COUNTED = {
    "studies": StoredStudy,
    "runs": Run,
    "screenings": Screening,
    "searches": Scan,
    "OIPs": Oip,
    "reactions to images": Reaction,
    "nulls of layers": Null,
    "maps restarted": Variety,
    "pairs of layers compared": Correspondence,
    "layers beside untrained networks": Baseline,
    "OIPs put to the test": Condition,
}


def contents(store: OipFinder) -> Row:
    """What a database holds.

    Parameters
    ----------
    store : Store

    Returns
    -------
    dict
        ``database``; its size in ``bytes``, None on a server; ``schema``; ``networks`` and
        ``layers``, a dict each; and how many rows of each kind are ``stored``.

    Examples
    --------
    >>> from oiplib import Store
    >>> contents(Store("sqlite://", create=True))["networks"]
    []
    """
    with store.session() as session:
        networks = all_rows(session, select(Network).order_by(Network.id))
        of_layers = select(
            Oip.layer_id, func.count(Oip.id), func.count(func.distinct(Oip.map))
        ).group_by(Oip.layer_id)
        found = {id: (n, n_maps) for id, n, n_maps in session.execute(of_layers)}
        stored = {
            name: session.scalar(select(func.count()).select_from(table))
            for name, table in _COUNTED.items()
        }
    return {
        "database": store.name,
        "bytes": os.path.getsize(store.name) if store.is_file else None,
        "schema": schema.NUMBER,
        "networks": [
            {
                "network": network.id,
                "name": network.name,
                "images": f"{network.image_height}x{network.image_width}x"
                f"{network.image_channels}, {network.inputs}",
                "test accuracy": network.accuracy,
                "created": network.created.isoformat(timespec="seconds"),
            }
            for network in networks
        ],
        "layers": [
            {
                "network": network.id,
                "layer": layer.name,
                "maps": layer.n_maps,
                "with an OIP": found.get(layer.id, (0, 0))[1],
                "OIPs": found.get(layer.id, (0, 0))[0],
            }
            for network in networks
            for layer in network.layers
        ],
        "stored": stored,
    }
