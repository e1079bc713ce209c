"""Records that a producer should not have sent, and what becomes of them beside good ones."""

import gzip
import json
import re
import time
from collections import Counter
from dataclasses import replace

import jiter
import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource
from kafka.errors import KafkaError
from kafka.serializer import Serializer

from consumer.kafka import fixes
from consumer.kafka.fixes.records import HeaderName
from tests.fake_model import NAN_MARK, OUT_OF_MEMORY_MARK
from tests.fake_worker import Script
from tests.harness import Harness
from tests.kafka_helpers import Record, end_offsets, produce, read_all
from tests.record import header_bytes
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

GOOD = b'{"text": "good"}'
#: Values that are no reviews, with the reason and the detail of their dead letters.
POISON = {
    b"": "not_json: empty",
    b"{": "not_json: truncated at byte 1",
    b"{'text': 'single quotes'}": "not_json: syntax at byte 1",
    b'{"text": "cut': "not_json: truncated at byte 13",
    b'{"text": "a"} trailing': "not_json: trailing_data at byte 14",
    b'{"text": "twice", "text": "twice"}': "not_json: duplicate_key at byte 25",
    b'\x00\x00\x00\x00\x07{"text": "framed"}': "not_json: schema_registry_framing",
    gzip.compress(GOOD, mtime=0): "not_json: compressed",
    "{'text': 'wide'}".replace("'", '"').encode("utf-16"): "not_json: utf_16",
    b"null": "not_an_object: null",
    b'"text"': "not_an_object: string",
    json.dumps(GOOD.decode()).encode(): "not_an_object: encoded_twice",
    b'[{"text": "a"}]': "not_an_object: array",
    b"{}": "invalid_text: missing",
    b'{"texts": "a"}': "invalid_text: missing",
    b'{"text": null}': "invalid_text: null",
    b'{"text": 7}': "invalid_text: number",
    b'{"text": ["a"]}': "invalid_text: array",
    b'{"text": ""}': "empty_text",
    b'{"text": " \\n\\t"}': "empty_text",
}
#: Values that look odd and hold a good text, with the ids of their predictions (None: the coordinates).
ODD = {
    b'\xef\xbb\xbf{"text": "byte order mark"}': None,
    b'{"text": "not a number", "stars": NaN, "least": -Infinity}': None,
    b'{"text": "a", "id": "shop/17"}': "shop/17",
    b'{"text": "a", "id": "with space"}': "with space",
    b'{"text": "a", "id": "jane@example.com"}': "jane@example.com",
    b'{"text": "a", "id": "line\\r\\nbreak"}': "line\r\nbreak",
    '{"text": "a", "id": "отзыв"}'.encode(): "отзыв",
    b'{"text": "a", "id": ""}': None,
    b'{"text": "a", "id": true}': "true",
    b'{"text": "a", "id": 17.0}': "17.0",
    b'{"text": "a", "id": {"$oid": "5f"}}': None,
}
CORRUPT = {
    b'{"text": "bad utf-8 \xff"}': "not_json: invalid_utf8 at byte 20",
    b'{"text": "cut utf-8 \xc3"}': "not_json: invalid_utf8 at byte 20",
    b'{"text": "lone surrogate \\ud800"}': "not_json: lone_surrogate at byte 31",
    b'{"text": "raw surrogate \xed\xa0\x80"}': "not_json: invalid_utf8 at byte 24",
    b"[" * 100_000: "not_json: nesting at byte 201",
    b'{"text": "deep", "x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}": "not_json: nesting at byte 222",
    b"\x00\x01\x02\xff" * 64: "not_json: invalid_utf8 at byte 3",
}


@pytest.mark.smoke
def test_row_09_a_poison_pill_is_a_dead_letter_among_predictions(harness: Harness) -> None:
    """Each kind of bad record becomes a dead letter with reason and cause, unchanged; its neighbours are labelled."""
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
    assert _faults(harness) == Counter(POISON.values())
    # And the log has counted them, without a word of theirs
    assert worker.log.count("Traceback") == 0
    assert _logged_dead_letters(worker.log) == len(pills)


