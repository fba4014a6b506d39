"""Progress bars: on terminals only, and only for work that takes more than two seconds."""

from __future__ import annotations

import sys
from typing import Any


class Silent:
    """A progress bar that shows nothing."""

    def update(self, n: int = 1) -> None:
        """Do nothing."""

    def set_postfix(self, **told: Any) -> None:
        """Do nothing."""


SILENT = Silent()


def bar(total: int, title: str, unit: str, done: int = 0) -> Any:
    """A progress bar with a rate and the time left; without a title or a terminal it is silent.

    Parameters
    ----------
    total
        The number of units of work.
    title, unit
        What is done, and what is counted.
    done
        How many of the units were done earlier. They don't count for the rate.
    """
    is_shown = bool(title) and sys.stderr is not None and sys.stderr.isatty()
    from tqdm import tqdm  # not on the way to a query

    return tqdm(
        total=total,
        initial=done,
        desc=title,
        unit=f" {unit}",
        delay=2,
        leave=False,
        disable=not is_shown,
        dynamic_ncols=True,
        smoothing=0.1,
    )
