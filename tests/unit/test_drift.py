"""A window of live reviews against the profile of the model: quiet on what it was made for, loud on anything else."""

import csv
import logging
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from consumer.model.bundle.profile import Answered, Feature, Profile
from consumer.model.cascade.bundle import load
from consumer.model.labeller import Scored
from consumer.model.opening import open_labeller
from consumer.records.fault import Fault, Reason
from consumer.records.messages import Model
from consumer.records.outcomes import Outcomes
from consumer.records.parse import ParsedReview
from consumer.records.progress import Progress
from consumer.records.record import Record
from consumer.service.drift import Drift
from consumer.service.metrics import Metrics
from consumer.settings import WorkerSettings
from tests.drifting import STEP, answers, by_feature, looks, loud_after, outcome
from tests.other_texts import complaints, german_reviews
from tests.unit.test_profile import profile

ROOT = Path(__file__).parents[2]
#: What `student-imdb` said of 5,000 film reviews that its profile was not measured on (tests/bench/drift.py).
FILM_ROWS = ROOT / "tests/data/film-rows.csv"
WINDOW = 1000

NEG = Answered("neg", 0.7, 50, "en", 0.0)
POS = Answered("pos", 0.95, 200, "en", 0.0)
GERMAN = Answered("neg", 0.5, 50, "de", 0.6)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def metrics() -> Metrics:
    """Of one worker."""
    return Metrics()


@pytest.fixture
def clock() -> Clock:
    """Of `drift`."""
    return Clock()


@pytest.fixture
def drift(metrics: Metrics, clock: Clock) -> Drift:
    """Compares with `profile()`; a window holds 200 reviews."""
    made = Drift(metrics.drift, metrics.drift_limit, metrics.drift_window, clock)
    made.restart(profile(), 200)
    return made


def note(drift: Drift, clock: Clock, reviews: Sequence[Answered]) -> None:
    """These are committed, a second after the ones before."""
    clock.now += 1
    drift.note(map(outcome, reviews))


def window(metrics: Metrics) -> float:
    """Reviews in it."""
    return value(metrics.registry, "reviews_drift_window_reviews")


def value(registry: CollectorRegistry, name: str) -> float:
    """That of the only series of a gauge."""
    found = registry.get_sample_value(name)
    assert found is not None
    return found


def test_few_reviews_say_nothing(drift: Drift, clock: Clock, metrics: Metrics) -> None:
    """No series until there are as many as the smallest limit is for; then all of them, with that limit."""
    note(drift, clock, [NEG] * 99)
    assert by_feature(metrics.drift) == by_feature(metrics.drift_limit) == {}
    assert window(metrics) == 99
    note(drift, clock, [NEG])
    assert by_feature(metrics.drift).keys() == set(Feature)
    assert by_feature(metrics.drift_limit) == dict.fromkeys(Feature, 0.05)


def test_a_fuller_window_has_the_limit_of_its_size(metrics: Metrics, clock: Clock) -> None:
    """More reviews, less chance."""
    drift = Drift(metrics.drift, metrics.drift_limit, metrics.drift_window, clock)
    drift.restart(profile(), 1500)
    note(drift, clock, [NEG] * 999)
    assert by_feature(metrics.drift_limit) == dict.fromkeys(Feature, 0.05)
    note(drift, clock, [NEG])
    assert by_feature(metrics.drift_limit) == dict.fromkeys(Feature, 0.02)


def test_only_the_last_reviews_count(drift: Drift, clock: Clock, metrics: Metrics) -> None:
    """The oldest ones leave the window, however the polls are cut."""
    note(drift, clock, [GERMAN] * 450)
    assert by_feature(metrics.drift)[Feature.LANGUAGE] == 1
    for _ in range(20):
        note(drift, clock, [NEG, POS] * 5)
    assert window(metrics) == 200
    found = by_feature(metrics.drift)
    assert found[Feature.LANGUAGE] == found[Feature.LABEL] == 0
    note(drift, clock, [GERMAN] * 20)
    assert 0 < by_feature(metrics.drift)[Feature.LANGUAGE] < 0.1


def test_dead_letters_do_not_count(drift: Drift, clock: Clock, metrics: Metrics) -> None:
    """They have no label, no score, and maybe no text."""
    outcomes = Outcomes(WorkerSettings(), Model(name="m", version="1", digest="0" * 64, variant="int8"))
    dead = outcomes.dead(Record("reviews", 0, 0, 0, None, b"junk"), Fault(Reason.NOT_JSON))
    clock.now += 1
    drift.note([dead, outcome(NEG), dead])
    assert window(metrics) == 1


def test_the_gauges_follow_once_a_second(drift: Drift, clock: Clock, metrics: Metrics) -> None:
    """Small polls do not pay for a comparison each; what came last is compared when the worker next looks around."""
    note(drift, clock, [NEG] * 100)
    before = by_feature(metrics.drift)
    drift.note(map(outcome, [GERMAN] * 100))
    assert by_feature(metrics.drift) == before
    drift.compare_if_due()
    assert by_feature(metrics.drift) == before
    clock.now += 1
    drift.compare_if_due()
    assert by_feature(metrics.drift)[Feature.LANGUAGE] > before[Feature.LANGUAGE]


