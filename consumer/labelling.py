"""Records to outcomes: parse ▸ classify ▸ build results; of a poll that costs too much, as much as fits."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from consumer.model.labeller import Failed, Labeller, Scored
from consumer.pace import Pace
from consumer.records.fault import Fault, Reason
from consumer.records.messages import Model
from consumer.records.outcomes import Outcome, Outcomes
from consumer.records.parse import Limits, ParsedReview, parse
from consumer.records.record import Record
from consumer.service.metrics import Metrics
from consumer.service.stopwatch import Stage, Stopwatch
from consumer.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class Labelled:
    """One outcome for each record of a poll, in order, or for the first ones of each partition.

    `counts` says how many of each partition, if they are not all of them.
    """

    outcomes: list[Outcome]
    counts: Mapping[int, int] | None


class Turns:
    """Decides which records of a poll are labelled first: partitions take turns, whoever waited longest begins.

    The client returns records partition by partition. If only the first of them were labelled, a partition might be put
    back each time.
    """

    def __init__(self) -> None:
        self._numbers = count(1)
        self._last: dict[int, int] = {}

    def in_order(self, records: Sequence[Record]) -> list[int]:
        """Places in `records`: the first of each partition, then the second of each, and so on."""
        depth: Counter[int] = Counter()
        keys = []
        for place, record in enumerate(records):
            keys.append((depth[record.partition], self._last.get(record.partition, 0), place))
            depth[record.partition] += 1
        return [place for _, _, place in sorted(keys)]

    def note(self, partitions: Iterable[int]) -> None:
        """These had a turn."""
        number = next(self._numbers)
        self._last.update(dict.fromkeys(partitions, number))


class Labelling:
    """Labels the records of one poll at a time.

    Args:
        settings: limits, the target time, topics.
        labeller: labels texts.
        model: what the labeller serves, for results.
        metrics: counts the work.
        stopwatch: notes each stage.
        alive: called every few seconds.

    Attributes:
        pace: how many records to poll.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        labeller: Labeller,
        *,
        model: Model,
        metrics: Metrics,
        stopwatch: Stopwatch,
        alive: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._target_seconds = settings.poll_target_seconds
        self._limits = Limits.of(settings)
        self._metrics = metrics
        self._stopwatch = stopwatch
        self._alive = alive
        self._turns = Turns()
        self.serve(labeller, model)

    def serve(self, labeller: Labeller, model: Model) -> None:
        """Label with this one from the next poll on. What the one before it has shown of its pace counts no longer."""
        self.pace = Pace(self._target_seconds, self._settings.max_poll_records)
        self._labeller = labeller
        self._outcomes = Outcomes(self._settings, model)

    def label(self, records: Sequence[Record]) -> Labelled:
        """Outcomes for `records`, or for those that fit into the target time; at least for one.

        Raises:
            GaveUp: the model is broken.
        """
        started = time.monotonic()
        self._stopwatch.begin(Stage.PARSE)
        parsed = [parse(record, self._limits) for record in records]
        order = self._turns.in_order(records)
        texts = [review.text for place in order if isinstance(review := parsed[place], ParsedReview)]
        results = iter(self._classify(texts, started + self._target_seconds - time.monotonic()))
        self._stopwatch.begin(Stage.SERIALISE)
        outcomes: dict[int, Outcome] = {}
        for place in order:
            record, review = records[place], parsed[place]
            if isinstance(review, Fault):
                outcomes[place] = self._outcomes.dead(record, review)
            elif (result := next(results, None)) is None:  # the rest of the poll has to wait
                break
            elif isinstance(result, Scored):
                outcomes[place] = self._outcomes.predicted(record, review, result)
            else:
                outcomes[place] = self._outcomes.dead(record, Fault(Reason.MODEL_ERROR))
        counts = Counter(outcome.source.partition for outcome in outcomes.values())
        self._turns.note(counts)
        if is_cut := len(outcomes) < len(records):
            self.pace.note_cut(len(outcomes))
        return Labelled([outcomes[place] for place in sorted(outcomes)], counts if is_cut else None)

    def _classify(self, texts: Sequence[str], seconds: float) -> Sequence[Scored | Failed]:
        """Label `texts`, or the first of them that fit into `seconds`."""
        self._stopwatch.begin(Stage.INFER)
        # A poll may take much longer than the one before if all of its reviews are long; that is no hang.
        classified = self._labeller.classify(texts, self._alive, max(0.0, seconds))
        took = self._stopwatch.begin(Stage.OTHER)
        stats = classified.stats
        self._stopwatch.move(stats.tokenise_seconds, Stage.INFER, Stage.TOKENISE)
        self._stopwatch.move(took - stats.tokenise_seconds - stats.infer_seconds, Stage.INFER, Stage.CACHE)
        self._metrics.note_work(stats)
        self._metrics.note_member_work(classified.members)
        # What the cache answered costs nothing, and says nothing about what it will not answer.
        self.pace.note(len(classified.results) if stats.texts else 0, took)
        return classified.results
