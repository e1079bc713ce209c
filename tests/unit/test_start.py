"""What a start waits for, and what ends it; test_topics.py and test_security.py of tests/faults use real brokers."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, TopicAuthorizationFailedError

from consumer.errors import KafkaUnusable
from consumer.kafka import fixes, start
from consumer.kafka.start import Start
from consumer.settings import WorkerSettings


class Topics:
    """A consumer that gives these answers about topics, then answers that each has three partitions.

    Attributes:
        closed: whether it was closed.
    """

    def __init__(self, *answers: KafkaError | set[int], version: tuple[int, ...] = (4, 3)) -> None:
        self.config = {"api_version": version}
        self.closed = False
        self._answers = list(answers)

    def partitions_for_topic(self, _topic: str) -> set[int]:
        """Raise or return what comes next."""
        answer = self._answers.pop(0) if self._answers else {0, 1, 2}
        if isinstance(answer, KafkaError):
            raise answer
        return answer

    def close(self, **_: object) -> None:
        """Note it."""
        self.closed = True


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    fixes.apply()
    monkeypatch.setattr(start, "RETRY_SECONDS", 0.0)
    for client in ("new_producer", "new_reader"):
        monkeypatch.setattr(start, client, lambda *_: object())


def test_a_broker_that_is_away_for_a_moment_does_not_end_the_wait_for_a_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a topic is missing, a connection that fails or times out does not end the wait for the topic."""
    # Given a cluster that lacks the first topic, and twice cannot be reached in the meantime
    topics: Any = Topics(set(), KafkaConnectionError("gone"), KafkaTimeoutError(), set())
    monkeypatch.setattr(start, "new_consumer", lambda *_: topics)
    said: list[str] = []
    # When a worker starts
    connection = Start(WorkerSettings(), on_waiting=said.append).connect()
    # Then it waits four times, says why each time, and connects when all topics exist
    assert connection is not None
    assert list(connection.partitions.values()) == [3, 3, 3]
    assert [what.split(" (")[0].split(",")[0] for what in said] == [
        "topic reviews does not exist",
        "cannot find out whether topic reviews exists",
        "cannot find out whether topic reviews exists",
        "topic reviews does not exist",
    ]


def test_a_slow_start_shows_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each client and each topic may take a request's full time; a sign of life comes before each, waiting or not."""
    events: list[str] = []

    class Noting(Topics):
        def partitions_for_topic(self, topic: str) -> set[int]:
            events.append("topic")
            return super().partitions_for_topic(topic)

    def build(*_: object) -> Noting:
        events.append("client")
        return Noting(set())

    for client in ("new_consumer", "new_producer", "new_reader"):
        monkeypatch.setattr(start, client, build)
    assert Start(WorkerSettings(), alive=lambda: events.append("alive")).connect() is not None
    assert events[0::2] == ["alive"] * 7
    assert events[1::2] == ["client", *["topic"] * 4, "client", "client"]  # one topic is missing at first


def test_a_topic_that_this_user_may_not_see_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waiting cannot fix is reported at once, with the topic; the consumer is closed."""
    topics: Any = Topics(TopicAuthorizationFailedError())
    monkeypatch.setattr(start, "new_consumer", lambda *_: topics)
    said: list[str] = []
    with pytest.raises(KafkaUnusable, match=r"topic reviews: .*TopicAuthorizationFailedError"):
        Start(WorkerSettings(), on_waiting=said.append).connect()
    assert said == []
    assert topics.closed


@pytest.mark.parametrize(("version", "delivery"), [((2, 4), "at_least_once"), ((2, 5), "exactly_once")])
def test_a_kafka_that_supports_the_delivery_is_used(
    version: tuple[int, ...], delivery: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At-least-once delivery needs nothing that came with 2.5."""
    topics: Any = Topics(version=version)
    monkeypatch.setattr(start, "new_consumer", lambda *_: topics)
    connection = Start(WorkerSettings.model_validate({"delivery": delivery})).connect()
    assert connection is not None
    assert connection.consumer is topics


def test_a_kafka_too_old_for_exactly_once_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """kafka-python would silently leave out what fences a late worker."""
    topics: Any = Topics(version=(2, 4))
    monkeypatch.setattr(start, "new_consumer", lambda *_: topics)
    with pytest.raises(KafkaUnusable, match=r"speaks as Kafka 2\.4: .*needs 2\.5 or newer; set delivery"):
        Start(WorkerSettings()).connect()


def failing(*attempts: tuple[str | None, Exception]) -> Callable[..., Any]:
    """Fails so often to create a client, each time with a warning of the client (or none) and an error."""
    left = list(attempts)

    def build(*_: object) -> Any:
        warning, error = left.pop(0)
        if warning:
            logging.getLogger("kafka.net.connection").warning(warning)
        raise error

    return build


def test_each_failed_attempt_reports_its_own_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client logs causes and raises "timed out". A cause that is over must not stand in the last line."""
    # Given an attempt that fails with a cause in the log, and one that fails without
    attempts = (("Connect attempt returned error 111", KafkaTimeoutError()), (None, KafkaConnectionError("gone")))
    monkeypatch.setattr(start, "new_consumer", failing(*attempts))
    said: list[str] = []
    # When a worker starts, and gives up with the third one
    with pytest.raises(IndexError):
        Start(WorkerSettings(), on_waiting=said.append).connect()
    # Then each line has the cause of its own attempt
    assert len(said) == 2
    assert "error 111" in said[0]
    assert "error 111" not in said[1]
    assert "gone" in said[1]


@pytest.mark.parametrize("created", [0, 1, 2])
def test_a_start_that_is_stopped_closes_what_it_has_created(created: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no half-made connection: the outcome is None, and no client is left open."""
    clients = [Topics(), Topics(), Topics()]
    builders = dict(zip(("new_consumer", "new_producer", "new_reader"), clients, strict=True))
    asked_to_stop = False

    def build(name: str) -> Callable[..., Any]:
        def make(*_: object) -> Any:
            nonlocal asked_to_stop
            asked_to_stop = list(builders).index(name) >= created - 1
            return builders[name]

        return make

    for name in builders:
        monkeypatch.setattr(start, name, build(name))
    stopping = (lambda: True) if created == 0 else (lambda: asked_to_stop)
    assert Start(WorkerSettings(), stopping=stopping).connect() is None
    assert [client.closed for client in clients] == [number < created for number in range(3)]
