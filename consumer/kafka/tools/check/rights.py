"""Whether this user may do what a worker does. Each right is asked for by a request that can change nothing.

Brokers look at rights before they look at anything else in a request. So each probe is a request of the kind that the
worker sends, with a content that the broker cannot accept: the error tells whether the right was there.
"""

from kafka.errors import (
    AuthorizationError,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    IllegalGenerationError,
    InvalidProducerIdMappingError,
    InvalidRecordError,
    NotCoordinatorError,
    UnknownMemberIdError,
    for_code,
)
from kafka.protocol.consumer.group import HeartbeatRequest
from kafka.protocol.producer import AddOffsetsToTxnRequest, InitProducerIdRequest, ProduceRequest

from consumer.kafka.tools.check.cluster import Cluster, NotAnswered
from consumer.kafka.tools.check.topics import TopicFound, fetch, offsets
from consumer.settings import WorkerSettings

#: No coordinator hands out an id this high, so no transaction has it.
_NO_PRODUCER = 2**62
#: A coordinator that is not ready has looked at the right already.
_NOT_READY = (CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError)


def may_read(cluster: Cluster, topic: TopicFound) -> bool:
    """Whether records of a topic may be read: fetch from the end of a partition.

    Raises:
        NotAnswered: unknown, for example because the topic has no leader.
    """
    place = topic.partitions[0]
    try:
        fetch(cluster, topic.name, place.number, place.leader, offsets(cluster, topic)[place.number].end)
    except NotAnswered as error:
        if error.is_refused:
            return False
        raise
    return True


def may_write(cluster: Cluster, topic: TopicFound) -> bool:
    """Whether records may be written to a topic: produce a batch of no bytes, which a broker cannot take.

    Raises:
        NotAnswered: as `may_read`.
    """
    place = topic.partitions[0]
    if place.leader is None:
        raise NotAnswered(f"partition {place.number} of {topic.name} has no leader")
    produced = ProduceRequest.TopicProduceData
    request = ProduceRequest(
        transactional_id=None,
        acks=-1,
        timeout_ms=1000,
        topic_data=[
            produced(
                name=topic.name,
                partition_data=[produced.PartitionProduceData(index=place.number, records=b"")],
            )
        ],
        max_version=9,  # later ones name topics by their ids
    )
    response = cluster.ask(request, place.leader)
    [[answer]] = [each.partition_responses for each in response.responses]
    return _is_allowed(answer.error_code, InvalidRecordError)


def may_join(cluster: Cluster, settings: WorkerSettings) -> bool:
    """Whether this user may be in the group: a heartbeat of a member that does not exist.

    Raises:
        NotAnswered: as `may_read`.
    """
    try:
        coordinator = cluster.coordinator(settings.group_id)
    except NotAnswered as error:
        if error.is_refused:
            return False
        raise
    request = HeartbeatRequest(group_id=settings.group_id, generation_id=0, member_id="review-consumer-check")
    answer = cluster.ask(request, coordinator)
    return _is_allowed(answer.error_code, UnknownMemberIdError, IllegalGenerationError)


def may_transact(cluster: Cluster, settings: WorkerSettings) -> bool:
    """Whether the transactional id may be used: offsets for a transaction of a producer that does not exist.

    A live worker with the same id is not fenced by it.

    Raises:
        NotAnswered: as `may_read`; also if the group is refused, which is looked at after the transactional id.
    """
    try:
        coordinator = cluster.coordinator(settings.transactional_id, of_transactions=True)
    except NotAnswered as error:
        if error.is_refused:
            return False
        raise
    request = AddOffsetsToTxnRequest(
        transactional_id=settings.transactional_id,
        producer_id=_NO_PRODUCER,
        producer_epoch=0,
        group_id=settings.group_id,
    )
    return _is_allowed(
        cluster.ask(request, coordinator).error_code, InvalidProducerIdMappingError, about="Transactional"
    )


def may_number(cluster: Cluster) -> bool:
    """Whether batches may be numbered, as a producer without transactions does it: it asks for an id, and lets it go.

    Raises:
        NotAnswered: as `may_read`.
    """
    request = InitProducerIdRequest(
        transactional_id=None, transaction_timeout_ms=1000, producer_id=-1, producer_epoch=-1
    )
    return _is_allowed(cluster.ask(request).error_code)


def _is_allowed(code: int, *expected: type[Exception], about: str = "") -> bool:
    """What the error of a probe says: `expected` is what a broker answers to those who have the right."""
    kind = for_code(code)
    if not code or kind in {*expected, *_NOT_READY}:
        return True
    if issubclass(kind, AuthorizationError) and about in kind.__name__:
        return False
    raise NotAnswered(f"the broker answers {kind.__name__.removesuffix('Error')}")
