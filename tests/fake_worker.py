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

import numpy as np
from kafka import KafkaConsumer, codec

from consumer.cli import report
from consumer.errors import ReviewsError
from consumer.kafka.publisher import Step
from consumer.model.bundle.loading import Bundle
from consumer.model.classifier import Classifier
from consumer.model.engines.base import EngineFailure, Logits
from consumer.model.inference.batching import BatchPolicy, TokenBatch
from consumer.model.opening import AnyBundle
from consumer.run import add_arguments, serve
from consumer.service import logs
from consumer.service.signals import stop_before_it_begins
from consumer.serving import swap
from consumer.settings.sources import read_settings
from tests.fake_bundle import CHARACTERS, VARIANT
from tests.fake_model import NAN_MARK, OUT_OF_MEMORY_MARK, positive_probability

VARIABLE = "FAKE_WORKER"
#: Text of each token id; padding and unknown characters have none.
ALPHABET = np.array(["", *CHARACTERS])
SIGNALS = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP, "term": signal.SIGTERM}


@dataclass(frozen=True)
class Script:
    """What befalls a worker.

    Attributes:
        points: what happens at the n-th time of a step, such as {"sent:2": "pause"}. `pause` waits until the test
            releases it, `kill` is SIGKILL, `freeze` is SIGSTOP and `term` is SIGTERM, all to itself.
        directory: where a reached point is noted, as a file STEP:N, and released, as a file STEP:N.go.
        seconds_per_poll: how long the model takes for each call.
        seconds_per_token: and for each token, padding included.
        rows_that_fit: batches with more texts fail, as for want of memory.
        without_zstd: the client lacks the library for that codec.
        stuck_partition: the client never reads this partition, as if it had forgotten it.
        watch_seconds: between two looks at whether there is another bundle.
        freezes_before_results: SIGSTOP to itself between asking for committed offsets and looking at the results.
    """

    points: dict[str, str] = field(default_factory=dict)
    directory: str = "."
    seconds_per_poll: float = 0.0
    seconds_per_token: float = 0.0
    rows_that_fit: int = 64
    without_zstd: bool = False
    stuck_partition: int | None = None
    watch_seconds: float = swap.WATCH_SECONDS
    freezes_before_results: bool = False

    def environment(self) -> dict[str, str]:
        """The environment of a worker that follows this script."""
        return {**os.environ, VARIABLE: json.dumps(asdict(self))}


class FakeEngine:
    """Reads the text back from its tokens, and answers what `fake_model` says."""

    variant = VARIANT
    policy = BatchPolicy(token_budget=8192, max_rows=64, round_to=1)

    def __init__(self, script: Script) -> None:
        self._script = script

    def infer(self, batches: Sequence[TokenBatch]) -> list[Logits | EngineFailure]:
        """Logits of shape (rows, 2): the logarithms of the probabilities."""
        tokens = sum(batch.ids.size for batch in batches)
        time.sleep(self._script.seconds_per_poll + self._script.seconds_per_token * tokens)
        return [self._batch(["".join(ALPHABET[row]) for row in batch.ids * batch.mask]) for batch in batches]

    def _batch(self, texts: list[str]) -> Logits | EngineFailure:
        if len(texts) > self._script.rows_that_fit or any(OUT_OF_MEMORY_MARK in text for text in texts):
            return EngineFailure("OutOfMemory")
        positive = np.array([np.nan if NAN_MARK in text else positive_probability(text) for text in texts])
        logits: Logits = np.log(np.stack([1 - positive, positive], axis=1)).astype(np.float32)
        return logits

    def close(self) -> None:
        """Nothing to close."""


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


def freeze_before_results(script: Script) -> None:
    """Freeze where the results begin to be looked at, once."""
    beginning_offsets = KafkaConsumer.beginning_offsets
    point = Path(script.directory, "results")

    def late(self: Any, *arguments: Any, **options: Any) -> Any:
        if not point.exists():
            point.touch()
            os.kill(os.getpid(), signal.SIGSTOP)
        return beginning_offsets(self, *arguments, **options)

    KafkaConsumer.beginning_offsets = late


def main() -> int:
    """Like `review-consumer run`, with the fake model."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    add_arguments(commands.add_parser("run"))
    script = Script(**json.loads(os.environ.get(VARIABLE, "{}")))
    stop_before_it_begins()
    if script.stuck_partition is not None:
        forget(script.stuck_partition)
    if script.freezes_before_results:
        freeze_before_results(script)
    swap.WATCH_SECONDS = script.watch_seconds
    if script.without_zstd:
        codec.zstd = None
    try:
        settings = read_settings(parser.parse_args()).settings
        logs.set_up(settings.log_format, settings.log_level)

        def open_model(bundle: AnyBundle, at_work: Callable[[], None]) -> Classifier:
            assert isinstance(bundle, Bundle)
            classifier = Classifier(bundle, FakeEngine(script))
            classifier.self_check(at_work)
            return classifier

        return serve(settings, open_model, hook(script))
    except ReviewsError as error:
        report(str(error))
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
