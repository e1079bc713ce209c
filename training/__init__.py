"""Turns a spreadsheet of labelled reviews into the model bundle that the worker serves.

from training import Predictor

with Predictor.load("bundles/distilbert-imdb") as predictor:
    predictor.predict(["Wonderful.", "Terrible, just terrible."])  # ["pos", "neg"]
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.predictor import Predictor

__all__ = ["Predictor"]


def __getattr__(name: str) -> object:
    """Import `Predictor` on first use, so that `import training` alone loads no model code."""
    if name == "Predictor":
        from training.predictor import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
