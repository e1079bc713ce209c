"""Texts to labels: tokenise ▸ batch by length ▸ infer ▸ average ▸ calibrated softmax. A bad text costs no other one.

A long text may be several windows, each a row of a batch like any other. A batch that fails is halved until the window
is found that fails alone, and its text fails with it. Only a text can be bad that way, not the engine:
whenever a batch fails, a golden text, which is known to work, is asked as well, and if that fails too the worker gives
up, so that a broken engine never turns a topic into dead letters.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from consumer.errors import BundleError, GaveUp
from consumer.model.averaging import MeanLogits, averaged
from consumer.model.batching import TokenBatch, pad, plan, rounded
from consumer.model.bundle import Bundle
from consumer.model.encoder import Encoded, Encoder, TokenIds
from consumer.model.engines import Engine, EngineFailure, Logits

log = logging.getLogger(__name__)

#: Batches for each stream of the engine between two signs of life: some seconds, so that the wait for the last of them
#: does not show.
BATCHES_AT_ONCE = 32


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
    """What one call cost. `padded_tokens` are those computed, `tokens` those of the windows, `texts` different ones."""

    texts: int = 0
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
    """The model of a `bundle`, as the worker serves it and as training measures it. Used by one thread.

    Args:
        bundle: verified.
        engine: closed with the classifier.
        token_budget: padded tokens of one model batch; default: what suits the engine.
    """

    def __init__(self, bundle: Bundle, engine: Engine, *, token_budget: int | None = None) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self._engine = engine
        self._labels = manifest.labels
        self._temperature = manifest.calibration.temperature if manifest.calibration else 1.0
        self._threshold = manifest.calibration.threshold if manifest.calibration else None
        self._encoder = Encoder(bundle.tokenizer_json, manifest.max_length, manifest.truncation, manifest.windows)
        self._policy = replace(engine.policy, token_budget=token_budget) if token_budget else engine.policy

    @property
    def variant(self) -> str:
        """Name of the precision variant served."""
        return self._engine.variant

    def classify(self, texts: Sequence[str], at_work: Callable[[], None] = lambda: None) -> Classified:
        """Label `texts`; equal ones are computed once.

        Args:
            texts: any; they share batches by their lengths.
            at_work: called whenever some of the batches are done.

        Raises:
            GaveUp: the engine is broken, for it fails on a golden text as well.
        """
        started = time.perf_counter()
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        encoded, unreadable = self._encode(list(places))
        tokenised = time.perf_counter()
        windows = [window for text in encoded for window in text.windows]
        rows, batches, padded = self._infer(windows, at_work)
        answers = averaged(rows, [len(text.windows) for text in encoded])
        for place in unreadable:
            answers[place] = EngineFailure("NotTokenised")
        results = [self._result(text, answer) for text, answer in zip(encoded, answers, strict=True)]
        stats = Stats(
            len(places),
            tokenised - started,
            time.perf_counter() - tokenised,
            batches,
            sum(map(len, windows)),
            padded,
        )
        return Classified([results[places[text]] for text in texts], stats)

    def spans_read(self, text: str) -> list[tuple[int, int]]:
        """Start and end of each part of `text`, which is `clean`, that the model reads, in characters.

        All of it if the tokenizer fails on the text; `classify` reports that.
        """
        try:
            return self._encoder.spans_read(text)
        except Exception:  # tokenizers has no narrower kind
            return [(0, len(text))]

    def self_check(self) -> None:
        """Replay the golden texts, all together and one by one, then compute batches of full size.

        Raises:
            BundleError: an answer is not the one that the model gave when the bundle was made.
        """
        golden = self.bundle.golden
        tolerance = golden.tolerance[self.variant]
        texts = [golden_text.text for golden_text in golden.texts]
        try:
            replays = (self.classify(texts).results, [self.classify([text]).results[0] for text in texts])
        except GaveUp as error:
            raise BundleError(
                f"{self.bundle.path}: the model fails on its golden texts; make the bundle anew"
            ) from error
        for results in replays:
            for number, (golden_text, result) in enumerate(zip(golden.texts, results, strict=True)):
                expected = golden_text.probabilities.get(self.variant, {})
                if isinstance(result, Failed):
                    raise BundleError(f"{self.bundle.path}: the model fails on golden text {number} ({result.kind})")
                if expected.keys() != result.probabilities.keys():
                    raise BundleError(f"{self.bundle.path}: golden text {number} has answers for other labels")
                off = max(abs(expected[label] - result.probabilities[label]) for label in expected)
                if off > tolerance:
                    raise BundleError(
                        f"{self.bundle.path}: the answer to golden text {number} is off by {off:.3f} (allowed: "
                        f"{tolerance}); labels, tokenizer or weights are not those that were measured"
                    )
        self._warm_up()

    def close(self) -> None:
        """Free the model."""
        self._engine.close()

    def _warm_up(self) -> None:
        """Take the memory that the largest batches need now, when nobody waits for an answer."""
        max_length = self._encoder.max_length
        ids = np.resize(self._golden_window(), max_length)
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

    def _infer(
        self, windows: Sequence[TokenIds], at_work: Callable[[], None]
    ) -> tuple[list[Logits | EngineFailure], int, int]:
        """One row of logits, shape (labels,), or a failure for each window; batches and padded tokens computed."""
        rows: list[Logits | EngineFailure] = [EngineFailure("NotComputed")] * len(windows)
        todo = plan([len(window) for window in windows], self._policy, self._encoder.max_length)
        computed = padded = 0
        while todo:
            batches = [self._batch([windows[index] for index in group]) for group in todo]
            computed += len(batches)
            padded += sum(batch.ids.size for batch in batches)
            bad = []
            at_once = BATCHES_AT_ONCE * self._policy.parallel
            for start in range(0, len(batches), at_once):
                part = slice(start, start + at_once)
                results = self._engine.infer(batches[part])
                bad += [_spread(group, result, rows) for group, result in zip(todo[part], results, strict=True)]
                at_work()
            if any(bad):
                self._ask_a_golden_text()
            todo = [half for group, failed in zip(todo, bad, strict=True) if len(group) > 1 for half in _halves(failed)]
        return rows, computed, padded

    def _batch(self, windows: Sequence[TokenIds]) -> TokenBatch:
        width = rounded(max(map(len, windows)), self._policy, self._encoder.max_length)
        return pad(windows, width, self._encoder.pad_id)

    def _golden_window(self) -> TokenIds:
        return self._encoder.encode([self.bundle.golden.texts[0].text])[0].windows[0]

    def _ask_a_golden_text(self) -> None:
        rows: list[Logits | EngineFailure] = [EngineFailure("NotComputed")]
        if _spread([0], self._engine.infer([self._batch([self._golden_window()])])[0], rows):
            raise GaveUp("the engine fails on a golden text as well as on reviews; start the worker again")

    def _result(self, text: Encoded, logits: MeanLogits | EngineFailure) -> Scored | Failed:
        if isinstance(logits, EngineFailure):
            return Failed(logits.kind)
        # The label comes from the logits: no temperature, however high, makes it a matter of rounding.
        label = self._labels[int(logits.argmax())]
        exponents = np.exp((logits - logits.max()) / self._temperature)
        probabilities = dict(zip(self._labels, (exponents / exponents.sum()).tolist(), strict=True))
        score = probabilities[label]
        unsure = None if self._threshold is None else score < self._threshold
        return Scored(label, score, probabilities, text.tokens, text.truncated, unsure)


def _spread(group: Sequence[int], result: Logits | EngineFailure, rows: list[Logits | EngineFailure]) -> list[int]:
    """Put the result of a batch into `rows`; returns the windows that it failed on, all of them or those with NaN."""
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
