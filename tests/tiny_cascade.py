"""A cascade of tiny bundles, `quick` and `thorough`, whose every answer is known, and who gives it.

`thorough` has the same opinion as `quick`, is three times as sure of it, and has its labels in the other order.
"""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from consumer.model.bundle.manifest import Calibration, FileSum, Golden, GoldenText, Source
from consumer.model.cascade.manifest import CascadeManifest, Member, PassedOn
from tests.tiny_bundle import LABELS, TOLERANCE, positive_probability, write_tiny_bundle

BELOW = 0.8
SCALES = {"quick": 1.0, "thorough": 3.0}
#: The score of "bad film" is 0.82, that of "film" 0.62.
GOLDEN_TEXTS = ("great film", "the film", "awful", "unheard words")


def answering(text: str) -> str:
    """The member that has to answer `text`."""
    positive = positive_probability(text)
    return "quick" if max(positive, 1 - positive) >= BELOW else "thorough"


def write_tiny_cascade(directory: Path, **changes: Any) -> Path:
    """Write it to `directory`, which is returned, and its members beside it; `changes` are fields of the manifest."""
    members = []
    for name, scale in SCALES.items():
        path = write_tiny_bundle(directory.parent / name, flipped=name == "thorough", scale=scale, name=name)
        members.append(as_member(path, f"../{name}", below=BELOW if name == "quick" else None))
    directory.mkdir()
    golden = Golden(
        tolerance=dict.fromkeys(SCALES, TOLERANCE["fp32"]),
        texts=tuple(
            GoldenText(
                text=text,
                probabilities={
                    name: {"neg": 1 - positive, "pos": positive}
                    for name, scale in SCALES.items()
                    for positive in [positive_probability(text, scale)]
                },
            )
            for text in GOLDEN_TEXTS
        ),
    )
    (directory / "golden.json").write_text(golden.model_dump_json())
    return seal(directory, members=members, **changes)


def as_member(path: Path, relative: str, below: float | None, threshold: float | None = 0.9) -> Member:
    """The bundle at `path` as a member of a cascade."""
    return Member(
        name=json.loads((path / "manifest.json").read_text())["name"],
        path=relative,
        digest=hashlib.sha256((path / "manifest.json").read_bytes()).hexdigest(),
        variant="fp32",
        calibration=Calibration(
            temperature=1,
            threshold=threshold,
            target_precision=0.98,
            ece_before=0.1,
            ece_after=0.1,
            variant="fp32",
            data=Source(file="chosen.xlsx", sha256="0" * 64, rows=100),
        ),
        below=below,
        passed_on=None if below is None else PassedOn(share=0.3, low=0.2, high=0.4),
    )


def seal(directory: Path, **changes: Any) -> Path:
    """Write a manifest that agrees with the files that are in `directory` now; `changes` replace its fields."""
    manifest = directory / "manifest.json"
    facts = json.loads(manifest.read_text()) if manifest.is_file() else {}
    facts = {
        "name": "tiny-cascade",
        "version": "1",
        "created": datetime(2026, 1, 1, tzinfo=UTC),
        "labels": LABELS,
        **facts,
        **changes,
        "files": {
            path.name: FileSum(bytes=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
            for path in directory.iterdir()
            if path.is_file() and path != manifest
        },
    }
    manifest.write_text(CascadeManifest.model_validate(facts).model_dump_json())
    return directory
