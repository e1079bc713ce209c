"""The adapted encoder on disk: a checkpoint of transformers, with a record of the run and a card."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from training.adaptation.texts import Texts, Work
from training.data.prepare import ADAPTED, learnt_from
from training.encoders.base import Base
from training.encoders.masked import save_adapted
from training.io.names import check_utf8
from training.io.output import check_directory, write_text
from training.loop.state import RunState, Validation
from training.packaging.record import versions
from training.packaging.sealing import check_outside, placing
from training.settings import AdaptSettings

CARD = "MODEL_CARD.md"


@dataclass(frozen=True)
class Adapted:
    """What came of a run: the base and the adapted encoder, both measured on the tokens of texts that were held out.

    `new_head`: the base had none for masked tokens, so that `before` says little. `length` is that of the pieces.
    """

    before: Validation
    after: Validation
    new_head: bool
    length: int
    pieces: int

    def in_words(self) -> str:
        """One line."""
        return (
            f"perplexity {self.before.perplexity:.2f} before, {self.after.perplexity:.2f} after; of the masked tokens "
            f"{self.before.accuracy:.2%} and {self.after.accuracy:.2%} right"
        )


def check_places(work: Work, read: Iterable[tuple[str, Path | None]]) -> None:
    """Raise `UsageError` if a directory cannot be written, or if something would be lost when `out` is replaced."""
    out = work.out
    check_utf8(str(out.resolve()))
    if out.is_symlink() or (out.exists() and _told(out).get("command") != "adapt"):
        raise UsageError(f"{out} exists and is not an adapted encoder: remove it or name another --out")
    check_directory("--out", out)
    check_directory("--checkpoints", work.directory)
    check_outside("--out", out, [("--checkpoints", work.directory), *read])


def _told(directory: Path) -> dict[str, Any]:
    """The record of the encoder in `directory`; empty if there is none."""
    try:
        found = json.loads((directory / ADAPTED).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def record_of(base: Base, settings: AdaptSettings, texts: Texts, result: Adapted, state: RunState) -> dict[str, Any]:
    """The record of a run as JSON. It holds names and hashes of files, never their directories or texts."""
    return {
        "command": "adapt",
        "format": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "base": {"name": base.name, "sha256": base.sha256},
        "settings": settings.model_dump(mode="json"),
        "learnt_from": [source.model_dump() for source in learnt_from(base.directory).sources],
        "adapted_to": [source.model_dump() for source in texts.sources],
        "left_out": [source.model_dump() for source in texts.tests],
        "texts": len(texts.trained),
        "held_out": len(texts.held_out),
        "result": asdict(result),
        "perplexity": {"before": result.before.perplexity, "after": result.after.perplexity},
        "epochs": [asdict(epoch) for epoch in state.epochs],
        "precision": state.settled.precision,
        "machine": asdict(state.machine) if state.machine else None,
        "training_seconds": state.seconds,
        "versions": versions(),
    }


def write_adapted(out: Path, model: Any, base: Base, record: dict[str, Any], result: Adapted) -> None:
    """Write the encoder, its record and its card to `out`, whole or not at all."""
    with placing(out) as partial:
        save_adapted(model, base, partial)
        write_text(partial / ADAPTED, json.dumps(record, indent=1) + "\n")
        write_text(partial / CARD, _card(out.name, record, result))


def _card(name: str, record: dict[str, Any], result: Adapted) -> str:
    files = ", ".join(f"`{part['file']}` ({part['rows']} texts)" for part in record["adapted_to"])
    tests = ", ".join(f"`{part['file']}`" for part in record["left_out"]) or "none"
    head = " It had no head for masked tokens, so this began with a new one." if result.new_head else ""
    return f"""# {name}

`{record["base"]["name"]}` (SHA-256 of its weights `{record["base"]["sha256"]}`), trained further to predict masked
tokens of {files}. It is a base for `review-training fit` and `distil`, not a classifier.

On {record["held_out"]} texts that were held out: {result.in_words()}.{head}

- {record["texts"]} texts in {result.pieces} pieces of at most {result.length} tokens, {record["settings"]["epochs"]:g}
  epochs, learning rate {record["settings"]["learning_rate"]:g}, seed {record["settings"]["seed"]}
- texts of these test files were left out: {tests}
- licence: that of the base
"""
