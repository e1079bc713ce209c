"""A record that no broker would take whole is cut to what fits, and says so."""

import json
from dataclasses import replace

import pytest

from consumer.model.labeller import Scored
from consumer.pace import Pace
from consumer.records.fault import Detail, Fault, Reason
from consumer.records.messages import Model
from consumer.records.outcomes import Outcomes
from consumer.records.parse import ParsedReview
from consumer.records.record import Record
from consumer.service.metrics import Metrics
from consumer.settings import WorkerSettings

MOST = 65_536
SCORED = Scored("pos", 0.75, {"neg": 0.25, "pos": 0.75}, 4, False)


@pytest.fixture
def outcomes() -> Outcomes:
    """Outcomes with the smallest allowed limit."""
    model = Model(name="m", version="1", digest="0" * 64, variant="int8")
    return Outcomes(WorkerSettings(max_request_bytes=MOST), model)


def record(value: bytes | None, key: bytes | None = b"key", header: bytes | None = b"h") -> Record:
    """A record with one header."""
    return Record("reviews", 1, 2, 0, key, value, (("trace", header),))


def test_a_dead_letter_is_the_original_record(outcomes: Outcomes) -> None:
    """Key, value and headers are kept, null included, and the worker's headers come behind."""
    for value in (b"junk", b"", None):
        letter = outcomes.dead(record(value, key=None), Fault(Reason.NOT_JSON, Detail.SYNTAX, 0)).outgoing
        assert (letter.key, letter.value, letter.headers[0]) == (None, value, ("trace", b"h"))
        assert "dead-letter-cut" not in dict(letter.headers)


@pytest.mark.parametrize(
    ("value", "key", "header", "cut"),
    [
        (b"v" * MOST, b"key", b"h", b"value"),
        (b"v" * MOST, b"k" * 30_000, b"h" * 30_000, b"value"),
        (b"value", b"key", b"h" * MOST, b"value,headers,key"),
        (b"value", b"k" * MOST, b"h", b"value,headers,key"),
        (None, b"k" * MOST, b"h" * MOST, b"value,headers,key"),
    ],
)
def test_a_dead_letter_always_fits(outcomes: Outcomes, value: bytes, key: bytes, header: bytes, cut: bytes) -> None:
    """Whatever its size, the record to produce is within the limit, names what was cut, and keeps the digest."""
    letter = outcomes.dead(record(value, key, header), Fault(Reason.TOO_LARGE)).outgoing
    headers = dict(letter.headers)
    assert letter.size <= MOST
    assert headers["dead-letter-cut"] == cut
    assert headers["dead-letter-bytes"] == str(-1 if value is None else len(value)).encode()
    assert value is None or value.startswith(letter.value or b"")


def test_a_prediction_that_is_too_large_is_a_dead_letter(outcomes: Outcomes) -> None:
    """Carried fields may fill a record; then the review is a dead letter, not an endless retry."""
    review = ParsedReview("id", "text", {"x": "y" * MOST})
    outcome = outcomes.predicted(record(b"original"), review, SCORED)
    assert outcome.result == Fault(Reason.PREDICTION_TOO_LARGE)
    assert outcome.outgoing.topic == "reviews.dlq"


@pytest.mark.parametrize("unsure", [True, False, None])
def test_a_prediction_says_whether_it_is_unsure(outcomes: Outcomes, unsure: bool | None) -> None:
    """Where the bundle has a threshold; without one the field is absent, as before there were any."""
    scored = Scored("pos", 0.75, {"neg": 0.25, "pos": 0.75}, 4, False, unsure)
    value = outcomes.predicted(record(b""), ParsedReview("id", "text", {}), scored).outgoing.value
    assert value is not None
    prediction = json.loads(value)
    assert prediction.get("unsure") is unsure
    assert ("unsure" in prediction) == (unsure is not None)


