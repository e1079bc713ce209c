"""Opens a client for a tool; if that fails, the error names the address and the remedy, as at the start of a worker."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka.errors import KafkaError

from consumer.errors import GaveUp
from consumer.kafka import fixes
from consumer.kafka.client import Clients, reason_of
from consumer.kafka.start import Start
from consumer.settings import WorkerSettings

#: A person waits in front of a tool: it gives up sooner than a worker, which may start before its brokers.
OPEN_SECONDS = 10.0


@contextmanager
def opened(
    settings: WorkerSettings, build: Callable[[WorkerSettings, Clients], Any], what: str = "consumer"
) -> Iterator[Any]:
    """A client that is closed at the end of the block.

    Args:
        settings: addresses and credentials.
        build: creates the client, such as `consumer.kafka.client.new_reader`.
        what: "producer", "consumer" or "admin client", for messages; a producer is closed as one.

    Raises:
        KafkaUnusable: no broker answers within `OPEN_SECONDS`, or it refuses the credentials.
        GaveUp: Kafka failed inside the block.
    """
    fixes.apply()
    seconds = min(OPEN_SECONDS, settings.start_timeout_seconds)
    start = Start(settings.model_copy(update={"start_timeout_seconds": seconds}))
    try:
        yield start.open(what, build)
    except KafkaError as error:
        raise GaveUp(f"Kafka failed: {reason_of(error)}; run the command again") from error
    finally:
        start.close()
