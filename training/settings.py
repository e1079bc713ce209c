"""The settings of one fine-tuning run."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from consumer.model.manifest import MAX_LENGTH, NAME
from consumer.model.reading import Reading, Truncation, Windows

VariantName = Literal["int8", "bf16", "fp32", "torch"]
Policy = Literal["one-cycle", "triangular", "sgdr", "linear"]
ClassWeights = Literal["none", "balanced"]
Precision = Literal["auto", "fp32", "bf16"]
Selection = Literal["none", "loss", "accuracy", "f1"]
StudentName = Literal["small", "tiny", "half"]
LayerChoice = Literal["spread", "lowest"]

#: Share of the training rows that is held out where `select` needs it and no share is given.
DEFAULT_VALIDATION_SHARE = 0.1


class StepSettings(BaseModel):
    """What one optimiser step depends on, but for its learning rate."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    batch_size: int = Field(default=32, ge=1, description="reviews per optimiser step")
    micro_batch_tokens: int | None = Field(
        default=None,
        ge=8,
        description="padded tokens computed at once, which bounds memory; a step adds up the gradients of as many "
        "micro-batches as its reviews need (default: 1280 on a CPU, 32768 on a GPU)",
    )
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW weight decay, biases and norms excepted")
    train_max_length: int = Field(default=160, ge=8, description="tokens kept of a review while training")
    truncation: Truncation = Field(
        default=Truncation.HEAD_TAIL,
        description="what is read of a longer review: its first tokens, its first and last ones, or overlapping "
        "windows, whose logits are averaged, in training as when serving",
    )
    window_overlap: float | None = Field(
        default=None,
        ge=0,
        le=0.5,
        description="share of a window that the next one repeats (default: 0.25; with truncation windows)",
    )
    max_windows: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="windows read of a review; what is behind them is cut off (default: 4; with truncation windows)",
    )
    class_weights: ClassWeights = Field(
        default="none", description="balanced: a label counts the more in the loss, the rarer it is"
    )
    precision: Precision = Field(
        default="auto",
        description="arithmetic while training; auto: bf16 on GPUs, and on CPUs that multiply faster in it",
    )
    freeze: int = Field(
        default=0, ge=0, description="lowest layers that keep the weights of the base, and the embeddings with them"
    )
    seed: int = Field(
        default=42, ge=0, lt=2**32, description="seed of the head, the order of the reviews and the dropout"
    )

    @property
    def reading(self) -> Reading:
        """What the model reads of a review during training."""
        given = {"overlap": self.window_overlap, "most": self.max_windows}
        given = {name: value for name, value in given.items() if value is not None}
        windows = Windows.model_validate(given) if self.truncation is Truncation.WINDOWS else None
        return Reading(self.train_max_length, self.truncation, windows)

    @model_validator(mode="after")
    def _windows_are_read(self) -> Self:
        if self.truncation is not Truncation.WINDOWS and (self.window_overlap, self.max_windows) != (None, None):
            raise ValueError("window_overlap and max_windows are for windows: set truncation to windows as well")
        return self


