"""Records that are too large: as text, as a compressed bomb, as a dead letter."""

import hashlib
import json
import resource
from typing import Any

import psutil
import pytest
from kafka.admin import ConfigResource
from kafka.errors import KafkaError

from consumer.errors import GaveUp
from consumer.kafka.fixes import transactions
from consumer.records.outgoing import Outgoing
from consumer.records.poll import NotPublished
from tests.harness import Harness
from tests.kafka_helpers import Record, produce, read_all
from tests.live_broker import first_poll, live_broker
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]


@pytest.mark.smoke
def test_row_13_a_huge_review_costs_no_more_than_its_prefix(harness: Harness) -> None:
    """A text of 900 kB is labelled like its ends; one above the limit is a dead letter; neither grows the worker."""
    # Given huge texts among small ones
    harness.produce(50)
    harness.produce_records([Record(b'{"text": "%s"}' % (b"word " * 180_000), partition=n % 4) for n in range(8)])
    worker = harness.worker(max_text_characters=950_000).wait_ready()
    harness.await_done()
    before = psutil.Process(worker.process.pid).memory_info().rss
    # When more of them come, then the worker does not grow with them
    harness.produce_records([Record(b'{"text": "%s"}' % (b"word " * 180_000), partition=n % 4) for n in range(24)])
    harness.await_done()
    assert psutil.Process(worker.process.pid).memory_info().rss < before + 60e6
    # And they are labelled by what the model reads of them, and say so
    assert harness.finish().predicted == 82
    last = json.loads(read_all(harness.topics.bootstrap, harness.topics.output)[-1].value or b"")
    assert (last["truncated"], last["tokens"]) == (True, 512)


def test_row_14_a_compressed_bomb_is_refused_by_a_topic_that_stores_plainly(harness: Harness) -> None:
    """With compression.type=uncompressed on the input topic, the broker measures a batch unpacked and refuses it."""
    # Given such a topic
    with harness.kafka.admin() as admin:
        admin.alter_configs([ConfigResource("topic", harness.topics.input, {"compression.type": "uncompressed"})])
    # When 50 MB of zeros come in 50 kB, then the producer gets the error
    with pytest.raises(KafkaError, match=r"MessageSizeTooLarge|RecordTooLarge"):
        _bomb(harness)


def test_row_14_a_worker_with_bounded_memory_survives_or_gives_up(harness: Harness) -> None:
    """Without that topic setting, a bomb kills at most the process: nothing is skipped, and more memory handles it."""
    # Given a bomb of 300 MB in the input, and a worker that may only grow by 100 MB
    harness.produce(20)
    worker = harness.worker().wait_ready()
    harness.await_done()
    used = psutil.Process(worker.process.pid).memory_info().data  # what that limit counts; most of it untouched
    resource.prlimit(worker.process.pid, resource.RLIMIT_DATA, (used + 100_000_000, used + 100_000_000))
    (bomb,) = _bomb(harness, 300_000_000)
    # Then it gives up, and has committed nothing of it
    assert worker.wait_exit(90) == 5
    assert harness.committed() == 20
    # And with memory enough, it is a dead letter: cut, with the digest of the whole
    harness.worker()
    harness.await_done()
    (dead,) = read_all(harness.topics.bootstrap, harness.topics.dead_letter)
    assert dead.source == (bomb.topic, bomb.partition, bomb.offset)
    assert dead.header("dead-letter-reason") == b"too_large"
    assert dead.header("dead-letter-bytes") == b"300000000"


@pytest.mark.smoke
def test_row_15_a_record_at_the_limit_of_the_broker_fits_the_dead_letters(harness: Harness) -> None:
    """The largest record that the broker takes can be dead-lettered: what does not fit is cut, and a header says so."""
    # Given bad records of about the broker's limit of 1 MiB, with headers and a long key
    sizes = (1_046_000, 1_047_500, 1_048_450)
    values = [b"x" * size for size in sizes]
    long_key = Record(b"x", b"k" * 1_047_000, partition=1)
    made = produce(
        harness.topics.bootstrap,
        harness.topics.input,
        [*(Record(value, partition=0) for value in values), long_key],
        max_request_size=2_000_000,
    )
    # When they are worked on
    harness.worker()
    wait_until(lambda: harness.committed() == len(made), 60, "all are committed")
    harness.stop()
    # Then all are dead letters, with the digest of the original
    dead = {each.source: each for each in read_all(harness.topics.bootstrap, harness.topics.dead_letter)}
    assert len(dead) == len(made)
    for record in made:
        found = dead[record.topic, record.partition or 0, record.offset]
        assert found.header("dead-letter-sha256") == hashlib.sha256(record.value or b"").hexdigest().encode()
        assert (record.value or b"").startswith(found.value or b"")


