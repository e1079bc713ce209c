"""What determines the small models, besides the data; bert and distilbert have `training.settings.FitSettings`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ModelName = Literal["nbsvm", "logreg", "fasttext", "bigru", "standard_gru", "bert", "distilbert"]


class BaselineSettings(BaseModel):
    """Small models."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    models: tuple[ModelName, ...] = Field(
        default=("nbsvm", "logreg", "fasttext", "bigru", "standard_gru", "bert", "distilbert"),
        description="models to train, comma-separated",
    )
    small_epochs: int = Field(default=5, ge=1, description="epochs of fasttext, bigru and standard_gru")
    small_batch_size: int = Field(default=32, ge=1, description="reviews per optimiser step of these models")
    small_learning_rate: float = Field(
        default=2e-3, gt=0, description="their initial Adam learning rate, which falls to 0"
    )
