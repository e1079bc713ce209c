"""What determines an encoder that is adapted to texts, besides its base and the texts."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from consumer.model.texts.reading import Truncation
from training.settings.fit import FitSettings
from training.settings.step import Precision


class AdaptSettings(BaseModel):
    """Masked language modelling.

    With the base and the texts, these determine the weights of the adapted encoder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: float = Field(default=1.0, gt=0, description="passes over the texts; may be a fraction")
    learning_rate: float = Field(default=1e-4, gt=0, description="peak learning rate")
    warmup: float = Field(default=0.06, ge=0, lt=1, description="share of the steps over which the rate rises")
    batch_size: int = Field(default=32, ge=1, description="pieces of text per optimiser step")
    max_length: int | None = Field(
        default=None,
        ge=8,
        description="tokens of a piece; a longer text becomes several (default: enough for nine of ten texts in one "
        "piece, at most 256 and at most what the base reads)",
    )
    masked_share: float = Field(
        default=0.15,
        gt=0,
        le=0.5,
        description="share of the tokens to predict: of these 80 % are masked, 10 % replaced and 10 % left as they are",
    )
    held_out_share: float = Field(
        default=0.02, gt=0, le=0.5, description="share of the texts, at most 2000, that only measures the perplexity"
    )
    freeze: int = Field(
        default=0, ge=0, description="lowest layers that keep the weights of the base, together with the embeddings"
    )
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW weight decay; biases and norms are not decayed")
    precision: Precision = Field(
        default="auto",
        description="arithmetic; auto: bf16 on GPUs and on CPUs that multiply faster in it, decided once for a run",
    )
    micro_batch_tokens: int | None = Field(
        default=None, ge=8, description="padded tokens computed at once (default: 1280 on a CPU, 32768 on a GPU)"
    )
    seed: int = Field(default=42, ge=0, lt=2**32, description="seed of the masks, the order of the texts, the dropout")

    def of_loop(self, length: int) -> FitSettings:
        """The settings of the training loop for pieces of `length` tokens."""
        shared = self.model_dump(exclude={"max_length", "masked_share", "held_out_share"})
        return FitSettings(
            **shared,
            train_max_length=length,
            max_length=length,
            truncation=Truncation.HEAD,
            validation_share=self.held_out_share,
            calibration_share=0,
        )

    def identity(self, length: int) -> dict[str, Any]:
        """What determines the weights, ready for JSON; a run that ran out of memory resumes with smaller batches."""
        return self.model_dump(mode="json", exclude={"micro_batch_tokens"}) | {"max_length": length}
