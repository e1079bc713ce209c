"""A steady stream of tiny reviews, each of which can be told from its coordinates."""

import threading
import time
from typing import Any

from kafka import KafkaProducer


def review(partition: int, offset: int) -> bytes:
    """The value of the record at these coordinates; every fiftieth is broken, so that dead letters come, too."""
    if offset % 50 == 49:
        return b"broken %d" % offset
    return b'{"text": "review %d of partition %d"}' % (offset, partition)


class Stream(threading.Thread):
    """Produces `rate` reviews a second in order, idempotently, to each partition in turn, until told to end.

    Attributes:
        produced: how many were sent; the next offset of partition p is `produced // partitions`, or one more.
        errors: reviews that the broker refused; there must be none.
    """

    def __init__(self, bootstrap: str, topic: str, partitions: int, rate: float) -> None:
        super().__init__(name="stream", daemon=True)
        self.produced = 0
        self.errors: list[Any] = []
        self._topic, self._partitions, self._rate = topic, partitions, rate
        self._ending = threading.Event()
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap, acks="all", linger_ms=20, delivery_timeout_ms=600_000, max_block_ms=600_000
        )

    def run(self) -> None:
        """Send what is due every tenth of a second."""
        began = time.monotonic()
        while not self._ending.wait(0.1):
            due = int((time.monotonic() - began) * self._rate)
            while self.produced < due:
                offset, partition = divmod(self.produced, self._partitions)
                sent = self._producer.send(self._topic, review(partition, offset), partition=partition)
                sent.add_errback(self.errors.append)
                self.produced += 1

    def end(self) -> None:
        """Wait until all is acknowledged."""
        self._ending.set()
        self.join()
        self._producer.flush(timeout=600)
        self._producer.close()
