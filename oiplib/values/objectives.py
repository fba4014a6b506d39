"""What an image is to excite, as values: a map, one of its positions, a class, sums of these.

================================  ==========================================================
``Channel(layer, map)``           the mean of a map over its positions: ``Conv2D_3:120``
``Neuron(layer, map, y, x)``      one position of a map: ``Conv2D_3:120@1,1``
``Logit(layer, unit)``            a unit, before the softmax if there is one: ``Classes:7``
``Direction(layer, vector)``      a vector in a layer's space: ``Dense_1:[0.6,-0.8]``
sums, differences, multiples      the same of their responses: ``Classes:4 - 2*Classes:9``
================================  ==========================================================

The text of an objective is what people type, what is stored, and what is hashed. Arithmetic
gives new values; operands stay as they are.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from .fields import count, number, sequence

#: Finds the number of a unit by its name: of a layer and a name of a class.
UnitNames = Callable[[str, str], int]

# Of a text, in characters: a direction in a layer of some thousand maps.
_LONGEST = 100_000

# Names that need no quotes; a minus may stand inside a name, but not at its beginning.
_PLAIN_NAME = re.compile(r"[A-Za-z_][\w./-]*")
_TOKENS = re.compile(
    r"""\s*(?:
        (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?)\s*\*
      | (?P<sign>[-+])
      | (?:"(?P<quoted>[^"]+)"|(?P<name>[A-Za-z_][\w./-]*))\s*:\s*
        (?:\[(?P<vector>[^\]]*)\]
          |(?P<unit>\d{1,18})(?:\s*@\s*(?P<y>\d{1,18})\s*,\s*(?P<x>\d{1,18}))?
          |"(?P<quoted_class>[^"]+)"
          |(?P<class>[^\W\d][\w./]*))
    )\s*""",
    re.VERBOSE | re.IGNORECASE,
)


class Objective:
    """Base of all objectives: text, hash and arithmetic."""

    @property
    def sha256(self) -> str:
        """The objective's identity: the SHA-256 of its text, 64 characters."""
        return hashlib.sha256(str(self).encode()).hexdigest()

    @property
    def terms(self) -> tuple[tuple[float, Term], ...]:
        """The terms of the sum, each with its factor."""
        raise NotImplementedError

    @property
    def can_be_stored(self) -> bool:
        """Whether its text says all of it: a function of the user's own has none."""
        return not any(isinstance(term, Function) for _, term in self.terms)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that it looks at, each once."""
        return tuple(dict.fromkeys(term.layer for _, term in self.terms))

    def __add__(self, other: Objective) -> Objective:
        return _sum((*self.terms, *other.terms)) if isinstance(other, Objective) else NotImplemented

    def __sub__(self, other: Objective) -> Objective:
        return self + -other if isinstance(other, Objective) else NotImplemented

    def __radd__(self, other: object) -> Objective:
        """For Python's `sum`, which begins with 0."""
        return self if other == 0 else NotImplemented

    def __truediv__(self, divisor: float) -> Objective:
        if not isinstance(divisor, (int, float)):
            return NotImplemented
        if not divisor:
            raise InputError("an objective can't be divided by 0")
        return self * (1 / divisor)

    def __neg__(self) -> Objective:
        return -1.0 * self

    def __mul__(self, factor: float) -> Objective:
        if not isinstance(factor, (int, float)):
            return NotImplemented
        by = number("a factor", factor)
        return _sum(tuple((by * each, term) for each, term in self.terms))

    __rmul__ = __mul__


@dataclass(frozen=True)
class Term(Objective):
    """One response of one layer."""

    layer: str

    @property
    def terms(self) -> tuple[tuple[float, Term], ...]:
        """Itself, once."""
        return ((1.0, self),)

    def _check_layer(self) -> None:
        if not isinstance(self.layer, str) or not self.layer or '"' in self.layer:
            raise InputError(f"a layer is named by a text without quotes, not {self.layer!r}")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def _layer_text(self) -> str:
        return self.layer if _PLAIN_NAME.fullmatch(self.layer) else f'"{self.layer}"'


@dataclass(frozen=True)
class Channel(Term):
    """The mean of a map over its positions: the articles' loss, and the default.

    Parameters
    ----------
    layer
        Its name.
    map
        The map's number, from 0 on.

    Examples
    --------
    >>> str(Channel("Conv2D_3", 120))
    'Conv2D_3:120'
    """

    map: int

    def __post_init__(self) -> None:
        self._check_layer()
        self._set("map", count("map", self.map, 0))

    def __str__(self) -> str:
        return f"{self._layer_text}:{self.map}"


