"""Texts to labels on a real OpenVINO graph whose every answer is known, and on engines that fail."""

import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.errors import BundleError, GaveUp
from consumer.model.bundle.loading import Bundle, load_bundle
from consumer.model.bundle.manifest import Calibration, Source
from consumer.model.classifier import Classifier
from consumer.model.engines import open_engine
from consumer.model.engines.base import Engine, EngineFailure, Logits
from consumer.model.inference.batching import BatchPolicy, TokenBatch
from consumer.model.inference.computation import BATCHES_AT_ONCE
from consumer.model.labeller import Failed, Scored
from tests.tiny_bundle import INT8, MAX_LENGTH, POISON, WORTH, positive_probability, seal, write_tiny_bundle

TEXTS = st.lists(st.sampled_from([*WORTH, "unheard"]), max_size=2 * MAX_LENGTH).map(" ".join)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle, verified."""
    return load_bundle(write_tiny_bundle(tmp_path_factory.mktemp("classifier") / "bundle"))


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Iterator[Engine]:
    """A real engine on it, fp32, with two streams."""
    opened = open_engine(bundle, threads=2)
    yield opened
    opened.close()


class Failing:
    """An engine that fails on the batches that `fails` picks, and counts those it was given."""

    variant = "fp32"

    def __init__(self, engine: Engine, fails: Callable[[TokenBatch], bool]) -> None:
        self._engine = engine
        self._fails = fails
        self.policy = BatchPolicy(token_budget=2048, max_rows=64)
        self.asked = 0

    def infer(self, batches: Sequence[TokenBatch]) -> list[Logits | EngineFailure]:
        """What the real engine answers, or a failure."""
        self.asked += len(batches)
        results = self._engine.infer(batches)
        return [EngineFailure("OutOfMemory") if self._fails(b) else r for b, r in zip(batches, results, strict=True)]

    def close(self) -> None:
        """The real engine is closed by its owner."""


def assert_scored(result: Scored | Failed, text: str) -> None:
    """`result` is the known answer to `text`."""
    assert isinstance(result, Scored)
    assert result.probabilities["pos"] == pytest.approx(positive_probability(text), abs=1e-5)
    assert sum(result.probabilities.values()) == pytest.approx(1)
    assert result.score == max(result.probabilities.values()) == result.probabilities[result.label]


@given(texts=st.lists(TEXTS, max_size=60), token_budget=st.integers(1, 4096))
@settings(max_examples=40)
def test_each_text_gets_its_own_answer_in_order(
    bundle: Bundle, engine: Engine, texts: list[str], token_budget: int
) -> None:
    """Whatever the lengths, the repetitions and the batch size: alone or in company, a text is answered the same."""
    classified = Classifier(bundle, engine, token_budget=token_budget).classify(texts)
    assert len(classified.results) == len(texts)
    for text, result in zip(texts, classified.results, strict=True):
        assert_scored(result, text)
        assert isinstance(result, Scored)
        assert result.tokens == min(len(text.split()) + 2, MAX_LENGTH)
        assert result.truncated == (len(text.split()) + 2 > MAX_LENGTH)


def test_the_cost_of_a_call_is_told_and_equal_texts_are_computed_once(bundle: Bundle, engine: Engine) -> None:
    """Three texts, two of them equal: 3 + 5 tokens, padded to two rows of 16."""
    stats = Classifier(bundle, engine).classify(["good", "the film was", "good"]).stats
    assert (stats.tokens, stats.padded_tokens, stats.batches) == (3 + 5, 2 * 16, 2)
    assert stats.tokenise_seconds > 0
    assert stats.infer_seconds > 0


def test_a_long_call_gives_signs_of_life_and_the_same_answers(bundle: Bundle, engine: Engine) -> None:
    """Some batches at a time: the watchdog knows a poll of nothing but long texts from a hang."""
    texts = [f"{'good ' * (n % 20)}film {n}" for n in range(300)]
    signs: list[int] = []
    classified = Classifier(bundle, engine, token_budget=16).classify(texts, lambda: signs.append(1))
    assert len(signs) == -(-classified.stats.batches // (BATCHES_AT_ONCE * engine.policy.parallel)) > 2
    for text, result in zip(texts, classified.results, strict=True):
        assert_scored(result, text)


class Slow:
    """An engine that takes 1 ms for each padded token, by a clock of its own."""

    variant = "fp32"
    policy = BatchPolicy(token_budget=512, max_rows=64)

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self._engine = engine
        self.now = 0.0
        monkeypatch.setattr("consumer.model.classifier.time.perf_counter", lambda: self.now)

    def infer(self, batches: Sequence[TokenBatch]) -> list[Logits | EngineFailure]:
        """What the real engine answers, later."""
        self.now += sum(batch.ids.size for batch in batches) / 1000
        return self._engine.infer(batches)

    def close(self) -> None:
        """The real engine is closed by its owner."""


@pytest.mark.parametrize(("seconds", "fitting"), [(0.0, 1), (0.01, 1), (0.165, 10), (0.33, 20), (1.0, 41), (None, 200)])
def test_only_as_many_texts_are_computed_as_fit_into_the_time(
    bundle: Bundle, engine: Engine, monkeypatch: pytest.MonkeyPatch, seconds: float | None, fitting: int
) -> None:
    """Twenty short texts of 16 ms, then long ones of 32 ms: the first ones that fit, at least one, in their order."""
    slow = Slow(engine, monkeypatch)
    classifier = Classifier(bundle, slow)
    classifier.classify(["good film"])
    texts = [f"good unheard{n}" for n in range(20)] + ["bad " * 20 + f"unheard{n}" for n in range(180)]
    started = slow.now
    classified = classifier.classify(texts, seconds=seconds)
    assert len(classified.results) == classified.stats.texts == fitting
    for text, result in zip(texts, classified.results, strict=False):
        assert_scored(result, text)
    # A batch with short and long texts is a little more padded than was expected.
    assert seconds is None or slow.now - started <= max(1.2 * seconds, 0.016)


def test_the_time_of_a_text_is_measured_on_full_loads(
    bundle: Bundle, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that becomes four times slower is believed within a few calls, and one slow short text is not."""
    slow = Slow(engine, monkeypatch)
    classifier = Classifier(bundle, slow)
    texts = [f"good unheard{n}" for n in range(500)]
    assert len(classifier.classify(texts, seconds=1.0).results) == 500  # nothing is known yet
    assert len(classifier.classify(texts, seconds=1.61).results) == 100
    infer, late = slow.infer, [1.0]

    def slower(batches: Sequence[TokenBatch]) -> list[Logits | EngineFailure]:
        slow.now += late[0] * sum(batch.ids.size for batch in batches) / 1000
        return infer(batches)

    monkeypatch.setattr(slow, "infer", slower)
    late[0] = 9.0
    classifier.classify(["good film"])
    assert len(classifier.classify(texts, seconds=1.61).results) > 80
    late[0] = 3.0
    counts = [len(classifier.classify(texts, seconds=1.61).results) for _ in range(6)]
    assert counts[-1] == pytest.approx(25, abs=3)


