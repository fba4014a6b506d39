"""Some OIPs: the best of them, tables of them, their pictures."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from ..errors import OipError
from .tables import ROW_FIELDS, Oip

if TYPE_CHECKING:
    import pandas as pd


class Oips(list[Oip]):
    """Some OIPs, in order; a notebook shows them as pictures."""

    _SHOWN = 64

    def best(self) -> Oip:
        """The one with the largest loss.

        Raises
        ------
        OipError
            If there is none.
        """
        if not self:
            raise OipError("there are no OIPs here: find some with derive()")
        return max(self, key=lambda oip: oip.loss)

    def frame(self) -> pd.DataFrame:
        """A row for each OIP, without its arrays; `start` numbers as ``pattern`` and ``trial``."""
        import pandas as pd

        rows = [oip.row() for oip in self]
        table = pd.DataFrame(rows, columns=list(ROW_FIELDS)).drop(columns=["start", "spec"])
        for name, key in (("pattern", "index"), ("trial", "trial")):
            table[name] = pd.array([row["start"].get(key) for row in rows], dtype="Int64")
        table["created"] = pd.to_datetime(table["created"], utc=True)
        return table

    def traces(self) -> pd.DataFrame:
        """A row for each step of each OIP: ``id``, ``map``, ``step``, ``loss``."""
        import numpy as np
        import pandas as pd

        n = [len(oip.trace) for oip in self]
        return pd.DataFrame(
            {
                "id": np.repeat([oip.id for oip in self], n),
                "map": np.repeat([oip.map for oip in self], n),
                "step": np.concatenate([np.arange(k) for k in n] or [np.empty(0, int)]),
                "loss": np.concatenate([oip.trace for oip in self] or [np.empty(0, np.float32)]),
            }
        )

    def _repr_html_(self) -> str:
        from ..pictures import data_uri

        cells = "".join(
            '<figure style="margin:0;width:92px">'
            f'<img src="{data_uri(oip.image, inputs=oip.inputs)}" '
            f'alt="{escape(oip.caption)}" title="{escape(oip.caption)}" width="84" '
            'style="image-rendering:pixelated"><figcaption style="font-size:0.75rem">'
            f"OIP {oip.id}, {escape(oip.objective)}<br>loss {oip.loss:.3g}</figcaption></figure>"
            for oip in self[: self._SHOWN]
        )
        more = len(self) - self._SHOWN
        rest = f"<p>and {more} more</p>" if more > 0 else ""
        return f'<div style="display:flex;flex-wrap:wrap;gap:8px">{cells}</div>{rest}'
