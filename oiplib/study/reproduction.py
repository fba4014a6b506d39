"""The articles to the letter: what their procedures find here, beside our own way.

Article IX shows each map random images and climbs from those that it responds to; article X shows
the maps that are left all coarse patterns. Which maps are found so depends on the weights of a
network, so the articles' indices are never expected here; their counts are what is compared. What
the articles show without a word on it, smoothing and length scales that join on the way, was built
by our reading, and is judged against the same random images with another seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..analysis.estimates import Answer, Estimate, drawn, over_maps, share
from ..analysis.growth import compared_with_article
from ..analysis.variety import pairs_within
from ..store import Oip, Scan
from ..values import (
    FluctuationSpec,
    FluctuationStart,
    Maps,
    PatternStart,
    ScreeningSpec,
    TrialSpec,
)
from .questions import null
from .study import Study
from .trainings import others

#: Maps of the third layer for which article IX shows OIPs, of the author's network
#: ("Patterns that trigger the other maps of our CNN").
ARTICLE_IX = (
    *(0, 2, 4, 7, 8, 12, 17, 18, 19, 20, 21, 23, 27, 28, 30, 31, 32, 33, 34, 36, 39),
    *(41, 42, 45, 48, 52, 54, 56, 57, 58, 61, 62, 64, 67, 68, 71, 72, 76, 80, 82, 84),
    *(85, 86, 87, 90, 92, 102, 103, 105, 106, 107, 110, 114, 115, 117, 119, 120, 122),
    *(123, 126, 127),
)

#: Maps for which article X shows OIPs ("OIPs for additional 33 maps"). One is in both lists.
ARTICLE_X = (
    *(1, 3, 9, 15, 16, 29, 35, 37, 38, 44, 46, 50, 51, 55, 59, 60, 70, 78, 81, 91, 93),
    *(94, 96, 97, 101, 104, 108, 109, 111, 112, 116, 122, 125),
)

#: Maps of the articles' third layer.
ARTICLE_MAPS = 128

#: Maps of which article X shows five OIPs each ("Unique OIPs?").
ARTICLE_FIVE = (46, 81, 116, 125, 127)

#: Epochs in the articles' call that builds a start (``li_epochs``), one for each length scale.
ARTICLE_EPOCHS = (20, 50, 100, 400)

#: Deviation in pixels by which starts are smoothed here: half a cell of the finest grid that the
#: articles' mixture has.
SMOOTHING = 2.0

#: How many OIPs of a map are shown, and how many random images may lead to them.
N_SHOWN, N_TRIED = 5, 32

#: Other seeds of the mixture, by which its variants are judged.
N_NULLS = 3

#: Of how many maps, drawn by a fixed seed, the variants are asked.
N_VARIED = 64

# Of the steps that article IX prints: the one at which the loss has come half the way.
_FIFTH = 4


@dataclass(frozen=True)
class Counts:
    """How many maps the articles' procedures find an OIP for.

    Attributes
    ----------
    by_trials : Answer
        Share of the maps by article IX, beside all trainings.
    by_scan : Answer
        Share by article X of the maps that are left.
    together : Answer
        Share of the maps by both.
    found : list of int
        The maps by article IX.
    left : list of int
        Those without an OIP by it.
    filled : list of int
        Those among them with an OIP by article X.
    """

    by_trials: Answer
    by_scan: Answer
    together: Answer
    found: list[int]
    left: list[int]
    filled: list[int]


@dataclass(frozen=True)
class Five:
    """Some OIPs of one map by the articles' procedure.

    Attributes
    ----------
    map : int
    origin : str
        ``fluctuation`` or ``pattern``.
    oips : list of Oip
        At most `N_SHOWN`.
    alike : array, (pairs,)
        Similarity of each two, in [0, 1].
    """

    map: int
    origin: str
    oips: list[Oip]
    alike: np.ndarray


@dataclass(frozen=True)
class Variant:
    """What random images of another kind find, against the articles' mixture.

    Attributes
    ----------
    name : str
    fluctuation : FluctuationSpec
    found : Estimate
        Share of the maps with an OIP.
    n_found, n_maps : int
        How many that are, of how many.
    more, fewer : int
        Maps found here and not by the mixture, and the other way round.
    loss : Estimate
        Best loss of a map over its best by the mixture, in the median of the maps found by both.
    larger : Estimate
        Share of these maps for which it is larger.
    """

    name: str
    fluctuation: FluctuationSpec
    found: Estimate
    n_found: int
    n_maps: int
    more: int
    fewer: int
    loss: Estimate
    larger: Estimate


def derive_as_articles(study: Study, maps: Maps = None) -> list[int]:
    """Article X for all maps that article IX leaves without an OIP; more starts for some maps.

    Nothing is done for a network that came as a model: the articles say nothing of it.

    Parameters
    ----------
    study
        Whose layer; article IX is done already (`Study.derive_from_fluctuations`).
    maps
        Which maps; all by default.

    Returns
    -------
    list of int
        The maps that had not been searched by article X before.
    """
    if study.network.spec is None:
        return []
    left, scan = left_by_trials(study, maps), study.spec.article_scan
    searched = study.search(scan, left, "Article X")
    five = [map for map in ARTICLE_FIVE if map in study.check_maps(maps)]
    for_five = [map for map in five if map in left]
    study.search(scan.replace(n_oips=N_SHOWN), for_five, "Article X, five OIPs")
    of_trials = [map for map in five if map not in left]
    study.search(_more_trials(study), of_trials, "Article IX, five OIPs")
    return searched


def left_by_trials(study: Study, maps: Maps = None) -> list[int]:
    """The maps that article IX showed random images and found no OIP for."""
    found = {oip.map for oip in study.oips_of_trials()}
    tried = {scan.map for scan in study.scans("fluctuation")}
    return [map for map in study.check_maps(maps) if map in tried and map not in found]


def article_oips(study: Study, maps: Maps = None) -> dict[int, Oip]:
    """The best OIP of each map by the articles' procedures: by article IX, else by article X."""
    indices = study.check_maps(maps)
    by_trials = _best_of_each(study.oips_of_trials())
    by_scan = _best_of_each(_oips_of_scan(study))
    best = by_scan | by_trials
    return {map: best[map] for map in indices if map in best}


