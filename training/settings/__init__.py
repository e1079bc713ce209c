"""The settings of `fit`, `distil`, `adopt` and `lr-find`: each field is a command-line option."""

from training.settings.adopt import AdoptSettings
from training.settings.distil import DistilSettings, LayerChoice, StudentName
from training.settings.fit import FitSettings, Policy, Selection
from training.settings.package import PackageSettings
from training.settings.rate_test import RateTestSettings
from training.settings.step import Arithmetic, Precision, StepSettings

__all__ = [
    "AdoptSettings",
    "Arithmetic",
    "DistilSettings",
    "FitSettings",
    "LayerChoice",
    "PackageSettings",
    "Policy",
    "Precision",
    "RateTestSettings",
    "Selection",
    "StepSettings",
    "StudentName",
]
