"""Which commits are our own, and which results they are compared with; row 31 of tests/faults uses a real broker."""

import logging
import zlib
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import CorruptRecordError, KafkaTimeoutError
from kafka.structs import OffsetAndMetadata

from consumer.errors import GaveUp
from consumer.kafka import lineage
from consumer.kafka.lineage import HEADER, Lineages
from consumer.settings import WorkerSettings

NAME = "0123456789abcdef"
PLACE = TopicPartition("reviews.labeled", 0)


class Results:
    """A reader of one output partition that holds the results of source offsets 0 to 99, and no dead letters.

    Args:
        silent: no record ever comes.
        damage: raised by `poll`.

    Attributes:
        asked: whether anything was read.
        seconds: how long the polls took, by a clock that only they move: one second each.
    """

    def __init__(self, *, silent: bool = False, damage: Exception | None = None) -> None:
        self.asked = False
        self.seconds = 0.0
        self._silent, self._damage = silent, damage
        self._position = 0

    def beginning_offsets(self, places: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """Nothing was deleted."""
        assert timeout_ms > 0
        return dict.fromkeys(places, 0)

    def end_offsets(self, places: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """Of committed records."""
        assert timeout_ms > 0
        self.asked = True
        return {place: 100 if place == PLACE else 0 for place in places}

    def assign(self, places: list[TopicPartition]) -> None:
        """One or none."""

    def seek(self, _place: TopicPartition, offset: int) -> None:
        """Read from there."""
        self._position = offset

    def position(self, _place: TopicPartition, timeout_ms: int) -> int:
        """Of the next record."""
        assert timeout_ms > 0
        return self._position

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        """One record."""
        self.seconds += 1
        if self._damage:
            raise self._damage
        if self._silent:
            return {}
        offset, self._position = self._position, self._position + 1
        headers = [(HEADER, NAME.encode()), ("source-offset", str(offset).encode())]
        return {PLACE: [SimpleNamespace(offset=offset, headers=headers)]}


def lineages(reader: Results) -> Lineages:
    """Of one partition on each topic."""
    settings = WorkerSettings()
    return Lineages(settings, reader, dict.fromkeys((settings.output_topic, settings.dead_letter_topic), 1))


def test_a_commit_of_ours_is_compared_with_the_results() -> None:
    """The worker recognises its own commits: after an old one it resumes after the last published result."""
    # Given a commit as the worker makes it, in the lineage of results up to 99
    ours = lineages(Results())
    ours.adopt({0: OffsetAndMetadata(40, f"lineage={NAME} offset=40", -1)})
    assert ours.metadata(0, 41) == f"lineage={NAME} offset=41"
    # When the next owner gets it
    commit = OffsetAndMetadata(41, ours.metadata(0, 41), -1)
    # Then it resumes after them
    assert lineages(Results()).adopt({0: commit}) == {0: 100}


@pytest.mark.parametrize("metadata", [f"lineage={NAME} offset=90", f"lineage={NAME}", "", None])
def test_a_commit_whose_mark_is_not_its_own_begins_a_lineage(metadata: str | None) -> None:
    """An offset that does not match its metadata was chosen by an operator: nothing is skipped."""
    reader = Results()
    ours = lineages(reader)
    assert ours.adopt({0: OffsetAndMetadata(41, metadata, -1)}) == {}
    assert not reader.asked
    assert dict(ours.headers(0))[HEADER] != NAME.encode()


def test_results_that_come_too_slowly_do_not_hold_up_the_partition(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Large dead letters on a slow link would take as long next time, so what was read in time is used."""
    # Given 32 requested results that come one a second, and 30 s for all of them
    reader = Results()
    monkeypatch.setattr(lineage, "time", SimpleNamespace(monotonic=lambda: reader.seconds))
    # When a partition is taken over
    restored = lineages(reader).adopt({0: OffsetAndMetadata(41, f"lineage={NAME} offset=41", -1)})
    # Then it resumes after the last one that came in time, and logs that there may be more
    assert reader.seconds == 31
    assert restored == {0: 99}
    assert caplog.record_tuples[-1][1:] == (
        logging.WARNING,
        "committed offsets are compared only with the 31 results that came in 30 s",
    )


def test_results_that_do_not_come_at_all_are_requested_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an answer nothing is known, and nothing is safe to read."""
    reader = Results(silent=True)
    monkeypatch.setattr(lineage, "time", SimpleNamespace(monotonic=lambda: reader.seconds))
    with pytest.raises(KafkaTimeoutError, match=r"reviews\.labeled"):
        lineages(reader).adopt({0: OffsetAndMetadata(41, f"lineage={NAME} offset=41", -1)})


@pytest.mark.parametrize("damage", [CorruptRecordError("failed crc check"), zlib.error("invalid block")])
def test_results_that_cannot_be_read_end_the_worker_with_their_cause(damage: Exception) -> None:
    """They would be unreadable next time as well: an operator has to decide, and the message says where to look."""
    with pytest.raises(GaveUp, match=r"cannot read the results on reviews\.labeled, .*; see docs/runbook\.md"):
        lineages(Results(damage=damage)).adopt({0: OffsetAndMetadata(41, f"lineage={NAME} offset=41", -1)})
