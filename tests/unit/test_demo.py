"""The demo's sample is what it claims to be, and the demo's check can fail."""

from dataclasses import replace

import pytest

from consumer.demo import sample
from consumer.demo.tally import Tally
from consumer.demo.traffic import Outcome, Sent
from consumer.records.fault import Reason
from consumer.records.parse import Limits, ParsedReview, parse
from consumer.records.record import Record

RECORDS = sample.load()


def test_every_sample_record_has_the_fate_that_it_is_there_for() -> None:
    """Reviews can be labelled, broken records get their reason, and both kinds are many."""
    for record in RECORDS:
        outcome = parse(Record("reviews", 0, 0, 0, record.key, record.value), Limits())
        found = None if isinstance(outcome, ParsedReview) else outcome.reason
        assert found is record.reason
    assert sum(record.reason is None for record in RECORDS) >= 200
    assert {record.reason for record in RECORDS} >= {Reason.TOMBSTONE, Reason.NOT_JSON, Reason.EMPTY_TEXT}


def test_the_reviews_are_different_and_of_many_lengths() -> None:
    """No text and no id comes twice; some reviews are a few words, some longer than the model reads."""
    reviews = [record.review for record in RECORDS if record.review is not None]
    assert len({review["text"] for review in reviews}) == len({review["id"] for review in reviews}) == len(reviews)
    words = [len(review["text"].split()) for review in reviews]
    assert min(words) < 5
    assert sum(count > 400 for count in words) >= 5


GOOD = next(record for record in RECORDS if record.reason is None)
BROKEN = next(record for record in RECORDS if record.reason is Reason.NOT_JSON)
SENT = {(0, 0): Sent(GOOD, 1.0), (0, 1): Sent(BROKEN, 2.0)}
LABELLED = Outcome((0, 0), b"{}", "pos", 0.9, sent=SENT[0, 0], age=0.1)
DEAD = Outcome((0, 1), BROKEN.value, reason="not_json", sent=SENT[0, 1], age=0.3)


@pytest.mark.parametrize(
    ("outcomes", "problems"),
    [
        ([LABELLED, DEAD], []),
        ([LABELLED], ["1 records without an outcome"]),
        ([LABELLED, LABELLED, DEAD], ["1 records with more than one outcome"]),
        ([LABELLED, DEAD, replace(DEAD, source=(1, 0))], ["1 records that were never sent"]),
        ([LABELLED, replace(DEAD, reason="empty_text")], ["1 records with the wrong kind of outcome"]),
        ([LABELLED, replace(DEAD, value=b"other")], ["1 records with other bytes in the dead letter"]),
    ],
)
def test_the_check_sees_each_broken_promise(outcomes: list[Outcome], problems: list[str]) -> None:
    """A lost, doubled, invented, misjudged or altered record is reported."""
    tally = Tally()
    for outcome in outcomes:
        tally.add(outcome)
    assert tally.problems(SENT) == problems
