"""The consumer group: who is in it, and how far it has come."""

from dataclasses import dataclass

from kafka.errors import GroupIdNotFoundError, UnstableOffsetCommitError, for_code
from kafka.protocol.admin import DescribeGroupsRequest
from kafka.protocol.consumer import OffsetFetchRequest

from consumer.kafka.tools.check.cluster import Cluster, refuse
from consumer.kafka.tools.check.topics import TopicFound


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the group; `instance` is its name if its membership is static."""

    client: str
    host: str
    instance: str | None


@dataclass(frozen=True, slots=True)
class GroupFound:
    """The group.

    Attributes:
        state: as Kafka calls it: Empty, Stable, PreparingRebalance, CompletingRebalance; Dead if there is none.
        kind: "consumer", or what other programs use; empty if it never had a member.
    """

    state: str
    kind: str
    members: tuple[Member, ...]


def group(cluster: Cluster, group_id: str) -> GroupFound:
    """The group, as its coordinator knows it.

    Raises:
        NotAnswered: no coordinator, or a right is missing.
    """
    request = DescribeGroupsRequest(groups=[group_id], include_authorized_operations=False)
    [found] = cluster.ask(request, cluster.coordinator(group_id)).groups
    if for_code(found.error_code) is GroupIdNotFoundError:
        return GroupFound("Dead", "", ())
    refuse(found.error_code)
    members = (Member(each.client_id, each.client_host.lstrip("/"), each.group_instance_id) for each in found.members)
    return GroupFound(found.group_state, found.protocol_type, tuple(members))


def committed(cluster: Cluster, group_id: str, topic: TopicFound) -> tuple[dict[int, int | None], set[int]]:
    """The committed offset of each partition, None without one; and the partitions whose offset is in doubt.

    An offset is in doubt while a transaction that may change it is open.

    Raises:
        NotAnswered: as `group`.
    """
    numbers = [each.number for each in topic.partitions]
    asked = OffsetFetchRequest.OffsetFetchRequestTopic(name=topic.name, partition_indexes=numbers)
    request = OffsetFetchRequest(group_id=group_id, topics=[asked], require_stable=True, min_version=7, max_version=7)
    response = cluster.ask(request, cluster.coordinator(group_id))
    refuse(response.error_code)
    offsets: dict[int, int | None] = {}
    doubtful = set()
    for each in (partition for found in response.topics for partition in found.partitions):
        if for_code(each.error_code) is UnstableOffsetCommitError:
            doubtful.add(int(each.partition_index))
            continue
        refuse(each.error_code)
        offsets[int(each.partition_index)] = int(each.committed_offset) if each.committed_offset >= 0 else None
    return offsets, doubtful
