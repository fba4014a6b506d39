"""The words of a site: what a study's pages call things, and how its texts are put into them.

A page's text is Markdown that suits any study. ``{{ name }}`` stands for a fact of the study at
hand, and what stands between ``<!-- if name -->`` or ``<!-- unless name -->`` and ``<!-- end -->``
stays only where that holds, or doesn't.

What comes from a database is text, never markup: `plain` makes it so. A notebook calls `say`, which
puts each value through it; parts of a sentence are `Told`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

from markupsafe import Markup

from ..analysis.sight import Sight, kinds, sights
from ..study.answers import class_names, is_of_the_articles
from ..study.read import Findings
from ..values import Inputs, ReactionSpec

#: The map that the articles show; an example names it, where there is such a map.
ARTICLES_MAP = 120

# Whatever could mean something to Markdown or to HTML. A point does behind a number, in a list.
_MARKUP = re.compile(r"[^\w ,.]|_|\.(?!\w)")
_FACT = re.compile(r"\{\{ (\w+) \}\}")
# Parts in lines of their own go with these lines; then parts inside a line.
_PARTS = (
    re.compile(
        r"^<!-- (if|unless) (\w+) -->\n(.*?)^<!-- end -->(?:\n|\Z)", re.DOTALL | re.MULTILINE
    ),
    re.compile(r"<!-- (if|unless) (\w+) -->(.*?)<!-- end -->", re.DOTALL),
)
_NUMBERS = (
    *("no", "one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
_SOURCES = {
    "mnist": "The digits are MNIST, by LeCun, Cortes and Burges.",
    "fashion-mnist": "The garments are Fashion-MNIST, by Xiao, Rasul and Vollgraf.",
    "cifar-10": "The images are CIFAR-10, by Krizhevsky, Nair and Hinton.",
}


def plain(text: object) -> str:
    """A text as it stands, inside Markdown or HTML, whatever signs it holds.

    Every value that goes into a page goes through here. It must not stand between backquotes,
    where Markdown shows what is written. For cells of CSV there is `.export.write_csv`.

    Parameters
    ----------
    text
        Anything; its ``str`` counts. Several lines become one. Signs that can't be printed
        become the sign for that.

    Examples
    --------
    >>> plain("a<b & c")
    'a&#60;b &#38; c'
    >>> plain("map 7: 1.5")
    'map 7&#58; 1.5'
    """
    line = " ".join(str(text).split())
    printable = "".join(sign if sign.isprintable() else "\ufffd" for sign in line)
    return _MARKUP.sub(lambda match: f"&#{ord(match[0])};", printable)


class Told(Markup):
    """A part of a page: Markdown that we wrote, with values that are put in as `plain` text.

    ``Told(text)`` trusts the text, so a constant stands there. `format`, `join`, ``+`` and ``%``
    escape whatever isn't told already; `format` does so after the value was formatted.

    Examples
    --------
    >>> Told("**{:.0%}** of {}").format(0.5, "a<b")
    Told('**50&#37;** of a&#60;b')
    >>> Told(", ").join(["*x*", Told("*y*")])
    Told('&#42;x&#42;, *y*')
    """

    __slots__ = ()

    @classmethod
    def escape(cls, s: Any, /) -> Self:
        """A value as `plain` text; what is told already stays as it is.

        Other `Markup` doesn't: it is safe in HTML, and may still mean something to Markdown.
        """
        return s if isinstance(s, cls) else cls(plain(s))


def say(template: str, *values: object, **named: object) -> None:
    """Show a paragraph in a notebook.

    Parameters
    ----------
    template
        Markdown with fields as those of `str.format`; a constant, as it is trusted.
    *values, **named
        What stands in the fields. `Told` values stay as they are, all others are put in as
        `plain` text.

    Examples
    --------
    >>> say("**{}** maps of {layer}", 7, layer="a*b")
    {'text/markdown': '**7** maps of a&#42;b'}
    """
    from IPython.display import display

    text = Told(template).format(*values, **named)
    # The class Markdown would take a text that begins with "http", or is the name of a file, for
    # the place to read the text from.
    display({"text/markdown": str(text)}, raw=True)


def filled(source: str, facts: Mapping[str, object], holds: frozenset[str]) -> str:
    """A page's text with the facts of a study, and the parts that suit it.

    Parameters
    ----------
    source
        Markdown as it stands in the folders ``notebooks`` and ``book``.
    facts
        Name -> what stands for it; it is put in as `plain` text.
    holds
        What is so; see `holding`.

    Raises
    ------
    KeyError
        If the text names a fact that isn't there.

    Examples
    --------
    >>> text = "Look at {{ nouns }}.<!-- if data --> There are some.<!-- end -->"
    >>> filled(text, {"nouns": "garments"}, frozenset())
    'Look at garments.'
    """

    def kept(match: re.Match[str]) -> str:
        return match[3] if (match[2] in holds) == (match[1] == "if") else ""

    for part in _PARTS:
        source = part.sub(kept, source)
    return _FACT.sub(lambda match: plain(facts[match[1]]), source)


def in_words(n: int) -> str:
    """A number as it is written in a sentence: up to twelve as a word.

    Examples
    --------
    >>> in_words(10), in_words(1000)
    ('ten', '1,000')
    """
    return _NUMBERS[n] if 0 <= n < len(_NUMBERS) else f"{n:,}"


def counted(n: int, noun: str) -> str:
    """A number of things.

    Examples
    --------
    >>> counted(1, "map"), counted(2, "class")
    ('one map', 'two classes')
    """
    ending = "" if n == 1 else "es" if noun.endswith("s") else "s"
    return f"{in_words(n)} {noun}{ending}"


def listed(parts: Sequence[str]) -> str:
    """Some things with commas and an "and".

    Examples
    --------
    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def holding(study: Findings) -> frozenset[str]:
    """What is so of a study, for the parts of a page's text.

    ``data``: the network has a data set. ``trained``: its training is known, so that there can be
    another one. ``articles``: network and layer are those of the articles. ``standardized``: it
    takes standardized images. ``positions``: its maps have several positions. ``race``: the
    precursor scan is one.
    """
    layer = study.layer
    facts = {
        "data": study.has_data,
        "trained": study.network.spec is not None,
        "articles": is_of_the_articles(study),
        "standardized": study.inputs.is_standardized,
        "positions": layer.map_height * layer.map_width > 1,
        "race": study.spec.scan.strategy == "race",
    }
    return frozenset(name for name, is_so in facts.items() if is_so)


