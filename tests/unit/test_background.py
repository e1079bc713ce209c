"""An engine that computes in the background: it gets texts while the next are tokenised, and answers as others do."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.errors import GaveUp
from consumer.model.bundle.loading import Bundle, load_bundle
from consumer.model.classifier import TOKENISED_AT_ONCE, TOKENISED_IN_BACKGROUND, Classifier
from consumer.model.engines import open_engine
from consumer.model.engines.base import BackgroundEngine, Engine, EngineFailure, Logits
from consumer.model.inference.batching import BatchPolicy, TokenBatch
from consumer.model.labeller import Failed, Scored
from tests.tiny_bundle import MAX_LENGTH, POISON, WORTH, positive_probability, write_tiny_bundle

TEXTS = st.lists(st.sampled_from([*WORTH, "unheard"]), max_size=2 * MAX_LENGTH).map(" ".join)

Results = list[Logits | EngineFailure]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle, verified."""
    return load_bundle(write_tiny_bundle(tmp_path_factory.mktemp("background") / "bundle"))


@pytest.fixture(scope="module")
def real(bundle: Bundle) -> Iterator[Engine]:
    """What computes in the end."""
    opened = open_engine(bundle, threads=2)
    yield opened
    opened.close()


class Background:
    """Computes a part when it is asked for its results, and notes in `events` what was asked of it."""

    variant = "fp32"
    policy = BatchPolicy(token_budget=2048, max_rows=64, round_to=1, pads=False)

    def __init__(
        self, real: Engine, fails: Callable[[TokenBatch], bool] = lambda _: False, *, pads: bool = False
    ) -> None:
        self._real = real
        self._fails = fails
        self.policy = replace(self.policy, pads=pads)
        self.events: list[str] = []

    def start(self, batches: Sequence[TokenBatch]) -> Callable[[], Results]:
        """Note it, and compute later."""
        self.events.append("start")
        given = list(batches)

        def results() -> Results:
            self.events.append("fetch")
            return self.infer(given)

        return results

    def infer(self, batches: Sequence[TokenBatch]) -> Results:
        """What the real engine answers, or a failure."""
        results = self._real.infer(batches)
        return [EngineFailure("OutOfMemory") if self._fails(b) else r for b, r in zip(batches, results, strict=True)]

    def close(self) -> None:
        """The real engine is closed by its owner."""


def watched(classifier: Classifier, engine: Background, monkeypatch: pytest.MonkeyPatch) -> Classifier:
    """`classifier`, whose tokeniser is noted among the events of `engine` with the number of texts."""
    encode = classifier._encoder.encode

    def noted(texts: Sequence[str]) -> Any:
        engine.events.append(f"tokenise {len(texts)}")
        return encode(texts)

    monkeypatch.setattr(classifier._encoder, "encode", noted)
    return classifier


def assert_right(texts: Sequence[str], results: Sequence[Scored | Failed]) -> None:
    """Every text has its known answer."""
    assert len(texts) == len(results)
    for text, result in zip(texts, results, strict=True):
        assert isinstance(result, Scored)
        assert result.probabilities["pos"] == pytest.approx(positive_probability(text), abs=1e-5)


