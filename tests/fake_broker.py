"""A `Channel` without Kafka: it does to the worker's loop what no real broker can be made to do."""

from collections.abc import Callable, Mapping, Sequence

from consumer.model.classifier import Classifier
from consumer.records.messages import Model
from consumer.records.outgoing import Outgoing
from consumer.records.poll import NotPublished, Obstacle, Poll
from consumer.records.progress import Progress
from consumer.records.record import Record
from consumer.service.health import Health
from consumer.service.metrics import Metrics
from consumer.serving.swap import Swap
from consumer.settings import WorkerSettings
from consumer.worker import Worker


class FakeBroker:
    """Returns `values` in each of so many polls, then nothing. Its one partition never moves.

    Args:
        values: of the records of a poll, all in partition 0.
        polls: how many return them.
        done_with: number of commits after which a drain is over; default: `polls`.
        done_after: the drain is over after this many polls instead.
        publishes: whether commits succeed.
        lag: records from the position to the end.
        obstacle: what keeps the worker from reading.
        answers: whether it tells how far there is to go.
        headers: of each record; none if empty.
    """

    def __init__(
        self,
        values: Sequence[bytes | None],
        polls: int,
        *,
        done_with: int | None = None,
        done_after: int | None = None,
        publishes: bool = True,
        lag: int = 0,
        obstacle: Obstacle | None = None,
        answers: bool = True,
        headers: Sequence[tuple[tuple[str, bytes | None], ...]] = (),
    ) -> None:
        self.turns = 0
        self.obstacle = obstacle
        self.answers = answers
        self.asked_for: list[int] = []
        self.commits = 0
        self.published: list[Outgoing] = []
        of_each = headers or [()] * len(values)
        pairs = zip(values, of_each, strict=True)
        self._records = [Record("reviews", 0, n, 0, None, value, own) for n, (value, own) in enumerate(pairs)]
        self._polls, self._done_with = polls, polls if done_with is None else done_with
        self._done_after, self._publishes, self._lag = done_after, publishes, lag

    def poll(self, max_records: int) -> Poll:
        """The same again."""
        self.asked_for.append(max_records)
        return Poll(self._records if len(self.asked_for) <= self._polls else [], (), in_group=True, group=None)

    def publish(self, _poll: Poll, outgoing: Sequence[Outgoing]) -> None:
        """Keep the results, or refuse them."""
        if not self._publishes:
            raise NotPublished("refused")
        self.commits += 1
        self.published += outgoing

    def rewind(self, _poll: Poll) -> None:
        """Nothing to do: the next poll returns the same."""

    def cut(self, poll: Poll, counts: Mapping[int, int]) -> Poll:
        """The first ones; the next poll returns all again."""
        return poll.first_ones(counts)

    def assignment(self) -> frozenset[int]:
        """One partition."""
        return frozenset({0})

    def progress(self, _timeout_seconds: float) -> dict[int, Progress] | None:
        """It never moves."""
        return {0: Progress(0, self._lag)} if self.answers else None

    def settle(self, _poll: Poll) -> bool:
        """Nothing is open."""
        return False

    def drained(self) -> bool:
        """Whether everything that was there at the start is done."""
        if self._done_after is not None:
            return len(self.asked_for) >= self._done_after
        return self.commits >= self._done_with


def drain(
    broker: FakeBroker,
    classifier: Classifier,
    metrics: Metrics,
    health: Health,
    alive: Callable[[], None] = lambda: None,
) -> WorkerSettings:
    """Let a worker drain `broker`; returns its settings."""
    settings = WorkerSettings(drain=True)
    Worker(
        settings,
        broker,
        classifier,
        model=Model(name="m", version="1", digest="0" * 64, variant="fp32"),
        metrics=metrics,
        health=health,
        alive=alive,
    ).run()
    return settings


def run(broker: FakeBroker, swap: Swap, metrics: Metrics, stopping: Callable[[], bool]) -> None:
    """Let a worker whose model may be switched work on `broker` until it is `stopping`."""
    Worker(
        WorkerSettings(),
        broker,
        swap.served.labeller,
        model=swap.served.model,
        metrics=metrics,
        health=Health(60),
        alive=lambda: None,
        between_polls=swap.between_polls,
        stopping=stopping,
    ).run()
