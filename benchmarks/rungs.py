"""Which rungs win: races of many kinds against the article's procedure, map by map.

``python benchmarks/rungs.py`` writes ``RUNGS.md`` beside this file, on 40 maps drawn by a fixed
seed. It takes longer than the benchmarks and is no part of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from oiplib import AscentSpec, RungSpec, ScanSpec, Study, scan
from oiplib.study.rows import screening_of

# (starts, steps, size of a step, schedule) of each rung; the first climbs the pre-activation.
TRIED = {
    "the first try": ((128, 10, 0.3, "constant"), (32, 20, 0.2), (8, 70, 0.2)),
    "smaller steps": ((128, 10, 0.2, "constant"), (32, 20, 0.2), (8, 70, 0.1)),
    "larger steps": ((128, 10, 0.4, "constant"), (32, 20, 0.3), (8, 70, 0.3)),
    "0.6": ((128, 10, 0.6, "constant"), (32, 20, 0.6), (8, 70, 0.6)),
    "0.8": ((128, 10, 0.8, "constant"), (32, 20, 0.8), (8, 70, 0.8)),
    "1.0": ((128, 10, 1.0, "constant"), (32, 20, 1.0), (8, 70, 1.0)),
    "large at first only": ((128, 10, 0.8, "constant"), (32, 20, 0.4), (8, 70, 0.4)),
    "large at last only": ((128, 10, 0.4, "constant"), (32, 20, 0.4), (8, 70, 0.8)),
    "annealed from the first": ((128, 10, 0.8), (32, 20, 0.8), (8, 70, 0.8)),
    "not annealed between": (
        (128, 10, 0.8, "constant"),
        (32, 20, 0.8, "constant"),
        (8, 70, 0.8),
    ),
    "four rungs": (
        (128, 8, 0.8, "constant"),
        (48, 12, 0.8, "constant"),
        (16, 20, 0.8),
        (8, 60, 0.8),
    ),
    "more starts, fewer steps": (
        (160, 8, 0.8, "constant"),
        (32, 16, 0.8, "constant"),
        (12, 20, 0.8),
        (8, 60, 0.8),
    ),
    "fewer steps at first": ((128, 6, 0.8, "constant"), (24, 16, 0.8), (8, 60, 0.8)),
    "half the starts": ((64, 10, 0.8, "constant"), (16, 20, 0.8), (8, 60, 0.8)),
    "96 starts, 24 go on": ((96, 8, 0.8, "constant"), (24, 16, 0.8), (8, 60, 0.8)),
    "96 starts, 32 go on": ((96, 10, 0.8, "constant"), (32, 20, 0.8), (8, 60, 0.8)),
}  # fmt: skip


def main() -> None:
    """Run all of them, the article's procedure first."""
    study = Study()
    layer = study.engine
    maps = np.sort(np.random.default_rng(1).permutation(layer.n_maps)[:40])
    screening = screening_of(study.screening())

    def best(spec: ScanSpec) -> np.ndarray:
        found = scan(layer, spec, maps, screening)
        return np.array([result.ascents.losses.max(initial=0) for result in found])

    article = best(ScanSpec(strategy="article"))
    lines = [
        "# Which rungs win",
        "",
        f"Best loss of a race over that of the article's procedure, on {len(maps)} maps drawn by a "
        f"fixed seed, {(article == 0).sum()} of them without any by the article's. Rungs as starts "
        "x steps at the size of a step; the first climbs the pre-activation at constant size, the "
        "others the response, annealed, unless it says otherwise. Made by "
        "`python benchmarks/rungs.py`.",
        "",
        "| what | rungs | gradient images | least | median | maps below 1 |",
        "|---|---|---|---|---|---|",
    ]
    for name, rungs in TRIED.items():
        spec = ScanSpec(rungs=tuple(map(_rung, range(len(rungs)), rungs)))
        ratio = best(spec)[article > 0] / article[article > 0]
        told = ", ".join(f"{rung[0]} x {rung[1]} at {rung[2]:g}" for rung in rungs)
        gradients = sum(rung.n_starts * rung.ascent.n_epochs for rung in spec.rungs)
        lines.append(
            f"| {name} | {told} | {gradients:,} | {ratio.min():.3f} | {np.median(ratio):.3f} | "
            f"{(ratio < 1).sum()} |"
        )
        print(lines[-1], flush=True)
    Path(__file__).with_name("RUNGS.md").write_text("\n".join(lines) + "\n")


def _rung(number: int, told: tuple) -> RungSpec:  # type: ignore[type-arg]
    n_starts, steps, epsilon, schedule = (*told, "cosine")[:4]
    objective = "response" if number else "pre-activation"
    return RungSpec(
        n_starts,
        AscentSpec(steps + 1, epsilon, n_steps=0, objective=objective, schedule=schedule),
    )


if __name__ == "__main__":
    main()
