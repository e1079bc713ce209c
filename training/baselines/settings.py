"""What determines the baselines, next to the data; `training.settings.FitSettings` does for bert and distilbert."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ModelName = Literal["nbsvm", "logreg", "fasttext", "bigru", "standard_gru", "bert", "distilbert"]


class BaselineSettings(BaseModel):
    """Settings of the small models."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    models: tuple[ModelName, ...] = Field(
        default=("nbsvm", "logreg", "fasttext", "bigru", "standard_gru", "bert", "distilbert"),
        description="what is trained, comma-separated",
    )
    small_epochs: int = Field(default=5, ge=1, description="epochs of fasttext, bigru and standard_gru")
    small_batch_size: int = Field(default=32, ge=1, description="reviews per step of these")
    small_learning_rate: float = Field(default=2e-3, gt=0, description="their Adam learning rate, falling to 0")
