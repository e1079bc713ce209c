"""What a drain does before and after the loop; tests/faults drains real topics."""

from typing import Any

import pytest
from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from consumer.kafka.drain import Drain
from consumer.kafka.fixes import positions
from consumer.settings import WorkerSettings

PARTITIONS = 20


class Consumer:
    """Of a topic whose partitions hold ten records each, all committed; notes each request."""

    def __init__(self, events: list[str]) -> None:
        self._events = events

    def end_offsets(self, places: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """Ten records."""
        assert timeout_ms > 0
        self._events.append("request")
        return dict.fromkeys(places, 10)

    def beginning_offsets(self, places: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """Nothing was deleted."""
        assert timeout_ms > 0
        self._events.append("request")
        return dict.fromkeys(places, 0)

    def committed(self, _place: TopicPartition, metadata: bool, timeout_ms: int) -> Any:
        """The end."""
        assert metadata
        assert timeout_ms > 0
        self._events.append("request")
        return OffsetAndMetadata(10, "", -1)


def test_a_drain_of_many_partitions_is_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks for each partition by itself; a sign of life comes before each request."""
    events: list[str] = []
    monkeypatch.setattr(positions, "committed_now", lambda *_: events.append("request"))
    drain = Drain(WorkerSettings(), Consumer(events), PARTITIONS, lambda: events.append("alive"))
    assert len(drain.undone) == PARTITIONS
    assert drain.is_over()
    assert events == ["alive", "request"] * (2 * PARTITIONS + 2)
