"""What a model bundle consists of; `consumer.model.bundle.loading` loads and verifies one.

    manifest.json     name, labels, truncation, precision variants, accuracy, calibration, SHA-256 of every other file
    tokenizer.json    Hugging Face tokenizer
    golden.json       texts with the probabilities that each variant must give
    profile.json      what answers were like on texts of the model's kind; may be missing
    openvino/*.xml,*.bin, model.safetensors + config.json    the weights, per variant

Nothing in a bundle is executed or unpickled.
"""

from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from consumer.model.inference.scaling import PLAIN, Scaling
from consumer.model.texts.cleaning import TextRules
from consumer.model.texts.reading import Reading, Truncation, Windows

MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
GOLDEN = "golden.json"
PROFILE = "profile.json"

#: The most tokens that a model may read at once.
MAX_LENGTH = 8192

#: A valid name of a model.
NAME = r"^[a-zA-Z0-9._-]{1,64}$"

Precision = Literal["int8", "bf16", "fp32"]
EngineName = Literal["openvino", "torch"]

#: Suffixes of the files that each engine reads. Pickles, such as `pytorch_model.bin`, are never among them.
_WEIGHTS: dict[EngineName, list[str]] = {"openvino": [".bin", ".xml"], "torch": [".json", ".safetensors"]}


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ValueError("must be a relative path inside the bundle")
    return path


RelativePath = Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]{1,200}$"), AfterValidator(_inside)]


class Part(BaseModel):
    """A part of a manifest: frozen, and without fields that this version does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class FileSum(Part):
    """Size and SHA-256 of one file of the bundle."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Accuracy(Part):
    """Share of correct labels on a labelled file, measured through the worker's own classifier."""

    file: str
    rows: int = Field(ge=1)
    accuracy: float = Field(ge=0, le=1)
    max_length: int = Field(ge=2)


class Variant(Part):
    """One precision of the model: which engine reads it, from which files, and how accurate it is.

    `compute` is the precision of its arithmetic: the `bf16` variant reads the fp32 weights and computes in bf16 if the
    processor supports it.
    """

    engine: EngineName
    compute: Precision
    files: tuple[RelativePath, ...]
    accuracy: Accuracy | None = None

    @model_validator(mode="after")
    def _never_a_pickle(self) -> Self:
        if sorted(PurePosixPath(name).suffix for name in self.files) != _WEIGHTS[self.engine]:
            raise ValueError(f"the {self.engine} engine reads one file each of {' and '.join(_WEIGHTS[self.engine])}")
        return self


class Source(Part):
    """A data file that the model was made from."""

    file: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    rows: int = Field(ge=0)


class Calibration(Part):
    """Makes a probability match the share of correct labels; fitted on reviews that the model was not trained on.

    Logits are scaled by `temperature` and `sharpening` (see `Scaling`). A prediction whose probability is below
    `threshold` is unsure: of the `data` rows at or above it, at least `target_precision` were labelled correctly;
    `unsure` is the share of rows below it. Both are None if no threshold reaches that precision. Fitted on the answers
    of `variant`, and applied to every variant. `ece_before` and `ece_after` are the expected calibration errors on the
    same rows.
    """

    temperature: float = Field(ge=0.01, le=100)
    sharpening: float = Field(default=0, ge=0, le=100)
    threshold: float | None = Field(default=None, ge=0, le=1)
    target_precision: float = Field(gt=0, lt=1)
    unsure: float | None = Field(default=None, ge=0, le=1)
    ece_before: float = Field(ge=0, le=1)
    ece_after: float = Field(ge=0, le=1)
    variant: str
    data: Source

    @property
    def scaling(self) -> Scaling:
        """What makes probabilities of logits."""
        return Scaling(self.temperature, self.sharpening)


class Manifest(Part):
    """manifest.json. `labels[i]` names the i-th logit; `served` is the variant served by default.

    `measured_only` has the accuracy of variants that were measured when the bundle was built but are not part of it.
    Without `calibration`, probabilities are those of the model as trained, and no prediction is unsure. `max_length`,
    `truncation`, `windows` and `format` are one value, `reading`. `training_data` lists the files that the bundle was
    built from, the test file last.

    The format says by which rules texts are cleaned (`consumer.model.texts.cleaning`); nothing else differs. An earlier
    version of the worker refuses a format that it does not know.
    """

    format: TextRules = 1
    name: str = Field(pattern=NAME)
    version: str = Field(pattern=r"^[a-zA-Z0-9.+_-]{1,64}$")
    created: AwareDatetime
    base_model: str
    labels: tuple[str, ...] = Field(min_length=2)
    max_length: int = Field(ge=8, le=MAX_LENGTH)
    truncation: Truncation
    windows: Windows | None = None
    parameters: int = Field(ge=1)
    variants: dict[str, Variant] = Field(min_length=1)
    served: str
    training_data: tuple[Source, ...] = ()
    measured_only: dict[str, Accuracy] = {}
    calibration: Calibration | None = None
    files: dict[RelativePath, FileSum]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.served not in self.variants:
            raise ValueError(f"served variant {self.served!r} is not among the variants {sorted(self.variants)}")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels repeat")
        _ = self.reading  # raises if truncation and windows contradict each other
        needed = {TOKENIZER, GOLDEN}.union(*(variant.files for variant in self.variants.values()))
        if missing := sorted(needed - set(self.files)):
            raise ValueError(f"no checksum for {missing}")
        return self

    @property
    def reading(self) -> Reading:
        """What the model reads of a text."""
        return Reading(self.max_length, self.truncation, self.windows, text_rules=self.format)

    @property
    def scaling(self) -> Scaling:
        """What makes probabilities of logits; without calibration, softmax alone."""
        return self.calibration.scaling if self.calibration else PLAIN

    @property
    def learnt_from(self) -> tuple[Source, ...]:
        """The files that the model was trained on: the training file first, then texts without labels.

        A bundle that lists a single file was trained on it.
        """
        return self.training_data[:-1] or self.training_data


class GoldenText(Part):
    """A text and, per variant, the calibrated probability of each label, recorded when the bundle was built."""

    text: str
    probabilities: dict[str, dict[str, Annotated[float, Field(ge=0, le=1)]]]


class Golden(Part):
    """golden.json. `tolerance` is the largest allowed absolute difference of a probability, per variant.

    int8 results depend on the processor and on the other texts of a batch (differences of 6e-3 were measured), so no
    tolerance is smaller than that.
    """

    tolerance: dict[str, Annotated[float, Field(gt=0, le=0.1)]]
    texts: tuple[GoldenText, ...] = Field(min_length=1)
