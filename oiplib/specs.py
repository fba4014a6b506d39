"""Frozen descriptions of everything that can be varied.

A spec is validated when it is made, has one canonical JSON text and the SHA-256 of that text.
A result's identity is the hash of what it was made from, so asking for the same result again
finds the stored one. Starts are specs too: a start image is rebuilt from the few numbers here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from .errors import InputError

# Far beyond any image here: what is larger is a slip, and would fill the memory.
_LARGEST_GRID = 4096


@dataclass(frozen=True)
class Spec:
    """Base of all specs: canonical JSON, hash, and the way back."""

    _kinds: ClassVar[dict[str, type[Spec]]] = {}

    def __init_subclass__(cls) -> None:
        Spec._kinds[cls.__name__] = cls

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values, nested specs included, with the spec's ``kind``."""
        values = {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}
        return {"kind": type(self).__name__, **values}

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces, so equal specs have equal texts."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @property
    def sha256(self) -> str:
        """The spec's identity, 64 hexadecimal digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated anew."""
        return dataclasses.replace(self, **changes)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The spec that `to_json` wrote.

        Raises
        ------
        InputError
            If the text isn't JSON, or describes no spec of this class.
        """
        try:
            return cls.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise InputError(f"not the JSON of a {cls.__name__}: {error}") from None

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """The spec that `to_dict` took apart; `InputError` if it is no spec of this class."""
        try:
            spec = _unplain(values)
        except TypeError as error:
            raise InputError(f"no {cls.__name__}: {error}") from None
        if not isinstance(spec, cls):
            raise InputError(f"no {cls.__name__}: {str(values)[:80]}")
        return spec

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


@dataclass(frozen=True)
class CnnSpec(Spec):
    """A small CNN and its training; the default is the network of the articles.

    The articles give the convolutional part; the dense layer, the schedule and the regularizer
    (part III) are our choice (99.3 % test accuracy).

    Attributes
    ----------
    dataset
        Name of a registered data set, or the path of a user's ``.npz``.
    maps
        Number of maps of each convolutional layer. All but the last are max-pooled 2x2.
    kernel
        Side of the square kernels in pixels; stride 1, padding ``valid``.
    dense
        Widths of the hidden dense layers.
    epochs, batch_size
        Passes over the training images, and images per weight update.
    learning_rate, final_learning_rate
        RMSprop's step size, linearly decaying over the whole training.
    momentum, l2
        RMSprop's momentum, and the factor of the L2 penalty on the dense layers' weights.
    weights_seed, order_seed
        Seeds of the initial weights and of the order of the training images, apart from
        each other, so that either can be varied alone.
    """

    dataset: str = "mnist"
    maps: tuple[int, ...] = (32, 64, 128)
    kernel: int = 3
    dense: tuple[int, ...] = (100,)
    epochs: int = 12
    batch_size: int = 64
    learning_rate: float = 1e-3
    final_learning_rate: float = 2e-5
    momentum: float = 0.5
    l2: float = 1e-3
    weights_seed: int = 0
    order_seed: int = 0

    def __post_init__(self) -> None:
        if not self.dataset:
            raise InputError("dataset must be a name or the path of an .npz file")
        self._set("maps", tuple(_count("maps", n, 1) for n in _sequence("maps", self.maps)))
        if not self.maps:
            raise InputError("maps must name at least one convolutional layer")
        self._set("dense", tuple(_count("dense", n, 1) for n in _sequence("dense", self.dense)))
        for name in ("kernel", "epochs", "batch_size"):
            self._set(name, _count(name, getattr(self, name), 1))
        for name in ("learning_rate", "final_learning_rate"):
            self._set(name, _number(name, getattr(self, name), above=0.0))
        self._set("momentum", _number("momentum", self.momentum, low=0.0, below=1.0))
        self._set("l2", _number("l2", self.l2, low=0.0))
        for name in ("weights_seed", "order_seed"):
            self._set(name, _count(name, getattr(self, name), 0))

    def siblings(self) -> dict[str, CnnSpec]:
        """The same training with the other seed of a pair: 0 and 1, or 2 and 3, and so on.

        Returns
        -------
        dict
            ``order``, ``weights``, ``both``: what is other. Each of the four has the same four
            as its family.
        """
        order, weights = self.order_seed ^ 1, self.weights_seed ^ 1
        return {
            "order": self.replace(order_seed=order),
            "weights": self.replace(weights_seed=weights),
            "both": self.replace(weights_seed=weights, order_seed=order),
        }


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
    """

    grids: tuple[tuple[int, int], ...] = ((3, 3), (7, 7), (14, 14), (28, 28))
    factors: tuple[float, ...] = (0.2, 0.2, 0.0, 0.0)
    seed: int = 0

    def __post_init__(self) -> None:
        self._set("grids", tuple(_grid(grid) for grid in _sequence("grids", self.grids)))
        factors = _sequence("factors", self.factors)
        self._set("factors", tuple(_number("factors", f) for f in factors))
        self._set("seed", _count("seed", self.seed, 0))
        if len(self.grids) != len(self.factors):
            raise InputError(
                f"fluctuations need one factor per grid: {len(self.grids)} grids, "
                f"{len(self.factors)} factors"
            )
        if not any(self.factors):
            raise InputError("fluctuations need at least one factor that isn't 0")


