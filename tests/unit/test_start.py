"""What a start waits for, and what ends it; test_topics.py and test_security.py of tests/faults use real brokers."""

import logging
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, TopicAuthorizationFailedError

from consumer.errors import KafkaUnusable
from consumer.kafka import fixes, start
from consumer.kafka.client import Clients
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
    monkeypatch.setattr(start, "diagnose", lambda *_: "")
    monkeypatch.setattr(start, "compression_type", lambda *_: "uncompressed")
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
    assert [what.partition(":")[0].partition(",")[0] for what in said] == [
        "topic reviews does not exist",
        "cannot find out whether topic reviews exists",
        "cannot find out whether topic reviews exists",
        "topic reviews does not exist",
    ]


def test_a_slow_start_shows_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sign of life comes before each client and each topic, and all the time while one of them is waited for."""
    events: list[str] = []
    noticed = Event()

    class Slow(Topics):
        def partitions_for_topic(self, topic: str) -> set[int]:
            events.append("topic")
            noticed.clear()
            assert noticed.wait(30)  # until another sign of life came
            return super().partitions_for_topic(topic)

    def build(*_: object) -> Slow:
        events.append("client")
        return Slow(set())

    def alive() -> None:
        events.append("alive")
        noticed.set()

    for client in ("new_consumer", "new_producer", "new_reader"):
        monkeypatch.setattr(start, client, build)
    assert Start(WorkerSettings(), alive=alive).connect() is not None
    steps = [(before, step) for before, step in pairwise(events) if step != "alive"]
    # One topic is missing at first.
    assert steps == [("alive", step) for step in ("client", *["topic"] * 4, "client", "client")]


def stuck(ending: Event) -> Callable[..., Any]:
    """A request that a frozen broker never answers."""

    def never(*_: object) -> None:
        ending.wait(60)

    return never


@pytest.fixture
def ending() -> Iterator[Event]:
    """Set when the test is over."""
    event = Event()
    yield event
    event.set()


def test_a_question_that_the_end_of_the_start_cuts_short_hides_no_answer(
    ending: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A topic that is missing is the cause, although the last request about it has no answer yet."""

    class Missing(Topics):
        def partitions_for_topic(self, topic: str) -> set[int]:
            if said:
                ending.wait(60)
            return set()

    said: list[str] = []
    monkeypatch.setattr(start, "new_consumer", lambda *_: Missing())
    with pytest.raises(KafkaUnusable, match=r"gave up after 1 s: topic reviews does not exist"):
        Start(WorkerSettings(start_timeout_seconds=1), on_waiting=said.append).connect()
    assert len(said) == 1


@pytest.mark.parametrize("where", ["new_consumer", "topics", "compression_type", "new_producer", "new_reader"])
def test_the_start_ends_in_time_though_a_request_never_returns(
    where: str, ending: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The timeout is kept within a second, with the cause, wherever a broker freezes; nothing in use is closed."""
    # Given a cluster that freezes at one step
    topics = Topics()
    monkeypatch.setattr(start, "new_consumer", lambda *_: topics)
    if where == "topics":
        monkeypatch.setattr(topics, "partitions_for_topic", stuck(ending))
    else:
        monkeypatch.setattr(start, where, stuck(ending))
    looked_for: list[float] = []

    def look(*given: Any) -> str:
        looked_for.append(given[-1])
        return "it takes connections"

    monkeypatch.setattr(start, "diagnose", look)
    # When a worker starts, then it gives up in time, and says what it found
    began = time.monotonic()
    with pytest.raises(KafkaUnusable, match=r"gave up after 1 s: .*it takes connections"):
        Start(WorkerSettings(start_timeout_seconds=1)).connect()
    assert 1 <= time.monotonic() - began < 1.5
    assert looked_for == [0.5]
    assert not topics.closed


def test_a_start_that_waits_for_an_answer_is_stopped_at_once(ending: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM is not held up by a broker that does not answer."""
    monkeypatch.setattr(start, "new_consumer", stuck(ending))
    began = time.monotonic()
    assert Start(WorkerSettings(), stopping=lambda: time.monotonic() - began > 0.3).connect() is None
    assert time.monotonic() - began < 2


def test_a_start_looks_at_what_the_settings_and_the_cluster_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The addresses that brokers advertise are tried as well, and the outcome is what the start waits for."""
    # Given a client that has heard of two brokers, and fails
    asked: list[tuple[Any, ...]] = []

    def look(*given: Any) -> str:
        asked.append(given)
        return "the name a cannot be resolved"

    monkeypatch.setattr(start, "diagnose", look)

    def build(_: WorkerSettings, clients: Clients) -> None:
        clients._built.append(Network())
        raise KafkaTimeoutError if not said else IndexError

    class Network:
        """A client whose cluster has these brokers."""

        cluster = SimpleNamespace(brokers=lambda: [SimpleNamespace(host=host, port=9) for host in ("::1", "b")])

        def close(self) -> None:
            """Nothing to close."""

    monkeypatch.setattr(start, "new_consumer", build)
    said: list[str] = []
    with pytest.raises(IndexError):
        Start(WorkerSettings(bootstrap_servers="a:1,c:2"), on_waiting=said.append).connect()
    assert asked == [(["a:1", "c:2"], ["[::1]:9", "b:9"], False, 2.0)]
    assert said == ["the name a cannot be resolved"]


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
