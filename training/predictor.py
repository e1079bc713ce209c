"""Labels from a bundle in Python, through the worker's own classifier.

    from training import Predictor

    predictor = Predictor.load("bundles/distilbert-imdb")
    predictor.predict("Wonderful.")                     # "pos"
    predictor.predict(["Wonderful.", "Terrible.", ""])  # ["pos", "neg", None]
    predictor.predict_proba(["Wonderful."])             # array of shape (texts, labels), columns as in `classes`
    predictor.outcomes([""])[0].reason                  # "no text"

A text that cannot be labelled has no label (None), probabilities that are not numbers (NaN), and a reason.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, overload

import numpy as np
import numpy.typing as npt

from consumer.model.cascade.bundle import load
from consumer.model.cascade.labeller import Cascade
from consumer.model.classifier import Classifier
from consumer.model.labeller import Failed
from consumer.model.opening import open_labeller
from consumer.tables.text_values import text_or_reason

#: Texts passed to the classifier at once; it sorts them by length and cuts them into batches itself.
CHUNK = 256


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one text: a label with the probability of each label, or, with none, the `reason`.

    `score` is the probability of `label`; `tokens` counts what the model read, less than the text if `truncated`.
    `unsure`: the score is below the threshold of the bundle, or most words are unknown; None if neither is known.
    `unknown` is the share of the words read that the model does not know, 0 to 1. `member` is the model of a cascade
    that answered; None if there is one model.
    """

    label: str | None = None
    score: float | None = None
    probabilities: dict[str, float] | None = None
    tokens: int = 0
    truncated: bool = False
    unsure: bool | None = None
    unknown: float | None = None
    reason: str | None = None
    member: str | None = None


class Predictor:
    """The model of a bundle; make it with `load`, and close it, or use it as a context manager.

    Several threads may share one: their texts are labelled in turn, `CHUNK` at a time. The model itself uses all cores.

    Args:
        classifier: closed with the predictor.
        classes: its labels, in the order of its logits.
    """

    def __init__(self, classifier: Classifier | Cascade, classes: tuple[str, ...]) -> None:
        self._classifier = classifier
        self._classes = classes
        self._closed = False
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        manifest = self._classifier.bundle.manifest
        state = ", closed" if self._closed else ""
        return (
            f"<Predictor {manifest.name} {manifest.version}, {self._classifier.variant}: "
            f"{', '.join(self._classes)}{state}>"
        )

    @classmethod
    def load(cls, bundle: str | Path, variant: str | None = None) -> "Predictor":
        """Open `variant` (default: the served one) of the directory `bundle`, and replay its golden texts.

        Raises:
            BundleError: a file is missing or changed, or an answer is not the one that was measured.
        """
        loaded = load(Path(bundle))
        predictor = cls(open_labeller(loaded, variant), loaded.manifest.labels)
        try:
            predictor._classifier.self_check()
        except BaseException:
            predictor.close()
            raise
        return predictor

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels; `classes[i]` names column i of `predict_proba`."""
        return self._classes

    @property
    def members(self) -> tuple[str, ...]:
        """The models of a cascade; empty for a single model."""
        return tuple(self._classifier.members) if isinstance(self._classifier, Cascade) else ()

    @overload
    def predict(self, texts: str) -> str | None: ...
    @overload
    def predict(self, texts: Iterable[Any]) -> list[str | None]: ...
    def predict(self, texts: str | Iterable[Any]) -> str | list[str | None] | None:
        """The label of each of `texts`, in order, None if there is none; of a single text, its label alone."""
        if isinstance(texts, str):
            return next(self.stream([texts])).label
        return [outcome.label for outcome in self.outcomes(texts)]

    def predict_proba(self, texts: str | Iterable[Any]) -> npt.NDArray[np.float64]:
        """Probabilities of shape (texts, labels), columns as in `classes`; of a single text, shape (labels,).

        The row of a text without a label is NaN.
        """
        outcomes = self.outcomes([texts] if isinstance(texts, str) else texts)
        rows = [[(outcome.probabilities or {}).get(label, np.nan) for label in self._classes] for outcome in outcomes]
        table = np.array(rows, dtype=np.float64).reshape(len(rows), len(self._classes))
        return table[0] if isinstance(texts, str) else table

    def outcomes(self, texts: Iterable[Any]) -> list[Outcome]:
        """What became of each of `texts`, in order; see `stream`."""
        return list(self.stream(texts))

    def stream(self, texts: Iterable[Any]) -> Iterator[Outcome]:
        """The same, lazily: reads `CHUNK` texts at a time, so that there may be more than memory holds.

        Numbers are read as their digits; None, NaN and blank texts have no text in them.

        Raises:
            TypeError: `texts` is bytes, or a table or mapping, whose iteration yields names instead of texts.
            GaveUp: the engine is broken, not a text.
            ValueError: the predictor is closed.
        """
        if isinstance(texts, (bytes, bytearray)):
            raise TypeError("texts are str, not bytes: decode them first")
        if isinstance(texts, Mapping) or hasattr(texts, "columns"):
            raise TypeError(f"texts are an iterable of str, not a {type(texts).__name__}: give one column of it")
        remaining = iter(texts)
        while chunk := list(islice(remaining, CHUNK)):
            yield from self._outcomes(chunk)

    def _outcomes(self, chunk: list[Any]) -> list[Outcome]:
        readable = [text_or_reason(value) for value in chunk]
        with self._lock:
            if self._closed:
                raise ValueError("the predictor is closed: load the bundle again")
            results = self._classifier.classify([text for text, _ in readable if text is not None]).results
        classified = iter(results)
        outcomes = []
        for text, reason in readable:
            if text is None:
                outcomes.append(Outcome(reason=reason))
                continue
            result = next(classified)
            if isinstance(result, Failed):
                outcomes.append(Outcome(reason=f"the model fails on it ({result.kind})"))
            else:
                outcomes.append(
                    Outcome(
                        result.label,
                        result.score,
                        result.probabilities,
                        result.tokens,
                        result.truncated,
                        result.unsure,
                        result.unknown,
                        member=result.member,
                    )
                )
        return outcomes

    def close(self) -> None:
        """Free the model, after the chunk that another thread may be labelling; later calls raise `ValueError`."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._classifier.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
