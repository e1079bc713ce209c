"""`review-consumer kafka`: a real Kafka for development, and Kafka's own tools without an installation."""

import argparse
import os
import re
import sys
import time
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from consumer.errors import GaveUp, UsageError
from consumer.local import tools
from consumer.local.cluster import LocalCluster
from consumer.local.config import TOPIC_CONFIGS
from consumer.local.interrupts import Interrupts

DEFAULT_PORT = 9092
DEFAULT_TOPICS = "reviews:4,reviews.labeled:4,reviews.dlq:4"
MAX_BROKERS = 5  # each is a JVM of up to 512 MiB
_POLL_SECONDS = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `review-consumer kafka`."""
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="port to listen on, 0 for any free one (default: %(default)s)"
    )
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="keep the data here (default: temporary)")
    parser.add_argument(
        "--topics",
        type=_topics,
        default=DEFAULT_TOPICS,
        metavar="NAME:PARTITIONS,...",
        help="topics to create if they do not exist (default: %(default)s)",
    )
    parser.add_argument(
        "--brokers",
        type=int,
        default=1,
        metavar="N",
        help="brokers to run, on consecutive ports (default: %(default)s)",
    )
    parser.add_argument(
        "--tool",
        nargs=argparse.REMAINDER,
        metavar="NAME ARGUMENTS",
        help="instead of a broker, run one of Kafka's command line tools with these arguments: "
        + ", ".join(tools.TOOLS),
    )


def run(arguments: argparse.Namespace) -> int:
    """Run Kafka until Ctrl-C or SIGTERM and leave nothing behind, or replace this process by one of Kafka's tools.

    Raises:
        UsageError: a port is in use, Java or Kafka's jars are missing, or there is no such tool.
        KafkaUnusable: the broker did not become ready.
        GaveUp: a broker ended unexpectedly.
    """
    if arguments.tool is not None:
        return _become_tool(arguments.tool)
    if not 1 <= arguments.brokers <= MAX_BROKERS:
        raise UsageError(f"--brokers must be from 1 to {MAX_BROKERS}")
    if not 0 <= arguments.port <= 65535 - arguments.brokers:
        raise UsageError("--port must be from 0 (any free one) to 65534")
    with Interrupts() as interrupts:
        try:
            _serve(arguments, interrupts)
        except KeyboardInterrupt:
            return 0


def _serve(arguments: argparse.Namespace, interrupts: Interrupts) -> NoReturn:
    with interrupts.at_once():
        tools.prepare()
    with LocalCluster(
        arguments.brokers,
        port=arguments.port or None,
        data_dir=arguments.data_dir,
        on_waiting=interrupts.check,
    ) as kafka:
        kafka.create_topics(arguments.topics, TOPIC_CONFIGS, exist_ok=True)
        interrupts.check()
        _announce(kafka, arguments.topics)
        while all(node.running for node in kafka.nodes):
            time.sleep(_POLL_SECONDS)
            interrupts.check()
        ended = next(node for node in kafka.nodes if not node.running)
        raise GaveUp(f"broker {ended.node_id} ended unexpectedly: {ended.last_words()}; start it again")


def _become_tool(words: list[str]) -> int:
    name, *rest = words or [""]
    if name not in tools.TOOLS:
        raise UsageError(f"--tool must be one of {', '.join(tools.TOOLS)}")
    command = tools.tool(name, rest)
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606 - no shell; the tool inherits input and output, and sets the exit code


def _announce(kafka: LocalCluster, topics: dict[str, int]) -> None:
    name = next(iter(topics), "TOPIC")
    tool = f"review-consumer kafka --tool {{}} --bootstrap-server {kafka.bootstrap} --topic {name}"
    lines = (
        f"Kafka is ready on {kafka.bootstrap} (Ctrl-C stops it)",
        *(f"  topic {topic}, {partitions} partitions" for topic, partitions in topics.items()),
        f"produce: {tool.format('console-producer')}",
        f"consume: {tool.format('console-consumer')} --from-beginning",
    )
    Console(soft_wrap=True, highlight=False, markup=False).print("\n".join(lines))


def _topics(text: str) -> dict[str, int]:
    topics = {}
    for part in filter(None, text.split(",")):
        parts = re.fullmatch(r"([a-zA-Z0-9._-]{1,249})(?::([1-9]\d{0,3}))?", part)
        if not parts or parts[1] in (".", ".."):
            raise argparse.ArgumentTypeError(f"{part!r} is not NAME:PARTITIONS")
        topics[parts[1]] = int(parts[2] or 1)
    return topics
