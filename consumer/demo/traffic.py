"""Both ends of the pipeline around the demo's worker: reviews go in here, and their outcomes come out here."""

import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from consumer.demo.sample import SampleRecord
from consumer.kafka.traffic import Coordinates, Reader, Sender
from consumer.records.record import Record


@dataclass(frozen=True, slots=True)
class Sent:
    """An acknowledged input record and its timestamp, epoch seconds."""

    record: SampleRecord
    time: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """A prediction (`label` is set) or a dead letter (`reason` is set), as read from its topic.

    `source` has partition and offset of the input record. `sent` is None for a record that another program produced;
    `age` is the time from producing it to reading its outcome, seconds.
    """

    source: Coordinates
    value: bytes | None
    label: str = ""
    score: float = 0.0
    reason: str = ""
    sent: Sent | None = None
    age: float = 0.0


class Traffic:
    """Sends reviews and reads outcomes. A context manager, used by one thread.

    Args:
        bootstrap: HOST:PORT of the broker.
        topics: the input topic, the output topic, the dead-letter topic.
    """

    def __init__(self, bootstrap: str, topics: tuple[str, str, str]) -> None:
        self._input, *outputs = topics
        self._dead_letter = topics[2]
        self._sender = Sender(bootstrap)
        self._reader = Reader(bootstrap, outputs)
        self._pending: deque[tuple[Callable[[], Coordinates], Sent]] = deque()
        self.sent: dict[Coordinates, Sent] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sender.close()
        self._reader.close()

    def send(self, record: SampleRecord) -> None:
        """Produce `record`, with the current time as its timestamp."""
        now = time.time()
        acknowledged = self._sender.send(self._input, record.key, record.value, int(now * 1000))
        self._pending.append((acknowledged, Sent(record, now)))

    def receive(self, timeout_seconds: float) -> list[Outcome]:
        """The outcomes that were committed since the last call; waits up to `timeout_seconds` for the first."""
        return [self._outcome(record) for record in self._reader.read(timeout_seconds)]

    def rest(self) -> list[Outcome]:
        """Every outcome that is committed by now and was not received yet.

        Raises:
            GaveUp: the end was not reached in time.
        """
        self.acknowledged()
        return [self._outcome(record) for record in self._reader.read_to_end()]

    def acknowledged(self) -> None:
        """Wait until the broker has every record that was sent."""
        while self._pending:
            coordinates, sent = self._pending.popleft()
            self.sent[coordinates()] = sent

    def _outcome(self, record: Record) -> Outcome:
        headers = {name: value or b"" for name, value in record.headers}
        source = int(headers["source-partition"]), int(headers["source-offset"])
        if source not in self.sent:
            self.acknowledged()
        sent = self.sent.get(source)
        age = time.time() - sent.time if sent else 0.0
        if record.topic == self._dead_letter:
            return Outcome(source, record.value, reason=headers["dead-letter-reason"].decode(), sent=sent, age=age)
        prediction = json.loads(record.value or b"")
        return Outcome(source, record.value, prediction["label"], prediction["score"], sent=sent, age=age)
