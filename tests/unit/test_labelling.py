"""A poll that costs too much: what is labelled of it, and what the next poll is asked for."""

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from consumer.labelling import Labelled, Labelling, Turns
from consumer.model.labeller import Classified, Scored, Stats
from consumer.records.messages import Model
from consumer.records.poll import Poll, Span
from consumer.records.record import Record
from consumer.service.metrics import Metrics
from consumer.service.stopwatch import Stopwatch
from consumer.settings import WorkerSettings

ANSWER = Scored("pos", 0.9, {"neg": 0.1, "pos": 0.9}, 3, False)


class Fitting:
    """A labeller that has time for so many texts."""

    digest, labels, variant = "a" * 64, ("neg", "pos"), "none"

    def __init__(self, texts: int) -> None:
        self.texts = texts
        self.seconds: list[float | None] = []

    def classify(
        self, texts: Sequence[str], _at_work: Callable[[], None] = lambda: None, seconds: float | None = None
    ) -> Classified:
        """The first ones; at least one, as every labeller."""
        self.seconds.append(seconds)
        return Classified([ANSWER] * min(len(texts), max(1, self.texts)), Stats(texts=min(len(texts), self.texts)))

    def clean(self, text: str) -> str:
        """As it is."""
        return text

    def self_check(self, _at_work: Callable[[], None] = lambda: None) -> None:
        """Nothing to check."""

    def close(self) -> None:
        """Nothing to close."""


def labelling(labeller: Fitting) -> Labelling:
    """With this labeller and the default settings."""
    return Labelling(
        WorkerSettings(),
        labeller,
        model=Model(name="m", version="1", digest="0" * 64, variant="none"),
        metrics=Metrics(),
        stopwatch=Stopwatch(),
        alive=lambda: None,
    )


def records(*partitions: int, value: bytes = b'{"text": "good"}') -> list[Record]:
    """One for each partition named, with growing offsets; grouped as the client groups them."""
    offsets: Counter[int] = Counter()
    made = []
    for partition in partitions:
        made.append(Record("t", partition, offsets[partition], 0, None, value, leader_epoch=partition))
        offsets[partition] += 1
    return made


def places(labelled: Labelled) -> list[tuple[int, int]]:
    """Partition and offset of each outcome."""
    return [(outcome.source.partition, outcome.source.offset) for outcome in labelled.outcomes]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_labelled_is_a_prefix_of_each_partition_in_the_order_of_the_poll(seed: int) -> None:
    """However little fits, and wherever bad records are: nothing is left out between two records of a partition."""
    draw = random.Random(seed)
    values = [b'{"text": "good"}', b"bad", None]
    poll = [
        Record("t", partition, offset, 0, None, draw.choice(values))
        for partition in draw.sample(range(9), k=draw.randint(1, 5))
        for offset in range(draw.randint(1, 20))
    ]
    fits = draw.randint(1, 30)
    labelled = labelling(Fitting(fits)).label(poll)
    done = places(labelled)
    order = [(record.partition, record.offset) for record in poll]
    assert done == [place for place in order if place in done]
    counts = Counter(partition for partition, _ in done)
    assert all(offset < counts[partition] for partition, offset in done)
    good = sum(record.value == values[0] for record in poll)
    assert sum(isinstance(outcome.result, Scored) for outcome in labelled.outcomes) == min(fits, good)
    assert (labelled.counts is None) == (len(done) == len(poll))
    assert labelled.counts in (None, counts)


def test_partitions_take_turns_within_a_poll() -> None:
    """The client returns all that it has of one partition first; the others get their share of what fits."""
    labelled = labelling(Fitting(7)).label(records(*[0] * 50, *[1] * 50, *[2] * 2))
    assert labelled.counts == {0: 3, 1: 2, 2: 2}


def test_no_partition_is_put_back_for_ever() -> None:
    """If there is time for one record of each poll, the partition that waited longest begins."""
    made = labelling(Fitting(1))
    served: Counter[int] = Counter()
    for _ in range(30):
        served.update(made.label(records(*[0] * 5, *[1] * 5, *[2] * 5)).counts)
    assert served == {0: 10, 1: 10, 2: 10}


def test_turns_do_not_change_what_is_polled() -> None:
    """Every record has one place in the order."""
    turns = Turns()
    poll = records(*[3] * 4, *[1] * 2, *[2] * 7)
    order = turns.in_order(poll)
    assert sorted(order) == list(range(len(poll)))
    assert [poll[place].partition for place in order[:4]] == [3, 1, 2, 3]


def test_the_next_poll_asks_for_what_fitted() -> None:
    """What is put back is fetched and parsed again; so a poll that was cut is followed by a smaller one."""
    made = labelling(Fitting(9))
    before = made.pace.records
    made.label(records(*[0] * 32))
    assert (before, made.pace.records) == (32, 9)
    made.label(records(*[0] * 9))
    assert made.pace.records == 18


def test_the_model_gets_the_time_that_is_left() -> None:
    """Parsing is a part of the target time."""
    labeller = Fitting(100)
    labelling(labeller).label(records(0, 0, value=json.dumps({"text": "long " * 100_000}).encode()))
    (seconds,) = labeller.seconds
    assert seconds is not None
    assert 0 < seconds < WorkerSettings().poll_target_seconds


def test_a_cut_poll_ends_after_its_last_record() -> None:
    """Offset and leader epoch to commit are those of the last record left; a partition without any has no span."""
    poll = Poll(
        [Record("t", 0, offset, 0, None, b"", leader_epoch=offset) for offset in (3, 5, 9)]
        + [Record("t", 1, 0, 0, None, b"")],
        (Span(0, 3, 10, 9, 2), Span(1, 0, 1)),
        in_group=True,
        group="g",
    )
    assert poll.first_ones({0: 2}).spans == (Span(0, 3, 6, 5, 2),)
    assert [record.offset for record in poll.first_ones({0: 2}).records] == [3, 5]
    assert poll.first_ones({0: 3, 1: 1}) == poll
    assert poll.first_ones({}).records == []
    assert poll.first_ones({}).group == "g"
