"""Every metric in one table. Labels come from closed sets only: never an id, a key, or a word of a review."""

import time
from collections import Counter as Counts
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

from consumer.model.classifier import Stats
from consumer.records.messages import Reason
from consumer.records.outcomes import Outcome

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_AGES = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 180, 300, 900, 3600, 14_400, 86_400)
_POWERS_OF_TWO = tuple(2**exponent for exponent in range(13))


class Metrics:
    """The worker's metrics, in a registry of their own.

    What counts outcomes moves when they are committed, not before. What labelling costs is counted when it is spent:
    model batches, model tokens, and the stages up to `infer`, again for a poll that is taken again.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.consumed = Counter("reviews_consumed", "Records whose outcome is committed", registry=registry)
        self.labelled = Counter("reviews_labelled", "Committed predictions", ["label"], registry=registry)
        self.dead_lettered = Counter("reviews_dead_lettered", "Committed dead letters", ["reason"], registry=registry)
        for reason in Reason:  # there from the start: an alert sees an increase, not a first appearance
            self.dead_lettered.labels(reason.value)
        self.truncated = Counter("reviews_truncated", "Labelled reviews that the model read in part", registry=registry)
        self.unsure = Counter(
            "reviews_unsure", "Labelled reviews whose score is below the threshold of the model", registry=registry
        )
        self.not_published = Counter("reviews_not_published", "Polls that were aborted and redone", registry=registry)
        self.deleted_unread = Counter(
            "reviews_deleted_unread", "Records that retention deleted before they were read", registry=registry
        )
        self.commits_lost = Counter(
            "reviews_commits_lost",
            "Committed offsets that went back; reading went on behind the results",
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "reviews_stage_seconds", "Time of one poll by stage", ["stage"], buckets=_SECONDS, registry=registry
        )
        self.record_age = Histogram(
            "reviews_record_age_seconds", "Record timestamp to commit", buckets=_AGES, registry=registry
        )
        self.poll_records = Histogram(
            "reviews_poll_records", "Records of one poll", buckets=_POWERS_OF_TWO, registry=registry
        )
        self.model_batches = Counter("reviews_model_batches", "Batches that the engine ran", registry=registry)
        self.tokens = Counter("reviews_model_tokens", "Tokens through the model", ["kind"], registry=registry)
        self.score = Histogram(
            "reviews_score",
            "Probability of the label given",
            buckets=(0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1),
            registry=registry,
        )
        self.lag = Gauge("reviews_lag", "Records waiting behind this worker", ["partition"], registry=registry)
        self.assigned = Gauge("reviews_assigned_partitions", "Partitions of this worker", registry=registry)
        self.ready = Gauge("reviews_ready", "1 when the worker is ready", registry=registry)
        self.model = Gauge(
            "reviews_model_info", "The model served", ["name", "version", "variant", "digest"], registry=registry
        )

    def note_inference(self, parse_seconds: float, stats: Stats) -> None:
        """What labelling one poll cost."""
        self.stage_seconds.labels("parse").observe(parse_seconds)
        self.stage_seconds.labels("tokenise").observe(stats.tokenise_seconds)
        self.stage_seconds.labels("infer").observe(stats.infer_seconds)
        self.model_batches.inc(stats.batches)
        self.tokens.labels("real").inc(stats.tokens)
        self.tokens.labels("padding").inc(stats.padded_tokens - stats.tokens)

    def note_commit(self, outcomes: Sequence[Outcome]) -> None:
        """What one committed poll brought."""
        now = time.time()
        self.consumed.inc(len(outcomes))
        self.poll_records.observe(len(outcomes))
        # One increment for each name: the locks of a thousand of them would take as long as writing the predictions.
        dead = Counts(each.result.value for each in outcomes if isinstance(each.result, Reason))
        for reason, count in dead.items():
            self.dead_lettered.labels(reason).inc(count)
        scored = [each.result for each in outcomes if not isinstance(each.result, Reason)]
        for label, count in Counts(each.label for each in scored).items():
            self.labelled.labels(label).inc(count)
        self.truncated.inc(sum(each.truncated for each in scored))
        self.unsure.inc(sum(bool(each.unsure) for each in scored))
        for each in scored:
            self.score.observe(each.score)
        for outcome in outcomes:
            if outcome.source.timestamp_ms >= 0:
                # A producer's clock may run ahead of ours.
                self.record_age.observe(max(0.0, now - outcome.source.timestamp_ms / 1000))
