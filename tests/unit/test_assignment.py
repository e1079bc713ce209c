"""What is said while it is not known where to read from; the rest is tested on real brokers."""

import logging
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import CoordinatorNotAvailableError, KafkaError, NotCoordinatorError

from consumer.kafka import assignment, fixes


def test_a_coordinator_that_cannot_answer_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker asks again at once, ten times a second: one line for a cause, and another one when it comes back."""
    answers: list[KafkaError | None] = [
        NotCoordinatorError(),
        NotCoordinatorError(),
        CoordinatorNotAvailableError(),
        CoordinatorNotAvailableError(),
        None,
        CoordinatorNotAvailableError(),
    ]
    waiting: Any = assignment.Assignment(NoConsumer(), NoLineages(), 1.0)  # type: ignore[arg-type]

    def committed(*_: object) -> None:
        if (error := answers.pop(0)) is not None:
            raise error

    monkeypatch.setattr(fixes, "committed_now", committed)
    caplog.set_level(logging.WARNING, assignment.log.name)
    while answers:
        waiting.waiting = {TopicPartition("reviews", 0)}
        waiting.take_over()
    names = ("NotCoordinatorError", "CoordinatorNotAvailableError", "CoordinatorNotAvailableError")
    assert len(caplog.messages) == len(names)
    assert all(name in message for name, message in zip(names, caplog.messages, strict=True))


class NoConsumer:
    """Takes every call."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class NoLineages:
    """Knows of nothing that went back."""

    def adopt(self, commits: dict[int, object]) -> dict[int, int]:
        """Nothing is restored."""
        return {}
