"""The record of a run as JSON: what the model was made from, how, how the training went, and how good the result is.

It holds names and hashes of files, never their directories or texts.
"""

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from consumer.model.bundle.manifest import Source
from training.io.output import whole
from training.loop.curve import Point
from training.loop.state import Epoch
from training.measure.evaluate import Evaluation
from training.settings import Arithmetic, DistilSettings, FitSettings, PackageSettings

#: Its name beside the checkpoints, and in the bundle.
RECORD = "record.json"
BUNDLE_RECORD = "run.json"

DataPart = Literal["train", "unlabeled", "validation", "calibration", "test"]

PACKAGES = ("torch", "transformers", "tokenizers", "openvino", "nncf", "numpy", "scikit-learn", "review-consumer")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BaseRecord(_Part):
    """A base or a teacher of the run.

    `sha256` is that of the weights of a base, of the manifest of a bundle, of all files of another checkpoint, or of
    what determines nbsvm.
    """

    name: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Machine(_Part):
    """What the run was last trained on; `precision` is that of the products in training, from its first step on."""

    device: str
    precision: Arithmetic
    processes: int = Field(ge=1)


class FoldRecord(_Part):
    """One fold of a cross-validation: a model that was trained on the other folds and measured on this one.

    `accuracy` and `log_loss` (nats) are those of the variant that all folds are measured by. Beside them the accuracy
    of `fp32` and `int8` on the same `gate_rows` of the fold.
    """

    fold: int = Field(ge=1)
    train_rows: int = Field(ge=1)
    rows: int = Field(ge=1)
    accuracy: float = Field(ge=0, le=1)
    log_loss: float
    gate_rows: int = Field(ge=1)
    fp32: float = Field(ge=0, le=1)
    int8: float = Field(ge=0, le=1)
    training_seconds: float


class Spread(_Part):
    """Mean and sample standard deviation over the folds."""

    mean: float
    std: float


class FoldsRecord(_Part):
    """A cross-validation. `accuracy` and `log_loss` are over the folds.

    `served` is the variant whose answers these are, in every fold: int8, unless it lost too much over all folds.
    `rows`, `pooled_accuracy` with its 95 % Wilson `interval` and `pooled_log_loss` are those of all out-of-fold
    answers, one for each row.
    """

    folds: tuple[FoldRecord, ...] = Field(min_length=2)
    served: str
    accuracy: Spread
    log_loss: Spread
    rows: int
    pooled_accuracy: float
    interval: tuple[float, float]
    pooled_log_loss: float


class RunRecord(_Part):
    """One run of `review-training fit`, or of `distil`, which also has `teachers`.

    `data` has the rows used: `train` and `unlabeled` to train on, `validation` (of the same file as `train`) to choose
    the epoch, `test` to measure.
    `inherited` is what the base and the teachers were trained on, as far as they say.
    `data_options` say how these files were read and compared, and which columns were found. If they have a
    `test_share`, the `test` rows are that share of the training file, held out of it, and not an independent file.
    `folds` is the cross-validation before it, if there was one. Without a test file it measured the bundle: the `test`
    rows are then all rows of the training file, each answered by a model that was not trained on it.
    `epochs` and `curve` are the curves; the packaged weights are those at the end of `packaged_epoch`.
    `training_seconds` adds up all starts of the run, without the steps that were repeated after a kill. `metrics` are
    those of the variants in the bundle, on the test file; empty until they are measured.
    """

    format: Literal[1] = 1
    created: AwareDatetime
    settings: FitSettings | DistilSettings
    packaging: PackageSettings
    base: BaseRecord
    teachers: tuple[BaseRecord, ...] = ()
    data: dict[DataPart, Source]
    inherited: tuple[Source, ...] = ()
    data_options: dict[str, Any] = {}
    labels: tuple[str, ...]
    versions: dict[str, str]
    machine: Machine
    parameters: int
    trained_parameters: int
    epochs: tuple[Epoch, ...]
    curve: tuple[Point, ...] = ()
    packaged_epoch: float
    training_seconds: float
    metrics: dict[str, dict[str, Any]] = {}
    folds: FoldsRecord | None = None

    @property
    def measured_by_folds(self) -> bool:
        """Whether out-of-fold answers measured the bundle, for want of a test file."""
        return self.folds is not None and self.data["test"].sha256 == self.data["train"].sha256

    def measured(self, evaluations: Mapping[str, Evaluation]) -> "RunRecord":
        """The same record with the final metrics and the current time."""
        metrics = {name: evaluation.as_json() for name, evaluation in evaluations.items()}
        return self.model_copy(update={"metrics": metrics, "created": datetime.now(UTC)})

    def write(self, path: Path) -> None:
        """Write it to `path`; an older record there stays intact until it is replaced."""
        with whole(path) as partial:
            partial.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect the result."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a source tree on the path, not installed
            found[name] = "not installed"
    return found
