"""What the checks of Kafka look at, each asked for once."""

from functools import cached_property

from consumer.kafka.tools.check import topics
from consumer.kafka.tools.check.brokers import BrokerFound, brokers
from consumer.kafka.tools.check.cluster import Cluster, NotAnswered
from consumer.kafka.tools.check.topics import Offsets, TopicFound
from consumer.settings import WorkerSettings

INPUT, OUTPUT, DEAD = "input", "output", "dead-letter"


class Context:
    """A cluster that answers, and what it has answered.

    Args:
        cluster: connected.
        settings: of the worker.
        workers: how many are planned; None if that was not said.
    """

    def __init__(self, cluster: Cluster, settings: WorkerSettings, workers: int | None) -> None:
        self.cluster = cluster
        self.settings = settings
        self.workers = workers
        self.names = {INPUT: settings.input_topic, OUTPUT: settings.output_topic, DEAD: settings.dead_letter_topic}
        self._configs: dict[str, dict[str, str]] = {}
        self._offsets: dict[str, dict[int, Offsets]] = {}

    @cached_property
    def brokers(self) -> list[BrokerFound]:
        """Every broker of the cluster."""
        return brokers(self.cluster, self.settings)

    @cached_property
    def topics(self) -> dict[str, TopicFound]:
        """Each topic by its role.

        Raises:
            NotAnswered: no broker answers.
        """
        found = topics.topics(self.cluster, list(self.names.values()))
        return {role: found.get(name) or TopicFound(name, ()) for role, name in self.names.items()}

    def topic(self, role: str) -> TopicFound:
        """A topic that exists.

        Raises:
            NotAnswered: it does not exist, or this user may not see it.
        """
        topic = self.topics[role]
        if not topic.partitions:
            raise NotAnswered(f"topic {topic.name} does not exist, or this user may not see it")
        return topic

    def configs(self, role: str) -> dict[str, str]:
        """The configuration of a topic.

        Raises:
            NotAnswered: the right to see it is missing, or there is no such topic.
        """
        if role not in self._configs:
            self._configs[role] = topics.configs(self.cluster, self.topic(role).name)
        return self._configs[role]

    def offsets(self, role: str) -> dict[int, Offsets]:
        """The offsets of each partition of a topic.

        Raises:
            NotAnswered: a partition has no leader.
        """
        if role not in self._offsets:
            self._offsets[role] = topics.offsets(self.cluster, self.topic(role))
        return self._offsets[role]

    def acl(self, operation: str, resource: str) -> str:
        """The command that grants a right, for a remedy."""
        user = self.settings.sasl_username or "PRINCIPAL"
        return (
            f"kafka-acls.sh --bootstrap-server {self.settings.bootstrap_servers} --add "
            f"--allow-principal User:{user} --operation {operation} {resource}"
        )

    def alter(self, role: str, config: str) -> str:
        """The command that changes the configuration of a topic, for a remedy."""
        return (
            f"kafka-configs.sh --bootstrap-server {self.settings.bootstrap_servers} --alter "
            f"--topic {self.names[role]} --add-config {config}"
        )
