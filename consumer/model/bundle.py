"""The model bundle: the one thing that training and the worker share, and what makes it trustworthy.

    manifest.json     name, labels, truncation, precision variants, accuracy, calibration, SHA-256 of every other file
    tokenizer.json    Hugging Face tokenizer
    golden.json       texts with the probabilities that each variant must give
    openvino/*.xml,*.bin, model.safetensors + config.json    the weights, per variant

Nothing in a bundle is executed or unpickled.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from consumer.errors import BundleError
from consumer.model.encoder import Truncation, Windows, check_windows

MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
GOLDEN = "golden.json"

#: Tokens that a model may be asked to read at once.
MAX_LENGTH = 8192

#: What a model may be called.
NAME = r"^[a-zA-Z0-9._-]{1,64}$"

Precision = Literal["int8", "bf16", "fp32"]
EngineName = Literal["openvino", "torch"]


#: Suffixes of the files that each engine reads. `pytorch_model.bin` and the like are pickles and never among them.
_WEIGHTS: dict[EngineName, list[str]] = {"openvino": [".bin", ".xml"], "torch": [".json", ".safetensors"]}


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ValueError("must be a relative path inside the bundle")
    return path


RelativePath = Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]{1,200}$"), AfterValidator(_inside)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


_AnyPart = TypeVar("_AnyPart", bound=_Part)


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
    files: tuple[RelativePath, ...]
    accuracy: Accuracy | None = None

    @model_validator(mode="after")
    def _never_a_pickle(self) -> Self:
        if sorted(PurePosixPath(name).suffix for name in self.files) != _WEIGHTS[self.engine]:
            raise ValueError(f"the {self.engine} engine reads one file each of {' and '.join(_WEIGHTS[self.engine])}")
        return self


class Source(_Part):
    """A data file that the model was made from."""

    file: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    rows: int = Field(ge=0)


class Calibration(_Part):
    """What makes probabilities mean what they say, fitted on reviews that the model was not trained on.

    Logits are divided by `temperature` (Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2). A
    prediction whose probability is below `threshold` is unsure: of the `data` rows at or above it at least
    `target_precision` were right, and `unsure` is the share below it. Both are None where no threshold reaches that.
    Fitted on the answers of `variant`, served with every variant. `ece_before` and `ece_after` are the expected
    calibration errors on the same rows.
    """

    temperature: float = Field(ge=0.01, le=100)
    threshold: float | None = Field(default=None, ge=0, le=1)
    target_precision: float = Field(gt=0, lt=1)
    unsure: float | None = Field(default=None, ge=0, le=1)
    ece_before: float = Field(ge=0, le=1)
    ece_after: float = Field(ge=0, le=1)
    variant: str
    data: Source


class Manifest(_Part):
    """manifest.json. `labels[i]` names the i-th logit; `served` is the variant served by default.

    `measured_only` has the accuracy of variants that were measured when the bundle was made but are not shipped in it.
    Without `calibration` the probabilities are those of the model as it was trained, and no prediction is unsure.
    `windows` are for `truncation` by windows of `max_length` tokens. `training_data` names the files that the bundle
    was made from, the test file last.
    """

    format: Literal[1] = 1
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
        check_windows(self.truncation, self.windows)
        needed = {TOKENIZER, GOLDEN}.union(*(variant.files for variant in self.variants.values()))
        if missing := sorted(needed - set(self.files)):
            raise ValueError(f"no checksum for {missing}")
        return self

    @property
    def learnt_from(self) -> tuple[Source, ...]:
        """The files that the model was trained on: the training file first, then texts without labels.

        A bundle that names one file alone has learnt that.
        """
        return self.training_data[:-1] or self.training_data


class GoldenText(_Part):
    """A text and, per variant, the probability of each label, calibrated, as given when the bundle was made."""

    text: str
    probabilities: dict[str, dict[str, Annotated[float, Field(ge=0, le=1)]]]


class Golden(_Part):
    """golden.json. `tolerance` is the largest allowed absolute difference of a probability, per variant.

    int8 kernels differ between processors and with batch-mates (seen: 6e-3), so a tolerance is no smaller than that.
    """

    tolerance: dict[str, Annotated[float, Field(gt=0, le=0.1)]]
    texts: tuple[GoldenText, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose every listed file is present and unchanged; `digest` is the SHA-256 of its manifest, in hex."""

    path: Path
    manifest: Manifest
    golden: Golden
    tokenizer_json: str
    digest: str

    def variant(self, name: str | None) -> tuple[str, Variant]:
        """The variant called `name`, or the one served by default.

        Raises:
            BundleError: there is no such variant.
        """
        name = name or self.manifest.served
        if name not in self.manifest.variants:
            raise BundleError(
                f"{self.path} has no variant {name!r}; it has {', '.join(sorted(self.manifest.variants))}"
            )
        return name, self.manifest.variants[name]


