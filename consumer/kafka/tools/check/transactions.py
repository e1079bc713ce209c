"""Transactions: those of others that are open, and an aborted one of our own, which also tells the brokers' time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kafka import TopicPartition
from kafka.errors import (
    ConcurrentTransactionsError,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    for_code,
)
from kafka.protocol.admin.transactions import DescribeTransactionsRequest
from kafka.protocol.producer import AddOffsetsToTxnRequest, EndTxnRequest, InitProducerIdRequest

from consumer.kafka.tools.check.cluster import COORDINATOR_SECONDS, Cluster, NotAnswered, refuse
from consumer.settings import WorkerSettings

_RETRY_SECONDS = 0.05
#: The transaction before is being completed, or the coordinator has just begun to be one.
_RETRIABLE = {ConcurrentTransactionsError, CoordinatorLoadInProgressError, CoordinatorNotAvailableError}


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """A transaction that is open on a partition; `written_ms` is the timestamp of its last record, in epoch ms."""

    partition: int
    start_offset: int
    producer_id: int
    written_ms: int


@dataclass(frozen=True, slots=True)
class Clock:
    """How far this machine is ahead of the broker, in seconds, and by how much that may be wrong."""

    ahead: float
    give_or_take: float


def open_transactions(cluster: Cluster, topic: str, partitions: list[int]) -> list[OpenTransaction]:
    """The transactions that are open on these partitions.

    Raises:
        NotAnswered: the right to read the topic is missing, or a leader does not answer.
    """
    places = [TopicPartition(topic, number) for number in partitions]
    found = cluster.with_admin(lambda admin: admin.describe_producers(places))
    return [
        OpenTransaction(place.partition, each.current_transaction_start_offset, each.producer_id, each.last_timestamp)
        for place, state in sorted(found.items())
        for each in state.active_producers
        if each.current_transaction_start_offset >= 0
    ]


def aborted_transaction(
    cluster: Cluster, settings: WorkerSettings, now: Callable[[], float] = time.time
) -> Clock | None:
    """Begin a transaction with nothing but the group in it, ask when it began, and abort it.

    The id is not that of a worker, so none is fenced: no instance id contains a slash. No topic and no offset of the
    group changes; the coordinator remembers the id for a week, as it does with each worker.

    Args:
        cluster: asked.
        settings: group, and the timeout that the coordinator has to accept.
        now: the time of this machine, in epoch seconds.

    Returns:
        What the clocks say; None if the broker does not tell.

    Raises:
        NotAnswered: transactions do not work for this user.
    """
    name = f"{settings.group_id}/check/"
    coordinator = cluster.coordinator(name, of_transactions=True)
    milliseconds = int(settings.transaction_timeout_seconds * 1000)
    initialised = _asked(
        cluster,
        coordinator,
        InitProducerIdRequest(
            transactional_id=name, transaction_timeout_ms=milliseconds, producer_id=-1, producer_epoch=-1
        ),
    )
    producer = {
        "transactional_id": name,
        "producer_id": initialised.producer_id,
        "producer_epoch": initialised.producer_epoch,
    }
    before = now()
    _asked(cluster, coordinator, AddOffsetsToTxnRequest(**producer, group_id=settings.group_id))
    after = now()
    try:
        began = _begun(cluster, coordinator, name)
    finally:
        _asked(cluster, coordinator, EndTxnRequest(**producer, committed=False))
    return None if began is None else Clock((before + after) / 2 - began, (after - before) / 2)


def _begun(cluster: Cluster, coordinator: int, name: str) -> float | None:
    """When the open transaction began, by the clock of its coordinator; None for one older than Kafka 3.0."""
    try:
        [state] = cluster.ask(DescribeTransactionsRequest(transactional_ids=[name]), coordinator).transaction_states
        refuse(state.error_code)
    except NotAnswered:
        return None
    return float(state.transaction_start_time_ms) / 1000


def _asked(cluster: Cluster, coordinator: int, request: Any) -> Any:
    """The response to a request of a transaction, which waits for the end of the one before it."""
    deadline = time.monotonic() + COORDINATOR_SECONDS
    while True:
        response = cluster.ask(request, coordinator)
        kind = for_code(response.error_code)
        if kind not in _RETRIABLE or time.monotonic() > deadline:
            refuse(response.error_code)
            return response
        time.sleep(_RETRY_SECONDS)
