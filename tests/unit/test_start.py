"""What a start waits for, and what ends it; on real brokers in test_topics.py and test_security.py of tests/faults."""

from typing import Any

import pytest
from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, TopicAuthorizationFailedError

from consumer.errors import KafkaUnusable
from consumer.kafka import start
from consumer.kafka.start import Start
from consumer.settings import WorkerSettings


class Topics:
    """A client that answers so, one topic after the other, and then that each has three partitions."""

    def __init__(self, *answers: KafkaError | set[int], version: tuple[int, ...] = (4, 3)) -> None:
        self.config = {"api_version": version}
        self._answers = list(answers)

    def partitions_for_topic(self, _topic: str) -> set[int]:
        """Raise or return what comes next."""
        answer = self._answers.pop(0) if self._answers else {0, 1, 2}
        if isinstance(answer, KafkaError):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "RETRY_SECONDS", 0.0)
    for client in ("new_producer", "new_reader"):
        monkeypatch.setattr(start, client, lambda *_: object())


def test_a_broker_that_is_away_for_a_moment_does_not_end_the_wait_for_a_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a topic is missing, a connection that fails or times out is waited for like the topic itself."""
    # Given a cluster that lacks the first topic, and is twice not reached meanwhile
    topics: Any = Topics(set(), KafkaConnectionError("gone"), KafkaTimeoutError(), set())
    monkeypatch.setattr(start, "new_consumer", lambda *_: topics)
    said: list[str] = []
    # When a worker starts
    connection = Start(WorkerSettings(), said.append, lambda: False).connect()
    # Then it waits four times, tells why, and goes on when all are there
    assert list(connection.partitions.values()) == [3, 3, 3]
    assert [what.split(" (")[0].split(",")[0] for what in said] == [
        "topic reviews does not exist",
        "no answer whether topic reviews exists",
        "no answer whether topic reviews exists",
        "topic reviews does not exist",
    ]


def test_a_topic_that_this_user_may_not_see_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waiting cannot mend is told at once, with the topic."""
    topics: Any = Topics(TopicAuthorizationFailedError())
    monkeypatch.setattr(start, "new_consumer", lambda *_: topics)
    said: list[str] = []
    with pytest.raises(KafkaUnusable, match=r"topic reviews: .*TopicAuthorizationFailedError"):
        Start(WorkerSettings(), said.append, lambda: False).connect()
    assert said == []


@pytest.mark.parametrize(("version", "delivery"), [((2, 4), "at_least_once"), ((2, 5), "exactly_once")])
def test_a_kafka_that_knows_what_the_delivery_needs_is_used(
    version: tuple[int, ...], delivery: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At-least-once delivery leans on nothing that came with 2.5."""
    topics: Any = Topics(version=version)
    monkeypatch.setattr(start, "new_consumer", lambda *_: topics)
    connection = Start(WorkerSettings.model_validate({"delivery": delivery}), lambda _: None, lambda: False).connect()
    assert connection.consumer is topics


def test_a_kafka_too_old_for_exactly_once_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """kafka-python would leave out what fences a late worker, without a word."""
    topics: Any = Topics(version=(2, 4))
    monkeypatch.setattr(start, "new_consumer", lambda *_: topics)
    with pytest.raises(KafkaUnusable, match=r"speaks as Kafka 2\.4: .*needs 2\.5 or newer; set delivery"):
        Start(WorkerSettings(), lambda _: None, lambda: False).connect()
