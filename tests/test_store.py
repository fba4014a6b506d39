import io
import sqlite3
import zlib
from contextlib import closing

import numpy as np
import pytest

import oiplib
from oiplib import InputError, OipError, OipFilter, Store, Study, scan, screen, try_fluctuations
from oiplib.search.screening import histogram_edges
from oiplib.store import Oip
from oiplib.values import Spec


def change(path, sql, *values):
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql, values).fetchall()


def test_every_result_survives_the_store(tiny_study, layer):
    """What the engine computes now is what the database gave back."""
    study, spec = tiny_study, tiny_study.spec
    searches = [
        (spec.trials, try_fluctuations(layer, spec.trials, [0, 3, 7])),
        (spec.scan, scan(layer, spec.scan, [0, 3, 7])),
    ]
    stored = Store(study.store.name)
    n_oips = 0
    for kind, search in searches:
        for found in search:
            (of_map,) = stored.scans(study.layer.id, kind.sha256, found.map)
            assert Spec.from_dict(of_map.spec) == kind
            for rung, row in zip(found.rungs, of_map.rungs, strict=True):
                assert rung.steps == row.steps
                np.testing.assert_array_equal(rung.starts, row.starts)
                np.testing.assert_array_equal(rung.losses, row.losses)
            oips = {o.start: o for o in stored.oips(OipFilter(maps=[found.map]))}
            for i, start in enumerate(found.starts):
                oip = oips[start]
                n_oips += 1
                assert Spec.from_dict(oip.spec) == kind.climb
                assert oip.loss == found.ascents.losses[i]
                assert oip.steps == found.ascents.steps[i]
                assert oip.stop_reason == found.ascents.stop_reasons[i]
                silent = found.ascents.traces[i, 0] == 0
                assert oip.origin == ("revival" if silent else start.origin)
                assert oip.image.tobytes() == found.ascents.images[i].tobytes()
                np.testing.assert_array_equal(oip.trace, found.ascents.traces[i])
                # Only the best of a search keeps its frames.
                best = oip.loss == found.ascents.losses.max()
                kept = slice(None) if best else slice(0)
                steps, frames = found.ascents.report_steps[kept], found.ascents.frames[i][kept]
                np.testing.assert_array_equal(oip.report_steps, steps)
                for shown, frame in zip(oip.frames, frames, strict=True):
                    assert (shown.min(), shown.max()) == (0, 255)
                    stretched = (frame - frame.min()) / np.ptp(frame)
                    np.testing.assert_allclose(shown / 255, stretched, atol=2e-3)
    assert n_oips > 3


def test_anyone_can_read_an_array(tiny_study):
    """As the page on queries says."""
    with tiny_study.store.session() as session:
        raw = session.connection().exec_driver_sql("SELECT image FROM oips WHERE id = 2").scalar()
    image = np.load(io.BytesIO(zlib.decompress(raw)))
    assert image.tobytes() == tiny_study.store.oip(2).image.tobytes()


def test_a_screening_survives_the_store(tiny_study, layer):
    spec = tiny_study.spec.scan.screening
    whole = (0, spec.grid.n_patterns)
    row = Store(tiny_study.store.name).screening(tiny_study.layer.id, spec.sha256, whole)
    found = screen(layer, spec)
    for name in ("n_reacting", "top_indices", "top_responses", "top_preactivations", "histogram"):
        np.testing.assert_array_equal(getattr(row, name), getattr(found, name))
    assert row.n_patterns == found.n_patterns
    np.testing.assert_array_equal(row.edges, histogram_edges(spec))


def test_the_network_survives_the_store(tiny_study):
    from oiplib.engine import network

    row = Store(tiny_study.store.name).network(tiny_study.network.id)
    assert Spec.from_dict(row.spec) == tiny_study.spec.cnn
    model = network.unpack(row.architecture, row.weights)
    assert network.weights_sha256(model) == row.weights_sha256
    assert [layer.name for layer in row.layers][:3] == ["Conv2D_1", "Max_Pool_1", "Conv2D_2"]
    assert len(row.history["val_accuracy"]) == tiny_study.spec.cnn.epochs


