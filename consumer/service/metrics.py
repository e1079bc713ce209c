"""What the worker counts, and when."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from consumer.model.bundle.profile import Profile
from consumer.model.cascade.manifest import CascadeManifest
from consumer.model.labeller import Scored, Stats
from consumer.records.events import Events
from consumer.records.fault import Fault
from consumer.records.messages import Model
from consumer.records.outcomes import Outcome
from consumer.records.progress import Progress
from consumer.records.record import Record
from consumer.service.drift import Drift
from consumer.service.histograms import observe_all
from consumer.service.stopwatch import Stage
from consumer.service.table import MetricTable, SwapEnd
from consumer.service.waiting import Waiting


class Metrics(MetricTable, Events):
    """The metrics of one worker. Updated by the thread of the loop, read by those of the server."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting = Waiting()
        self._members: frozenset[str] = frozenset()
        self._drift = Drift(self.drift, self.drift_limit, self.drift_window)

    def note_model(self, model: Model, labels: Sequence[str], cascade: CascadeManifest | None = None) -> None:
        """Report the model that is served from now on, and begin to count each of its `labels` and its members."""
        self.model.clear()
        self.model.labels(model.name, model.version, model.variant, model.digest).set(1)
        self.model_since.set_to_current_time()
        for label in labels:
            self.labelled.labels(label)
        self._note_members(cascade)

    def note_profile(self, profile: Profile | None, window: int) -> None:
        """Compare the last `window` reviews that are labelled from now on with `profile`; see `Drift.restart`."""
        self._drift.restart(profile, window)

    def _note_members(self, cascade: CascadeManifest | None) -> None:
        """Count the work of the members of `cascade`, and forget those of the model before it."""
        counters = (self.member_texts, self.member_passed_on, self.member_tokens, self.member_seconds)
        members = cascade.members if cascade else ()
        names = frozenset(member.name for member in members)
        for counter in counters:
            for gone in self._members - names:
                counter.remove(gone)
            for name in names:
                counter.labels(name)
        self.member_expected.clear()
        for member in members:
            if member.passed_on is not None:
                self.member_expected.labels(member.name, "low").set(member.passed_on.low)
                self.member_expected.labels(member.name, "high").set(member.passed_on.high)
        self._members = names

    def note_swap(self, end: SwapEnd) -> None:
        """Count what became of a bundle that was put in the place of the one served. Called by another thread, too."""
        self.swaps.labels(end.value).inc()

    def note_time(self, stages: Mapping[Stage, float]) -> None:
        """Count where one turn of the loop has spent its time."""
        for stage, seconds in stages.items():
            self.stage_seconds.labels(stage.value).observe(seconds)
            self.time.labels(stage.activity.value).inc(seconds)

    def note_work(self, stats: Stats) -> None:
        """Count the work of the model on one poll."""
        self.model_batches.inc(stats.batches)
        self.tokens.labels("real").inc(stats.tokens)
        self.tokens.labels("padding").inc(stats.padded_tokens - stats.tokens)

    def note_member_work(self, members: Mapping[str, Stats]) -> None:
        """Count the work of each member of a cascade in one poll."""
        for name, stats in members.items():
            self.member_texts.labels(name).inc(stats.texts)
            self.member_passed_on.labels(name).inc(stats.passed_on)
            self.member_tokens.labels(name).inc(stats.tokens)
            self.member_seconds.labels(name).inc(stats.tokenise_seconds + stats.infer_seconds)

    def note_lookups(self, hits: int, misses: int) -> None:
        """Count how many different texts of a poll the cache knew, and how many not."""
        self.cache_lookups.labels("hit").inc(hits)
        self.cache_lookups.labels("miss").inc(misses)

    def note_assignment(self, partitions: frozenset[int], before: frozenset[int]) -> None:
        """Report the partitions of ours in place of those `before`."""
        self.assigned.set(len(partitions))
        for partition in before - partitions:
            self._waiting.revoked(partition)
            self.oldest_waiting.remove(str(partition))
            self.lag.remove(str(partition))
        for partition in partitions - before:
            self._waiting.assigned(partition)
            self.oldest_waiting.labels(str(partition)).set_function(partial(self._waiting.seconds, partition))

    def note_waiting(self, records: Iterable[Record]) -> None:
        """These records are polled, or put back, and not committed."""
        self._waiting.polled(records)

    def rebalanced(self, seconds: float) -> None:
        """See `Events`."""
        self.rebalance_seconds.observe(seconds)

    def transaction_ended(self, *, committed: bool) -> None:
        """See `Events`."""
        self.transactions.labels("committed" if committed else "aborted").inc()

    def note_lag(self, progress: Mapping[int, Progress]) -> None:
        """Record the lag of each partition whose position is known, and since when records wait."""
        self._waiting.seen(progress)
        self._drift.compare_if_due()  # for what came last before a silence
        for partition, seen in progress.items():
            if seen.lag is not None:
                self.lag.labels(str(partition)).set(seen.lag)

    def note_commit(self, outcomes: Sequence[Outcome]) -> None:
        """Count the outcomes of one committed poll."""
        now = time.time()
        self.consumed.inc(len(outcomes))
        self.poll_records.observe(len(outcomes))
        # One increment for each name: a thousand of them, each with a lock, take as long as writing the predictions.
        dead = Counter(each.result.reason.value for each in outcomes if isinstance(each.result, Fault))
        for reason, count in dead.items():
            self.dead_lettered.labels(reason).inc(count)
        scored = [each.result for each in outcomes if not isinstance(each.result, Fault)]
        for label, count in Counter(each.label for each in scored).items():
            self.labelled.labels(label).inc(count)
        self.truncated.inc(sum(each.truncated for each in scored))
        self.unsure.inc(sum(bool(each.unsure) for each in scored))
        observe_all(self.score, (each.score for each in scored))
        observe_all(self.text_characters, (each.characters for each in outcomes if each.characters))
        for language, count in Counter(each.language for each in outcomes if isinstance(each.result, Scored)).items():
            self.languages.labels(language).inc(count)
        self._drift.note(outcomes)
        # A producer's clock may be ahead of ours.
        dated = (each.source.timestamp_ms / 1000 for each in outcomes if each.source.timestamp_ms >= 0)
        observe_all(self.record_age, (max(0.0, now - timestamp) for timestamp in dated))
        self.last_commit.set(now)
        self._waiting.committed(each.source for each in outcomes)