def counts(study: Study, maps: Maps = None) -> Counts:
    """How many maps the articles' procedures find an OIP for, here and in other trainings.

    There, a map counts as found by a start that it responds to: one pass of images tells it.
    """
    indices = study.check_maps(maps)
    left, best = left_by_trials(study, indices), article_oips(study, indices)
    found = [map for map in indices if map in best and map not in left]
    filled = [map for map in left if map in best]
    responding = [_responding(part, indices) for part in others(study)]
    of_networks = [(len(found), len(left), len(filled))]
    of_networks += [(int(a.sum()), int((~a).sum()), int((b & ~a).sum())) for a, b in responding]
    return Counts(
        by_trials=Answer(
            share([map in found for map in indices]),
            tuple(_over(n, n + rest) for n, rest, _ in of_networks),
        ),
        by_scan=Answer(
            share([map in filled for map in left]),
            tuple(_over(more, rest) for _, rest, more in of_networks),
        ),
        together=Answer(
            share([map in best for map in indices]),
            tuple(_over(n + more, n + rest) for n, rest, more in of_networks),
        ),
        found=found,
        left=left,
        filled=filled,
    )


def halfway(oips: Sequence[Oip]) -> Estimate:
    """Loss at the fifth of the steps that article IX prints over the last one: the median.

    No values where the ascents don't have the article's 600 steps.
    """
    return over_maps(compared_with_article([oip.trace for oip in oips]).relative[:, _FIFTH])


def last_change(oips: Sequence[Oip]) -> Estimate:
    """Change of the loss in an ascent's last step, relative to the loss: the median."""
    traces = [oip.trace for oip in oips if len(oip.trace) > 1 and oip.loss > 0]
    return over_maps(np.array([(trace[-1] - trace[-2]) / trace[-1] for trace in traces]))


def seconds_each(study: Study, scans: Sequence[Scan]) -> float:
    """How long the search of a map took on the machine that did it; NaN if that isn't known.

    Maps are searched together, so it is the mean over all maps of the same runs.
    """
    run_ids = sorted({scan.run_id for scan in scans})
    seconds = [study.store.run(id).seconds for id in run_ids]
    known = [value for value in seconds if value is not None]
    return sum(known) / len(scans) if scans and len(known) == len(run_ids) else float("nan")


