"""The main job on real MNIST, as a user calls it."""

import json

from test_book import broken_links


def test_the_quick_main_job_and_the_same_again(oip, tmp_path):
    asked = ("reproduce", "--quick", "--maps", "0-3,120")
    first = oip(*asked, check=0)
    assert first.stderr == ""
    table = dict(_row(line) for line in first.stdout.splitlines())
    assert float(table["test accuracy"].rstrip("%")) > 97
    # Of the other trainings, and of the maps that were not asked for, there is one OIP each.
    of_first = ("--best", "--layer", "Conv2D_3", "--network", "1", "--maps", "0-3,120")
    rows = json.loads(oip("query", *of_first, "--format", "json", check=0).stdout)
    assert int(table["maps"]) == 5
    assert int(table["not found"]) == 5 - len(rows)
    found = [int(number) for what, number in table.items() if what.startswith("found by")]
    assert sum(found) == len(rows) == 5
    site = tmp_path / "site"
    assert broken_links(site) == []
    assert len(list(site.glob("maps/map-*.html"))) == 5

    again = oip(*asked, check=0).stdout
    for line in ("network       stored already", "notebooks up to date, site up to date"):
        assert line in again
    assert again.count("stored already") == 5
    assert json.loads(oip("query", *of_first, "--format", "json").stdout) == rows


def _row(line):
    """A line of the closing table: what and result, two or more spaces apart."""
    what, _, result = line.partition("  ")
    return what, result.strip()
