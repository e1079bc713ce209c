"""The clients of a worker, and how they are closed."""

import logging
from dataclasses import dataclass
from typing import Any

from kafka.errors import KafkaError

from consumer.kafka.client import reason_of
from consumer.kafka.lineage import Lineages

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    """Clients that work, and what they found.

    Attributes:
        consumer: of the input; in no group yet.
        producer: a transactional one has taken over its id.
        lineages: what marks results and commits; has a reader of results if delivery is exactly once.
        partitions: number of partitions of each topic.
    """

    consumer: Any
    producer: Any
    lineages: Lineages
    partitions: dict[str, int]

    def close(self, timeout_seconds: float) -> None:
        """Leave the group and close all clients within `timeout_seconds`."""
        each = timeout_seconds / 3
        close("producer", self.producer, timeout=each)
        close("consumer", self.consumer, **in_ms(each))
        close("reader", self.lineages.reader, **in_ms(each))


def in_ms(seconds: float) -> dict[str, Any]:
    """Options of `KafkaConsumer.close` for a client without offsets to commit."""
    return {"autocommit": False, "timeout_ms": int(seconds * 1000)}


def close(what: str, client: Any, **options: Any) -> None:
    """Close `client`, if there is one; a failure is logged, because the work is done by then."""
    try:
        if client is not None:
            client.close(**options)
    except KafkaError as error:
        log.warning("the %s did not close cleanly: %s", what, reason_of(error))
