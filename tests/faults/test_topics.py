"""Topics that are missing or deleted, that grow, or that have lost their oldest records."""

import json
from collections.abc import Callable, Sequence

import pytest
from kafka import TopicPartition

from consumer.kafka.broker import Broker
from consumer.kafka.fixes import positions
from consumer.local.broker import LocalBroker
from consumer.records.poll import NotPublished, Poll
from tests.fake_worker import Script
from tests.harness import Harness
from tests.kafka_helpers import Record, internal, produce, read_all, transaction
from tests.live_broker import live_broker
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

GOOD = b'{"text": "good"}'


def test_row_12_a_codec_without_its_library_ends_the_worker(harness: Harness) -> None:
    """A batch that cannot be decompressed is not skipped: the worker names the codec it lacks and commits nothing."""
    # Given a batch in zstd, and a worker without that library
    long = Record(b'{"text": "%s"}' % (b"good " * 200), partition=0)  # the client sends a short one as it is
    produce(harness.topics.bootstrap, harness.topics.input, [long], compression_type="zstd")
    worker = harness.worker(Script(without_zstd=True))
    # Then it gives up, and nothing is committed
    assert worker.wait_exit(60) == 5
    assert "zstd" in worker.last_line
    assert harness.committed() == 0


def test_row_19_without_its_dead_letter_topic_a_worker_stops(harness: Harness) -> None:
    """The dead-letter topic is deleted: nothing is dropped, nothing is committed, the worker gives up in time."""
    # Given a worker whose dead-letter topic vanishes
    harness.produce(100)
    worker = harness.worker(max_poll_interval_seconds=12, request_timeout_seconds=3)
    harness.await_done()
    with harness.kafka.admin() as admin:
        admin.delete_topics([harness.topics.dead_letter])
    # When a record has to go there
    harness.produce_records([Record(b"broken", partition=0), Record(GOOD, partition=0)])
    # Then the worker gives up, and neither is committed nor visible
    assert worker.wait_exit(150) == 5
    assert harness.committed() == 100
    assert len(read_all(harness.topics.bootstrap, harness.topics.output)) == 100
    # And with the topic there again, the next one does both
    harness.kafka.create_topics({harness.topics.dead_letter: harness.partitions})
    harness.worker()
    found = harness.finish()
    assert (found.predicted, found.dead) == (101, 1)


@pytest.mark.smoke
def test_row_20_a_flood_of_dead_letters_stops_the_worker(harness: Harness) -> None:
    """When most records turn bad at once, the worker stops rather than empty the topic into the dead letters."""
    # Given producers that have changed their format
    harness.produce_records([Record(b'{"review": "renamed"}', partition=n % 4) for n in range(4000)])
    worker = harness.worker(max_dead_letter_ratio=0.5, max_poll_records=500)
    # Then the worker stops within its window of 1,000 records, plus the poll in hand
    assert worker.wait_exit(60) == 5
    assert "dead letters" in worker.last_line
    assert 1000 <= harness.committed() <= 1500


@pytest.mark.smoke
def test_row_21_a_missing_topic_ends_the_start(harness_on: Callable[..., Harness]) -> None:
    """A worker whose topic does not exist waits for it, names it, exits with code 4, and never creates it."""
    # Given a broker that creates topics on request, and a topic that is missing
    with LocalBroker(properties={"auto.create.topics.enable": "true"}) as generous:
        harness = harness_on(generous)
        with generous.admin() as admin:
            admin.delete_topics([harness.topics.output])
            wait_until(lambda: harness.topics.output not in admin.list_topics(), 30, "the topic is gone")
        # When a worker starts, then it is not ready, says why, and gives up
        worker = harness.worker(start_timeout_seconds=6)
        wait_until(lambda: harness.topics.output in worker.get("/ready")[1], 60, "it names the topic")
        assert worker.get("/ready")[0] == 503
        assert worker.wait_exit(60) == 4
        assert f"topic {harness.topics.output} does not exist" in worker.last_line
        with generous.admin() as admin:
            assert harness.topics.output not in admin.list_topics()


def test_row_21_a_topic_that_is_deleted_under_a_worker_stays_deleted(harness_on: Callable[..., Harness]) -> None:
    """The worker looks for the topic and has something to send to it, and does not create it with default settings."""
    # Given a broker that creates topics on request, and a worker at work
    with LocalBroker(properties={"auto.create.topics.enable": "true"}) as generous:
        harness = harness_on(generous)
        harness.produce(40)
        worker = harness.worker(metadata_max_age_seconds=1)
        harness.await_done()
        # When the dead letters are deleted, and a record has to go there
        with generous.admin() as admin:
            admin.delete_topics([harness.topics.dead_letter])
            wait_until(lambda: harness.topics.dead_letter not in admin.list_topics(), 30, "the topic is gone")
        harness.produce_records([Record(b"broken", partition=0)])
        # Then the worker gives up, and the topic is not there
        assert worker.wait_exit(150) == 5
        with generous.admin() as admin:
            assert harness.topics.dead_letter not in admin.list_topics()
        assert harness.committed() == 40


