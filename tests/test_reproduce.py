"""The main job: on real MNIST as a user calls it, and on a study that is finished already."""

import json
import sqlite3
from contextlib import closing

import pytest
from conftest import SHOWN
from test_book import broken_links

from oiplib.reproduce import reproduce
from oiplib.study.chapters import NEEDS

STAGES = [*(need.name for need in NEEDS), "book"]
#: Those that say so themselves when they find everything stored.
SAY_STORED = [
    *("networks", "network", "screening", "fluctuations", "patterns", "layers"),
    *("reproduction", "legible"),
]


def n_runs(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM runs").fetchone()


def test_a_finished_study_is_left_as_it_is(finished, built):
    before, announced = n_runs(finished.store.name), []
    stages, summary = reproduce(finished, built, SHOWN, announced.append)
    assert announced == stages
    assert [stage.name for stage in stages] == STAGES
    assert [s.name for s in stages if "stored already" in s.result] == SAY_STORED
    assert stages[-1].result == "notebooks up to date, site up to date"
    assert n_runs(finished.store.name) == before
    assert summary == finished.summary(SHOWN)
    assert sorted(map for maps in summary.found.values() for map in maps) == SHOWN


@pytest.mark.slow
def test_the_quick_main_job_and_the_same_again(oip, tmp_path):
    command = ("reproduce", "--quick", "--maps", "0-3,120")
    first = oip(*command, check=0)
    assert first.stderr == ""
    table = dict(_row(line) for line in first.stdout.splitlines())
    assert [line.split()[0] for line in first.stdout.splitlines()[: len(STAGES)]] == STAGES
    assert float(table["test accuracy"].rstrip("%")) > 97
    # Of the other trainings, and of the maps that were not asked for, there is one OIP each.
    of_first = ("--best", "--layer", "Conv2D_3", "--network", "1", "--maps", "0-3,120")
    rows = json.loads(oip("query", *of_first, "--format", "json", check=0).stdout)
    assert int(table["maps"]) == 5
    assert int(table["not found"]) == 5 - len(rows)
    by_origin = [int(number) for what, number in table.items() if what.startswith("found by")]
    assert sum(by_origin) == len(rows) == 5
    site = tmp_path / "site"
    assert broken_links(site) == []
    assert len(list(site.glob("maps/map-*.html"))) == 5

    before = n_runs(tmp_path / "oip.db")
    again = oip(*command, check=0).stdout.splitlines()[: len(STAGES)]
    assert [line.split()[0] for line in again if "stored already" in line] == SAY_STORED
    assert again[-1].startswith("book          notebooks up to date, site up to date")
    assert n_runs(tmp_path / "oip.db") == before
    assert json.loads(oip("query", *of_first, "--format", "json").stdout) == rows


def _row(line):
    """A line of the closing table: what and result, two or more spaces apart."""
    what, _, result = line.partition("  ")
    return what, result.strip()
