"""The model bundle: the one thing that training and the worker share, and what makes it trustworthy.

    manifest.json     name, labels, truncation, precision variants, accuracy, SHA-256 of every other file
    tokenizer.json    Hugging Face tokenizer
    golden.json       texts with the probabilities that each variant must give
    openvino/*.xml,*.bin, model.safetensors + config.json    the weights, per variant

Nothing in a bundle is executed or unpickled.
"""

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from consumer.encoder import Encoder, Truncation
from consumer.errors import BundleError

MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
GOLDEN = "golden.json"

Precision = Literal["int8", "bf16", "fp32"]
EngineName = Literal["openvino", "torch"]


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ValueError("must be a relative path inside the bundle")
    return path


RelativePath = Annotated[str, AfterValidator(_inside)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class FileSum(_Part):
    """Size and SHA-256 of one file of the bundle."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Accuracy(_Part):
    """Share of correct labels on a labelled file, measured through the worker's own classifier."""

    file: str
    rows: int = Field(ge=1)
    accuracy: float = Field(ge=0, le=1)
    max_length: int = Field(ge=2)


class Variant(_Part):
    """One precision of the model: which engine reads it, from which files, and how accurate it is.

    `compute` is the precision that the engine multiplies in: the `bf16` variant reads the fp32 weights and computes in
    bf16 where the processor has it.
    """

    engine: EngineName
    compute: Precision
    files: tuple[RelativePath, ...] = Field(min_length=1)
    accuracy: Accuracy | None = None


class Source(_Part):
    """A data file that the model was made from."""

    file: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    rows: int = Field(ge=0)


class Manifest(_Part):
    """manifest.json. `labels[i]` names the i-th logit; `served` is the variant served by default.

    `measured_only` has the accuracy of variants that were measured when the bundle was made but are not shipped in it.
    """

    format: Literal[1] = 1
    name: str = Field(pattern=r"^[a-zA-Z0-9._-]{1,64}$")
    version: str = Field(pattern=r"^[a-zA-Z0-9.+_-]{1,64}$")
    created: AwareDatetime
    base_model: str
    labels: tuple[str, ...] = Field(min_length=2)
    max_length: int = Field(ge=8, le=8192)
    truncation: Truncation
    parameters: int = Field(ge=1)
    variants: dict[str, Variant] = Field(min_length=1)
    served: str
    training_data: tuple[Source, ...] = ()
    measured_only: dict[str, Accuracy] = {}
    files: dict[RelativePath, FileSum]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.served not in self.variants:
            raise ValueError(f"served variant {self.served!r} is not among the variants {sorted(self.variants)}")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels repeat")
        needed = {TOKENIZER, GOLDEN}.union(*(variant.files for variant in self.variants.values()))
        if missing := sorted(needed - set(self.files)):
            raise ValueError(f"no checksum for {missing}")
        return self


class GoldenText(_Part):
    """A text and, per variant, the probability of each label that the model gave when the bundle was made."""

    text: str
    probabilities: dict[str, dict[str, float]]


class Golden(_Part):
    """golden.json. `tolerance` is the largest allowed absolute difference of a probability, per variant.

    int8 kernels differ between processors and with batch-mates (seen: 6e-3), so a tolerance is no smaller than that.
    """

    tolerance: dict[str, float]
    texts: tuple[GoldenText, ...] = Field(min_length=1)
