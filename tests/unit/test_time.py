"""Where the time goes and how long records wait, by a clock that the test moves."""

import random

import pytest
from prometheus_client import CollectorRegistry, Histogram

from consumer.records.progress import Progress
from consumer.records.record import Record
from consumer.service.histograms import observe_all
from consumer.service.stopwatch import Activity, Stage, Stopwatch
from consumer.service.waiting import Waiting


class Clock:
    """Seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """In place of the time."""
    return Clock()


def record(offset: int, timestamp: float, partition: int = 0) -> Record:
    """A record with this timestamp in seconds; negative for none."""
    return Record("t", partition, offset, int(timestamp * 1000), None, b"")


def test_every_moment_belongs_to_one_stage(clock: Clock) -> None:
    """Whatever stages begin and whatever is moved between them, they add up to the time that has passed."""
    watch, draw, began = Stopwatch(clock), random.Random(7), clock.now
    total: dict[Stage, float] = {}
    for _ in range(300):
        clock.now += draw.random()
        watch.begin(draw.choice(list(Stage)))
        watch.move(draw.random(), draw.choice(list(Stage)), draw.choice(list(Stage)))
        if draw.random() < 0.2:
            for stage, seconds in watch.lap().items():
                assert seconds > 0
                total[stage] = total.get(stage, 0.0) + seconds
    assert sum(total.values()) + sum(watch.lap().values()) == pytest.approx(clock.now - began)
    assert set(total) == set(Stage)


def test_a_stage_lasts_until_the_next_one_and_gives_away_no_more_than_it_has(clock: Clock) -> None:
    """Idle time is known only after a poll, and is a part of it."""
    watch = Stopwatch(clock)
    watch.begin(Stage.POLL)
    clock.now += 3
    assert watch.begin(Stage.OTHER) == 3
    watch.move(2, Stage.POLL, Stage.IDLE)
    assert watch.lap() == {Stage.POLL: 1, Stage.IDLE: 2}
    watch.move(2, Stage.POLL, Stage.IDLE)
    assert watch.lap() == {}


def test_each_stage_counts_as_one_activity() -> None:
    """A worker with nothing to read is idle; whatever a broker has to answer is waiting; the rest is work."""
    assert {stage for stage in Stage if stage.activity is Activity.IDLE} == {Stage.IDLE}
    waiting = {stage for stage in Stage if stage.activity is Activity.WAITING}
    assert waiting == {Stage.POLL, Stage.PUBLISH, Stage.PROBE, Stage.RETRY}


def test_the_age_is_that_of_the_oldest_record_in_hand(clock: Clock) -> None:
    """Also while a poll is retried; the timestamps of a partition need not grow."""
    waiting = Waiting(clock)
    waiting.assigned(0)
    assert waiting.seconds(0) == 0
    waiting.polled([record(5, 990), record(6, 970), record(7, 995)])
    assert waiting.seconds(0) == 30
    clock.now += 5
    waiting.seen({0: Progress(5, 8)})
    waiting.polled([record(5, 990), record(6, 970), record(7, 995)])
    assert waiting.seconds(0) == 35
    waiting.committed([record(5, 990), record(6, 970), record(7, 995)])
    assert waiting.seconds(0) == 0


def test_records_that_were_put_back_still_wait(clock: Clock) -> None:
    """A poll that was cut has committed a part of what was in hand; another partition had no turn at all."""
    waiting = Waiting(clock)
    waiting.polled([record(0, 900), record(1, 910), record(0, 950, partition=1)])
    waiting.committed([record(0, 900)])
    assert (waiting.seconds(0), waiting.seconds(1)) == (100, 50)
    waiting.polled([record(1, 910)])
    assert waiting.seconds(0) == 90


def test_before_a_record_is_polled_its_age_is_at_most_one_probe_too_high(clock: Clock) -> None:
    """It waits since the partition was last seen to be empty, or since the last committed record."""
    waiting = Waiting(clock)
    waiting.assigned(0)
    waiting.polled([record(0, 500)])
    waiting.committed([record(0, 500)])
    waiting.seen({0: Progress(1, 1)})
    clock.now += 5
    assert waiting.seconds(0) == 0
    waiting.seen({0: Progress(1, 4)})
    clock.now += 5
    assert waiting.seconds(0) == 10
    # A backlog: the next record is about as old as the last one that is done
    waiting.polled([record(1, 940), record(2, 950)])
    waiting.committed([record(1, 940), record(2, 950)])
    waiting.seen({0: Progress(3, 9)})
    assert waiting.seconds(0) == 60


def test_a_record_without_a_timestamp_and_a_clock_that_is_ahead_do_no_harm(clock: Clock) -> None:
    """An age is never negative, and grows although the records say nothing."""
    waiting = Waiting(clock)
    waiting.assigned(0)
    waiting.polled([record(0, -1)])
    clock.now += 5
    waiting.polled([record(0, -1)])
    assert waiting.seconds(0) == 5
    waiting.polled([record(0, 2000)])
    assert waiting.seconds(0) == 0
    waiting.revoked(0)
    assert waiting.seconds(0) == 0


def test_many_observations_at_once_are_what_single_ones_are() -> None:
    """Bucket by bucket, at the bounds of buckets as well, and in the sum."""
    registry = CollectorRegistry()
    one, many = (Histogram(name, name, buckets=(1, 2, 5), registry=registry) for name in ("one", "many"))
    values = [0, 1, 1.5, 2, 2.5, 5, 6, 1e9, 0.1]
    for value in values:
        one.observe(value)
    observe_all(many, iter(values))
    observe_all(many, [])

    def series(name: str) -> dict[str, float]:
        return {
            sample.name.removeprefix(name) + sample.labels.get("le", ""): sample.value
            for family in registry.collect()
            for sample in family.samples
            if family.name == name and not sample.name.endswith("_created")
        }

    assert series("many") == series("one")
    assert len(series("one")) == 6
