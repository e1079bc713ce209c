"""server.properties of a development broker: small, quick to rebalance, strict about topics."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from consumer.local.node import HOST, Ports

#: Of the topics made here: what deploy/kafka/create-topics.sh recommends.
TOPIC_CONFIGS = {"compression.type": "uncompressed"}


def server_properties(
    node_id: int,
    cluster: Sequence[Ports],
    data: Path,
    *,
    protocol: str,
    advertised: str | None,
    extra: Mapping[str, str],
) -> dict[str, str]:
    """The properties of one node.

    Args:
        node_id: from 1; its ports are `cluster[node_id - 1]`.
        cluster: the ports of every node.
        data: the data directory.
        protocol: of the listener for clients: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        advertised: HOST:PORT that the broker advertises to clients, such as a proxy; None: the listener itself.
        extra: overrides everything here.
    """
    ports = cluster[node_id - 1]
    replicas = str(min(3, len(cluster)))
    in_sync = "2" if len(cluster) >= 3 else "1"
    return {
        "process.roles": "broker,controller",
        "node.id": str(node_id),
        "controller.quorum.voters": ",".join(f"{n}@{HOST}:{p.controller}" for n, p in enumerate(cluster, start=1)),
        # Brokers and administration use a plaintext listener of their own. What a test does to the listener for clients
        # (TLS, passwords, a proxy that drops connections) does not affect readiness and topic creation.
        "listeners": f"CLIENT://{HOST}:{ports.client},INTERNAL://{HOST}:{ports.internal},"
        f"CONTROLLER://{HOST}:{ports.controller}",
        "advertised.listeners": f"CLIENT://{advertised or f'{HOST}:{ports.client}'},INTERNAL://{HOST}:{ports.internal}",
        "listener.security.protocol.map": f"CLIENT:{protocol},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "INTERNAL",
        "controller.listener.names": "CONTROLLER",
        "super.users": "User:ANONYMOUS",  # clients of INTERNAL; has an effect only with an authorizer
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": "1",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        # How long a killed broker keeps its partitions, and must wait before it can register again.
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "500",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "log.cleaner.dedupe.buffer.size": str(4 << 20),  # 128 MiB of heap otherwise
        **extra,
    }
