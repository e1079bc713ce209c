"""Every metric in one table. Labels come from closed sets: never an id, a key, or a word of a review."""

import platform
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

from consumer.flags import version
from consumer.model.texts.language import LANGUAGES
from consumer.records.fault import Reason
from consumer.service.stopwatch import Activity, Stage

#: Kinds of tokens that the model computes.
TOKEN_KINDS = ("real", "padding")
#: How transactions end.
TRANSACTION_RESULTS = ("committed", "aborted")
#: How the cache answers.
LOOKUP_RESULTS = ("hit", "miss")
#: What becomes of spans.
SPAN_RESULTS = ("exported", "dropped")


class PollEnd(StrEnum):
    """Why a poll held no more records."""

    ALL = "all"  # nothing else had been fetched
    RECORDS = "records"  # the poll limit
    COST = "cost"  # the rest would have taken longer than the target


class SwapEnd(StrEnum):
    """What became of a bundle that was put in the place of the one that is served."""

    SWITCHED = "switched"
    INVALID = "invalid"  # torn, changed, unknown, not the pinned one, or its model does not answer as it was packaged
    LABELS = "labels"  # its labels are other ones
    CANARY = "canary"  # it disagrees with the one before it on too many texts
    MEMORY = "memory"  # there was no room for it beside the one that is served
    REPLACED = "replaced"  # by the next one, before it was switched to


_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_AGES = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 180, 300, 900, 3600, 14_400, 86_400)
_POWERS_OF_TWO = tuple(2**exponent for exponent in range(13))
_CHARACTERS = (50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 100_000, 1_000_000)


class MetricTable:
    """The worker's metrics, in their own registry.

    Metrics of outcomes change on commit. Metrics of work change when the work is done, and count a retried poll again:
    model batches, model tokens, cache lookups, ends of polls, and time.

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
            "reviews_stage_seconds",
            "Duration of each stage of the loop, for each turn; together they are the wall time",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.time = Counter(
            "reviews_time_seconds",
            "Time of the loop: idle (no records), waiting (for Kafka) or computing; together they are the wall time",
            ["activity"],
            registry=registry,
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
        self.poll_limit = Gauge(
            "reviews_poll_limit_records", "Records that the next poll returns at most", registry=registry
        )
        self.poll_ends = Counter(
            "reviews_poll_ends",
            "Polls by what ended them: all records that were there, the limit of records, or their cost",
            ["cause"],
            registry=registry,
        )
        self.cache_lookups = Counter(
            "reviews_cache_lookups",
            "Different texts of polls by whether the cache had their answer; none if it is off",
            ["result"],
            registry=registry,
        )
        self.model_batches = Counter("reviews_model_batches", "Batches computed by the model", registry=registry)
        self.tokens = Counter("reviews_model_tokens", "Tokens computed by the model", ["kind"], registry=registry)
        self.member_texts = Counter(
            "reviews_member_texts",
            "Different texts computed by a member of a cascade",
            ["member"],
            registry=registry,
        )
        self.member_passed_on = Counter(
            "reviews_member_passed_on",
            "Those of them that it was not sure enough of, and passed on to the next member",
            ["member"],
            registry=registry,
        )
        self.member_expected = Gauge(
            "reviews_member_expected_share",
            "Ends of the range in which the share passed on was when the cascade was measured",
            ["member", "end"],
            registry=registry,
        )
        self.member_tokens = Counter(
            "reviews_member_tokens", "Tokens computed by a member, without padding", ["member"], registry=registry
        )
        self.member_seconds = Counter(
            "reviews_member_seconds", "Time that a member took to tokenise and infer", ["member"], registry=registry
        )
        self.score = Histogram(
            "reviews_score",
            "Probability of the predicted label",
            buckets=(0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1),
            registry=registry,
        )
        self.text_characters = Histogram(
            "reviews_text_characters", "Length of the committed texts", buckets=_CHARACTERS, registry=registry
        )
        self.languages = Counter(
            "reviews_languages",
            "Committed predictions by the language of the text, or its script, as its first words tell",
            ["language"],
            registry=registry,
        )
        self.drift = Gauge(
            "reviews_drift",
            "Jensen-Shannon divergence of the last labelled reviews from the bundle's profile, 0 to 1 bit",
            ["feature"],
            registry=registry,
        )
        self.drift_limit = Gauge(
            "reviews_drift_limit",
            "Divergence above which so many reviews are not like those of the profile",
            ["feature"],
            registry=registry,
        )
        self.drift_window = Gauge(
            "reviews_drift_window_reviews",
            "Last labelled reviews that are compared with the bundle's profile; 0 if it has none",
            registry=registry,
        )
        self.lag = Gauge(
            "reviews_lag", "Records between the worker's position and the end", ["partition"], registry=registry
        )
        self.oldest_waiting = Gauge(
            "reviews_oldest_waiting_seconds",
            "Age of the oldest record that is not committed, by its timestamp and the worker's clock; 0 if none waits",
            ["partition"],
            registry=registry,
        )
        self.last_commit = Gauge(
            "reviews_last_commit_timestamp_seconds",
            "Unix time of the last commit; before the first, of the start of the worker",
            registry=registry,
        )
        self.transactions = Counter("reviews_transactions", "Transactions that ended", ["result"], registry=registry)
        self.spans = Counter(
            "reviews_spans",
            "Spans that a collector took, or that were dropped because none took them; none if tracing is off",
            ["result"],
            registry=registry,
        )
        self.rebalance_seconds = Histogram(
            "reviews_rebalance_seconds",
            "Time from joining the group again until all partitions that this worker got can be read",
            buckets=_SECONDS,
            registry=registry,
        )
        self.assigned = Gauge("reviews_assigned_partitions", "Partitions assigned to this worker", registry=registry)
        self.ready = Gauge("reviews_ready", "1 if the worker is ready, else 0", registry=registry)
        self.model = Gauge(
            "reviews_model_info",
            "Always 1; its labels identify the model",
            ["name", "version", "variant", "digest"],
            registry=registry,
        )
        self.model_since = Gauge(
            "reviews_model_since_timestamp_seconds",
            "Unix time since which this model is served; 0 before the first",
            registry=registry,
        )
        self.swaps = Counter(
            "reviews_model_swaps", "Bundles put in the place of the one served", ["outcome"], registry=registry
        )
        self.bundle_refused = Gauge(
            "reviews_bundle_refused",
            "1 while the bundle at its path is refused and the one before it is served, else 0",
            registry=registry,
        )
        self.build = Gauge(
            "reviews_build_info", "Always 1; its labels identify the build", ["version", "python"], registry=registry
        )
        self.build.labels(version(), platform.python_version()).set(1)
        self.last_commit.set_to_current_time()
        for metric, values in (
            (self.dead_lettered, Reason),
            (self.stage_seconds, Stage),
            (self.time, Activity),
            (self.poll_ends, PollEnd),
            (self.tokens, TOKEN_KINDS),
            (self.transactions, TRANSACTION_RESULTS),
            (self.cache_lookups, LOOKUP_RESULTS),
            (self.swaps, SwapEnd),
            (self.spans, SPAN_RESULTS),
            (self.languages, LANGUAGES),
        ):
            for value in values:
                metric.labels(str(value))