class FitSettings(StepSettings):
    """What determines the trained weights, next to the base checkpoint and the data."""

    calibration_share: float = Field(
        default=0.05, ge=0, le=0.5, description="share of the training rows held out to calibrate on; 0: none"
    )
    epochs: float = Field(default=1.5, gt=0, description="passes over the training rows; a fraction is allowed")
    learning_rate: float = Field(default=5e-5, gt=0, description="peak of the learning rate")
    policy: Policy = Field(
        default="one-cycle",
        description="course of the learning rate. one-cycle: up over the warm-up, then down; linear: the same as the "
        "Hugging Face Trainer counts it, from 0; triangular: up and down in every epoch; sgdr: cosine with restarts",
    )
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the steps that one-cycle and linear rise")
    cycle_length: float | None = Field(
        default=None, ge=0.05, description="epochs of the first cycle (default: 1; with policy sgdr)"
    )
    cycle_multiplier: float | None = Field(
        default=None, ge=1, description="each cycle is this much longer (default: 1; with policy sgdr)"
    )
    select: Selection = Field(
        default="none", description="package the epoch that is best by this on the validation rows; none: the last one"
    )
    patience: int | None = Field(
        default=None, ge=1, description="stop after so many epochs without a better one (default: never)"
    )
    validation_share: float | None = Field(
        default=None,
        ge=0,
        le=0.5,
        description=f"share of the training rows that is held out to choose the epoch (default: 0; with select "
        f"{DEFAULT_VALIDATION_SHARE})",
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
        """What of the settings determines the trained weights, ready for JSON.

        Serving length is no part of it: a finished run can be packaged again with another one. Nor is the size of the
        micro-batches, which bounds memory: a run that lacked it goes on with smaller ones. Windows are where they are
        read, with the values that they have by default: a run is not gone on with under other ones. So are cycles.
        """
        beside = {"max_length", "micro_batch_tokens", "window_overlap", "max_windows"}
        found = self.model_dump(mode="json", exclude=beside)
        found |= dict(zip(("cycle_length", "cycle_multiplier"), self.cycles, strict=True))
        windows = self.reading.windows
        return found | ({"windows": windows.model_dump()} if windows else {})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.train_max_length > self.max_length:
            raise ValueError("train_max_length is larger than max_length: lower the one or raise the other")
        if self.policy != "sgdr" and (self.cycle_length, self.cycle_multiplier) != (None, None):
            raise ValueError("cycle_length and cycle_multiplier are for sgdr: set policy to sgdr as well")
        if self.select != "none" and not self.held_out:
            raise ValueError("select needs validation rows: give a validation_share above 0")
        if self.patience and self.select == "none":
            raise ValueError("patience needs to know what better means: give select as well")
        return self


class DistilSettings(FitSettings):
    """What determines the weights of a student, next to its teachers, its base and the data."""

    epochs: float = Field(default=6.0, gt=0, description="passes over the rows, labelled and not; may be a fraction")
    learning_rate: float = Field(
        default=3e-4, gt=0, description="peak of the learning rate; a student with its teacher's layers wants 5e-5"
    )
    student: StudentName = Field(
        default="small",
        description="what the next five settings are where they are not given. small: 4 layers x 256, 4 heads, feed-"
        "forward 1024, 24000 tokens (at most 9.5 M parameters, 12 MB in int8); tiny: 2 x 128, 2 heads, 512, 8000 "
        "tokens (1.5 M); half: every second layer of the base, the rest as it is",
    )
    layers: int | None = Field(default=None, ge=1, description="layers of the student")
    take_layers: LayerChoice = Field(
        default="spread",
        description="those of the base that they start from: spread over all of them, for a base that is fine-tuned, "
        "or the lowest, for one that is only pretrained",
    )
    width: int | None = Field(default=None, ge=2, description="its hidden width; at most that of the base")
    heads: int | None = Field(default=None, ge=1, description="its attention heads; they share the width out evenly")
    feed_forward: int | None = Field(default=None, ge=1, description="the inner width of its layers")
    vocabulary: int | None = Field(
        default=None, ge=1, description="its tokens at most: the most frequent of those that the training texts use"
    )
    temperature: float = Field(default=2.0, gt=0, description="softens the answers of teacher and student")
    soft_weight: float = Field(default=1.0, ge=0, description="weight of the teacher's answers in the loss")
    label_weight: float = Field(default=0.5, ge=0, description="weight of the labels in the loss")
    hidden_weight: float = Field(
        default=0.0,
        ge=0,
        description="weight of the first teacher's last hidden state, which needs its torch weights",
    )
    attention_weight: float = Field(
        default=0.0,
        ge=0,
        description="weight of what the first teacher's first token attends to; it has to read the very tokens that "
        "the student does, and needs its torch weights",
    )
    teacher_max_length: int | None = Field(
        default=None,
        ge=8,
        description="tokens that a teacher reads of a text, or in a window (default: as many as it is served with)",
    )

    def identity(self) -> dict[str, Any]:
        """As that of `FitSettings`; a run from before there was an attention term goes on without one."""
        found = super().identity()
        return found if self.attention_weight else {key: found[key] for key in found if key != "attention_weight"}

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if not self.soft_weight + self.hidden_weight + self.attention_weight:
            raise ValueError(
                "soft_weight, hidden_weight and attention_weight are all 0: nothing is left to learn from a teacher"
            )
        if self.attention_weight and self.truncation is Truncation.WINDOWS:
            raise ValueError("attention_weight is for texts that are read at once: set truncation to head or head_tail")
        if self.attention_weight and self.teacher_max_length not in (None, self.train_max_length):
            raise ValueError("attention_weight needs a teacher_max_length that is train_max_length: leave it out")
        return self


class RateTestSettings(StepSettings):
    """A learning-rate range test: the rate rises by the same factor each step."""

    steps: int = Field(default=100, ge=20, description="optimiser steps from the lowest rate to the highest")
    lowest_rate: float = Field(default=1e-7, gt=0, description="learning rate of the first step")
    highest_rate: float = Field(default=1.0, gt=0, description="learning rate of the last step, if it gets there")

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.lowest_rate >= self.highest_rate:
            raise ValueError("lowest_rate is not below highest_rate: lower the one or raise the other")
        return self


class PackageSettings(BaseModel):
    """How the trained model becomes a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str | None = Field(
        default=None, pattern=NAME, description="name of the model; default: that of the directory"
    )
    max_int8_drop: float = Field(
        default=0.3, ge=0, description="int8 is served if it loses at most this many percentage points against fp32"
    )
    test_rows: int | None = Field(
        default=None, ge=1, description="test rows, drawn with the seed, that measure what is served (default: all)"
    )
    gate_rows: int = Field(default=2000, ge=1, description="of these, the rows on which fp32 and int8 are compared")
    calibration_texts: int = Field(default=300, ge=1, description="training texts that set the int8 scales")
    sure_precision: float = Field(
        default=0.98, gt=0, lt=1, description="share of right answers wanted among those that are not marked unsure"
    )
    keep: tuple[VariantName, ...] = Field(
        default=("int8", "bf16", "fp32", "torch"),
        min_length=1,
        description="variants whose files stay in the bundle, comma-separated; the served one always does",
    )
