"""Logs that are damaged, old or cleaned on the broker's disk, or have lost their end."""

import json
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import crc32c
import pytest
from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from consumer.kafka.fixes import positions
from consumer.local.broker import LocalBroker
from consumer.records.poll import Poll
from tests.harness import Harness
from tests.kafka_helpers import Record, end_offsets, internal, read_all, transaction
from tests.live_broker import live_broker
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

GOOD = b'{"text": "good"}'


def test_row_12_a_corrupt_batch_ends_the_worker_and_is_never_skipped(
    broker: LocalBroker, harness_on: Callable[..., Harness]
) -> None:
    """A flipped bit in the log: the worker gives up each time it is started, and commits nothing past it."""
    # Given a partition whose middle batch was damaged on the broker's disk
    harness = harness_on(broker, partitions=1)
    for text in (b"before", b"DAMAGED", b"after"):
        harness.produce_records([Record(b'{"text": "%s"}' % text, partition=0)])
    segment, _ = _segment(broker, harness)
    content = segment.read_bytes()
    _write(broker, segment, content.replace(b"DAMAGED", b"DAMAGEd"))
    # When a worker starts, twice, then it gives up both times, and only what stands before is committed
    for _ in range(2):
        worker = harness.worker()
        assert worker.wait_exit(60) == 5
        assert "nothing was skipped" in worker.last_line
        assert harness.committed() == 1
    assert len(read_all(harness.topics.bootstrap, harness.topics.output)) == 1


@pytest.mark.smoke
def test_row_12_a_marker_that_the_cleaner_has_emptied_is_passed_over(
    broker: LocalBroker, harness_on: Callable[..., Harness]
) -> None:
    """In a compacted topic an empty batch may be left of a transaction, without even the marker of its end."""
    # Given such a batch in the middle of a partition
    harness = harness_on(broker, partitions=1)
    harness.produce(3)
    segment, _ = _segment(broker, harness)
    _write(broker, segment, segment.read_bytes() + _emptied_marker(offset=3))
    harness.produce(3)
    # Then what stands on both sides of it is labelled
    assert [record.offset for record in harness.produced] == [0, 1, 2, 4, 5, 6]
    harness.worker()
    assert harness.finish().checked == 6


@pytest.mark.parametrize("magic", [0, 1])
def test_row_26_records_in_the_formats_of_old_brokers_are_labelled(
    broker: LocalBroker, harness_on: Callable[..., Harness], magic: int
) -> None:
    """Kafka 4 may still store what producers of 0.9 wrote; the oldest format has no timestamps."""
    # Given three records in that format
    harness = harness_on(broker, partitions=1)
    harness.produce_records([Record(GOOD, partition=0)] * 3)
    segment, _ = _segment(broker, harness)
    _write(broker, segment, b"".join(_old_record(offset, GOOD, magic) for offset in range(3)))
    # Then each has a result, whose timestamp is that of its record, if there is one
    worker = harness.worker(drain=True)
    assert worker.wait_exit(60) == 0, worker.log
    results = read_all(internal(harness.kafka), harness.topics.output)
    timestamps = [json.loads(result.value or b"")["source"]["timestamp"] for result in results]
    assert timestamps == [None if magic == 0 else "2014-05-13T16:53:20.000+00:00"] * 3


def test_row_31_an_answer_without_records_does_not_hide_that_a_log_loses_its_end(harness: Harness) -> None:
    """A consumer detects it by the leader epoch of its position, which it must keep once it has read something."""
    # Given a consumer at the end of a partition, which knows the epoch of what it read last
    harness.produce_records([Record(GOOD, partition=0)] * 5)
    partition = TopicPartition(harness.topics.input, 0)
    with live_broker(harness.topics.settings()) as (broker, _):
        wait_until(
            lambda: len(broker.poll(10).records) == 5 and _is_settled(broker._consumer, harness),
            60,
            "it has read all, in an assignment that lasts",
        )
        before = positions.position(broker._consumer, partition)
        assert before is not None
        assert before.leader_epoch >= 0
        # When it learns of a record that an open transaction holds back
        with transaction(harness.kafka, harness.topics.input) as producer:
            wait_until(lambda: not broker.poll(10).records and broker._consumer.highwater(partition) == 6, 60, "told")
            producer.abort_transaction()
        # Then it knows the epoch as before
        assert positions.position(broker._consumer, partition) == before


