"""Frozen, hashed descriptions of everything that can be varied. Need neither NumPy nor more."""

from .ascents import (
    OBJECTIVES,
    SCHEDULES,
    AscentSpec,
    ClimbSpec,
    climb_of,
    led_by,
    prior_in,
    stages_of,
)
from .inputs import INPUTS_CHOICES, Inputs
from .maps import Maps, map_list, parse_ranges
from .networks import CnnSpec
from .objectives import (
    Channel,
    Direction,
    Function,
    Logit,
    Neuron,
    Objective,
    check_objective,
    objective_of,
    parse_objective,
    resolved,
)
from .priors import (
    L2,
    Colours,
    Jitter,
    Prior,
    Rotation,
    Scaling,
    Smooth,
    TotalVariation,
    prior_of,
)
from .searches import STRATEGIES, RungSpec, ScanSpec, ScreeningSpec, TrialSpec, rungs_of
from .spec import Spec
from .starts import (
    FluctuationSpec,
    FluctuationStart,
    GridSpec,
    PatternStart,
    Start,
    seed_of,
    start_of,
)
from .studies import StudySpec
from .texts import parsed
from .varieties import CorrespondenceSpec, NullSpec, ReactionSpec, VarietySpec

__all__ = [
    "INPUTS_CHOICES",
    "L2",
    "OBJECTIVES",
    "SCHEDULES",
    "STRATEGIES",
    "AscentSpec",
    "Channel",
    "ClimbSpec",
    "CnnSpec",
    "Colours",
    "CorrespondenceSpec",
    "Direction",
    "FluctuationSpec",
    "FluctuationStart",
    "Function",
    "GridSpec",
    "Inputs",
    "Jitter",
    "Logit",
    "Maps",
    "Neuron",
    "NullSpec",
    "Objective",
    "PatternStart",
    "Prior",
    "ReactionSpec",
    "Rotation",
    "RungSpec",
    "Scaling",
    "ScanSpec",
    "ScreeningSpec",
    "Smooth",
    "Spec",
    "Start",
    "StudySpec",
    "TotalVariation",
    "TrialSpec",
    "VarietySpec",
    "check_objective",
    "climb_of",
    "led_by",
    "map_list",
    "objective_of",
    "parse_objective",
    "parse_ranges",
    "parsed",
    "prior_in",
    "prior_of",
    "resolved",
    "rungs_of",
    "seed_of",
    "stages_of",
    "start_of",
]
