"""Turns a spreadsheet of labelled reviews into the model bundle that the worker serves.

from training import Predictor, fit

result = fit("reviews.xlsx", out="bundles/mine")  # in a notebook, `result` shows what was measured
with Predictor.load("bundles/mine") as predictor:
    predictor.predict(["Wonderful.", "Terrible, just terrible."])  # ["pos", "neg"]
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.notebook.functions import compare, evaluate, fit, lr_find
    from training.predictor import Predictor

__all__ = ["Predictor", "compare", "evaluate", "fit", "lr_find"]

_FUNCTIONS = "training.notebook.functions"
_HOMES = {"Predictor": "training.predictor"} | dict.fromkeys(("compare", "evaluate", "fit", "lr_find"), _FUNCTIONS)


def __getattr__(name: str) -> object:
    """Import what is public on first use, so that `import training` alone loads no model code."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
