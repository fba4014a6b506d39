"""Progress bars for whatever takes more than two seconds, on terminals only."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


class Silent:
    """A progress bar that shows nothing."""

    def update(self, n: int = 1) -> None:
        """Take note of nothing."""


SILENT = Silent()


def bar(total: int, title: str, unit: str, done: int = 0) -> Any:
    """A progress bar with a rate and the time left; silent without a title or a terminal.

    `done` of the total were done before; they don't count for the rate.
    """
    shown = bool(title) and sys.stderr is not None and sys.stderr.isatty()
    return tqdm(
        total=total,
        initial=done,
        desc=title,
        unit=f" {unit}",
        delay=2,
        leave=False,
        disable=not shown,
        dynamic_ncols=True,
        smoothing=0.1,
    )
