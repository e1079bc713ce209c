"""Every metric in one table. Labels come from closed sets: never an id, a key, or a word of a review."""

import time
from collections import Counter as Counts
from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

from consumer.model.labeller import Stats
from consumer.records.fault import Fault, Reason
from consumer.records.messages import Model
from consumer.records.outcomes import Outcome
from consumer.records.progress import Progress

#: Stages of a poll, in order.
STAGES = ("poll", "parse", "tokenise", "infer", "publish")
#: Kinds of tokens that the model computes.
TOKEN_KINDS = ("real", "padding")

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_AGES = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 180, 300, 900, 3600, 14_400, 86_400)
_POWERS_OF_TWO = tuple(2**exponent for exponent in range(13))


class Metrics:
    """The worker's metrics, in their own registry.

    Metrics of outcomes change on commit. Metrics of work change when the work is done, and count a retried poll again:
    model batches, model tokens, and all stages but `publish`.

    Every series with a known label exists from the start, at 0, so that an alert sees its first increase.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.consumed = Counter("reviews_consumed", "Records whose outcome is committed", registry=registry)
        self.labelled = Counter("reviews_labelled", "Committed predictions", ["label"], registry=registry)
        self.dead_lettered = Counter("reviews_dead_lettered", "Committed dead letters", ["reason"], registry=registry)
        self.truncated = Counter(
            "reviews_truncated",
            "Committed predictions from only a part of the text",
            registry=registry,
        )
        self.unsure = Counter(
            "reviews_unsure",
            "Committed predictions below the model's threshold, or with mostly unknown words",
            registry=registry,
        )
        self.not_published = Counter(
            "reviews_not_published",
            "Polls whose results could not be published; they are retried",
            registry=registry,
        )
        self.deleted_unread = Counter(
            "reviews_deleted_unread", "Records that retention deleted before the worker read them", registry=registry
        )
        self.commits_lost = Counter(
            "reviews_commits_lost",
            "Times that a committed offset had moved backwards; the worker resumed after the last published result",
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "reviews_stage_seconds", "Duration of each stage of a poll", ["stage"], buckets=_SECONDS, registry=registry
        )
        self.record_age = Histogram(
            "reviews_record_age_seconds",
            "Time from the timestamp of a record to the commit of its outcome",
            buckets=_AGES,
            registry=registry,
        )
        self.poll_records = Histogram(
            "reviews_poll_records", "Records in a committed poll", buckets=_POWERS_OF_TWO, registry=registry
        )
        self.model_batches = Counter("reviews_model_batches", "Batches computed by the model", registry=registry)
        self.tokens = Counter("reviews_model_tokens", "Tokens computed by the model", ["kind"], registry=registry)
        self.score = Histogram(
            "reviews_score",
            "Probability of the predicted label",
            buckets=(0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1),
            registry=registry,
        )
        self.lag = Gauge(
            "reviews_lag", "Records between the worker's position and the end", ["partition"], registry=registry
        )
        self.assigned = Gauge("reviews_assigned_partitions", "Partitions assigned to this worker", registry=registry)
        self.ready = Gauge("reviews_ready", "1 if the worker is ready, else 0", registry=registry)
        self.model = Gauge(
            "reviews_model_info",
            "Always 1; its labels identify the model",
            ["name", "version", "variant", "digest"],
            registry=registry,
        )
        for reason in Reason:
            self.dead_lettered.labels(reason.value)
        for stage in STAGES:
            self.stage_seconds.labels(stage)
        for kind in TOKEN_KINDS:
            self.tokens.labels(kind)

    def note_model(self, model: Model, labels: Sequence[str]) -> None:
        """Report the model that is served, and begin to count each of its `labels`."""
        self.model.labels(model.name, model.version, model.variant, model.digest).set(1)
        for label in labels:
            self.labelled.labels(label)

    def note_inference(self, parse_seconds: float, stats: Stats) -> None:
        """Count the work of labelling one poll."""
        self.stage_seconds.labels("parse").observe(parse_seconds)
        self.stage_seconds.labels("tokenise").observe(stats.tokenise_seconds)
        self.stage_seconds.labels("infer").observe(stats.infer_seconds)
        self.model_batches.inc(stats.batches)
        self.tokens.labels("real").inc(stats.tokens)
        self.tokens.labels("padding").inc(stats.padded_tokens - stats.tokens)

    def note_lag(self, progress: Mapping[int, Progress]) -> None:
        """Record the lag of each partition whose position is known."""
        for partition, seen in progress.items():
            if seen.lag is not None:
                self.lag.labels(str(partition)).set(seen.lag)

    def note_commit(self, outcomes: Sequence[Outcome]) -> None:
        """Count the outcomes of one committed poll."""
        now = time.time()
        self.consumed.inc(len(outcomes))
        self.poll_records.observe(len(outcomes))
        # One increment for each name: a thousand of them, each with a lock, take as long as writing the predictions.
        dead = Counts(each.result.reason.value for each in outcomes if isinstance(each.result, Fault))
        for reason, count in dead.items():
            self.dead_lettered.labels(reason).inc(count)
        scored = [each.result for each in outcomes if not isinstance(each.result, Fault)]
        for label, count in Counts(each.label for each in scored).items():
            self.labelled.labels(label).inc(count)
        self.truncated.inc(sum(each.truncated for each in scored))
        self.unsure.inc(sum(bool(each.unsure) for each in scored))
        for each in scored:
            self.score.observe(each.score)
        for outcome in outcomes:
            if outcome.source.timestamp_ms >= 0:
                # A producer's clock may be ahead of ours.
                self.record_age.observe(max(0.0, now - outcome.source.timestamp_ms / 1000))