def test_row_31_no_position_goes_back_before_a_new_lineage_begins(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    """The client may go back to the new end of a log at any time, also between a poll and a commit."""
    # Given a worker's broker that has read and committed all
    harness.produce_records([Record(GOOD, partition=0)] * 5)
    partition = TopicPartition(harness.topics.input, 0)
    with live_broker(harness.topics.settings()) as (broker, _):
        polls: list[Poll] = []

        def has_read() -> bool:
            polls.append(broker.poll(10))
            return bool(polls[-1].records) and _is_settled(broker._consumer, harness)

        wait_until(has_read, 60, "it has read all, in an assignment that lasts")
        broker.publish(polls[-1], [])
        wait_until(lambda: harness.committed() == 5, 60, "it has committed")
        # When the client's own thread goes back, then nothing is committed before the next poll has noticed
        broker._consumer._subscription.seek(partition, OffsetAndMetadata(2, "", 0))
        assert not broker.settle(polls[-1])
        assert harness.committed() == 5
        broker.poll(1)
        assert "partition 0 has lost the records from 2 on" in caplog.text
        assert broker.settle(polls[-1])


@pytest.mark.parametrize("records_left", [True, False])
def test_row_31_a_drain_is_not_done_where_the_committed_offset_is_beyond_the_end(
    broker: LocalBroker, harness_on: Callable[..., Harness], records_left: bool
) -> None:
    """That offset says nothing about the records in the log; the drain ends when those are done."""
    # Given a group that has read a partition to its end, which the broker then loses
    harness = harness_on(broker, partitions=1)
    if records_left:
        harness.produce(10)
    else:
        with transaction(broker, harness.topics.input) as upstream:
            upstream.abort_transaction()
    left = 10 if records_left else 2
    wait_until(lambda: end_offsets(broker.bootstrap, harness.topics.input) == {0: left}, 60, "the marker is written")
    segment, size = _segment(broker, harness)
    harness.produce(10)
    worker = harness.worker(drain=True)
    assert worker.wait_exit(60) == 0, worker.log
    assert harness.committed() == left + 10
    _cut(broker, segment, size)
    # And perhaps fewer records that replace the lost ones
    new = harness.produce(5 if records_left else 0)
    # When it drains again, then these are labelled, and the loss is logged
    last = harness.worker(drain=True)
    assert last.wait_exit(60) == 0, last.log
    assert f"has lost the records from {left} on" in last.log
    assert f"drained: {len(new)} labelled" in last.log
    assert harness.committed() == left + len(new)


def test_row_31_a_log_that_loses_its_end_under_a_worker_is_read_on_from_there(
    broker: LocalBroker, harness_on: Callable[..., Harness]
) -> None:
    """Records that replaced lost ones are labelled, by this worker and by the next one, and no others."""
    # Given a worker that has read records that the broker then loses, as after a power cut
    harness = harness_on(broker, partitions=1)
    harness.produce(10)
    segment, size = _segment(broker, harness)
    harness.produce(10)
    worker = harness.worker()
    harness.await_done()
    _cut(broker, segment, size)
    # When fewer replace them, and then some more, which another worker finds
    wait_until(lambda: "has lost the records from 10 on" in worker.log, 90, "the worker notices")
    harness.produce(5)
    wait_until(lambda: harness.committed() == 15, 60, "they are done")
    worker.kill()
    harness.produce(3)
    last = harness.worker(drain=True)
    # Then each of them is labelled, and none is mistaken for a lost one
    assert last.wait_exit(60) == 0, last.log
    assert "drained: 3 labelled" in last.log
    assert last.log.count("returned an old committed offset") == 0
    places = Counter(record.source for record in read_all(internal(harness.kafka), harness.topics.output))
    assert [places[harness.topics.input, 0, offset] for offset in range(20)] == [1] * 10 + [2] * 8 + [1] * 2


@pytest.mark.smoke
@pytest.mark.parametrize("ends_with_a_marker", [False, True])
def test_row_31_a_log_that_lost_its_end_between_two_workers_is_read_on_from_there(
    broker: LocalBroker, harness_on: Callable[..., Harness], ends_with_a_marker: bool
) -> None:
    """More records replaced the lost ones than were committed: the offset exists, and means another record."""
    # Given records that are done, perhaps with the marker of a transaction, and a broker that loses the end of the log
    harness = harness_on(broker, partitions=1)
    harness.produce(10)
    segment, size = _segment(broker, harness)
    harness.produce(10)
    if ends_with_a_marker:  # to which the offset is moved without a record
        with transaction(harness.kafka, harness.topics.input) as producer:
            producer.abort_transaction()
    worker = harness.worker(drain=True)
    assert worker.wait_exit(60) == 0, worker.log
    assert harness.committed() == (22 if ends_with_a_marker else 20)
    _cut(broker, segment, size)
    # When the log has grown beyond the committed offset by the time the next worker comes
    harness.produce(15)
    last = harness.worker(drain=True)
    # Then every record that replaced a lost one is labelled, and the worker logs the loss
    assert last.wait_exit(60) == 0, last.log
    assert "has lost the records from 10 on" in last.log
    assert "drained: 15 labelled" in last.log
    places = Counter(record.source for record in read_all(internal(harness.kafka), harness.topics.output))
    assert [places[harness.topics.input, 0, offset] for offset in range(25)] == [1] * 10 + [2] * 10 + [1] * 5


def _is_settled(consumer: Any, harness: Harness) -> bool:
    """Whether the group's only member has assigned itself every partition, and has no reason to rebalance again.

    A leader that joined before its first metadata arrived rebalances again when it does. A new assignment starts
    from the committed offsets, so whatever the client noticed about the old positions is rightly forgotten.
    """
    coordinator = consumer._coordinator
    everything = {harness.topics.input: set(range(harness.partitions))}
    return bool(coordinator._assignment_snapshot == everything) and not coordinator.need_rejoin()


def _segment(broker: LocalBroker, harness: Harness) -> tuple[Path, int]:
    """The file of partition 0 of the input, and its size now."""
    (segment,) = (broker.log_path.parent / "data").glob(f"{harness.topics.input}-0/*0.log")
    return segment, segment.stat().st_size


def _write(broker: LocalBroker, segment: Path, content: bytes) -> None:
    """Let the broker have this on its disk instead."""
    broker.stop()
    segment.write_bytes(content)
    broker.start()


def _emptied_marker(offset: int) -> bytes:
    """A control batch without its record, in the format of Kafka 0.11 and later."""
    transactional, control, producer_id, producer_epoch = 0x10, 0x20, 1, 1
    fields = struct.pack(">hiqqqhii", transactional | control, 0, -1, -1, producer_id, producer_epoch, -1, 0)
    body = struct.pack(">ibI", 0, 2, crc32c.crc32c(fields)) + fields
    return struct.pack(">qi", offset, len(body)) + body


def _old_record(offset: int, value: bytes, magic: int) -> bytes:
    """A record without a key, in the format of Kafka 0.9 (0) or 0.10 (1)."""
    timestamp = struct.pack(">q", 1_400_000_000_000) if magic else b""
    body = struct.pack(">bb", magic, 0) + timestamp + struct.pack(">ii", -1, len(value)) + value
    return struct.pack(">qiI", offset, 4 + len(body), zlib.crc32(body)) + body


def _cut(broker: LocalBroker, segment: Path, size: int) -> None:
    """Let the broker lose the end of a log, as with a power cut, and come back."""
    _write(broker, segment, segment.read_bytes()[:size])
