"""Committed offsets that move back: by a fault of the coordinator, or because an operator wants records relabelled."""

import re
import signal
from collections import Counter
from collections.abc import Callable

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from consumer.local.broker import LocalBroker
from tests import oracle
from tests.fake_worker import Script
from tests.harness import Harness
from tests.kafka_helpers import Record, internal, read_all
from tests.live_reader import Source
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(200)]


class Commits:
    """The committed offsets of a group without members, to read and to set."""

    def __init__(self, harness: Harness) -> None:
        self._input = harness.topics.input
        self._consumer = KafkaConsumer(
            bootstrap_servers=internal(harness.kafka),
            group_id=harness.topics.group,
            enable_auto_commit=False,
            isolation_level="read_committed",
        )

    def read(self, partition: int) -> OffsetAndMetadata:
        """As Kafka has it now."""
        return self._consumer.committed(TopicPartition(self._input, partition), metadata=True)

    def write(self, commits: dict[int, OffsetAndMetadata]) -> None:
        """Set them, as a coordinator that lost the later ones would have them."""
        self._consumer.commit({TopicPartition(self._input, partition): each for partition, each in commits.items()})

    def close(self) -> None:
        """Close the client."""
        self._consumer.close(autocommit=False)


def results(harness: Harness) -> Counter[Source]:
    """How many results each record has."""
    topics = (harness.topics.output, harness.topics.dead_letter)
    return Counter(record.source for topic in topics for record in read_all(internal(harness.kafka), topic))


def half_done(harness: Harness, count: int, *, bad: float = 0.0) -> dict[int, OffsetAndMetadata]:
    """Label `count` records, then as many again; the commits after the first half."""
    harness.produce(count, bad=bad)
    harness.worker()
    harness.await_done()
    harness.stop()
    oracle.settled(harness.kafka, harness.topics)
    commits = Commits(harness)
    first = {partition: commits.read(partition) for partition in range(harness.partitions)}
    harness.produce(count, bad=bad)
    harness.worker()
    harness.await_done()
    harness.stop()
    oracle.settled(harness.kafka, harness.topics)
    commits.write(first)
    assert {partition: commits.read(partition) for partition in first} == first
    commits.close()
    return first


@pytest.mark.smoke
def test_row_31_offsets_that_the_coordinator_lost_are_not_done_twice(harness: Harness) -> None:
    """If the coordinator returns old committed offsets, the worker resumes after the last result and logs it."""
    # Given a group whose committed offsets are those of half the work again
    half_done(harness, 400, bad=0.1)
    # When a worker starts and has more to do
    harness.watch()
    worker = harness.worker()
    worker.await_partitions(harness.partitions)
    harness.produce(400, bad=0.1)
    harness.await_done()
    # Then it labelled only that, and logged it
    wait_until(lambda: worker.metric("reviews_consumed_total") == 400, 10, "400 counted")
    assert worker.metric("reviews_commits_lost_total") == harness.partitions
    assert len(re.findall("Kafka returned an old committed offset", worker.log)) == harness.partitions
    harness.stop()
    assert harness.verdict().checked == 1200


@pytest.mark.smoke
def test_row_31_offsets_that_the_next_owner_committed_are_not_lost(harness: Harness) -> None:
    """A worker that is frozen while it takes over partitions finds results after the offset that it was given."""
    # Given committed offsets, and a worker that has asked for them and is frozen before it looks at the results
    harness.produce(200)
    harness.worker()
    harness.await_done()
    harness.stop()
    late = harness.worker(Script(freezes_before_results=True), request_timeout_seconds=20)
    wait_until(lambda: late.reached("results"), 60, "it has asked for the committed offsets")
    # When another one takes its partitions, and labels and commits more
    harness.produce(200)
    harness.worker()
    harness.await_done()
    # Then it takes them over again when it continues, and reports no loss
    late.send(signal.SIGCONT)
    wait_until(lambda: late.metric("reviews_assigned_partitions") == harness.partitions / 2, 60, "it has its share")
    harness.produce(200)
    harness.await_done()
    assert late.metric("reviews_commits_lost_total") == 0
    assert "old committed offset" not in late.log
    harness.stop()
    assert harness.verdict().checked == 600


