"""*Performance*: where does the time go, and what would make it faster?"""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.parts import Panel, Row, assembled, over_time

STEPS = 'reviews_stage_seconds_bucket{@, stage=~"tokenise|infer|publish"}'
REBALANCES = "increase(reviews_rebalance_seconds_%s{@}[15m])"


def performance() -> Dashboard:
    """Read it before adding workers, and when they became slower."""
    return assembled(
        "reviews-performance",
        "Reviews: performance",
        "Where does the time go?",
        [
            Row("Is a worker at its limit?", limit()),
            Row("Are polls and batches of a good size?", sizes()),
            Row("Does the model compute only what it must?", work()),
            Row("What do brokers and rebalances cost?", brokers()),
        ],
    )


def limit() -> list[Panel]:
    """How busy workers are."""
    return [
        over_time(
            "Idle, waiting, computing",
            "percentunit",
            "Shares of a worker's time, on average: nothing to read, waiting for Kafka, or computing. A worker that is "
            "hardly ever idle is at its limit.",
            {"{{activity}}": "avg by (activity) (rate(reviews_time_seconds_total{@}[$__rate_interval]))"},
            "reviewslaggrowing",
            stacked=True,
        ),
        over_time(
            "Where the time goes",
            "percentunit",
            "Shares of a worker's time in each stage of its loop, on average: docs/metrics.md#where-the-time-goes. "
            "Under load most of it should be infer.",
            {"{{stage}}": "avg by (stage) (rate(reviews_stage_seconds_sum{@}[$__rate_interval])) > 0.001"},
            "reviewslaggrowing",
            stacked=True,
        ),
        over_time(
            "Processor",
            "suffix: cores",
            "Cores that each worker keeps busy.",
            {"{{instance}}": "rate(process_cpu_seconds_total{@}[$__rate_interval])"},
        ),
    ]


def sizes() -> list[Panel]:
    """What is read and computed at a time."""
    return [
        over_time(
            "Poll and batch size",
            "short",
            "Records of one poll on average, the limit that the worker adapts, and reviews of one batch of the model.",
            {
                "records of a poll": "sum(rate(reviews_poll_records_sum{@}[$__rate_interval])) "
                "/ (sum(rate(reviews_poll_records_count{@}[$__rate_interval])) > 0)",
                "limit of a poll": "avg(reviews_poll_limit_records{@})",
                "reviews of a batch": "sum(rate(reviews_labelled_total{@}[$__rate_interval])) "
                "/ (sum(rate(reviews_model_batches_total{@}[$__rate_interval])) > 0)",
            },
        ),
        over_time(
            "Why polls end",
            "suffix: polls/s",
            "All records that were there, the limit of records, or their cost. Under load it should be the last two.",
            {"{{cause}}": "sum by (cause) (rate(reviews_poll_ends_total{@}[$__rate_interval]))"},
            stacked=True,
        ),
        over_time(
            "Duration of a step, p99",
            "s",
            "For one poll. A slow publish means slow brokers, a slow infer a slow or busy processor.",
            {"{{stage}}": f"histogram_quantile(0.99, sum by (stage, le) (rate({STEPS}[$__rate_interval]))) >= 0"},
            "reviewslaggrowing",
        ),
    ]


def work() -> list[Panel]:
    """Tokens, and what is saved or wasted."""
    tokens = "rate(reviews_model_tokens_total{@%s}[$__rate_interval])"
    lookups = "rate(reviews_cache_lookups_total{@%s}[$__rate_interval])"
    return [
        over_time(
            "Tokens through the model",
            "suffix: tokens/s",
            "Real tokens and padding.",
            {"{{kind}}": f"sum by (kind) ({tokens % ''})"},
            stacked=True,
        ),
        over_time(
            "Saved and wasted",
            "percentunit",
            "Texts that the cache answers, of all different texts of a poll; padding, of all tokens. Empty while "
            "nothing is computed.",
            {
                "answered by the cache": f"sum({lookups % _label('result', 'hit')}) / (sum({lookups % ''}) > 0)",
                "padding": f"sum({tokens % _label('kind', 'padding')}) / (sum({tokens % ''}) > 0)",
            },
        ),
        over_time(
            "Memory",
            "bytes",
            "Resident set of each worker.",
            {"{{instance}}": "process_resident_memory_bytes{@}"},
            "exit-code-137",
        ),
    ]


def _label(name: str, value: str) -> str:
    return f', {name}="{value}"'


def brokers() -> list[Panel]:
    """What delivery costs."""
    return [
        over_time(
            "Transactions",
            "suffix: transactions/s",
            "One for each poll with records. Aborted ones are redone.",
            {"{{result}}": "sum by (result) (rate(reviews_transactions_total{@}[$__rate_interval]))"},
            "reviewspollsredone",
            stacked=True,
        ),
        over_time(
            "Rebalances of the last 15 minutes",
            "s",
            "From joining the group again until all partitions of a worker can be read; empty if there was none.",
            {
                "mean": f"sum({REBALANCES % 'sum'}) / (sum({REBALANCES % 'count'}) > 0)",
                "p99": f"histogram_quantile(0.99, sum by (le) ({REBALANCES % 'bucket'})) >= 0",
            },
            "reviewsworkerrestarting",
        ),
        over_time(
            "Partitions, by worker",
            "short",
            "Partitions that each worker owns. A worker without any is not needed.",
            {"{{instance}}": "sum by (instance) (reviews_assigned_partitions{@})"},
            "reviewslaggrowing",
            stacked=True,
        ),
    ]