@dataclass(frozen=True)
class Neuron(Term):
    """One position of a map.

    Parameters
    ----------
    layer
        Its name.
    map
        The map's number, from 0 on.
    y, x
        Row and column of the position, from 0 on.

    Examples
    --------
    >>> str(Neuron("Conv2D_3", 120, 1, 1))
    'Conv2D_3:120@1,1'
    """

    map: int
    y: int
    x: int

    def __post_init__(self) -> None:
        self._check_layer()
        for name in ("map", "y", "x"):
            self._set(name, count(name, getattr(self, name), 0))

    def __str__(self) -> str:
        return f"{self._layer_text}:{self.map}@{self.y},{self.x}"


def Logit(layer: str, unit: int | str) -> Objective:
    """A unit of a layer of units, such as a class, before the softmax if the layer has one.

    A softmax is never climbed: it saturates, and mixes the classes. So a unit is a map with
    one position, and its text is that of a `Channel`.

    Parameters
    ----------
    layer
        Its name.
    unit
        The unit's number, or the name of its class; then the network must know its classes.

    Examples
    --------
    >>> str(Logit("Classes", 4) - Logit("Classes", 9)), str(Logit("logits", "cat"))
    ('Classes:4 - Classes:9', 'logits:cat')
    """
    return Named(layer, unit) if isinstance(unit, str) else Channel(layer, unit)


@dataclass(frozen=True)
class Named(Term):
    """A unit by the name of its class; `resolved` makes a `Channel` of it."""

    unit: str

    def __post_init__(self) -> None:
        self._check_layer()
        if not self.unit or '"' in self.unit:
            raise InputError(f"a class is named by a text without quotes, not {self.unit!r}")

    def __str__(self) -> str:
        plain = re.fullmatch(r"[^\W\d][\w./]*", self.unit)
        return f"{self._layer_text}:{self.unit if plain else chr(34) + self.unit + chr(34)}"


@dataclass(frozen=True)
class Direction(Term):
    """A vector in the space of a layer's maps: the mean over positions of its dot product.

    Parameters
    ----------
    layer
        Its name.
    vector
        A number for each map. Its length counts: it multiplies the response.

    Examples
    --------
    >>> str(Direction("Dense_1", (0.6, 0, -0.8)))
    'Dense_1:[0.6,0,-0.8]'
    """

    vector: tuple[float, ...]

    def __post_init__(self) -> None:
        self._check_layer()
        values = list(self.vector) if hasattr(self.vector, "__iter__") else self.vector
        vector = tuple(number("vector", value) for value in sequence("vector", values))
        self._set("vector", vector)
        if not any(vector):
            raise InputError("a direction needs a number that isn't 0")
        for value in filter(None, vector):
            _check_size("a direction's number", value)

    def __str__(self) -> str:
        return f"{self._layer_text}:[{','.join(map(_number_text, self.vector))}]"


@dataclass(frozen=True)
class Function(Term):
    """A function of the user's own of a layer's activations. What it finds isn't stored.

    Parameters
    ----------
    layer
        Its name.
    function
        Of a tensor (n, height, width, maps), or (n, units); gives a tensor (n,), made of
        TensorFlow's operations, so that it has a gradient.

    Examples
    --------
    >>> def middle(activations):
    ...     return activations[:, 4, 4, 0]
    >>> str(Function("conv", middle))
    'conv:middle()'
    """

    function: Callable[[Any], Any]

    def __post_init__(self) -> None:
        self._check_layer()
        if not callable(self.function):
            raise InputError(f"an own objective needs a function, not {self.function!r}")

    def __str__(self) -> str:
        return f"{self._layer_text}:{getattr(self.function, '__name__', 'function')}()"


@dataclass(frozen=True)
class Sum(Objective):
    """A sum of terms, each with its factor; made by arithmetic."""

    parts: tuple[tuple[float, Term], ...]

    @property
    def terms(self) -> tuple[tuple[float, Term], ...]:
        """The terms with their factors."""
        return self.parts

    def __str__(self) -> str:
        texts: list[str] = []
        for factor, term in self.parts:
            size = abs(factor)
            sign = "-" if factor < 0 else "+" if texts else ""
            space = " " if texts else ""
            multiple = "" if size == 1 else f"{_number_text(size)}*"
            texts.append(f"{sign}{space}{multiple}{term}")
        return " ".join(texts)


