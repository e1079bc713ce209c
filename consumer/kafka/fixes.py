"""Thirteen faults of kafka-python 3.0, mended from outside; each is shown by a test in tests/faults.

Offsets that the group refused stay in the producer when its transaction is aborted, and go out with the *next* one, of
a worker that is a member again: offsets of partitions that others own by then move backwards, and their records come
twice (row 2; found by the soak). They are forgotten with the transaction.

A partition that is assigned again keeps its old position, even if others had it in between and this consumer only
missed that rebalance: it would read again what they have done (row 3; found by the soak). Every assignment starts from
the committed offsets, as in Kafka's own client.

A batch that the broker refused leaves a hole in the sequence numbers of its partition, so that the next transaction of
the same producer fails as well (row 15; found under load). Kafka's own client asks for a new epoch after such an abort
(KIP-360), and so does `bump_epoch`.

A header name that is not UTF-8, which Kafka carries and librdkafka sends, raises in `poll` for ever (row 10): it is
read as a `HeaderName`, which writes back the bytes that it was read from.

What a broker says right before it closes a connection is thrown away (row 28): the reason why a password is refused,
for example, comes that way. The transport hands it over first and sees the end of the connection afterwards.

Asked for the first or last offsets of partitions of which one has no leader, or is not in the metadata yet, it raises
`KeyError` for that one (row 5): what is known is answered.

Where a broker has no record at the position of a consumer, be it deleted or lost, it begins at the start of the
partition and tells nobody (row 23): it is noted. So is a log that is shorter than what was read of it, in which it goes
back to where the log ended (row 31).

Its `seek` takes no leader epoch, without which nobody asks whether a committed offset still means the same record: a
log that lost its end and has grown beyond the offset since goes unnoticed (row 31). `seek_committed` gives it one.

An answer without records makes it forget the leader epoch of its position, and so does what a consumer at the end of a
log is told all the time: that the log begins later now, that a transaction is open. The same records go unnoticed then
(row 31). The position keeps its epoch until a batch brings another.

A control batch from which the log cleaner has removed the marker raises in `poll` for ever, and it may well be the one
that Kafka keeps of a producer in a compacted topic (row 12): it holds no marker, as in Kafka's own client.

A member that joins anew takes no notice of the answer, if that comes between two polls (row 22). It asks once more,
and everybody else has to; a leader who asked because partitions were added even goes on with its old partitions, under
the new generation, which the broker does not refuse. The answer is taken with the next poll, as in Kafka's own client.

It asks brokers to create the topics that it names, whatever it is told (row 21): a topic that is deleted would be back,
with other settings.

It logs an error, ten times a second, while a transaction of somebody else decides a committed offset, which is normal
when a partition changes hands.

Tied to kafka-python 3.0 by the bound in pyproject.toml.
"""

import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Self

from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.consumer.subscription_state import SubscriptionState
from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.errors import KafkaTimeoutError
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport
from kafka.producer.transaction_manager import TransactionManager
from kafka.record import memory_records
from kafka.record.default_records import DefaultRecordBatch
from kafka.structs import MemberState, OffsetAndMetadata


class HeaderName(str):
    """Text that people can read, and the original bytes for Kafka."""

    raw: bytes
    __slots__ = ("raw",)

    def __new__(cls, raw: bytes) -> Self:
        """Escape what is not UTF-8."""
        name = super().__new__(cls, raw.decode("utf-8", "backslashreplace"))
        name.raw = raw
        return name

    def encode(self, *_: Any) -> bytes:
        """What kafka-python calls to write the name."""
        return self.raw


class _Name(bytes):
    def decode(self, *_: Any) -> str:
        try:
            return super().decode("utf-8")
        except UnicodeDecodeError:
            return HeaderName(bytes(self))


class _Buffer(bytearray):
    """Bytes of a batch whose slices never fail to decode."""

    def __getitem__(self, where: Any) -> Any:
        found = super().__getitem__(where)
        return _Name(found) if isinstance(where, slice) else found


class _Batch(DefaultRecordBatch):  # type: ignore[misc]
    __slots__ = ()

    def _read_msg(self) -> Any:
        try:
            return super()._read_msg()
        except UnicodeDecodeError:  # read that record again; no position has moved
            self._buffer = _Buffer(self._buffer)  # type: ignore[misc, has-type]
            return super()._read_msg()


def _data_before_end(receive: Callable[[Any], tuple[bytes, Any]]) -> Callable[[Any], tuple[bytes, Any]]:
    def receive_once(transport: Any) -> tuple[bytes, Any]:
        data, error = receive(transport)
        return data, None if data else error

    return receive_once


def _and_forget_offsets(complete: Callable[[Any], None]) -> Callable[[Any], None]:
    def complete_and_forget(manager: Any) -> None:
        complete(manager)
        manager._pending_txn_offset_commits = {}

    return complete_and_forget


