"""*Overview*: is it well, does it keep up, what needs a person?"""

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.parts import TARGET_SECONDS, Panel, Row, above, assembled, below, listed, one, over_time

AGES = "sum by (le) (rate(reviews_record_age_seconds_bucket{@}[$__rate_interval]))"


def overview() -> Dashboard:
    """The first page to open; also that of an operator who was woken up."""
    return assembled(
        "reviews",
        "Reviews: overview",
        "Is it well? Does it keep up? What needs a person?",
        [
            Row("Is it well now?", now(), per_line=6),
            Row("Does it keep up?", pace()),
            Row("What needs a person?", trouble()),
        ],
    )


def now() -> list[Panel]:
    """Six figures of this moment."""
    return [
        one(
            "Workers ready",
            "short",
            "Workers that take reviews now, and all that Prometheus scrapes.",
            {"ready": "sum(reviews_ready{@})", "in all": "count(up{@})"},
            "reviewsworkernotready",
            steps=below(1),
        ),
        one(
            "Reviews per second",
            "suffix: reviews/s",
            "Records whose outcome is committed.",
            {"": "sum(rate(reviews_consumed_total{@}[$__rate_interval]))"},
            "reviewsnoprogress",
            steps=[(None, "blue")],
        ),
        one(
            "Oldest record waiting",
            "s",
            "How long the oldest uncommitted record of any partition has waited. The target is five minutes.",
            {"": "max(reviews_oldest_waiting_seconds{@})"},
            "reviewswaitingtoolong",
            steps=above(TARGET_SECONDS, 60),
        ),
        one(
            "Labelled in time",
            "percentunit",
            "Share of the records whose outcome was committed within five minutes of their timestamp, in the time "
            "that is shown. The objective is 99% over 30 days.",
            {
                "": 'sum(increase(reviews_record_age_seconds_bucket{@, le="300.0"}[$__range])) '
                "/ (sum(increase(reviews_record_age_seconds_count{@}[$__range])) > 0)"
            },
            "reviewslabelledlate",
            steps=below(0.99),
        ),
        one(
            "Dead letters",
            "percentunit",
            "Share of the records that could not be labelled.",
            {
                "": "sum(rate(reviews_dead_lettered_total{@}[$__rate_interval])) "
                "/ (sum(rate(reviews_consumed_total{@}[$__rate_interval])) > 0)"
            },
            "reviewsdeadletters",
            steps=above(0.05, 0.01),
        ),
        one(
            "Last commit",
            "s",
            "Time since the last commit of the slowest worker for which records wait; 0 if none wait.",
            {
                "": "max((time() - reviews_last_commit_timestamp_seconds{@}) "
                "and on (job, namespace, instance) "
                "max by (job, namespace, instance) (reviews_oldest_waiting_seconds{@}) > 0) or vector(0)"
            },
            "reviewscommitsstale",
            steps=above(120, 60),
        ),
    ]


def pace() -> list[Panel]:
    """Whether records wait longer and longer."""
    return [
        over_time(
            "Records waiting, by partition",
            "short",
            "The lag, as seen by the worker that owns the partition.",
            {"partition {{partition}}": "sum by (partition) (reviews_lag{@})"},
            "reviewslaggrowing",
            stacked=True,
        ),
        over_time(
            "Oldest record waiting, by partition",
            "s",
            "How long the oldest uncommitted record of each partition has waited. The line is the target.",
            {"partition {{partition}}": "max by (partition) (reviews_oldest_waiting_seconds{@})"},
            "reviewswaitingtoolong",
            steps=above(TARGET_SECONDS),
        ),
        over_time(
            "Record age",
            "s",
            "From the timestamp of a record to the commit of its outcome. The line is the target.",
            {
                "p50": f"histogram_quantile(0.5, {AGES}) >= 0",
                "p99": f"histogram_quantile(0.99, {AGES}) >= 0",
            },
            "reviewsrecordagehigh",
            steps=above(TARGET_SECONDS),
        ),
    ]


def trouble() -> list[Panel]:
    """What should stay empty."""
    recent = "and on (job, instance) (time() - process_start_time_seconds{@} < 3600)"
    return [
        listed(
            "Alerts that fire",
            "Empty is good. Prometheus has to load deploy/prometheus/alerts.yml.",
            'sum by (alertname, severity) (ALERTS{alertname=~"Reviews.+", alertstate="firing", job=~"$job|"})',
            {"alertname": "Alert", "severity": "Severity", "Value": "How many"},
            "alerts",
        ),
        over_time(
            "Dead letters, by reason",
            "suffix: records/s",
            "What each reason means: docs/dead-letters.md#reasons",
            {"{{reason}}": "sum by (reason) (rate(reviews_dead_lettered_total{@}[$__rate_interval])) > 0"},
            "reviewsdeadletters",
            stacked=True,
        ),
        over_time(
            "Events that should be rare",
            "short",
            "A few aborted transactions are normal when workers come and go, or a broker restarts.",
            {
                "aborted and redone": "sum(increase(reviews_not_published_total{@}[$__rate_interval]))",
                "spans of traces dropped": 'sum(increase(reviews_spans_total{@, result="dropped"}[$__rate_interval]))',
                "restarts in 15 minutes": "sum(changes(process_start_time_seconds{@}[15m]))",
                "deleted unread, within an hour": "sum(increase(reviews_deleted_unread_total{@}[1h])) > 0 "
                f"or sum(reviews_deleted_unread_total{{@}} {recent})",
                "commits lost, within an hour": "sum(increase(reviews_commits_lost_total{@}[1h])) > 0 "
                f"or sum(reviews_commits_lost_total{{@}} {recent})",
            },
            "reviewspollsredone",
        ),
    ]
