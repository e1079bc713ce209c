"""Where a group begins, and that nothing is lost afterwards."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.foreign_reader import NoAnswerError
from tests.harness import Harness
from tests.kafka_helpers import Record, end_offsets, produce
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

GOOD = b'{"text": "good"}'


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_row_22_a_group_that_begins_at_the_end_misses_nothing_afterwards(harness: Harness, delivery: str) -> None:
    """With `latest`, what was there before is not labelled; all that comes later is, also in partitions added later."""
    # Given records from before the group, and two workers that begin at the end
    produce(harness.topics.bootstrap, harness.topics.input, [Record(GOOD, partition=n % 4) for n in range(40)])
    settings: dict[str, object] = {"start_from": "latest", "delivery": delivery, "metadata_max_age_seconds": 1}
    for worker in [harness.worker(**settings) for _ in range(2)]:
        worker.await_partitions(2)
    ends = dict.fromkeys(range(4), 10)
    wait_until(lambda: harness.committed_by_partition() == ends, 60, "the beginning of each partition is committed")
    harness.stop()
    # When, while no worker is there, records come, and partitions are added with records in them
    harness.produce_records([Record(GOOD, partition=n % 4) for n in range(20)])
    with harness.kafka.admin() as admin:
        admin.create_partitions({harness.topics.input: 6})
    topic = harness.topics.input

    def are_there() -> bool:
        try:
            return len(end_offsets(harness.topics.bootstrap, topic)) == 6
        except NoAnswerError:
            return False

    wait_until(are_there, 60, "the partitions are there")
    earlier = int(time.time() * 1000) - 3_600_000
    harness.produce_records([Record(GOOD, partition=4 + n % 2, timestamp_ms=earlier) for n in range(10)])
    # Then the next worker labels these, and nothing else
    harness.worker(**settings)
    assert harness.finish(exactly_once=delivery == "exactly_once").predicted == 30


def test_row_22_a_group_begins_at_a_time(harness: Harness) -> None:
    """Each partition is read from its first record of that time on; one without such a record from its end."""
    # Given records around a moment in three partitions, and only earlier ones in the fourth
    moment = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    moment_ms = int(moment.timestamp() * 1000)

    def records(first_ms: int, count: int, partitions: int) -> list[Record]:
        return [Record(GOOD, partition=n % partitions, timestamp_ms=first_ms + n) for n in range(count)]

    produce(harness.topics.bootstrap, harness.topics.input, records(moment_ms - 40, 40, 4))
    harness.produce_records(records(moment_ms, 30, 3))
    # When a group begins there, then the later ones are labelled
    harness.worker(start_from=moment.isoformat())
    harness.await_done()
    # And a restart with another beginning changes nothing
    harness.stop()
    harness.produce_records([Record(GOOD, partition=3)])
    harness.worker(start_from="latest")
    assert harness.finish().predicted == 31


def test_row_22_committed_offsets_override_the_beginning(harness: Harness) -> None:
    """A group that has read before resumes at its commits, and reads what it never read from the first record."""
    # Given a group that has committed two of its partitions
    harness.produce_records([Record(GOOD, partition=n % 2) for n in range(10)])
    harness.worker()
    harness.await_done()
    harness.stop()
    # When it is restarted with `latest`, after records in all partitions
    harness.produce_records([Record(GOOD, partition=n % 4) for n in range(20)])
    harness.worker(start_from="latest")
    # Then none of them is skipped
    assert harness.finish().predicted == 30
