"""What pages say: texts of a database are text, and the words suit the study."""

import html
import itertools
import re
from html.parser import HTMLParser

import nbformat
import pytest
from markdown_it import MarkdownIt

from oiplib.publish import notebooks, words
from oiplib.study.chapters import NOTEBOOKS
from oiplib.values import Inputs

NASTY = [
    "a<b & c/d",
    "<script>alert(1)</script>",
    "*bold* _it_ **x** __y__ ~~z~~",
    "[link](http://elsewhere) ![picture](x.png) <http://elsewhere>",
    "`code` ``more`` $x$ $$y$$",
    "# title",
    "1. list",
    "12) list",
    "- list",
    "+ list",
    "> quote",
    "---",
    "===",
    "| a | b |",
    "{{ noun }} {% x %} {role}`x`",
    "<!-- if data --> x <!-- end -->",
    ":::{note}",
    "% comment",
    "(target)=",
    "&amp; &lt; &#42;",
    "back\\slash \\* end\\",
    "\"double\" 'single' onmouseover=x",
    "trailing two spaces  ",
    "naïve 日本 “quoted”",
    "x1_2 conv_1/b3_out",
]


class Read(HTMLParser):
    """The elements of an HTML text, and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.attributes, self.text = [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += attrs

    def handle_comment(self, data):
        self.elements.append("comment")

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("text", NASTY)
def test_a_text_is_never_markup(text):
    wanted = " ".join(text.split())
    assert html.unescape(words.plain(text)) == wanted
    for context, elements in (("{}", ["p"]), ("Of {} so much.", ["p"]), ("## {}", ["h2"])):
        rendered = (
            MarkdownIt("commonmark").enable("table").render(context.format(words.plain(text)))
        )
        page = Read(rendered)
        assert page.elements == elements, rendered
        assert page.text.strip() == context.removeprefix("## ").format(wanted)
    element = Read(f'<b title="{words.plain(text)}">{words.plain(text)}</b>')
    assert (element.elements, element.text) == (["b"], wanted)
    assert element.attributes == [("title", wanted)]


def test_what_cannot_be_printed_is_shown_as_such():
    assert words.plain("a\x00b\u202ec\nd") == "a&#65533;b&#65533;c d"


def test_a_value_is_put_in_once():
    facts = {"noun": "{{ layer }}", "layer": "<!-- if x -->"}
    text = words.filled("{{ noun }} of {{ layer }}", facts, frozenset())
    assert html.unescape(text) == "{{ layer }} of <!-- if x -->"


def test_parts_stay_where_they_hold():
    source = (
        "<!-- if data -->\n# One\n<!-- end -->\n<!-- unless data -->\n# None\n<!-- end -->\n"
        "It has<!-- if data --> some<!-- end -->\nand ends."
    )
    assert words.filled(source, {}, frozenset({"data"})) == "# One\nIt has some\nand ends."
    assert words.filled(source, {}, frozenset()) == "# None\nIt has\nand ends."


def sources():
    """Name -> the texts of a page, as they stand in the repository."""
    for name in NOTEBOOKS:
        path = notebooks.templates("notebooks") / f"{name}.ipynb"
        yield name, [cell.source for cell in nbformat.read(path, as_version=4).cells]
    for path in sorted(notebooks.templates("book").glob("*.md")):
        yield path.name, [path.read_text()]


def test_every_name_in_every_text_is_known(tiny_study):
    facts, holds = words.facts(tiny_study, [0, 3]), words.holding(tiny_study)
    for so_far in (holds, frozenset(), frozenset({"data", "articles"})):
        for name, texts in sources():
            for text in texts:
                filled = words.filled(text, facts, so_far)
                assert not re.search(r"\{\{ \w+ \}\}|<!-- (if|unless|end)", filled), name
    everything = "".join(text for _, texts in sources() for text in texts)
    assert [name for name in facts if f"{{{{ {name} }}}}" not in everything] == []


def test_no_source_has_words_that_suit_one_network_alone():
    only_there = r"\bdigits?\b(?! of)|Conv2D_\d|18 x 18|28 ?x ?28|first two layers|128 maps"
    for name, texts in sources():
        if name in ("reference.md", "commands.md", "limits.md"):
            continue  # made from docstrings and commands; measured on the reference database
        for text in texts:
            assert not re.search(only_there, text, re.IGNORECASE), name


def test_a_study_is_told_in_its_own_words(tiny_study):
    facts = words.facts(tiny_study, [0, 3])
    assert facts["summary"] == (
        "A network of three convolutional layers and two dense layers for grey images of "
        "28 x 28 pixels. It was trained to tell ten classes of images apart."
    )
    assert (facts["layer"], facts["n_maps"]) == ("Conv2D_3", "twelve maps")
    assert facts["sees"] == "18 x 18 pixels"
    assert (facts["map"], words.facts(tiny_study, [7, 120])["map"]) == ("3", "120")
    assert words.holding(tiny_study) == {"data", "trained", "standardized", "positions", "race"}


def test_inputs_are_told_in_words():
    assert words.taken(Inputs(0, 255)) == "images whose pixels go from 0 to 255"
    told = words.taken(Inputs(0, 1, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2)))
    assert told.endswith("less a mean of 0.5, 0.4 and 0.3, divided by 0.2, 0.2 and 0.2")
    assert words.taken(Inputs()).startswith("images that are standardized one by one")


def test_numbers_are_written_as_in_a_sentence():
    told = [words.counted(n, noun) for n, noun in itertools.product((0, 1, 13), ("map", "class"))]
    assert told == ["no maps", "no classes", "one map", "one class", "13 maps", "13 classes"]
