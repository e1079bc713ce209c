"""The producer and its transactions."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError
from kafka.producer.transaction_manager import TransactionManager
from kafka.structs import OffsetAndMetadata

# --- Refused offsets -------------------------------------------------------------------------------------------------


def forget_refused_offsets() -> None:
    """Forget the offsets of a transaction when it ends.

    Fault: offsets that the group refused stay in the producer when its transaction is aborted, and go out with the next
        one. By then the worker may be a member again: offsets of partitions that others own move backwards, and their
        records come twice. Found by the soak.
    Fix: a transaction that completes, by commit or abort, leaves no pending offsets.
    Shown by: test_row_02_a_refused_commit_leaves_nothing_behind_for_the_next_one
    """
    complete = TransactionManager._complete_transaction

    def complete_and_forget(manager: Any) -> None:
        complete(manager)
        manager._pending_txn_offset_commits = {}

    TransactionManager._complete_transaction = complete_and_forget


# --- Waiting for the coordinator -------------------------------------------------------------------------------------


def send_offsets(
    producer: Any,
    offsets: Mapping[TopicPartition, OffsetAndMetadata],
    group: object,
    waiting: Callable[[], None],
    every_seconds: float,
) -> None:
    """Add `offsets` to the transaction, as `producer.send_offsets_to_transaction`; call `waiting` while it waits.

    Fault: the call waits without a limit or a callback. The request queues behind the records of the transaction, so on
        a slow link the wait is long although nothing hangs.
    Fix: wait in steps of `every_seconds`.
    Shown by: test_row_18_results_that_trickle_out_do_not_trip_the_watchdog
    """
    answer = producer._transaction_manager.send_offsets_to_transaction(offsets, group)
    producer._sender.wakeup()
    while not answer.wait(timeout_ms=every_seconds * 1000):
        waiting()


# --- Sequence numbers after a refused batch --------------------------------------------------------------------------


def bump_epoch(producer: Any, timeout_seconds: float) -> None:
    """Restart the sequence numbers of a transactional producer, after an abort and before the next transaction.

    Fault: a batch that the broker refused leaves a gap in the sequence numbers of its partition, so the next
        transaction fails as well.
    Fix: request a new producer epoch (KIP-360), as Kafka's own client does.
    Shown by: test_row_15_a_refused_poll_is_taken_again

    Raises:
        KafkaTimeoutError: no new epoch in time.
    """
    manager = producer._transaction_manager
    manager.bump_producer_id_and_epoch()
    producer._sender.wakeup()
    deadline = time.monotonic() + timeout_seconds
    while manager.is_bumping_epoch():
        if time.monotonic() > deadline:
            raise KafkaTimeoutError("no new epoch from the transaction coordinator")
        time.sleep(0.005)


# --- Backoff ---------------------------------------------------------------------------------------------------------


def retry_batches_after(producer: Any, milliseconds: int) -> None:
    """Set the backoff of batches alone.

    Fault: batches and the requests of a transaction share one setting. A backoff that suits batches costs up to 220 ms
        between two transactions.
    Fix: `consumer.kafka.client` sets the short one, and this the longer one for batches.
    """
    producer._accumulator.config["retry_backoff_ms"] = milliseconds
