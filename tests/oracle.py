"""Decides whether every record of a test was processed exactly once, and counts what it checked: no check is vacuous.

It identifies records by the coordinates that the worker wrote into their headers, never by their content. It reads
with librdkafka, past the worker's patches of kafka-python.
"""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from confluent_kafka import ConsumerGroupState

from consumer.local.cluster import LocalCluster
from tests.fake_model import NAN_MARK, OUT_OF_MEMORY_MARK, label_and_score
from tests.foreign_reader import REQUEST_SECONDS, end_offsets, foreign_admin, read_all
from tests.kafka_helpers import Topics, committed_offsets, internal
from tests.live_reader import LiveReader, Source
from tests.record import Record, header_bytes
from tests.worker_process import wait_until

#: A killed member stays in the group for its session, an open transaction until its timeout.
SETTLE_SECONDS = 60.0
#: States in which a transactional id holds up no reader.
ENDED = {"Empty", "CompleteCommit", "CompleteAbort", "Dead"}


@dataclass(frozen=True)
class Verdict:
    """What the oracle found: `checked` records, of which `predicted` and `dead` (dead letters)."""

    checked: int
    predicted: int
    dead: int


def check(
    kafka: LocalCluster,
    topics: Topics,
    produced: Sequence[Record],
    live: LiveReader | None = None,
    *,
    dead: Collection[Source] = (),
    exactly_once: bool = True,
) -> Verdict:
    """Assert that the work on `produced` is finished and right. Call when every worker has ended.

    1. the group is empty and every transaction has ended
    2. source coordinates over outputs and dead letters are those of `produced`: none missing, none twice
    3. outputs stand in the order of their source partition, and so do dead letters
    4. scores are those of the fake model, dead letters carry the original bytes
    5. the committed offset of each partition is its end
    6. a `read_committed` reader that ran during the faults saw the same records in the same order
    7. as many records were checked as were produced

    Args:
        kafka: the cluster; asked on its internal listener, past any proxy.
        topics: of the test.
        produced: acknowledged records, with their coordinates.
        live: the reader of point 6, closed here.
        dead: coordinates that have to be dead letters, beside those that hold no text for Python's own JSON reader.
        exactly_once: False for at-least-once delivery, where a record may come more than once.

    Raises:
        AssertionError: naming the first few coordinates that are wrong.
    """
    bootstrap = internal(kafka)
    settled(kafka, topics)  # 1
    results = {topic: read_all(bootstrap, topic) for topic in (topics.output, topics.dead_letter)}
    expected = {(record.topic, record.partition or 0, record.offset): record for record in produced}
    assert len(expected) == len(produced), "the test itself listed a record twice"
    _same(Counter(r.source for found in results.values() for r in found), Counter(expected.keys()), exactly_once)  # 2
    checked: set[Source] = set()
    for topic, records in results.items():
        in_order(topic, records, exactly_once)  # 3
        for record in records:
            source = expected[record.source]
            text = None if record.source in dead else text_of(source.value)
            assert (text is None) == (topic == topics.dead_letter), f"{record.source} is on the wrong topic"
            _right(record, source, text)  # 4
            checked.add(record.source)
    committed, ends = committed_offsets(kafka, topics.group, topics.input), end_offsets(bootstrap, topics.input)
    assert {p: committed.get(p, 0) for p in ends} == ends, "committed offsets and ends of the input differ"  # 5
    if live is not None:
        live.agrees_with(results)  # 6
    assert len(checked) == len(produced), f"checked {len(checked)} of {len(produced)}"  # 7
    return Verdict(len(checked), len(results[topics.output]), len(results[topics.dead_letter]))


def settled(kafka: LocalCluster, topics: Topics) -> None:
    """Wait until the group is empty, every transaction has ended, and committed readers reach every end.

    Raises:
        AssertionError: not within `SETTLE_SECONDS` each; it lists the transactions that have not ended.
    """
    wait_until(partial(_is_empty, kafka, topics.group), SETTLE_SECONDS, "the group is empty")
    _transactions_have_ended(kafka, topics.group)
    for topic in (topics.output, topics.dead_letter):
        wait_until(partial(stable, kafka, topic), SETTLE_SECONDS, f"{topic} is stable to its end")