def facts(study: Findings, maps: Sequence[int]) -> dict[str, str]:
    """What the texts of a study's pages may name; see `filled`.

    Parameters
    ----------
    study
        What the site shows.
    maps
        The maps that have a page; at least one.
    """
    noun = study.noun
    return {
        "nouns": f"{noun}s",
        "class_noun": "class" if noun == "image" else noun,
        "layer": study.layer.name,
        "n_maps": counted(study.layer.n_maps, "map"),
        "network": study.network.name,
        "network_id": str(study.network.id),
        "summary": _summary(study),
        "sees": _sees(study),
        "takes": taken(study.inputs),
        "n_random": f"{ReactionSpec().n_images:,}",
        "null_share": f"{study.spec.variety.quantile:.0%}",
        "map": str(ARTICLES_MAP if ARTICLES_MAP in maps else maps[-1]),
        "source": _source(study),
    }


def sight_of(study: Findings) -> Sight | None:
    """What a position of the studied layer sees; None where that isn't known."""
    return sights(json.loads(study.network.architecture)).get(study.layer.name)


def taken(inputs: Inputs) -> str:
    """What images a network takes, in words."""
    if inputs.low is None or inputs.high is None:
        return "images that are standardized one by one: mean 0, standard deviation 1"
    text = f"images whose pixels go from {inputs.low:g} to {inputs.high:g}"
    if inputs.mean:
        means, deviations = (
            listed([f"{value:g}" for value in values]) for values in (inputs.mean, inputs.deviation)
        )
        text += f", less a mean of {means}, divided by {deviations}"
    return text


def _sees(study: Findings) -> str:
    """How much of the image a position of the layer sees, or that it isn't known."""
    sight = sight_of(study)
    if sight is None:
        return "many pixels"
    return sight.text(study.network.image_height, study.network.image_width)


def _summary(study: Findings) -> str:
    """The network in a sentence, and what its images show in another."""
    network = study.network
    of_layers = list(kinds(json.loads(network.architecture)).values())
    parts = {
        "convolutional layer": sum("Conv2D" in kind for kind in of_layers),
        "dense layer": of_layers.count("Dense"),
    }
    built_of = listed([counted(n, name) for name, n in parts.items() if n])
    colours = {1: "grey ", 3: "colour "}.get(network.image_channels, "")
    channels = "" if colours else f" with {counted(network.image_channels, 'channel')}"
    text = (
        f"A network {f'of {built_of} ' if built_of else ''}for {colours}images of "
        f"{network.image_height} x {network.image_width} pixels{channels}."
    )
    names = class_names(study)
    if names:
        classes = f"{counted(len(names), 'class')} of {study.noun}s"
        trained = network.spec is not None
        text += f" It was trained to tell {classes} apart." if trained else ""
        text += "" if trained else f" The data set beside it has {classes}."
    return text


def _source(study: Findings) -> str:
    """Whose images the data set has."""
    if not study.has_data:
        return ""
    name = str((study.network.dataset or {}).get("name"))
    return _SOURCES.get(name, f"The {study.noun}s are those of the data set {name}.")