def load_bundle(path: Path) -> Bundle:
    """Read and verify the bundle at `path`.

    Every file that the manifest lists has to be there, for a bundle with a hole was copied badly. Files that it does
    not list are ignored and never opened: version control, volumes and file managers leave their own behind.

    Raises:
        BundleError: naming the file that is missing, changed or cannot be understood, and what to do.
    """
    if not path.exists() and (aside := replaced_path(path)).is_dir():
        raise BundleError(f"{path} was moved to {aside} by a command that was killed while replacing it; move it back")
    if not path.is_dir():
        raise BundleError(f"bundle {path} is not a directory; make one with review-training fit, or name another")
    path = path.resolve()  # a link that is moved on meanwhile would give the weights of another bundle
    if not (path / MANIFEST).exists():
        raise BundleError(
            f"{path} has no {MANIFEST}, so it is not a bundle; a Hugging Face checkpoint becomes one with "
            "review-training fit"
        )
    manifest_bytes = _read(path, MANIFEST)
    manifest = _understood(path, MANIFEST, Manifest, manifest_bytes)
    for name, expected in manifest.files.items():
        _verify(path, name, expected)
    golden = _understood(path, GOLDEN, Golden, _read(path, GOLDEN))
    if missing := set(manifest.variants) - set(golden.tolerance):
        raise BundleError(
            f"{path / GOLDEN} has no golden answers for {', '.join(sorted(missing))}; make the bundle anew"
        )
    try:
        tokenizer_json = _read(path, TOKENIZER).decode()
    except UnicodeDecodeError:
        raise BundleError(f"{path / TOKENIZER} is not UTF-8; make the bundle anew") from None
    return Bundle(path, manifest, golden, tokenizer_json, hashlib.sha256(manifest_bytes).hexdigest())


def replaced_path(path: Path) -> Path:
    """Where training keeps the bundle at `path` while it replaces it."""
    return path.with_name(f".{path.name}.old") if path.name else path


def _verify(path: Path, name: str, expected: FileSum) -> None:
    try:
        # A link could point at anything that this user may read; a pipe would block.
        real = (path / name).resolve(strict=True)
        if not real.is_relative_to(path.resolve()) or not real.is_file():
            raise BundleError(f"{path / name} is not a file inside the bundle; copy the bundle again")
        size = real.stat().st_size
        if size != expected.bytes:
            raise BundleError(
                f"{path / name} has {size} bytes, not the {expected.bytes} of the manifest; copy the bundle again"
            )
        with real.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        reason = getattr(error, "strerror", None) or "its links lead in a circle"
        raise BundleError(f"{path / name} cannot be read ({reason}); copy the bundle again") from error
    if found != expected.sha256:
        raise BundleError(f"{path / name} was changed: its SHA-256 is not the manifest's; copy the bundle again")


def _read(path: Path, name: str) -> bytes:
    try:
        return (path / name).read_bytes()
    except OSError as error:
        raise BundleError(f"{path / name} cannot be read ({error.strerror}); copy the bundle again") from error


def _understood(path: Path, name: str, model: type[_AnyPart], content: bytes) -> _AnyPart:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
    if any(problem["loc"] == ("format",) for problem in problems):
        raise BundleError(f"{path / name} has a format that this version does not know; upgrade review-consumer")
    where = " ".join(".".join(map(str, problems[0]["loc"])).split())[:100] or "file"
    what = problems[0]["msg"].removeprefix("Value error, ")
    raise BundleError(f"{path / name} cannot be understood ({where}: {what}); make the bundle anew")