def _from_the_commits(assign: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    def assign_anew(subscriptions: Any, partitions: Any) -> None:
        assign(subscriptions, [])
        assign(subscriptions, partitions)
        subscriptions.times_assigned = getattr(subscriptions, "times_assigned", 0) + 1

    return assign_anew


def _offsets_known(fetcher: Any, partitions: Any, timestamp: Any, timeout_ms: Any = None) -> dict[TopicPartition, int]:
    timestamps = dict.fromkeys(partitions, timestamp)
    found = fetcher._net.run(fetcher._fetch_offsets_by_times_async, timestamps, timeout_ms)
    return {partition: found[partition].offset for partition in timestamps if partition in found}


def _note(subscriptions: Any, what: str, partition: TopicPartition, offset: int) -> None:
    # A queue: the client's own thread notes while ours takes.
    vars(subscriptions).setdefault(what, deque()).append((partition, offset))


def _noted(consumer: Any, what: str) -> dict[TopicPartition, int]:
    notes: deque[tuple[TopicPartition, int]] = getattr(consumer._subscription, what, deque())
    return dict(notes.popleft() for _ in range(len(notes)))


def _noting(request_reset: Callable[..., None]) -> Callable[..., None]:
    def request_and_note(subscriptions: Any, partition: TopicPartition, strategy: Any = None) -> None:
        if strategy is None:  # not a seek of ours
            position = subscriptions.assignment[partition].position.offset
            _note(subscriptions, "out_of_range", partition, position)
        request_reset(subscriptions, partition, strategy)

    return request_and_note


def out_of_range(consumer: Any) -> dict[TopicPartition, int]:
    """Positions at which brokers had no record, noted since the last call; reading goes on at the start instead."""
    return _noted(consumer, "out_of_range")


def _noting_what_is_cut_off(seek: Callable[..., None]) -> Callable[..., None]:
    def seek_and_note(subscriptions: Any, partition: TopicPartition, offset: Any) -> None:
        if isinstance(offset, OffsetAndMetadata):  # only where the client finds that a log is shorter than it was
            _note(subscriptions, "cut_off", partition, offset.offset)
        seek(subscriptions, partition, offset)

    return seek_and_note


def cut_off(consumer: Any) -> dict[TopicPartition, int]:
    """Where logs ended that were shorter than what was read of them, noted since the last call; read on from there."""
    return _noted(consumer, "cut_off")


def has_lost_records(consumer: Any) -> bool:
    """Whether `out_of_range` or `cut_off` have something to tell; known before the position that follows from it."""
    return any(getattr(consumer._subscription, what, ()) for what in ("out_of_range", "cut_off"))


def seek_committed(consumer: Any, partition: TopicPartition, commit: OffsetAndMetadata) -> None:
    """Read on from a committed offset, as `consumer.seek` does, and with the leader epoch that was committed with it.

    By that epoch brokers tell whether the log has lost its end since, and has grown beyond the offset again (KIP-320).
    """
    consumer.seek(partition, commit.offset)
    consumer._subscription.assignment[partition].seek(OffsetAndMetadata(commit.offset, "", commit.leader_epoch))


def position(consumer: Any, partition: TopicPartition) -> OffsetAndMetadata | None:
    """Where a partition that is assigned is read next, with the leader epoch of what was read last, -1: not known.

    None while the client looks for a place to begin at. `consumer.position` may ask brokers, and raise what they say.
    """
    found: OffsetAndMetadata | None = consumer._subscription.assignment[partition].position
    return found


def topic_id(consumer: Any, topic: str) -> Any:
    """What tells a topic from another one of the same name; None while it is not known, or the topic is gone."""
    return consumer._cluster.topic_id(topic)


def _counting(handle: Callable[..., None]) -> Callable[..., None]:
    def handle_and_count(fetcher: Any, node: Any, offsets: Any, sent_at: Any, answer: Any) -> None:
        partitions = sum(len(topic.partitions) for topic in answer.responses)
        fetcher.turns = getattr(fetcher, "turns", 0) + max(1, partitions)
        handle(fetcher, node, offsets, sent_at, answer)

    return handle_and_count


def turns(consumer: Any) -> int:
    """Of how many partitions, each as often as it occurred, brokers have answered with records; 1 for an empty answer.

    All that came is handed out before more is asked for, of every partition. A broker may answer with those of one
    partition alone, but it takes turns (KIP-74, KIP-227).
    """
    return int(getattr(consumer._fetcher, "turns", 0))


def times_assigned(consumer: Any) -> int:
    """How often its group has given `consumer` partitions, the same ones or others."""
    return int(getattr(consumer._subscription, "times_assigned", 0))


def committed_now(consumer: Any, partition: TopicPartition, timeout_seconds: float) -> OffsetAndMetadata | None:
    """Committed offset of one partition, None if there is none, asked for once.

    Raises:
        UnstableOffsetCommitError: a transaction that is not finished decides it. `consumer.committed` would wait.
        KafkaError: no answer in time, or another one.
    """
    coordinator, timeout_ms = consumer._coordinator, timeout_seconds * 1000

    async def ask() -> Any:
        if not await coordinator.ensure_coordinator_ready_async(timeout_ms=timeout_ms):
            raise KafkaTimeoutError("no group coordinator")
        asked = coordinator._manager.call_soon(coordinator._send_offset_fetch_request, [partition])
        return await coordinator._manager.wait_for(asked, timeout_ms)

    return consumer._net.run(ask).get(partition)


def bump_epoch(producer: Any, timeout_seconds: float) -> None:
    """Let a transactional producer begin its sequence numbers anew, after an abort and before the next transaction.

    Raises:
        KafkaTimeoutError: no broker gave it a new epoch in time.
    """
    manager = producer._transaction_manager
    manager.bump_producer_id_and_epoch()
    producer._sender.wakeup()
    deadline = time.monotonic() + timeout_seconds
    while manager.is_bumping_epoch():
        if time.monotonic() > deadline:
            raise KafkaTimeoutError("no new epoch from the transaction coordinator")
        time.sleep(0.005)


def create_no_topics(client: Any) -> None:
    """Let `client` ask for the topics that there are; its option for it goes nowhere."""
    client.cluster.config["allow_auto_create_topics"] = False


def _until_it_has_joined(need_rejoin: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda coordinator: coordinator.rejoining or need_rejoin(coordinator)


def _taking_the_answer(join: Callable[..., Awaitable[bool]]) -> Callable[..., Awaitable[bool]]:
    async def take_or_join(coordinator: Any, timeout_ms: Any = None) -> bool:
        answer = coordinator._join_task
        if answer is None or not answer.succeeded() or coordinator.state is not MemberState.REBALANCING:
            return await join(coordinator, timeout_ms)
        # The end of `join_group_async`, as if it had still waited.
        coordinator._join_task = None
        with coordinator._lock:
            coordinator.rejoining = coordinator.rejoin_needed = False
            coordinator.state = MemberState.STABLE
            coordinator._enable_heartbeat()
        joined = coordinator._generation
        await coordinator._on_join_complete_async(joined.generation_id, joined.member_id, joined.protocol, answer.value)
        return True

    return take_or_join


def _keeping_the_epoch(parse: Callable[..., Any]) -> Callable[..., Any]:
    def parse_and_keep(fetcher: Any, fetched: Any) -> Any:
        records = parse(fetcher, fetched)
        before = records and fetcher._subscriptions.assignment[fetched.topic_partition].position
        if before:  # its batches, each with an epoch, are read later
            records.leader_epoch = before.leader_epoch
        return records

    return parse_and_keep


def _unless_it_is_empty(contains_abort_marker: Callable[..., bool]) -> Callable[..., bool]:
    return lambda records, batch: batch.records_count > 0 and contains_abort_marker(records, batch)


def retry_batches_after(producer: Any, milliseconds: int) -> None:
    """Wait longer before a batch is sent again than before a request of a transaction, which share one setting."""
    producer._accumulator.config["retry_backoff_ms"] = milliseconds


def _is_not_about_unstable_offsets(record: logging.LogRecord) -> bool:
    return "UnstableOffsetCommitError" not in record.getMessage()


def apply() -> None:
    """Mend all, for every client that this process creates from now on; once is enough."""
    if memory_records.DefaultRecordBatch is _Batch:
        return
    memory_records.DefaultRecordBatch = _Batch
    logging.getLogger("kafka.coordinator.consumer").addFilter(_is_not_about_unstable_offsets)
    TransactionManager._complete_transaction = _and_forget_offsets(TransactionManager._complete_transaction)
    Fetcher.beginning_or_end_offset = _offsets_known
    Fetcher._parse_fetched_data = _keeping_the_epoch(Fetcher._parse_fetched_data)
    Fetcher.PartitionRecords._contains_abort_marker = _unless_it_is_empty(
        Fetcher.PartitionRecords._contains_abort_marker
    )
    Fetcher._handle_fetch_response = _counting(Fetcher._handle_fetch_response)
    ConsumerCoordinator.need_rejoin = _until_it_has_joined(ConsumerCoordinator.need_rejoin)
    ConsumerCoordinator.join_group_async = _taking_the_answer(ConsumerCoordinator.join_group_async)
    SubscriptionState.request_offset_reset = _noting(SubscriptionState.request_offset_reset)
    SubscriptionState.seek = _noting_what_is_cut_off(SubscriptionState.seek)
    SubscriptionState.assign_from_subscribed = _from_the_commits(SubscriptionState.assign_from_subscribed)
    for transport in (KafkaTCPTransport, KafkaSSLTransport):
        transport._sock_recv = _data_before_end(transport._sock_recv)
