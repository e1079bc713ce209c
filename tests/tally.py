"""Accounts for hundreds of thousands of records in a byte each: which arrived, how often, and in which order."""

import json
import threading
import time
from typing import Self

from tests.fake_model import label_and_score
from tests.foreign_reader import ForeignReader
from tests.kafka_helpers import Topics
from tests.record import Record
from tests.stream import review


class Tally:
    """What a reader of the results has seen. Attributes may be read while another thread adds.

    Attributes:
        records: seen at least once.
        duplicated: seen again.
        reordered: came after a later one of the same source partition.
        wrong: a prediction with another label than the fake model's, or a dead letter that is none.
    """

    def __init__(self) -> None:
        self.records = self.duplicated = self.reordered = self.wrong = 0
        self._seen: dict[int, bytearray] = {}
        self._last: dict[tuple[str, int, int], int] = {}

    def add(self, result: Record, *, dead: bool) -> None:
        """Note one result."""
        _, source, offset = result.source
        seen = self._seen.setdefault(source, bytearray())
        if len(seen) <= offset:
            seen.extend(bytes(offset + 1 - len(seen)))
        self.duplicated += seen[offset]
        self.records += not seen[offset]
        seen[offset] = 1
        where = (result.topic, result.partition or 0, source)
        self.reordered += offset < self._last.get(where, -1)
        self._last[where] = offset
        self.wrong += not _is_right(result.value or b"", source, offset, dead=dead)

    def lost(self, ends: dict[int, int]) -> int:
        """Records below the `ends` of the input that have not been seen."""
        return sum(end - sum(self._seen.get(partition, b"")[:end]) for partition, end in ends.items())

    @property
    def is_clean(self) -> bool:
        """Nothing twice, nothing out of order, nothing wrong."""
        return not (self.duplicated or self.reordered or self.wrong)


def _is_right(value: bytes, partition: int, offset: int, *, dead: bool) -> bool:
    original = review(partition, offset)
    if dead or not original.startswith(b"{"):
        return dead and value == original
    label, _ = label_and_score(json.loads(original)["text"])
    return bool(json.loads(value)["label"] == label)


class Watcher:
    """Reads results with `read_committed` from their start, in a thread, into a `Tally`.

    Attributes:
        tally: what it saw.
        worst_stall: longest time in seconds without a result while the input had more, after the first result.
    """

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self.tally = Tally()
        self.worst_stall = 0.0
        self.expected = 0
        self._topics = topics
        self._ending = threading.Event()
        self._reader = ForeignReader(bootstrap, (topics.output, topics.dead_letter))
        self._thread = threading.Thread(target=self._read, name="watcher", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(30)
        self._reader.close()

    def _read(self) -> None:
        moved = time.monotonic()
        while not self._ending.is_set():
            polled = self._reader.poll(0.2)
            for record in polled:
                self.tally.add(record, dead=record.topic == self._topics.dead_letter)
            now = time.monotonic()
            if polled or not self.tally.records or self.tally.records >= self.expected:
                moved = now
            self.worst_stall = max(self.worst_stall, now - moved)
