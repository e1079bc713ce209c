"""Long texts as averaged windows, on a real graph whose answers are known: the classifier and the worker's loop."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.errors import BundleError
from consumer.model.bundle.loading import Bundle, load_bundle
from consumer.model.bundle.manifest import Calibration, Source
from consumer.model.classifier import Classifier
from consumer.model.engines import open_engine
from consumer.model.engines.base import Engine, EngineFailure, Logits
from consumer.model.inference.averaging import averaged
from consumer.model.inference.batching import BatchPolicy, TokenBatch
from consumer.model.labeller import Failed, Scored
from consumer.model.texts.reading import Windows
from consumer.service.health import Health
from consumer.service.metrics import Metrics
from tests.fake_broker import FakeBroker, drain
from tests.tiny_bundle import GOLDEN_TEXTS, MAX_LENGTH, POISON, SPECIAL, VARIANTS, WORTH, seal, write_tiny_bundle

#: Windows of 38 words, each but the first repeating 10 of them; three at most, 38 + 28 + 28 words.
WINDOWS = Windows(overlap=0.25, most=3)
WORDS, STEP, MOST_WORDS = 38, 28, 94
TEXTS = st.lists(st.sampled_from([*WORTH, "unheard"]), max_size=3 * MAX_LENGTH).map(" ".join)


def parts(text: str) -> list[list[str]]:
    """The words of each window of `text`, cut by hand."""
    words = text.split()[:MOST_WORDS]
    return [words[:WORDS]] + [words[at : at + WORDS] for at in range(STEP, len(words) - (WORDS - STEP), STEP)]


def log_odds(text: str) -> float:
    """What the log-odds of `pos` have to be: the mean over the windows of twice the worth of their words."""
    return float(np.mean([2 * sum(WORTH.get(word, 0.0) for word in part) for part in parts(text)]))


def probability(text: str, temperature: float = 1.0) -> float:
    """What the probability of `pos` has to be."""
    return 1 / (1 + math.exp(-log_odds(text) / temperature))


def write_windowed_bundle(directory: Path, windows: Windows = WINDOWS) -> Path:
    """The tiny bundle with windows, and golden answers that go with them."""
    path = write_tiny_bundle(directory)
    golden = json.loads((path / "golden.json").read_text())
    golden["texts"] = [
        {"text": text, "probabilities": {name: {"neg": 1 - p, "pos": p} for name in VARIANTS}}
        for text, p in ((text, probability(text)) for text in GOLDEN_TEXTS)
    ]
    (path / "golden.json").write_text(json.dumps(golden))
    return seal(path, truncation="windows", windows=windows)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle above, verified."""
    return load_bundle(write_windowed_bundle(tmp_path_factory.mktemp("windows") / "bundle"))


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Iterator[Engine]:
    """A real engine on it, fp32, with two streams."""
    opened = open_engine(bundle, threads=2)
    yield opened
    opened.close()


def assert_scored(result: Scored | Failed, text: str) -> None:
    """`result` is what a computation by hand gives for `text`."""
    assert isinstance(result, Scored)
    assert result.probabilities["pos"] == pytest.approx(probability(text), abs=1e-5)
    assert result.score == max(result.probabilities.values()) == result.probabilities[result.label]
    assert result.tokens == min(len(text.split()), MOST_WORDS) + 2
    assert result.truncated == (len(text.split()) > MOST_WORDS)


@given(texts=st.lists(TEXTS, max_size=20), token_budget=st.integers(1, 4096))
@settings(max_examples=40)
def test_alone_or_in_company_a_text_is_the_mean_of_its_windows(
    bundle: Bundle, engine: Engine, texts: list[str], token_budget: int
) -> None:
    """For any lengths and any batch size: the answer computed by hand, in order, however its windows were spread."""
    classifier = Classifier(bundle, engine, token_budget=token_budget)
    results = classifier.classify(texts).results
    for text, result in zip(texts, results, strict=True):
        assert_scored(result, text)
    for text, result in list(zip(texts, results, strict=True))[:3]:
        (alone,) = classifier.classify([text]).results
        assert isinstance(alone, Scored)
        assert isinstance(result, Scored)
        assert alone.probabilities["pos"] == pytest.approx(result.probabilities["pos"], abs=1e-6)
        assert replace(alone, probabilities={}, score=0) == replace(result, probabilities={}, score=0)


