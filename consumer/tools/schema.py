"""`review-consumer schema`: JSON Schemas of the settings file, for editors, and of the three contracts."""

import argparse
import json
import sys
from typing import Any

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NAMES = ("settings", "review", "prediction", "dead-letter")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which schema."""
    parser.description = "Print a JSON Schema: of the settings file, for editors, or of a contract."
    parser.epilog = (
        "example: review-consumer schema settings > review-consumer.schema.json, and as the first line of the settings "
        "file: #:schema ./review-consumer.schema.json. Exit codes: 0 done; 2 wrong usage"
    )
    parser.add_argument(
        "name",
        choices=NAMES,
        metavar="NAME",
        help="settings: the file of --config; review, prediction, dead-letter: records of the three topics",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the schema."""
    sys.stdout.write(schema(arguments.name))
    return 0


def schema(name: str) -> str:
    """One of `NAMES`, as it is printed."""
    if name == "settings":
        return _printed(settings_schema())
    from pydantic import BaseModel

    from consumer.records.messages import DeadLetter, Prediction, Review

    contracts: dict[str, type[BaseModel]] = {"review": Review, "prediction": Prediction, "dead-letter": DeadLetter}
    model = contracts[name]
    return _printed(model.model_json_schema(mode="serialization", by_alias=True))


def settings_schema() -> dict[str, Any]:
    """Of the settings file, which is TOML: it has no null, so what has no default is left out of the file."""
    from consumer.settings import WorkerSettings

    found = WorkerSettings.model_json_schema()
    found |= {"title": "Settings of review-consumer", "description": "The file of --config or REVIEWS_CONFIG."}
    for name, field in found["properties"].items():
        found["properties"][name] = _without_null(field)
    # Its validator is a function, of which pydantic cannot tell what it takes.
    found["properties"]["start_from"] |= {
        "anyOf": [{"enum": ["earliest", "latest"]}, {"type": "string", "format": "date-time"}]
    }
    return found


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in field.items() if key not in {"title", "anyOf"}}
    if kept.get("default", 0) is None:
        del kept["default"]
    for each in field.get("anyOf", ()):
        if each != {"type": "null"}:
            kept |= each
    return kept


def _printed(body: dict[str, Any]) -> str:
    return json.dumps({"$schema": DIALECT} | body, indent=2) + "\n"
