"""Two machines' databases become one, in which the same result is the same row."""

import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner
from sqlalchemy import delete, func, select
from sqlalchemy.orm import undefer

from oiplib import Store, Study, screen
from oiplib.cli import main
from oiplib.store import Baseline, Condition, Correspondence, Layer, Network, Oip, Run, merge
from oiplib.study.check import problems
from oiplib.study.replay import replay


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
        for statement in sql:
            connection.execute(statement)


def merged_by_command(*args):
    """What the command says, in this process."""
    return CliRunner().invoke(main, ["merge", *map(str, args)])


@pytest.fixture(scope="module")
def kept_halves(once, tiny_study, copied):
    """The study on two machines, each of which has searched some maps."""

    def make(folder):
        folder.mkdir()
        paths = folder / "a.db", folder / "b.db"
        for path, missing in zip(paths, ("map > 7", "map < 5"), strict=True):
            without(
                copied(tiny_study.store.name, path),
                f"DELETE FROM oips WHERE {missing}",
                f"DELETE FROM rungs WHERE scan_id IN (SELECT id FROM scans WHERE {missing})",
                f"DELETE FROM scans WHERE {missing}",
            )
        # On the second, the network was stored after another one, so all its numbers differ.
        other_cnn = tiny_study.spec.cnn.replace(epochs=1, weights_seed=7)
        other = Study(folder / "shifted.db", tiny_study.spec.replace(cnn=other_cnn))
        assert other.train().id == 1
        merge(other.store, Store(paths[1]))
        other.store.close()

    return once("halves", make)


@pytest.fixture
def halves(kept_halves, tmp_path, copied):
    """Copies of the two machines' databases."""
    return [copied(kept_halves / name, tmp_path / name) for name in ("a.db", "shifted.db")]


def test_the_union_holds_what_either_has(halves, tiny_study):
    a, b = halves
    assert "1 of 2 networks" in merged_by_command(a, b).output
    assert content(a) == content(tiny_study.store.name)
    store = Store(a)
    assert list(problems(store)) == []
    assert store.networks()[0].accuracy == tiny_study.network.accuracy
    assert all(replayed.same_bytes for replayed in replay(store, store.oip_ids(4)))
    assert "0 of 2 networks" in merged_by_command(a, b).output
    assert content(a) == content(tiny_study.store.name)


def test_a_database_is_merged_into_a_new_one(halves, tmp_path, oip, tiny_study):
    oip("merge", "new.db", *halves, check=0)
    assert content(tmp_path / "new.db") == content(tiny_study.store.name)
    study = Study(tmp_path / "new.db", tiny_study.spec)
    assert study.derive_from_fluctuations() == study.derive_from_patterns() == []


def test_parts_of_a_screening_from_two_machines_make_the_whole(
    tiny_study, tmp_path, copied, monkeypatch
):
    """Each was stopped before the part that the other one has."""
    from oiplib.search import screening

    grid = tiny_study.spec.scan.grid.replace(rows=1, columns=17)  # two parts of 65,536
    paths = [tmp_path / f"{k}.db" for k in range(2)]
    parts = screening.parts_of(grid)
    for path, order in zip(paths, (parts, parts[::-1]), strict=True):

        def stopped(layer, spec, part, progress, last=order[1]):
            if part == last:
                raise KeyboardInterrupt
            return screen(layer, spec, part, progress)

        study = Study(copied(tiny_study.store.name, path))
        with monkeypatch.context() as patch:
            patch.setattr(screening, "parts_of", lambda grid, order=order: order)
            patch.setattr(screening, "screen", stopped)
            with pytest.raises(KeyboardInterrupt):
                study.screening(grid)
    merge(Store(paths[0], create=True), Store(paths[1]))
    with closing(sqlite3.connect(paths[0])) as connection:
        before = connection.execute("SELECT count(*) FROM runs").fetchone()
    merged = Study(paths[0]).screening(grid)
    spec = tiny_study.spec.scan.screening.replace(grid=grid)
    alone = screen(tiny_study.engine, spec)
    assert merged.histogram.tobytes() == alone.histogram.tobytes()
    assert merged.top_indices.tobytes() == alone.top_indices.tobytes()
    with closing(sqlite3.connect(paths[0])) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == before


def test_what_is_not_sound_is_not_merged(halves):
    a, b = halves
    without(b, "UPDATE oips SET loss = loss * 2 WHERE id = 1")
    before = content(a)
    for other, status, message in (
        (b, 1, "isn't sound, nothing was merged: oips row 1"),
        (a, 2, "with itself"),
        ("none.db", 1, "no database"),
    ):
        result = merged_by_command(a, other)
        assert (result.exit_code, message in result.stderr) == (status, True), result.output
    assert content(a) == before


