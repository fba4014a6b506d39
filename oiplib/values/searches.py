"""Searches for OIPs as values: trials, screenings and scans."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from .ascents import AscentSpec, ClimbSpec
from .fields import MANY, choice, count, instance, number, sequence
from .priors import Prior, prior_of
from .spec import Spec
from .starts import FluctuationSpec, GridSpec, PatternStart

STRATEGIES = ("race", "article")

# A processor with two cores needs a year for so many.
_MOST_SCREENED = 10**12


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
        What becomes of those to which the map reacts. Where length scales join on the way, of
        all.
    keeps_oips
        Whether what they find is kept. If not, only the losses are, those of the starts and
        those at the end.

    Examples
    --------
    >>> trials = TrialSpec(n_trials=4)
    >>> trials.n_trials, trials.ascent.n_epochs
    (4, 600)
    """

    fluctuation: FluctuationSpec = field(default_factory=FluctuationSpec)
    n_trials: int = 4
    ascent: AscentSpec = field(default_factory=AscentSpec)
    keeps_oips: bool = True

    def __post_init__(self) -> None:
        self._set("n_trials", count("n_trials", self.n_trials, 1, MANY))
        instance("fluctuation", self.fluctuation, FluctuationSpec)
        instance("ascent", self.ascent, AscentSpec)
        self._set("keeps_oips", bool(self.keeps_oips))
        last = max(self.fluctuation.joining.values(), default=0)
        if last >= self.ascent.n_epochs:
            raise InputError(
                f"a length scale joins at epoch {last}, and the ascents end after "
                f"{self.ascent.n_epochs}: name an earlier epoch, or more n_epochs"
            )

    def led_by(self, prior: Prior | str) -> TrialSpec:
        """The same trials under a prior."""
        return self.replace(ascent=self.ascent.replace(prior=prior_of(prior)))

    @property
    def origin(self) -> str:
        """What a stored scan is: a search for OIPs from a ``fluctuation``, or a ``selection``."""
        return "fluctuation" if self.keeps_oips else "selection"

    @property
    def climb(self) -> AscentSpec:
        """What an OIP of these trials has gone through since its start."""
        return self.ascent


@dataclass(frozen=True)
class ScreeningSpec(Spec):
    """One look at all patterns of a grid (article X).

    Attributes
    ----------
    grid
        The patterns.
    n_top
        How many of the patterns that suit a map best are kept, per map.
    decades
        Powers of ten between which the histogram of the responses lies.
    n_bins
        Classes of the histogram in each decade.

    Examples
    --------
    >>> ScreeningSpec(GridSpec(values=(0.2, 0.8)), n_top=8).grid.n_patterns
    512
    """

    grid: GridSpec = field(default_factory=GridSpec)
    n_top: int = 256
    decades: tuple[int, int] = (-4, 4)
    n_bins: int = 10

    def __post_init__(self) -> None:
        instance("grid", self.grid, GridSpec)
        if self.grid.n_patterns > _MOST_SCREENED:
            raise InputError(
                f"{self.grid.rows} x {self.grid.columns} cells of {len(self.grid.values)} values "
                f"make {self.grid.n_patterns:.0e} patterns, and {_MOST_SCREENED:.0e} at most can "
                "be shown one after the other: choose fewer cells or values"
            )
        self._set("n_top", count("n_top", self.n_top, 1, MANY))
        decades = tuple(count("decades", n, -30) for n in sequence("decades", self.decades))
        if len(decades) != 2 or not decades[0] < decades[1] <= 30:
            raise InputError(f"decades are two increasing powers of ten, not {self.decades}")
        self._set("decades", decades)
        self._set("n_bins", count("n_bins", self.n_bins, 1, 1000))


