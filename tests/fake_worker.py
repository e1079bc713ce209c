"""The worker with a fake model and a script of misfortunes: `python -m tests.fake_worker run FLAGS`.

Everything but the model is the real thing. The one environment variable FAKE_WORKER holds a `Script` as JSON; without
it nothing goes wrong.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer

from consumer import logs
from consumer.broker import Step
from consumer.bundle import Bundle
from consumer.classifier import Classified, Classifier, Scored, Stats
from consumer.errors import ReviewsError
from consumer.run import add_arguments, read_settings, serve
from tests.fake_model import LABELS, NAN_MARK, OUT_OF_MEMORY_MARK, label_and_score, positive_probability

VARIABLE = "FAKE_WORKER"
SIGNALS = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP, "term": signal.SIGTERM}


@dataclass(frozen=True)
class Script:
    """What befalls a worker.

    Attributes:
        points: what happens at the n-th time of a step, such as {"sent:2": "pause"}. `pause` waits until the test
            releases it, `kill` is SIGKILL, `freeze` is SIGSTOP and `term` is SIGTERM, all to itself.
        directory: where a reached point is noted, as a file STEP:N, and released, as a file STEP:N.go.
        seconds_per_poll: how long the model takes.
        stuck_partition: the client never reads this partition, as if it had forgotten it.
    """

    points: dict[str, str] = field(default_factory=dict)
    directory: str = "."
    seconds_per_poll: float = 0.0
    stuck_partition: int | None = None

    def environment(self) -> dict[str, str]:
        """The environment of a worker that follows this script."""
        return {**os.environ, VARIABLE: json.dumps(asdict(self))}


class FakeClassifier:
    """In place of `Classifier`, at its interface."""

    variant = "fake"

    def __init__(self, script: Script) -> None:
        self._script = script

    def classify(self, texts: Sequence[str]) -> Classified:
        """Score each text by its hash; a marked one is one that the model fails on."""
        if self._script.seconds_per_poll:
            time.sleep(self._script.seconds_per_poll)
        return Classified([_scored(text) for text in texts], Stats())

    def close(self) -> None:
        """Nothing to close."""


def _scored(text: str) -> Scored | None:
    if NAN_MARK in text or OUT_OF_MEMORY_MARK in text:
        return None
    label, score = label_and_score(text)
    positive = positive_probability(text)
    return Scored(label, score, dict(zip(LABELS, (1 - positive, positive), strict=True)), len(text), False)


def hook(script: Script) -> Callable[[Step], None]:
    """The function that the broker calls at each step."""
    times: Counter[str] = Counter()

    def at(step: Step) -> None:
        times[step] += 1
        point = f"{step}:{times[step]}"
        action = script.points.get(point)
        if action is None:
            return
        reached = Path(script.directory, point)
        reached.touch()
        if action in SIGNALS:
            os.kill(os.getpid(), SIGNALS[action])
            return
        while not Path(f"{reached}.go").exists():
            time.sleep(0.01)

    return at


def forget(partition: int) -> None:
    """Give the client the fault of kafka-python 3.0.7: a partition that is assigned and not fetched."""
    poll = KafkaConsumer.poll

    def forgetful(self: Any, *arguments: Any, **options: Any) -> Any:
        self.pause(*(each for each in self.assignment() if each.partition == partition))
        return poll(self, *arguments, **options)

    KafkaConsumer.poll = forgetful


def main() -> int:
    """Like `review-consumer run`, with the fake model."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    add_arguments(commands.add_parser("run"))
    script = Script(**json.loads(os.environ.get(VARIABLE, "{}")))
    if script.stuck_partition is not None:
        forget(script.stuck_partition)
    try:
        settings = read_settings(parser.parse_args())
        logs.set_up(settings.log_format, settings.log_level)

        def open_model(_: Bundle) -> Classifier:
            return FakeClassifier(script)  # type: ignore[return-value]

        return serve(settings, open_model, hook(script))
    except ReviewsError as error:
        print(f"review-consumer: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
