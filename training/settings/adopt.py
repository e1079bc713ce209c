"""How a checkpoint that somebody else trained becomes a bundle."""

from pydantic import Field

from consumer.model.bundle.manifest import MAX_LENGTH
from consumer.model.texts.reading import Truncation
from training.settings.package import PackageSettings
from training.settings.reading import ReadingSettings


class AdoptSettings(PackageSettings, ReadingSettings):
    """Adoption."""

    truncation: Truncation = Field(
        default=Truncation.HEAD,
        description="how a longer review is cut: keep its first tokens (head, as transformers does), its first and "
        "last ones (head_tail), or split it into overlapping windows whose logits are averaged (windows)",
    )
    max_length: int | None = Field(
        default=None,
        ge=8,
        le=MAX_LENGTH,
        description="tokens kept of a review (default: as many as the checkpoint reads, at most 512)",
    )
    test_rows: int | None = Field(
        default=6000,
        ge=1,
        description="rows of --test, drawn with the seed, that are used: a quarter of them decides, the others measure",
    )
    gate_rows: int = Field(default=1500, ge=1, description="rows or texts on which fp32 and int8 are compared, at most")
    calibration_texts: int = Field(default=300, ge=1, description="texts that set the int8 scales")
    min_agreement: float = Field(
        default=0.98,
        gt=0,
        le=1,
        description="without --test: serve int8 if it gives at least this share of the texts the label that fp32 gives",
    )
    seed: int = Field(default=42, ge=0, lt=2**32, description="seed of everything that is drawn from the files")
