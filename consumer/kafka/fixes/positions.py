"""Where a partition is read: assignments, committed offsets, leader epochs, ends, turns."""

import logging
import time
from typing import Any

from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.consumer.subscription_state import SubscriptionState
from kafka.errors import KafkaTimeoutError
from kafka.structs import OffsetAndMetadata

# --- Positions of an earlier assignment ------------------------------------------------------------------------------


def start_from_commits() -> None:
    """Start every assignment from the committed offsets.

    Fault: a partition that is assigned again keeps its old position, even if other workers had it in between and this
        consumer missed that rebalance. It reads again what they have done. Found by the soak.
    Fix: an assignment first drops all partitions, as in Kafka's own client; it is counted for `times_assigned`.
    Shown by: test_row_03_a_worker_that_missed_a_rebalance_starts_from_the_commits
    """
    assign = SubscriptionState.assign_from_subscribed

    def assign_from_commits(subscriptions: Any, partitions: Any) -> None:
        assign(subscriptions, [])
        assign(subscriptions, partitions)
        subscriptions.times_assigned = getattr(subscriptions, "times_assigned", 0) + 1

    SubscriptionState.assign_from_subscribed = assign_from_commits


def times_assigned(consumer: Any) -> int:
    """How often its group has assigned partitions to `consumer`, the same ones or others."""
    return int(getattr(consumer._subscription, "times_assigned", 0))


# --- Committed offsets that a transaction still decides --------------------------------------------------------------


def log_no_unstable_offsets() -> None:
    """Drop the log line about a committed offset that a transaction still decides.

    Fault: it is an error, ten times a second. While a partition changes hands this is normal.
    Fix: a filter; `consumer.kafka.assignment` logs it once.
    Shown by: test_row_03_one_offset_in_doubt_holds_up_one_partition
    """
    logging.getLogger("kafka.coordinator.consumer").addFilter(_is_not_about_unstable_offsets)


def _is_not_about_unstable_offsets(record: logging.LogRecord) -> bool:
    return "UnstableOffsetCommitError" not in record.getMessage()


def committed_now(consumer: Any, partition: TopicPartition, timeout_seconds: float) -> OffsetAndMetadata | None:
    """Return the committed offset of one partition, or None if there is none. Asks once.

    Fault: `consumer.committed` waits until the transaction that decides the offset has ended.
    Fix: one request, whose error is raised.
    Shown by: test_row_03_one_offset_in_doubt_holds_up_one_partition

    Raises:
        UnstableOffsetCommitError: an open transaction decides the offset.
        KafkaError: another error, or no answer in time.
    """
    coordinator, deadline = consumer._coordinator, time.monotonic() + timeout_seconds

    def left_ms() -> float:
        return max(1.0, (deadline - time.monotonic()) * 1000)

    async def ask() -> Any:
        if not await coordinator.ensure_coordinator_ready_async(timeout_ms=left_ms()):
            raise KafkaTimeoutError("no group coordinator")
        asked = coordinator._manager.call_soon(coordinator._send_offset_fetch_request, [partition])
        return await coordinator._manager.wait_for(asked, left_ms())

    return consumer._net.run(ask).get(partition)


# --- Leader epochs ---------------------------------------------------------------------------------------------------


def seek(consumer: Any, partition: TopicPartition, offset: int, leader_epoch: int) -> None:
    """Seek to an offset with the leader epoch of the record before it, as it was read or committed; -1: unknown.

    Fault: `consumer.seek` takes no leader epoch. Without it no client checks whether the offset still means the same
        record: a log that lost its end and has since grown beyond the offset goes unnoticed (KIP-320).
    Fix: the epoch is set on the position.
    Shown by: test_row_31_a_log_that_lost_its_end_between_two_workers_is_read_on_from_there
    """
    consumer.seek(partition, offset)
    consumer._subscription.assignment[partition].seek(OffsetAndMetadata(offset, "", leader_epoch))


def position(consumer: Any, partition: TopicPartition) -> OffsetAndMetadata | None:
    """Return the next offset of an assigned partition with the leader epoch of the last record read (-1: unknown).

    Fault: `consumer.position` has no epoch; it may ask brokers, wait, and raise what they answer.
    Fix: read the client's own state. None while the client looks for a place to start.
    """
    found: OffsetAndMetadata | None = consumer._subscription.assignment[partition].position
    return found


