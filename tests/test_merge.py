"""Two machines' databases become one, in which the same result is the same row."""

import sqlite3
from contextlib import closing

import pytest

from oiplib import Store, Study
from oiplib.check import problems
from oiplib.replay import replay
from oiplib.store import merge


def content(path):
    """All OIPs and rungs by what they are, not by the numbers of their rows."""
    with closing(sqlite3.connect(path)) as connection:
        oips = connection.execute("SELECT key, map, loss, image, frames, trace FROM oips")
        rungs = connection.execute(
            "SELECT weights_sha256, layers.name, map, scans.spec_sha256, number, starts, losses "
            "FROM rungs JOIN scans ON scans.id = scan_id JOIN layers ON layers.id = layer_id "
            "JOIN networks ON networks.id = network_id"
        )
        return sorted(oips), sorted(rungs)


def without(path, *sql):
    with closing(sqlite3.connect(path)) as connection, connection:
        for each in sql:
            connection.execute(each)


@pytest.fixture
def halves(tiny_study, tmp_path, copied):
    """The finished study on two machines, each of which has searched some maps."""
    paths = tmp_path / "a.db", tmp_path / "b.db"
    for path, missing in zip(paths, ("map > 7", "map < 5"), strict=True):
        without(
            copied(tiny_study.store.name, path),
            f"DELETE FROM oips WHERE {missing}",
            f"DELETE FROM rungs WHERE scan_id IN (SELECT id FROM scans WHERE {missing})",
            f"DELETE FROM scans WHERE {missing}",
        )
    # On the second, the network was stored after another one, so all its numbers differ.
    other = Study(
        tmp_path / "shifted.db",
        tiny_study.spec.replace(cnn=tiny_study.spec.cnn.replace(epochs=1, weights_seed=7)),
    )
    assert other.network.id == 1
    merge(other.store, Store(paths[1]))
    return paths[0], tmp_path / "shifted.db"


def test_the_union_holds_what_either_has(halves, tiny_study, oip):
    a, b = halves
    told = oip("merge", a, b, check=0).stdout
    assert "1 of 2 networks" in told
    assert content(a) == content(tiny_study.store.name)
    store = Store(a)
    assert list(problems(store)) == []
    assert store.networks()[0].accuracy == tiny_study.network.accuracy
    assert all(each.same_bytes for each in replay(store, store.oip_ids(4)))
    again = oip("merge", a, b, check=0).stdout
    assert "0 of 2 networks" in again
    assert content(a) == content(tiny_study.store.name)


def test_a_database_is_merged_into_a_new_one(halves, tmp_path, oip, tiny_study):
    oip("merge", "new.db", *halves, check=0)
    assert content(tmp_path / "new.db") == content(tiny_study.store.name)
    study = Study(tmp_path / "new.db", tiny_study.spec)
    assert study.derive_from_fluctuations() == study.derive_from_patterns() == []


def test_shards_of_a_screening_from_two_machines_make_the_whole(tiny_study, copy, tmp_path, copied):
    grid = tiny_study.spec.scan.grid.replace(values=(0.1, 0.3, 0.6, 0.9))
    paths = [tmp_path / f"{k}.db" for k in range(2)]
    for k, path in enumerate(paths):
        Study(copied(tiny_study.store.name, path)).screen_parts(grid, k, 2)
    merge(Store(paths[0], create=True), Store(paths[1]))
    with closing(sqlite3.connect(paths[0])) as connection:
        before = connection.execute("SELECT count(*) FROM runs").fetchone()
    merged = Study(paths[0]).screening(grid)
    alone = Study(copy).screening(grid)
    assert merged.histogram.tobytes() == alone.histogram.tobytes()
    assert merged.top_indices.tobytes() == alone.top_indices.tobytes()
    with closing(sqlite3.connect(paths[0])) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == before


def test_what_is_not_sound_is_not_merged(halves, oip):
    a, b = halves
    without(b, "UPDATE oips SET loss = loss * 2 WHERE id = 1")
    before = content(a)
    assert "isn't sound, nothing was merged: oips row 1" in oip("merge", a, b, check=1).stderr
    assert "with itself" in oip("merge", a, a, check=2).stderr
    assert "no database" in oip("merge", a, "none.db", check=1).stderr
    assert content(a) == before
