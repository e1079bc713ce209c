"""What determines the weights of a student."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from consumer.model.texts.reading import Truncation
from training.settings.fit import FitSettings

StudentName = Literal["small", "tiny", "half"]
LayerChoice = Literal["spread", "lowest"]

#: Share of the texts to train on that may have no answer in files of answers.
MAX_UNANSWERED = 0.02


class DistilSettings(FitSettings):
    """Student.

    With its teachers, its base and the data, these determine the weights of a student.
    """

    epochs: float = Field(default=6.0, gt=0, description="passes over all rows, labelled or not; may be a fraction")
    learning_rate: float = Field(
        default=3e-4, gt=0, description="peak learning rate; use 5e-5 for a student with its teacher's layers"
    )
    student: StudentName = Field(
        default="small",
        description="shape of the student; layers, width, heads, feed_forward and vocabulary override it. small: 4 "
        "layers x 256, 4 heads, feed-forward 1024, 24000 tokens (at most 9.5 M parameters, 12 MB in int8); tiny: 2 x "
        "128, 2 heads, 512, 8000 tokens (1.5 M); half: every second layer of the base, the rest as it is",
    )
    layers: int | None = Field(default=None, ge=1, description="layers of the student")
    take_layers: LayerChoice = Field(
        default="spread",
        description="layers of the base to start from: spread over all of them, for a fine-tuned base, or the lowest, "
        "for one that is only pretrained",
    )
    width: int | None = Field(default=None, ge=2, description="hidden width of the student; at most that of the base")
    heads: int | None = Field(default=None, ge=1, description="attention heads of the student; a divisor of its width")
    feed_forward: int | None = Field(default=None, ge=1, description="inner width of the layers of the student")
    vocabulary: int | None = Field(
        default=None, ge=1, description="largest vocabulary of the student: the tokens that training texts use most"
    )
    temperature: float = Field(default=2.0, gt=0, description="softens the answers of teacher and student in the loss")
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
        description="weight of what the first teacher's first token attends to; needs its torch weights, and a teacher "
        "that reads the same tokens as the student",
    )
    teacher_max_length: int | None = Field(
        default=None,
        ge=8,
        description="tokens that a teacher reads of a text, or of a window (default: as many as it serves with)",
    )

    def identity(self) -> dict[str, Any]:
        """As in `FitSettings`; without an attention term it is that of a version that had none, whose runs resume."""
        found = super().identity()
        return found if self.attention_weight else {key: found[key] for key in found if key != "attention_weight"}

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if not self.soft_weight + self.hidden_weight + self.attention_weight:
            raise ValueError(
                "soft_weight, hidden_weight and attention_weight are all 0: nothing is left to learn from a teacher; "
                "raise one of them"
            )
        if self.attention_weight and self.truncation is Truncation.WINDOWS:
            raise ValueError("attention_weight does not work with windows: set truncation to head or head_tail")
        if self.attention_weight and self.teacher_max_length not in (None, self.train_max_length):
            raise ValueError(
                "attention_weight needs teacher_max_length to equal train_max_length: leave teacher_max_length out"
            )
        return self
