"""A whole study as a value: one network, one layer, all that is done with them."""

from __future__ import annotations

from dataclasses import dataclass, field

from .ascents import AscentSpec
from .fields import instance, text
from .networks import CnnSpec
from .searches import ScanSpec, TrialSpec, rungs_of
from .spec import Spec
from .starts import FluctuationSpec, GridSpec
from .varieties import VarietySpec

# Without noise coarse patterns make hundreds of exact ties in the poolings, and the last bit
# decides which way an ascent goes. So little costs no response (benchmarks/NOISE.md).
_NOISE = 0.003


def _scan() -> ScanSpec:
    return ScanSpec(noise=_NOISE)


def _compared() -> VarietySpec:
    return VarietySpec(n_starts=8, n_unlike=0, n_images=3)


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
    compared
        Fewer restarts, by which priors and trainings are compared.

    Examples
    --------
    >>> spec = StudySpec.of(seed=3)
    >>> spec.cnn.weights_seed, spec.replace(layer="Conv2D_2").layer
    (3, 'Conv2D_2')
    """

    cnn: CnnSpec = field(default_factory=CnnSpec)
    layer: str = "Conv2D_3"
    trials: TrialSpec = field(default_factory=TrialSpec)
    scan: ScanSpec = field(default_factory=_scan)
    variety: VarietySpec = field(default_factory=VarietySpec)
    compared: VarietySpec = field(default_factory=_compared)

    def __post_init__(self) -> None:
        instance("cnn", self.cnn, CnnSpec)
        self._set("layer", text("layer", self.layer))
        instance("trials", self.trials, TrialSpec)
        instance("scan", self.scan, ScanSpec)
        instance("variety", self.variety, VarietySpec)
        instance("compared", self.compared, VarietySpec)

    @property
    def article_scan(self) -> ScanSpec:
        """Article X to the letter, for maps that `trials` leave without an OIP.

        Every pattern takes ten steps, the best 8 take twice as many as the trials do: 1200 in the
        full study. One OIP a map is kept. The grid is that of `scan`, unless it has more patterns
        than the article's. Where the precursor scan is the article's already, it is that one.

        Examples
        --------
        >>> scan = StudySpec().article_scan
        >>> [(rung.n_starts, rung.ascent.n_epochs) for rung in scan.rungs]
        [(0, 10), (8, 1200)]
        """
        if self.scan.strategy == "article":
            return self.scan
        select, final = rungs_of("article")
        n_epochs = 2 * self.trials.ascent.n_epochs
        rungs = (select, final.replace(ascent=final.ascent.replace(n_epochs=n_epochs)))
        grid = min(self.scan.grid, GridSpec(), key=lambda grid: grid.n_patterns)
        return ScanSpec(grid, "article", rungs, n_oips=1, keeps_frames=False)

    @classmethod
    def of(cls, seed: int = 0, quick: bool = False) -> StudySpec:
        """The study of one root seed; the quick one does less of the same work."""
        spec = cls(
            cnn=CnnSpec(weights_seed=seed, order_seed=seed),
            trials=TrialSpec(fluctuation=FluctuationSpec(seed=seed)),
            scan=_scan().replace(seed=seed),
            variety=VarietySpec(fluctuation=FluctuationSpec(seed=seed)),
            compared=_compared().replace(fluctuation=FluctuationSpec(seed=seed)),
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
            compared=spec.compared.replace(n_starts=4),
        )