@pytest.mark.smoke
def test_row_09_a_trifle_beside_a_good_text_costs_no_label(harness: Harness) -> None:
    """A byte order mark, a NaN, or an id of any shape: the review is labelled, and its prediction is strict JSON."""
    # Given such records, each from an hour ago
    then = int(time.time() * 1000) - 3_600_000
    harness.produce_records([Record(value, partition=0, timestamp_ms=then) for value in ODD])
    # When they are worked on
    worker = harness.worker()
    found = harness.finish()
    # Then each is labelled under its own id, and where there is none under its coordinates
    assert (found.predicted, found.dead) == (len(ODD), 0)
    records = read_all(harness.topics.bootstrap, harness.topics.output)
    values = [jiter.from_json(record.value or b"", allow_inf_nan=False) for record in records]
    expected = [each or f"{harness.topics.input}-0-{offset}" for offset, each in enumerate(ODD.values())]
    assert [value["id"] for value in values] == expected
    assert (values[1]["stars"], values[1]["least"]) == (None, None)
    assert values[-1]["carried"] == {"id": {"$oid": "5f"}}
    # And ids are in no log line
    assert not any(each and each in worker.log for each in ODD.values() if each != "true")


@pytest.mark.smoke
def test_row_09_framed_and_nested_reviews_are_read_by_settings(harness: Harness) -> None:
    """A schema registry's frame is skipped, and dots lead to a nested text; what surrounds it is carried."""
    # Given the change events of a database, framed, and one without a frame
    event = b'{"payload": {"after": {"key": "%d", "text": "good", "price": 1.10}, "op": "c"}}'
    framed = [Record(b"\x00\x00\x00\x00\x07" + event % n, partition=0) for n in range(3)]
    bare = Record(event % 3, partition=0)
    produce(harness.topics.bootstrap, harness.topics.input, [*framed, bare])
    # When a worker with these settings reads them
    worker = harness.worker(
        drain=True,
        value_framing="schema_registry",
        text_field="payload.after.text",
        id_field="payload.after.key",
    )
    assert worker.wait_exit(60) == 0, worker.log
    # Then all are labelled
    records = read_all(harness.topics.bootstrap, harness.topics.output)
    assert [json.loads(record.value or b"")["id"] for record in records] == ["0", "1", "2", "3"]
    assert all(b'"payload":{"after":{"price":1.10},"op":"c"}' in (record.value or b"") for record in records)


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
    assert _faults(harness) == Counter(CORRUPT.values())
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
    assert _faults(harness) == {"tombstone": 2}


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
    assert _faults(harness) == {"model_error": 10}


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


@pytest.mark.parametrize("setting", ["now", "source"])
def test_row_26_the_timestamp_of_the_input_is_kept(harness: Harness, setting: str) -> None:
    """In a header of all results, and as their own timestamp by a setting; never one of the future."""
    # Given a good and a bad record of 30 days ago, and a good one of tomorrow
    with harness.kafka.admin() as admin:
        configs = {"message.timestamp.after.max.ms": str(2**63 - 1), "retention.ms": "-1"}
        admin.alter_configs([ConfigResource("topic", harness.topics.input, configs)])
        for topic in (harness.topics.output, harness.topics.dead_letter):
            admin.alter_configs([ConfigResource("topic", topic, {"retention.ms": "-1"})])
    now = int(time.time() * 1000)
    old, ahead = now - 30 * 86_400_000, now + 86_400_000
    harness.produce_records([Record(value, partition=0, timestamp_ms=old) for value in (GOOD, b"junk")])

    def accepted() -> bool:
        try:
            harness.produce_records([Record(GOOD, partition=0, timestamp_ms=ahead)])
        except KafkaError:  # the broker has not applied the configuration yet
            return False
        return True

    wait_until(accepted, 30, "the broker takes a timestamp of tomorrow")
    # When they are worked on
    harness.worker(output_timestamp=setting)
    found = harness.finish()
    assert (found.predicted, found.dead) == (2, 1)
    # Then the headers hold those times, and the records have them by the setting
    bootstrap = harness.topics.bootstrap
    results = [*read_all(bootstrap, harness.topics.output), *read_all(bootstrap, harness.topics.dead_letter)]
    assert [record.header("source-timestamp") for record in results] == [b"%d" % each for each in (old, ahead, old)]
    kept = [record.timestamp_ms == old for record in results]
    assert kept == ([True, False, True] if setting == "source" else [False] * 3)
    assert all(record.timestamp_ms in {old, *range(now, now + 120_000)} for record in results)


class _Null(Serializer):  # type: ignore[misc]
    def serialize(self, topic: str, headers: object, data: object) -> None:
        return None


def _faults(harness: Harness) -> Counter[str]:
    """Reason and detail of each dead letter."""
    dead = read_all(harness.topics.bootstrap, harness.topics.dead_letter)
    headers = [dict(record.headers) for record in dead]
    pairs = [(each["dead-letter-reason"], each.get("dead-letter-detail")) for each in headers]
    return Counter(": ".join(each.decode() for each in pair if each) for pair in pairs)


def _logged_dead_letters(log: str) -> int:
    """The sum of the summary lines."""
    return sum(int(count) for count in re.findall(r"(\d+) dead letters?: ", log))
