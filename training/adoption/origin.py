"""Where a checkpoint comes from and under which licence, as its own files say; what they do not say is unknown."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from training.adoption.find import Checkpoint
from training.packaging.header import README, UNKNOWN, card_facts, license_of


class Origin(BaseModel):
    """Of a checkpoint: its name, its commit on the hub, and what its model card and configuration say.

    `license` is `UNKNOWN` unless the card or the user says it; `license_from` tells which. `base_model` is what it was
    fine-tuned from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    revision: str | None = None
    sha256: str
    family: str
    license: str = UNKNOWN
    license_from: str = ""
    license_link: str | None = None
    language: tuple[str, ...] = ()
    base_model: tuple[str, ...] = ()


def read_origin(found: Checkpoint, facts: Mapping[str, Any], license_given: str | None) -> Origin:
    """What the files of a checkpoint say; `facts` is its configuration, and `license_given` what the user says."""
    told = card_facts(found.directory / README)
    own = license_of(found.directory)
    return Origin(
        name=found.name,
        revision=found.revision,
        sha256=found.sha256,
        family=str(facts["model_type"]),
        license=license_given or own,
        license_from="given with --license" if license_given else "its model card" if own != UNKNOWN else "",
        license_link=str(told["license_link"]) if "license_link" in told else None,
        language=_texts(told.get("language")),
        base_model=_texts(told.get("base_model")) or _texts(_public(facts.get("_name_or_path"))),
    )


def _public(name: Any) -> Any:
    """A name on the hub, not a path on the machine of whoever trained the model."""
    return name if isinstance(name, str) and not name.startswith((".", "/", "~")) and name.count("/") <= 1 else None


def _texts(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(each for each in values if isinstance(each, str) and each)
