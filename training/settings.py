"""The settings of one fine-tuning run."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from consumer.encoder import Truncation

VariantName = Literal["int8", "bf16", "fp32", "torch"]


class FitSettings(BaseModel):
    """What determines the trained weights, next to the base checkpoint and the data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: float = Field(default=1.5, gt=0, description="passes over the training rows; a fraction is allowed")
    batch_size: int = Field(default=32, ge=1, description="reviews per optimiser step")
    learning_rate: float = Field(default=5e-5, gt=0, description="peak of the one-cycle schedule")
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the steps that the rate rises")
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW weight decay, biases and norms excepted")
    train_max_length: int = Field(default=160, ge=8, description="tokens kept of a review while training")
    max_length: int = Field(default=512, ge=8, description="tokens kept of a review when serving")
    truncation: Truncation = Field(default=Truncation.HEAD_TAIL, description="which tokens of a longer review are kept")
    seed: int = Field(default=42, ge=0, description="seed of the head, the order of the reviews and the dropout")
    calibration_share: float = Field(
        default=0.05, ge=0, le=0.5, description="share of the training rows held out to calibrate on; 0: none"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.train_max_length > self.max_length:
            raise ValueError("train_max_length is larger than max_length: lower the one or raise the other")
        return self


class PackageSettings(BaseModel):
    """How the trained model becomes a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str | None = Field(
        default=None, pattern=r"^[a-zA-Z0-9._-]{1,64}$", description="name of the model; default: that of the directory"
    )
    max_int8_drop: float = Field(
        default=0.3, ge=0, description="int8 is served if it loses at most this many percentage points against fp32"
    )
    gate_rows: int = Field(default=2000, ge=1, description="test rows on which fp32 and int8 are compared")
    calibration_texts: int = Field(default=300, ge=1, description="training texts that set the int8 scales")
    precision: float = Field(
        default=0.98, gt=0, lt=1, description="share of right answers wanted among those that are not marked unsure"
    )
    keep: tuple[VariantName, ...] = Field(
        default=("int8", "bf16", "fp32", "torch"),
        min_length=1,
        description="variants whose files stay in the bundle, comma-separated; the served one always does",
    )