def test_logits_are_averaged_not_probabilities(bundle: Bundle, engine: Engine) -> None:
    """Two windows that lean to pos and one that is sure of neg: the probabilities alone would say pos."""
    # Given windows of log-odds 2, 2 and -20
    words = ["unheard"] * MOST_WORDS
    words[0] = words[40] = "good"
    words[70:80] = ["bad"] * 10
    text = " ".join(words)
    odds = [2 * sum(WORTH.get(word, 0.0) for word in part) for part in parts(text)]
    assert odds == [2, 2, -20]
    assert np.mean([1 / (1 + math.exp(-each)) for each in odds]) > 0.5
    # When the text is labelled, then by the mean of the three
    (result,) = Classifier(bundle, engine).classify([text]).results
    assert isinstance(result, Scored)
    assert result.label == "neg"
    assert result.probabilities["pos"] == pytest.approx(1 / (1 + math.exp(16 / 3)), rel=1e-4)


@pytest.mark.parametrize("words", [WORDS - 1, WORDS, WORDS + 1, MOST_WORDS, MOST_WORDS + 1])
def test_the_bounds_of_one_window_and_of_all_of_them(bundle: Bundle, engine: Engine, words: int) -> None:
    """One word below, at and above; what lies behind the last window changes nothing but `truncated`."""
    text = " ".join(["good", "unheard"] * words)
    cut = " ".join(text.split()[:words])
    (result,) = Classifier(bundle, engine).classify([cut]).results
    assert_scored(result, cut)
    (longer,) = Classifier(bundle, engine).classify([cut + " awful" * 500]).results
    assert isinstance(longer, Scored)
    assert longer.truncated
    assert longer.tokens == MOST_WORDS + 2


@pytest.mark.parametrize("place", [0, 45, 90])
def test_one_bad_window_fails_its_text_and_no_other(bundle: Bundle, engine: Engine, place: int) -> None:
    """In whichever window the model finds no number: the other windows of that text do not save it."""
    words = ["good"] * MOST_WORDS
    words[place] = POISON
    texts = [f"film unheard{n} " + "great moving " * n for n in range(40)]
    results = Classifier(bundle, engine, token_budget=200).classify([*texts[:20], " ".join(words), *texts[20:]]).results
    assert results.pop(20) == Failed("NotFinite")
    for text, result in zip(texts, results, strict=True):
        assert_scored(result, text)


class Watched:
    """A real engine that notes its batches, and fails on those in which a poisoned window is."""

    variant = "fp32"
    policy = BatchPolicy(token_budget=320, max_rows=64, round_to=8, parallel=2)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.batches: list[TokenBatch] = []

    def infer(self, batches: Sequence[TokenBatch]) -> list[Logits | EngineFailure]:
        """What the real engine answers, or a failure of the whole batch."""
        self.batches += batches
        poison = len(SPECIAL) + len(WORTH)
        return [
            EngineFailure("OutOfMemory") if (batch.ids == poison).any() else result
            for batch, result in zip(batches, self._engine.infer(batches), strict=True)
        ]

    def close(self) -> None:
        """The real engine is closed by its owner."""


def test_a_window_that_fails_its_batch_is_halved_out(bundle: Bundle, engine: Engine) -> None:
    """The windows that shared the batch, those of other texts among them, are computed again and answered."""
    poisoned = " ".join(["good"] * 50 + [POISON] + ["good"] * 20)
    texts = [f"unheard{n} " + "bad film " * (n + 20) for n in range(12)]
    watched = Watched(engine)
    results = Classifier(bundle, watched).classify([*texts, poisoned]).results
    assert results.pop() == Failed("OutOfMemory")
    for text, result in zip(texts, results, strict=True):
        assert_scored(result, text)


def test_windows_count_as_rows_of_a_batch(bundle: Bundle, engine: Engine) -> None:
    """Thirty long texts are ninety rows: no batch is above the token budget, and the stats tell what was computed."""
    watched = Watched(engine)
    stats = Classifier(bundle, watched).classify([f"unheard{n} " + "good " * 200 for n in range(30)]).stats
    assert max(batch.ids.size for batch in watched.batches) <= 320
    assert sum(len(batch.ids) for batch in watched.batches) == 90
    assert (stats.tokens, stats.batches) == (90 * MAX_LENGTH, len(watched.batches))
    assert stats.padded_tokens == 90 * MAX_LENGTH


