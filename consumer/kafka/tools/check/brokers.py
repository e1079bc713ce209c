"""Which brokers there are, which of them answer, and as what."""

from dataclasses import dataclass

from consumer.kafka.reach import problems
from consumer.kafka.tools.check.cluster import Cluster, NotAnswered
from consumer.settings import WorkerSettings

#: How long to try the addresses, all at once.
LOOK_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class BrokerFound:
    """A broker that the cluster advertises.

    Attributes:
        address: HOST:PORT.
        version: of Kafka that it speaks as; None if it does not answer.
        problem: why it does not answer, and what to do; empty if it does.
    """

    node: int
    address: str
    version: tuple[int, ...] | None
    problem: str = ""


def bootstrap_problems(settings: WorkerSettings) -> dict[str, str]:
    """What is wrong with each address of `bootstrap_servers`, tried without credentials; empty if nothing is."""
    return _problems(settings, settings.bootstrap_servers.split(","))


def brokers(cluster: Cluster, settings: WorkerSettings) -> list[BrokerFound]:
    """Every broker of the cluster, asked over a connection of its own and with the credentials."""
    addresses = {
        node: f"{f'[{host}]' if ':' in host else host}:{port}" for node, (host, port) in sorted(cluster.brokers.items())
    }
    unreachable = _problems(settings, list(addresses.values()))
    return [_asked(cluster, node, address, unreachable[address]) for node, address in addresses.items()]


def _asked(cluster: Cluster, node: int, address: str, problem: str) -> BrokerFound:
    if problem:
        return BrokerFound(node, address, None, problem)
    try:
        return BrokerFound(node, address, cluster.version(node))
    except NotAnswered as error:
        return BrokerFound(node, address, None, f"{address} does not answer: {error}; look at the log of this broker")


def _problems(settings: WorkerSettings, addresses: list[str]) -> dict[str, str]:
    return problems(addresses, settings.security_protocol.endswith("SSL"), LOOK_SECONDS)
