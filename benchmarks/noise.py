"""What noise on the patterns costs and gives: losses, and how sure the image is of a race.

A coarse pattern has many equal pixels, so hundreds of poolings meet exact ties, and the last bit
of a sum decides which way an ascent goes. Noise on the pattern removes the ties.

``python benchmarks/noise.py`` writes ``NOISE.md`` beside this file, from races of all maps of the
network of ``oip.db``. It takes a quarter of an hour and is no part of the benchmarks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oiplib import Study, scan
from oiplib.analysis.estimates import Estimate, over_maps
from oiplib.engine.ascent import climb
from oiplib.engine.images import project
from oiplib.engine.starts import start_images
from oiplib.study.rows import screening_of
from oiplib.values import ScanSpec, stages_of

#: Deviations of the noise, against none. The first is no more than the last bit of a pixel: what
#: it does is what chance does.
LAST_BIT = 1e-7
NOISES = (0.003, 0.01, 0.03)

#: Seeds of the races, each run with and without noise.
SEEDS = (0, 1, 2, 3)

#: How often the start of an OIP is moved by the last bit, and when an image is the same.
N_MOVED, ALIKE, NEAR = 4, 0.99, 0.01


@dataclass(frozen=True)
class Raced:
    """What races of all maps reached, one race for each seed.

    Attributes
    ----------
    losses : (seeds, maps)
        The best of each map.
    alike, near : (seeds, maps)
        Share of the ascents from moved starts that end in the same image: correlated by more
        than `ALIKE`, and no pixel further away than `NEAR`. NaN if it wasn't asked.
    """

    losses: np.ndarray
    alike: np.ndarray
    near: np.ndarray


def main() -> None:
    """Race all maps with and without noise, move the starts, and write what came of it."""
    study = Study()
    begin = _cpu_seconds()
    none = _raced(study, 0.0)
    last_bit = _raced(study, LAST_BIT, moved=False)
    noisy = {noise: _raced(study, noise) for noise in NOISES}
    half = len(SEEDS) // 2
    n_maps = none.losses.shape[1]
    lines = [
        "# What noise on the patterns costs and gives",
        "",
        f"Races of all {n_maps} maps of {study.layer.name}, with {len(SEEDS)} seeds each, from "
        "patterns as they are and from patterns with noise (its deviation; the patterns have a "
        "deviation of 1). Loss: the best of a map over the best of the race with the same seed "
        "and without noise, geometric mean over the seeds, median and mean over the maps, with "
        "intervals by bootstrap over maps; then the smallest and the largest median of one seed, "
        "and the middle nine tenths of all races of a map. Nulls: the same races with other "
        f"seeds (the last {half} against the first), and noise as large as the last bit of a "
        "pixel. Stable: the start of each best OIP is moved by "
        f"{LAST_BIT:g}, {N_MOVED} times; share of the ascents whose image correlates with the "
        f"OIP by more than {ALIKE}, and of those in which no pixel differs by more than {NEAR}. "
        "Made by `python benchmarks/noise.py`.",
        "",
        "| noise | loss, median | mean | of one seed | nine tenths of the maps | "
        "stable: correlation | stable: pixels |",
        "|---|---|---|---|---|---|---|",
        f"| none | 1 | 1 | | | {_stabilities(none)} |",
        _line("none, other seeds (null)", none.losses[half:] / none.losses[:half], ""),
        _line(f"{LAST_BIT:g} (null)", last_bit.losses / none.losses, ""),
        *(
            _line(f"{noise:g}", raced.losses / none.losses, _stabilities(raced))
            for noise, raced in noisy.items()
        ),
        "",
        *(_verdict(noise, raced.losses / none.losses) for noise, raced in noisy.items()),
        "",
        f"All of it took {_cpu_seconds() - begin:,.0f} seconds of CPU.",
    ]
    (Path(__file__).parent / "NOISE.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _raced(study: Study, noise: float, moved: bool = True) -> Raced:
    return Raced(*np.swapaxes([_race(study, noise, seed, moved) for seed in SEEDS], 0, 1))


def _race(study: Study, noise: float, seed: int, moved: bool) -> np.ndarray:
    """A race of all maps: loss, and how often moved starts end in the same image, (3, maps)."""
    n_maps = study.layer.n_maps
    spec = study.spec.scan.replace(seed=seed, noise=noise, n_oips=1, keeps_frames=False)
    found = list(scan(study.engine, spec, range(n_maps), screening_of(study.screening())))
    result = np.full((3, n_maps), np.nan)
    result[0] = [each.rungs[-1].losses.max() for each in found]
    if moved:
        starts = [each.starts[0] for each in found]
        ends = np.array([each.ascents.images[0] for each in found])
        images = start_images(starts, study.engine.image_shape, study.inputs)
        result[1:] = _stable(study, spec, images, ends)
    print(noise, seed, np.round(np.median(result, axis=1), 3), flush=True)
    return result


def _stable(
    study: Study, spec: ScanSpec, images: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of each map the share of moved starts that end in its OIP, by correlation and by pixels."""
    rng = np.random.default_rng(0)
    many = np.repeat(images, N_MOVED, axis=0)
    noise = np.float32(LAST_BIT) * rng.standard_normal(many.shape, np.float32)
    moved = np.asarray(project(many + noise, study.inputs))
    owners = np.repeat(np.arange(len(images)), N_MOVED)
    ended = climb(study.engine, moved, owners, stages_of(spec.climb.to_dict())).images
    flat = ended.reshape(len(images), N_MOVED, -1)
    own = ends.reshape(len(images), 1, -1)
    correlations = _unit(flat) @ np.swapaxes(_unit(own), 1, 2)
    near = np.abs(flat - own).max(axis=2) <= NEAR
    return (correlations[..., 0] > ALIKE).mean(axis=1), near.mean(axis=1)


def _unit(images: np.ndarray) -> np.ndarray:
    centred = images - images.mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.linalg.norm(centred, axis=-1, keepdims=True))


def _cost(ratios: np.ndarray, statistic: Callable[[np.ndarray], float] = np.median) -> Estimate:
    """Of ratios of losses, (seeds, maps)."""
    return over_maps(np.exp(np.log(ratios).mean(axis=0)), statistic)


def _line(name: str, ratios: np.ndarray, stabilities: str) -> str:
    medians, (low, high) = np.median(ratios, axis=1), np.quantile(ratios, [0.05, 0.95])
    return (
        f"| {name} | {_cost(ratios).text('.4f')} | {_cost(ratios, np.mean).text('.4f')} | "
        f"{medians.min():.3f} to {medians.max():.3f} | {low:.2f} to {high:.2f} | "
        f"{stabilities or '|'} |"
    )


def _stabilities(raced: Raced) -> str:
    shares = (over_maps(of.mean(axis=0), np.mean) for of in (raced.alike, raced.near))
    return " | ".join(share.text(".1%") for share in shares)


def _verdict(noise: float, ratios: np.ndarray) -> str:
    costs = _cost(ratios), _cost(ratios, np.mean)
    if any(cost.high < 1 for cost in costs):
        return f"- Noise of {noise:g} costs loss: an interval lies below 1."
    least = min(cost.low for cost in costs)
    return (
        f"- Noise of {noise:g} costs nothing that these races show: both intervals reach 1, and "
        f"their lower ends are at {least:.4f}."
    )


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system


if __name__ == "__main__":
    main()