@dataclass(frozen=True)
class GridSpec(Spec):
    """All patterns that take one of a few values in each cell of a coarse grid (article X).

    Attributes
    ----------
    values
        The distinct grey values, increasing, in [0, 1].
    rows, columns
        Cells of the grid. Pattern ``i`` has the digits of ``i`` in base ``len(values)`` as its
        cells, row by row, the most significant digit first.
    """

    values: tuple[float, ...] = (0.2, 0.5, 0.8)
    rows: int = 3
    columns: int = 3

    def __post_init__(self) -> None:
        values = _sequence("values", self.values)
        self._set("values", tuple(_number("values", v, low=0.0, high=1.0) for v in values))
        self._set("rows", _count("rows", self.rows, 1))
        self._set("columns", _count("columns", self.columns, 1))
        if not 2 <= len(self.values) <= 16 or list(self.values) != sorted(set(self.values)):
            raise InputError(f"values must be 2 to 16 increasing numbers, not {self.values}")
        if self.n_patterns > 2**62:
            raise InputError(
                f"{len(self.values)} values on a {self.rows}x{self.columns} grid are more "
                "patterns than an index can count: choose fewer values or cells"
            )

    @property
    def n_patterns(self) -> int:
        """How many patterns the grid has, equivalent and constant ones included."""
        return len(self.values) ** (self.rows * self.columns)


OBJECTIVES = ("response", "pre-activation")
SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class AscentSpec(Spec):
    """Gradient ascent on an image (article IX).

    Each step is ``x <- standardize(x + epsilon * g / rms(g))``.

    Attributes
    ----------
    n_epochs
        How often the loss is taken; the image takes one step less.
    epsilon
        Length of a step: the root mean square of the change before standardizing, in units of
        the image's standard deviation.
    n_steps
        Number of intermediate reports, at log-spaced steps, beside the first and the last.
    conv_criterion
        Relative change of the loss in a single step, below which an ascent counts as converged.
    stop_with_convergence
        Whether a converged ascent ends there, or goes on to `n_epochs`.
    objective
        What is climbed: the ``response``, or the ``pre-activation``, whose gradient also leads
        where the map does not respond yet.
    schedule
        ``constant``, or ``cosine``: `epsilon` falls to 0 along half a cosine.
    """

    n_epochs: int = 600
    epsilon: float = 0.01
    n_steps: int = 6
    conv_criterion: float = 2e-4
    stop_with_convergence: bool = False
    objective: str = "response"
    schedule: str = "constant"

    def __post_init__(self) -> None:
        self._set("n_epochs", _count("n_epochs", self.n_epochs, 1))
        self._set("epsilon", _number("epsilon", self.epsilon, above=0.0))
        self._set("n_steps", _count("n_steps", self.n_steps, 0))
        self._set("conv_criterion", _number("conv_criterion", self.conv_criterion, low=0.0))
        self._set("stop_with_convergence", bool(self.stop_with_convergence))
        _choice("objective", self.objective, OBJECTIVES)
        _choice("schedule", self.schedule, SCHEDULES)

    @property
    def report_steps(self) -> tuple[int, ...]:
        """The steps whose images are kept: 0, 9, 18, 36, 72, 144, 288, 599 by default."""
        first = self.n_epochs >> self.n_steps
        spaced = {first << k for k in range(self.n_steps)}
        return tuple(sorted({0, self.n_epochs - 1} | {s for s in spaced if s < self.n_epochs}))

    @property
    def epsilons(self) -> tuple[float, ...]:
        """The size of each of the `n_epochs` - 1 steps."""
        n = self.n_epochs - 1
        if self.schedule == "constant":
            return (self.epsilon,) * n
        return tuple(self.epsilon * (1 + math.cos(math.pi * step / n)) / 2 for step in range(n))


