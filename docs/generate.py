"""Write the references that are made from code: `python docs/generate.py`; `--check` only compares (CI).

docs/settings.md, docs/metrics.md, the JSON Schemas of the three contracts in docs/schemas/, and the dashboards in
deploy/grafana/dashboards/.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from consumer.flags import described, groups, is_secret
from consumer.model.bundle.profile import Feature
from consumer.model.texts.language import LANGUAGES
from consumer.records.fault import Reason
from consumer.service.stopwatch import Activity, Stage
from consumer.service.table import (
    LOOKUP_RESULTS,
    SPAN_RESULTS,
    TOKEN_KINDS,
    TRANSACTION_RESULTS,
    MetricTable,
    PollEnd,
    SwapEnd,
)
from consumer.settings import WorkerSettings
from consumer.settings.sources import CONFIG_VARIABLE, PREFIX, SECRETS_VARIABLE
from consumer.tools.schema import schema

HERE = Path(__file__).parent
# This script stands outside the packages, and so does the generator of the dashboards.
sys.path.insert(0, str(HERE.parent))
GENERATED = "<!-- made by docs/generate.py; edit the code, then run `make docs` -->\n"

SETTINGS = f"""
# Settings of the worker

Each setting of `review-consumer run` comes from the first of these that sets it:

1. a flag;
2. an environment variable; an empty one counts as not set;
3. a file in the directory `{SECRETS_VARIABLE}`, one for each setting, such as `{PREFIX.lower()}sasl_password`;
4. a line of the settings file (TOML; `--config` or `{CONFIG_VARIABLE}`), such as `group_id = "reviews-eu"`;
5. the default.

`review-consumer schema settings` prints a JSON Schema of the settings file. Save it beside the file, and let the first
line of the file name it: `#:schema ./review-consumer.schema.json`. Editors that know TOML then complete and check it.

Passwords have no flag, because every user of the machine can read command lines. If every user can read a file with a
password or a private key, the worker logs a warning. It also warns of `{PREFIX}*` variables that are not settings.
Settings that contradict each other are refused at start (exit code 2), with the fix in the message.

With `start_from=latest` or a time, commits record how many partitions the topic had when the group began. Partitions
that are added later are read from their first record. A new worker commits its starting positions within seconds; if
it ends before that, `latest` means the end as the next worker finds it. Offsets that Kafka has deleted
(`offsets.retention.minutes`, 7 days without a worker) make a new group.

`sasl_token_command` runs without a shell whenever the client connects or authenticates again. It holds up that client
meanwhile, so let it answer from a cache. What it prints is never logged; its arguments are visible to other users of
the machine, so keep secrets in files.

The time for delivering the results of a poll is derived: half of `max_poll_interval_seconds`, but at most
`broker_timeout_seconds` (or one request, if that takes longer).
"""


def values(labels: Iterable[str]) -> str:
    """What a label may be, in code."""
    return ", ".join(f"`{label}`" for label in labels)


METRICS = f"""
# Metrics of the worker

Served at `/metrics`, together with the `process_*` metrics of prometheus-client.

Metrics of outcomes change when the outcomes are committed. Metrics of work change when the work is done, and count a
retried poll again: model batches, model tokens, `reviews_member_*`, cache lookups, ends of polls, and time. Only a
worker that serves a [cascade](cascade.md) has `reviews_member_*`.

Labels have these values. Each series exists from the start, at 0; those of `label` once the model is loaded, those of
`partition` while the partition is assigned, those of `feature` once [the window](drift.md) holds enough reviews.

