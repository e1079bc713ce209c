"""What a learning-rate range test depends on."""

from typing import Self

from pydantic import Field, model_validator

from training.settings.step import StepSettings


class RateTestSettings(StepSettings):
    """Range test.

    The learning rate rises by the same factor each step.
    """

    steps: int = Field(default=100, ge=20, description="optimiser steps from the lowest rate to the highest")
    lowest_rate: float = Field(default=1e-7, gt=0, description="learning rate of the first step")
    highest_rate: float = Field(
        default=1.0, gt=0, description="learning rate of the last step, unless the loss diverges before"
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.lowest_rate >= self.highest_rate:
            raise ValueError("lowest_rate is not below highest_rate: lower the former or raise the latter")
        return self