def test_an_idle_worker_compares_its_last_reviews(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst and then silence: the probe for the lag is what still happens."""
    monkeypatch.setattr("consumer.service.drift.COMPARED_EVERY_SECONDS", 0.05)
    metrics.note_profile(profile(), 200)
    metrics.note_commit([outcome(NEG)] * 100)
    metrics.note_commit([outcome(GERMAN)] * 100)
    monkeypatch.setattr("consumer.service.drift.COMPARED_EVERY_SECONDS", 0.0)
    metrics.note_lag({0: Progress(200, 200)})
    assert by_feature(metrics.drift)[Feature.LANGUAGE] > 0.2


def test_another_model_begins_a_new_window(drift: Drift, clock: Clock, metrics: Metrics) -> None:
    """What the last model said is not held against the profile of the next one, nor left on the gauges."""
    note(drift, clock, [GERMAN] * 200)
    drift.restart(profile(), 200)
    assert by_feature(metrics.drift) == by_feature(metrics.drift_limit) == {}
    assert window(metrics) == 0
    note(drift, clock, [NEG, POS] * 50)
    assert by_feature(metrics.drift)[Feature.LANGUAGE] == 0
    drift.restart(None, 200)
    note(drift, clock, [NEG] * 200)
    assert by_feature(metrics.drift) == {}
    assert window(metrics) == 0


@pytest.mark.parametrize(
    ("known", "size", "line"),
    [
        (profile(), 200, "drift: the last 200 reviews are compared with a profile of 10 reviews of test.xlsx"),
        (None, 200, "drift is not watched: the bundle has no profile; review-training profile adds one"),
        (profile(), 0, "drift is not watched: drift_window is 0"),
    ],
)
def test_the_log_says_whether_drift_is_watched(
    metrics: Metrics, caplog: pytest.LogCaptureFixture, known: Profile | None, size: int, line: str
) -> None:
    """And if not, why; then nothing is counted."""
    with caplog.at_level(logging.INFO):
        metrics.note_profile(known, size)
    assert caplog.messages == [line]
    metrics.note_commit([outcome(NEG)] * 200)
    assert (by_feature(metrics.drift) != {}) == (known is not None and size > 0)


def test_a_window_that_says_nothing_is_refused() -> None:
    """With the fix in the message."""
    with pytest.raises(ValueError, match=r"drift_window 99 is too small .* set at least 100, or 0 to turn it off"):
        WorkerSettings(drift_window=99)
    assert WorkerSettings(drift_window=0).drift_window == 0
    assert WorkerSettings(drift_window=100).drift_window == 100


def test_languages_are_counted(metrics: Metrics) -> None:
    """By committed predictions."""
    metrics.note_commit([outcome(NEG), outcome(GERMAN), outcome(GERMAN)])
    for language, expected in {"en": 1, "de": 2, "fr": 0}.items():
        assert metrics.registry.get_sample_value("reviews_languages_total", {"language": language}) == expected


# What the issue is about: real film reviews are quiet, other texts are loud.


@pytest.fixture(scope="module")
def student() -> Profile:
    """The profile of the shipped `student-imdb`."""
    found = load(ROOT / "bundles/student-imdb").profile
    assert found is not None
    return found


@pytest.fixture(scope="module")
def films() -> list[Answered]:
    """5,000 film reviews, in the order of their file."""
    with FILM_ROWS.open(newline="") as file:
        rows = [
            Answered(row["label"], float(row["score"]), int(row["length"]), row["language"], float(row["unknown"]))
            for row in csv.DictReader(file)
        ]
    assert len(rows) == 5000
    return rows


@pytest.fixture(scope="module")
def others() -> dict[str, list[Answered]]:
    """What the student says of 2,000 complaints about products and 500 German film reviews, which are generated."""
    with closing(open_labeller(load(ROOT / "bundles/student-imdb"))) as labeller:
        return {
            "complaints": answers(labeller, complaints(2000, 7)),
            "german": answers(labeller, german_reviews(500, 7)),
        }


@pytest.mark.parametrize("size", [100, WINDOW])
def test_film_reviews_are_quiet(student: Profile, films: list[Answered], size: int) -> None:
    """None of 5,000 looks is loud, whatever the size of the window."""
    seen = list(looks(student, size, films))
    assert len(seen) == 5000 // STEP
    assert sum(bool(look.drift) for look in seen) > 450
    assert [look for look in seen if look.loud] == []


def test_complaints_are_loud(student: Profile, films: list[Answered], others: dict[str, list[Answered]]) -> None:
    """By their length and by how unsure the model is: at once after the start, else within 200 and 300 of them.

    Not by their labels: half of these complaints are `pos` to the model, as half of the film reviews are.
    """
    assert len(others["complaints"]) == 2000
    wanted = {Feature.LENGTH: 100, Feature.SCORE: 100}
    assert loud_after(student, WINDOW, [], others["complaints"]).items() >= wanted.items()
    found = loud_after(student, WINDOW, films[:WINDOW], others["complaints"])
    assert found[Feature.LENGTH] <= 200
    assert found[Feature.SCORE] <= 300
    *_, last = looks(student, WINDOW, others["complaints"])
    assert last.loud >= wanted.keys()


def test_german_reviews_are_loud(student: Profile, films: list[Answered], others: dict[str, list[Answered]]) -> None:
    """By their language first: at once after the start, and in the middle of film reviews within 50."""
    assert len(others["german"]) == 500
    assert loud_after(student, WINDOW, [], others["german"])[Feature.LANGUAGE] == 100
    assert loud_after(student, WINDOW, films[:WINDOW], others["german"])[Feature.LANGUAGE] <= 50


def test_a_review_carries_its_language(metrics: Metrics) -> None:
    """From the text to the outcome that is counted."""
    made = Outcomes(WorkerSettings(), Model(name="m", version="1", digest="0" * 64, variant="int8"))
    review = ParsedReview("1", german_reviews(1, 1)[0], {})
    scored = Scored("pos", 0.9, {"neg": 0.1, "pos": 0.9}, 9, False)
    found = made.predicted(Record("reviews", 0, 0, 0, None, b""), review, scored)
    assert found.language == "de"
