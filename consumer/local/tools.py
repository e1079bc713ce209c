"""Command lines of Kafka's programs: the broker, and the tools of Kafka's bin/ directory."""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from consumer.local import jars, java

#: Kafka's tools by the name of their script in Kafka's bin/ (kafka-topics.sh is "topics").
TOOLS: Mapping[str, str] = MappingProxyType(
    {
        "acls": "org.apache.kafka.tools.AclCommand",
        "configs": "kafka.admin.ConfigCommand",
        "console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
        "console-producer": "org.apache.kafka.tools.ConsoleProducer",
        "consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        "delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
        "dump-log": "org.apache.kafka.tools.DumpLogSegments",
        "get-offsets": "org.apache.kafka.tools.GetOffsetShell",
        "log-dirs": "org.apache.kafka.tools.LogDirsCommand",
        "metadata-quorum": "org.apache.kafka.tools.MetadataQuorumCommand",
        "producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
        "reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
        "storage": "kafka.tools.StorageTool",
        "topics": "org.apache.kafka.tools.TopicCommand",
        "transactions": "org.apache.kafka.tools.TransactionsCommand",
        "verifiable-consumer": "org.apache.kafka.tools.VerifiableConsumer",
        "verifiable-producer": "org.apache.kafka.tools.VerifiableProducer",
    }
)

#: Small and quick to start. Perf data would leave a file in /tmp after SIGKILL.
_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Djava.awt.headless=true")


def prepare() -> None:
    """Make sure that Kafka can be started; downloads its jars on first use, and Java if there is none.

    Raises:
        UsageError: Java or Kafka's jars cannot be downloaded.
    """
    java.ensure()
    jars.resolve()


def tool(name: str, arguments: Sequence[str]) -> list[str]:
    """The command line of one of Kafka's tools, for `subprocess.run`; it logs only warnings.

    Args:
        name: a key of `TOOLS`.
        arguments: the tool's own arguments.

    Raises:
        UsageError: Java or Kafka's jars cannot be downloaded.
    """
    return java_command(TOOLS[name], arguments, ("-Xmx256m", "-Dkafka.log.level=WARN"))


def java_command(main_class: str, arguments: Sequence[str], options: Sequence[str] = ()) -> list[str]:
    """The command line of a main class among Kafka's jars.

    Raises:
        UsageError: Java or Kafka's jars cannot be downloaded.
    """
    log_config = Path(str(resources.files("consumer.local") / "log4j2.properties"))
    logging = f"-Dlog4j2.configurationFile={log_config.as_uri()}"
    return [java.ensure(), *_JVM, logging, *options, "-cp", f"{jars.resolve()}/*", main_class, *arguments]
