"""How long a delivery may take, and when a wait shows signs of life; row 18 of tests/faults uses a real broker."""

from itertools import pairwise, permutations
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import InvalidRecordError, KafkaError, KafkaTimeoutError, MessageSizeTooLargeError
from kafka.producer.future import FutureProduceResult, FutureRecordMetadata

from consumer.kafka import delivery as deliveries
from consumer.kafka.delivery import SIGN_SECONDS, Delivery

BUDGET = 30.0


class Clock:
    """A clock that only waiting moves, and the signs of life by its time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.signs: list[float] = []

    def monotonic(self) -> float:
        """The time in seconds."""
        return self.now

    def alive(self) -> None:
        """Note a sign of life."""
        self.signs.append(self.now)

    @property
    def longest_silence(self) -> float:
        """Between two signs of life, in seconds."""
        moments = [0.0, *self.signs, self.now]
        return max(later - earlier for earlier, later in pairwise(moments))


class Acknowledged:
    """The future of a record that is acknowledged, or refused, at a given time."""

    def __init__(self, clock: Clock, at: float, error: KafkaError | None = None) -> None:
        self._clock, self._at, self._error = clock, at, error

    @property
    def is_done(self) -> bool:
        """Whether that time has come."""
        return self._clock.now >= self._at

    def get(self, timeout: float) -> None:
        """Wait for it."""
        self._clock.now = min(self._clock.now + timeout, max(self._at, self._clock.now))
        if not self.is_done:
            raise KafkaTimeoutError
        if self._error:
            raise self._error


class Producer:
    """Has sent everything; each flush waits for one batch."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def flush(self, timeout: float) -> None:
        """Nothing is acknowledged in time."""
        self._clock.now += timeout
        raise KafkaTimeoutError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """In place of the time."""
    clock = Clock()
    monkeypatch.setattr(deliveries, "time", clock)
    return clock


def delivery(clock: Clock, *futures: Any) -> Delivery:
    """Of these records."""
    made = Delivery(BUDGET, clock.alive)
    made.sent += futures
    return made


def test_a_slow_delivery_shows_signs_of_life(clock: Clock) -> None:
    """Whether one record is slow or a thousand trickle in, no two signs of life are far apart."""
    delivery(clock, Acknowledged(clock, 25.0)).wait(Producer(clock))
    assert clock.now == 25.0
    assert clock.longest_silence <= 2 * SIGN_SECONDS
    trickling = [Acknowledged(clock, 25.0 + number / 250) for number in range(1000)]
    delivery(clock, *trickling).wait(Producer(clock))
    assert len(clock.signs) > 25
    assert clock.longest_silence <= 2 * SIGN_SECONDS


def test_a_delivery_ends_with_its_budget(clock: Clock) -> None:
    """Signs of life do not extend the time that results have."""
    with pytest.raises(KafkaTimeoutError, match="not acknowledged within 30 s"):
        delivery(clock, Acknowledged(clock, 1000.0)).wait(Producer(clock))
    assert BUDGET <= clock.now <= BUDGET + SIGN_SECONDS


def test_a_refused_record_is_an_error(clock: Clock) -> None:
    """The others may be acknowledged; the delivery failed."""
    futures = Acknowledged(clock, 1.0), Acknowledged(clock, 2.0, MessageSizeTooLargeError()), Acknowledged(clock, 3.0)
    with pytest.raises(MessageSizeTooLargeError):
        delivery(clock, *futures).wait(Producer(clock))


def test_an_overdue_answer_is_left_to_the_watchdog(clock: Clock) -> None:
    """Another wait counts as expected only while results are on their way and have time left."""
    slow, late = delivery(clock, Acknowledged(clock, 5.0)), delivery(clock, Acknowledged(clock, 1000.0))
    slow.show_life()
    late.show_life()
    assert len(clock.signs) == 2
    clock.now = 5.0
    slow.show_life()  # delivered: what is still missing may never come
    assert len(clock.signs) == 2
    late.show_life()
    assert len(clock.signs) == 3
    clock.now = BUDGET
    late.show_life()
    assert len(clock.signs) == 3


def sent(*outcome: Any) -> FutureRecordMetadata:
    """The future of a record whose batch ended so: base offset, timestamp, and what gives each record its error."""
    batch = FutureProduceResult(TopicPartition("any", 0))
    record = FutureRecordMetadata(batch, 0, None, None, -1, -1, -1)
    batch.success(outcome)
    return record


def test_the_record_to_blame_is_found_among_those_that_fail_with_it(clock: Clock) -> None:
    """Neither a batch that the client gave up, nor a neighbour in the refused batch, stands for the refused record."""
    # Given a refused batch, and one of another topic that was given up with the error of the whole batch
    refusal, whole = InvalidRecordError("no key"), InvalidRecordError("One or more records have been rejected")
    neighbour = KafkaError("part of a batch which had one more more invalid records")
    given_up = sent(-1, -1, lambda _: whole)
    refused = [sent(None, None, lambda _, error=error: error) for error in (neighbour, refusal)]
    good = sent(7, 1, None)
    for order in permutations([("dead", given_up), ("output", refused[1]), ("output", refused[0]), ("dead", good)]):
        failed = delivery(clock, *(future for _, future in order))
        failed.topics += [topic for topic, _ in order]
        # Then the topic and the reason are those of the refused record
        assert "output: " in failed.cause(KafkaTimeoutError())
        assert "no key" in failed.cause(KafkaTimeoutError())
    # And without a record that failed, the error of the transaction is the cause
    assert "timed out" in delivery(clock).cause(KafkaTimeoutError("timed out"))