def test_the_next_texts_are_tokenised_while_the_engine_computes(
    bundle: Bundle, real: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part is started before the next is tokenised, no answer is waited for before, and each is a sign of life."""
    engine = Background(real)
    assert isinstance(engine, BackgroundEngine)
    texts = [f"good unheard{n}" for n in range(800)]
    classifier = watched(Classifier(bundle, engine), engine, monkeypatch)
    classified = classifier.classify(texts, lambda: engine.events.append("sign"))
    assert_right(texts, classified.results)
    parts = [16, 16, 32, 64, 128, 256, 256, 32]
    assert (parts[0], max(parts), sum(parts)) == (TOKENISED_AT_ONCE, TOKENISED_IN_BACKGROUND, len(texts))
    asked = [event for part in parts for event in (f"tokenise {part}", "start", "sign")]
    assert engine.events == asked + ["fetch", "sign"] * len(parts)


def test_other_engines_get_all_texts_at_once(bundle: Bundle, real: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the processor tokenises and computes, parts would only cost padding."""
    assert not isinstance(real, BackgroundEngine)
    engine = Background(real)
    classifier = watched(Classifier(bundle, real), engine, monkeypatch)
    assert_right(texts := [f"good unheard{n}" for n in range(800)], classifier.classify(texts).results)
    assert engine.events == ["tokenise 800"]


@pytest.mark.parametrize("seconds", [None, 1e6])
def test_where_padding_is_computed_all_texts_share_batches(bundle: Bundle, real: Engine, seconds: float | None) -> None:
    """Sorted within parts only, texts of other lengths would be padded to more than tokenising them early saves."""
    engine = Background(real, pads=True)
    texts = [f"unheard{n} " + "good " * (n * 7 % (MAX_LENGTH - 3)) for n in range(800)]
    found = Classifier(bundle, engine).classify(texts, seconds=seconds)
    assert_right(texts, found.results)
    assert engine.events == ["start", "fetch"]
    plain: Any = SimpleNamespace(variant=engine.variant, policy=engine.policy, infer=real.infer)
    expected = Classifier(bundle, plain).classify(texts)
    assert found.stats.tokens < found.stats.padded_tokens == expected.stats.padded_tokens


@given(texts=st.lists(TEXTS, max_size=80), token_budget=st.integers(1, 4096))
@settings(max_examples=30)
def test_answers_and_costs_are_those_of_other_engines(
    bundle: Bundle, real: Engine, texts: list[str], token_budget: int
) -> None:
    """Whatever the lengths and repetitions; without padding, the tokens computed are those of the texts."""
    found = Classifier(bundle, Background(real), token_budget=token_budget).classify(texts)
    expected = Classifier(bundle, real, token_budget=token_budget).classify(texts)
    assert_right(texts, found.results)
    assert found.stats.tokens == expected.stats.tokens == found.stats.padded_tokens
    assert found.stats.texts == expected.stats.texts


def test_a_bad_text_is_found_among_the_others(bundle: Bundle, real: Engine) -> None:
    """In the part that it is in: batches that fail are halved, and every other text is answered."""
    texts = [f"good unheard{n}" for n in range(300)]
    texts[7] = texts[211] = f"{POISON} good"
    results = Classifier(bundle, Background(real)).classify(texts).results
    assert [place for place, result in enumerate(results) if result == Failed("NotFinite")] == [7, 211]
    assert_right([text for text in texts if POISON not in text], [each for each in results if isinstance(each, Scored)])


def test_what_does_not_fit_into_memory_is_halved(bundle: Bundle, real: Engine) -> None:
    """Batches of more than three texts fail; every text is answered in the end."""
    texts = [f"good unheard{n}" for n in range(100)]
    assert_right(texts, Classifier(bundle, Background(real, lambda b: len(b.ids) > 3)).classify(texts).results)


def test_an_engine_that_fails_on_everything_ends_the_worker(bundle: Bundle, real: Engine) -> None:
    """It is no fault of the texts."""
    with pytest.raises(GaveUp, match="fails on a golden text as well"):
        Classifier(bundle, Background(real, lambda _: True)).classify(["good", "bad"])


class Timed(Background):
    """A GPU by a clock of its own: it takes 1 ms for each token, beside the processor, which takes 2 ms for a text."""

    def __init__(self, real: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(real)
        self.now = self.free_at = 0.0
        monkeypatch.setattr("consumer.model.classifier.time.perf_counter", lambda: self.now)

    def start(self, batches: Sequence[TokenBatch]) -> Callable[[], Results]:
        """It begins when what was started before is done."""
        self.free_at = max(self.free_at, self.now) + sum(batch.computed(self.policy) for batch in batches) / 1000
        ready, results = self.free_at, super().start(batches)

        def waited() -> Results:
            self.now = max(self.now, ready)
            return results()

        return waited


def tokenised_in(classifier: Classifier, engine: Timed, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, `classifier` takes `seconds` by the clock of `engine` to tokenise a text."""
    encode = classifier._encoder.encode

    def slow(texts: Sequence[str]) -> Any:
        engine.now += seconds * len(texts)
        return encode(texts)

    monkeypatch.setattr(classifier._encoder, "encode", slow)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.4, 1.0, 4.0, None])
def test_only_as_many_texts_are_labelled_as_fit_into_the_time(
    bundle: Bundle, real: Engine, monkeypatch: pytest.MonkeyPatch, seconds: float | None
) -> None:
    """Tokenising beside the GPU costs no time; what was started is never thrown away."""
    engine = Timed(real, monkeypatch)
    classifier = Classifier(bundle, engine)
    tokenised_in(classifier, engine, 0.002, monkeypatch)
    classifier.classify([f"bad unheard{n}" for n in range(200)])
    texts = [f"good unheard{n}" for n in range(1500)]  # four tokens each
    began = engine.now
    classified = classifier.classify(texts, seconds=seconds)
    took, count = engine.now - began, len(classified.results)
    assert_right(texts[:count], classified.results)
    if seconds is None:
        assert count == len(texts)
        assert took == pytest.approx(1500 * 0.004, rel=0.05)  # tokenising one part, and the GPU on all of them
    else:
        first = TOKENISED_AT_ONCE
        assert count >= 1
        assert took <= 1.1 * max(seconds, 0.002 * first + 0.004)
        assert seconds < 0.2 or took >= 0.7 * seconds
    assert classified.stats.tokenise_seconds + classified.stats.infer_seconds == pytest.approx(took)


@pytest.mark.parametrize("seconds", [0.0, 4.0, 12.0])
@pytest.mark.parametrize("known", [True, False])
def test_time_is_kept_and_shown_when_tokenising_is_the_slower_part(
    bundle: Bundle, real: Engine, monkeypatch: pytest.MonkeyPatch, seconds: float, known: bool
) -> None:
    """Whether the speed of the GPU is known or not: the poll ends with the part in which its time ends."""
    engine = Timed(real, monkeypatch)
    classifier = Classifier(bundle, engine)
    if known:
        classifier.classify([f"bad unheard{n}" for n in range(200)])
    tokenised_in(classifier, engine, 0.02, monkeypatch)
    texts = [f"good unheard{n}" for n in range(1500)]  # 30 s of tokenising, and 6 s of the GPU beside it
    signs = [engine.now]
    classified = classifier.classify(texts, lambda: signs.append(engine.now), seconds)
    took, count = engine.now - signs[0], len(classified.results)
    assert_right(texts[:count], classified.results)
    part = 0.02 * TOKENISED_IN_BACKGROUND
    assert 1 <= count <= max(1, seconds / 0.02 + 1)
    assert 0.6 * seconds <= took <= max(2 * seconds, 0.02 * TOKENISED_AT_ONCE) + 0.1
    assert took <= seconds + part + 0.1
    assert all(0 <= later - sign <= part + 0.1 for sign, later in pairwise([*signs, engine.now]))
