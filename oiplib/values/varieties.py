"""Questions to a layer as values: what excites its maps, and how different their patterns are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from .ascents import AscentSpec, ClimbSpec, led_by
from .fields import MANY, count, instance, number, sequence
from .priors import Prior
from .searches import ScanSpec
from .spec import Spec
from .starts import FluctuationSpec

# Each is built, and each two of them compared.
_MOST_UNTRAINED = 100


@dataclass(frozen=True)
class ReactionSpec(Spec):
    """One look at images that are neither patterns nor starts of a search.

    Attributes
    ----------
    random
        What random images look like; None for the training images of the network's data set.
    n_images
        How many random images.
    n_top
        How many of a map's strongest images to keep, per map.
    data
        SHA-256 of a data set that was joined to the network; empty for the one that the network
        was trained on, which is part of its training.

    Examples
    --------
    >>> ReactionSpec().kind, ReactionSpec(FluctuationSpec(seed=3)).kind
    ('data', 'fluctuation')
    """

    random: FluctuationSpec | None = None
    n_images: int = 2048
    n_top: int = 10
    data: str = ""

    def __post_init__(self) -> None:
        if self.random is not None:
            instance("random", self.random, FluctuationSpec)
        self._set("n_images", count("n_images", self.n_images, 1, MANY))
        self._set("n_top", count("n_top", self.n_top, 1, MANY))
        if not isinstance(self.data, str) or (self.random is not None and self.data):
            raise InputError("data names a data set by its SHA-256; random images have none")

    def default_of(self, name: str) -> Any:
        """Of a data set all images are shown, however many random ones there would be."""
        if name == "n_images" and self.random is None:
            return self.n_images
        return super().default_of(name)

    @property
    def kind(self) -> str:
        """``fluctuation`` for random images, ``data`` for those of a data set."""
        return "data" if self.random is None else "fluctuation"


def _restarts() -> ClimbSpec:
    return ClimbSpec(
        (
            AscentSpec(11, 0.8, n_steps=0, objective="pre-activation"),
            AscentSpec(91, 0.8, n_steps=0, schedule="cosine"),
        )
    )


@dataclass(frozen=True)
class NullSpec(Spec):
    """How alike OIPs of different maps of a layer are: the null of `VarietySpec`.

    Attributes
    ----------
    fluctuation, n_starts, climb, tries
        The restarts of all maps, as in `VarietySpec`.
    seed
        Of the pairs that are drawn.
    quantile
        Share of the null's pairs that stay below the threshold, in (0, 1].
    n_classes
        Equal classes from 0 to 1 in which similarities are counted.

    Examples
    --------
    >>> NullSpec(n_starts=16).quantile
    0.99
    """

    fluctuation: FluctuationSpec = field(default_factory=FluctuationSpec)
    n_starts: int = 64
    climb: ClimbSpec = field(default_factory=_restarts)
    tries: int = 4
    seed: int = 0
    quantile: float = 0.99
    n_classes: int = 200

    def __post_init__(self) -> None:
        instance("fluctuation", self.fluctuation, FluctuationSpec)
        if self.fluctuation.joining:
            raise InputError("restarts keep their length scales: leave out join_epochs")
        instance("climb", self.climb, ClimbSpec)
        self._set("n_starts", count("n_starts", self.n_starts, 2, 10_000))
        self._set("tries", count("tries", self.tries, 1, 1000))
        self._set("seed", count("seed", self.seed, 0))
        self._set("quantile", number("quantile", self.quantile, above=0.0, high=1.0))
        self._set("n_classes", count("n_classes", self.n_classes, 2, MANY))


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
        Cadena et al. 2018); 0 for none.
    tries
        How many times `n_starts` starts are tried at most, where some don't come to excite
        the map.
    null_seed, quantile, n_classes
        Of the layer's null (`NullSpec`), from which the threshold comes.
    margin
        An ascent that is kept away from a pattern's typical restarts is then also away from
        the pattern's mean; so it is kept below this share of the threshold.
    n_typical
        From how many restarts of each pattern ascents are kept away.
    n_images
        Of how many patterns, the commonest first, an image is kept.

    Examples
    --------
    >>> VarietySpec(n_starts=16).null == NullSpec(n_starts=16)
    True
    """

    fluctuation: FluctuationSpec = field(default_factory=FluctuationSpec)
    n_starts: int = 64
    climb: ClimbSpec = field(default_factory=_restarts)
    n_unlike: int = 8
    tries: int = 4
    null_seed: int = 0
    quantile: float = 0.99
    n_classes: int = 200
    margin: float = 0.9
    n_typical: int = 4
    n_images: int = 8

    def __post_init__(self) -> None:
        self._set("n_starts", self.null.n_starts)
        for name in ("tries", "quantile", "n_classes"):
            self._set(name, getattr(self.null, name))
        self._set("null_seed", self.null.seed)
        self._set("n_unlike", count("n_unlike", self.n_unlike, 0, 10_000))
        self._set("margin", number("margin", self.margin, above=0.0, high=1.0))
        self._set("n_typical", count("n_typical", self.n_typical, 1, 10_000))
        self._set("n_images", count("n_images", self.n_images, 1, MANY))

    def led_by(self, prior: Prior | str) -> VarietySpec:
        """The same restarts under a prior."""
        return self.replace(climb=led_by(self.climb, prior))

    @property
    def null(self) -> NullSpec:
        """The null of the layer: one for all its maps, however many are asked for."""
        return NullSpec(
            self.fluctuation,
            self.n_starts,
            self.climb,
            self.tries,
            self.null_seed,
            self.quantile,
            self.n_classes,
        )


