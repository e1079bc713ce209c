"""Administration of a cluster that needs no password: readiness and topics of the local Kafka."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

_TIMEOUT_MS = 10_000


@contextmanager
def open_admin(servers: Sequence[str]) -> Iterator[Any]:
    """A kafka-python `KafkaAdminClient` for the brokers at `servers`, each HOST:PORT.

    Raises:
        kafka.errors.KafkaError: no broker answers.
    """
    from kafka import KafkaAdminClient

    client = KafkaAdminClient(bootstrap_servers=list(servers), bootstrap_timeout_ms=_TIMEOUT_MS)
    try:
        yield client
    finally:
        client.close()


def known_brokers(servers: Sequence[str]) -> set[int]:
    """Ids of the brokers that the cluster at `servers` counts as its own; empty if it does not answer."""
    from kafka.errors import KafkaError

    try:
        with open_admin(servers) as admin:
            return {broker["broker_id"] for broker in admin.describe_cluster()["brokers"]}
    except (OSError, KafkaError):
        return set()


def create_topics(
    servers: Sequence[str],
    topics: Mapping[str, int],
    configs: Mapping[str, str] | None = None,
    *,
    exist_ok: bool = False,
) -> None:
    """Create topics and wait until every partition has a leader.

    Args:
        servers: the brokers, each HOST:PORT.
        topics: number of partitions by topic name.
        configs: topic configuration for all of them, such as {"max.message.bytes": "2000000"}.
        exist_ok: leave existing topics unchanged.

    Raises:
        kafka.errors.KafkaError: refused by the cluster, for example TopicAlreadyExistsError.
    """
    with open_admin(servers) as admin:
        wanted = set(topics) - set(admin.list_topics() if exist_ok else ())
        if wanted:
            options = {name: {"num_partitions": topics[name], "configs": dict(configs or {})} for name in wanted}
            admin.create_topics(options, wait_for_metadata=True)