def keep_leader_epochs() -> None:
    """Keep the leader epoch of a position until a batch brings another.

    Fault: a response without records clears it. A consumer at the end of a log gets such responses all the time: the
        log start moved, a transaction is open. A log that loses its end then goes unnoticed.
    Fix: parsed fetches inherit the epoch of the position.
    Shown by: test_row_31_an_answer_without_records_does_not_hide_that_a_log_loses_its_end
    """
    parse = Fetcher._parse_fetched_data

    def parse_and_keep(fetcher: Any, fetched: Any) -> Any:
        records = parse(fetcher, fetched)
        before = records and fetcher._subscriptions.assignment[fetched.topic_partition].position
        if before:  # its batches, each with an epoch, are read later
            records.leader_epoch = before.leader_epoch
        return records

    Fetcher._parse_fetched_data = parse_and_keep


# --- Ends of partitions ----------------------------------------------------------------------------------------------


def note_ends() -> None:
    """Note the end of each partition that comes with every answer, for `are_at_their_ends`.

    Fault: the client keeps the high watermark, which counts open transactions, and drops the last stable offset.
    Fix: note the last stable offset on the position's state.
    Shown by: test_the_stages_add_up_to_the_wall_time
    """
    parse = Fetcher._parse_fetched_data

    def parse_and_note(fetcher: Any, fetched: Any) -> Any:
        records = parse(fetcher, fetched)
        answer = fetched.partition_data
        if (state := fetcher._subscriptions.assignment.get(fetched.topic_partition)) and not answer.error_code:
            state.stable_end = answer.last_stable_offset
        return records

    Fetcher._parse_fetched_data = parse_and_note


def are_at_their_ends(consumer: Any) -> bool:
    """Whether all assigned partitions are read to the ends that brokers gave last, and nothing fetched is left."""
    fetcher = consumer._fetcher
    if fetcher._completed_fetches or fetcher._next_partition_records:
        return False
    return all(
        state.position is not None and state.position.offset >= getattr(state, "stable_end", state.position.offset + 1)
        for state in list(consumer._subscription.assignment.values())
    )


# --- First and last offsets ------------------------------------------------------------------------------------------


def return_known_offsets() -> None:
    """Return the first or last offsets that are known.

    Fault: if one of several partitions has no leader, or is not in the metadata yet, the call raises `KeyError`.
    Fix: leave that partition out.
    Shown by: test_row_05_a_partition_without_a_leader_holds_up_no_other
    """
    Fetcher.beginning_or_end_offset = _offsets_known


def _offsets_known(fetcher: Any, partitions: Any, timestamp: Any, timeout_ms: Any = None) -> dict[TopicPartition, int]:
    timestamps = dict.fromkeys(partitions, timestamp)
    found = fetcher._net.run(fetcher._fetch_offsets_by_times_async, timestamps, timeout_ms)
    return {partition: found[partition].offset for partition in timestamps if partition in found}


# --- Turns -----------------------------------------------------------------------------------------------------------


def count_turns() -> None:
    """Count the partitions that brokers have returned, for `turns`.

    Fault: version 3.0.7 stops fetching a partition after some rebalances, without a log line.
    Fix: with the count, `consumer.stall` can tell such a partition from one that waits its turn.
    Shown by: test_row_30_a_partition_that_is_never_read_again_is_noticed_under_load
    """
    handle = Fetcher._handle_fetch_response

    def handle_and_count(fetcher: Any, node: Any, offsets: Any, sent_at: Any, answer: Any) -> None:
        partitions = sum(len(topic.partitions) for topic in answer.responses)
        fetcher.turns = getattr(fetcher, "turns", 0) + max(1, partitions)
        handle(fetcher, node, offsets, sent_at, answer)

    Fetcher._handle_fetch_response = handle_and_count


def turns(consumer: Any) -> int:
    """How many partitions brokers have returned with records, counting repeats; an empty response counts as one.

    The client hands out everything it has fetched before it fetches again, for all partitions. A broker may return the
    records of one partition only, but it rotates through them (KIP-74, KIP-227).
    """
    return int(getattr(consumer._fetcher, "turns", 0))
