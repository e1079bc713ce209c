"""Results on their way to the brokers: how long they may take, and who is to blame if they do not arrive."""

import time
from collections.abc import Callable
from typing import Any

from kafka.errors import KafkaError, KafkaTimeoutError, UnknownError

from consumer.kafka.client import reason_of
from consumer.kafka.fixes import refusals
from consumer.records.outgoing import Outgoing

#: Between two signs of life while results are being delivered.
SIGN_SECONDS = 1.0
#: Wait for each batch that is flushed, at least: longer than batches linger.
FLUSH_SECONDS = 0.01


class Delivery:
    """The results of one poll on their way, and the time they have.

    Attributes:
        sent: a future for each record.
        topics: the topic of each.
        unsent: topic and error of a record that the client did not even take.
    """

    def __init__(self, seconds: float, alive: Callable[[], None]) -> None:
        self.sent: list[Any] = []
        self.topics: list[str] = []
        self.unsent: tuple[str, KafkaError] | None = None
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._alive = alive
        self._next_sign = 0.0

    def check(self) -> None:
        """Show a sign of life, if the last one is some time ago: it wakes a thread, and polls have many records.

        Raises:
            KafkaTimeoutError: the time is over.
        """
        now = time.monotonic()
        if now >= self._deadline:
            raise KafkaTimeoutError(f"results were not acknowledged within {self._seconds:g} s")
        if now >= self._next_sign:
            self._alive()
            self._next_sign = now + SIGN_SECONDS

    def put(self, record: Outgoing, send: Callable[[Outgoing], Any]) -> None:
        """Give `record` to the client with `send`, which returns its future; it may wait for room in the buffer.

        Raises:
            KafkaError: the client did not take it, or the time is over.
        """
        self.check()
        try:
            future = send(record)
        except KafkaError as error:
            self.unsent = record.topic, error
            raise
        self.sent.append(future)
        self.topics.append(record.topic)

    def cause(self, error: KafkaError) -> str:
        """Why the delivery failed: topic and reason of the record that is to blame, else `error`."""
        failed = [(topic, sent) for topic, sent in zip(self.topics, self.sent, strict=True) if sent.failed()]
        failed.sort(key=lambda each: (not refusals.is_to_blame(each[1]), type(each[1].exception) is KafkaError))
        refused = [(topic, sent.exception) for topic, sent in failed] or ([self.unsent] if self.unsent else [])
        return f"{refused[0][0]}: {reason_of(refused[0][1])}" if refused else reason_of(error)

    def show_life(self) -> None:
        """Show a sign of life, if results are on their way and have time left: other waits may be a hang."""
        if time.monotonic() < self._deadline and not all(future.is_done for future in self.sent):
            self._alive()

    def wait(self, producer: Any) -> None:
        """Wait until every record is acknowledged.

        Raises:
            KafkaError: one was refused, or the time is over.
        """
        if self.sent:
            try:  # sends what still lingers; the timeout is for each batch, and there may be one batch a record
                producer.flush(timeout=max(FLUSH_SECONDS, SIGN_SECONDS / len(self.sent)))
            except KafkaTimeoutError:
                self.check()
            except UnknownError:  # a batch was split, because the broker finds it too large: its records go on
                pass
        for future in self.sent:
            while not future.is_done:
                self.check()
                try:
                    future.get(timeout=SIGN_SECONDS)
                except KafkaTimeoutError:  # either not yet, or for good
                    continue
            future.get(timeout=0)
