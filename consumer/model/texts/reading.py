"""How much of a text the model reads, and which part: one value for the manifest, the encoder and training."""

from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from consumer.model.texts.cleaning import LATEST, TextRules


class Truncation(StrEnum):
    """What the model reads of a text that is too long: its start, its start and end, or overlapping windows."""

    HEAD = "head"
    HEAD_TAIL = "head_tail"
    WINDOWS = "windows"


class Windows(BaseModel):
    """How a text that is too long is cut into windows of `max_length` tokens, special tokens included.

    Each window repeats the end of the previous one: the share `overlap` of `max_length`, rounded down. A phrase at a
    boundary is thus seen whole. The first `most` windows are read; the rest of the text costs nothing, however long.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    overlap: float = Field(default=0.25, ge=0, le=0.5)
    most: int = Field(default=4, ge=1, le=64)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model reads of a text.

    Args:
        max_length: the most tokens read at once, special tokens included.
        truncation: which tokens of a longer text are kept. `HEAD_TAIL` keeps the first half and the last half, because
            reviews often end in their verdict (Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?",
            section 5.3.1).
        windows: how a longer text is cut, if and only if `truncation` is `WINDOWS`.
        text_rules: how a text is cleaned before it is tokenised.

    Raises:
        ValueError: `truncation` and `windows` contradict each other.
    """

    max_length: int
    truncation: Truncation
    windows: Windows | None = None
    text_rules: TextRules = LATEST

    def __post_init__(self) -> None:
        if (self.truncation is Truncation.WINDOWS) != (self.windows is not None):
            raise ValueError("windows and truncation windows belong together: set both, or neither")
