"""Write the references that are made from code: `python docs/generate.py`; `--check` only compares (CI).

docs/settings.md, docs/metrics.md and the JSON Schemas of the three contracts in docs/schemas/.
"""

import sys
from pathlib import Path

from consumer.flags import described, groups, is_secret
from consumer.records.fault import Reason
from consumer.service.metrics import STAGES, TOKEN_KINDS, Metrics
from consumer.settings import WorkerSettings
from consumer.settings.sources import CONFIG_VARIABLE, PREFIX, SECRETS_VARIABLE
from consumer.tools.schema import schema

HERE = Path(__file__).parent
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

METRICS = f"""
# Metrics of the worker

Served at `/metrics`, together with the `process_*` metrics of prometheus-client.

Metrics of outcomes change when the outcomes are committed. Metrics of work change when the work is done, and count a
retried poll again: `reviews_model_batches_total`, `reviews_model_tokens_total`, and all stages of
`reviews_stage_seconds` but `publish`.

Labels have these values. Each series exists from the start, at 0; those of `label` once the model is loaded.

- `label`: the labels of the model
- `reason`: {", ".join(f"`{reason.value}`" for reason in Reason)}
- `stage`: {", ".join(f"`{stage}`" for stage in STAGES)}
- `kind`: {", ".join(f"`{kind}`" for kind in TOKEN_KINDS)}
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
    for name, metric in vars(Metrics()).items():
        if name != "registry":
            (family,) = metric.describe() if hasattr(metric, "describe") else list(metric.collect())
            shown = family.name + ("_total" if family.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            rows.append(f"| `{shown}` | {family.type} | {labels} | {family.documentation} |\n")
    return f"{GENERATED}{METRICS}\n| metric | type | labels | meaning |\n|---|---|---|---|\n" + "".join(sorted(rows))


def main() -> int:
    """Write the files, or compare them."""
    files = {
        HERE / "settings.md": settings(),
        HERE / "metrics.md": metrics(),
        HERE / "schemas/review.schema.json": schema("review"),
        HERE / "schemas/prediction.schema.json": schema("prediction"),
        HERE / "schemas/dead-letter.schema.json": schema("dead-letter"),
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
