"""The local broker is a real Kafka that is ready when it says so and leaves nothing behind."""

import pytest
from kafka.admin import ConfigResource

from consumer.local.broker import LocalBroker
from tests.kafka_helpers import Record, Topics, end_offsets, produce, read_all

pytestmark = pytest.mark.broker


def test_what_was_produced_is_read_back_with_key_headers_and_order(topics: Topics) -> None:
    """Records come back as they were sent, in order per partition."""
    # Given ten records in one partition, one of them a tombstone
    sent = [Record(b"%d" % n if n else None, b"key", [("trace", b"a")], 1) for n in range(10)]
    # When they are produced and the topic is read to its end
    acknowledged = produce(topics.bootstrap, topics.input, sent)
    read = read_all(topics.bootstrap, topics.input)
    # Then they are the same, and the other partitions are empty
    assert [(r.value, r.key, list(r.headers), r.partition) for r in read] == [
        (r.value, r.key, list(r.headers), 1) for r in sent
    ]
    assert [r.offset for r in read] == [r.offset for r in acknowledged] == list(range(10))
    assert end_offsets(topics.bootstrap, topics.input) == {0: 0, 1: 10, 2: 0, 3: 0}


def test_a_reader_of_committed_records_does_not_see_an_aborted_transaction(topics: Topics) -> None:
    """Transactions work: what was aborted is invisible to `read_committed` and visible without."""
    from kafka import KafkaProducer

    # Given an aborted and a committed transaction
    producer = KafkaProducer(bootstrap_servers=topics.bootstrap, transactional_id=topics.group)
    producer.init_transactions()
    for value, finish in ((b"aborted", producer.abort_transaction), (b"committed", producer.commit_transaction)):
        producer.begin_transaction()
        producer.send(topics.input, value=value, partition=0)
        producer.flush()
        finish()
    producer.close()
    # Then only the committed one is seen by a reader of committed records
    assert [r.value for r in read_all(topics.bootstrap, topics.input)] == [b"committed"]
    assert [r.value for r in read_all(topics.bootstrap, topics.input, committed=False)] == [b"aborted", b"committed"]


def test_topics_are_created_with_the_configuration_asked_for(kafka: LocalBroker, topics: Topics) -> None:
    """Partitions and topic configuration are those that were asked for."""
    name = f"{topics.group}.configured"
    # When a topic is created with a limit of its own
    kafka.create_topics({name: 3}, {"max.message.bytes": "12345"})
    # Then the cluster reports it, and asking again with exist_ok changes nothing
    kafka.create_topics({name: 7}, exist_ok=True)
    with kafka.admin() as admin:
        (described,) = admin.describe_topics([name])
        configs = admin.describe_configs([ConfigResource("topic", name, ["max.message.bytes"])])
    assert len(described["partitions"]) == 3
    assert "12345" in str(configs)
