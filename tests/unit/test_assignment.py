"""What is logged while it is not known where to read; the rest is tested on real brokers."""

import logging
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import CoordinatorNotAvailableError, KafkaError, NotCoordinatorError

from consumer.kafka import assignment
from consumer.kafka.assignment import Assignment
from consumer.kafka.fixes import positions
from consumer.kafka.lineage import Lineages
from consumer.settings import WorkerSettings


class NoConsumer:
    """Accepts every call."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def waiting_for(partitions: int, signs: list[str] | None = None) -> Assignment:
    """An assignment that waits for so many committed offsets; `signs` collects its signs of life."""
    signs = [] if signs is None else signs
    made = Assignment(NoConsumer(), Lineages(WorkerSettings(), None, {}), 1.0, lambda: signs.append("alive"))
    made.waiting = {TopicPartition("reviews", number) for number in range(partitions)}
    return made


def test_a_coordinator_that_cannot_answer_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker asks ten times a second: one line for each cause, and another one when the cause comes back."""
    answers: list[KafkaError | None] = [
        NotCoordinatorError(),
        NotCoordinatorError(),
        CoordinatorNotAvailableError(),
        CoordinatorNotAvailableError(),
        None,
        CoordinatorNotAvailableError(),
    ]
    waiting = waiting_for(1)

    def committed(*_: object) -> None:
        if (error := answers.pop(0)) is not None:
            raise error

    monkeypatch.setattr(positions, "committed_now", committed)
    caplog.set_level(logging.WARNING, assignment.log.name)
    while answers:
        waiting.waiting = {TopicPartition("reviews", 0)}
        waiting.take_over()
    names = ("NotCoordinatorError", "CoordinatorNotAvailableError", "CoordinatorNotAvailableError")
    assert len(caplog.messages) == len(names)
    assert all(name in message for name, message in zip(names, caplog.messages, strict=True))


def test_many_committed_offsets_are_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request may take its full time; a sign of life comes before each one, so that their sum is no hang."""
    events: list[str] = []
    waiting = waiting_for(20, events)
    monkeypatch.setattr(positions, "committed_now", lambda *_: events.append("request"))
    assert waiting.take_over() == {}
    assert len(waiting.readable) == 20
    assert events == ["alive", "request"] * 20 + ["alive"]
