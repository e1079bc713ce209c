"""The producer and its transactions."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaConnectionError, KafkaTimeoutError
from kafka.producer.sender import Sender
from kafka.producer.transaction_manager import Priority, TransactionManager, TxnRequestHandler
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


# --- Requests that arrive twice --------------------------------------------------------------------------------------


def note_repeated_requests() -> None:
    """Note when a request of a transaction is sent again because the connection broke, for `has_repeated`.

    Fault: the second copy is like the first. If a broker gets the first one late, it cannot tell that it belongs to a
        transaction that has ended, and applies it to the next one: it commits half of that, or moves offsets backwards.
        KIP-890 closes this gap for clients that speak it; kafka-python does not.
    Fix: `consumer.kafka.publisher` requests a new producer epoch after such a transaction. Brokers refuse the old one.
    Shown by: test_row_32_a_commit_that_arrives_late_ends_no_other_transaction,
        test_row_33_offsets_that_arrive_late_replace_no_later_ones
    """
    complete = TxnRequestHandler.on_complete

    def note_and_complete(handler: Any, correlation_id: int, answer: Any) -> None:
        # Requests for a coordinator or an epoch belong to no transaction.
        if isinstance(answer, KafkaConnectionError) and handler.priority >= Priority.ADD_PARTITIONS_OR_OFFSETS:
            handler.transaction_manager.has_repeated = True
        complete(handler, correlation_id, answer)

    TxnRequestHandler.on_complete = note_and_complete


def has_repeated(producer: Any) -> bool:
    """Whether a request was sent again in the current producer epoch, so that its first copy may still arrive."""
    return bool(getattr(producer._transaction_manager, "has_repeated", False))


# --- Requests that cannot be sent ------------------------------------------------------------------------------------


def keep_unsent_requests() -> None:
    """Send a request of a transaction later if its coordinator cannot be reached.

    Fault: the request is taken off its queue first, and put back only if no coordinator is known. If one is known but
        refuses the connection, the request is lost, and the call that waits for it waits forever. A broker that crashes
        and restarts at once is enough: in about half of such restarts a busy worker hung until its watchdog ended it.
    Fix: a request that was neither sent nor put back is put back.
    Shown by: test_row_05_a_busy_worker_resumes_after_its_broker_restarts_at_once
    """
    take, send = TransactionManager.next_request_handler, Sender._maybe_send_pending_request

    def take_and_note(manager: Any, has_incomplete_batches: bool) -> Any:
        manager.taken = take(manager, has_incomplete_batches)
        return manager.taken

    def send_or_put_back(sender: Any) -> Any:
        manager = sender._transaction_manager
        manager.taken = None
        sent = send(sender)
        with manager._lock:
            taken = manager.taken
            is_sent = manager.has_in_flight_transactional_request() or (taken and taken.result.is_done)
            if taken and not is_sent and all(queued is not taken for _, _, queued in manager._pending_requests):
                manager.retry(taken)
        return sent

    TransactionManager.next_request_handler = take_and_note
    Sender._maybe_send_pending_request = send_or_put_back


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


def end_transaction(producer: Any, timeout_seconds: float, *, commit: bool) -> None:
    """Commit or abort, as `producer.commit_transaction` and `producer.abort_transaction`.

    Fault: both calls wait without a limit. A worker has a watchdog for that; a tool should end with a message.
    Fix: wait for `timeout_seconds`.
    Shown by: test_a_broker_that_freezes_ends_the_sending_with_a_message

    Raises:
        KafkaTimeoutError: the outcome is unknown.
        KafkaError: the transaction is not committed.
    """
    manager = producer._transaction_manager
    answer = manager.begin_commit() if commit else manager.begin_abort()
    producer._sender.wakeup()
    if not answer.wait(timeout_ms=timeout_seconds * 1000):
        raise KafkaTimeoutError(f"the transaction did not end within {timeout_seconds:g} s")


# --- Sequence numbers after a refused batch --------------------------------------------------------------------------


def bump_epoch(producer: Any, timeout_seconds: float) -> None:
    """Give a transactional producer a new epoch and new sequence numbers, between two transactions.

    Fault: a batch that the broker refused leaves a gap in the sequence numbers of its partition, so the next
        transaction fails as well.
    Fix: request a new producer epoch (KIP-360), as Kafka's own client does.
    Shown by: test_row_15_a_refused_poll_is_taken_again

    Raises:
        KafkaTimeoutError: no new epoch in time.
        ProducerFencedError: another producer has this transactional id.
        KafkaError: the broker refuses.
    """
    manager = producer._transaction_manager
    manager.bump_producer_id_and_epoch()
    producer._sender.wakeup()
    deadline = time.monotonic() + timeout_seconds
    while manager.is_bumping_epoch():
        if time.monotonic() > deadline:
            raise KafkaTimeoutError("no new epoch from the transaction coordinator")
        time.sleep(0.005)
    if manager.has_error():
        raise manager.last_error
    manager.has_repeated = False


# --- Backoff ---------------------------------------------------------------------------------------------------------


def retry_batches_after(producer: Any, milliseconds: int) -> None:
    """Set the backoff of batches alone.

    Fault: batches and the requests of a transaction share one setting. A backoff that suits batches costs up to 220 ms
        between two transactions.
    Fix: `consumer.kafka.client` sets the short one, and this the longer one for batches.
    """
    producer._accumulator.config["retry_backoff_ms"] = milliseconds
