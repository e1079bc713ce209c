"""What an adopted bundle was made from and how, as JSON beside its weights; no directories and no texts."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from consumer.model.bundle.manifest import Source
from training.adoption.origin import Origin
from training.io.output import whole
from training.packaging.record import versions
from training.settings import AdoptSettings


class Compared(BaseModel):
    """The fp32 variant against transformers: the largest difference of a logit on so many texts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    texts: int
    largest_difference: float


class AdoptionRecord(BaseModel):
    """One run of `review-training adopt`.

    `outputs` are the names in the configuration, and `labels` those of the bundle, both in the order of the logits.
    `agreement` is the share of texts without labels that a variant gives the label of fp32; `metrics` are those of each
    measured variant.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    kind: Literal["adopted"] = "adopted"
    created: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    origin: Origin
    outputs: tuple[str, ...]
    labels: tuple[str, ...]
    settings: AdoptSettings
    sources: tuple[Source, ...]
    compared: Compared
    agreement: dict[str, float]
    agreement_texts: int
    metrics: dict[str, dict[str, Any]]
    versions: dict[str, str] = Field(default_factory=versions)

    def write(self, path: Path) -> None:
        """Write it to `path`."""
        with whole(path) as partial:
            partial.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
