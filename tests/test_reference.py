"""The committed database answers right after cloning, and reading leaves it as it is."""

import hashlib
import json

import pytest
from conftest import REFERENCE

from oiplib import Store, Study
from oiplib.study.filters import shared_filters
from oiplib.study.unique import under_priors


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def untouched(reference):
    before = sha256(REFERENCE), sha256(reference)
    yield reference
    assert (sha256(REFERENCE), sha256(reference)) == before


def test_it_is_small_and_sound(untouched, oip_here):
    assert REFERENCE.stat().st_size <= 35_000_000
    assert untouched.stat().st_size <= 35_000_000
    assert "is sound" in oip_here("check", "--db", untouched, check=0).stdout


def test_it_answers_at_once(untouched, oip_here, tmp_path):
    of_map = ("--map", "120", "--network", "1", "--format", "json", "--db", untouched)
    rows = json.loads(oip_here("query", *of_map, check=0).stdout)
    assert rows
    assert {(row["map"], row["network"]) for row in rows} == {(120, 1)}
    best = rows[0]["id"]
    output = oip_here("show", best, "--png", "oip.png", "--db", untouched, check=0).stdout
    assert "map 120 of Conv2D_3" in output
    assert (tmp_path / "oip.png").stat().st_size > 10_000
    # On another machine the last bits may differ, and some ascents carry that far.
    asked = ("replay", best, rows[-1]["id"], "--tolerance", "0.1", "--db", untouched)
    held = oip_here(*asked, check=0)
    assert "2 of 2 hold" in held.stdout


def test_every_map_has_an_oip_and_an_answer_to_each_question(untouched, oip_here):
    query = ("query", "--best", "--layer", "Conv2D_3", "--network", "1", "--format", "json")
    rows = json.loads(oip_here(*query, "--db", untouched, check=0).stdout)
    assert [row["map"] for row in rows] == list(range(128))
    study = Study(Store(untouched))  # read only
    of_maps = study.store.varieties(study.layer.id, study.spec.variety.sha256)
    assert sorted(of_maps) == list(range(128))
    assert min(row.n_starts for row in of_maps.values()) >= 64
    assert len(study.store.networks()) == 4


def test_the_readme_says_what_it_says(untouched):
    """What needs no network to be told: how many filters are shared, and how unique OIPs are."""
    readme = " ".join((REFERENCE.parent / "README.md").read_text().split())
    study = Study(Store(untouched))
    last = shared_filters(study)[-1]
    least, most = last.range
    assert f"between {least:.0%} and {most:.0%} of the third layer's maps" in readme
    for answer in last.shares["both"].values():
        assert answer.here.text() in readme
    for under in under_priors(study):
        assert under.pixels.one_pattern.text() in readme
