"""The JSON Schemas that `review-consumer schema` prints: what an editor completes and checks."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from consumer.cli import main
from consumer.flags import is_secret
from consumer.settings import WorkerSettings
from consumer.tools.schema import NAMES, settings_schema

ROOT = Path(__file__).parents[2]


def problems(file: dict[str, Any]) -> list[str]:
    """What an editor would mark in a settings file."""
    validator = Draft202012Validator(settings_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
    return sorted(".".join(map(str, error.absolute_path)) or error.message for error in validator.iter_errors(file))


def test_the_settings_of_the_repository_are_valid() -> None:
    """Every settings file that deployments start from."""
    files = [path for path in (ROOT / "deploy").rglob("*.toml") if "settings" in path.name]
    assert files
    assert {path.name: problems(tomllib.loads(path.read_text("utf-8"))) for path in files} == {"settings.toml": []}


def test_every_default_is_valid() -> None:
    """A file with every setting at its default; what has none is left out, because TOML has no null."""
    defaults = json.loads(WorkerSettings().model_dump_json(exclude_none=True))
    assert len(defaults) > 30
    assert problems(defaults) == []
    assert "null" not in json.dumps(settings_schema())


@pytest.mark.parametrize(
    ("line", "marked"),
    [
        ('group_id = "reviews-eu"', []),
        ('start_from = "latest"', []),
        ('start_from = "2026-11-01T00:00:00Z"', []),
        ("threads = 4", []),
        ('sasl_password = "x"', []),
        ("start_from = 5", ["start_from"]),
        ('delivery = "twice"', ["delivery"]),
        ("threads = 0", ["threads"]),
        ('max_record_bytes = "1 MB"', ["max_record_bytes"]),
        ('log_level = "verbose"', ["log_level"]),
        ('ssl_cafile = ""\nbootstrap = "a:1"', ["Additional properties are not allowed ('bootstrap' was unexpected)"]),
    ],
)
def test_what_an_editor_marks(line: str, marked: list[str]) -> None:
    """Wrong values and unknown names, as the worker refuses them."""
    assert problems(tomllib.loads(line)) == marked


def test_secrets_are_marked_as_such() -> None:
    """An editor or a form may hide them."""
    secrets = {name for name, field in WorkerSettings.model_fields.items() if is_secret(field)}
    marked = {name for name, field in settings_schema()["properties"].items() if field.get("writeOnly")}
    assert secrets == marked
    assert len(secrets) == 2


@pytest.mark.parametrize("name", NAMES)
def test_it_is_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A valid schema, for each name."""
    assert main(["schema", name]) == 0
    Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))