@dataclass(frozen=True)
class CorrespondenceSpec(Spec):
    """Which maps of two trainings correspond, and the nulls by which that is judged.

    Attributes
    ----------
    scan
        The search for an OIP of each map that has none, also of the untrained networks.
    untrained
        Networks that were never trained, two at least: which initial weights they have, counted
        from those of the trained ones on.
    seed
        Of the shuffle that tears apart what belongs together.
    batch_size
        Images per pass. Within it, each image is paired with the one before for the null.
    least_spread
        A map whose deviation is below this share of its root mean square counts as constant.
    n_images
        How many of the test images are shown, the first ones; None for all.
    n_searched
        For how many of the untrained networks OIPs are searched, the first ones.

    Examples
    --------
    >>> CorrespondenceSpec(n_images=1000).untrained
    (1, 2)
    """

    scan: ScanSpec = field(default_factory=lambda: ScanSpec().compared())
    untrained: tuple[int, ...] = (1, 2)
    seed: int = 0
    batch_size: int = 250
    least_spread: float = 1e-4
    n_images: int | None = None
    n_searched: int = 2

    def __post_init__(self) -> None:
        instance("scan", self.scan, ScanSpec)
        untrained = sequence("untrained", self.untrained)
        self._set("untrained", tuple(count("untrained", k, 1) for k in untrained))
        if not 2 <= len(set(self.untrained)) == len(self.untrained) <= _MOST_UNTRAINED:
            raise InputError(
                f"untrained must name 2 to {_MOST_UNTRAINED} networks, not {self.untrained}"
            )
        self._set("seed", count("seed", self.seed, 0))
        self._set("batch_size", count("batch_size", self.batch_size, 2, MANY))
        self._set("least_spread", number("least_spread", self.least_spread, low=0.0))
        if self.n_images is not None:
            self._set("n_images", count("n_images", self.n_images, 2, MANY))
        most = len(self.untrained)
        self._set("n_searched", count("n_searched", self.n_searched, 2, most))


@dataclass(frozen=True)
class ConditionSpec(Spec):
    """What an OIP is put to, to learn how far it can be trusted.

    Attributes
    ----------
    moves
        By how much its start is moved: the deviation of noise, in units of the start's own.
    n_draws
        How often, by each.
    seed
        Of all noise; each OIP has a stream of its own.
    pixels
        By how many pixels at most the finished image is moved, in rows and in columns.
    noise, n_noisy
        Deviation of the noise that is put on it, in units of an image's own (of a quarter of the
        range where a network takes one), and how many noisy copies there are.

    Examples
    --------
    >>> ConditionSpec(moves=(1e-3,)).n_draws
    8
    """

    moves: tuple[float, ...] = (1e-7, 1e-3)
    n_draws: int = 8
    seed: int = 0
    pixels: int = 1
    noise: float = 0.3
    n_noisy: int = 8

    def __post_init__(self) -> None:
        moves = sequence("moves", self.moves)
        self._set("moves", tuple(number("moves", move, above=0.0, high=1.0) for move in moves))
        self._set("n_draws", count("n_draws", self.n_draws, 1, 1000))
        self._set("seed", count("seed", self.seed, 0))
        self._set("pixels", count("pixels", self.pixels, 1, 100))
        self._set("noise", number("noise", self.noise, above=0.0, high=100.0))
        self._set("n_noisy", count("n_noisy", self.n_noisy, 1, 1000))
