"""A cascade with the thresholds that its own record has for another loss, and what was lost when it was measured."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consumer.model.bundle.manifest import MANIFEST
from consumer.model.cascade.bundle import CascadeBundle
from tests.tiny_cascade import seal
from training.packaging.record import BUNDLE_RECORD


@dataclass(frozen=True)
class RecordedLoss:
    """Points lost against the last member alone, on `rows` of the test file, with their 95 % interval."""

    points: float
    interval: tuple[float, float]
    rows: int

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.points:.2f} points lost ({low:.2f} to {high:.2f}) on {self.rows:,} rows"


def loss_of(cascade: CascadeBundle) -> RecordedLoss | None:
    """What the cascade loses on all rows of its test file; None if it has no record."""
    lost = _record(cascade.path).get("lost", {}).get("on_all_rows")
    return _as_loss(lost["points"], lost["interval"], lost["rows"]) if lost else None


def loosened(cascade: CascadeBundle, allowed: float, into: Path) -> tuple[Path, RecordedLoss] | None:
    """A copy of `cascade` and its members in `into`, with the thresholds that were chosen for `allowed` points.

    None if it was not measured with such. The loss is that of the rows that did not choose.
    """
    record = _record(cascade.path)
    point = next((each for each in record.get("points", ()) if each["allowed"] == allowed), None)
    if point is None or len(point["below"]) != len(cascade.members) - 1:
        return None
    places = [into / f"member{number}" for number in range(len(cascade.members))]
    for member, place in zip(cascade.members, places, strict=True):
        shutil.copytree(member.path, place)
    copy = into / f"{cascade.manifest.name}-{allowed:g}"
    copy.mkdir()
    for path in cascade.path.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    below = (*point["below"], None)
    members = [
        member.model_copy(update={"path": f"../{place.name}", "below": limit})
        for member, place, limit in zip(cascade.manifest.members, places, below, strict=True)
    ]
    (copy / MANIFEST).write_text(cascade.manifest.model_copy(update={"name": copy.name}).model_dump_json())
    seal(copy, members=members)
    return copy, _as_loss(point["lost"], point["lost_interval"], record["data"]["test"]["rows"])


def _as_loss(points: float, interval: Sequence[float], rows: int) -> RecordedLoss:
    low, high = interval
    return RecordedLoss(points, (low, high), rows)


def _record(bundle: Path) -> dict[str, Any]:
    """The record of the run that made `bundle`; empty if it has none."""
    path = bundle / BUNDLE_RECORD
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}
