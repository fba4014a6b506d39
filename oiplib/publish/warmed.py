"""Imported last by the process that kernels are copies of: what is slow the first time is done.

Matplotlib looks for its fonts and learns to set formulas; SQLAlchemy gets to know our tables. Each
page needs both, and finds both done. No thread is started.
"""

from __future__ import annotations

from contextlib import closing, suppress

import numpy as np

from ..store import OipFilter, Store
from .plots import reactions

# What fails here fails again in the page that needs it, which can say so.
with suppress(Exception):
    edges, counts = np.geomspace(1e-3, 100, 11), np.arange(10)
    reactions(edges, counts, 1, np.linspace(0, 1, 10), "0123456789")._repr_html_()

with suppress(Exception), closing(Store("sqlite://", create=True)) as store:
    store.oips(OipFilter())
    store.oip_rows(OipFilter())
