"""Priors as values: what an image is led to look like while it climbs.

============================  ==============================================================
nothing                       the strongest response, often a checkered texture
``smooth(p)``                 coarse structure grows first: the gradient filtered by 1/f^p
``jitter(n)``                 the pattern must hold wherever it lies, by up to n pixels
``scaling``, ``rotation``     the same for sizes and angles, for large images
``variation``, ``l2``         edges, or strong pixels, cost something
``colours``                   colours change together as they do in photographs
============================  ==============================================================

Values can be added: ``Smooth(1) + Jitter(1)``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

from ..errors import InputError
from .fields import count, number
from .spec import Text

# Of a text, in characters.
_LONGEST = 1000
_PART = re.compile(r"\s*([a-z0-9]+)\s*(?:\(\s*([-+.\de]*)\s*\))?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Prior(Text):
    """What an image is led to look like while it climbs; nothing by default.

    Attributes
    ----------
    smooth
        Power p of 1/f^p, by which the gradient is filtered; f in cycles per pixel. 1
        gives strokes that a person can read, 2 blurs.
    jitter
        By how many pixels at most the image is rolled at each step, down and to the right.
    scaling
        By which share at most its size changes at each step, such as 0.05.
    rotation
        By how many degrees at most it is turned at each step.
    variation
        Weight of the total variation, in the gradient's root mean square.
    l2
        Weight of the square of the pixels' distance from the middle of the inputs.
    colours
        Whether the gradient's channels are mixed as the colours of photographs correlate.

    Examples
    --------
    >>> str(Prior(smooth=1, jitter=1))
    'smooth(1) + jitter(1)'
    """

    smooth: float = 0.0
    jitter: int = 0
    scaling: float = 0.0
    rotation: float = 0.0
    variation: float = 0.0
    l2: float = 0.0
    colours: bool = False

    def __post_init__(self) -> None:
        self._set("smooth", number("smooth", self.smooth, low=0.0, high=8.0))
        self._set("jitter", count("jitter", self.jitter, 0))
        if self.jitter > 64:
            raise InputError(f"jitter must be at most 64 pixels, not {self.jitter}")
        self._set("scaling", number("scaling", self.scaling, low=0.0, high=0.5))
        self._set("rotation", number("rotation", self.rotation, low=0.0, high=180.0))
        for name in ("variation", "l2"):
            self._set(name, number(name, getattr(self, name), low=0.0))
        self._set("colours", bool(self.colours))

    @property
    def disturbs(self) -> bool:
        """Whether the image is moved by chance at each step."""
        return bool(self.jitter or self.scaling or self.rotation)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def __bool__(self) -> bool:
        return self != Prior()

    def __add__(self, other: Prior) -> Prior:
        if not isinstance(other, Prior):
            return NotImplemented
        names = self._named(), other._named()
        both = sorted(names[0].keys() & names[1].keys())
        if both:
            raise InputError(f"a prior names {', '.join(both)} twice: name it once")
        return Prior(**names[0], **names[1])

    def _named(self) -> dict[str, Any]:
        """The fields that aren't at their default."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value}

    def __str__(self) -> str:
        """The canonical text, such as ``smooth(1) + jitter(1)``; ``none`` for no prior."""
        parts = [
            name if value is True else f"{name}({value:.9g})"
            for name, value in self._named().items()
        ]
        return " + ".join(parts) or "none"

    @classmethod
    def parse(cls, text: str) -> Prior:
        """The prior that a text names; a part without a number has its usual one.

        Raises
        ------
        InputError
            If it names none; the error lists the choices.

        Examples
        --------
        >>> Prior.parse("smooth + jitter(2)")
        Prior(smooth=1.0, jitter=2, scaling=0.0, rotation=0.0, variation=0.0, l2=0.0, colours=False)
        >>> str(Smooth(0.5) + Jitter()), str(Prior())
        ('smooth(0.5) + jitter(1)', 'none')
        """
        total = cls()
        if len(text) > _LONGEST:
            raise InputError(f"a prior has at most {_LONGEST} characters, not {len(text):,}")
        if text.strip().lower() == "none":
            return total
        for part in text.split("+"):
            match = _PART.fullmatch(part)
            name = match[1].lower() if match else ""
            if match is None or name not in USUAL:
                raise InputError(
                    f"unknown prior {text!r}: choose none, or add up some of {', '.join(USUAL)}, "
                    "such as smooth(1)+jitter(1)"
                )
            usual: Any = USUAL[name]
            if match[2] and usual is True:
                raise InputError(f"the prior {name} has no number: write {name}")
            named: dict[str, Any] = {name: number(name, match[2]) if match[2] else usual}
            total += cls(**named)
        return total


#: What each part of a prior is where its text names no number.
USUAL = {
    "smooth": 1.0,
    "jitter": 1,
    "scaling": 0.05,
    "rotation": 5.0,
    "variation": 0.1,
    "l2": 0.1,
    "colours": True,
}


def Smooth(p: float = 1.0) -> Prior:
    """Coarse structure grows first: the gradient is filtered by 1/f^p before each step.

    Examples
    --------
    >>> str(Smooth(2))
    'smooth(2)'
    """
    return Prior(smooth=p)


def Jitter(pixels: int = 1) -> Prior:
    """Each step rolls the image by a random number of pixels, at most so many.

    Examples
    --------
    >>> str(Jitter(2))
    'jitter(2)'
    """
    return Prior(jitter=pixels)


def Scaling(share: float = 0.05) -> Prior:
    """Each step changes the image's size by a random share, at most so much.

    Examples
    --------
    >>> str(Scaling(0.1))
    'scaling(0.1)'
    """
    return Prior(scaling=share)


def Rotation(degrees: float = 5.0) -> Prior:
    """Each step turns the image by a random angle, at most so many degrees.

    Examples
    --------
    >>> str(Rotation(3))
    'rotation(3)'
    """
    return Prior(rotation=degrees)


def TotalVariation(weight: float = 0.1) -> Prior:
    """Differences between neighbouring pixels cost something.

    Examples
    --------
    >>> str(TotalVariation(0.2))
    'variation(0.2)'
    """
    return Prior(variation=weight)


def L2(weight: float = 0.1) -> Prior:
    """Pixels far from the middle of the inputs cost something.

    Examples
    --------
    >>> str(L2(0.2))
    'l2(0.2)'
    """
    return Prior(l2=weight)


def Colours() -> Prior:
    """Channels change together as the colours of photographs do; for images with three.

    Examples
    --------
    >>> str(Colours())
    'colours'
    """
    return Prior(colours=True)


#: Under these a pattern is one that a person can read, and one that also bears being moved.
LEGIBLE, STEADY = Smooth(1), Smooth(1) + Jitter(1)


def prior_of(value: Prior | str | None) -> Prior:
    """A prior that is given as a value, as a text, or not at all.

    Examples
    --------
    >>> prior_of("smooth") == prior_of(Smooth(1))
    True
    """
    if value is None:
        return Prior()
    if isinstance(value, Prior):
        return value
    if not isinstance(value, str):
        raise InputError(f"a prior is given as a value or as a text, not {value!r}")
    return Prior.parse(value)
