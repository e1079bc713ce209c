"""What the answers of a teacher depend on, besides the teacher and the texts."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from consumer.model.texts.reading import Truncation
from training.settings.distil import DistilSettings
from training.settings.step import Precision

#: How logits are stored.
Numbers = Literal["float16", "float32"]


class AnswerSettings(BaseModel):
    """Answers.

    How the teacher reads the texts, which rows it leaves out, and how the files are cut.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    teacher_max_length: int | None = Field(
        default=None,
        ge=8,
        description="tokens that the teacher reads of a text, or of a window (default: as many as it serves with)",
    )
    truncation: Truncation = Field(
        default=Truncation.HEAD_TAIL,
        description="how a checkpoint cuts a longer text, see fit --help; a bundle cuts as it serves",
    )
    window_overlap: float | None = Field(
        default=None, ge=0, le=0.5, description="share of a window that the next one repeats (default: 0.25)"
    )
    max_windows: int | None = Field(default=None, ge=1, le=64, description="windows read of a text (default: 4)")
    precision: Precision = Field(
        default="auto",
        description="arithmetic of a checkpoint; auto: bf16 on GPUs and on CPUs that multiply faster in it, decided "
        "when the first text is asked and kept when the command resumes",
    )
    micro_batch_tokens: int | None = Field(
        default=None, ge=8, description="padded tokens that a checkpoint computes at once (default: 1280, GPU: 32768)"
    )
    seed: int = Field(default=42, ge=0, lt=2**32, description="seed of distil, which draws the rows that it holds out")
    calibration_share: float = Field(
        default=0.05, ge=0, le=0.5, description="--calibration-share of distil: these rows get no answer"
    )
    validation_share: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="--validation-share of distil: these rows get no answer; with its --select it is 0.1 by default",
    )
    shard_rows: int = Field(
        default=1024,
        ge=1,
        description="texts in a file of answers; a kill loses at most one file",
    )
    numbers: Numbers = Field(
        default="float16", description="how logits are stored; float16 keeps three digits in half of the space"
    )

    @property
    def of_student(self) -> DistilSettings:
        """Settings of a student that asks the same of its teacher and holds out the same rows."""
        shared = self.model_dump(exclude={"shard_rows", "numbers"})
        return DistilSettings.model_validate(shared)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.truncation is not Truncation.WINDOWS and (self.window_overlap, self.max_windows) != (None, None):
            raise ValueError("window_overlap and max_windows need windows: set truncation to windows as well")
        return self