def stable(kafka: LocalCluster, topic: str) -> bool:
    """Whether readers of committed records reach the end of every partition: last stable offset = high watermark."""
    bootstrap = internal(kafka)
    return end_offsets(bootstrap, topic, committed=True) == end_offsets(bootstrap, topic)


def _is_empty(kafka: LocalCluster, group: str) -> bool:
    with foreign_admin(internal(kafka)) as admin:
        found = admin.describe_consumer_groups([group], request_timeout=REQUEST_SECONDS)[group].result()
    return found.state in {ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD} and not found.members


def open_transactions(kafka: LocalCluster, prefix: str) -> list[str]:
    """Id and state of each transaction that has not ended and whose id starts with `prefix`.

    `PrepareCommit` and `PrepareAbort` are no ends: the markers are still being written, and a coordinator that is stuck
    there blocks readers. librdkafka cannot list transactions, so kafka-python does; the worker patches no part of that.
    """
    with kafka.admin() as admin:
        listed = [each for found in admin.list_transactions().values() for each in found]
    return [
        f"{each.transactional_id}: {each.state.value}"
        for each in listed
        if each.transactional_id.startswith(prefix) and str(each.state.value) not in ENDED
    ]


def _transactions_have_ended(kafka: LocalCluster, prefix: str) -> None:
    """Wait for the end of every transaction whose id starts with `prefix`."""
    open_ones: list[str] = []

    def none_is_open() -> bool:
        open_ones[:] = open_transactions(kafka, prefix)
        return not open_ones

    try:
        wait_until(none_is_open, SETTLE_SECONDS, "every transaction has ended")
    except AssertionError as error:
        raise AssertionError(f"{error}: {open_ones}") from None


def _same(found: Counter[Source], expected: Counter[Source], exactly_once: bool) -> None:
    lost, more = expected - found, found - expected
    unknown = found.keys() - expected.keys()
    assert not lost, f"{lost.total()} records lost: {sorted(lost)[:5]}"
    assert not unknown, f"{len(unknown)} results of records that were never produced: {sorted(unknown)[:5]}"
    assert not (exactly_once and more), f"{more.total()} records more than once: {sorted(more)[:5]}"


def in_order(topic: str, records: Sequence[Record], exactly_once: bool = True) -> None:
    """Each source partition's records follow each other; with repeats allowed, the first appearances do."""
    last: dict[tuple[int | None, int], int] = {}
    seen: set[Source] = set()
    for record in records:
        _, source, offset = record.source
        if not exactly_once and record.source in seen:
            continue
        seen.add(record.source)
        where = (record.partition, source)
        assert offset > last.get(where, -1), f"{topic}: {record.source} comes after offset {last[where]}"
        last[where] = offset
    partitions = Counter(source for _, source in last)
    assert all(times == 1 for times in partitions.values()), f"{topic}: a source partition went to several partitions"


def _right(result: Record, source: Record, text: str | None) -> None:
    assert result.key == source.key, f"{result.source}: another key"
    kept = header_bytes(result.headers)[: len(source.headers)]
    assert kept == header_bytes(source.headers), f"{result.source}: headers changed"
    if text is None:
        assert result.value == source.value, f"{result.source}: the dead letter is not the original"
        return
    prediction = json.loads(result.value or b"")
    label, score = label_and_score(text)
    assert prediction["label"] == label, f"{result.source}: wrong label"
    assert abs(prediction["score"] - score) < 1e-5, f"{result.source}: wrong score"


def text_of(value: bytes | None) -> str | None:
    """The text that the fake model can label, read without the worker's own parser; None for a dead letter."""
    try:
        text = json.loads(value or b"")["text"]
    except (ValueError, TypeError, KeyError):
        return None
    bad = not isinstance(text, str) or not text.strip() or NAN_MARK in text or OUT_OF_MEMORY_MARK in text
    return None if bad else text
