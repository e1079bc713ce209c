"""Write the references that are made from code: `python docs/generate.py`; `--check` only compares (CI).

docs/settings.md, docs/metrics.md and the JSON Schemas of the three contracts in docs/schemas/.
"""

import json
import sys
from pathlib import Path

from pydantic import BaseModel

from consumer.records.messages import DeadLetter, Prediction, Reason, Review
from consumer.service.metrics import Metrics
from consumer.settings import WorkerSettings

HERE = Path(__file__).parent
GENERATED = "<!-- made by docs/generate.py; edit the code, then run `make docs` -->\n"


def settings() -> str:
    """One row per setting."""
    rows = ["| flag | environment variable | default | meaning |", "|---|---|---|---|"]
    for name, field in WorkerSettings.model_fields.items():
        secret = "SecretStr" in str(field.annotation)
        flag = "(none: secret)" if secret else f"`--{name.replace('_', '-')}`"
        default = "" if field.default is None else f"`{getattr(field.default, 'value', field.default)}`"
        rows.append(f"| {flag} | `REVIEWS_{name.upper()}` | {default} | {field.description} |")
    return (
        f"{GENERATED}\n# Settings of the worker\n\n"
        "Flags win over environment variables, these over the files in the directory that `REVIEWS_SECRETS_DIR` names "
        "(one\n"
        "for each setting, `reviews_sasl_password` for example), these over the settings file (TOML; `--config` or\n"
        "`REVIEWS_CONFIG`), where a setting has the name of its flag with underscores. Secrets have no flag: a command "
        "line\n"
        "is visible to everybody on the machine. Variables `REVIEWS_*` that are no settings are named in a warning.\n\n"
        + "\n".join(rows)
        + "\n"
    )


def metrics() -> str:
    """One row per metric."""
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for name, metric in sorted(vars(Metrics()).items()):
        if name != "registry":
            (family,) = metric.describe() if hasattr(metric, "describe") else list(metric.collect())
            shown = family.name + ("_total" if family.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            rows.append(f"| `{shown}` | {family.type} | {labels} | {family.documentation} |")
    reasons = ", ".join(f"`{reason.value}`" for reason in Reason)
    return (
        f"{GENERATED}\n# Metrics of the worker\n\n"
        "At `/metrics`; besides these, `process_*` of prometheus-client. What counts outcomes moves when they are\n"
        "committed. What labelling costs moves when it is spent, again for a poll that is taken again:\n"
        "`reviews_model_batches_total`, `reviews_model_tokens_total`, and `reviews_stage_seconds` but for `publish`.\n"
        f"`reason` is one of {reasons}; `label` one of the model's labels;\n"
        "`stage` one of `poll`, `parse`, `tokenise`, `infer`, `publish`; `kind` `real` or `padding`.\n\n"
        + "\n".join(rows)
        + "\n"
    )


def schema(model: type[BaseModel]) -> str:
    """JSON Schema of one contract."""
    body = model.model_json_schema(mode="serialization", by_alias=True)
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema"} | body, indent=2) + "\n"


def main() -> int:
    """Write the files, or compare them."""
    files = {
        HERE / "settings.md": settings(),
        HERE / "metrics.md": metrics(),
        HERE / "schemas/review.schema.json": schema(Review),
        HERE / "schemas/prediction.schema.json": schema(Prediction),
        HERE / "schemas/dead-letter.schema.json": schema(DeadLetter),
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
