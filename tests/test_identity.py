"""Identity: a result's name says everything that it depends on, and nothing else."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import inspect

from oiplib import (
    CnnSpec,
    ConditionSpec,
    CorrespondenceSpec,
    FluctuationSpec,
    GridSpec,
    InputError,
    NullSpec,
    OipError,
    OipFilter,
    PatternStart,
    ReactionSpec,
    RungSpec,
    ScanSpec,
    ScreeningSpec,
    Store,
    Study,
    StudySpec,
    VarietySpec,
    scan,
    screen,
)
from oiplib.publish import notebooks
from oiplib.study import questions
from oiplib.study.check import problems
from oiplib.study.conditions import conditions
from oiplib.study.networks import add_model
from oiplib.study.replay import replay
from oiplib.study.selecting import WAYS, scan_spec
from oiplib.study.trainings import correspondences
from oiplib.values import Spec, start_of

#: A few steps, for scans whose starts are of interest only.
TRIAL = ScanSpec().rungs[0].ascent.replace(n_epochs=3)


def runs(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT kind FROM runs ORDER BY id").fetchall()


def without(path, *tables):
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in tables:
            connection.execute(f"DELETE FROM {table}")


# --- a study is fixed ---


def test_a_study_can_not_be_changed(copy):
    study = Study(copy)
    assert study.layer.name == "Conv2D_3"
    for name in ("spec", "store", "network", "layer", "data"):
        with pytest.raises(AttributeError, match=f"{name} can't be set"):
            setattr(study, name, None)
        with pytest.raises(AttributeError, match=f"{name} can't be deleted"):
            delattr(study, name)
    other = study.replace(layer="Conv2D_2")
    other.derive_from_patterns([0, 1])
    assert {row["layer"] for row in other.rows()} == {"Conv2D_2"}
    ids = [row["id"] for row in other.rows()]
    assert all(again.same_bytes for again in replay(other.store, ids))
    assert study.spec.layer == study.layer.name == "Conv2D_3"


def test_a_network_that_the_spec_does_not_describe_is_refused(copy, tiny_spec):
    other = tiny_spec.replace(cnn=tiny_spec.cnn.replace(epochs=1))
    with pytest.raises(InputError, match="was trained by another spec"):
        Study(copy, other, network=1)


# --- company ---


def test_the_variety_of_a_map_does_not_depend_on_the_maps_beside_it(copy, tiny_study):
    together = questions.varieties(tiny_study)
    without(copy, "varieties", "nulls")
    study = Study(copy)
    alone = questions.varieties(study, [3])
    assert list(alone) == [3]
    null = together[3].null
    assert (alone[3].null.threshold, alone[3].null.n_starts.tolist()) == (
        null.threshold,
        null.n_starts.tolist(),
    )
    for name in ("starts", "losses", "patterns", "peaks", "features", "shifts", "images"):
        assert getattr(alone[3], name).tobytes() == getattr(together[3], name).tobytes(), name
    for name in ("unlike_losses", "unlike_alike", "unlike_images"):
        assert getattr(alone[3], name).tobytes() == getattr(together[3], name).tobytes(), name


def test_the_null_of_a_layer_is_made_once_from_all_its_maps(copy):
    without(copy, "varieties", "nulls")
    study = Study(copy)
    questions.varieties(study, [3])
    questions.varieties(study, [0, 5])
    kinds = [kind for (kind,) in runs(copy)]
    assert kinds[-3:] == ["null", "restart", "restart"]
    null = study.store.null(study.layer.id, study.spec.variety.null.sha256)
    assert len(null.n_starts) == len(null.peaks) == study.layer.n_maps


# --- every constant stands in a spec ---


def test_constants_of_a_scan_change_its_name_and_its_result(layer):
    spec = ScanSpec(GridSpec((0.2, 0.8)), rungs=(RungSpec(16, TRIAL), RungSpec(4, TRIAL)))
    strict = spec.replace(alike=0.2)
    few = spec.replace(n_top=4)
    assert len({each.sha256 for each in (spec, strict, few)}) == 3
    starts = [next(scan(layer, each, [3])).rungs[0].starts.tolist() for each in (spec, strict, few)]
    assert starts[0] != starts[1]
    assert starts[0] != starts[2]


def test_constants_of_a_screening_change_its_name_and_its_result(layer):
    spec = ScreeningSpec(GridSpec((0.2, 0.8)))
    short, coarse = spec.replace(n_top=5), spec.replace(n_bins=2)
    assert len({each.sha256 for each in (spec, short, coarse)}) == 3
    assert screen(layer, short).top_indices.shape[1] == 5
    assert screen(layer, coarse).histogram.shape[1] == 16


def test_constants_of_a_variety_are_part_of_its_name():
    spec = VarietySpec()
    for name, value in (("margin", 0.5), ("n_typical", 1), ("n_images", 3), ("n_unlike", 2)):
        changed = spec.replace(**{name: value})
        assert changed.sha256 != spec.sha256
        assert changed.null == spec.null  # the null of the layer is the same
    for name, value in (("quantile", 0.9), ("n_classes", 50), ("tries", 1), ("n_starts", 3)):
        changed = spec.replace(**{name: value})
        assert changed.sha256 != spec.sha256
        assert changed.null.sha256 != spec.null.sha256


def test_a_field_at_its_default_is_not_in_the_hashed_text():
    assert StudySpec().to_json() == '{"kind":"StudySpec"}'
    without_noise = StudySpec(scan=ScanSpec())
    assert without_noise.to_json() == '{"kind":"StudySpec","scan":{"kind":"ScanSpec"}}'
    assert ScanSpec(strategy="article").to_json() == '{"kind":"ScanSpec","strategy":"article"}'
    spec = ScanSpec(seed=3, alike=0.8)
    assert json.loads(spec.to_json()) == {"kind": "ScanSpec", "seed": 3, "alike": 0.8}
    assert Spec.from_dict(json.loads(spec.to_json())) == Spec.from_dict(spec.to_dict()) == spec


def test_a_field_without_an_effect_is_not_in_the_hashed_text():
    article = ScanSpec(strategy="article")
    assert article.replace(seed=3, alike=0.5).sha256 == article.sha256
    assert ReactionSpec(n_images=9).sha256 == ReactionSpec().sha256
    assert (
        ReactionSpec(FluctuationSpec(), n_images=9).sha256 != ReactionSpec(FluctuationSpec()).sha256
    )


def test_a_new_field_renames_nothing():
    """What an earlier version wrote, without the fields that came later, has the same hash."""
    spec = ScanSpec(seed=3)
    later = ("alike", "keeps_frames", "noise", "responding")
    older = {k: v for k, v in spec.to_dict().items() if k not in later}
    assert ScanSpec.from_dict(older).sha256 == spec.sha256
    start = PatternStart(GridSpec(), 7)
    older = {k: v for k, v in start.to_dict().items() if k not in ("noise", "seed")}
    assert start_of(older).sha256 == start.sha256
    assert "noise" not in start.to_json()


def test_noise_and_its_seed_are_part_of_a_name_where_there_is_noise():
    start = PatternStart(GridSpec(), 7)
    assert PatternStart(GridSpec(), 7, seed=3) == start  # no noise has no seed
    noisy = [PatternStart(GridSpec(), 7, 0.01, seed) for seed in (0, 1)]
    assert len({each.sha256 for each in (start, *noisy)}) == 3
    article = ScanSpec(strategy="article")
    assert article.replace(seed=3).sha256 == article.sha256
    noisy_scans = [article.replace(noise=0.01, seed=seed) for seed in (0, 3)]
    assert len({each.sha256 for each in (article, *noisy_scans)}) == 3
    drawn = ScanSpec(responding=True)
    assert drawn.replace(n_top=9).sha256 == drawn.sha256 != ScanSpec().sha256


def test_no_default_has_changed():
    """A default is part of every hash that leaves it out: change none, add a field instead."""
    defaults = json.loads(Path(__file__).with_name("defaults.json").read_text())
    specs = [StudySpec(), ScreeningSpec(), NullSpec(), ReactionSpec()]
    specs += [ScanSpec(strategy="article"), CorrespondenceSpec(), ConditionSpec()]
    assert [spec.to_dict() for spec in specs] == defaults


# --- purpose ---


def test_two_networks_with_the_same_weights_have_their_own_oips(tmp_path):
    """Other activations, the same weights: the OIPs of one are not those of the other."""
    from oiplib.engine import network
    from oiplib.engine.tf import keras

    store, ids = Store(tmp_path / "a.db", create=True), []
    for activation in ("relu", "softplus"):
        image = keras.Input((8, 8, 1))
        start = keras.initializers.GlorotUniform(seed=0)
        conv = keras.layers.Conv2D(2, 3, activation=activation, kernel_initializer=start, name="c")
        network.save(keras.Model(image, conv(image)), tmp_path / f"{activation}.keras")
        ids.append(add_model(store, tmp_path / f"{activation}.keras", "standardized"))
    found = []
    for id in ids:
        study = Study(tmp_path / "a.db", network=id)
        ascent = TRIAL.replace(objective="response")
        study = study.replace(trials=study.spec.trials.replace(ascent=ascent))
        study.derive_from_fluctuations()
        found.append(study.rows())
        # By its hash a study is one of its own network.
        assert Study(tmp_path / "a.db", spec=study.spec.sha256).network.id == id
    assert ids == [1, 2]
    assert len(found[0]) > 0
    assert len(found[1]) == 8  # softplus responds to everything
    assert list(problems(store)) == []


def test_what_a_scan_was_made_for_is_not_part_of_its_identity(copy, tiny_study):
    """A search for a comparison that happens to be the study's own scan is the study's own."""
    without(copy, "oips", "rungs", "scans")
    rungs = [rung.replace(n_starts=2) for rung in tiny_study.spec.scan.rungs]
    scan = tiny_study.spec.scan.replace(rungs=rungs, n_oips=1)
    study = Study(copy).replace(scan=scan)
    compared = questions.derive_for_comparison(study)
    found = [(row["map"], row["loss"]) for row in study.rows()]
    study.derive_from_patterns()
    assert {row.origin for row in study.store.scans(study.layer.id, scan.sha256)} == {"pattern"}
    assert len(study.scans("pattern")) == len(compared) == study.layer.n_maps
    assert study.searched_maps() == list(range(study.layer.n_maps))
    assert [(row["map"], row["loss"]) for row in study.rows()] == found
    # What the comparison left out for brevity, the images on the way, is there now.
    assert all(len(oip.frames) for oip in study.oips(best=True))


def test_a_selection_that_could_be_a_search_keeps_a_search_whole(copy):
    """With other starts and none dropped, a search is still one that keeps its OIPs."""
    study = Study(copy)
    selection = scan_spec(study, WAYS[-1])
    study.search(selection, [0])
    search = study.replace(scan=selection.replace(n_oips=1))
    n_before = len(study.rows())
    assert search.derive_from_patterns([0]) == [0]
    assert len(search.rows()) > n_before


# --- what was asked is handed on ---


def test_a_study_without_a_spec_goes_on_with_what_was_asked_last(copy, tiny_study):
    asked = Study(copy).replace(trials=tiny_study.spec.trials.replace(n_trials=2))
    asked.derive_from_fluctuations([0])  # one map of twelve: the majority was asked otherwise
    assert Study(copy).spec == asked.spec
    Study(copy, tiny_study.spec).derive_from_fluctuations([0])  # nothing is computed
    assert Study(copy).spec == tiny_study.spec


def test_trials_of_another_spec_are_not_those_of_the_study(copy, tiny_study):
    study = Study(copy)
    before = [oip.id for oip in study.oips_of_trials()]
    assert before
    trials = study.spec.trials.replace(ascent=study.spec.trials.ascent.replace(n_epochs=7))
    study.replace(trials=trials).derive_from_fluctuations([0, 3, 7])
    assert [oip.id for oip in study.oips_of_trials()] == before


def test_the_units_of_the_last_layer_are_known_before_the_training(tiny_spec, tmp_path):
    study = Study(tmp_path / "new.db", tiny_spec, layer="Classes")
    assert study.check_maps() == list(range(10))
    with pytest.raises(InputError, match="no map 10 in Classes: choose 0 to 9"):
        study.derive("0-10")
    assert runs(tmp_path / "new.db") == []


def test_a_part_of_a_study_is_not_what_was_asked(copy):
    study = Study(copy)
    for other in questions.earlier_layers(study):
        other.derive_from_patterns([0])
    assert Study(copy).spec == study.spec


def test_notebooks_get_the_spec_that_was_asked(copy, tmp_path, templates, tiny_study):
    import nbformat

    notebook = nbformat.read(templates / "05-map.ipynb", as_version=4)
    ask = nbformat.v4.new_code_cell("print(study.spec.to_json())")
    notebook.cells = [*notebook.cells[:3], ask]
    nbformat.write(notebook, templates / "05-map.ipynb")
    study = Study(copy).replace(trials=tiny_study.spec.trials.replace(n_trials=1))
    study.derive_from_fluctuations([3])
    notebooks.run(study, tmp_path / "out", ["05-map"], [3])
    executed = nbformat.read(tmp_path / "out" / "maps" / "map-003.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text.strip() == study.spec.to_json()
    assert "/" not in executed.cells[2].source.replace("# Parameters", "")  # no path of ours


# --- reading ---


def test_reading_never_trains(tmp_path):
    study = Study(tmp_path / "new.db", StudySpec(cnn=CnnSpec(epochs=12)))
    with pytest.raises(InputError, match="no map 128 in Conv2D_3: choose 0 to 127"):
        study.check_maps("0-999")
    with pytest.raises(InputError, match="no map 128"):
        study.derive("0-128")
    assert study.check_maps("0-7") == list(range(8))
    assert not study.is_trained
    for read in (study.oips, study.rows, study.summary, study.fingerprint):
        with pytest.raises(OipError, match="no such network yet: train it"):
            read()
    assert runs(tmp_path / "new.db") == []


def test_rows_that_are_handed_out_can_be_looked_at(finished):
    """Every attribute is there, or says that it isn't; none asks a session that is closed."""
    store, study = finished.store, finished
    handed = [
        *store.networks(),
        store.network_of(study.network.spec_sha256),
        store.same_network(study.network),
        store.network_with(study.network.sha256),
        study.network,
        study.layer,
        store.run(1),
        study.screening(),
        *study.scans("pattern"),
        *study.oips(3),
        store.oip(1),
        questions.reaction(study, "data"),
        *questions.varieties(study, [3]).values(),
        questions.null(study),
        *correspondences(study)["Conv2D_3"].pairs,
        *correspondences(study)["Conv2D_3"].baselines,
        conditions(study, [3])["strongest"][3].condition,
    ]
    for row in handed:
        look_at(row, set())


def look_at(row, seen, came_along=False):
    """All that hangs on a row; what isn't loaded of one that came along says so."""
    if id(row) in seen:
        return
    seen.add(id(row))
    mapper = inspect(type(row))
    for attribute in [*mapper.column_attrs, *mapper.relationships]:
        if came_along and attribute.key in inspect(row).unloaded:
            with pytest.raises(OipError, match="loaded: ask the store for the row itself"):
                getattr(row, attribute.key)
            continue
        value = getattr(row, attribute.key)
        if attribute in mapper.relationships:
            for other in value if isinstance(value, list) else [value]:
                look_at(other, seen, came_along=True)


def test_a_network_comes_with_its_weights(finished):
    for network in finished.store.networks():
        assert len(network.weights) > 1000
        assert network.layers[0].name == "Conv2D_1"
    assert len(finished.store.oips(OipFilter(limit=1))[0].image) == 28