def test_unsure_predictions_are_counted_when_they_are_committed(outcomes: Outcomes) -> None:
    """Those that are; not the sure ones, not those of a bundle without a threshold, not the dead letters."""
    metrics = Metrics()
    review = ParsedReview("id", "text", {})
    results = [
        outcomes.predicted(record(b""), review, replace(SCORED, unsure=each)) for each in (True, True, False, None)
    ]
    metrics.note_commit([*results, outcomes.dead(record(b"junk"), Fault(Reason.NOT_JSON, Detail.SYNTAX, 0))])
    assert metrics.registry.get_sample_value("reviews_unsure_total") == 2
    assert metrics.registry.get_sample_value("reviews_labelled_total", {"label": "pos"}) == 4


def test_a_null_header_becomes_an_empty_one(outcomes: Outcomes) -> None:
    """kafka-python cannot send a null header value."""
    outcome = outcomes.predicted(record(b"", header=None), ParsedReview("id", "text", {}), SCORED)
    assert outcome.outgoing.headers[0] == ("trace", b"")


NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("setting", "source_ms", "sent_ms"),
    [
        ("now", NOW_MS - 5, None),
        ("source", NOW_MS - 5, NOW_MS - 5),
        ("source", NOW_MS, NOW_MS),
        ("source", 0, 0),
        ("source", -1, None),
        ("source", NOW_MS + 1, None),
        ("source", 2**62, None),
    ],
)
def test_the_timestamp_of_what_is_written_is_a_setting(
    monkeypatch: pytest.MonkeyPatch, setting: str, source_ms: int, sent_ms: int | None
) -> None:
    """That of the input record if it has one that is not in the future, which a broker would refuse; else now."""
    monkeypatch.setattr("time.time", lambda: NOW_MS / 1000)
    model = Model(name="m", version="1", digest="0" * 64, variant="int8")
    made = Outcomes(WorkerSettings.model_validate({"output_timestamp": setting}), model)
    source = replace(record(b"junk"), timestamp_ms=source_ms)
    results = [
        made.predicted(source, ParsedReview("id", "text", {}), SCORED),
        made.dead(source, Fault(Reason.NOT_JSON, Detail.SYNTAX, 0)),
        made.dead(replace(source, value=b"v" * 2_000_000), Fault(Reason.TOO_LARGE)),
    ]
    assert [each.outgoing.timestamp_ms for each in results] == [sent_ms] * 3
    # Whatever the setting, the headers keep it.
    kept = {dict(each.outgoing.headers).get("source-timestamp") for each in results}
    assert kept == {None if source_ms < 0 else b"%d" % source_ms}


def test_the_pace_follows_the_engine() -> None:
    """Polls grow at most twofold up to what the target time allows, and shrink at once when reviews get slow."""
    pace = Pace(target_seconds=2.0, most=1000)
    seen = []
    for _ in range(6):
        pace.note(pace.records, pace.records / 100)  # 100 reviews a second
        seen.append(pace.records)
    assert seen == [64, 128, 200, 200, 200, 200]
    pace.note(200, 200 / 5)  # 5 reviews a second
    assert 1 <= pace.records <= 143
    for _ in range(30):
        pace.note(1, 60)
    assert pace.records == 1


def test_the_pace_learns_only_from_what_the_model_read() -> None:
    """A flood of dead letters and repeated texts costs nothing, and says nothing about the reviews behind it."""
    pace = Pace(target_seconds=2.0, most=1024)
    for _ in range(5):
        pace.note(11, 2.0)
    before = pace.records
    for _ in range(10):
        pace.note(0, 0.001)
    assert pace.records == before == 11


def test_one_slow_poll_is_enough_to_slow_down() -> None:
    """However fast the ones before it were: ten more like it would each take minutes."""
    pace = Pace(target_seconds=2.0, most=1024)
    for _ in range(10):
        pace.note(1024, 1024 / 20_000)
    assert pace.records == 1024
    pace.note(1024, 186.0)
    assert pace.records <= 40


def test_the_first_poll_is_not_larger_than_the_most() -> None:
    """Whoever wants one record at a time gets that from the beginning."""
    assert Pace(target_seconds=2.0, most=1).records == 1
    assert Pace(target_seconds=2.0, most=1000).records == 32
