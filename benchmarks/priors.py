"""What a prior costs and gives: losses, response under shifts, likeness of restarts, pictures.

``python benchmarks/priors.py`` writes ``PRIORS.md`` and ``priors.png`` beside this file, on 32
maps of the network of ``oip.db`` drawn by a fixed seed. It takes some minutes and is no part of
the benchmarks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from oiplib import (
    AscentSpec,
    ClimbSpec,
    FluctuationSpec,
    FluctuationStart,
    Jitter,
    Prior,
    Smooth,
    Study,
    fluctuation_images,
    scan,
)
from oiplib.analysis.similarity import similarities
from oiplib.engine.ascent import Ascents, climb
from oiplib.pictures import displayable
from oiplib.study.rows import screening_of
from oiplib.values import seed_of

N_MAPS, N_STARTS = 32, 16
N_SHOWN = 8

LOOKS = {
    Prior(): "strong, but often a checkered texture",
    Smooth(0.5): "lines begin to close",
    Smooth(1): "strokes that a person can read",
    Smooth(1.5): "soft",
    Smooth(2): "blurred",
    Jitter(1): "sharp, and steady under shifts",
    Smooth(1) + Jitter(1): "legible and steady",
}


@dataclass(frozen=True)
class Restarted:
    """Where the restarts of each map ended under a prior, and what their best reach.

    Attributes
    ----------
    images : (maps, starts, height, width, channels)
    losses : (maps, starts)
    shifted : (maps,)
        Mean response to the best image, moved by at most a pixel, over the response to it.
    """

    images: np.ndarray
    losses: np.ndarray
    shifted: np.ndarray


def main() -> None:
    """Restart all maps under each prior, race them under the smooth one, and draw."""
    study = Study()
    maps = np.sort(np.random.default_rng(2).permutation(study.layer.n_maps)[:N_MAPS])
    best = {oip.of_map: oip for oip in study.oips(best=True)}
    stored = np.array([best[int(map)].loss for map in maps])
    by_prior = {prior: _restarted(study, maps, prior) for prior in LOOKS}
    lines = [
        "# What a prior costs and gives",
        "",
        f"{N_MAPS} maps of {study.layer.name}, drawn by a fixed seed, {N_STARTS} random starts "
        "each: 10 steps up the pre-activation, 80 up the response, at 0.8 annealed by cosine. "
        "The loss is that of the best start over the best OIP stored, which comes from a race "
        "without a prior. Shifted: the mean response to the best image moved by at most one "
        "pixel, over the response to it. Alike: similarity of two OIPs of one map, and of two "
        "maps (null). Made by `python benchmarks/priors.py`.",
        "",
        "| prior | loss, median | least | shifted | alike within a map | null: median, 95 % | "
        "looks |",
        "|---|---|---|---|---|---|---|",
        *[_line(prior, by_prior[prior], stored) for prior in LOOKS],
        "",
        *_raced(study, maps, stored),
    ]
    folder = Path(__file__).parent
    (folder / "PRIORS.md").write_text("\n".join(lines) + "\n")
    shown = maps[:: N_MAPS // N_SHOWN]
    raced = [best[int(map)].image for map in shown]
    _figure(shown, raced, {k: v for k, v in by_prior.items() if k}, maps).savefig(
        folder / "priors.png", dpi=110
    )


def _restarted(study: Study, maps: np.ndarray, prior: Prior) -> Restarted:
    layer = study.engine
    starts = [FluctuationStart(FluctuationSpec(), int(m), k) for m in maps for k in range(N_STARTS)]
    stages = ClimbSpec(
        (
            AscentSpec(11, 0.8, n_steps=0, objective="pre-activation", prior=prior),
            AscentSpec(81, 0.8, n_steps=0, schedule="cosine", prior=prior),
        )
    ).stages
    seeds = np.array([seed_of(start) for start in starts], np.uint64)
    owners = np.repeat(maps, N_STARTS)
    images = fluctuation_images(starts, layer.image_shape)
    ended: Ascents = climb(layer, images, owners, stages, seeds=seeds)
    losses = ended.losses.reshape(len(maps), N_STARTS)
    of_maps = ended.images.reshape(len(maps), N_STARTS, *layer.image_shape)
    best = of_maps[np.arange(len(maps)), losses.argmax(axis=1)]
    moved = [np.roll(best, (dy, dx), (1, 2)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    answers = [layer(each)[np.arange(len(maps)), maps] for each in moved]
    return Restarted(of_maps, losses, np.mean(answers, axis=0) / losses.max(axis=1))


def _line(prior: Prior, restarted: Restarted, stored: np.ndarray) -> str:
    ratio = restarted.losses.max(axis=1) / stored
    flat = restarted.images.reshape(-1, *restarted.images.shape[2:])
    alike = similarities(flat, flat)
    owners = np.repeat(np.arange(len(ratio)), N_STARTS)
    upper = np.triu(np.ones_like(alike, bool), 1)
    same = owners[:, None] == owners
    within, null = alike[upper & same], alike[upper & ~same]
    print(prior, f"{np.median(ratio):.2f}", flush=True)
    return (
        f"| {prior} | {np.median(ratio):.2f} | {ratio.min():.2f} | "
        f"{np.median(restarted.shifted):.2f} | {np.median(within):.2f} | "
        f"{np.median(null):.2f}, {np.quantile(null, 0.95):.2f} | {LOOKS[prior]} |"
    )


def _raced(study: Study, maps: np.ndarray, stored: np.ndarray) -> list[str]:
    """The race itself under two priors, against the race without one."""
    screening = screening_of(study.screening())
    lines = ["The race under a prior, best loss over the best OIP stored:", ""]
    for prior in (Smooth(1), Smooth(1) + Jitter(1)):
        found = scan(study.engine, study.spec.scan.led_by(prior), maps, screening)
        ratio = np.array([each.ascents.losses.max(initial=0) for each in found]) / stored
        low, middle, high = np.quantile(ratio, [0.25, 0.5, 0.75])
        lines.append(
            f"- {prior}: {middle:.2f} in the median (quartiles {low:.2f} and {high:.2f}, least "
            f"{ratio.min():.2f})"
        )
        print(lines[-1], flush=True)
    return lines


def _figure(
    shown: np.ndarray, raced: list[np.ndarray], by_prior: dict[Prior, Restarted], maps: np.ndarray
) -> Figure:
    """A row for each prior, a column for each map."""
    rows = {"race, no prior": raced}
    for prior, restarted in by_prior.items():
        best = restarted.losses.argmax(axis=1)
        places = [int(np.flatnonzero(maps == map)[0]) for map in shown]
        rows[str(prior)] = [restarted.images[place, best[place]] for place in places]
    figure = Figure(figsize=(1.15 * len(shown) + 1.6, 1.2 * len(rows) + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), len(shown))
    for row, (name, images) in zip(axes, rows.items(), strict=True):
        for ax, image in zip(row, images, strict=True):
            ax.imshow(displayable(image), cmap="gray", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    for ax, map in zip(axes[0], shown, strict=True):
        ax.set_title(f"map {map}", fontsize=9)
    return figure


if __name__ == "__main__":
    main()
