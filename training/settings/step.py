"""What one optimiser step depends on."""

from typing import Literal

from pydantic import Field

from consumer.model.texts.reading import Reading
from training.settings.reading import ReadingSettings

ClassWeights = Literal["none", "balanced"]
#: What products are computed in; `auto` is what the first process of a run finds faster, when the run begins.
Arithmetic = Literal["fp32", "bf16"]
Precision = Literal["auto", "fp32", "bf16"]


class StepSettings(ReadingSettings):
    """Training steps.

    Everything that an optimiser step depends on, except its learning rate.
    """

    batch_size: int = Field(default=32, ge=1, description="reviews per optimiser step")
    micro_batch_tokens: int | None = Field(
        default=None,
        ge=8,
        description="padded tokens computed at once, which bounds memory; a step adds up the gradients of as many "
        "micro-batches as its reviews need (default: 1280 on a CPU, 32768 on a GPU)",
    )
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW weight decay; biases and norms are not decayed")
    train_max_length: int = Field(default=160, ge=8, description="tokens kept of a review while training")
    class_weights: ClassWeights = Field(
        default="none", description="balanced: the rarer a label is, the more it counts in the loss"
    )
    precision: Precision = Field(
        default="auto",
        description="arithmetic while training, and of teachers that transformers runs; auto: bf16 on GPUs and on CPUs "
        "that multiply faster in it, decided when the run begins and kept when it resumes",
    )
    freeze: int = Field(
        default=0, ge=0, description="lowest layers that keep the weights of the base, together with the embeddings"
    )
    seed: int = Field(
        default=42, ge=0, lt=2**32, description="seed of the head, the order of the reviews and the dropout"
    )

    @property
    def reading(self) -> Reading:
        """What the model reads of a review during training."""
        return Reading(self.train_max_length, self.truncation, self.windows)