def test_equal_texts_count_once_against_the_time(
    bundle: Bundle, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results end before the first text that was not computed; repetitions of the others are free."""
    classifier = Classifier(bundle, Slow(engine, monkeypatch))
    classifier.classify(["good film"])
    texts = ["good", "bad", "good", "good", "bad", "great", "good"]
    results = classifier.classify(texts, seconds=0.035).results
    assert len(results) == 5
    for text, result in zip(texts, results, strict=False):
        assert_scored(result, text)


def test_no_texts_no_results(bundle: Bundle, engine: Engine) -> None:
    """An idle poll costs nothing."""
    classified = Classifier(bundle, engine).classify([])
    assert classified.results == []
    assert classified.stats.batches == 0


@pytest.mark.parametrize(
    "text", ["", " ", "\x00", "a\x00b", "😀" * 50, "\u0301" * 5000, "가나다", "\u202e\u2066", "x" * 900_000]
)
def test_odd_texts_are_labelled_like_any_other(bundle: Bundle, engine: Engine, text: str) -> None:
    """Empty, NUL, emoji, stacked accents, directions, 900 kB in one word; and their neighbours are not disturbed."""
    odd, neighbour = Classifier(bundle, engine).classify([text, "good film"]).results
    assert isinstance(odd, Scored)
    assert_scored(neighbour, "good film")


def test_a_text_that_the_tokenizer_refuses_costs_only_itself(bundle: Bundle, engine: Engine) -> None:
    """A lone surrogate cannot be encoded; the rest is labelled."""
    results = Classifier(bundle, engine).classify(["good", "\ud800", "bad film"]).results
    assert results[1] == Failed("NotTokenised")
    assert_scored(results[0], "good")
    assert_scored(results[2], "bad film")


@given(st.sets(st.integers(0, 39)), st.integers(1, 1024))
@settings(max_examples=40)
def test_texts_without_a_number_cost_only_themselves(
    bundle: Bundle, engine: Engine, poisoned: set[int], token_budget: int
) -> None:
    """The graph answers NaN to some of forty texts: exactly these fail."""
    texts = ["good " * (n % 7) + (POISON if n in poisoned else f"film unheard{n}") for n in range(40)]
    results = Classifier(bundle, engine, token_budget=token_budget).classify(texts).results
    for number, (text, result) in enumerate(zip(texts, results, strict=True)):
        if number in poisoned:
            assert result == Failed("NotFinite")
        else:
            assert_scored(result, text)


@pytest.mark.parametrize("rows_that_fit", [1, 2, 3, 7, 100])
def test_batches_that_do_not_fit_are_halved_until_they_do(bundle: Bundle, engine: Engine, rows_that_fit: int) -> None:
    """Every text is labelled, however little memory there is."""
    texts = [f"good unheard{n}" for n in range(50)]
    failing = Failing(engine, lambda batch: len(batch.ids) > rows_that_fit)
    for text, result in zip(texts, Classifier(bundle, failing).classify(texts).results, strict=True):
        assert_scored(result, text)


def test_one_bad_text_among_many_is_found_in_few_steps(bundle: Bundle, engine: Engine) -> None:
    """64 texts of which one makes its batch fail: two batches and one golden text for each halving."""
    texts = [f"film unheard{n}" for n in range(63)] + ["film " * 6]
    failing = Failing(engine, lambda batch: bool((batch.mask.sum(axis=1) == 8).any()))
    results = Classifier(bundle, failing).classify(texts).results
    assert results[-1] == Failed("OutOfMemory")
    assert all(isinstance(result, Scored) for result in results[:-1])
    assert failing.asked <= 1 + 6 * 2 + 7


def test_many_bad_texts_are_not_a_broken_engine(bundle: Bundle, engine: Engine) -> None:
    """A poll of nothing but bad texts becomes dead letters, for a golden text is still answered."""
    results = Classifier(bundle, engine).classify([f"{POISON} unheard{'x' * n}" for n in range(20)]).results
    assert results == [Failed("NotFinite")] * 20


def test_a_broken_engine_gives_up_before_it_condemns_a_text(bundle: Bundle, engine: Engine) -> None:
    """One failing review is enough to ask a golden text, so that a broken engine never fills the dead letters."""
    # Given an engine that breaks after its start
    broken = False
    failing = Failing(engine, lambda _: broken)
    classifier = Classifier(bundle, failing)
    classifier.self_check()
    # When it fails on a single review, then the worker ends, to be started again
    broken = True
    before = failing.asked
    with pytest.raises(GaveUp, match="golden text") as raised:
        classifier.classify(["good film"])
    assert raised.value.exit_code == 5
    # And it did not halve its way through a large poll first
    with pytest.raises(GaveUp):
        classifier.classify([f"film unheard{n}" for n in range(60)])
    assert failing.asked - before == 4


@pytest.mark.parametrize("variant", ["fp32", "bf16", "int8"])
def test_a_correct_bundle_passes_its_golden_texts(bundle: Bundle, variant: str) -> None:
    """In every precision."""
    classifier = Classifier(bundle, open_engine(bundle, variant, threads=1))
    classifier.self_check()
    assert classifier.variant == variant
    classifier.close()


class Fixed:
    """An engine that answers every text with the same logits."""

    variant = "fp32"
    policy = BatchPolicy(token_budget=2048, max_rows=64)

    def __init__(self, *logits: float) -> None:
        self._logits = np.array(logits, dtype=np.float32)

    def infer(self, batches: Sequence[TokenBatch]) -> list[Logits | EngineFailure]:
        """The logits, once for each text."""
        return [np.tile(self._logits, (len(batch.ids), 1)) for batch in batches]

    def close(self) -> None:
        """Nothing to free."""


def with_calibration(bundle: Bundle, **changes: float | None) -> Bundle:
    """The tiny bundle with a temperature of 2 and a threshold of 0.9, or what `changes` say."""
    calibration = Calibration(
        temperature=2,
        threshold=0.9,
        target_precision=0.98,
        ece_before=0.1,
        ece_after=0.1,
        variant="fp32",
        data=Source(file="held.xlsx", sha256="0" * 64, rows=100),
    ).model_copy(update=changes)
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"calibration": calibration}))


@given(
    logits=st.tuples(*[st.floats(-1e4, 1e4, width=32)] * 2),
    temperature=st.floats(0.01, 100),
    sharpening=st.floats(0, 100),
)
def test_calibration_never_changes_a_label(
    bundle: Bundle, logits: tuple[float, float], temperature: float, sharpening: float
) -> None:
    """However close the logits and however extreme the numbers; and the score is still the highest probability."""
    plain = Classifier(bundle, Fixed(*logits)).classify(["good"]).results[0]
    calibrated = with_calibration(bundle, temperature=temperature, sharpening=sharpening)
    (result,) = Classifier(calibrated, Fixed(*logits)).classify(["good"]).results
    assert isinstance(plain, Scored)
    assert isinstance(result, Scored)
    assert result.label == plain.label == ("pos" if logits[1] > logits[0] else "neg")
    assert result.score == max(result.probabilities.values())
    assert sum(result.probabilities.values()) == pytest.approx(1)


def test_logits_are_divided_by_the_temperature(bundle: Bundle) -> None:
    """Two labels four apart are two apart at temperature 2."""
    (result,) = Classifier(with_calibration(bundle), Fixed(-1, 3)).classify(["good"]).results
    assert isinstance(result, Scored)
    assert result.probabilities["pos"] == pytest.approx(1 / (1 + math.exp(-2)))


def test_the_sharpening_of_the_bundle_is_applied(bundle: Bundle) -> None:
    """Two labels two apart at temperature 2 are 2 * (1 + 0.2 * 4) apart."""
    sharpened = with_calibration(bundle, sharpening=0.2)
    (result,) = Classifier(sharpened, Fixed(-1, 3)).classify(["good"]).results
    assert isinstance(result, Scored)
    assert result.probabilities["pos"] == pytest.approx(1 / (1 + math.exp(-3.6)))


@pytest.mark.parametrize(("threshold", "unsure"), [(0.9, True), (0.85, False), (None, None)])
def test_a_score_below_the_threshold_is_unsure(bundle: Bundle, threshold: float | None, unsure: bool | None) -> None:
    """The calibrated score, 0.88 here, decides; without a threshold nothing is said."""
    (result,) = Classifier(with_calibration(bundle, threshold=threshold), Fixed(-1, 3)).classify(["good"]).results
    assert isinstance(result, Scored)
    assert result.unsure is unsure


def test_a_score_at_the_threshold_is_sure(bundle: Bundle) -> None:
    """The promise of a precision is for the scores at or above it."""
    calibrated = with_calibration(bundle, threshold=0.5)
    (result,) = Classifier(calibrated, Fixed(1, 1)).classify(["good"]).results
    assert isinstance(result, Scored)
    assert (result.score, result.unsure) == (0.5, False)


def _swap_labels(path: Path) -> None:
    seal(path, labels=("pos", "neg"))


def _other_labels(path: Path) -> None:
    seal(path, labels=("bad", "good"))


def _other_tokenizer(path: Path) -> None:
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["good"], vocabulary["awful"] = vocabulary["awful"], vocabulary["good"]
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    seal(path)


def _other_truncation(path: Path) -> None:
    golden = json.loads((path / "golden.json").read_text())
    text = "awful " + "unheard " * 38 + "great great"
    probabilities = {"pos": positive_probability(text), "neg": 1 - positive_probability(text)}
    golden["texts"] = [{"text": text, "probabilities": {"fp32": probabilities}}]
    (path / "golden.json").write_text(json.dumps(golden))
    seal(path, truncation="head")


def _no_answers(path: Path) -> None:
    golden = json.loads((path / "golden.json").read_text())
    del golden["texts"][0]["probabilities"]["fp32"]
    (path / "golden.json").write_text(json.dumps(golden))
    seal(path)


@pytest.mark.parametrize("mistake", [_swap_labels, _other_labels, _other_tokenizer, _other_truncation, _no_answers])
def test_a_bundle_put_together_wrongly_is_refused(tmp_path: Path, mistake: Callable[[Path], None]) -> None:
    """Every sum is right, yet the answers are not those that were measured; the line shows no text."""
    path = write_tiny_bundle(tmp_path / "bundle")
    mistake(path)
    bundle = load_bundle(path)
    classifier = Classifier(bundle, open_engine(bundle, threads=1))
    with pytest.raises(BundleError, match=r"golden text [01]") as raised:
        classifier.self_check()
    assert "film" not in str(raised.value)
    classifier.close()


@pytest.mark.parametrize(
    ("files", "compute", "told"),
    [(INT8, "fp32", "quantised but is not called int8"), (INT8[::-1], "bf16", "not called int8")],
)
def test_another_precision_than_the_manifest_says_is_refused(
    tmp_path: Path, files: tuple[str, str], compute: str, told: str
) -> None:
    """Answers of two precisions are too close for golden texts to tell them apart, so the graph is looked at."""
    variants = {"fp32": {"engine": "openvino", "compute": compute, "files": files}}
    bundle = load_bundle(seal(write_tiny_bundle(tmp_path / "bundle"), variants=variants))
    with pytest.raises(BundleError, match=told):
        open_engine(bundle)


def test_a_model_that_fails_on_its_golden_texts_is_refused(bundle: Bundle, engine: Engine) -> None:
    """At the start that is a fault of the bundle (exit code 3), not one that a restart mends."""
    classifier = Classifier(bundle, Failing(engine, lambda _: True))
    with pytest.raises(BundleError, match="fails on its golden texts"):
        classifier.self_check()


def test_a_token_budget_that_does_not_fit_is_told_at_the_start(
    bundle: Bundle, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """Batches of full size are computed before anyone waits; the warning says which setting to lower."""
    failing = Failing(engine, lambda batch: batch.ids.size > 20 * MAX_LENGTH)
    with caplog.at_level(logging.WARNING):
        Classifier(bundle, failing, token_budget=30 * MAX_LENGTH).self_check()
    assert "lower token_budget" in caplog.text


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("good film", 0.0),
        ("good unheard film", 0.3333),
        ("unheard film", 0.5),
        ("unheard words", 1.0),
        ("\N{SMILING FACE WITH HEART-SHAPED EYES}" * 3, 1.0),
        ("unheard " * 100, 1.0),
    ],
)
@pytest.mark.parametrize("threshold", [None, 0.5])
def test_a_prediction_says_which_share_of_the_words_it_does_not_know(
    bundle: Bundle, engine: Engine, threshold: float | None, text: str, unknown: float
) -> None:
    """With more than half of them it is unsure, whatever its score, with and without a threshold."""
    (result,) = Classifier(with_calibration(bundle, threshold=threshold), engine).classify([text]).results
    assert isinstance(result, Scored)
    assert result.unknown == unknown
    assert result.unsure is (True if unknown > 0.5 else None if threshold is None else False)


def test_a_bundle_is_served_by_the_rules_of_its_format(bundle: Bundle, engine: Engine) -> None:
    """Format 1 reads a full-width word as an unknown one, as it was measured; format 2 reads the word."""
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in "great")
    scores = []
    for number in (1, 2):
        served = replace(bundle, manifest=bundle.manifest.model_copy(update={"format": number}))
        (result,) = Classifier(served, engine).classify([wide]).results
        assert isinstance(result, Scored)
        scores.append(result.probabilities["pos"])
    assert scores == pytest.approx([0.5, positive_probability("great")], abs=1e-4)


def test_punctuation_is_no_word(bundle: Bundle, engine: Engine) -> None:
    """A text of an emoji and of punctuation that the tokenizer knows has no known word."""
    tokenizer = json.loads(bundle.tokenizer_json)
    tokenizer["model"]["vocab"]["the"], tokenizer["model"]["vocab"]["!"] = 99, tokenizer["model"]["vocab"]["the"]
    odd = replace(bundle, tokenizer_json=json.dumps(tokenizer))
    results = Classifier(odd, engine).classify(["!!!", "\N{THUMBS UP SIGN}!!!", "good!!!"]).results
    assert [(result.unknown, result.unsure) for result in results if isinstance(result, Scored)] == [
        (1.0, True),
        (1.0, True),
        (0.0, None),
    ]
