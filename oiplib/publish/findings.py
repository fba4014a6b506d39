"""The findings that the front page shows: each a sentence with a picture and a link.

Every number comes from the study, with its interval. A finding whose data a study lacks, or that
doesn't hold there, is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..analysis.estimates import over_maps, share
from ..analysis.layout import shrunk
from ..analysis.matching import similarity_of_matched
from ..pictures import displayable
from ..store import Oip
from ..study.answers import compared_trainings
from ..study.filters import shared_filters
from ..study.questions import reaction, varieties
from ..study.study import Study
from ..study.unique import PRIORS
from .words import Told

#: So many are shown.
MOST_FINDINGS = 3

# Height of the pictures in pixels, at least, and the room between two of them.
_HEIGHT, _GAP = 112, 8


@dataclass(frozen=True)
class Finding:
    """Something that was found, in a sentence.

    Attributes
    ----------
    title : Told
        A few words.
    text : Told
        The sentence.
    pictures : list of arrays, float, (height, width) or (height, width, 3), in [0, 1]
        Side by side.
    caption : Told
        What they show.
    page : str
        The chapter that says more.
    """

    title: Told
    text: Told
    pictures: Sequence[np.ndarray]
    caption: Told
    page: str


def write_findings(study: Study, folder: Path) -> str:
    """Draw the pictures of the findings into a folder; returns the findings in Markdown."""
    from PIL import Image

    told = []
    for number, finding in enumerate(findings(study), 1):
        name = f"finding-{number}.png"
        Image.fromarray(_side_by_side(finding.pictures)).save(folder / name, optimize=True)
        told.append(_markdown(finding, name))
    if not told:
        return "Nothing yet: no map has an OIP."
    head = [":::::{grid} 1 1 3 3", ":gutter: 4", ":class-container: wall-findings"]
    return "\n".join([*head, *told, ":::::"])


def findings(study: Study) -> list[Finding]:
    """The first findings, `MOST_FINDINGS` at most, for which a study has what they need."""
    best = {
        name: {oip.of_map: oip for oip in study.oips(best=True, prior=prior)}
        for name, prior in PRIORS.items()
    }
    found: list[Finding] = []
    for make in (_beside_data, _legible, _other_trainings, _restarts, _growth):
        finding = make(study, best) if len(found) < MOST_FINDINGS else None
        if finding is not None:
            found.append(finding)
    return found


_Best = Mapping[str, Mapping[int, Oip]]


def _beside_data(study: Study, best: _Best) -> Finding | None:
    """An OIP excites its map more than any image of the data set does."""
    if not study.has_data:
        return None
    seen = reaction(study, "data")
    strongest = seen.top_responses[:, 0]
    maps = [map for map in best["strongest"] if strongest[map] > 0]
    ratios = np.array([best["strongest"][map].loss / strongest[map] for map in maps])
    times = over_maps(ratios)
    if math.isnan(times.value) or times.value <= 1:
        return None
    map = _middle(maps, ratios)
    image = seen.pictures(map)[0].astype(float) / 255
    pixels = image if image.shape[-1] == 3 else image.mean(axis=-1)
    return Finding(
        title=Told("No {} comes close").format(study.noun),
        text=Told(
            "A map responds {} times as strongly to its grown image as to the {} that excites it "
            "most, out of all that the network was trained on."
        ).format(times.text(".1f"), study.noun),
        pictures=[_small(pixels), _shown(best["strongest"][map], study)],
        caption=Told("The {} that excites map {} most, and the map's grown image.").format(
            study.noun, map
        ),
        page="classes",
    )


def _legible(study: Study, best: _Best) -> Finding | None:
    """What it costs to ask for patterns that people can read."""
    strongest, legible = best["strongest"], best["legible"]
    maps = [map for map in strongest if map in legible]
    if not maps:
        return None
    ratios = np.array([legible[map].loss / strongest[map].loss for map in maps])
    map = _middle(maps, ratios)
    return Finding(
        title=Told("Legible costs little" if np.median(ratios) > 0.75 else "Legible has a price"),
        text=Told(
            "Led towards lines that a person can read, an image still gets {} of the strongest "
            "response."
        ).format(over_maps(ratios).text()),
        pictures=[_shown(strongest[map], study), _shown(legible[map], study)],
        caption=Told("The strongest image of map {}, and its legible one.").format(map),
        page="legible",
    )


def _other_trainings(study: Study, best: _Best) -> Finding | None:
    """Do other trainings find the same maps?"""
    shared = shared_filters(study)
    pair = next((pair for pair in compared_trainings(study) if pair.relation == "both"), None)
    if not shared or pair is None or not len(pair.pairs):
        return None
    least, most = (f"{end:.0%}" for end in shared[-1].range)
    alike = similarity_of_matched([pair.images]).values
    map, partner = pair.pairs[_middle(range(len(alike)), alike)].tolist()
    first, second = pair.oips
    return Finding(
        title=Told("Train again, find some again"),
        text=Told(
            "Another training of the same network finds between {} and {} of these maps again, "
            "depending on what counts as the same map."
        ).format(least, most),
        pictures=[_shown(first[map], study), _shown(second[partner], study)],
        caption=Told("Map {} of one training, and its partner {} in another.").format(map, partner),
        page="08-two-trainings",
    )


def _restarts(study: Study, best: _Best) -> Finding | None:
    """How often does a map that is restarted come to one pattern only?"""
    rows = varieties(study)
    if not rows:
        return None
    alone = share([row.n_patterns == 1 for row in rows.values()])
    shown = max(rows.values(), key=lambda row: len(row.images))
    images = study.inputs_of(shown.images[:3], (0.0, 255.0))
    return Finding(
        title=Told("One map, several patterns"),
        text=Told(
            "Restarted from random images, {} of the maps always end in the same pattern."
        ).format(alone.text()),
        pictures=[_small(displayable(image, True, study.inputs)) for image in images],
        caption=Told("Patterns that excite map {}.").format(shown.map),
        page="07-uniqueness",
    )


def _growth(study: Study, best: _Best) -> Finding | None:
    """How much an ascent gains."""
    oips = {map: oip for map, oip in best["strongest"].items() if oip.trace[0] > 0}
    if not oips:
        return None
    gains = np.array([oip.loss / oip.trace[0] for oip in oips.values()])
    map = _middle(list(oips), gains)
    from ..engine.starts import start_images

    start = start_images([oips[map].start], study.image_shape, study.inputs)[0]
    return Finding(
        title=Told("Out of a blur grows a pattern"),
        text=Told("A map responds {} times as strongly to the grown image as to its start.").format(
            over_maps(gains).text(".1f")
        ),
        pictures=[_small(displayable(start, True, study.inputs)), _shown(oips[map], study)],
        caption=Told("The start of map {}'s image, and its end.").format(map),
        page="03-oip",
    )


def _middle(maps: Sequence[int], values: np.ndarray) -> int:
    """The map whose value is the median: the example is neither the best nor the worst."""
    return maps[int(np.argsort(values, kind="stable")[len(values) // 2])]


def _shown(oip: Oip, study: Study) -> np.ndarray:
    return _small(displayable(oip.image, True, study.inputs))


def _small(picture: np.ndarray) -> np.ndarray:
    """A picture in [0, 1], grey or in colours, of at most twice the height that is shown."""
    whole = picture if picture.ndim == 3 else picture[..., None]
    return np.asarray(shrunk(whole[None], 2 * _HEIGHT)[0])


def _side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one size in a row, with nothing between: RGBA, uint8."""
    coloured = [np.broadcast_to(picture, (*picture.shape[:2], 3)) for picture in pictures]
    zoom = max(1, round(_HEIGHT / coloured[0].shape[0]))
    parts: list[np.ndarray] = []
    for picture in coloured:
        large = np.round(255 * picture).astype(np.uint8).repeat(zoom, axis=0).repeat(zoom, axis=1)
        opaque = np.full((*large.shape[:2], 1), 255, np.uint8)
        parts += [
            np.concatenate([large, opaque], axis=2),
            np.zeros((len(large), _GAP, 4), np.uint8),
        ]
    return np.concatenate(parts[:-1], axis=1)


def _markdown(finding: Finding, picture: str) -> str:
    """A cell of the grid of findings."""
    chapter = f"{finding.page}.ipynb"  # with its ending no module can be meant
    return f"""
::::{{grid-item}}
[![{finding.caption}]({picture})]({chapter})

:::{{div}} wall-caption
{finding.caption}
:::

**{finding.title}.** {finding.text} [Read more]({chapter})
::::"""
