"""How the worker cuts a review that is longer than the model reads."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from consumer.model.texts.reading import Truncation, Windows


class ReadingSettings(BaseModel):
    """Long reviews."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    truncation: Truncation = Field(
        default=Truncation.HEAD_TAIL,
        description="how a longer review is cut: keep its first tokens (head), its first and last ones (head_tail), or "
        "split it into overlapping windows whose logits are averaged (windows); the worker cuts the same way",
    )
    window_overlap: float | None = Field(
        default=None,
        ge=0,
        le=0.5,
        description="share of a window that the next one repeats (default: 0.25; needs truncation windows)",
    )
    max_windows: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="windows read of a review; the rest is cut off (default: 4; needs truncation windows)",
    )

    @property
    def windows(self) -> Windows | None:
        """How a longer review is cut into windows; None: it is not."""
        given = {"overlap": self.window_overlap, "most": self.max_windows}
        given = {name: value for name, value in given.items() if value is not None}
        return Windows.model_validate(given) if self.truncation is Truncation.WINDOWS else None

    @model_validator(mode="after")
    def _windows_are_read(self) -> Self:
        if self.truncation is not Truncation.WINDOWS and (self.window_overlap, self.max_windows) != (None, None):
            raise ValueError("window_overlap and max_windows need windows: set truncation to windows as well")
        return self
