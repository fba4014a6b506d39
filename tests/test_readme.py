"""The README is plain English: short sentences, and none of those that readers stumbled over."""

import re
import runpy
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
LONGEST = 30


def sentences(text):
    """The sentences of a Markdown text, without its code, tables and pictures."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"!\[[^]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]*`", "code", text)
    lines = [line for line in text.splitlines() if not line.startswith("|")]
    blocks = re.split(r"\n\s*\n|^(?=\s*(?:[-*]|\d+\.) )", "\n".join(lines), flags=re.MULTILINE)
    for block in blocks:
        for sentence in re.split(r"(?<=[.!?])[*\")]*\s+", " ".join(block.split())):
            if sentence:
                yield sentence


def test_sentences_are_found():
    text = (
        "One **two.** Three [four\nfive](x.y)\n\n- six `a b`: 0.7\n- eight\n\n```\nno\n```\n| no |"
    )
    assert list(sentences(text)) == ["One **two.", "Three four five", "- six code: 0.7", "- eight"]


def test_no_sentence_is_long():
    long = [s for s in sentences(README) if len(re.findall(r"\w[\w.,%'-]*", s)) > LONGEST]
    assert long == []


def test_the_headings_are_those_that_people_scan_for():
    headings = re.findall(r"^## (.*)", README, re.MULTILINE)
    assert {"Quick start", "In Python", "On the command line", "Repository layout"} <= {*headings}


@pytest.mark.parametrize(
    "stumbles",
    [
        "What do the feature maps of a CNN respond to",
        "that this map answers strongly",
        "isn't done again",
        "the next call goes on",
        "must be right",
        "of the three networks beside it",
        "have one pattern only by their pixels",
        "unlike all of these",
        "the usual null",
        "It can be asked in SQL",
        "A file that a stranger sends",
        "to be read without us",
        "Two commands",
        "Five lines of Python",
        "A few lines of the command line",
        "What is where",
        "reviving starts",
    ],
)
def test_nobody_stumbles(stumbles):
    assert stumbles not in " ".join(README.split())


def test_the_letters_are_told_where_they_first_stand():
    first = re.search(r"\bOIP\b", README)
    assert "original input pattern" in README[first.start() : first.end() + 60]


def test_the_picture_grows_and_is_light():
    alt, path = re.search(r"!\[([^]]*)\]\(([^)]*)\)", README).groups()
    assert len(alt.split()) > 10
    assert (ROOT / path).stat().st_size < 1_500_000
    with Image.open(ROOT / path) as picture:
        assert picture.n_frames >= 8


def test_the_house_is_drawn_as_it_is():
    """With all its modules, on their floors."""
    drawing = runpy.run_path(str(ROOT / "docs" / "house.py"))
    assert (ROOT / "docs" / "house.svg").read_text() == drawing["house"]()
    drawn = {floor.name: floor.modules for floor in (*drawing["LEFT"], drawing["RIGHT"])}
    assert "training" in drawn["engine"]
    assert "contents" in drawn["store"]
    alone = " ".join(floor.name for floor in (*drawing["TOP"], *drawing["BOTTOM"]))
    for path in (ROOT / "oiplib").glob("*.py"):
        assert path.name in alone or path.name == "__init__.py"
