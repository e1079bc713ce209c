"""Which partitions a group that begins late reads from where, and what its commits remember of that."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError
from kafka.structs import OffsetAndMetadata, OffsetAndTimestamp

from consumer.kafka.beginnings import Beginnings
from consumer.settings import WorkerSettings

MOMENT = datetime(2026, 11, 1, tzinfo=UTC)


class Offsets:
    """Ends at 100 plus the number of the partition; the first record of a time, in even partitions alone, at 50."""

    def end_offsets(self, partitions: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """Of each partition but number 9, which has no leader."""
        return {each: 100 + each.partition for each in partitions if each.partition != 9}

    def offsets_for_times(self, times: dict[TopicPartition, int], timeout_ms: int) -> dict[TopicPartition, Any]:
        """Of the moment that is asked for."""
        assert set(times.values()) == {int(MOMENT.timestamp() * 1000)}
        return {each: None if each.partition % 2 else OffsetAndTimestamp(50, 0, -1) for each in times}


def beginnings(start_from: object, partitions: int = 4) -> Beginnings:
    """Of a topic with so many partitions."""
    settings = WorkerSettings.model_validate({"start_from": start_from})
    return Beginnings(settings, {settings.input_topic: partitions})


def starts(made: Beginnings, unread: Iterable[int], commits: dict[int, str]) -> dict[int, int]:
    """Where `unread` partitions start if the others have commits with this metadata."""
    found = {TopicPartition("reviews", number): OffsetAndMetadata(7, text, -1) for number, text in commits.items()}
    return {
        partition.partition: offset
        for partition, offset in made.of(
            [TopicPartition("reviews", number) for number in unread],
            Offsets(),
            lambda asked: {each: found.get(each) for each in asked},
        ).items()
    }


def test_by_default_everything_is_read() -> None:
    """Nothing is asked, and commits carry no mark."""
    made = beginnings("earliest")
    assert (starts(made, range(4), {}), made.mark) == ({}, "")


@pytest.mark.parametrize(
    ("start_from", "expected"),
    [("latest", {0: 100, 1: 101}), (MOMENT, {0: 50, 1: 101}), ("2026-11-01T01:00:00+01:00", {0: 50, 1: 101})],
)
def test_a_new_group_begins_where_it_is_told(start_from: object, expected: dict[int, int]) -> None:
    """At the ends, or at the first record of a time; a partition without one at its end."""
    made = beginnings(start_from)
    assert starts(made, [0, 1], {}) == expected
    assert made.mark == "partitions=4"


def test_a_second_worker_of_a_new_group_begins_there_too() -> None:
    """Commits of the first one do not make its partitions look like added ones."""
    assert starts(beginnings("latest"), [2, 3], {0: "lineage=0 offset=7 partitions=4"}) == {2: 102, 3: 103}


def test_a_partition_that_was_added_is_read_from_its_first_record() -> None:
    """Whichever worker meets it, and whenever that one started."""
    made = beginnings("latest", partitions=8)
    assert starts(made, [3, 4, 7], {0: "partitions=4"}) == {3: 103}
    assert made.mark == "partitions=4"


@pytest.mark.parametrize("metadata", ["", "lineage=0123456789abcdef offset=7", "partitions=many"])
def test_a_group_that_is_older_than_the_setting_reads_everything(metadata: str) -> None:
    """What it has not committed was added, as far as anyone knows: nothing is skipped."""
    assert starts(beginnings("latest"), [2, 3], {0: metadata}) == {}


def test_the_commits_of_its_own_partitions_are_enough() -> None:
    """They are known before the others are asked for."""
    made = beginnings("latest", partitions=8)
    made.note([None, OffsetAndMetadata(7, "lineage=0 offset=7 partitions=4", -1)])
    assert starts(made, [4, 5], {}) == {}
    assert starts(made, [3], {}) == {3: 103}


def test_a_partition_without_a_leader_is_asked_for_again() -> None:
    """No partition is read from somewhere else because its end is not known now."""
    with pytest.raises(KafkaTimeoutError, match="no leader of partition 9"):
        starts(beginnings("latest", partitions=10), [8, 9], {})
