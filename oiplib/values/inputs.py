"""What images a network takes, as a value: it belongs to the network.

An ascent never leaves a network's inputs, and pictures are drawn back from them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from .fields import number, sequence
from .spec import Text

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?"
_NUMBERS = rf"{_NUMBER}(?:\s*,\s*{_NUMBER})*"
_TEXT = re.compile(
    rf"(?P<low>{_NUMBER}?)\.\.(?P<high>{_NUMBER})"
    rf"(?:\s+mean\s+(?P<mean>{_NUMBERS})\s+deviation\s+(?P<deviation>{_NUMBERS}))?",
    re.IGNORECASE,
)

# Of a text, in characters: three numbers for each of some hundred channels.
_LONGEST = 10_000

#: What `Inputs.parse` understands, as an error lists it.
INPUTS_CHOICES = (
    "standardized (each image by itself), a range such as 0..1, 0..255 or -1..1, or a range "
    'with "mean R,G,B deviation R,G,B"'
)


# Pixels are float32, and their squares must be, too.
_SMALLEST, _LARGEST = 1e-6, 1e9


@dataclass(frozen=True)
class Inputs(Text):
    """What images a network takes.

    Attributes
    ----------
    low, high
        Range of the pixels. Without it each image is standardized by itself: mean 0, standard
        deviation 1 (the articles').
    mean, deviation
        Of each channel, in the unit of the range. The network gets ``(pixel - mean) /
        deviation``. Without them it gets the pixels.

    Examples
    --------
    >>> str(Inputs()), str(Inputs(0, 255))
    ('standardized', '0..255')
    >>> Inputs.parse("0..1 mean 0.5,0.5,0.5 deviation 0.25,0.25,0.25").limits()
    ((-2.0, -2.0, -2.0), (2.0, 2.0, 2.0))
    """

    low: float | None = None
    high: float | None = None
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("mean", "deviation"):
            values = sequence(name, getattr(self, name))
            low = _SMALLEST if name == "deviation" else -_LARGEST
            self._set(name, tuple(number(name, value, low=low, high=_LARGEST) for value in values))
        if len(self.mean) != len(self.deviation):
            raise InputError(
                f"inputs need a deviation for each mean: {len(self.mean)} means, "
                f"{len(self.deviation)} deviations"
            )
        if (self.low is None) != (self.high is None):
            raise InputError("a range of inputs has two ends: write it like 0..255")
        if self.low is None:
            if self.mean:
                raise InputError("a mean needs the range of the pixels, such as 0..1")
            return
        self._set("low", number("low", self.low, low=-_LARGEST, high=_LARGEST))
        least = self.low + _SMALLEST
        self._set("high", number("high", self.high, low=least, high=_LARGEST, above=self.low))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def is_standardized(self) -> bool:
        """Whether each image is standardized by itself."""
        return self.low is None

    def limits(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The smallest and the largest value that the network gets, of each channel or of all.

        Standardized images have no limits: -2 and 2 stand for what most pixels keep.
        """
        if self.low is None or self.high is None:
            return (-2.0,), (2.0,)
        if not self.mean:
            return (self.low,), (self.high,)
        channels = list(zip(self.mean, self.deviation, strict=True))
        low, high = self.low, self.high
        return (
            tuple((low - mean) / deviation for mean, deviation in channels),
            tuple((high - mean) / deviation for mean, deviation in channels),
        )

    def check_channels(self, n_channels: int) -> None:
        """`InputError` unless images of so many channels have a mean each, where there are any."""
        if self.mean and len(self.mean) not in (1, n_channels):
            raise InputError(
                f"the inputs name {len(self.mean)} means, and the network's images have "
                f"{n_channels} channels: name one for each"
            )

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return "standardized"
        text = f"{self.low:.9g}..{self.high:.9g}"
        if self.mean:
            means, deviations = (
                ",".join(f"{value:.9g}" for value in values)
                for values in (self.mean, self.deviation)
            )
            text += f" mean {means} deviation {deviations}"
        return text

    @classmethod
    def parse(cls, text: str) -> Inputs:
        """The inputs that a text names, such as ``0..255``.

        Raises
        ------
        InputError
            If it names none; the error lists the choices.
        """
        if text.strip().lower() == "standardized":
            return cls()
        match = None if len(text) > _LONGEST else _TEXT.fullmatch(text.strip())
        if match is None or not match["low"]:
            raise InputError(f"unknown inputs {text[:80]!r}: choose {INPUTS_CHOICES}")
        lists = [
            tuple(float(part) for part in (match[name] or "").split(",") if part)
            for name in ("mean", "deviation")
        ]
        return cls(float(match["low"]), float(match["high"]), *lists)