@dataclass(frozen=True)
class RungSpec(Spec):
    """One rung of a scan.

    Attributes
    ----------
    n_starts
        How many starts of each map climb it, the best of the rung before; 0 for all.
    ascent
        How they climb it.

    Examples
    --------
    >>> RungSpec(32, AscentSpec(21, 0.8)).n_starts
    32
    """

    n_starts: int
    ascent: AscentSpec

    def __post_init__(self) -> None:
        self._set("n_starts", count("n_starts", self.n_starts, 0, MANY))
        instance("ascent", self.ascent, AscentSpec)


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
        How many of the finalists are kept as OIPs. With 0 only the standings at each rung are
        kept.
    seed
        Of the race's random draws, a stream for each map; and of the noise on the patterns.
    n_top
        From how many of the patterns that suit a map best the race takes its strong starts.
    alike
        Correlation above which two coarse patterns are too alike to race both.
    oversampling
        How many patterns are drawn at random for each start. Repeated, equivalent and constant
        ones are then left out.
    keeps_frames
        Whether the best OIP of each map is kept with the images on its way.
    noise
        Deviation of the noise that is put on each pattern before it climbs; the patterns have
        a deviation of 1. The screening shows them without it.
    responding
        Whether all starts of a race are drawn at random, from the patterns to which the map
        responds: by such starts a selection can be judged.

    Examples
    --------
    >>> [rung.n_starts for rung in ScanSpec().rungs]
    [96, 32, 8]
    >>> [rung.n_starts for rung in ScanSpec(strategy="article").rungs]
    [0, 8]
    """

    grid: GridSpec = field(default_factory=GridSpec)
    strategy: str = "race"
    rungs: tuple[RungSpec, ...] = ()
    n_oips: int = 3
    seed: int = 0
    n_top: int = 256
    alike: float = 0.9
    oversampling: int = 8
    keeps_frames: bool = True
    noise: float = 0.0
    responding: bool = False

    def __post_init__(self) -> None:
        instance("grid", self.grid, GridSpec)
        choice("strategy", self.strategy, STRATEGIES)
        rungs = tuple(sequence("rungs", self.rungs)) or rungs_of(self.strategy)
        for rung in rungs:
            instance("rungs", rung, RungSpec)
        if self.strategy == "race" and not all(rung.n_starts for rung in rungs):
            raise InputError("each rung of a race needs a number of starts")
        if self.strategy == "article" and len(rungs) != 2:
            raise InputError(f"the article's strategy has two rungs, not {len(rungs)}")
        self._set("rungs", rungs)
        self._set("n_oips", count("n_oips", self.n_oips, 0, MANY))
        self._set("seed", count("seed", self.seed, 0))
        self._set("n_top", count("n_top", self.n_top, 1, MANY))
        self._set("alike", number("alike", self.alike, low=-1.0, high=1.0))
        self._set("oversampling", count("oversampling", self.oversampling, 1, 1000))
        self._set("keeps_frames", bool(self.keeps_frames))
        self._set("noise", number("noise", self.noise, low=0.0, high=1.0))
        self._set("responding", bool(self.responding))

    def default_of(self, name: str) -> Any:
        """The rungs' default depends on the strategy. The article's chooses no starts.

        A race of starts that are all drawn looks for no strong ones.
        """
        if name == "rungs":
            return rungs_of(self.strategy)
        unused = set()
        if self.strategy == "article":
            unused = {"n_top", "alike", "oversampling", "responding"}
            unused |= set() if self.noise else {"seed"}
        elif self.responding:
            unused = {"n_top", "alike"}
        return getattr(self, name) if name in unused else super().default_of(name)

    def start(self, index: int) -> PatternStart:
        """A pattern of the grid as a start of this scan."""
        return PatternStart(self.grid, index, self.noise, self.seed)

    def led_by(self, prior: Prior | str) -> ScanSpec:
        """The same scan under a prior."""
        value = prior_of(prior)
        rungs = [r.replace(ascent=r.ascent.replace(prior=value)) for r in self.rungs]
        return self.replace(rungs=rungs)

    def gentler(self, share: float, objective: str | None = None) -> ScanSpec:
        """The same race with a share of the steps' size, for maps that are hard to excite.

        Parameters
        ----------
        share
            Of the steps' size.
        objective
            What the first rung climbs instead.
        """
        rungs = [
            r.replace(ascent=r.ascent.replace(epsilon=share * r.ascent.epsilon)) for r in self.rungs
        ]
        if objective is not None:
            rungs[0] = rungs[0].replace(ascent=rungs[0].ascent.replace(objective=objective))
        return self.replace(rungs=rungs)

    @property
    def origin(self) -> str:
        """What a stored scan is: a search for OIPs from a ``pattern``, or a ``selection``."""
        return "pattern" if self.n_oips else "selection"

    @property
    def screening(self) -> ScreeningSpec:
        """The screening that a race takes its strong starts from."""
        return ScreeningSpec(self.grid, self.n_top)

    def compared(self) -> ScanSpec:
        """A smaller race for one good OIP of every map, by which trainings are compared."""
        raced = self.rungs if self.strategy == "race" else rungs_of("race")
        fewer = [rung.replace(n_starts=max(2, rung.n_starts // 4)) for rung in raced]
        return self.replace(strategy="race", rungs=fewer, n_oips=1, keeps_frames=False)

    @property
    def climb(self) -> AscentSpec | ClimbSpec:
        """What an OIP of this scan has gone through since its start."""
        if self.strategy == "article":
            return self.rungs[-1].ascent
        return ClimbSpec(tuple(rung.ascent for rung in self.rungs))
