"""What the worker needs of a model, whether it is one model or several, and what the answers look like."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Scored:
    """The most probable label of a text, and the probability of each.

    `unsure`: whether the score is below the threshold of the bundle; None if it has none. `unknown` is the share of the
    words read that the model does not know (see `Encoded`). If it is above `MOST_UNKNOWN`, the prediction is unsure in
    any case. `member` is the model of a cascade that answered; None if there is only one.
    """

    label: str
    score: float
    probabilities: dict[str, float]
    tokens: int
    truncated: bool
    unsure: bool | None = None
    unknown: float = 0.0
    member: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A text on which the tokenizer or the engine fails, even alone; `kind` is the type of the error."""

    kind: str


@dataclass(frozen=True, slots=True)
class Stats:
    """Cost of one call: different `texts` computed, and `tokens` of their windows.

    `padded_tokens`: with the padding that was computed, none on an engine that leaves it out. `passed_on` is how many
    of the texts a member of a cascade passed on to the next. Work on texts whose results were thrown away, because the
    time was up, is included.
    """

    texts: int = 0
    tokenise_seconds: float = 0.0
    infer_seconds: float = 0.0
    batches: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    passed_on: int = 0


@dataclass(frozen=True, slots=True)
class Classified:
    """One result for each text, in order: for all of them, or for the first ones that fit into the time.

    `members` has the cost of each model of a cascade by its name; it is empty if there is only one model.
    """

    results: list[Scored | Failed]
    stats: Stats
    members: Mapping[str, Stats] = field(default_factory=dict)


class Labeller(Protocol):
    """Labels texts. For use by one thread."""

    @property
    def digest(self) -> str:
        """SHA-256 of the bundle's manifest, in hex."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label that an answer may have."""
        ...

    @property
    def variant(self) -> str:
        """Name of the precision variant served."""
        ...

    def classify(
        self, texts: Sequence[str], at_work: Callable[[], None] = ..., seconds: float | None = None
    ) -> Classified:
        """Label `texts`; equal texts are computed once.

        Args:
            texts: any number.
            at_work: called every few seconds, as a sign of life.
            seconds: about how long this may take; None: as long as it takes. Only as many of the first texts are
                labelled as are expected to fit, but at least one.

        Raises:
            GaveUp: the engine is broken: it fails on a golden text as well.
        """
        ...

    def clean(self, text: str) -> str:
        """What of `text` decides its label, if it is not too long: texts that this makes equal get equal answers."""
        ...

    def self_check(self, at_work: Callable[[], None] = ...) -> None:
        """Replay the golden texts, and allocate what the largest batches need.

        Args:
            at_work: called between the steps; what it raises ends the check.

        Raises:
            BundleError: the answers are not those recorded when the bundle was built.
        """
        ...

    def close(self) -> None:
        """Free the model."""
        ...