def test_a_merge_does_not_change_what_was_asked_last(copy, tiny_study, tmp_path, copied):
    other = copied(tiny_study.store.name, tmp_path / "other.db")
    asked = Study(other).replace(layer="Conv2D_2")
    asked.note_asked()
    merge(Store(copy, create=True), Store(other))
    assert Study(copy).spec == tiny_study.spec
    assert Study(copy, spec=asked.spec.sha256).spec == asked.spec


def test_restarts_judged_by_another_threshold_are_left_out(copy, tiny_study, tmp_path, copied):
    other = copied(tiny_study.store.name, tmp_path / "other.db")
    without(copy, "DELETE FROM varieties", "UPDATE nulls SET threshold = threshold + 0.005")
    counts = merge(Store(copy, create=True), Store(other))
    assert counts["nulls"] == (0, 1)
    assert "restarts" not in counts
    assert not Store(copy).varieties(tiny_study.layer.id, tiny_study.spec.variety.sha256)


@pytest.fixture
def other_order(whole, tmp_path):
    """An empty database but for the last network of `whole`, which is the first here."""
    target = Store(tmp_path / "target.db", create=True)
    with Store(whole).session() as session:
        last = session.scalars(
            select(Network).order_by(Network.id.desc()).options(undefer("*")).limit(1)
        ).one()
        run, layers = session.get(Run, last.run_id), list(last.layers)
        run = target.add_run(Run(**plain(run)))
        target.add(
            Network(
                **plain(last) | {"run_id": run},
                layers=[Layer(**plain(layer, "network_id")) for layer in layers],
            )
        )
    return target


def plain(row, *but):
    names = row.__mapper__.column_attrs.keys()
    return {name: getattr(row, name) for name in names if name not in ("id", *but)}


def test_an_empty_database_becomes_a_copy(whole, tmp_path, all_rows):
    counts = merge(Store(tmp_path / "new.db", create=True), Store(whole))
    held = all_rows(Store(whole))
    assert all(held.values())  # every table has rows
    assert all_rows(Store(tmp_path / "new.db")) == held
    assert counts["conditions"] == (len(held["conditions"]), 0)
    assert counts["comparisons"] == (len(held["correspondences"]) + len(held["baselines"]), 0)


def test_nothing_is_left_out(whole, other_order, all_rows):
    held = all_rows(Store(whole), numbered=False)
    merge(other_order, Store(whole))
    merged = all_rows(other_order, numbered=False)
    assert merged.keys() == held.keys()
    for table in held.keys() - {"correspondences"}:
        assert merged[table] == held[table]
    assert merge(other_order, Store(whole))["comparisons"] == (0, 60)
    assert all_rows(other_order, numbered=False) == merged


def test_of_two_trainings_the_older_one_stands_first(whole, other_order):
    merge(other_order, Store(whole))

    def pairs(store):
        with store.session() as session:
            return {
                (row.layer.name, row.layer.network.sha256, row.other.network.sha256, row.way): row
                for row in session.scalars(select(Correspondence))
            }

    before, after = pairs(Store(whole)), pairs(other_order)
    assert len(before) == len(after) > 0
    n_turned = 0
    for (layer, first, second, way), row in after.items():
        assert row.layer.network_id < row.other.network_id
        same = before.get((layer, first, second, way))
        if same is None:
            n_turned += 1
            same = before[layer, second, first, way]
            assert (same.scores == row.scores.T).all()
            assert (same.shuffled == row.shuffled.T).all()
        else:
            assert (row.scores == same.scores).all()
        assert (row.median, row.svcca, row.cka) == (same.median, same.svcca, same.cka)
    assert 0 < n_turned < len(after)


def test_a_test_of_an_oip_whose_image_differs_is_left_out(whole, tmp_path, copied):
    target = Store(copied(whole, tmp_path / "target.db"), create=True)
    with target.session(writes=True) as session:
        tested = session.scalars(select(Condition).order_by(Condition.id)).first().oip_id
        oip = session.get_one(Oip, tested)
        oip.image = oip.image / 2
        n = session.execute(delete(Condition)).rowcount
    assert merge(target, Store(whole))["conditions"] == (n - 1, 0)
    with target.session() as session:
        assert session.scalar(select(Condition.id).where(Condition.oip_id == tested)) is None


def test_who_compares_after_a_merge_stores_each_pair_once(whole, other_order):
    """Rows that are put in the place of merged ones find them."""
    merge(other_order, Store(whole))
    with other_order.session() as session:
        kinds = Correspondence, Baseline
        pairs, baselines = (
            [kind(**plain(row)) for row in session.scalars(select(kind))] for kind in kinds
        )
    other_order.put_compared(pairs, baselines)
    with other_order.session() as session:
        for kind, rows in zip(kinds, (pairs, baselines), strict=True):
            assert session.scalar(select(func.count()).select_from(kind)) == len(rows)
