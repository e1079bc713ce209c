"""The small models by name, behind one interface."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from training.baselines.settings import BaselineSettings

#: Those that scikit-learn fits at once, and those that torch trains in epochs.
LINEAR = ("nbsvm", "logreg")
NETWORKS = ("fasttext", "bigru", "standard_gru")


class Baseline(Protocol):
    """A small model, trained in one call."""

    @property
    def parameters(self) -> int:
        """Trained numbers."""
        ...

    def fit(self, texts: Sequence[str], targets: Sequence[int], on_read: Callable[[int], None]) -> None:
        """Learn that `texts[i]` has the label number `targets[i]`; `on_read` receives how many reviews were seen."""
        ...

    def probabilities(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Shape (texts, labels)."""
        ...

    def save(self, directory: Path) -> None:
        """Write what answering needs into `directory`, none of it a pickle."""
        ...


def build(name: str, labels: int, settings: BaselineSettings, seed: int, vectors: Path | None) -> Baseline:
    """The untrained model `name` of `LINEAR` or `NETWORKS`; `vectors` are for bigru."""
    if name in LINEAR:
        from training.baselines.linear import LogReg, NbSvm

        return NbSvm(labels) if name == "nbsvm" else LogReg(labels)
    from training.baselines.bag import FastText
    from training.baselines.networks import Network
    from training.baselines.recurrent import BiGru, StandardGru
    from training.baselines.vectors import read_vectors
    from training.baselines.words import Vocabulary

    def bigru(vocabulary: Vocabulary, labels: int) -> BiGru:
        return BiGru(vocabulary, labels, read_vectors(vectors, vocabulary) if vectors else None)

    modules = {"fasttext": FastText, "bigru": bigru, "standard_gru": StandardGru}
    return Network(modules[name], labels, settings, seed)


def reviews_read(name: str, rows: int, settings: BaselineSettings) -> int:
    """How many reviews `fit` reads in all: the total of its progress bar."""
    if name in LINEAR:
        return rows
    from training.loop.batches import total_steps

    return total_steps(rows, settings.small_epochs, settings.small_batch_size) * settings.small_batch_size
