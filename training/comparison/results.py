"""What was measured of each model, and the file that keeps it: `compare.json`."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from consumer.errors import UsageError
from consumer.model.bundle.manifest import Source
from training.io.output import whole

RESULTS = "compare.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Result(_Part):
    """One model on all test rows.

    `identity` is what determines it next to the data: settings, seed, and the SHA-256 of what it started from.
    `interval` is the 95 % Wilson interval of the accuracy. `training_seconds` is None where nothing was trained here.
    `reviews_per_second` was timed on `cores` cores of a CPU; `bytes` is what answering needs on disk.
    """

    name: str
    identity: dict[str, Any]
    rows: int = Field(ge=1)
    accuracy: float = Field(ge=0, le=1)
    interval: tuple[float, float]
    log_loss: float
    failed: int = Field(ge=0)
    parameters: int = Field(ge=1)
    training_seconds: float | None
    reviews_per_second: float = Field(gt=0)
    bytes: int = Field(ge=1)
    cores: int = Field(ge=1)
    note: str = ""


class Majority(_Part):
    """The most frequent label of the test rows, and the accuracy of a model that always answers it."""

    label: str
    accuracy: float = Field(ge=0, le=1)


class Claims(_Part):
    """DistilBERT against BERT, as measured: shares of BERT's parameters, times and accuracy."""

    parameters_less: float
    training_time_less: float
    speed_up: float
    accuracy_kept: float


class Comparison(_Part):
    """compare.json: the same rows for every result. `limit` of the rows of each file were drawn with `seed`.

    What was left out before, as leaked texts are, decides what is drawn: only the sums tell that the rows are the same.
    `test_share`: the test rows are that share of the training file, held out of it, and not an independent file.
    """

    format: Literal[2] = 2
    train: Source
    test: Source
    train_rows_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    test_rows_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    labels: tuple[str, ...]
    columns: dict[str, str | None] = {}
    test_share: float | None = None
    limit: int | None
    seed: int
    skipped: dict[str, str] = {}
    majority: Majority | None = None
    results: tuple[Result, ...] = ()
    distilbert_against_bert: Claims | None = None

    def same_data(self, other: "Comparison") -> bool:
        """Whether both are about the same rows."""
        rows = {"sha256", "rows"}
        names: Any = {"train": rows, "test": rows, "labels": ..., "columns": ..., "limit": ..., "seed": ...}
        names |= {"train_rows_sha256": ..., "test_rows_sha256": ...}
        return self.model_dump(include=names) == other.model_dump(include=names)

    @property
    def measured_on(self) -> str:
        """What measured, in words that follow those about the training file."""
        if self.test_share is None:
            return f"{self.test.rows} rows of `{self.test.file}`"
        return f"{self.test.rows} other rows of the same file (held out with seed {self.seed}, not an independent file)"

    def find(self, name: str) -> Result | None:
        """The result called `name`."""
        return next((result for result in self.results if result.name == name), None)

    def with_result(self, result: Result) -> "Comparison":
        """The same with `result` in the place of an earlier one of that name, or at the end."""
        names = [earlier.name for earlier in self.results]
        results = [result if earlier.name == result.name else earlier for earlier in self.results]
        results += [] if result.name in names else [result]
        return self.model_copy(update={"results": tuple(results)}).with_claims()

    def with_claims(self) -> "Comparison":
        """The same with DistilBERT set against BERT, where both were trained."""
        bert, small = self.find("bert"), self.find("distilbert")
        if not (bert and small and bert.training_seconds and small.training_seconds is not None and bert.accuracy):
            return self.model_copy(update={"distilbert_against_bert": None})
        claims = Claims(
            parameters_less=1 - small.parameters / bert.parameters,
            training_time_less=1 - small.training_seconds / bert.training_seconds,
            speed_up=small.reviews_per_second / bert.reviews_per_second,
            accuracy_kept=small.accuracy / bert.accuracy,
        )
        return self.model_copy(update={"distilbert_against_bert": claims})


def read_results(directory: Path) -> Comparison | None:
    """What `write_results` wrote; None if there is nothing.

    Raises:
        UsageError: the file is something else, damaged, or of another version.
    """
    path = directory / RESULTS
    try:
        return Comparison.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        if isinstance(error, ValidationError) and any(each["loc"] == ("format",) for each in error.errors()):
            raise UsageError(
                f"{path} was written by another version and cannot be compared with: remove that directory, or name "
                "another --out"
            ) from error
        raise UsageError(f"{path} cannot be read: remove it, or name another --out") from error


def write_results(directory: Path, comparison: Comparison) -> None:
    """Write `compare.json`; an earlier one stays whole until it is replaced.

    Raises:
        GaveUp: it cannot be written, for example because the disk is full.
    """
    content = json.dumps(comparison.model_dump(mode="json"), ensure_ascii=False, indent=1)
    with whole(directory / RESULTS) as partial:
        partial.write_text(content + "\n", encoding="utf-8")
