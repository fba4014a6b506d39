"""What pages say: texts of a database are text, and the words suit the study."""

import ast
import html
import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from markdown_it.renderer import RendererHTML
from markupsafe import Markup
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

import oiplib
from oiplib.analysis.estimates import over_maps
from oiplib.figures import growth
from oiplib.publish import notebooks, plots, words
from oiplib.publish.words import Told, say
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
    "    indented",
    "\ttabbed",
    "two\n\nparagraphs\n===",
    "www.example.com a@example.com https://example.com",
    r"\(x\) \[y\] \begin{x}",
    ": definition",
    "[^1] [^1]: note",
    "{.class #id} {raw}`<b>`",
    "~~~ html",
    "+++",
    "- [ ] task",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1))",
]

# What pages are read by, and all that MyST could be told to read beside it. Alone "linkify", which
# makes links of words such as "example.com", must stay off.
CONFIG = yaml.safe_load((notebooks.templates("book") / "_config.yml").read_text())
OURS = CONFIG["sphinx"]["config"]["myst_enable_extensions"]
OTHERS = ["amsmath", "attrs_block", "attrs_inline", "dollarmath", "fieldlist", "html_image"]
OTHERS += ["replacements", "smartquotes", "strikethrough", "substitution", "tasklist"]


def rendered(text, extensions):
    options = MdParserConfig(enable_extensions=set(extensions))
    return create_md_parser(options, RendererHTML).render(text)


def test_pages_link_nothing_by_itself():
    assert "linkify" not in OURS


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
    contexts = {
        **{"{}": ["p"], "Of {} so much.": ["p"], "## {}": ["h2"], "*{}*": ["p", "em"]},
        **{"**{}**: so much": ["p", "strong"], "Of\n{}\nso much.": ["p"]},
        "[{}](page.html)": ["p", "a"],
    }
    for (context, elements), more in itertools.product(contexts.items(), ([], OTHERS)):
        code = rendered(str(Told(context).format(text)), [*OURS, *more])
        page = Read(code)
        assert page.elements == elements, code
        shown = re.sub(r"^## |\*|\[|\]\(page.html\)", "", context).format(wanted)
        assert page.text.strip() == shown
    element = Read(f'<b title="{words.plain(text)}">{words.plain(text)}</b>')
    assert (element.elements, element.text) == (["b"], wanted)
    assert element.attributes == [("title", wanted)]


def test_what_cannot_be_printed_is_shown_as_such():
    assert words.plain("a\x00b\u202ec\nd") == "a&#65533;b&#65533;c d"


def test_what_is_told_escapes_all_that_is_put_into_it():
    told = Told("*{:.0%}* of {name} and {}").format(0.5, Told("*x*"), name="*y*")
    assert told == "*50&#37;* of &#42;y&#42; and *x*"
    assert type(told) is Told
    assert Told("*x*") + "*y*" == "*x*&#42;y&#42;"
    assert "*x*" + Told("*y*") == "&#42;x&#42;*y*"
    assert Told(", ").join(["*x*", Told("*y*")]) == "&#42;x&#42;, *y*"
    assert Told("*%s* %d") % ("<x>", 3) == "*&#60;x&#62;* 3"
    assert Told("{0[k]!r:>9}").format({"k": "<b>"}) == "&#39;&#60;b&#62;&#39;"


def test_what_is_safe_in_html_only_is_not_safe_in_markdown():
    assert Told("{}").format(Markup("<b>*x*</b>")) == words.plain("<b>*x*</b>")


def test_a_paragraph_is_shown_and_nothing_else_is_read(tmp_path, monkeypatch, capsys):
    """IPython's class Markdown takes the name of a file, or an address, for where to read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text("hidden")
    for name in ("secret", "http*"):
        say("{}", name)
        assert capsys.readouterr().out == f"{ {'text/markdown': words.plain(name)} }\n"


# What notebooks do with texts


def code_of_notebooks():
    for name in NOTEBOOKS:
        path = notebooks.templates("notebooks") / f"{name}.ipynb"
        cells = nbformat.read(path, as_version=4).cells
        yield name, ast.parse("\n".join(c.source for c in cells if c.cell_type == "code"))


def called(node):
    """The name of what a call calls: ``plots.table_html``."""
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def is_constant(node):
    """Whether nothing but our own words can come of it."""
    if isinstance(node, ast.IfExp):
        return is_constant(node.body) and is_constant(node.orelse)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add) and is_constant(node.left) and is_constant(node.right)
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def untold(tree):
    """What is trusted as Markdown, and isn't a constant; or passed on, to be trusted elsewhere."""
    uses = {n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id in ("say", "Told")}
    calls = [n for n in ast.walk(tree) if called(n) in ("say", "Told")]
    wrong = [n for n in calls if not n.args or not is_constant(n.args[0])]
    types = [getattr(n, name, None) for n in ast.walk(tree) for name in ("annotation", "returns")]
    named = {n for each in types if each is not None for n in ast.walk(each)}
    return [ast.unparse(n) for n in [*wrong, *(uses - named - {n.func for n in calls})]]


