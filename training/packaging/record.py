"""The record of a run: from what the model was made, with what, how it went and how good it became, as JSON.

It holds names and sums of files, never their directories or texts.
"""

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from consumer.model.manifest import Source
from training.io.output import whole
from training.loop.state import Epoch
from training.measure.evaluate import Evaluation
from training.settings import DistilSettings, FitSettings, PackageSettings

#: Its name beside the checkpoints, and in the bundle.
RECORD = "record.json"
BUNDLE_RECORD = "run.json"

DataPart = Literal["train", "unlabeled", "validation", "calibration", "test"]

PACKAGES = ("torch", "transformers", "tokenizers", "openvino", "nncf", "numpy", "scikit-learn", "review-consumer")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BaseRecord(_Part):
    """A model that the run started from or learnt from.

    `sha256` is that of the weights of a base, of the manifest of a bundle, and of all files of another checkpoint.
    """

    name: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Machine(_Part):
    """What the run was computed on. `precision` is that of the products while training."""

    device: str
    precision: Literal["fp32", "bf16"]
    processes: int = Field(ge=1)


class RunRecord(_Part):
    """One run of `review-training fit`, or of `distil`, which also has `teachers`.

    `data` has the rows used: `train` is trained on, `unlabeled` too, `validation` (of the same file as `train`) chooses
    the epoch, `test` measures.
    `inherited` is what the base and the teachers had been trained on, as far as they tell.
    `data_options` are how these files were read and compared, with the columns that were found.
    `epochs` are the curves; the weights packaged are those at the end of `packaged_epoch`. `training_seconds` counts
    every process that worked on the run, but not what a kill made it do again. `metrics` are of the variants in the
    bundle, on the test file; empty until they are measured.
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
    packaged_epoch: float
    training_seconds: float
    metrics: dict[str, dict[str, Any]] = {}

    def measured(self, evaluations: Mapping[str, Evaluation]) -> "RunRecord":
        """The same record with the final metrics, of now."""
        metrics = {name: evaluation.as_json() for name, evaluation in evaluations.items()}
        return self.model_copy(update={"metrics": metrics, "created": datetime.now(UTC)})

    def write(self, path: Path) -> None:
        """Write it to `path`; what was there stays whole until it is replaced."""
        with whole(path) as partial:
            partial.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what comes out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a source tree on the path, not installed
            found[name] = "not installed"
    return found