def test_row_15_a_topic_that_refuses_dead_letters_stops_the_worker(harness: Harness) -> None:
    """Dead letters that the topic rejects stop the worker after a few attempts; nothing is dropped or skipped."""
    # Given a dead-letter topic for small records only
    with harness.kafka.admin() as admin:
        admin.alter_configs([ConfigResource("topic", harness.topics.dead_letter, {"max.message.bytes": "2000"})])
    harness.produce_records([Record(b"x" * 5000, partition=0)])
    worker = harness.worker()
    # Then the worker gives up, and says why
    assert worker.wait_exit(90) == 5
    assert "publishing failed 6 times in a row" in worker.last_line
    assert worker.log.count("not published, retrying") == 5
    assert harness.committed() == 0
    # And with room enough, the next one does the work
    with harness.kafka.admin() as admin:
        admin.alter_configs([ConfigResource("topic", harness.topics.dead_letter, {"max.message.bytes": "1000000"})])
    harness.worker()
    assert harness.finish().dead == 1


@pytest.mark.smoke
def test_row_15_a_refused_poll_is_taken_again(harness: Harness) -> None:
    """A poll that could not be published is neither skipped nor split: the same records are retried, in order."""
    # Given a dead-letter topic that refuses what comes
    limit = {"max.message.bytes": "500"}
    with harness.kafka.admin() as admin:
        admin.alter_configs([ConfigResource("topic", harness.topics.dead_letter, limit)])
    harness.produce(30)
    harness.produce_records([Record(b"x" * 5000, partition=0)])
    harness.produce(30)
    harness.watch()
    worker = harness.worker()
    wait_until(lambda: "not published, retrying" in worker.log, 60, "the broker has refused it")
    # When it takes it
    with harness.kafka.admin() as admin:
        admin.alter_configs([ConfigResource("topic", harness.topics.dead_letter, {"max.message.bytes": "1000000"})])
    # Then the same process publishes all of it
    found = harness.finish()
    assert (found.predicted, found.dead, len(harness.workers)) == (60, 1, 1)
    # And it restarted its sequence numbers, because those of the refused record are missing at the broker
    assert "OutOfOrderSequence" not in worker.log


def test_row_15_many_results_for_one_partition_fit_a_small_limit(harness: Harness) -> None:
    """Together they exceed what the topic takes at once, each one is small: that is no reason to fail."""
    # Given an output topic whose limit is little above the worker's, and a backlog in one partition
    with harness.kafka.admin() as admin:
        admin.alter_configs([ConfigResource("topic", harness.topics.output, {"max.message.bytes": "70000"})])
    filler = "x" * 8_000  # a few of them fill a batch, however soon the client sends it
    harness.produce_records(
        [Record(json.dumps({"text": "good", "id": f"r-{n}", "note": filler}).encode(), partition=0) for n in range(600)]
    )
    # When the worker publishes it, then every batch is accepted at the first attempt
    worker = harness.worker(max_request_bytes=65_536, max_poll_records=500)
    assert harness.finish().predicted == 600
    assert "not published" not in worker.log
    assert "MessageSizeTooLarge" not in worker.log  # the client splits a refused batch, and logs that


@pytest.mark.smoke
def test_row_15_a_commit_that_lost_a_record_is_not_believed(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """kafka-python commits without a record that the broker refused for its sequence number; the worker does not."""
    # Given a producer that had one record refused and did not ask for a new epoch
    with harness.kafka.admin() as admin:
        admin.alter_configs([ConfigResource("topic", harness.topics.dead_letter, {"max.message.bytes": "500"})])
    harness.produce(4)
    with live_broker(harness.topics.settings()) as (broker, connection):
        poll = first_poll(broker)
        monkeypatch.setattr(transactions, "bump_epoch", lambda *_: None)
        with pytest.raises(NotPublished, match="MessageSizeTooLarge"):
            broker.publish(poll, [Outgoing(harness.topics.dead_letter, 0, None, b"x" * 5000, [])])
        # When its next transaction has a record for the same partition, sent no sooner than the client has to
        connection.producer._accumulator.config["linger_ms"] = 60_000
        with pytest.raises((NotPublished, GaveUp)):
            broker.publish(poll, [Outgoing(harness.topics.dead_letter, 0, None, b"x", [])])
    # Then neither record nor offsets are committed
    assert harness.committed() == 0
    assert not read_all(harness.topics.bootstrap, harness.topics.dead_letter)


def test_row_15_a_send_that_fails_half_way_restarts_the_sequence_numbers(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records sent before the one that could not be sent may have been refused, and left a gap as well."""
    harness.produce(4)
    bumps: list[int] = []
    bump_epoch = transactions.bump_epoch

    def counted(*arguments: Any) -> None:
        bumps.append(1)
        bump_epoch(*arguments)

    monkeypatch.setattr(transactions, "bump_epoch", counted)
    with live_broker(harness.topics.settings()) as (broker, _):
        poll = first_poll(broker)
        # Given a record that is sent, and one that the client refuses to send
        good, bad = (Outgoing(harness.topics.dead_letter, 0, None, b"x" * size, []) for size in (10, 2_000_000))
        with pytest.raises(NotPublished, match="MessageSizeTooLarge"):
            broker.publish(poll, [good, bad])
        # Then the producer restarts its sequence numbers, and the retry is published once
        assert bumps == [1]
        broker.publish(poll, [good])
    assert len(read_all(harness.topics.bootstrap, harness.topics.dead_letter)) == 1


def _bomb(harness: Harness, size: int = 50_000_000) -> list[Record]:
    zeros = [Record(bytes(size), partition=0)]
    return harness.produce_records(zeros, compression_type="gzip", max_request_size=2 * size)