def test_rows_are_filtered_and_sorted(tiny_study):
    store = tiny_study.store
    rows = store.oip_rows(OipFilter())
    assert [(r["map"], -r["loss"]) for r in rows] == sorted((r["map"], -r["loss"]) for r in rows)
    best = store.oip_rows(OipFilter(best=True))
    maps = sorted({row["map"] for row in rows})
    assert [row["map"] for row in best] == maps
    for row in best:
        assert row["loss"] == max(r["loss"] for r in rows if r["map"] == row["map"])
    for wanted in ({"maps": maps[:2]}, {"prior": "none"}, {"maps": maps[:2], "prior": "none"}):
        asked = store.oip_rows(OipFilter(best=True, **wanted))
        assert asked == [row for row in best if row["map"] in wanted.get("maps", maps)]
    some = store.oip_rows(OipFilter(maps=[maps[0], maps[-1]], layer="Conv2D_3", network=1))
    assert {row["map"] for row in some} == {maps[0], maps[-1]}


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (OipFilter(maps=[12], layer="Conv2D_3"), "no map 12 in Conv2D_3: choose 0 to 11"),
        (OipFilter(layer="Conv2D_9"), "choose one of Conv2D_1"),
        (OipFilter(network=7), "choose one of 1"),
    ],
)
def test_a_filter_for_what_does_not_exist_is_refused(tiny_study, wanted, told):
    with pytest.raises(InputError, match=told):
        tiny_study.store.oip_rows(wanted)


