"""The JSON of the dashboards, for docs/generate.py, which writes and checks it."""

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.model import model
from deploy.grafana.overview import overview
from deploy.grafana.performance import performance

DIRECTORY = Path(__file__).parent / "dashboards"


def dashboards() -> dict[Path, str]:
    """The content of each file."""
    boards = {"overview": overview(), "performance": performance(), "model": model()}
    return {DIRECTORY / f"{name}.json": _as_json(board) for name, board in boards.items()}


def _as_json(board: Dashboard) -> str:
    """With links and annotations in sight: the SDK would put all of them into a menu."""
    plain = json.loads(JSONEncoder().encode(board), object_hook=_without_placement)
    return json.dumps(plain, indent=2, sort_keys=True) + "\n"


def _without_placement(each: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in each.items() if value != "inControlsMenu"}
