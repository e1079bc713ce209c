"""Records that a producer should not have sent, and what becomes of them beside good ones."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource
from kafka.serializer import Serializer

from consumer.kafka import fixes
from consumer.kafka.fixes.records import HeaderName
from consumer.records.messages import Reason
from tests.fake_model import NAN_MARK, OUT_OF_MEMORY_MARK
from tests.fake_worker import Script
from tests.harness import Harness
from tests.kafka_helpers import Record, end_offsets, read_all
from tests.record import header_bytes
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

GOOD = b'{"text": "good"}'
POISON = {
    b"": Reason.NOT_JSON,
    b"{": Reason.NOT_JSON,
    b"{'text': 'single quotes'}": Reason.NOT_JSON,
    b'{"text": "cut': Reason.NOT_JSON,
    b'{"text": "a"} trailing': Reason.NOT_JSON,
    b'{"text": "twice", "text": "twice"}': Reason.NOT_JSON,
    b'{"text": "a", "x": NaN}': Reason.NOT_JSON,
    b"null": Reason.NOT_AN_OBJECT,
    b'"text"': Reason.NOT_AN_OBJECT,
    b'[{"text": "a"}]': Reason.NOT_AN_OBJECT,
    b"{}": Reason.INVALID_TEXT,
    b'{"texts": "a"}': Reason.INVALID_TEXT,
    b'{"text": null}': Reason.INVALID_TEXT,
    b'{"text": 7}': Reason.INVALID_TEXT,
    b'{"text": ["a"]}': Reason.INVALID_TEXT,
    b'{"text": ""}': Reason.EMPTY_TEXT,
    b'{"text": " \\n\\t"}': Reason.EMPTY_TEXT,
    b'{"text": "a", "id": "with space"}': Reason.INVALID_ID,
    b'{"text": "a", "id": "line\\r\\nbreak"}': Reason.INVALID_ID,
    b'{"text": "a", "id": ""}': Reason.INVALID_ID,
    b'{"text": "a", "id": true}': Reason.INVALID_ID,
    b'{"text": "a", "id": 1.5}': Reason.INVALID_ID,
}
CORRUPT = {
    b'{"text": "bad utf-8 \xff"}': Reason.NOT_JSON,
    b'{"text": "cut utf-8 \xc3"}': Reason.NOT_JSON,
    b'{"text": "lone surrogate \\ud800"}': Reason.NOT_JSON,
    b'{"text": "raw surrogate \xed\xa0\x80"}': Reason.NOT_JSON,
    b'\xef\xbb\xbf{"text": "byte order mark"}': Reason.NOT_JSON,
    b"[" * 100_000: Reason.NOT_JSON,
    b'{"text": "deep", "x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}": Reason.NOT_JSON,
    b"\x00\x01\x02\xff" * 64: Reason.NOT_JSON,
}


@pytest.mark.smoke
def test_row_09_a_poison_pill_is_a_dead_letter_among_predictions(harness: Harness) -> None:
    """Each kind of bad record becomes a dead letter with its reason, unchanged; its neighbours are labelled."""
    # Given bad records between good ones, 1 % of a larger stream
    pills = [Record(value, b"key", [("trace", b"1")], 0) for value in POISON]
    harness.produce(len(pills) * 50)
    for pill in pills:
        harness.produce_records([pill], dead=True)
        harness.produce_records([Record(GOOD, partition=0)])
    harness.produce(len(pills) * 50)
    harness.watch()
    # When they are worked on, then predictions and dead letters are as many as inputs
    worker = harness.worker(max_poll_records=1000)
    found = harness.finish()
    assert (found.predicted, found.dead) == (len(pills) * 101, len(pills))
    assert _reasons(harness) == Counter(reason.value for reason in POISON.values())
    # And the metrics say the same, with labels from that closed set
    assert worker.log.count("Traceback") == 0


@pytest.mark.smoke
def test_row_10_bytes_that_are_no_text_are_dead_letters(harness: Harness) -> None:
    """Invalid UTF-8, lone surrogates, deep nesting and random bytes never stop the partition."""
    # Given such values, and a header whose name is not UTF-8, which kafka-python cannot read by itself
    harness.produce_records([Record(value, partition=0) for value in CORRUPT], dead=True)
    fixes.apply()
    odd = HeaderName(b"\xff\xfename")
    harness.produce_records([Record(GOOD, b"k", [(odd, b"1"), ("plain", b"2")], 0), Record(GOOD, partition=0)])
    # When they are worked on
    harness.worker()
    harness.await_done()
    harness.stop()
    # Then each has its outcome, and the odd header name comes out as it went in, byte by byte
    found = harness.verdict()
    assert (found.predicted, found.dead) == (2, len(CORRUPT))
    assert _reasons(harness) == Counter(reason.value for reason in CORRUPT.values())
    first, _ = read_all(harness.topics.bootstrap, harness.topics.output)
    assert header_bytes(first.headers)[0] == (b"\xff\xfename", b"1")


@pytest.mark.smoke
def test_row_11_a_tombstone_is_a_dead_letter(harness: Harness) -> None:
    """A null value, with or without a key, is a dead letter with a null value."""
    # Given tombstones, one without a key
    harness.produce_records([Record(None, b"k", partition=0), Record(GOOD, b"k", partition=0)])
    # kafka-python refuses to send a null value without a key, which Kafka allows.
    (keyless,) = harness.produce_records([Record(b"", partition=0)], value_serializer=_Null())
    harness.produced[-1] = replace(keyless, value=None)
    # When they are worked on, then both are dead letters, and the oracle saw that their values are null
    harness.worker()
    found = harness.finish()
    assert (found.predicted, found.dead) == (1, 2)
    assert _reasons(harness) == {"tombstone": 2}


@pytest.mark.smoke
def test_row_16_only_the_reviews_that_the_model_fails_on_are_dead_letters(harness: Harness) -> None:
    """Out of memory or not a number: the batch is halved until the bad review is alone; the others are labelled."""
    # Given reviews that no batch survives, among good ones, and an engine that fits 3 at a time
    harness.produce(90)
    harness.produce_records(
        [
            Record(json.dumps({"text": f"{mark} {n}"}).encode(), partition=n % 4)
            for n in range(5)
            for mark in (NAN_MARK, OUT_OF_MEMORY_MARK)
        ]
    )
    harness.produce(90)
    harness.watch()
    # When they are worked on, then those ten are dead letters
    harness.worker(Script(rows_that_fit=3))
    found = harness.finish()
    assert (found.predicted, found.dead) == (180, 10)
    assert _reasons(harness) == {"model_error": 10}


@pytest.mark.smoke
def test_reviews_of_an_aborted_transaction_are_not_labelled(harness: Harness) -> None:
    """What a transactional producer of reviews has taken back is never read; what stands around it is, in order."""
    # Given reviews of an aborted transaction between those of two committed ones
    producer = KafkaProducer(bootstrap_servers=harness.topics.bootstrap, transactional_id=harness.topics.group + "-up")
    producer.init_transactions()
    for text, finish in (
        (b"kept", producer.commit_transaction),
        (b"taken back", producer.abort_transaction),
        (b"kept", producer.commit_transaction),
    ):
        producer.begin_transaction()
        value = b'{"text": "%s"}' % text
        sent = [producer.send(harness.topics.input, value=value, partition=n % 4) for n in range(20)]
        producer.flush()  # an abort throws away what has not been sent yet
        finish()
        if text == b"kept":
            metas = [future.get(timeout=30) for future in sent]
            harness.produced += [Record(value, None, (), m.partition, m.offset, m.topic) for m in metas]
    producer.close()
    # When a worker has read to the end, transaction markers included
    harness.watch()
    harness.worker()
    harness.await_done()
    ends = end_offsets(harness.topics.bootstrap, harness.topics.input)
    wait_until(lambda: harness.committed_by_partition() == ends, 60, "the ends are committed", every_s=0.3)
    # Then each review that stands has one result, and the others have none
    assert harness.finish().checked == 40


def test_row_25_a_review_that_was_sent_twice_is_labelled_twice_and_alike(harness: Harness) -> None:
    """Duplicates of the producer are kept, with the same label and score, under the same key."""
    # Given each review twice
    twice = [Record(b'{"id": "r-%d", "text": "text %d"}' % (n, n), b"k-%d" % n, partition=n % 4) for n in range(50)]
    harness.produce_records([*twice, *twice])
    # When they are worked on, then there are pairs
    harness.worker()
    assert harness.finish().predicted == 100
    pairs: dict[bytes | None, list[tuple[str, str, float]]] = {}
    for record in read_all(harness.topics.bootstrap, harness.topics.output):
        value = json.loads(record.value or b"")
        pairs.setdefault(record.key, []).append((value["id"], value["label"], value["score"]))
    assert len(pairs) == 50
    assert all(first == second for first, second in pairs.values())


def test_row_26_timestamps_of_other_centuries_change_nothing(harness: Harness) -> None:
    """A producer whose clock is wrong by a lifetime: its reviews are labelled, and no age is negative."""
    # Given records of 1970 and of 2100, on a topic that allows them
    with harness.kafka.admin() as admin:
        anything = str(2**63 - 1)
        configs = {"message.timestamp.after.max.ms": anything, "retention.ms": "-1"}
        admin.alter_configs([ConfigResource("topic", harness.topics.input, configs)])
    odd = [Record(GOOD, partition=n % 4, timestamp_ms=t) for n, t in enumerate((0, 1, 4_102_444_800_000, 2**45))]
    harness.produce_records([*odd, Record(GOOD, partition=0)])
    # When they are worked on, then they are labelled and their timestamps kept
    worker = harness.worker()
    harness.await_done()
    assert worker.metric("reviews_record_age_seconds_count") == 5
    assert worker.metric("reviews_record_age_seconds_sum") >= 0
    assert worker.metric("reviews_record_age_seconds_bucket", le="0.05") >= 2
    assert harness.finish().predicted == 5
    years = {
        json.loads(record.value or b"")["source"]["timestamp"][:4]
        for record in read_all(harness.topics.bootstrap, harness.topics.output)
    }
    assert {"1970", "2100"} <= years


class _Null(Serializer):  # type: ignore[misc]
    def serialize(self, topic: str, headers: object, data: object) -> None:
        return None


def _reasons(harness: Harness) -> Counter[str]:
    dead = read_all(harness.topics.bootstrap, harness.topics.dead_letter)
    return Counter((record.header("dead-letter-reason") or b"").decode() for record in dead)
