"""The clients of a worker, and how they are closed."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from kafka.errors import KafkaError

from consumer.kafka.client import reason_of
from consumer.kafka.lineage import Lineages

log = logging.getLogger(__name__)


class Marks(Protocol):
    """What marks the records and the offsets that a publisher commits together."""

    def headers(self, partition: int, /) -> list[tuple[str, bytes]]:
        """Headers for each record that comes of this source partition."""
        ...

    def metadata(self, partition: int, offset: int, /) -> str:
        """Metadata for the commit of this offset of this source partition."""
        ...


class Outlet(Protocol):
    """What a publisher needs of a `Connection`."""

    @property
    def consumer(self) -> Any:
        """Commits offsets if delivery is at least once."""
        ...

    @property
    def producer(self) -> Any:
        """Sends, and commits if delivery is exactly once."""
        ...

    @property
    def lineages(self) -> Marks:
        """Marks what is committed."""
        ...

    @property
    def partitions(self) -> Mapping[str, int]:
        """Number of partitions of each topic that is written to."""
        ...


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
