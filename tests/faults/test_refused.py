"""Topics that refuse some of what a worker publishes: the last line names the topic and the broker's reason."""

import json

import pytest
from kafka.admin import ConfigResource

from consumer.errors import GaveUp
from consumer.records.outgoing import Outgoing
from consumer.records.poll import NotPublished
from tests.harness import Harness
from tests.kafka_helpers import Record
from tests.live_broker import first_poll, live_broker

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]


def configure(harness: Harness, topic: str, **configs: str) -> None:
    """Change a topic; `_` stands for the dot in a name."""
    named = {name.replace("_", "."): value for name, value in configs.items()}
    with harness.kafka.admin() as admin:
        admin.alter_configs([ConfigResource("topic", topic, named)])


def review(key: bytes | None, partition: int = 0) -> Record:
    """A good review."""
    return Record(json.dumps({"text": "a good review"}).encode(), key, partition=partition)


@pytest.mark.smoke
def test_row_15_an_output_topic_that_refuses_one_record_is_named_with_the_reason(harness: Harness) -> None:
    """A compacted output topic takes no record without a key; nothing is dropped, and a fixed topic takes all."""
    # Given such a topic, and reviews with keys around one without
    configure(harness, harness.topics.output, cleanup_policy="compact")
    harness.produce_records([review(b"a"), review(b"b"), review(None), review(b"c"), review(b"d", 1)])
    # When a worker meets it
    worker = harness.worker()
    assert worker.wait_exit(90) == 5
    # Then its last line has topic and reason, and nothing is committed
    assert f"({harness.topics.output}: " in worker.last_line
    assert "InvalidRecordError" in worker.last_line
    assert "ompacted topic cannot accept message without key" in worker.last_line
    assert harness.committed_by_partition().get(0, 0) == 0
    # And a topic that takes it gets each once
    configure(harness, harness.topics.output, cleanup_policy="delete")
    harness.worker()
    assert harness.finish().predicted == 5


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_row_15_the_record_to_blame_is_reported_not_its_neighbours(harness: Harness, delivery: str) -> None:
    """Whatever the order, the number of refused records and the other topics of a poll: topic and reason fit."""
    harness.produce(4)
    output, dead = harness.topics.output, harness.topics.dead_letter
    good = [Outgoing(topic, partition, b"k", b"x", []) for topic in (output, dead) for partition in range(4)]
    without_key = Outgoing(output, 0, None, b"x", [])
    large = Outgoing(dead, 1, b"k", b"x" * 3000, [])
    very_large = Outgoing(dead, 1, b"k", b"x" * 2_000_000, [])  # the client refuses it
    configure(harness, output, cleanup_policy="compact")
    configure(harness, dead, max_message_bytes="2000")
    cases: list[tuple[list[Outgoing], str, str]] = [
        ([*good, without_key], output, "without key"),
        ([without_key, *good], output, "without key"),
        ([*good, without_key, without_key, *good], output, "without key"),
        ([*good, large, *good], dead, "MessageSizeTooLarge"),
        ([large, *good], dead, "MessageSizeTooLarge"),
        ([*good, very_large], dead, "MessageSizeTooLarge"),
    ]
    for outgoing, topic, reason in cases:
        # A producer that is in no transaction is beyond repair after a refusal.
        with live_broker(harness.topics.settings(delivery=delivery)) as (broker, _):
            poll = first_poll(broker)
            with pytest.raises((NotPublished, GaveUp)) as refused:
                broker.publish(poll, outgoing)
        expects_retry = delivery == "exactly_once" or outgoing[-1] is very_large
        assert refused.type is (NotPublished if expects_retry else GaveUp)
        assert f"{topic}: " in str(refused.value)
        assert f"{output if topic == dead else dead}: " not in str(refused.value)
        assert reason in str(refused.value)
    assert harness.committed() == 0
