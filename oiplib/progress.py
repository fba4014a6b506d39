"""Progress bars: on terminals only, and only for work that takes more than two seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Silent:
    """A progress bar that shows nothing."""

    def update(self, n: int = 1) -> None:
        """Do nothing."""

    def set_postfix(self, **told: Any) -> None:
        """Do nothing."""


SILENT = Silent()

_is_silenced = False


@contextmanager
def silenced() -> Iterator[None]:
    """Show no progress bar meanwhile."""
    global _is_silenced
    before, _is_silenced = _is_silenced, True
    try:
        yield
    finally:
        _is_silenced = before


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
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    is_shown = bool(title) and on_terminal and not _is_silenced
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