def parse_objective(text: str) -> Objective:
    """The objective that a text names.

    Raises
    ------
    InputError
        If it names none.

    Examples
    --------
    >>> parse_objective("Classes:4 - 2*Classes:9") == Logit("Classes", 4) - 2 * Logit("Classes", 9)
    True
    >>> parse_objective("Conv2D_3:120@1,1")
    Neuron(layer='Conv2D_3', map=120, y=1, x=1)
    """
    if not isinstance(text, str) or len(text) > _LONGEST:
        raise InputError(f"an objective is named by a text of at most {_LONGEST:,} characters")
    terms: list[tuple[float, Term]] = []
    place, sign, factor = 0, 1.0 if text.strip() else 0.0, 1.0
    while place < len(text):
        token = _TOKENS.match(text, place)
        if token is None or (token["sign"] is None and not sign):
            raise _unreadable(text)
        place = token.end()
        if token["sign"]:
            if factor != 1 or (sign and terms) or (sign < 0):
                raise _unreadable(text)
            sign = -1.0 if token["sign"] == "-" else 1.0
        elif token["number"]:
            factor *= float(token["number"])
        else:
            terms.append((sign * factor, _term(token)))
            sign, factor = 0.0, 1.0
    if sign or not terms:
        raise _unreadable(text)
    return _sum(tuple(terms))


def objective_of(value: Objective | str) -> Objective:
    """An objective that is given as a value or as a text."""
    return value if isinstance(value, Objective) else parse_objective(value)


def resolved(objective: Objective, number_of: UnitNames) -> Objective:
    """The objective with numbers in place of the classes' names."""
    terms = [
        (factor, Channel(term.layer, number_of(term.layer, term.unit)))
        if isinstance(term, Named)
        else (factor, term)
        for factor, term in objective.terms
    ]
    return _sum(tuple(terms))


def check_objective(objective: Objective, shapes: Mapping[str, Sequence[int]]) -> None:
    """`InputError` unless a network with these layers has what the objective looks at.

    Parameters
    ----------
    objective
        What is asked for, its classes `resolved`.
    shapes
        Name of a layer -> (height, width, maps).
    """
    for _, term in objective.terms:
        if term.layer not in shapes:
            raise InputError(f"unknown layer {term.layer!r}: choose one of {', '.join(shapes)}")
        for problem in _problems(term, tuple(shapes[term.layer])):
            raise InputError(f"{term}: {problem}")


def _problems(term: Term, shape: tuple[int, ...]) -> Iterator[str]:
    height, width, n_maps = shape
    if isinstance(term, (Channel, Neuron)) and term.map >= n_maps:
        yield f"there is no map {term.map} in {term.layer}: choose 0 to {n_maps - 1}"
    if isinstance(term, Neuron) and (term.y >= height or term.x >= width):
        yield f"the map has {height} rows and {width} columns: choose a position inside"
    if isinstance(term, Direction) and len(term.vector) != n_maps:
        yield f"{term.layer} has {n_maps} maps: name as many numbers, not {len(term.vector)}"
    if isinstance(term, Named):
        yield "the network doesn't know its classes by name: name the unit's number"


def _sum(terms: tuple[tuple[float, Term], ...]) -> Objective:
    """The canonical sum: equal terms united, in one order, a single plain term as itself."""
    factors: dict[Term, list[float]] = {}
    for factor, term in terms:
        factors.setdefault(term, []).append(factor)
    # Rounded, equal terms have the same sum in whatever order they are added.
    united = {
        term: of_term[0] if len(of_term) == 1 else float(f"{math.fsum(of_term):.12g}")
        for term, of_term in factors.items()
    }
    parts = tuple((factor, term) for term, factor in united.items() if factor)
    parts = tuple(sorted(parts, key=lambda part: (part[0] < 0, str(part[1]))))
    if not parts:
        raise InputError("an objective in which all terms cancel asks for nothing")
    for factor, _ in parts:
        _check_size("an objective's factor", factor)
    return parts[0][1] if len(parts) == 1 and parts[0][0] == 1 else Sum(parts)


def _check_size(what: str, value: float) -> None:
    """Responses are computed in float32, which ends at 1e38."""
    if not 1e-30 <= abs(value) <= 1e30:
        raise InputError(f"{what} must be between 1e-30 and 1e30 in size, not {value:g}")


def _term(token: re.Match[str]) -> Term:
    layer = token["quoted"] or token["name"]
    if token["vector"] is not None:
        try:
            return Direction(layer, tuple(float(part) for part in token["vector"].split(",")))
        except ValueError:
            raise InputError(
                f"[{token['vector']}] is no vector: write it like [0.6,-0.8]"
            ) from None
    if token["unit"] is None:
        return Named(layer, token["quoted_class"] or token["class"])
    if token["y"] is not None:
        return Neuron(layer, int(token["unit"]), int(token["y"]), int(token["x"]))
    return Channel(layer, int(token["unit"]))


def _number_text(value: float) -> str:
    """The shortest text that gives the same number back."""
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _unreadable(text: str) -> InputError:
    return InputError(
        f"{text[:80]!r} is no objective: write it like Conv2D_3:120, Conv2D_3:120@1,1, Classes:7 "
        "or Classes:4 - Classes:9"
    )