@pytest.mark.parametrize(("threshold", "unsure"), [(0.9, True), (0.7, False)])
def test_temperature_and_threshold_act_on_the_mean(
    bundle: Bundle, engine: Engine, threshold: float, unsure: bool
) -> None:
    """Calibration sees one answer for each text, and so do its temperature and what is unsure."""
    calibration = Calibration(
        temperature=2,
        threshold=threshold,
        target_precision=0.98,
        ece_before=0.1,
        ece_after=0.1,
        variant="fp32",
        data=Source(file="held.xlsx", sha256="0" * 64, rows=100),
    )
    calibrated = replace(bundle, manifest=bundle.manifest.model_copy(update={"calibration": calibration}))
    text = "great " + "the " * 60 + "great"
    (result,) = Classifier(calibrated, engine).classify([text]).results
    assert isinstance(result, Scored)
    assert log_odds(text) == 3
    assert result.probabilities["pos"] == pytest.approx(1 / (1 + math.exp(-3 / 2)), abs=1e-5)
    assert result.unsure is unsure


def test_the_mean_is_that_of_all_windows_or_the_first_failure() -> None:
    """Rows of three texts, of which the second has a window without an answer."""
    row = np.array([1, -1], dtype=np.float32)
    failure = EngineFailure("OutOfMemory")
    first, second, third = averaged([row, 3 * row, row, failure, EngineFailure("NotFinite"), 5 * row], [2, 3, 1])
    assert not isinstance(first, EngineFailure)
    assert not isinstance(third, EngineFailure)
    assert (first.tolist(), third.tolist()) == ([2, -2], [5, -5])
    assert second is failure


@pytest.mark.parametrize(
    "changes",
    [
        {"windows": Windows(overlap=0.5, most=3)},
        {"windows": Windows(overlap=0.25, most=1)},
        {"truncation": "head_tail", "windows": None},
    ],
)
def test_a_bundle_that_reads_other_windows_than_were_measured_is_refused(
    tmp_path: Path, changes: Mapping[str, object]
) -> None:
    """Its golden texts are long enough to tell: another overlap, another bound, or another truncation."""
    path = write_windowed_bundle(tmp_path / "bundle")
    bundle = load_bundle(path)
    golden = json.loads((path / "golden.json").read_text())
    text = "good " + "unheard " * 30 + "great great " + "unheard " * 30 + "awful " + "unheard " * 20
    golden["texts"].append({"text": text, "probabilities": {n: _both(probability(text)) for n in VARIANTS}})
    (path / "golden.json").write_text(json.dumps(golden))
    for facts, refused in (({}, False), (changes, True)):
        seal(path, **{"truncation": "windows", "windows": WINDOWS, **facts})
        bundle = load_bundle(path)
        classifier = Classifier(bundle, open_engine(bundle, threads=1))
        if refused:
            with pytest.raises(BundleError, match="golden text"):
                classifier.self_check()
        else:
            classifier.self_check()
        classifier.close()


def _both(positive: float) -> dict[str, float]:
    return {"neg": 1 - positive, "pos": positive}


def test_the_worker_labels_long_reviews_by_windows_and_buries_only_the_bad_one(bundle: Bundle, engine: Engine) -> None:
    """Predictions carry the tokens that were read; the review with a bad window alone is a dead letter."""
    # Given a poll of a short, a long, a poisoned and a huge review
    texts = ["good film", "great " + "unheard " * 80, "good " * 50 + POISON + " good" * 20, "bad " * 5000]
    broker = FakeBroker([json.dumps({"id": str(n), "text": text}).encode() for n, text in enumerate(texts)], polls=1)
    # When the worker's own loop takes it
    settings = drain(broker, Classifier(bundle, engine), Metrics(), Health(60))
    # Then there is one outcome for each, in order
    topics = [settings.output_topic, settings.output_topic, settings.dead_letter_topic, settings.output_topic]
    assert [each.topic for each in broker.published] == topics
    assert dict(broker.published[2].headers)["dead-letter-reason"] == b"model_error"
    for place in (0, 1, 3):
        prediction = json.loads(broker.published[place].value or b"")
        assert prediction["probabilities"]["pos"] == pytest.approx(probability(texts[place]), abs=1e-5)
        assert prediction["tokens"] == min(len(texts[place].split()), MOST_WORDS) + 2
        assert prediction["truncated"] == (place == 3)
