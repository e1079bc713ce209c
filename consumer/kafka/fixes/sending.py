"""How records are handed to the producer."""

from collections.abc import Sequence
from typing import Any

from kafka import TopicPartition

from consumer.records.outgoing import Outgoing

# --- Records of one poll ---------------------------------------------------------------------------------------------


def announce(producer: Any, place: TopicPartition) -> None:
    """Add a partition to the open transaction, if there is one. To be called before the first `put` for it.

    Raises:
        KafkaError: the transaction has failed already.
    """
    manager = producer._transaction_manager
    if manager is not None and manager.is_transactional():
        manager.maybe_add_partition_to_transaction(place)


def put(producer: Any, place: TopicPartition, record: Outgoing, headers: Sequence[tuple[str, bytes]]) -> Any:
    """Buffer `record` with these `headers`, as `producer.send`, and return its future. Nothing is sent before `wake`.

    Fault: `send` wakes the thread that sends with every record that comes after the first batch of a partition is full.
        That thread competes with the caller for the interpreter, and announces the first partition to the transaction
        before the others are known. `send` also looks up the topic, and formats the producer's name for the log, for
        each record. It refuses a null value with a null key, which Kafka allows. See docs/kafka-python.md.
    Fix: append to the buffer that `send` appends to. The caller knows the topic, and that keys and values are bytes.
    Shown by: test_a_poll_wakes_the_sender_once, test_row_11_a_tombstone_is_a_dead_letter
    """
    future, *_ = producer._accumulator.append(place, record.timestamp_ms, record.key, record.value, headers)
    return future


def wake(producer: Any) -> None:
    """Let the producer announce partitions, and send batches that are full or have lingered."""
    producer._sender.wakeup()


def check_size(producer: Any, record: Outgoing, headers: Sequence[tuple[str, bytes]]) -> None:
    """Check that the producer may send a record as large as this one.

    Raises:
        MessageSizeTooLargeError: it may not.
    """
    producer._ensure_valid_record_size(producer._estimate_size_in_bytes(record.key, record.value, headers))
