"""Texts to labels: tokenise ▸ batch by length ▸ infer ▸ calibrated softmax. One bad text never costs its neighbours.

A batch that fails is halved until the text is found that fails alone. Only a text can be bad that way, not the engine:
whenever a batch fails, a golden text, which is known to work, is asked as well, and if that fails too the worker gives
up, so that a broken engine never turns a topic into dead letters.
"""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from consumer.batching import TokenBatch, pad, plan, rounded
from consumer.bundle import Bundle
from consumer.encoder import Encoded, Encoder
from consumer.engines import Engine, EngineFailure, Logits
from consumer.errors import BundleError, GaveUp

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scored:
    """The most probable label of a text, and the probability of each.

    `unsure`: whether the score is below the threshold of the bundle; None where the bundle has none.
    """

    label: str
    score: float
    probabilities: dict[str, float]
    tokens: int
    truncated: bool
    unsure: bool | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A text that tokenizer or engine fail on even alone; `kind` names the error, not the text."""

    kind: str


@dataclass(frozen=True, slots=True)
class Stats:
    """What one call cost. `padded_tokens` are those computed, `tokens` those of the texts."""

    tokenise_seconds: float = 0.0
    infer_seconds: float = 0.0
    batches: int = 0
    tokens: int = 0
    padded_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Classified:
    """One result for each text, in order."""

    results: list[Scored | Failed]
    stats: Stats


class Classifier:
    """The model of a bundle, as the worker serves it and as training measures it. Used by one thread.

    Args:
        bundle: verified.
        engine: closed with the classifier.
        token_budget: padded tokens of one model batch; default: what suits the engine.
    """

    def __init__(self, bundle: Bundle, engine: Engine, *, token_budget: int | None = None) -> None:
        manifest = bundle.manifest
        self._bundle = bundle
        self._engine = engine
        self._labels = manifest.labels
        self._temperature = manifest.calibration.temperature if manifest.calibration else 1.0
        self._threshold = manifest.calibration.threshold if manifest.calibration else None
        self._encoder = Encoder(bundle.tokenizer_json, manifest.max_length, manifest.truncation)
        self._policy = replace(engine.policy, token_budget=token_budget) if token_budget else engine.policy

    @property
    def variant(self) -> str:
        """Name of the precision variant served."""
        return self._engine.variant

    def classify(self, texts: Sequence[str]) -> Classified:
        """Label `texts`; equal ones are computed once.

        Raises:
            GaveUp: the engine is broken, for it fails on a golden text as well.
        """
        started = time.perf_counter()
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        encoded, unreadable = self._encode(list(places))
        tokenised = time.perf_counter()
        rows, batches, padded = self._infer(encoded)
        for place in unreadable:
            rows[place] = EngineFailure("NotTokenised")
        results = [self._result(text, row) for text, row in zip(encoded, rows, strict=True)]
        stats = Stats(
            tokenised - started,
            time.perf_counter() - tokenised,
            batches,
            sum(text.tokens for text in encoded),
            padded,
        )
        return Classified([results[places[text]] for text in texts], stats)

    def self_check(self) -> None:
        """Replay the golden texts, all together and one by one, then compute batches of full size.

        Raises:
            BundleError: an answer is not the one that the model gave when the bundle was made.
        """
        golden = self._bundle.golden
        tolerance = golden.tolerance[self.variant]
        texts = [golden_text.text for golden_text in golden.texts]
        try:
            replays = (self.classify(texts).results, [self.classify([text]).results[0] for text in texts])
        except GaveUp as error:
            raise BundleError(
                f"{self._bundle.path}: the model fails on its golden texts; make the bundle anew"
            ) from error
        for results in replays:
            for number, (golden_text, result) in enumerate(zip(golden.texts, results, strict=True)):
                expected = golden_text.probabilities.get(self.variant, {})
                if isinstance(result, Failed):
                    raise BundleError(f"{self._bundle.path}: the model fails on golden text {number} ({result.kind})")
                if expected.keys() != result.probabilities.keys():
                    raise BundleError(f"{self._bundle.path}: golden text {number} has answers for other labels")
                off = max(abs(expected[label] - result.probabilities[label]) for label in expected)
                if off > tolerance:
                    raise BundleError(
                        f"{self._bundle.path}: the answer to golden text {number} is off by {off:.3f} (allowed: "
                        f"{tolerance}); labels, tokenizer or weights are not those that were measured"
                    )
        self._warm_up()

    def close(self) -> None:
        """Free the model."""
        self._engine.close()

    def _warm_up(self) -> None:
        """Take the memory that the largest batches need now, when nobody waits for an answer."""
        max_length = self._encoder.max_length
        ids = np.resize(self._encoder.encode([self._bundle.golden.texts[0].text])[0].ids, max_length)
        rows = max(1, min(self._policy.token_budget // max_length, self._policy.max_rows))
        batch = pad([ids] * rows, max_length, self._encoder.pad_id)
        for result in self._engine.infer([batch] * self._policy.parallel):
            if isinstance(result, EngineFailure):
                log.warning("a batch of %s x %s tokens fails (%s): lower token_budget", rows, max_length, result.kind)

    def _encode(self, texts: Sequence[str]) -> tuple[list[Encoded], set[int]]:
        """Encode `texts`; the places of those that the tokenizer raises on hold an empty text."""
        with suppress(Exception):  # tokenizers names no type
            return self._encoder.encode(texts), set()
        unreadable = set()
        for place, text in enumerate(texts):
            try:
                self._encoder.encode([text])
            except Exception:
                unreadable.add(place)
        return self._encoder.encode(
            ["" if place in unreadable else text for place, text in enumerate(texts)]
        ), unreadable

    def _infer(self, encoded: Sequence[Encoded]) -> tuple[list[Logits | EngineFailure], int, int]:
        """One row of logits, shape (labels,), or a failure for each text; batches and padded tokens computed."""
        rows: list[Logits | EngineFailure] = [EngineFailure("NotComputed")] * len(encoded)
        todo = plan([text.tokens for text in encoded], self._policy, self._encoder.max_length)
        computed = padded = 0
        while todo:
            batches = [self._batch([encoded[index] for index in group]) for group in todo]
            computed += len(batches)
            padded += sum(batch.ids.size for batch in batches)
            bad = [
                _spread(group, result, rows) for group, result in zip(todo, self._engine.infer(batches), strict=True)
            ]
            if any(bad):
                self._ask_a_golden_text()
            todo = [half for group, failed in zip(todo, bad, strict=True) if len(group) > 1 for half in _halves(failed)]
        return rows, computed, padded

    def _batch(self, texts: Sequence[Encoded]) -> TokenBatch:
        width = rounded(max(text.tokens for text in texts), self._policy, self._encoder.max_length)
        return pad([text.ids for text in texts], width, self._encoder.pad_id)

    def _ask_a_golden_text(self) -> None:
        golden = self._encoder.encode([self._bundle.golden.texts[0].text])
        rows: list[Logits | EngineFailure] = [EngineFailure("NotComputed")]
        if _spread([0], self._engine.infer([self._batch(golden)])[0], rows):
            raise GaveUp("the engine fails on a golden text as well as on reviews; start the worker again")

    def _result(self, text: Encoded, row: Logits | EngineFailure) -> Scored | Failed:
        if isinstance(row, EngineFailure):
            return Failed(row.kind)
        # The label comes from the logits: no temperature, however high, makes it a matter of rounding.
        label = self._labels[int(row.argmax())]
        exponents = np.exp((row.astype(np.float64) - row.max()) / self._temperature)
        probabilities = dict(zip(self._labels, (exponents / exponents.sum()).tolist(), strict=True))
        score = probabilities[label]
        unsure = None if self._threshold is None else score < self._threshold
        return Scored(label, score, probabilities, text.tokens, text.truncated, unsure)


def _spread(group: Sequence[int], result: Logits | EngineFailure, rows: list[Logits | EngineFailure]) -> list[int]:
    """Put the result of a batch into `rows`; returns the texts that it failed on, all of them or those with NaN."""
    bad = []
    for place, index in enumerate(group):
        row = result if isinstance(result, EngineFailure) else result[place]
        if not isinstance(row, EngineFailure) and not np.isfinite(row).all():
            row = EngineFailure("NotFinite")
        rows[index] = row
        if isinstance(row, EngineFailure):
            bad.append(index)
    return bad


def _halves(group: list[int]) -> list[list[int]]:
    middle = len(group) // 2
    return [half for half in (group[:middle], group[middle:]) if half]
