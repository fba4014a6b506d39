import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from itertools import pairwise

import numpy as np
import pytest

from oiplib import (
    Channel,
    Function,
    InputError,
    Store,
    Study,
    StudySpec,
    ascend,
    fluctuation_images,
    pattern_images,
)
from oiplib.analysis import restarts
from oiplib.engine import network
from oiplib.engine.images import standardized
from oiplib.engine.tf import keras, tf
from oiplib.study import questions
from oiplib.study.check import problems
from oiplib.study.executors import Here
from oiplib.study.networks import add_model
from oiplib.study.replay import replay
from oiplib.values import AscentSpec, stages_of, start_of


def runs(study):
    with sqlite3.connect(study.store.name) as connection:
        return connection.execute("SELECT kind, status FROM runs ORDER BY id").fetchall()


def test_what_is_stored_is_not_computed_again(tiny_study, tiny_spec):
    before = runs(tiny_study)
    again = Study(tiny_study.store.name, tiny_spec)
    again.screening()
    again.derive()
    assert again.derive_from_fluctuations() == again.derive_from_patterns([3]) == []
    assert runs(again) == before
    assert {status for _, status in before} == {"done"}
    kinds = [kind for kind, _ in before if kind not in ("react", "select")]
    assert kinds == ["train", "screen", "derive", "derive", "null", "restart"]


def test_noisy_starts_are_made_again_from_their_numbers(copy):
    study = Study(copy)
    noisy = study.replace(scan=study.spec.scan.replace(noise=0.01, seed=3))
    noisy.derive_from_patterns([0, 3])
    starts = {row["id"]: start_of(row["start"]) for row in noisy.rows()}
    ids = [id for id, start in starts.items() if getattr(start, "noise", 0)]
    assert len(ids) > 1
    assert all(again.same_bytes for again in replay(noisy.store, ids))
    assert str(starts[ids[0]]).endswith(", noise 0.01, seed 3")
    assert list(problems(noisy.store)) == []


def test_a_study_goes_on_from_its_database_alone(tiny_study):
    again = Study(tiny_study.store.name)
    assert again.spec == tiny_study.spec
    assert again.network.id == tiny_study.network.id


def test_an_oip_can_be_made_again_from_its_stored_numbers(tiny_study):
    """By hand, through the engine's functions: the same bytes."""
    study = Study(tiny_study.store.name)
    chosen = {oip.origin: oip for oip in study.oips()}
    assert set(chosen) == {"fluctuation", "pattern", "revival"}
    for oip in chosen.values():
        start = oip.start
        if oip.origin == "fluctuation":
            image = fluctuation_images([start], study.engine.image_shape)
        else:
            image = pattern_images(start.grid, np.array([start.index]), study.engine.image_shape)
        for stage in stages_of(oip.spec):
            found = ascend(study.engine, image, np.array([oip.map]), stage)
            image = found.images
        assert found.images[0].tobytes() == oip.image.tobytes()
        assert found.losses[0] == oip.loss


def test_maps_are_found_by_their_first_origin(tiny_study):
    summary = tiny_study.summary()
    having = {
        origin: {o.map for o in tiny_study.oips() if o.origin == origin}
        for origin in ("fluctuation", "pattern", "revival")
    }
    taken: set[int] = set()
    for origin, maps in having.items():
        assert set(summary.found[origin]) == maps - taken
        taken |= maps
    assert set(summary.silent) == set(range(12)) - taken
    assert summary.n_oips == len(tiny_study.oips())
    assert summary.accuracy > 0.5


def test_every_map_has_an_oip_and_a_record(tiny_study, mnist):
    table = questions.map_table(tiny_study)
    assert [row["map"] for row in table] == list(range(12))
    assert all(row["loss"] > 0 and row["found by"] != "nothing" for row in table)
    images = standardized(tiny_study.dataset().train_images)
    shares = (tiny_study.engine(images) > 0).mean(axis=0)
    np.testing.assert_allclose([row["images"] for row in table], shares, atol=1e-9)
    for row in table:
        assert 0 <= row["patterns"] <= 1
        assert 0 <= row["fluctuations"] <= 1


