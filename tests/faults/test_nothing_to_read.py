"""Partitions without a record to read: tools that compute the lag from outside see 0, and nothing is skipped."""

import pytest
from kafka import KafkaConsumer, TopicPartition

from tests.fake_worker import Script
from tests.harness import Harness
from tests.kafka_helpers import end_offsets, internal, transaction
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]


def commits(harness: Harness) -> dict[int, int | None]:
    """The committed offset of each partition of the input; None if there is none."""
    consumer = KafkaConsumer(bootstrap_servers=internal(harness.kafka), group_id=harness.topics.group)
    try:
        places = [TopicPartition(harness.topics.input, number) for number in range(harness.partitions)]
        return {place.partition: consumer.committed(place) for place in places}
    finally:
        consumer.close(autocommit=False)


def lag_from_outside(harness: Harness) -> dict[int, int | None]:
    """End minus committed offset of each partition, as Kafka's tools and autoscalers compute it; None: no commit."""
    ends = end_offsets(internal(harness.kafka), harness.topics.input)
    return {number: None if offset is None else ends[number] - offset for number, offset in commits(harness).items()}


@pytest.mark.smoke
@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_the_lag_from_outside_reaches_zero_without_a_record_to_read(harness: Harness, delivery: str) -> None:
    """A new group commits an empty partition, one of aborted records alone, and one whose records were deleted."""
    # Given such partitions, and one with reviews
    topic = harness.topics.input
    with transaction(harness.kafka, topic, partition=2) as producer:
        producer.abort_transaction()
    for record in harness.produce(40):
        if record.partition != 0:
            harness.produced.remove(record)
    with harness.kafka.admin() as admin:
        ends = end_offsets(internal(harness.kafka), topic)
        admin.delete_records({TopicPartition(topic, number): ends[number] for number in (1, 2, 3)})
    with transaction(harness.kafka, topic, partition=3) as producer:
        producer.abort_transaction()
    assert set(lag_from_outside(harness).values()) == {None}
    # When a worker has nothing left to do, then each partition is committed up to its end
    worker = harness.worker(delivery=delivery)
    wait_until(lambda: lag_from_outside(harness) == dict.fromkeys(range(4), 0), 60, "no lag", every_s=0.3)
    # And it commits no more without a reason, while records that come later are labelled once
    harness.produce(40)
    assert harness.finish(exactly_once=delivery == "exactly_once").checked == 50
    assert "not published" not in worker.log


def test_a_partition_with_records_is_not_committed_before_they_are_labelled(harness: Harness) -> None:
    """A commit means that what is before it is done: none of a new group is ahead of its results."""
    # Given a worker that was killed before its first results were published, having had time to look at the ends
    harness.produce(40)
    worker = harness.worker(Script({"inferred:1": "pause"}))
    worker.await_point("inferred:1")
    worker.kill()
    # Then there is no commit; the next worker labels all of it
    assert set(commits(harness).values()) == {None}
    harness.worker()
    assert harness.finish().checked == 40
