import json

import pytest

from oiplib import (
    AscentSpec,
    CnnSpec,
    FluctuationSpec,
    FluctuationStart,
    GridSpec,
    InputError,
    PatternStart,
    RungSpec,
    ScanSpec,
    StudySpec,
    TrialSpec,
)
from oiplib.values import Spec, parse_ranges, start_of

EXAMPLES = [
    CnnSpec(maps=(4, 5), momentum=0.25),
    FluctuationSpec(grids=((2, 5),), factors=(1,), seed=2**40),
    GridSpec((0, 0.25, 1), 2, 3),
    AscentSpec(n_epochs=7, stop_with_convergence=True),
    TrialSpec(n_trials=9),
    ScanSpec(seed=3),
    ScanSpec(strategy="article"),
    ScanSpec().climb,
    StudySpec(),
    StudySpec(scan=ScanSpec()),
    StudySpec.of(seed=3, quick=True),
    FluctuationStart(FluctuationSpec(), 120, 7),
    PatternStart(GridSpec(), 19682),
]


@pytest.mark.parametrize("spec", EXAMPLES, ids=lambda spec: type(spec).__name__)
def test_a_spec_survives_its_json(spec):
    assert Spec.from_json(spec.to_json()) == spec
    assert type(spec).from_json(spec.to_json()).sha256 == spec.sha256


def test_equal_specs_have_one_text_however_they_were_written():
    assert AscentSpec(epsilon=1).to_json() == AscentSpec(epsilon=1.0).to_json()
    assert GridSpec([0, 1], 2.0, 2).sha256 == GridSpec((0.0, 1.0), 2, 2).sha256
    assert json.loads(AscentSpec().to_json())["kind"] == "AscentSpec"


def test_each_field_is_part_of_the_identity():
    hashes = {AscentSpec().sha256}
    for change in (
        {"n_epochs": 601},
        {"epsilon": 0.011},
        {"n_steps": 5},
        {"conv_criterion": 1e-4},
        {"stop_with_convergence": True},
        {"objective": "pre-activation"},
        {"schedule": "cosine"},
    ):
        hashes.add(AscentSpec(**change).sha256)
    assert len(hashes) == 8


def test_the_reports_stand_where_the_article_prints_them():
    assert AscentSpec().report_steps == (0, 9, 18, 36, 72, 144, 288, 599)


def test_a_cosine_falls_from_epsilon_to_nothing():
    sizes = AscentSpec(n_epochs=101, epsilon=0.2, schedule="cosine").epsilons
    assert len(sizes) == 100
    assert sizes[0] == 0.2
    assert sizes[50] == pytest.approx(0.1)
    assert 0 < sizes[-1] < 1e-4
    assert list(sizes) == sorted(sizes, reverse=True)
    assert AscentSpec(n_epochs=4, epsilon=0.3).epsilons == (0.3,) * 3


def test_short_ascents_report_each_step_once():
    assert AscentSpec(n_epochs=1).report_steps == (0,)
    assert AscentSpec(n_epochs=10).report_steps == (0, 9)
    assert AscentSpec(n_epochs=10, n_steps=0).report_steps == (0, 9)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: AscentSpec(n_epochs=0), "n_epochs must be at least 1"),
        (lambda: AscentSpec(n_epochs=1.5), "whole number"),
        (lambda: AscentSpec(epsilon=float("nan")), "finite"),
        (lambda: AscentSpec(epsilon=0), "above 0"),
        (lambda: CnnSpec(momentum=1.0), "below 1"),
        (lambda: CnnSpec(maps=()), "at least one"),
        (lambda: CnnSpec(maps="32"), "sequence"),
        (lambda: GridSpec((0.5, 0.2)), "increasing"),
        (lambda: GridSpec((0.5, 1.2)), "at most 1"),
        (lambda: GridSpec((0.1, 0.2), 10, 10), "more patterns than"),
        (lambda: FluctuationSpec(factors=(1.0,)), "one factor per grid"),
        (lambda: FluctuationSpec(factors=(0, 0, 0, 0)), "isn't 0"),
        (lambda: ScanSpec(strategy="luck"), "choose one of race, article"),
        (lambda: AscentSpec(objective="luck"), "choose one of response"),
        (lambda: ScanSpec(rungs=(RungSpec(0, AscentSpec()),)), "needs a number of starts"),
        (lambda: ScanSpec(grid=3), "must be a GridSpec"),
        (lambda: PatternStart(GridSpec(), 19683), "choose 0 to 19682"),
        (lambda: PatternStart(GridSpec(), 0, noise=-0.1), "noise must be at least 0"),
        (lambda: PatternStart(GridSpec(), 0, noise=0.1, seed=-1), "seed must be at least 0"),
        (lambda: ScanSpec(noise=1.5), "at most 1"),
        (lambda: ScanSpec(noise=float("nan")), "noise must be finite"),
        (lambda: AscentSpec.from_json("{"), "not the JSON"),
        (lambda: AscentSpec.from_json('{"kind": "os.system"}'), "unknown kind"),
        (lambda: AscentSpec.from_json(GridSpec().to_json()), "no AscentSpec"),
        (lambda: AscentSpec.from_json('{"kind": "AscentSpec", "speed": 1}'), "speed"),
        (lambda: start_of({"kind": "GridSpec"}), "no start"),
        (lambda: parse_ranges("0-"), "write them like"),
        (lambda: parse_ranges("5-2"), "write them like"),
        (lambda: parse_ranges(""), "write them like"),
    ],
)
def test_nonsense_is_refused_with_a_word_on_what_is_right(make, told):
    with pytest.raises(InputError, match=told):
        make()


def test_ranges_name_each_map_once_in_order():
    assert parse_ranges("7, 0-2,1") == [0, 1, 2, 7]