def article_scans(study: Study, maps: Maps = None) -> list[Scan]:
    """The finished scans by article X, those that `derive_as_articles` asked for."""
    left = left_by_trials(study, maps)
    scans = study.store.scans(study.layer.id, study.spec.article_scan.sha256)
    return [scan for scan in scans if scan.map in left]


def five_each(study: Study, maps: Maps = None) -> list[Five]:
    """Several OIPs of each of `ARTICLE_FIVE`, by the procedure that found the map.

    Article IX: from the first random images that lead to one. Article X: the best of the patterns
    that were climbed to the end. Our network's maps of these numbers are other filters.
    """
    left = left_by_trials(study, maps)
    tried, scanned = _oips_of_more_trials(study), _oips_of_scan(study)
    found = []
    for map in ARTICLE_FIVE:
        if map not in study.check_maps(maps):
            continue
        of_map = [oip for oip in (scanned if map in left else tried) if oip.map == map][:N_SHOWN]
        images = np.array([oip.image for oip in of_map])
        alike = pairs_within(images).peaks if len(of_map) > 1 else np.empty(0)
        found.append(Five(map, "pattern" if map in left else "fluctuation", of_map, alike))
    return found


def kinds(study: Study) -> dict[str, FluctuationSpec]:
    """The random images that are compared, by name: the mixture first, its `N_NULLS` nulls last.

    A null is the mixture with another seed, so it differs from it by chance alone.
    Joining is left out where a mixture has a single length scale.
    """
    trials = study.spec.trials
    mixture = trials.fluctuation.replace(smoothing=0.0, join_epochs=())
    found = {"mixture as it is": mixture, "smoothed": mixture.replace(smoothing=SMOOTHING)}
    epochs = _joining(mixture, trials.ascent.n_epochs)
    if epochs:
        found["joining"] = mixture.replace(join_epochs=epochs)
        found["smoothed and joining"] = found["smoothed"].replace(join_epochs=epochs)
    nulls = {
        f"mixture, seed {seed}": mixture.replace(seed=seed)
        for seed in range(mixture.seed + 1, mixture.seed + 1 + N_NULLS)
    }
    return found | nulls


def derive_variants(study: Study, maps: Maps = None) -> list[int]:
    """Article IX with each of `kinds`; returns the maps that weren't searched so before.

    At most `N_VARIED` of the maps are asked. No OIP is kept, so maps keep those that they have.
    """
    if study.network.spec is None:
        return []
    varied = drawn(study.check_maps(maps), N_VARIED)
    searched = [
        study.search(spec, varied, f"Article IX, {name}") for name, spec in _trials(study).items()
    ]
    return sorted({map for of_kind in searched for map in of_kind})


def variants(study: Study, maps: Maps = None) -> list[Variant]:
    """What each of `kinds` finds, as far as `derive_variants` has tried it; the mixture first.

    Where the mixture is that of the study's own trials, it is told by what these found.
    """
    indices = drawn(study.check_maps(maps), N_VARIED)
    best: dict[str, dict[int, float] | None] = dict.fromkeys(kinds(study))
    best[next(iter(best))] = {
        map: oip.loss
        for map, oip in _best_of_each(study.oips_of_trials()).items()
        if map in indices
    }
    best |= {name: _best_losses(study, spec, indices) for name, spec in _trials(study).items()}
    tried = {name: losses for name, losses in best.items() if losses is not None}
    mixture = next(iter(tried.values()))
    found = []
    for name, losses in tried.items():
        both = [map for map in mixture if map in losses]
        ratios = np.array([losses[map] / mixture[map] for map in both])
        found.append(
            Variant(
                name=name,
                fluctuation=kinds(study)[name],
                found=share([map in losses for map in indices]),
                n_found=len(losses),
                n_maps=len(indices),
                more=len(losses.keys() - mixture.keys()),
                fewer=len(mixture.keys() - losses.keys()),
                loss=over_maps(ratios),
                larger=share(ratios > 1),
            )
        )
    return found


