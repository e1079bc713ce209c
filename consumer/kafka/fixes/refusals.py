"""What a producer could not deliver: which record is to blame, and whether trying again helps."""

from typing import Any


def is_to_blame(sent: Any) -> bool:
    """Whether the future of a record failed for a reason of its own.

    Fault: a refused record takes its batch with it, whose records fail with a `KafkaError` that does not say why. Then
        the client gives up all other batches, perhaps of another topic, with the very error of the refused one.
    Fix: look at how the batch ended. One that was given up has an offset, -1; one that was refused, or that expired,
        has none. Within a refused batch the record to blame has an error of its own class.
    Shown by: test_row_15_the_record_to_blame_is_reported_not_its_neighbours
    """
    outcome = sent._produce_future.value
    return sent.failed() and outcome is not None and outcome[0] is None


def is_beyond_repair(producer: Any) -> bool:
    """Whether the producer refuses every record from now on.

    Fault: outside a transaction a record that the broker refuses ends the producer: it fails all later records with the
        error of that one, whatever their topic, until a new one is created.
    Fix: ask for its state, so that no call waits for retries that must fail.
    Shown by: test_row_15_the_record_to_blame_is_reported_not_its_neighbours
    """
    manager = producer._transaction_manager
    return manager is not None and bool(manager.has_fatal_error())


def leave_at_exit(producer: Any) -> None:
    """Leave the producer alone when the process ends.

    Fault: it closes itself at exit, which waits another second for a broker that does not answer.
    Fix: whoever created it closes it, or lets it go.
    """
    producer._unregister_cleanup()
