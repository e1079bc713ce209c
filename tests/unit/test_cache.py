"""Answers that are kept: the ones that were computed, of this bundle, as many as there is room for."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from consumer.model.bundle.loading import load_bundle
from consumer.model.bundle.manifest import Manifest
from consumer.model.cache import CLEANED_CHARACTERS, Cache
from consumer.model.classifier import Classifier
from consumer.model.engines import open_engine
from consumer.model.labeller import Classified, Failed, Scored, Stats
from consumer.model.texts.cleaning import clean
from consumer.model.texts.encoder import UNCLEANED_CHARACTERS_PER_TOKEN
from tests.tiny_bundle import TOLERANCE, WORTH, write_tiny_bundle

#: One percent of what the fastest of the shipped models takes for a review of 1,300 characters, in seconds.
ONE_PERCENT = 0.01 / 380


class Counting:
    """A labeller without a model: its score is a new one each time, and long texts fail."""

    variant, labels = "none", ("neg", "pos")

    def __init__(self, digest: str = "a" * 64) -> None:
        self.digest = digest
        self.asked: list[list[str]] = []

    def classify(
        self, texts: Sequence[str], _at_work: Callable[[], None] = lambda: None, seconds: float | None = None
    ) -> Classified:
        """As many of the texts as there are `seconds`."""
        self.asked.append(list(texts))
        done = texts if seconds is None else texts[: int(seconds)]
        results = [Failed("NaN") if text == "bad" else scored(random.random()) for text in done]
        return Classified(results, Stats(texts=len(results)))

    def clean(self, text: str) -> str:
        """As a bundle of the latest format."""
        return clean(text)

    def self_check(self, _at_work: Callable[[], None] = lambda: None) -> None:
        """Nothing to check."""

    def close(self) -> None:
        """Nothing to close."""


def scored(positive: float) -> Scored:
    """An answer with this probability."""
    return Scored("pos", positive, {"neg": 1 - positive, "pos": positive}, 3, False)


@pytest.fixture(params=["fp32", "int8"])
def tiny(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Classifier]:
    """A real, small model."""
    bundle = load_bundle(write_tiny_bundle(tmp_path / "tiny", served=request.param))
    classifier = Classifier(bundle, open_engine(bundle, None, 1))
    yield classifier
    classifier.close()


def test_kept_answers_are_those_that_the_model_computes(tiny: Classifier) -> None:
    """Polls of texts that come again get what the model says of them, within what batches change, and are counted."""
    lookups: list[tuple[int, int]] = []
    cache = Cache(tiny, 50, lambda *each: lookups.append(each))
    draw = random.Random(7)
    texts = [" ".join(draw.choices(list(WORTH), k=draw.randint(1, 60))) for _ in range(80)]
    checked = 0
    for _ in range(20):
        poll = draw.choices(texts, k=30)
        for text, kept, computed in zip(poll, cache.classify(poll).results, tiny.classify(poll).results, strict=True):
            assert isinstance(kept, Scored)
            assert isinstance(computed, Scored)
            assert kept.probabilities["pos"] == pytest.approx(
                computed.probabilities["pos"], abs=TOLERANCE[tiny.variant]
            ), text
            assert (kept.tokens, kept.truncated) == (computed.tokens, computed.truncated)
            checked += 1
    assert checked == 600
    assert sum(hits for hits, _ in lookups) > 200
    assert all(0 < hits + misses <= 30 for hits, misses in lookups)


def test_an_answer_is_computed_once_and_stays_the_same() -> None:
    """A retried poll is answered as before; texts that differ only before they are cleaned share an answer."""
    labeller = Counting()
    cache = Cache(labeller, 10)
    first = cache.classify(["good<br>film", "bad film", "good\nfilm"]).results
    assert first[0] is first[2]
    assert labeller.asked == [["good<br>film", "bad film"]]
    assert cache.classify(["bad film", "good<br />film"]).results == [first[1], first[0]]
    assert labeller.asked[1:] == [[]]


def test_the_cache_is_bounded_and_forgets_what_was_not_asked_for_longest() -> None:
    """Whatever comes, no more than `size` answers are kept; a text that comes again and again stays."""
    labeller = Counting()
    cache = Cache(labeller, 3)
    great = cache.classify(["Great!"]).results
    for number in range(100):
        cache.classify([f"a {number}", f"b {number}"])
        assert cache.classify(["Great!"]).results == great
        assert len(cache._answers) <= 3
    assert cache.classify(["a 98"]).results
    assert labeller.asked[-1] == ["a 98"]


def test_failures_are_not_kept() -> None:
    """A text on which the model failed for want of memory may work the next time."""
    labeller = Counting()
    cache = Cache(labeller, 10)
    assert cache.classify(["bad", "good"]).results[0] == Failed("NaN")
    cache.classify(["bad", "good"])
    assert labeller.asked[1] == ["bad"]


def test_answers_are_those_of_one_bundle() -> None:
    """The same text has another key with another bundle."""
    one, other = (Cache(Counting(digest * 64), 10) for digest in "ab")
    assert one._key("good") == Cache(Counting("a" * 64), 10)._key("good")
    assert one._key("good") != other._key("good")


def test_texts_that_may_be_cut_before_they_are_cleaned_are_told_apart() -> None:
    """Two long texts that are equal when cleaned may be read in different parts."""
    shortest = Manifest.model_fields["max_length"].metadata[0].ge
    assert shortest * UNCLEANED_CHARACTERS_PER_TOKEN >= CLEANED_CHARACTERS
    cache = Cache(Counting(), 10)
    long = "x" * (CLEANED_CHARACTERS - 20)
    assert cache._key(long + "<br>") == cache._key(long + "\n")
    assert cache._key(long * 2 + "<br>") != cache._key(long * 2 + "\n")
    assert cache._key(long * 2) == cache._key(long * 2)


def test_as_many_of_the_first_texts_are_answered_as_fit_into_the_time() -> None:
    """Known answers cost nothing; the first text that is not computed ends the poll, also if later ones are known."""
    labeller = Counting()
    cache = Cache(labeller, 10)
    known = cache.classify(["k"]).results[0]
    results = cache.classify(["k", "a", "k", "b", "a", "c", "k"], seconds=2).results
    assert len(results) == 5
    assert results[0] is results[2] is known
    assert results[1] is results[4]
    assert labeller.asked[-1] == ["a", "b", "c"]
    assert cache.classify([], seconds=0).results == []


def test_distinct_texts_cost_less_than_a_percent() -> None:
    """Looking up, and keeping, a text that never comes again, against the fastest of the shipped models."""
    words = list(WORTH)
    draw = random.Random(7)
    polls = [[" ".join(draw.choices(words, k=260)) + f" {n} {m}" for n in range(200)] for m in range(10)]
    assert 1100 < len(polls[0][0]) < 1500
    labeller = Counting()
    cache = Cache(labeller, 1000)
    seconds = []
    for poll in polls:
        began = time.thread_time()
        cache.classify(poll)
        between = time.thread_time()
        labeller.classify(poll)
        seconds.append((between - began) - (time.thread_time() - between))
    assert min(seconds) / 200 < ONE_PERCENT
