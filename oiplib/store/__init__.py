"""The database: every network, run, screening, scan and OIP. Knows nothing of TensorFlow."""

from .database import OipFilter, Store, check_name, database_url
from .merge import merge
from .models import (
    ROW_FIELDS,
    Correspondence,
    Layer,
    Network,
    Oip,
    Reaction,
    Run,
    Rung,
    Scan,
    Screening,
    Variety,
)
from .oips import Oips
from .views import VIEWS

__all__ = [
    "ROW_FIELDS",
    "VIEWS",
    "Correspondence",
    "Layer",
    "Network",
    "Oip",
    "OipFilter",
    "Oips",
    "Reaction",
    "Run",
    "Rung",
    "Scan",
    "Screening",
    "Store",
    "Variety",
    "check_name",
    "database_url",
    "merge",
]
