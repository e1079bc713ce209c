"""The reader that judges the worker returns what Kafka has, byte by byte, through a client that no worker uses."""

import pytest
from confluent_kafka import Producer
from kafka import KafkaConsumer

from consumer.kafka.fixes.records import HeaderName
from consumer.local.broker import LocalBroker
from tests.conftest import PARTITIONS
from tests.kafka_helpers import Record, Topics, committed_offsets, end_offsets, produce, read_all
from tests.record import header_bytes

pytestmark = pytest.mark.broker


def test_it_returns_keys_values_and_headers_as_they_are(topics: Topics) -> None:
    """Null and empty stay distinct, repeated names stay in order, and names that are not UTF-8 keep their bytes."""
    # Given one record of each kind, some of which kafka-python cannot send
    foreign = Producer({"bootstrap.servers": topics.bootstrap})
    foreign.produce(
        topics.input, None, None, 0, headers=[("null", None), ("empty", b""), ("twice", b"1"), ("twice", b"2")]
    )
    assert foreign.flush(30) == 0
    produce(topics.bootstrap, topics.input, [Record(b"", b"k", [(HeaderName(b"\xff\xfe"), b"1"), ("plain", b"2")], 1)])
    # When they are read
    null, odd = read_all(topics.bootstrap, topics.input)
    # Then nothing is changed
    assert (null.key, null.value, null.partition, null.offset, null.topic) == (None, None, 0, 0, topics.input)
    assert header_bytes(null.headers) == [(b"null", None), (b"empty", b""), (b"twice", b"1"), (b"twice", b"2")]
    assert (odd.key, odd.value, odd.partition) == (b"k", b"", 1)
    assert header_bytes(odd.headers) == [(b"\xff\xfe", b"1"), (b"plain", b"2")]
    assert null.timestamp_ms is not None


def test_it_reads_committed_records_up_to_an_open_transaction(topics: Topics) -> None:
    """Aborted records are left out, open ones are not waited for, and the two kinds of end offsets differ by them."""
    # Given a partition with an aborted record, a committed one, and one of a transaction that is still open
    producer = Producer({"bootstrap.servers": topics.bootstrap, "transactional.id": topics.group})
    producer.init_transactions(30)
    for value, finish in ((b"aborted", producer.abort_transaction), (b"committed", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topics.output, value, partition=0)
        assert producer.flush(30) == 0
        finish(30)
    producer.begin_transaction()
    producer.produce(topics.output, b"open", partition=0)
    assert producer.flush(30) == 0
    # When both kinds of readers read all that there is for them
    committed = read_all(topics.bootstrap, topics.output)
    everything = read_all(topics.bootstrap, topics.output, committed=False)
    # Then they differ by the transactions that are not committed, and so do the ends, markers included
    assert [record.value for record in committed] == [b"committed"]
    assert [record.value for record in everything] == [b"aborted", b"committed", b"open"]
    none = dict.fromkeys(range(1, PARTITIONS), 0)
    assert end_offsets(topics.bootstrap, topics.output, committed=True) == {0: 4, **none}
    assert end_offsets(topics.bootstrap, topics.output) == {0: 5, **none}
    producer.abort_transaction(30)


def test_a_group_that_committed_nothing_has_no_offsets(kafka: LocalBroker, topics: Topics) -> None:
    """The oracle compares them with the ends of the input, and a new group is no error."""
    assert sum(committed_offsets(kafka, topics.group, topics.input).values()) == 0


def test_the_judges_import_no_consumer_of_kafka_python() -> None:
    """They read past the worker's client, which is patched: none of their modules knows `KafkaConsumer`."""
    from tests import foreign_reader, kafka_helpers, live_reader, oracle, tally

    judges = (foreign_reader, kafka_helpers, live_reader, oracle, tally)
    assert not [each.__name__ for each in judges if KafkaConsumer in vars(each).values()]