def alike_by_chance(study: Study) -> tuple[float, float]:
    """Similarity of OIPs of different maps: the median, and where a pattern is said to end."""
    from ..analysis.numbers import quartiles
    from ..analysis.uniqueness import class_middles

    of_layer = null(study)
    return quartiles(class_middles(of_layer.peaks.sum(axis=0))).median, of_layer.threshold


def _more_trials(study: Study) -> TrialSpec:
    return study.spec.trials.replace(n_trials=N_TRIED)


def _trials(study: Study) -> dict[str, TrialSpec]:
    trials = study.spec.trials
    return {
        name: trials.replace(fluctuation=kind, keeps_oips=False)
        for name, kind in kinds(study).items()
        if kind != trials.fluctuation
    }


def _joining(mixture: FluctuationSpec, n_epochs: int) -> tuple[int, ...]:
    """At which epoch each length scale joins; empty if there is only one.

    The longest is in the start. The others join at the articles' epochs, which belong to 600.
    """
    used = [place for place, factor in enumerate(mixture.factors) if factor]
    if len(used) < 2:
        return ()
    longest = min(used, key=lambda place: mixture.grids[place][0] * mixture.grids[place][1])
    of_articles = [ARTICLE_EPOCHS[min(k, 3)] for k in range(len(mixture.grids))]
    epochs = [max(1, epoch * n_epochs // 600) for epoch in of_articles]
    epochs[longest] = 0
    return tuple(epochs)


def _best_losses(study: Study, spec: TrialSpec, maps: Sequence[int]) -> dict[int, float] | None:
    """Map -> the largest loss to which one of its starts rose; None if they weren't tried."""
    scans = study.store.scans(study.layer.id, spec.sha256)
    asked = [scan for scan in scans if scan.map in maps]
    if len(asked) < len(maps):
        return None
    best = {}
    for scan in asked:
        first, last = scan.rungs
        began = dict(zip(first.starts.tolist(), first.losses.tolist(), strict=True))
        rose = [
            float(loss)
            for start, loss in zip(last.starts.tolist(), last.losses, strict=True)
            if loss > began[start]
        ]
        if rose and scan.map is not None:
            best[scan.map] = max(rose)
    return best


def _responding(part: Study, maps: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Which maps respond to one of their random images, and to a pattern, bool (maps,) each."""
    from ..engine.fluctuations import fluctuation_images
    from ..engine.images import from_standard
    from ..search.screening import screen

    trials, grid = part.spec.trials, part.spec.article_scan.grid
    starts = [
        FluctuationStart(trials.fluctuation, map, trial)
        for map in maps
        for trial in range(trials.n_trials)
    ]
    images = from_standard(fluctuation_images(starts, part.image_shape), part.inputs)
    owners = np.array([start.map for start in starts])
    losses = part.engine(images)[np.arange(len(starts)), owners]
    screening = screen(part.engine, ScreeningSpec(grid, n_top=1))
    return (losses > 0).reshape(len(maps), -1).any(axis=1), screening.n_reacting[list(maps)] > 0


def _oips_of_scan(study: Study) -> list[Oip]:
    """What article X found for the maps that were left, the strongest of a map first."""
    scan, left = study.spec.article_scan, left_by_trials(study)
    found = []
    for oip in study.oips():
        start = oip.start
        if not isinstance(start, PatternStart) or oip.map not in left:
            continue
        same_starts = (start.grid, start.noise) == (scan.grid, scan.noise)
        if same_starts and oip.spec_sha256 == scan.climb.sha256:
            found.append(oip)
    return sorted(found, key=lambda oip: (oip.of_map, -oip.loss))


def _oips_of_more_trials(study: Study) -> list[Oip]:
    trials = _more_trials(study)
    more = study.part(study.spec.replace(trials=trials), study.network.id).oips_of_trials()
    return sorted(more, key=lambda oip: (oip.of_map, oip.start_fields["trial"]))


def _best_of_each(oips: Sequence[Oip]) -> dict[int, Oip]:
    best: dict[int, Oip] = {}
    for oip in oips:
        if oip.of_map not in best or oip.loss > best[oip.of_map].loss:
            best[oip.of_map] = oip
    return best


def _over(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
