"""Chapters are read: the finding first, pictures told in words, no sentence that stops a reader."""

import re

import pytest
from bs4 import BeautifulSoup
from conftest import SHOWN

from oiplib.publish import notebooks
from oiplib.study.chapters import CHAPTERS

#: A first paragraph with more numbers than this isn't read.
MOST_NUMBERS = 3

#: A number by itself: not the one in a name, such as Conv2D_3 or map-007.
NUMBER = re.compile(r"(?<![\w.-])\d[\d,]*(?:\.\d+)?(?![\w-])")

#: What readers stumbled over (the site's part of the list).
STUMBLES = (
    "Where chance finds no start",
    "One training beside another",
    "What can be made again",
    "two nulls tell",
    "of different maps, the null",
    "as many such pairs stay below",
    "How many patterns has a map",
    "Have maps a class",
    "found by revival",
    "by revival from pattern",
    "ended by n_epochs",
    "wherever it stands; two of them",
)


@pytest.fixture(scope="module")
def pages(built):
    """Name of each page -> its article as HTML."""
    soups = {}
    for path in sorted(built.rglob("*.html")):
        article = BeautifulSoup(path.read_text(), "html.parser").find("article")
        if article is not None:
            soups[path.relative_to(built).as_posix()] = article
    names = [f"{chapter.name}.html" for chapter in CHAPTERS]
    assert {*names, *(f"{notebooks.map_page(map)}.html" for map in SHOWN)} <= {*soups}
    return soups


def first_paragraph(article):
    """The first paragraph that is read; what is folded or only told to machines isn't."""
    for paragraph in article.find_all("p"):
        text = " ".join(paragraph.get_text().split())
        if text and not paragraph.find_parent(["details", "noscript"]):
            return text
    return ""


def test_numbers_are_found():
    assert NUMBER.findall("Of 1,000 maps of Conv2D_3, 14% (9% to 21.5%) of map-007.") == [
        *("1,000", "14", "9", "21.5")
    ]


def test_no_page_begins_with_many_numbers(pages):
    first = {name: first_paragraph(article) for name, article in pages.items()}
    many = {name: text for name, text in first.items() if len(NUMBER.findall(text)) > MOST_NUMBERS}
    assert many == {}


def test_pictures_are_told_in_words(pages):
    seen = 0
    for name, article in pages.items():
        for image in article.find_all("img"):
            alt = image.get("alt", "")
            assert not re.search(r"[0-9a-f]{16}|\.(png|svg)$", alt), name
            assert alt or image.find_parent("a"), f"{name}: {image['src'][:80]}"
        for drawing in article.select(".oip-figure svg"):
            seen += 1
            assert drawing["role"] == "img"
            assert len(drawing["aria-label"].split()) >= 8, name
    assert seen >= 10


def test_figures_are_drawn_in_the_colours_of_their_page(pages):
    for name, article in pages.items():
        for drawing in article.select(".oip-figure svg"):
            assert drawing["fill"] == "currentColor", name
            # Black is text and axes, and can't be read in the dark; white is a ground.
            assert not re.search(r"#0{6}|#0{3}\b|#f{6}|#fff\b", str(drawing)), name
            assert drawing.find(["style", "script", "metadata"]) is None


def test_nobody_stumbles(pages):
    for name, article in pages.items():
        text = " ".join(article.get_text().split())
        assert [words for words in STUMBLES if words in text] == [], name


def test_terms_lead_to_the_glossary(pages):
    terms = {tag["id"] for tag in pages["glossary.html"].find_all("dt", id=True)}
    linked = {
        link["href"].split("#")[1]
        for article in pages.values()
        for link in article.find_all("a", href=True)
        if "glossary.html#" in link["href"]
    }
    assert {"term-OIP", "term-revival"} <= terms
    assert linked <= terms
    assert len(linked) >= 8
    assert "original input pattern" in pages["glossary.html"].get_text()


def test_the_series_is_cited_with_its_address(pages):
    links = {link["href"] for link in pages["cite.html"].find_all("a", href=True)}
    assert any(link.startswith("https://linux-blog.anracom.com/") for link in links)
