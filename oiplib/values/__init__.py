"""Frozen, hashed descriptions of everything that can be varied. Need neither NumPy nor more."""

from .ascents import OBJECTIVES, SCHEDULES, AscentSpec, ClimbSpec, stages_of
from .maps import Maps, map_list, parse_ranges
from .networks import CnnSpec
from .searches import STRATEGIES, RungSpec, ScanSpec, ScreeningSpec, TrialSpec, rungs_of
from .spec import Spec
from .starts import FluctuationSpec, FluctuationStart, GridSpec, PatternStart, Start, start_of
from .studies import StudySpec
from .varieties import CorrespondenceSpec, NullSpec, ReactionSpec, VarietySpec

__all__ = [
    "OBJECTIVES",
    "SCHEDULES",
    "STRATEGIES",
    "AscentSpec",
    "ClimbSpec",
    "CnnSpec",
    "CorrespondenceSpec",
    "FluctuationSpec",
    "FluctuationStart",
    "GridSpec",
    "Maps",
    "NullSpec",
    "PatternStart",
    "ReactionSpec",
    "RungSpec",
    "ScanSpec",
    "ScreeningSpec",
    "Spec",
    "Start",
    "StudySpec",
    "TrialSpec",
    "VarietySpec",
    "map_list",
    "parse_ranges",
    "rungs_of",
    "stages_of",
    "start_of",
]
