"""What determines the weights of a fine-tuning run, besides the base checkpoint and the data."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from consumer.model.bundle.manifest import MAX_LENGTH
from training.settings.step import StepSettings

Policy = Literal["one-cycle", "triangular", "sgdr", "linear"]
Selection = Literal["none", "loss", "accuracy", "f1"]

#: Share of the training rows that is held out if `select` needs it and no share is given.
DEFAULT_VALIDATION_SHARE = 0.1


class FitSettings(StepSettings):
    """Training run.

    With the base checkpoint and the data, these determine the trained weights.
    """

    calibration_share: float = Field(
        default=0.05, ge=0, le=0.5, description="share of the training rows held out to calibrate on; 0: none"
    )
    epochs: float = Field(default=1.5, gt=0, description="passes over the training rows; may be a fraction")
    learning_rate: float = Field(default=5e-5, gt=0, description="peak learning rate")
    policy: Policy = Field(
        default="one-cycle",
        description="learning-rate schedule. one-cycle: up over the warm-up, then down; linear: the same, counted "
        "from 0, as in the Hugging Face Trainer; triangular: up and down in every epoch; sgdr: cosine with restarts",
    )
    warmup: float = Field(
        default=0.1, ge=0, lt=1, description="share of the steps over which one-cycle and linear rise"
    )
    cycle_length: float | None = Field(
        default=None, ge=0.05, description="epochs of the first cycle (default: 1; needs policy sgdr)"
    )
    cycle_multiplier: float | None = Field(
        default=None,
        ge=1,
        description="each cycle is this many times as long as the one before (default: 1; needs policy sgdr)",
    )
    select: Selection = Field(
        default="none",
        description="package the epoch that is best by this measure on the validation rows; none: the last epoch",
    )
    patience: int | None = Field(
        default=None, ge=1, description="stop after this many epochs without improvement (default: never)"
    )
    validation_share: float | None = Field(
        default=None,
        ge=0,
        le=0.5,
        description=f"share of the training rows held out to choose the epoch (default: 0, or "
        f"{DEFAULT_VALIDATION_SHARE} with select)",
    )
    max_length: int = Field(default=512, ge=8, le=MAX_LENGTH, description="tokens kept of a review when serving")

    @property
    def held_out(self) -> float:
        """Share of the training rows that is never trained on."""
        if self.validation_share is not None:
            return self.validation_share
        return 0.0 if self.select == "none" else DEFAULT_VALIDATION_SHARE

    @property
    def cycles(self) -> tuple[float, float]:
        """Epochs of the first cycle of sgdr, and how much longer each one is than the one before."""
        return self.cycle_length or 1.0, self.cycle_multiplier or 1.0

    def identity(self) -> dict[str, Any]:
        """The settings that determine the trained weights, ready for JSON: a run resumes only under the same ones.

        The serving length is left out: a finished run can be packaged again with another one. So is the size of the
        micro-batches: a run that ran out of memory resumes with smaller ones. Windows and cycles are included with
        their default values, so that naming a default changes nothing.
        """
        excluded = {"max_length", "micro_batch_tokens", "window_overlap", "max_windows"}
        found = self.model_dump(mode="json", exclude=excluded)
        found |= dict(zip(("cycle_length", "cycle_multiplier"), self.cycles, strict=True))
        windows = self.reading.windows
        return found | ({"windows": windows.model_dump()} if windows else {})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.train_max_length > self.max_length:
            raise ValueError("train_max_length is larger than max_length: lower the former or raise the latter")
        if self.policy != "sgdr" and (self.cycle_length, self.cycle_multiplier) != (None, None):
            raise ValueError("cycle_length and cycle_multiplier need sgdr: set policy to sgdr as well")
        if self.select != "none" and not self.held_out:
            raise ValueError("select needs validation rows: set validation_share above 0")
        if self.patience and self.select == "none":
            raise ValueError("patience needs to know what better means: set select as well")
        return self
