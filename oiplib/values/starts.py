"""Starts as values: random fluctuations and coarse patterns, rebuilt from a few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import InputError
from .fields import MANY, count, instance, number, sequence
from .spec import Spec

# Far beyond any image here: what is larger is a slip, and would fill the memory.
_LARGEST_GRID = 512
_MOST_GRIDS = 16
_MOST_SMOOTHING = 64.0

# With more cells, even two values make more patterns than can be numbered.
_MOST_CELLS = 62


@dataclass(frozen=True)
class FluctuationSpec(Spec):
    """Random images with fluctuations on several length scales (article IX).

    Attributes
    ----------
    grids
        Rows and columns of each random grid, drawn uniformly from [0, 1).
    factors
        Weight of each grid in the sum; 0 leaves a length scale out.
    seed
        Root seed; every (map, trial) has its own stream below it.
    smoothing
        Deviation, in pixels, of a Gaussian that smooths the sum before it is standardized; 0 for
        none. Our reading of the articles' ``b_smoothing``, which they don't explain.
    join_epochs
        At which epoch of the ascent each grid joins the image; 0 for those of the start. Empty if
        all are in the start, which is the articles' ``strategy = 0``. Our reading of their
        ``li_epochs``, which they don't explain.

    Examples
    --------
    >>> coarse = FluctuationSpec(factors=(1, 0, 0, 0), seed=7)
    >>> coarse.sha256 == FluctuationSpec(seed=7).sha256
    False
    """

    grids: tuple[tuple[int, int], ...] = ((3, 3), (7, 7), (14, 14), (28, 28))
    factors: tuple[float, ...] = (0.2, 0.2, 0.0, 0.0)
    seed: int = 0
    smoothing: float = 0.0
    join_epochs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self._set("grids", tuple(_grid(grid) for grid in sequence("grids", self.grids)))
        factors = sequence("factors", self.factors)
        self._set("factors", tuple(number("factors", f) for f in factors))
        self._set("seed", count("seed", self.seed, 0))
        if len(self.grids) != len(self.factors):
            raise InputError(
                f"fluctuations need one factor per grid: {len(self.grids)} grids, "
                f"{len(self.factors)} factors"
            )
        if len(self.grids) > _MOST_GRIDS:
            raise InputError(f"fluctuations have at most {_MOST_GRIDS} grids")
        if not any(self.factors):
            raise InputError("fluctuations need at least one factor that isn't 0")
        self._set("smoothing", number("smoothing", self.smoothing, low=0.0, high=_MOST_SMOOTHING))
        epochs = sequence("join_epochs", self.join_epochs)
        self._set("join_epochs", tuple(count("join_epochs", e, 0, MANY) for e in epochs))
        if self.join_epochs and len(self.join_epochs) != len(self.grids):
            raise InputError(
                f"fluctuations need one epoch per grid, or none: {len(self.grids)} grids, "
                f"{len(self.join_epochs)} epochs"
            )
        if len(self.joining) == len([factor for factor in self.factors if factor]):
            raise InputError(
                "fluctuations need a start: name epoch 0 for a grid whose factor isn't 0"
            )

    @property
    def joining(self) -> dict[int, int]:
        """The grids that aren't in the start, by their place: the epoch at which each joins.

        Examples
        --------
        >>> FluctuationSpec(join_epochs=(0, 50, 100, 400)).joining
        {1: 50}
        """
        epochs = enumerate(self.join_epochs)
        return {place: epoch for place, epoch in epochs if epoch and self.factors[place]}


@dataclass(frozen=True)
class GridSpec(Spec):
    """All patterns that take one of a few values in each cell of a coarse grid (article X).

    Attributes
    ----------
    values
        The distinct grey values, increasing, in [0, 1].
    rows, columns
        Cells of the grid. ``i`` written in base ``len(values)`` gives the cells of pattern
        ``i``, row by row, the most significant place first.

    Examples
    --------
    >>> GridSpec(values=(0, 0.5, 1), rows=3, columns=3).n_patterns
    19683
    """

    values: tuple[float, ...] = (0.2, 0.5, 0.8)
    rows: int = 3
    columns: int = 3

    def __post_init__(self) -> None:
        values = sequence("values", self.values)
        self._set("values", tuple(number("values", v, low=0.0, high=1.0) for v in values))
        for name in ("rows", "columns"):
            self._set(name, count(name, getattr(self, name), 1, _MOST_CELLS))
        if not 2 <= len(self.values) <= 16 or list(self.values) != sorted(set(self.values)):
            raise InputError(f"values must be 2 to 16 increasing numbers, not {self.values}")
        if self.rows * self.columns > _MOST_CELLS or self.n_patterns > 2**62:
            raise InputError(
                f"{len(self.values)} values on a {self.rows}x{self.columns} grid are more "
                "patterns than an index can count: choose fewer values or cells"
            )

    @property
    def n_patterns(self) -> int:
        """How many patterns the grid has, equivalent and constant ones included."""
        return len(self.values) ** (self.rows * self.columns)


@dataclass(frozen=True)
class FluctuationStart(Spec):
    """The start that a map is shown in one trial; its origin is ``fluctuation``.

    Examples
    --------
    >>> str(FluctuationStart(FluctuationSpec(), map=120, trial=2))
    'fluctuation, seed 0, map 120, trial 2'
    """

    origin: ClassVar[str] = "fluctuation"
    fluctuation: FluctuationSpec
    map: int
    trial: int

    def __post_init__(self) -> None:
        instance("fluctuation", self.fluctuation, FluctuationSpec)
        self._set("map", count("map", self.map, 0))
        self._set("trial", count("trial", self.trial, 0))

    def __str__(self) -> str:
        return f"fluctuation, seed {self.fluctuation.seed}, map {self.map}, trial {self.trial}"


@dataclass(frozen=True)
class PatternStart(Spec):
    """One pattern of a grid as a start; its origin is ``pattern``.

    Attributes
    ----------
    grid
    index
        Of the pattern.
    noise
        Deviation of the noise that is put on the pattern, which has a deviation of 1 itself.
    seed
        Of the noise, a stream for each pattern; 0 where there is none.

    Examples
    --------
    >>> str(PatternStart(GridSpec(), index=4711))
    'pattern 4711 of 3^(3x3)'
    """

    origin: ClassVar[str] = "pattern"
    grid: GridSpec
    index: int
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        instance("grid", self.grid, GridSpec)
        self._set("index", count("index", self.index, 0))
        self._set("noise", number("noise", self.noise, low=0.0, high=1.0))
        self._set("seed", count("seed", self.seed, 0) if self.noise else 0)
        if self.index >= self.grid.n_patterns:
            raise InputError(
                f"pattern {self.index} is not in the grid: choose 0 to {self.grid.n_patterns - 1}"
            )

    def __str__(self) -> str:
        grid = self.grid
        text = f"pattern {self.index} of {len(grid.values)}^({grid.rows}x{grid.columns})"
        return f"{text}, noise {self.noise:g}, seed {self.seed}" if self.noise else text


Start = FluctuationStart | PatternStart


def seed_of(start: Start) -> int:
    """The number, below 2**64, from which all chance in an ascent from this start comes."""
    return int(start.sha256[:16], 16)


def start_of(values: Any) -> Start:
    """The start that `to_dict` took apart; `InputError` if it is none."""
    spec = Spec.from_dict(values)
    if not isinstance(spec, Start):
        raise InputError(f"no start: {str(values)[:80]}")
    return spec


def _grid(value: Any) -> tuple[int, int]:
    pair = sequence("a grid", value)
    if len(pair) != 2:
        raise InputError(f"a grid has rows and columns, not {value!r}")
    rows, columns = (count("a grid's side", side, 1) for side in pair)
    if max(rows, columns) > _LARGEST_GRID:
        raise InputError(f"a grid's side must be at most {_LARGEST_GRID}, not {value!r}")
    return rows, columns
