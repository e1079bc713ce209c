"""Records that the topic no longer has. The client reads on somewhere else, without a word; here that is noted."""

from collections import deque
from typing import Any

from kafka import TopicPartition
from kafka.consumer.subscription_state import SubscriptionState
from kafka.structs import OffsetAndMetadata

# --- Positions out of range ------------------------------------------------------------------------------------------


def note_out_of_range() -> None:
    """Note each position at which the broker has no record, for `out_of_range`.

    Fault: if the record at the position was deleted or lost, the client restarts at the beginning of the partition and
        does not report it.
    Fix: note the position when the client resets it.
    Shown by: test_row_23_records_that_retention_deleted_are_counted
    """
    request_reset = SubscriptionState.request_offset_reset

    def request_and_note(subscriptions: Any, partition: TopicPartition, strategy: Any = None) -> None:
        if strategy is None:  # not a seek of ours
            position = subscriptions.assignment[partition].position.offset
            _note(subscriptions, "out_of_range", partition, position)
        request_reset(subscriptions, partition, strategy)

    SubscriptionState.request_offset_reset = request_and_note


def out_of_range(consumer: Any) -> dict[TopicPartition, int]:
    """Positions noted since the last call; the partitions are now read from their beginning."""
    return _noted(consumer, "out_of_range")


# --- Logs that lost their end ----------------------------------------------------------------------------------------


def note_cut_off() -> None:
    """Note each log that is now shorter than what was read of it, for `cut_off`.

    Fault: the client goes back to the new end and does not report it.
    Fix: note that end when the client seeks to it.
    Shown by: test_row_31_a_log_that_loses_its_end_under_a_worker_is_read_on_from_there
    """
    seek = SubscriptionState.seek

    def seek_and_note(subscriptions: Any, partition: TopicPartition, offset: Any) -> None:
        if isinstance(offset, OffsetAndMetadata):  # only when the client finds that a log is shorter than it was
            _note(subscriptions, "cut_off", partition, offset.offset)
        seek(subscriptions, partition, offset)

    SubscriptionState.seek = seek_and_note


def cut_off(consumer: Any) -> dict[TopicPartition, int]:
    """New ends of the logs noted since the last call; the partitions are now read from there."""
    return _noted(consumer, "cut_off")


def has_lost_records(consumer: Any) -> bool:
    """Whether `out_of_range` or `cut_off` have news; true before the client moves the position.

    Shown by: test_row_31_no_position_goes_back_before_a_new_lineage_begins
    """
    return any(getattr(consumer._subscription, what, ()) for what in ("out_of_range", "cut_off"))


def _note(subscriptions: Any, what: str, partition: TopicPartition, offset: int) -> None:
    # A queue: the client's own thread appends while ours removes.
    vars(subscriptions).setdefault(what, deque()).append((partition, offset))


def _noted(consumer: Any, what: str) -> dict[TopicPartition, int]:
    notes: deque[tuple[TopicPartition, int]] = getattr(consumer._subscription, what, deque())
    return dict(notes.popleft() for _ in range(len(notes)))


# --- Topics that were deleted and created again ----------------------------------------------------------------------


def topic_id(consumer: Any, topic: str) -> Any:
    """Return the id that tells a topic from a later one of the same name; None if it is unknown or the topic is gone.

    Fault: the client reads on in the new topic at the old position.
    Fix: `consumer.kafka.losses` compares the ids.
    Shown by: test_row_31_a_topic_that_is_recreated_under_a_worker_is_read_from_its_start
    """
    return consumer._cluster.topic_id(topic)