- `label`: the labels of the model
- `reason`: {values(Reason)}
- `stage`: {values(Stage)}
- `activity`: {values(Activity)}
- `cause`: {values(PollEnd)}
- `kind`: {values(TOKEN_KINDS)}
- `outcome`: {values(SwapEnd)}; see [change the model](bundles.md#change-the-model-without-a-restart)
- `member`: the models of the cascade; `end`: `low` and `high`
- `feature`: {values(Feature)}
- `language`: {values(LANGUAGES)}
- `result` of transactions: {values(TRANSACTION_RESULTS)}; of cache lookups: {values(LOOKUP_RESULTS)};
  of [spans](tracing.md): {values(SPAN_RESULTS)}

## Where the time goes

Every moment of the loop belongs to one `stage`, so the stages add up to the wall time. `idle` is a poll with nothing to
read: no partition is assigned, or all of them are read to their end. `poll` waits for records that are there, or for
the group. `cache` looks texts up and shares the others out. `serialise` builds the results. `probe` asks for the ends
of the partitions, and `retry` is the pause before a failed poll is taken again. `other` is the rest, such as these
metrics. A stage that a turn of the loop did not enter is not observed.

`activity` sums them up: `idle`; `waiting` is `poll`, `publish`, `probe` and `retry`; `computing` is the rest.

Questions that a query answers:

- What share of its time is a worker idle, waiting, computing? `rate(reviews_time_seconds_total[5m])`
- How many tokens a second? `rate(reviews_model_tokens_total{{kind="real"}}[5m])`
- How much of the work is padding? `sum(rate(reviews_model_tokens_total{{kind="padding"}}[5m])) /
  sum(rate(reviews_model_tokens_total[5m]))`
- How many texts does the cache answer? `sum(rate(reviews_cache_lookups_total{{result="hit"}}[5m])) /
  sum(rate(reviews_cache_lookups_total[5m]))`
- Why do polls end? `sum by (cause) (rate(reviews_poll_ends_total[5m]))`

Languages are told apart by frequent words and scripts, which is [good enough for shares](drift.md#what-it-does-not-see)
and takes about 10 µs for a review.

## Clocks

Ages are the worker's clock minus the timestamp of the record. That is the producer's clock, or the broker's if the
topic has `message.timestamp.type=LogAppendTime`. Ages are off by the difference of the two clocks, and never negative.

`reviews_oldest_waiting_seconds` uses the timestamp of a record once it is polled. Before that it counts from the last
committed record, or from the last time that the partition was seen to be empty, whichever is later. The worker looks
every 5 s, so the age is at most that much too high.
"""


def settings() -> str:
    """One table for each group, with a row for each setting."""
    parts = [GENERATED, SETTINGS]
    for title, fields in groups(WorkerSettings):
        parts.append(f"\n## {title}\n\n| flag | environment variable | default | meaning |\n|---|---|---|---|\n")
        for name, field in fields.items():
            flag = "(none: secret)" if is_secret(field) else f"`--{name.replace('_', '-')}`"
            meaning, default = described(field)
            default = default if field.default is None else f"`{default}`"
            parts.append(f"| {flag} | `{PREFIX}{name.upper()}` | {default} | {meaning} |\n")
    return "".join(parts)


def metrics() -> str:
    """One row for each metric, by name."""
    rows = []
    for name, metric in vars(MetricTable()).items():
        if name != "registry":
            (family,) = metric.describe() if hasattr(metric, "describe") else list(metric.collect())
            shown = family.name + ("_total" if family.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            rows.append(f"| `{shown}` | {family.type} | {labels} | {family.documentation} |\n")
    return (
        f"{GENERATED}{METRICS}\n## All metrics\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n"
        + "".join(sorted(rows, key=lambda row: row.split("`")[1]))
    )


def main() -> int:
    """Write the files, or compare them."""
    from deploy.grafana.generate import dashboards

    files = {
        HERE / "settings.md": settings(),
        HERE / "metrics.md": metrics(),
        HERE / "schemas/review.schema.json": schema("review"),
        HERE / "schemas/prediction.schema.json": schema("prediction"),
        HERE / "schemas/dead-letter.schema.json": schema("dead-letter"),
        **dashboards(),
    }
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text() != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(HERE.parent)} is stale; run `make docs`")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(files[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
