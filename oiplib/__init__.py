"""What the feature maps of a CNN respond to: OIPs, kept with their seeds in one database.

The names here are loaded when they are first used, so that importing the package, and reading
a database, doesn't load TensorFlow.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("oiplib")

_HOMES = {
    "errors": ("InputError", "OipError"),
    "values": (
        "AscentSpec",
        "Channel",
        "ClimbSpec",
        "CnnSpec",
        "Colours",
        "ConditionSpec",
        "CorrespondenceSpec",
        "Direction",
        "FluctuationSpec",
        "FluctuationStart",
        "Function",
        "GridSpec",
        "Inputs",
        "Jitter",
        "L2",
        "Logit",
        "Neuron",
        "NullSpec",
        "PatternStart",
        "Prior",
        "ReactionSpec",
        "Rotation",
        "RungSpec",
        "Scaling",
        "ScanSpec",
        "ScreeningSpec",
        "Smooth",
        "StudySpec",
        "TotalVariation",
        "TrialSpec",
        "VarietySpec",
        "parse_objective",
    ),
    "engine.images": ("resize", "standardize"),
    "engine.fluctuations": ("fluctuation_images",),
    "engine.patterns": ("distinct", "pattern_images"),
    "engine.layers": ("LayerMaps",),
    "engine.ascent": ("Ascents", "ascend", "chain"),
    "search.screening": ("merged", "screen"),
    "search.scan": ("scan", "try_fluctuations"),
    "store": ("OipFilter", "Store"),
    "study.executors": ("Cluster", "Workers"),
    "study.study": ("Study",),
    "study.read": ("Summary",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'oiplib' has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