def test_row_31_an_offset_beyond_the_end_is_told_and_begins_a_new_lineage(harness: Harness) -> None:
    """The log lost its end, or the topic was created again: everything in it is labelled, now and later."""
    # Given a group whose committed offset, in a lineage of its own, lies behind the end of a partition
    harness.produce(40)
    harness.worker()
    harness.await_done()
    harness.stop()
    oracle.settled(harness.kafka, harness.topics)
    commits = Commits(harness)
    lineage = commits.read(0).metadata.partition(" ")[0]
    commits.write({0: OffsetAndMetadata(1000, f"{lineage} offset=1000", -1)})
    # When a worker starts, then it says so, and labels that partition from its start
    worker = harness.worker()
    wait_until(lambda: sum(results(harness).values()) == 50, 60, "the ten records of one partition again")
    assert "partition 0 ends before 1000, which was already read" in worker.log
    # And the next one does not take the older results for lost commits
    harness.stop()
    oracle.settled(harness.kafka, harness.topics)
    assert commits.read(0).offset == 10
    assert lineage not in commits.read(0).metadata
    harness.produce(40)
    worker = harness.worker()
    harness.await_done()
    harness.stop()
    assert worker.log.count("Kafka returned an old committed offset") == 0
    assert Counter(results(harness).values()) == {1: 70, 2: 10}
    commits.close()


def test_row_31_lost_offsets_are_committed_again_without_a_new_record(harness: Harness) -> None:
    """With nothing else to do, the worker corrects the offsets, so that a drain ends."""
    half_done(harness, 200)
    worker = harness.worker(drain=True)
    assert worker.wait_exit() == 0, worker.log
    assert "drained: 0 labelled, 0 dead-lettered" in worker.log
    assert harness.verdict().checked == 400


@pytest.mark.parametrize("keeps_metadata", [False, True])
def test_row_31_offsets_that_an_operator_sets_are_labelled_again(harness: Harness, keeps_metadata: bool) -> None:
    """Offsets set by Kafka's own tool, or by a tool that copies the worker's metadata, are obeyed."""
    # Given work that is done, and offsets that are set back, without the worker's mark or with that of other offsets
    first = half_done(harness, 200)
    commits = Commits(harness)
    commits.write(
        {
            partition: OffsetAndMetadata(each.offset // 2, each.metadata if keeps_metadata else "", -1)
            for partition, each in first.items()
        }
    )
    again = 400 - sum(each.offset // 2 for each in first.values())
    commits.close()
    # When a worker is killed on the way, and another one continues
    worker = harness.worker(Script(points={"committed:3": "kill"}))
    assert worker.wait_exit() == -9
    worker = harness.worker()
    harness.await_done()
    # Then the records after them are there exactly twice, and the others once
    assert worker.metric("reviews_commits_lost_total") == 0
    harness.stop()
    oracle.settled(harness.kafka, harness.topics)
    assert Counter(results(harness).values()) == {1: 400 - again, 2: again}


def test_row_31_results_far_behind_others_are_found(harness_on: Callable[..., Harness], kafka: LocalBroker) -> None:
    """One output partition for all input partitions: the last result of an idle one is found among those of others."""
    # Given 200 results of each of four partitions, then 1,000 more of partition 0, on one output partition
    harness = harness_on(kafka, output_partitions=1)
    first = half_done(harness, 400)
    more = [Record(b'{"text": "one more"}', partition=0) for _ in range(1000)]
    harness.produce_records(more)
    harness.worker()
    harness.await_done()
    harness.stop()
    # When the commits of the first half come back
    commits = Commits(harness)
    commits.write(first)
    commits.close()
    worker = harness.worker(drain=True)
    # Then nothing is done twice
    assert worker.wait_exit() == 0, worker.log
    assert set(results(harness).values()) == {1}
    assert "drained: 0 labelled" in worker.log


def test_row_31_records_whose_results_are_there_are_not_counted_as_deleted_unread(harness: Harness) -> None:
    """Lost offsets of records that retention has since deleted: they were read, and no alert says otherwise."""
    # Given commits of half the work again, and an input that begins behind them, but not behind the results
    first = half_done(harness, 200)
    starts = {TopicPartition(harness.topics.input, partition): each.offset + 20 for partition, each in first.items()}
    with harness.kafka.admin() as admin:
        admin.delete_records(starts)
    # When a worker continues, then it has lost nothing
    worker = harness.worker()
    wait_until(lambda: worker.metric("reviews_commits_lost_total") == harness.partitions, 60, "the commits are noticed")
    harness.await_done()
    assert worker.metric("reviews_deleted_unread_total") == 0
    assert "were deleted by retention" not in worker.log
    harness.stop()
    assert harness.verdict().checked == 400