@dataclass(frozen=True)
class ClimbSpec(Spec):
    """Ascents one after the other, each from where the one before ended."""

    stages: tuple[AscentSpec, ...]

    def __post_init__(self) -> None:
        self._set("stages", tuple(_sequence("stages", self.stages)))
        for stage in self.stages:
            _instance("stages", stage, AscentSpec)
        if not self.stages:
            raise InputError("a climb has at least one stage")


@dataclass(frozen=True)
class TrialSpec(Spec):
    """Article IX by hand: some random fluctuation images per map, each ascended if it can be.

    Attributes
    ----------
    fluctuation
        What the random images look like, with the root seed.
    n_trials
        How many images each map is shown.
    ascent
        What becomes of those to which the map reacts.
    """

    fluctuation: FluctuationSpec = field(default_factory=FluctuationSpec)
    n_trials: int = 4
    ascent: AscentSpec = field(default_factory=AscentSpec)

    def __post_init__(self) -> None:
        self._set("n_trials", _count("n_trials", self.n_trials, 1))
        _instance("fluctuation", self.fluctuation, FluctuationSpec)
        _instance("ascent", self.ascent, AscentSpec)

    @property
    def climb(self) -> AscentSpec:
        """What an OIP of these trials has gone through since its start."""
        return self.ascent


@dataclass(frozen=True)
class RungSpec(Spec):
    """One rung of a scan.

    Attributes
    ----------
    n_starts
        How many starts of each map climb it, the best of the rung before; 0 for all.
    ascent
        How they climb it.
    """

    n_starts: int
    ascent: AscentSpec

    def __post_init__(self) -> None:
        self._set("n_starts", _count("n_starts", self.n_starts, 0))
        _instance("ascent", self.ascent, AscentSpec)


STRATEGIES = ("race", "article")


def rungs_of(strategy: str) -> tuple[RungSpec, ...]:
    """The rungs of a strategy, unless a scan names others."""
    if strategy == "article":
        return (RungSpec(0, AscentSpec(10, n_steps=0)), RungSpec(8, AscentSpec(1200)))
    return (
        RungSpec(96, AscentSpec(11, 0.8, n_steps=1, objective="pre-activation")),
        RungSpec(32, AscentSpec(21, 0.8, n_steps=0, schedule="cosine")),
        RungSpec(8, AscentSpec(61, 0.8, n_steps=3, schedule="cosine")),
    )


