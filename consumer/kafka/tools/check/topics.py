"""What the topics are: partitions, replicas, configuration, offsets."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kafka import TopicPartition
from kafka.admin import ConfigResourceType
from kafka.admin._partitions import OffsetSpec
from kafka.errors import UnknownTopicOrPartitionError, for_code
from kafka.protocol.admin import DescribeConfigsRequest
from kafka.protocol.consumer.fetch import FetchRequest
from kafka.protocol.metadata import MetadataRequest
from kafka.record import MemoryRecords

from consumer.kafka.tools.check.cluster import Cluster, NotAnswered, refuse


@dataclass(frozen=True, slots=True)
class PartitionFound:
    """A partition; `leader` is None while there is none, and `replicas` are the brokers that should hold it."""

    number: int
    leader: int | None
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TopicFound:
    """A topic.

    Attributes:
        partitions: none if it does not exist.
        refused: this user may not see it, or it does not exist; brokers tell only those who may create topics.
    """

    name: str
    partitions: tuple[PartitionFound, ...]
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Offsets:
    """Of one partition: the first, the end for readers of committed records, and the end of the log."""

    first: int
    stable: int
    end: int


def topics(cluster: Cluster, names: Sequence[str]) -> dict[str, TopicFound]:
    """Each of these topics; none is created.

    Raises:
        NotAnswered: no broker answers.
    """
    wanted = [MetadataRequest.MetadataRequestTopic(name=name) for name in names]
    response = cluster.ask(MetadataRequest(topics=wanted, allow_auto_topic_creation=False, min_version=4))
    found = {}
    for topic in response.topics:
        kind = for_code(topic.error_code)
        if topic.error_code and kind is not UnknownTopicOrPartitionError and not topic.partitions:
            try:
                refuse(topic.error_code)
            except NotAnswered as error:
                if not error.is_refused:
                    raise
        found[topic.name] = TopicFound(
            topic.name,
            tuple(
                PartitionFound(
                    each.partition_index,
                    each.leader_id if each.leader_id >= 0 else None,
                    tuple(each.replica_nodes),
                    tuple(each.isr_nodes),
                )
                for each in sorted(topic.partitions, key=lambda each: int(each.partition_index))
            ),
            bool(topic.error_code) and kind is not UnknownTopicOrPartitionError,
        )
    return found


def configs(cluster: Cluster, topic: str) -> dict[str, str]:
    """The configuration of a topic, defaults included.

    Raises:
        NotAnswered: a right is missing, or there is no such topic.
    """
    request = DescribeConfigsRequest(resources=[(ConfigResourceType.TOPIC, topic, None)], include_synonyms=False)
    [result] = cluster.ask(request).results
    refuse(result.error_code)
    return {each.name: each.value or "" for each in result.configs}


def offsets(cluster: Cluster, topic: TopicFound) -> dict[int, Offsets]:
    """The offsets of each partition.

    Raises:
        NotAnswered: a partition has no leader, or a right is missing.
    """
    places = [TopicPartition(topic.name, each.number) for each in topic.partitions]

    def asked(spec: int, isolation: str) -> dict[TopicPartition, int]:
        listed = cluster.with_admin(lambda admin: admin.list_partition_offsets(dict.fromkeys(places, spec), isolation))
        return {place: int(each.offset) for place, each in listed.items()}

    first = asked(OffsetSpec.EARLIEST, "read_uncommitted")
    stable = asked(OffsetSpec.LATEST, "read_committed")
    end = asked(OffsetSpec.LATEST, "read_uncommitted")
    return {place.partition: Offsets(first[place], stable[place], end[place]) for place in places}


def offsets_at(cluster: Cluster, topic: TopicFound, timestamp_ms: int) -> dict[int, int | None]:
    """Offset of the first record of each partition since that time; None if there is none.

    Raises:
        NotAnswered: as `offsets`.
    """
    places = {TopicPartition(topic.name, each.number): timestamp_ms for each in topic.partitions}
    listed = cluster.with_admin(lambda admin: admin.list_partition_offsets(places))
    return {place.partition: each.offset if each.offset >= 0 else None for place, each in listed.items()}


def oldest_ms(cluster: Cluster, topic: TopicFound, unread: Iterable[tuple[int, int]]) -> int | None:
    """Timestamp of the oldest batch that begins at one of these (partition, offset), in epoch milliseconds.

    Batches are not unpacked: the timestamp is that of the first record of the batch that holds the offset.

    Raises:
        NotAnswered: the right to read is missing, or a leader does not answer.
    """
    leaders = {each.number: each.leader for each in topic.partitions}
    found = []
    for partition, offset in unread:
        content = fetch(cluster, topic.name, partition, leaders[partition], offset)
        batch = MemoryRecords(content).next_batch() if content else None
        if batch is not None:
            found.append(int(getattr(batch, "first_timestamp", -1)))  # producers before Kafka 0.11 may give none
    return min((written for written in found if written >= 0), default=None)


def fetch(cluster: Cluster, topic: str, partition: int, leader: int | None, offset: int) -> bytes:
    """The batch at `offset`, as it is stored; empty if there is none. Nothing is committed.

    Raises:
        NotAnswered: the right to read is missing, or the leader does not answer.
    """
    if leader is None:
        raise NotAnswered(f"partition {partition} of {topic} has no leader")
    place = FetchRequest.FetchTopic.FetchPartition(
        partition=partition,
        current_leader_epoch=-1,
        fetch_offset=offset,
        log_start_offset=-1,
        partition_max_bytes=1,  # the broker returns one whole batch nevertheless
    )
    request = FetchRequest(
        replica_id=-1,
        max_wait_ms=0,
        min_bytes=0,
        max_bytes=1,
        isolation_level=0,
        session_id=0,
        session_epoch=-1,
        topics=[FetchRequest.FetchTopic(topic=topic, partitions=[place])],
        forgotten_topics_data=[],
        rack_id="",
        max_version=11,  # later ones name topics by their ids
    )
    response = cluster.ask(request, leader)
    refuse(response.error_code)
    [[answer]] = [each.partitions for each in response.responses]
    refuse(answer.error_code)
    return bytes(answer.records or b"")