def test_row_19_a_topic_that_has_fewer_partitions_than_at_the_start_is_named(harness: Harness) -> None:
    """The dead-letter topic was created again with one partition: the worker says so, and its successor continues."""
    harness.produce(40)
    worker = harness.worker(metadata_max_age_seconds=1)
    harness.await_done()
    with harness.kafka.admin() as admin:
        admin.delete_topics([harness.topics.dead_letter])
        wait_until(lambda: harness.topics.dead_letter not in admin.list_topics(), 30, "the topic is gone")
    harness.kafka.create_topics({harness.topics.dead_letter: 1})
    harness.produce_records([Record(b"broken", partition=3)])
    assert worker.wait_exit(150) == 5
    assert f"{harness.topics.dead_letter} no longer has the 4 partitions that it had at the start" in worker.last_line
    harness.worker()
    assert harness.finish().dead == 1


def test_row_23_a_worker_that_retention_overtakes_while_it_runs_counts_too(harness: Harness) -> None:
    """The records are deleted under a slow, running worker: it counts them and labels the rest."""
    # Given a worker that has read, and waits within a commit while more comes and is deleted
    harness.produce(40)
    worker = harness.worker(Script(points={"sent:1": "pause"}))
    worker.await_point("sent:1")
    harness.produce(440)
    starts = {0: 90, 1: 100}
    with harness.kafka.admin() as admin:
        admin.delete_records({TopicPartition(harness.topics.input, each): start for each, start in starts.items()})
    worker.release("sent:1")
    # Then the same worker counts them, each once, and labels the rest
    harness.await_done()
    labelled = {record.source for record in read_all(internal(harness.kafka), harness.topics.output)}
    gone = [r for r in harness.produced if (r.topic, r.partition, r.offset) not in labelled]
    print(f"{len(gone)} of 480 records were gone")
    assert {r.partition for r in gone} == starts.keys()
    assert worker.metric("reviews_deleted_unread_total") == len(gone)
    harness.produced = [r for r in harness.produced if r not in gone]
    assert harness.finish().checked == 480 - len(gone)


def test_row_22_partitions_that_are_added_are_read_from_their_start(harness: Harness) -> None:
    """A topic grows under load: the worker notices the new partitions and skips none of their first records."""
    # Given a worker at work
    harness.produce(100)
    harness.watch()
    harness.worker(metadata_max_age_seconds=2)
    harness.await_done()
    # When two partitions are added, and have records before the worker knows of them
    with harness.kafka.admin() as admin:
        admin.create_partitions({harness.topics.input: 6})
    harness.partitions = 6
    harness.produce(300)
    # Then all of them are labelled
    assert harness.finish().checked == 400


def test_row_22_added_partitions_may_go_to_a_worker_that_has_not_heard_of_them(harness: Harness) -> None:
    """The leader of the group learns of them first, and assigns some to a worker whose metadata is old."""
    # Given two workers, and one looks for new partitions much later than the other
    harness.produce(100)
    harness.watch()
    harness.worker(metadata_max_age_seconds=2).await_partitions(4)
    late = harness.worker(metadata_max_age_seconds=60)
    late.await_partitions(2)
    harness.await_done()
    # When partitions are added
    with harness.kafka.admin() as admin:
        admin.create_partitions({harness.topics.input: 12})
    harness.partitions = 12
    late.await_partitions(6)
    harness.produce(300)
    # Then both continue, and all records are labelled
    assert harness.finish().checked == 400
    assert all("KeyError" not in worker.log for worker in harness.workers)


@pytest.mark.smoke
def test_row_22_a_leader_takes_part_in_a_rebalance_that_ends_between_its_polls(harness: Harness) -> None:
    """Its JoinGroup is answered while it does something else: then it has the new partitions, and no one else's."""
    # Given two members; the one that assigns hears of new partitions, and asks to rejoin
    members = [harness.topics.settings(instance_id=name, metadata_max_age_seconds=1) for name in ("a", "b")]
    with live_broker(members[0]) as (first, _), live_broker(members[1]) as (second, _):
        brokers = [first, second]
        _await_shares(brokers, 4)
        leader, other = sorted(brokers, key=lambda each: not each._consumer._coordinator._is_leader)
        with harness.kafka.admin() as admin:
            admin.create_partitions({harness.topics.input: 6})
        harness.partitions = 6
        polls: list[Poll] = []

        def asks_to_join() -> bool:
            polls.append(leader.poll(10, 0.1))
            return bool(leader._consumer._coordinator.rejoining)

        wait_until(asks_to_join, 60, "the leader asks to rejoin")
        # When the other one joins, and the broker answers both between two polls of the leader
        joined = positions.times_assigned(other._consumer)
        wait_until(
            lambda: bool(other.poll(10, 0.2)) and positions.times_assigned(other._consumer) > joined, 60, "it joins"
        )
        generation = other._consumer.group_metadata().generation_id
        wait_until(
            lambda: leader._consumer.group_metadata().generation_id == generation, 60, "the leader gets its answer"
        )
        # Then a poll from in between commits nothing, and in the end each partition has one owner
        assert not polls[-1].in_group
        with pytest.raises(NotPublished, match="left its group"):
            leader.publish(polls[-1], [])
        assert not leader.settle(polls[-1])
        _await_shares(brokers, 6)


