"""The settings of the commands that train, ask or adopt: each field is a command-line option."""

from training.settings.adapt import AdaptSettings
from training.settings.adopt import AdoptSettings
from training.settings.answer import AnswerSettings, Numbers
from training.settings.distil import MAX_UNANSWERED, DistilSettings, LayerChoice, StudentName
from training.settings.fit import FitSettings, Policy, Selection
from training.settings.package import PackageSettings
from training.settings.rate_test import RateTestSettings
from training.settings.step import Arithmetic, Precision, StepSettings

__all__ = [
    "MAX_UNANSWERED",
    "AdaptSettings",
    "AdoptSettings",
    "AnswerSettings",
    "Arithmetic",
    "DistilSettings",
    "FitSettings",
    "LayerChoice",
    "Numbers",
    "PackageSettings",
    "Policy",
    "Precision",
    "RateTestSettings",
    "Selection",
    "StepSettings",
    "StudentName",
]
