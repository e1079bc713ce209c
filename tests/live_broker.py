"""The worker's side of a real Kafka, in the process of a test."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from consumer.kafka import fixes
from consumer.kafka.broker import Broker
from consumer.kafka.connection import Connection
from consumer.kafka.publisher import Step
from consumer.kafka.start import Start
from consumer.records.events import IGNORED, Events
from consumer.records.poll import Poll
from consumer.settings import WorkerSettings
from tests.worker_process import wait_until


@contextmanager
def live_broker(
    settings: WorkerSettings, at: Callable[[Step], None] = lambda _: None, events: Events = IGNORED
) -> Iterator[tuple[Broker, Connection]]:
    """A broker as `serve` makes one, with its clients; they are closed at the end."""
    fixes.apply()
    connection = Start(settings).connect()
    assert connection is not None
    try:
        yield Broker(settings, connection, at=at, events=events), connection
    finally:
        connection.close(5)


def first_poll(broker: Broker) -> Poll:
    """The first poll with records."""
    polls: list[Poll] = []

    def polled() -> bool:
        polls.append(broker.poll(10))
        return bool(polls[-1].records)

    wait_until(polled, 60, "records")
    return polls[-1]