def _await_shares(brokers: Sequence[Broker], partitions: int) -> None:
    """Poll until each has as many of the partitions as the others, and each partition one owner."""

    def shared() -> bool:
        owned = [each.assignment() for each in brokers if each.poll(10, 0.2)]
        equal = all(len(one) == partitions / len(brokers) for one in owned)
        return equal and sorted(number for one in owned for number in one) == list(range(partitions))

    wait_until(shared, 60, f"{partitions} partitions are shared out")


def test_row_30_partitions_that_wait_for_their_turn_are_not_stalled(harness: Harness) -> None:
    """A slow worker with a backlog reads one partition after the other, for longer than the stall timeout."""
    # Given a backlog in which one turn of a partition takes some seconds
    filler = "the film went on and on " * 60
    for start in range(0, 1200, 200):
        harness.produce_records(
            [
                Record(json.dumps({"id": f"r-{n}", "text": f"{n} {filler}"}).encode(), partition=n % 4)
                for n in range(start, start + 200)
            ]
        )
    harness.watch()
    # When one worker takes it, then it is not mistaken for one that has lost partitions
    # (The target keeps the size of polls up, however slow the model seems by the few tokens of its golden text.)
    worker = harness.worker(
        Script(seconds_per_poll=1.0), stall_timeout_seconds=5, transaction_timeout_seconds=4, poll_target_seconds=12
    )
    assert harness.finish(120).checked == 1200
    assert "has not moved" not in worker.log


@pytest.mark.smoke
def test_a_drain_ends_although_producers_go_on(harness: Harness) -> None:
    """When the backlog of its start is done, the worker stops and leaves later records to the next one."""
    # Given a backlog with one partition that ends with the marker of a transaction, and a producer that never pauses
    with transaction(harness.kafka, harness.topics.input, partition=3) as upstream:
        upstream.abort_transaction()
    busy = [Record(GOOD, partition=partition) for partition in range(3)]
    harness.produce_records(busy * 60)
    worker = harness.worker(Script(seconds_per_poll=0.05), drain=True)
    while worker.is_running and len(harness.produced) < 20_000:
        harness.produce_records(busy * 10)
    # Then the worker ends, with all of the backlog done
    assert worker.wait_exit(5) == 0, worker.log
    assert len(harness.produced) > 180
    committed = harness.committed_by_partition()
    assert min(committed[partition] for partition in range(3)) >= 60
    assert committed[3] == 2
    harness.worker()
    assert harness.finish().checked == len(harness.produced)


def test_row_23_records_that_retention_deleted_are_counted(harness: Harness) -> None:
    """Retention overtook the group: the worker continues with what is left, and counts what is gone."""
    # Given a group that has read a part, and whose next records are deleted
    harness.produce(100)
    harness.worker()
    harness.await_done()
    harness.stop()
    harness.produce(100)
    starts = {0: 35, 1: 45}
    with harness.kafka.admin() as admin:
        admin.delete_records({TopicPartition(harness.topics.input, each): start for each, start in starts.items()})
    # When a worker starts again, then it counts them, names the partitions, and labels the rest
    worker = harness.worker()
    harness.await_done()
    lost = {(harness.topics.input, partition, n) for partition, start in starts.items() for n in range(25, start)}
    assert worker.metric("reviews_deleted_unread_total") == len(lost)
    assert "were deleted by retention before they were read" in worker.log
    harness.produced = [r for r in harness.produced if (r.topic, r.partition, r.offset) not in lost]
    assert harness.finish().checked == 200 - len(lost)


def test_row_31_a_topic_that_is_recreated_under_a_worker_is_read_from_its_start(harness: Harness) -> None:
    """The new topic holds more than was read of the old one, so its first records would be missed silently."""
    # Given a worker that has read the topic to its end
    old = harness.produce(40)
    worker = harness.worker()
    harness.await_done()
    # When another topic of that name replaces it, and has more records by the time the worker can notice
    with harness.kafka.admin() as admin:
        admin.delete_topics([harness.topics.input])
        wait_until(lambda: harness.topics.input not in admin.list_topics(), 30, "the topic is gone")
    harness.kafka.create_topics({harness.topics.input: harness.partitions})
    harness.produced = []
    new = harness.produce_records([Record(b'{"id": "n-%d", "text": "new"}' % n, partition=n % 4) for n in range(200)])
    # Then every one of them is labelled
    wanted = {f"n-{n}" for n in range(len(new))}

    def labelled() -> set[str]:
        return {
            json.loads(each.value or b"")["id"] for each in read_all(internal(harness.kafka), harness.topics.output)
        }

    wait_until(lambda: wanted <= labelled(), 60, "all that the new topic has")
    assert f"{harness.topics.input} was deleted and created again" in worker.log
    # And the next worker repeats nothing
    harness.stop()
    drained = harness.worker(drain=True)
    assert drained.wait_exit() == 0, drained.log
    assert "drained: 0 labelled" in drained.log
    assert len(labelled() - wanted) == len(old)
