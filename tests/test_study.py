import os
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest

from oiplib import InputError, Study, ascend, fluctuation_images, network, pattern_images
from oiplib.specs import AscentSpec, start_of


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
    assert [kind for kind, _ in before] == ["train", "screen", "derive", "derive"]


def test_a_study_goes_on_from_its_database_alone(tiny_study):
    again = Study(tiny_study.store.name)
    assert again.spec == tiny_study.spec
    assert again.network.id == tiny_study.network.id


def test_an_oip_can_be_made_again_from_its_stored_numbers(tiny_study):
    """By hand, through the engine's functions: the same bytes."""
    study = Study(tiny_study.store.name)
    chosen = [study.oips()[i] for i in (0, 5, -1)]
    assert {oip.origin for oip in chosen} == {"fluctuation", "pattern"}
    for oip in chosen:
        start = start_of(oip.start)
        if oip.origin == "fluctuation":
            image = fluctuation_images([start], study.engine.image_shape)
        else:
            image = pattern_images(start.grid, np.array([start.index]), study.engine.image_shape)
        found = ascend(study.engine, image, np.array([oip.map]), AscentSpec.from_dict(oip.spec))
        assert found.images[0].tobytes() == oip.image.tobytes()
        assert found.losses[0] == oip.loss


def test_maps_are_found_by_their_first_origin(tiny_study):
    summary = tiny_study.summary()
    by_fluctuation = {o.map for o in tiny_study.oips() if o.origin == "fluctuation"}
    by_pattern = {o.map for o in tiny_study.oips() if o.origin == "pattern"}
    assert set(summary.found["fluctuation"]) == by_fluctuation
    assert set(summary.found["pattern"]) == by_pattern - by_fluctuation
    assert set(summary.silent) == set(range(12)) - by_fluctuation - by_pattern
    assert summary.n_oips == len(tiny_study.oips())
    assert summary.accuracy > 0.5


def test_any_model_can_be_studied(tiny_study, tmp_path):
    from test_ascent import branched_model

    path = tmp_path / "branched.keras"
    network.save(branched_model(), path)
    study = Study(tmp_path / "oip.db", tiny_study.spec)
    id = study.add_model(path)
    assert study.add_model(path) == id  # the same model is the same network
    longer = tiny_study.spec.trials.replace(ascent=AscentSpec(n_epochs=100, epsilon=0.05))
    spec = tiny_study.spec.replace(trials=longer)
    study = Study(tmp_path / "oip.db", spec, network=id, layer="top")
    assert study.screening().n_patterns == 510
    study.derive_from_fluctuations([2, 5])
    assert {oip.map for oip in study.oips()} == {2, 5}
    assert study.oips(map=5)[0].image.shape == (18, 26, 3)
    assert study.summary().accuracy is None
    with pytest.raises(InputError, match="came as a model"):
        study.dataset()


def test_a_changed_data_file_is_another_training(digits, tiny_spec, tmp_path):
    path = tmp_path / "digits.npz"
    path.write_bytes(digits.read_bytes())
    spec = tiny_spec.replace(cnn=tiny_spec.cnn.replace(dataset=str(path), epochs=1))
    first = Study(tmp_path / "oip.db", spec).network.id
    assert Study(tmp_path / "oip.db", spec).network.id == first
    with np.load(path) as arrays:
        changed = dict(arrays)
    changed["x_train"] = changed["x_train"][::-1]
    np.savez(path, **changed)
    assert Study(tmp_path / "oip.db", spec).network.id != first


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
        "study.spec = study.spec.__class__.from_json(sys.argv[2]);"
        "[study.derive_from_fluctuations([map]) for map in range(12)];"
        "[study.derive_from_patterns([map]) for map in range(12)]"
    )
    command = [sys.executable, "-c", program, str(path), tiny_study.spec.to_json()]
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

    study = Study(path, tiny_study.spec)
    study.derive_from_fluctuations()
    study.derive_from_patterns()
    resumed = {oip.key: oip.image.tobytes() for oip in study.oips()}
    assert resumed == {oip.key: oip.image.tobytes() for oip in tiny_study.oips()}
    with sqlite3.connect(path) as connection:
        assert set(kept) <= set(connection.execute("SELECT id, key FROM oips"))
