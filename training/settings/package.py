"""How a trained model becomes a bundle."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from consumer.model.bundle.manifest import NAME

VariantName = Literal["int8", "bf16", "fp32", "torch"]


class PackageSettings(BaseModel):
    """Bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str | None = Field(
        default=None, pattern=NAME, description="name of the model (default: that of the directory)"
    )
    max_int8_drop: float = Field(
        default=0.3, ge=0, description="serve int8 if its accuracy is at most this many percentage points below fp32"
    )
    test_rows: int | None = Field(
        default=None,
        ge=1,
        description="test rows, drawn with the seed, to measure the served variant on (default: all)",
    )
    gate_rows: int = Field(default=2000, ge=1, description="number of these rows on which fp32 and int8 are compared")
    calibration_texts: int = Field(default=300, ge=1, description="training texts that set the int8 scales")
    sure_precision: float = Field(
        default=0.98, gt=0, lt=1, description="accuracy wanted among the predictions that are not marked unsure"
    )
    license: str | None = Field(
        default=None,
        max_length=100,
        description="licence of the model, for its card (default: what its files say, else unknown)",
    )
    keep: tuple[VariantName, ...] = Field(
        default=("int8", "bf16", "fp32", "torch"),
        min_length=1,
        description="variants whose files stay in the bundle, comma-separated; the served one always stays",
    )
