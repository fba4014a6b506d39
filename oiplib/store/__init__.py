"""The database: every network, run, screening, scan and OIP. Knows nothing of TensorFlow."""

from .address import database_url
from .answers import Baseline, Condition, Correspondence, Null, Reaction, Variety
from .arrays import Array
from .contents import contents
from .database import Store
from .find import ORDERS, ORIGINS, OipFilter
from .leases import Leases
from .merge import merge
from .oips import Oips
from .sound import check_environment, check_name, check_target
from .sqlite import sqlite_versions
from .tables import ROW_FIELDS, Layer, Network, Oip, Run, Rung, Scan, Screening, StoredStudy
from .views import VIEWS

__all__ = [
    "ORDERS",
    "ORIGINS",
    "ROW_FIELDS",
    "VIEWS",
    "Array",
    "Baseline",
    "Condition",
    "Correspondence",
    "Layer",
    "Leases",
    "Network",
    "Null",
    "Oip",
    "OipFilter",
    "Oips",
    "Reaction",
    "Run",
    "Rung",
    "Scan",
    "Screening",
    "Store",
    "StoredStudy",
    "Variety",
    "check_environment",
    "check_name",
    "check_target",
    "contents",
    "database_url",
    "merge",
    "sqlite_versions",
]