def test_filters_choose_what_plain_python_would(tiny_study):
    store = tiny_study.store
    rows = store.oip_rows(OipFilter())
    middle = sorted(row["loss"] for row in rows)[len(rows) // 2]
    first = rows[0]
    number = first["start"].get("index", first["start"].get("trial"))
    for wanted, holds in (
        (OipFilter(origin="pattern"), lambda row: row["origin"] == "pattern"),
        (OipFilter(stop_reason="converged"), lambda row: row["stop_reason"] == "converged"),
        (OipFilter(least=middle), lambda row: row["loss"] >= middle),
        (OipFilter(largest=middle), lambda row: row["loss"] <= middle),
        (
            OipFilter(start=number),
            lambda row: number in (row["start"].get("index"), row["start"].get("trial")),
        ),
        (
            OipFilter(spec=first["spec_sha256"][:9]),
            lambda row: row["spec_sha256"] == first["spec_sha256"],
        ),
    ):
        assert store.oip_rows(wanted) == [row for row in rows if holds(row)]
    assert store.oip_rows(OipFilter(spec="%")) == []
    losses = sorted((row["loss"] for row in rows), reverse=True)
    assert [row["loss"] for row in store.oip_rows(OipFilter(sort="loss", limit=3))] == losses[:3]
    ids = [row["id"] for row in store.oip_rows(OipFilter(sort="id"))]
    assert ids == sorted(ids)


def test_the_same_result_is_the_same_row(copy, tiny_study):
    study = Study(copy, tiny_study.spec)
    before = study.rows()
    # A scan that keeps more finds the same OIPs and some others.
    study.replace(scan=study.spec.scan.replace(n_oips=4)).derive_from_patterns([0, 3])
    after = study.rows()
    assert [row for row in after if row["id"] <= before_last(before)] == before
    keys = [(row["map"], str(row["start"]), str(row["spec"])) for row in after]
    assert len(keys) == len(set(keys)) > len(before)


def before_last(rows):
    return max(row["id"] for row in rows)


def pickled():
    buffer = io.BytesIO()
    np.save(buffer, np.array([print], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def array(values):
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "blob",
    [b"", b"nonsense", pickled(), array(np.zeros((2, 2), np.float32)), array(np.zeros((9, 9, 1)))],
    ids=["empty", "nonsense", "pickle", "wrong rank", "wrong type"],
)
def test_a_damaged_array_is_an_error(copy, blob):
    change(copy, "UPDATE oips SET image = ? WHERE id = 1", blob)
    with pytest.raises(OipError, match="the database holds"):
        Store(copy).oip(1)


def test_the_database_refuses_what_cannot_be(copy):
    for sql in (
        "UPDATE oips SET map = -1 WHERE id = 1",
        "UPDATE oips SET origin = 'luck' WHERE id = 1",
        "UPDATE runs SET status = 'lost'",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            change(copy, sql)
    with pytest.raises(OipError, match="FOREIGN KEY"), Store(copy).session() as session:
        session.connection().exec_driver_sql("DELETE FROM layers")


def test_a_missing_or_foreign_file_is_refused(tmp_path):
    with pytest.raises(OipError, match="make one with 'oip reproduce'"):
        Store(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("This is no database, however long it may be. " * 50)
    for create in (False, True):
        with pytest.raises(OipError, match="not a database"):
            Store(tmp_path / "text.db", create=create)
    change(tmp_path / "other.db", "CREATE TABLE birds (name TEXT)")
    for create in (False, True):
        with pytest.raises(OipError, match="not one of oiplib's"):
            Store(tmp_path / "other.db", create=create)
    with pytest.raises(OipError, match="folder exists"):
        Store(tmp_path / "no" / "folder.db", create=True)
    with pytest.raises(InputError, match="can't be used"):
        Store("nosuch://host/db")


def test_reading_does_not_change_the_file(copy):
    before = copy.read_bytes()
    store = Store(copy)
    store.oips(OipFilter())
    store.close()
    assert copy.read_bytes() == before


def test_a_map_is_found_by_an_index(copy):
    from sqlalchemy import event

    store, asked = Store(copy), []
    event.listen(
        store._engine, "before_cursor_execute", lambda c, cursor, sql, values, *_: asked.append(sql)
    )
    store.oip_rows(OipFilter(maps=[3]))
    sql = next(each for each in asked if "oips.loss" in each)
    plan = change(copy, f"EXPLAIN QUERY PLAN {sql}", *[3] * sql.count("?"))
    assert any("USING INDEX oips_by_map" in row[3] for row in plan), plan


def test_oips_are_a_list_that_knows_its_best_and_its_tables(tiny_study):
    oips = tiny_study.oips(3)
    assert oips.best() is oips[0]
    table = oips.frame()
    rows = tiny_study.rows([3])
    assert table["id"].tolist() == [row["id"] for row in rows]
    assert table["loss"].tolist() == [row["loss"] for row in rows]
    assert table["pattern"].dropna().tolist() == [
        row["start"]["index"] for row in rows if "index" in row["start"]
    ]
    assert (table["pattern"].isna() ^ table["trial"].isna()).all()
    traces = oips.traces()
    for oip in oips:
        own = traces[traces["id"] == oip.id]
        assert own["step"].tolist() == list(range(oip.steps + 1))
        assert own["loss"].tolist() == oip.trace.tolist()
    assert len(tiny_study.oips().frame()) == len(tiny_study.rows())
    nothing = tiny_study.store.oips(OipFilter(least=1e9))
    assert list(nothing.frame().columns) == list(table.columns)
    assert len(nothing.traces()) == 0
    with pytest.raises(OipError, match="find some with"):
        nothing.best()


def test_an_oip_shows_itself(tiny_study):
    import base64
    import re

    from PIL import Image

    from oiplib.pictures import displayable

    oip = tiny_study.oips().best()
    page = oip._repr_html_()
    pictures = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"))
        for data in re.findall(r"base64,([^\"]+)", page)
    ]
    for picture, contrast in zip(pictures, (False, True), strict=True):
        np.testing.assert_allclose(picture / 255, displayable(oip.image, contrast), atol=3e-3)
    assert f"OIP {oip.id} of map {oip.map}" in page
    assert tiny_study.oips()._repr_html_().count("<img") == min(64, len(tiny_study.oips()))


@pytest.mark.parametrize("is_same", [True, False])
def test_images_on_the_way_are_added_to_the_same_image_only(copy, tiny_study, is_same):
    """On another machine an ascent may go another way; its images on the way aren't this one's."""
    of_study = next(oip for oip in tiny_study.oips() if len(oip.frames))
    names = [column.key for column in Oip.__mapper__.column_attrs if column.key != "id"]
    values = {name: getattr(of_study, name) for name in names}
    store = Store(copy, create=True)
    with store.session(writes=True) as session:
        stored = session.get(Oip, of_study.id)
        stored.frames, stored.report_steps = of_study.frames[:0], of_study.report_steps[:0]
    image = of_study.image if is_same else of_study.image + np.float32(0.01)
    assert store.add_scans([], [Oip(**{**values, "image": image})]) == (0, 0)
    assert len(store.oip(of_study.id).frames) == (len(of_study.frames) if is_same else 0)


def test_a_query_in_sql_reads_and_changes_nothing(tiny_study, tmp_path, copied):
    store = Store(copied(tiny_study.store.name, tmp_path / "sql.db"))
    asked = (
        "SELECT id, map, loss, image FROM best_oips WHERE prior = 'none' AND map < :n ORDER BY map"
    )
    found = Study(store).query(asked, n=5)
    best = [oip for oip in tiny_study.oips(best=True) if oip.map < 5]
    assert found["id"].tolist() == [oip.id for oip in best]
    np.testing.assert_array_equal(found["image"][0], best[0].image)
    for statement in (
        "DELETE FROM oips",
        "UPDATE oips SET loss = 1",
        "DROP TABLE oips",
        "SELECT nothing FROM oips",
        "SELECT 1; DELETE FROM oips",
        "SELECT :missing",
        "PRAGMA ignore_check_constraints = 1",
        f"ATTACH '{tmp_path}/more.db' AS more",
        "COMMIT",
        "",
        "SELECT '\ud800'",
    ):
        with pytest.raises(InputError, match="can't answer that: "):
            store.query(statement)
    assert store.query("SELECT count(*) AS n FROM oips")["n"][0] == len(tiny_study.store.oip_ids())
    assert not (tmp_path / "more.db").exists()
    # The connection writes again.
    run = store.start_run("derive", None, {})
    store.end_run(run, "done")


def test_objects_tell_what_they_are(tiny_study, tmp_path):
    alone = tiny_study.oips(best=True)[0].layer.network
    assert repr(alone).startswith(f"<network {alone.id} ")
    for told in (tiny_study, tiny_study.network):
        assert "Conv2D_3" in repr(told)
        assert f"network {tiny_study.network.id}" in repr(told)
        assert f"network {tiny_study.network.id}" in told._repr_html_()
    summary = tiny_study.summary()
    assert f"{summary.n_oips} OIPs" in str(summary)
    assert str(summary) in repr(tiny_study)
    assert tiny_study._repr_html_().count("<img") == len(tiny_study.oips(best=True))
    new = Study(tmp_path / "new.db", tiny_study.spec)
    assert "isn't trained yet" in repr(new)
    assert "trained yet</p>" in new._repr_html_()


def test_oips_are_chosen_by_maps_layer_and_origin(tiny_study):
    assert [o.id for o in tiny_study.oips(3)] == [o.id for o in tiny_study.oips("3")]
    some = tiny_study.oips([0, 3])
    assert {oip.map for oip in some} <= {0, 3}
    of_patterns = tiny_study.oips(origin=("pattern", "revival"))
    assert {oip.origin for oip in of_patterns} <= {"pattern", "revival"}
    best = tiny_study.oips(origin=("pattern", "revival"), best=True)
    for oip in best:
        assert oip.loss == max(o.loss for o in of_patterns if o.map == oip.map)
    assert len(best) == len({oip.map for oip in of_patterns})
    assert tiny_study.oips(layer="Conv2D_2") == []
    for wrong in ({"origin": "chance"}, {"layer": "Conv2D_9"}, {"maps": "99"}):
        with pytest.raises(InputError, match="choose"):
            tiny_study.oips(**wrong)
    with pytest.raises(InputError, match="names its layers"):
        tiny_study.oips("0-3", objective="Conv2D_3:0")


def test_the_package_shows_what_is_meant_to_be_used():
    shown = {name for name in dir(oiplib) if not name.startswith("__")}
    assert shown == set(oiplib.__all__)
