"""Texts to labels: tokenise ▸ batch by length ▸ infer ▸ average ▸ calibrated softmax. One bad text affects no other.

A long text may have several windows, each a row of a batch. If a window fails alone, its text fails with it.

An engine that computes in the background, on a GPU, gets texts in parts, and tokenising the next part is for free. If
it computes padding, it gets them all at once: sorted only within each part, texts would need more padding than that
saves.
"""

import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import takewhile

import numpy as np

from consumer.errors import BundleError, GaveUp
from consumer.model.bundle.loading import Bundle
from consumer.model.engines.base import Engine, EngineFailure
from consumer.model.inference.averaging import MeanLogits, averaged
from consumer.model.inference.computation import Computation, Shapes
from consumer.model.inference.rate import Rate, fitting
from consumer.model.labeller import Classified, Failed, Scored, Stats
from consumer.model.texts.encoder import Encoded, Encoder, TokenIds

log = logging.getLogger(__name__)

#: A label means little if more than this share of the words is unknown, however high its probability.
MOST_UNKNOWN = 0.5

#: Texts tokenised before their cost is first compared with the time that there is.
TOKENISED_AT_ONCE = 16

#: Most texts tokenised while a GPU computes the ones before them, without padding. What it computes after the last ones
#: is for nothing but them, and batches of much fewer texts would leave it idle in between.
TOKENISED_IN_BACKGROUND = 256