@pytest.mark.parametrize(
    "code",
    [
        "say(f'{x}')",
        "say(x)",
        "say('{}'.format(x))",
        "say('a' + x)",
        "say('%s' % x)",
        "say('a' if x else y)",
        "Told(x).format(1)",
        "map(Told, x)",
        "shown = say",
        "say(*x)",
    ],
)
def test_what_is_no_constant_is_seen(code):
    assert untold(ast.parse(code)) != []
    assert untold(ast.parse("say('{} a' 'b' if x else 'c', x, Told('{}' + 'd').format(x))")) == []


# What makes HTML, and escapes all that it is given: tested below, and in test_map_page.py.
MADE_BY = (
    *("plots.table", "plots.gallery"),
    *("growth.picture", "growth.neighbours", "growth.folded"),
)


def test_no_notebook_puts_a_text_into_a_page_by_itself():
    for name, tree in code_of_notebooks():
        assert untold(tree) == [], name
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom) and "IPython" in ast.unparse(node):
                assert node.module == "IPython.display", name
                assert {alias.name for alias in node.names} <= {"HTML", "display"}, name
                assert not any(alias.asname for alias in node.names), name
            if called(node) == "HTML":
                made_by = [called(argument) for argument in node.args]
                assert made_by in [[f"{made}_html"] for made in MADE_BY], name
            if called(node) == "display":
                ours = all(called(a) == "HTML" or called(a).startswith("plots.") for a in node.args)
                assert ours, f"{name}: {ast.unparse(node)}"
            if called(node) in ("HTML", "display"):
                assert not node.keywords, name


def test_nothing_published_is_trusted_but_constants():
    for path in sorted((Path(oiplib.__file__).parent / "publish").rglob("*.py")):
        wrong = untold(ast.parse(path.read_text()))
        allowed = ["Told(template)"] if path.name == "words.py" else []  # in `say` itself
        assert wrong == allowed, path


def test_tables_and_galleries_show_texts_as_they_are():
    for text in NASTY:
        wanted = " ".join(text.split())
        table = Read(plots.table_html([{text: text}]))
        assert table.text == wanted * 2
        assert table.elements == ["table", "thead", "tr", "th", "tbody", "tr", "td"]
        image = np.eye(3, dtype=np.float32)[..., None]
        gallery = Read(plots.gallery_html([image], [text], [text], columns=1, scrolls=True))
        assert set(gallery.elements) <= {"div", "a", "img", "span", "br"}
        assert {name for name, _ in gallery.attributes if name.startswith("on")} == set()
        assert [value for name, value in gallery.attributes if name in ("alt", "href")] == (
            [wanted] * 2
        )
        frame = pd.DataFrame({text: [text]}, index=[text]).rename_axis(text)
        shown = Read(frame._repr_html_())
        assert set(shown.elements) <= {"div", "style", *table.elements}, text
        assert text.split()[0] in shown.text


def test_figures_show_texts_as_they_are():
    """Matplotlib reads what is between dollar signs as a formula, and fails at this one."""
    text = r"$\undefined$"
    values, image = np.linspace(0, 1, 4), np.zeros((4, 4, 1), np.float32)
    steps = np.arange(2)
    drawn = [
        growth(np.stack([image] * 2), steps, values, text, text),
        plots.shares_by_map(values, text),
        plots.relative_curves(steps, np.ones((3, 2)), np.ones(2), text),
        plots.selection([(text, [(text, over_maps(values), [0.5])] * 3)] * 2),
        plots.reactions(np.array([1.0, 2.0]), np.array([3]), 1, np.ones(2), [text, text]),
        plots.against_null(values, values, 0.5, text, (text, text), text),
        plots.ranked({text: {text: values}}, text, text),
        plots.kept_order({text: np.arange(4)}),
        plots.matrix(np.eye(2), text, text, text, [text, text]),
    ]
    for figure in drawn[1:]:
        assert r"$\undefined$" in html.unescape(figure._repr_html_())


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
        if name in ("commands.md", "limits.md"):
            continue  # made from commands; measured on the reference database
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