@dataclass(frozen=True)
class ScanSpec(Spec):
    """A precursor scan: many coarse patterns compete, the best are ascended to the end.

    Attributes
    ----------
    grid
        The patterns.
    strategy
        ``race``: the patterns with the strongest responses that differ from each other, and as
        many drawn at random, climb rung after rung; the first rung climbs the pre-activation,
        so that it also revives starts without a response.
        ``article``: every pattern with a response takes a few steps; the best few are ascended
        from their beginning (article X).
    rungs
        Those of the strategy by default.
    n_oips
        How many of the finalists are kept as OIPs.
    seed
        Of the race's random draws, a stream for each map.
    """

    grid: GridSpec = field(default_factory=GridSpec)
    strategy: str = "race"
    rungs: tuple[RungSpec, ...] = ()
    n_oips: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        _instance("grid", self.grid, GridSpec)
        _choice("strategy", self.strategy, STRATEGIES)
        rungs = tuple(_sequence("rungs", self.rungs)) or rungs_of(self.strategy)
        for rung in rungs:
            _instance("rungs", rung, RungSpec)
        if self.strategy == "race" and not all(rung.n_starts for rung in rungs):
            raise InputError("each rung of a race needs a number of starts")
        if self.strategy == "article" and len(rungs) != 2:
            raise InputError(f"the article's strategy has two rungs, not {len(rungs)}")
        self._set("rungs", rungs)
        self._set("n_oips", _count("n_oips", self.n_oips, 1))
        self._set("seed", _count("seed", self.seed, 0))

    def undropped(self, strategy: str) -> ScanSpec:
        """A race from which nobody is dropped: by it a strategy's selection can be judged.

        Twice as many starts as race in this scan take the strategy's first steps (article X:
        ten small ones), then go on as the race does, all of them.
        """
        raced = self.rungs if self.strategy == "race" else rungs_of("race")
        first = raced[:1] if strategy == "race" else rungs_of(strategy)[:1]
        rungs = [rung.replace(n_starts=2 * raced[0].n_starts) for rung in (*first, *raced[1:])]
        return self.replace(strategy="race", rungs=rungs, n_oips=1)

    def compared(self) -> ScanSpec:
        """A smaller race for one good OIP of every map, by which trainings are compared."""
        raced = self.rungs if self.strategy == "race" else rungs_of("race")
        fewer = [rung.replace(n_starts=max(2, rung.n_starts // 4)) for rung in raced]
        return self.replace(strategy="race", rungs=fewer, n_oips=1)

    @property
    def climb(self) -> AscentSpec | ClimbSpec:
        """What an OIP of this scan has gone through since its start."""
        if self.strategy == "article":
            return self.rungs[-1].ascent
        return ClimbSpec(tuple(rung.ascent for rung in self.rungs))


@dataclass(frozen=True)
class VarietySpec(Spec):
    """How many different patterns excite a map: restarts, then a search away from their results.

    Attributes
    ----------
    fluctuation
        What the random start images look like, with the root seed.
    n_starts
        How many restarts each map gets that come to excite it.
    climb
        What becomes of them. The first stage climbs the pre-activation, so that a start need
        not excite the map.
    n_unlike
        How many further starts ascend away from the patterns that the restarts led to (after
        Cadena et al. 2018).
    """

    fluctuation: FluctuationSpec = field(default_factory=FluctuationSpec)
    n_starts: int = 64
    climb: ClimbSpec = field(
        default_factory=lambda: ClimbSpec(
            (
                AscentSpec(11, 0.8, n_steps=0, objective="pre-activation"),
                AscentSpec(91, 0.8, n_steps=0, schedule="cosine"),
            )
        )
    )
    n_unlike: int = 8

    def __post_init__(self) -> None:
        _instance("fluctuation", self.fluctuation, FluctuationSpec)
        _instance("climb", self.climb, ClimbSpec)
        self._set("n_starts", _count("n_starts", self.n_starts, 2))
        self._set("n_unlike", _count("n_unlike", self.n_unlike, 1))


@dataclass(frozen=True)
class StudySpec(Spec):
    """What `reproduce` does with one network: article IX for all maps, then article X.

    Attributes
    ----------
    cnn
        The network and its training.
    layer
        Whose maps.
    trials
        Random fluctuation images for every map.
    scan
        The precursor scan.
    variety
        The restarts by which is judged whether OIPs are unique.
    """

    cnn: CnnSpec = field(default_factory=CnnSpec)
    layer: str = "Conv2D_3"
    trials: TrialSpec = field(default_factory=TrialSpec)
    scan: ScanSpec = field(default_factory=ScanSpec)
    variety: VarietySpec = field(default_factory=VarietySpec)

    def __post_init__(self) -> None:
        _instance("cnn", self.cnn, CnnSpec)
        _instance("trials", self.trials, TrialSpec)
        _instance("scan", self.scan, ScanSpec)
        _instance("variety", self.variety, VarietySpec)

    @classmethod
    def of(cls, seed: int = 0, quick: bool = False) -> StudySpec:
        """The study of one root seed; the quick one does less of the same work."""
        spec = cls(
            cnn=CnnSpec(weights_seed=seed, order_seed=seed),
            trials=TrialSpec(fluctuation=FluctuationSpec(seed=seed)),
            scan=ScanSpec(seed=seed),
            variety=VarietySpec(fluctuation=FluctuationSpec(seed=seed)),
        )
        if not quick:
            return spec
        return spec.replace(
            cnn=spec.cnn.replace(epochs=1),
            trials=spec.trials.replace(n_trials=2, ascent=AscentSpec(n_epochs=120)),
            scan=spec.scan.replace(
                grid=GridSpec(values=(0.2, 0.8)),
                rungs=[rung.replace(n_starts=rung.n_starts // 2) for rung in spec.scan.rungs],
            ),
            variety=spec.variety.replace(n_starts=16, n_unlike=2),
        )


@dataclass(frozen=True)
class FluctuationStart(Spec):
    """The start that a map is shown in one trial; its origin is ``fluctuation``."""

    origin: ClassVar[str] = "fluctuation"
    fluctuation: FluctuationSpec
    map: int
    trial: int

    def __post_init__(self) -> None:
        _instance("fluctuation", self.fluctuation, FluctuationSpec)
        self._set("map", _count("map", self.map, 0))
        self._set("trial", _count("trial", self.trial, 0))

    def __str__(self) -> str:
        return f"fluctuation, seed {self.fluctuation.seed}, map {self.map}, trial {self.trial}"


@dataclass(frozen=True)
class PatternStart(Spec):
    """One pattern of a grid as a start; its origin is ``pattern``."""

    origin: ClassVar[str] = "pattern"
    grid: GridSpec
    index: int

    def __post_init__(self) -> None:
        _instance("grid", self.grid, GridSpec)
        self._set("index", _count("index", self.index, 0))
        if self.index >= self.grid.n_patterns:
            raise InputError(
                f"pattern {self.index} is not in the grid: choose 0 to {self.grid.n_patterns - 1}"
            )

    def __str__(self) -> str:
        grid = self.grid
        return f"pattern {self.index} of {len(grid.values)}^({grid.rows}x{grid.columns})"


Start = FluctuationStart | PatternStart


def start_of(values: Any) -> Start:
    """The start that `to_dict` took apart; `InputError` if it is none."""
    spec = Spec.from_dict(values)
    if not isinstance(spec, Start):
        raise InputError(f"no start: {str(values)[:80]}")
    return spec


def stages_of(values: Any) -> tuple[AscentSpec, ...]:
    """The ascents that an OIP has gone through, from its stored spec."""
    spec = Spec.from_dict(values)
    if isinstance(spec, ClimbSpec):
        return spec.stages
    if isinstance(spec, AscentSpec):
        return (spec,)
    raise InputError(f"no ascent: {str(values)[:80]}")


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _unplain(value: Any) -> Any:
    """Lists stay lists: a spec turns them into tuples when it validates them."""
    if isinstance(value, list):
        return [_unplain(item) for item in value]
    if not isinstance(value, dict):
        return value
    fields = {name: _unplain(item) for name, item in value.items() if name != "kind"}
    kind = Spec._kinds.get(value.get("kind", ""))
    if kind is None:
        raise TypeError(f"unknown kind {value.get('kind')!r}")
    return kind(**fields)


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"unknown {name} {value!r}: choose one of {', '.join(choices)}")


def _instance(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise InputError(f"{name} must be a {kind.__name__}, not {type(value).__name__}")


def _sequence(name: str, value: Any) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{name} must be a sequence, not {value!r}")
    return value


def _grid(value: Any) -> tuple[int, int]:
    pair = _sequence("a grid", value)
    if len(pair) != 2:
        raise InputError(f"a grid has rows and columns, not {value!r}")
    rows, columns = (_count("a grid's side", side, 1) for side in pair)
    if max(rows, columns) > _LARGEST_GRID:
        raise InputError(f"a grid's side must be at most {_LARGEST_GRID}, not {value!r}")
    return rows, columns


def _count(name: str, value: Any, low: int) -> int:
    if isinstance(value, bool) or (not isinstance(value, int) and int(value) != value):
        raise InputError(f"{name} must be a whole number, not {value!r}")
    if value < low:
        raise InputError(f"{name} must be at least {low}, not {value}")
    return int(value)


def _number(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a number, not {value!r}") from None
    if not math.isfinite(number):
        raise InputError(f"{name} must be finite, not {number}")
    if not (low <= number <= high and above < number < below):
        limits = [("at least", low), ("at most", high), ("above", above), ("below", below)]
        wanted = " and ".join(f"{word} {limit:g}" for word, limit in limits if math.isfinite(limit))
        raise InputError(f"{name} must be {wanted}, not {number:g}")
    return number