class Classifier:
    """The model of a `bundle`, as the worker serves it and training measures it. For use by one thread.

    Args:
        bundle: verified.
        engine: computes its batches; closed with the classifier.
        token_budget: most padded tokens of a batch; default: that of the engine.
    """

    def __init__(self, bundle: Bundle, engine: Engine, *, token_budget: int | None = None) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self._engine = engine
        self._labels = manifest.labels
        self._scaling = manifest.scaling
        self._threshold = manifest.calibration.threshold if manifest.calibration else None
        self._encoder = Encoder(bundle.tokenizer_json, manifest.reading)
        policy = replace(engine.policy, token_budget=token_budget) if token_budget else engine.policy
        self._shapes = Shapes(policy, manifest.reading.max_length, self._encoder.pad_id)
        self._rate = Rate()

    @property
    def digest(self) -> str:
        """SHA-256 of the bundle's manifest, in hex."""
        return self.bundle.digest

    @property
    def engine(self) -> Engine:
        """What computes its batches."""
        return self._engine

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the logits."""
        return self._labels

    @property
    def variant(self) -> str:
        """Name of the precision variant served."""
        return self._engine.variant

    def classify(
        self, texts: Sequence[str], at_work: Callable[[], None] = lambda: None, seconds: float | None = None
    ) -> Classified:
        """Label `texts`, or as many of the first ones as fit into `seconds`; see `Labeller.classify`.

        Texts of similar length share batches. `at_work` is called after each part and after each group of batches.
        """
        started = time.perf_counter()
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        work = Computation(self._engine, self._shapes, self._golden_window)
        encoded = self._encode(list(places), at_work, seconds, work)
        tokenise_seconds = time.perf_counter() - started - work.adding
        rows = work.finish(at_work)
        if work.began is not None:
            self._rate.note(sum(map(self._padded_tokens, encoded)), time.perf_counter() - work.began)
        answers = averaged(rows, [len(text.windows) for text in encoded])
        results = [self._result(text, answer) for text, answer in zip(encoded, answers, strict=True)]
        stats = Stats(
            len(encoded),
            tokenise_seconds,
            time.perf_counter() - started - tokenise_seconds,
            work.batches,
            sum(map(len, work.windows)),
            work.padded,
        )
        done = takewhile(lambda place: place < len(results), (places[text] for text in texts))
        return Classified([results[place] for place in done], stats)

    def clean(self, text: str) -> str:
        """`text` as the model reads it, if it is not too long."""
        return self._encoder.clean(text)

    def spans_read(self, text: str) -> list[tuple[int, int]]:
        """Start and end of each part of `text`, which is `clean`, that the model reads, in characters.

        All of it if the tokenizer fails on the text; `classify` reports that.
        """
        try:
            return self._encoder.spans_read(text)
        except Exception:  # tokenizers has no narrower kind
            return [(0, len(text))]

    def self_check(self, at_work: Callable[[], None] = lambda: None) -> None:
        """Replay the golden texts, as one batch and one by one, then compute batches of full size.

        Raises:
            BundleError: a probability differs from the one recorded when the bundle was built.
        """
        golden = self.bundle.golden
        tolerance = golden.tolerance[self.variant]
        texts = [golden_text.text for golden_text in golden.texts]
        try:
            replays = (
                self.classify(texts, at_work).results,
                [self.classify([text], at_work).results[0] for text in texts],
            )
        except GaveUp as error:
            raise BundleError(f"{self.bundle.path}: the model fails on its golden texts; rebuild the bundle") from error
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
        """Allocate the memory of the largest batches now, before the first record arrives."""
        policy, max_length, _ = self._shapes
        ids = np.resize(self._golden_window(), max_length)
        rows = max(1, min(policy.token_budget // max_length, policy.max_rows))
        batch = self._shapes.batch([ids] * rows)
        for result in self._engine.infer([batch] * policy.parallel):
            if isinstance(result, EngineFailure):
                log.warning("a batch of %s x %s tokens fails (%s): lower token_budget", rows, max_length, result.kind)

    def _encode(
        self, texts: Sequence[str], at_work: Callable[[], None], seconds: float | None, work: Computation
    ) -> list[Encoded]:
        """Encode `texts`, or the first ones whose inference is expected to end `seconds` from now; at least one.

        Their windows are added to `work`: all at once at the end, or in parts if it computes them in the background.
        `at_work` is called after each part.
        """
        until = math.inf if seconds is None else time.perf_counter() + seconds
        encoded: list[Encoded] = []
        costs: list[float] = []
        added, done_at = 0, -math.inf  # how many the engine has, and when it will have computed them
        while len(encoded) < len(texts):
            encoded += self._encode_all(texts[len(encoded) : self._next(len(encoded), until, work)])
            costs += [self._rate.expected(self._padded_tokens(text)) for text in encoded[len(costs) :]]
            starts_at = max(done_at, time.perf_counter())
            fits = added + fitting(costs[added:], until - starts_at)
            if fits < len(encoded):
                del encoded[fits:]
                break
            if work.is_in_background:
                done_at = starts_at + sum(costs[added:])
                work.add(_windows(encoded[added:]))
                added = len(encoded)
                at_work()
        if added < len(encoded):
            work.add(_windows(encoded[added:]))
        return encoded

    @staticmethod
    def _next(done: int, until: float, work: Computation) -> int:
        """Where to stop tokenising next, if so many texts are `done`."""
        if work.is_in_background:
            return done + min(max(done, TOKENISED_AT_ONCE), TOKENISED_IN_BACKGROUND)
        if until == math.inf:
            return sys.maxsize
        return 2 * done or TOKENISED_AT_ONCE  # more each time, so that little is tokenised in vain

    def _padded_tokens(self, text: Encoded) -> int:
        """What `text` costs, but for the padding that longer texts in its batches cause."""
        return sum(self._shapes.width(len(window)) for window in text.windows)

    def _encode_all(self, texts: Sequence[str]) -> list[Encoded]:
        """Encode `texts`; those that the tokenizer fails on have no window."""
        with suppress(Exception):  # tokenizers has no narrower type
            return self._encoder.encode(texts)
        return [self._encode_one(text) for text in texts]

    def _encode_one(self, text: str) -> Encoded:
        try:
            return self._encoder.encode([text])[0]
        except Exception:  # tokenizers has no narrower type
            return Encoded(windows=(), tokens=0, truncated=False)

    def _golden_window(self) -> TokenIds:
        return self._encoder.encode([self.bundle.golden.texts[0].text])[0].windows[0]

    def _result(self, text: Encoded, logits: MeanLogits | EngineFailure) -> Scored | Failed:
        if isinstance(logits, EngineFailure):
            return Failed(logits.kind)
        # The label comes from the logits: with a high temperature, rounding could decide between probabilities.
        label = self._labels[int(logits.argmax())]
        probabilities = dict(zip(self._labels, self._scaling.probabilities(logits).tolist(), strict=True))
        score = probabilities[label]
        unsure = None if self._threshold is None else score < self._threshold
        if text.unknown > MOST_UNKNOWN:
            unsure = True
        return Scored(label, score, probabilities, text.tokens, text.truncated, unsure, round(text.unknown, 4))


def _windows(texts: Sequence[Encoded]) -> list[TokenIds]:
    """The windows of `texts`, in order."""
    return [window for text in texts for window in text.windows]
