"""The database: every network, run, screening, scan and OIP. Knows nothing of TensorFlow."""

from .database import OipFilter, Store, database_url
from .merge import merge
from .models import Layer, Network, Oip, Reaction, Run, Rung, Scan, Screening

__all__ = [
    "Layer",
    "Network",
    "Oip",
    "OipFilter",
    "Reaction",
    "Run",
    "Rung",
    "Scan",
    "Screening",
    "Store",
    "database_url",
    "merge",
]
