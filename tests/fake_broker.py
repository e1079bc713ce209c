"""A stand-in for `consumer.kafka.broker.Broker`: does to the worker's loop what no real Kafka can be made to do."""

from collections.abc import Sequence
from contextlib import closing

from kafka.structs import ConsumerGroupMetadata, MemberState

from consumer.kafka.publisher import NotPublished, Poll
from consumer.model.classifier import Classifier
from consumer.records.messages import Model
from consumer.records.outgoing import Outgoing
from consumer.records.progress import Progress
from consumer.records.record import Record
from consumer.service.health import Health
from consumer.service.metrics import Metrics
from consumer.service.watchdog import Watchdog
from consumer.settings import WorkerSettings
from consumer.worker import Worker

GROUP = ConsumerGroupMetadata("g", 1, "m", None, MemberState.STABLE)


class FakeBroker:
    """Brings `values` in each of so many polls, then nothing; it never moves, and its group has one partition.

    Args:
        values: of the records of a poll, all in partition 0.
        polls: how many bring them.
        done_with: the commit with which a drain is done; default: the last one.
        publishes: whether commits succeed.
        lag: records that wait behind the position.
    """

    def __init__(
        self,
        values: Sequence[bytes | None],
        polls: int,
        *,
        done_with: int | None = None,
        publishes: bool = True,
        lag: int = 0,
    ) -> None:
        self.turns = 0
        self.obstacle = ""
        self.asked_for: list[int] = []
        self.commits = 0
        self.published: list[Outgoing] = []
        self._records = [Record("reviews", 0, n, 0, None, value, ()) for n, value in enumerate(values)]
        self._polls, self._done_with = polls, polls if done_with is None else done_with
        self._publishes, self._lag = publishes, lag

    def poll(self, most: int) -> Poll:
        """The same again."""
        self.asked_for.append(most)
        return Poll(self._records if len(self.asked_for) <= self._polls else [], {}, {}, {}, GROUP)

    def publish(self, _poll: Poll, outgoing: Sequence[Outgoing]) -> None:
        """Keep it, or refuse it."""
        if not self._publishes:
            raise NotPublished("refused")
        self.commits += 1
        self.published += outgoing

    def rewind(self, _poll: Poll) -> None:
        """The same is polled again anyway."""

    def assignment(self) -> frozenset[int]:
        """One partition."""
        return frozenset({0})

    def progress(self, _timeout_seconds: float) -> dict[int, Progress]:
        """It never moves."""
        return {0: Progress(0, self._lag)}

    def settle(self, _poll: Poll) -> bool:
        """Nothing is open."""
        return False

    def drained(self) -> bool:
        """What was there at the start is done."""
        return self.commits >= self._done_with


def drain(broker: FakeBroker, classifier: Classifier, metrics: Metrics, health: Health) -> WorkerSettings:
    """Let a worker drain `broker`; returns its settings."""
    settings = WorkerSettings(drain=True)
    with closing(Watchdog(60)) as watchdog:
        Worker(
            settings,
            broker,  # type: ignore[arg-type]
            classifier,
            model=Model(name="m", version="1", digest="0" * 64, variant="fp32"),
            metrics=metrics,
            health=health,
            watchdog=watchdog,
        ).run()
    return settings