def test_a_screening_goes_on_where_it_stood(tiny_study, monkeypatch, tmp_path, copied):
    """Parts that are there already are kept, and all of them merge to the whole."""
    from oiplib.search import screening

    cuts = [0, 100, 101, 300, 512]
    monkeypatch.setattr(screening, "parts_of", lambda grid: list(pairwise(cuts)))
    path = copied(tiny_study.store.name, tmp_path / "parts.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM screenings")
    shown, stops = [], [True]
    screen = screening.screen

    def noted(layer, spec, part, progress):
        if len(shown) == 2 and stops:
            raise stops.pop() and KeyboardInterrupt
        shown.append(part)
        return screen(layer, spec, part, progress)

    monkeypatch.setattr(screening, "screen", noted)
    with pytest.raises(KeyboardInterrupt):
        Study(path).screening()
    found, whole = Study(path).screening(), tiny_study.screening()
    assert shown == [(0, 100), (100, 101), (101, 300), (300, 512)]
    for name in ("n_reacting", "top_indices", "top_responses", "top_preactivations", "histogram"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT first, last FROM screenings").fetchall()
    assert rows == [(0, 512)]


def test_restarts_go_on_where_they_stood(tiny_study, monkeypatch, tmp_path, copied):
    """A run that was ended loses the group of maps that it worked on, twice here."""
    monkeypatch.setattr(restarts, "_BATCHES", 0)  # a group is a map
    monkeypatch.setattr(restarts, "unlike_size", lambda layer, spec: 5)
    monkeypatch.setenv("OIP_CACHE", str(tmp_path / "cache"))
    path = copied(tiny_study.store.name, tmp_path / "halfway.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM varieties")
        connection.execute("DELETE FROM nulls")
    ended_at = [("RestartUnit", 4), ("UnlikeUnit", 1)]
    computed = Counter()

    class Ending(Here):
        def submit(self, unit, subject, progress):
            kind = type(unit).__name__
            if ended_at and (kind, computed[kind]) == ended_at[0]:
                raise ended_at.pop(0) and KeyboardInterrupt
            computed[kind] += 1
            return super().submit(unit, subject, progress)

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            questions.varieties(Study(path, executor=Ending()))
    (left,) = (tmp_path / "cache" / "halfway").iterdir()
    assert sorted(int(part.stem) for part in left.iterdir()) == list(range(12))
    whole = questions.varieties(tiny_study)
    (left / f"{max(whole)}.npz").write_bytes(b"half")
    found = questions.varieties(Study(path, executor=Ending()))
    # The map whose file was broken is restarted once more, and no other.
    assert computed == {"RestartUnit": 12 + 1, "UnlikeUnit": -(-len(whole) // 5)}
    assert not left.exists()
    for map, of_map in whole.items():
        for name in ("starts", "losses", "patterns", "peaks", "images", "unlike_losses"):
            np.testing.assert_array_equal(getattr(found[map], name), getattr(of_map, name))


@pytest.mark.parametrize(
    "table", ["reactions", "nulls", "varieties", "correspondences", "baselines", "conditions"]
)
def test_a_page_is_made_again_for_all_that_it_shows(finished, tmp_path, copied, table):
    path = copied(finished.store.name, tmp_path / "less.db")
    before = Study(path).fingerprint(), Study(path).fingerprints([3, 5])
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(f"DELETE FROM {table}").rowcount > 0
    after = Study(path).fingerprint(), Study(path).fingerprints([3, 5])
    assert before[0] != after[0]
    assert all(before[1][map] != after[1][map] for map in (3, 5))


def test_any_model_can_be_studied(tiny_study, tmp_path):
    from test_ascent import branched_model

    path = tmp_path / "branched.keras"
    network.save(branched_model(), path)
    study = Study(tmp_path / "oip.db", tiny_study.spec)
    id = add_model(study.store, path, "standardized")
    assert add_model(study.store, path) == id  # the same model is the same network
    longer = tiny_study.spec.trials.replace(ascent=AscentSpec(n_epochs=100, epsilon=0.05))
    spec = tiny_study.spec.replace(trials=longer)
    study = Study(tmp_path / "oip.db", spec, network=id, layer="top")
    assert study.screening().n_patterns == 510
    study.derive_from_fluctuations([2, 5])
    assert {oip.map for oip in study.oips()} == {2, 5}
    assert study.oips(5)[0].image.shape == (18, 26, 3)
    assert study.summary().accuracy is None
    with pytest.raises(InputError, match="came as a model"):
        study.dataset()


def test_a_map_that_large_steps_leave_is_raced_with_smaller_ones(tmp_path):
    """Its response rises and falls within less than one of the usual steps."""
    image = keras.Input((9, 9, 1))
    features = keras.layers.Conv2D(3, 3, name="conv")(image)
    narrow = keras.layers.Multiply(name="narrow")(
        [keras.layers.ReLU()(features), keras.layers.Activation("sigmoid")(4 - 4 * features)]
    )
    keras.utils.set_random_seed(0)
    model = keras.Model(image, narrow)
    model.get_layer("conv").set_weights(
        [4 * np.random.default_rng(0).standard_normal((3, 3, 1, 3)), np.zeros(3)]
    )
    study = Study(tmp_path / "oip.db", model=model, inputs="0..1", layer="narrow")
    study = study.replace(scan=StudySpec.of(quick=True).scan)
    study.search(study.spec.scan)
    found = {oip.map: oip.loss for oip in study.oips()}
    assert len(found) < 3
    assert study.derive_from_patterns() == []
    n_smaller = len(study.oips())
    best_of_each = study.oips(best=True)
    assert [oip.map for oip in best_of_each] == [0, 1, 2]
    for oip in best_of_each:
        assert oip.loss > 2 * found.get(oip.map, 0)
        assert max(stage.epsilon for stage in stages_of(oip.spec)) < 0.8
        response = model(oip.image[None]).numpy()[0].mean(axis=(0, 1))[oip.map]
        assert response == pytest.approx(oip.loss, rel=1e-5)
    study.derive_from_patterns()
    study.derive_from_patterns(Channel("narrow", 1))
    assert len(study.oips()) == n_smaller  # nothing is searched twice
    of_one = Function("narrow", lambda activations: tf.reduce_mean(activations[..., 1], (1, 2)))
    best = max(oip.loss for oip in study.oips(1))
    assert study.grow(of_one).losses.max() == pytest.approx(best, rel=1e-3)
    study.derive_from_patterns("narrow:0 + narrow:1")
    assert study.oips(objective="narrow:0 + narrow:1")


def test_what_is_refused_is_not_taken_in(tmp_path):
    image = keras.Input((None, None, 1))
    model = keras.Model(image, keras.layers.Conv2D(2, 3, name="conv")(image))
    store = Store(tmp_path / "oip.db", create=True)
    with pytest.raises(InputError, match="an image size is"):
        Study(store, model=model, inputs="0..1", image_size=9.0)
    with pytest.raises(InputError, match="unknown layer 'zz': choose one of conv"):
        Study(store, model=model, inputs="0..1", image_size=9, layer="zz")
    assert store.network_ids() == []


def test_a_data_file_that_has_moved_is_found(digits, tiny_spec, tmp_path, monkeypatch):
    there, elsewhere = tmp_path / "there.npz", tmp_path / "elsewhere"
    there.write_bytes(digits.read_bytes())
    spec = tiny_spec.replace(cnn=tiny_spec.cnn.replace(dataset=str(there), epochs=1))
    first = Study(tmp_path / "oip.db", spec).train().id
    elsewhere.mkdir()
    there.rename(elsewhere / "there.npz")
    with pytest.raises(InputError, match=r"there\.npz"):
        Study(tmp_path / "oip.db", network=first).dataset()
    for data in (elsewhere, elsewhere / "there.npz"):
        found = Study(tmp_path / "oip.db", network=first, data=data)
        assert len(found.dataset().train_images)
        assert Study(tmp_path / "oip.db", spec, data=data).train().id == first
    monkeypatch.setenv("OIP_DATA", str(elsewhere))
    assert len(Study(tmp_path / "oip.db", network=first).dataset().train_images)


def test_a_changed_data_file_is_another_training(digits, tiny_spec, tmp_path):
    path = tmp_path / "digits.npz"
    path.write_bytes(digits.read_bytes())
    spec = tiny_spec.replace(cnn=tiny_spec.cnn.replace(dataset=str(path), epochs=1))
    first = Study(tmp_path / "oip.db", spec).train().id
    assert Study(tmp_path / "oip.db", spec).network.id == first
    with np.load(path) as arrays:
        changed = dict(arrays)
    changed["x_train"] = changed["x_train"][::-1]
    np.savez(path, **changed)
    with pytest.raises(InputError, match="isn't the data set of network 1"):
        Study(tmp_path / "oip.db", network=first).dataset()
    assert Study(tmp_path / "oip.db", spec).train().id != first


def test_a_killed_search_goes_on_and_ends_like_an_unbroken_one(tiny_study, tmp_path):
    """SIGKILL while OIPs are derived; what is finished stays, the rest is done by the next."""
    path = tmp_path / "killed.db"
    with sqlite3.connect(tiny_study.store.name) as source, sqlite3.connect(path) as target:
        source.backup(target)
        for table in ("oips", "rungs", "scans"):
            target.execute(f"DELETE FROM {table}")
    target.close()
    # One map in a batch at a time, so that there is something to kill between.
    program = (
        "from oiplib import Study; import sys; study = Study(sys.argv[1]);"
        "[study.derive_from_fluctuations([map]) for map in range(12)];"
        "[study.derive_from_patterns([map]) for map in range(12)]"
    )
    command = [sys.executable, "-c", program, str(path)]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        with sqlite3.connect(path) as connection:
            if connection.execute("SELECT count(*) FROM scans").fetchone()[0] >= 3:
                break
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        kept = connection.execute("SELECT id, key FROM oips").fetchall()
    assert 0 < len(kept) < len(tiny_study.rows())

    study = Study(path)
    study.derive_from_fluctuations()
    study.derive_from_patterns()
    resumed = {oip.key: oip.image.tobytes() for oip in study.oips()}
    assert resumed == {oip.key: oip.image.tobytes() for oip in tiny_study.oips()}
    with sqlite3.connect(path) as connection:
        assert set(kept) <= set(connection.execute("SELECT id, key FROM oips"))


def test_digits_that_excite_a_map_most_and_its_response_to_each_class(copy, tiny_study):
    study = Study(copy)
    row = questions.reaction(study, "data")
    data = tiny_study.dataset()
    responses = tiny_study.engine(standardized(data.train_images))
    for map in (0, 5, 11):
        order = np.argsort(-responses[:, map], kind="stable")[:10]
        assert row.top_images[map].tolist() == order.tolist()
        assert row.top_responses[map].tolist() == responses[order, map].tolist()
        np.testing.assert_array_equal(row.pictures(map), data.train_images[order])
        for label in range(10):
            mean = responses[data.train_labels == label, map].mean()
            assert row.class_means[map, label] == pytest.approx(mean, rel=1e-5)
    assert len(row.images) == len(np.unique(row.top_images))
    random = questions.reaction(study, "fluctuation")
    assert random.class_means.shape == (12, 0)
    assert len(random.images) == 0
    assert (random.top_responses.max(axis=1) > 0).tolist() == (random.n_reacting > 0).tolist()


def test_how_different_the_patterns_of_a_map_are(copy, tiny_study):
    from oiplib.analysis.restarts import restart
    from oiplib.analysis.similarity import similarities
    from oiplib.analysis.variety import square

    study = Study(copy)
    assert study.spec.variety == tiny_study.spec.variety
    before = runs(study)
    found = questions.varieties(study)
    assert runs(study) == before
    for each in restart(study.engine, study.spec.variety.null, [0, 3]):
        row = found[each.map]
        # The numbers lead back to the same ascents, whichever maps are restarted with it.
        assert row.starts.tolist() == each.starts.tolist()
        assert row.losses.tobytes() == each.losses.tobytes()
        direct = similarities(each.images, each.images)
        np.testing.assert_allclose(square(row.peaks, row.n_starts), direct, atol=2e-3)
        assert row.best_loss == row.losses.max()
        assert row.n_patterns == row.patterns.max() + 1
        assert len(row.images) == min(8, row.n_patterns)
        for counts in (row.null.peaks, row.null.features):
            assert counts[each.map].sum() == len(row.peaks)
        assert row.null.n_starts[each.map] == row.n_starts
        best = each.images[np.argmax(np.where(row.patterns == 0, each.losses, -1))]
        assert np.corrcoef(row.images[0].ravel(), best.ravel())[0, 1] > 0.999
        different = row.unlike_losses[row.unlike_alike < row.null.threshold]
        assert row.unlike_loss == (different.max() if len(different) else None)


def test_a_training_that_diverged_is_not_stored(tiny_spec, tmp_path):
    """Such a network couldn't be rebuilt, and nothing of its database could be read."""
    cnn = tiny_spec.cnn.replace(learning_rate=1e30, epochs=1)
    with pytest.raises(InputError, match="the training diverged"):
        Study(tmp_path / "new.db", tiny_spec.replace(cnn=cnn)).train()
    assert Store(tmp_path / "new.db").networks() == []
    assert list(problems(Store(tmp_path / "new.db"))) == []
