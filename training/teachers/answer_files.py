"""Answers of a teacher as data: parquet files that hold digests of texts and logits, and no text.

`OUT/part-00001.parquet` and so on are the shards of one call of `review-training answer`. Columns:

    digest       the first 8 bytes of the SHA-256 of the text, normalised as docs/texts.md says which texts are the same
    logit_LABEL  one column for each label after the first, float16 or float32: the logit minus that of the first label.
                 No softmax sees what is subtracted, so the first label needs no column. NaN: the teacher failed

The metadata of each file has, under `review-answers`, a `Header` in JSON: the teacher, how it read the texts, which
files they are from, and which rows were left out. The same shard always has the same bytes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from consumer.errors import UsageError
from consumer.model.bundle.manifest import Source
from training.data.duplicates import DIGEST_BYTES, Digests
from training.io.output import whole
from training.loop.checkpoint import differences
from training.settings import Numbers
from training.teachers.teacher import Answers

#: The key of the header in the metadata of a file.
KEY = b"review-answers"

SHARD_NAME = "part-{:05d}.parquet"
SHARDS = "part-*.parquet"

_HEX = r"^[0-9a-f]{64}$"


class HeldOut(BaseModel):
    """How rows were drawn that got no answer, because a student holds them out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    calibration_share: float
    validation_share: float


class Header(BaseModel):
    """What the answers of one call depend on.

    `settings` is the rest of the key of `training.teachers.teacher.Teacher`: how the teacher read the texts, and what
    it computed with. The logits are scaled by `temperature` and `sharpening` already. `trained_on` is what the teacher
    was trained on, as far as it says. `data` has the rows that were asked for, `tests` the files whose texts were left
    out. `texts` is the number of all texts of the call, and `texts_sha256` that of these in their order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    version: str
    teacher: str
    teacher_sha256: str = Field(pattern=_HEX)
    labels: tuple[str, ...] = Field(min_length=2)
    settings: dict[str, Any]
    temperature: float
    sharpening: float = 0
    trained_on: tuple[Source, ...] = ()
    data: tuple[Source, ...]
    tests: tuple[Source, ...] = ()
    held_out: HeldOut | None
    texts: int = Field(ge=1)
    texts_sha256: str = Field(pattern=_HEX)
    shard_rows: int = Field(ge=1)
    numbers: Numbers

    def identity(self) -> dict[str, Any]:
        """What has to be the same for all files of a call; versions and names of files may differ."""
        found = self.model_dump(mode="json", exclude={"version", "teacher"})
        for part in ("data", "tests", "trained_on"):
            found[part] = [source["sha256"] for source in found[part]]
        return found


class AnswerFiles:
    """The shards of one call of `review-training answer`; see `training.teachers.shards.Shards`.

    Args:
        directory: where they are.
        header: of the call.
        digests: of all its texts, in order.

    Raises:
        UsageError: the directory has answers of another call, which may be hours of work, and are kept.
    """

    def __init__(self, directory: Path, header: Header, digests: Digests) -> None:
        self.size = header.shard_rows
        self._directory, self._header, self._digests = directory, header, digests
        for path in sorted(directory.glob(SHARDS)):
            found = read_header(path)
            if found is None:  # damaged: it is asked for again
                continue
            if differing := differences(found.identity(), header.identity()):
                raise UsageError(
                    f"{path} has answers with another {', '.join(differing)}: give the same command again to resume "
                    "it, or name another --out"
                )

    def path(self, start: int) -> Path:
        """The file of the shard that begins with text `start`."""
        return self._directory / SHARD_NAME.format(start // self.size + 1)

    def read(self, start: int) -> Answers | None:
        """The answers in a shard; None if it is missing or damaged, or has those to other texts."""
        path = self.path(start)
        if read_header(path) is None:
            return None
        try:
            digests, logits = read_columns(path, self._header.labels)
        except (OSError, pa.ArrowException):
            return None
        expected = self._digests[start : start + self.size]
        return Answers(logits) if np.array_equal(digests, expected) else None

    def write(self, start: int, answers: Answers) -> None:
        """Write a shard, whole or not at all."""
        header = self._header
        digests = self._digests[start : start + len(answers.logits)].astype(">u8").tobytes()
        kind = np.dtype(header.numbers)
        above_first = (answers.logits - answers.logits[:, :1]).astype(kind)
        columns = {
            "digest": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(DIGEST_BYTES), len(answers.logits), [None, pa.py_buffer(digests)]
            )
        }
        for number, label in enumerate(header.labels[1:], start=1):
            columns[_column(label)] = pa.array(above_first[:, number], type=pa.from_numpy_dtype(kind))
        table = pa.table(columns)
        plain = {"compression": "none", "use_dictionary": False, "write_statistics": False, "store_schema": False}
        # Always the same name beside it: a kill leaves one file, which is overwritten.
        with whole(self.path(start)) as partial, pq.ParquetWriter(partial, table.schema, **plain) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({KEY: header.model_dump_json()})

    def count(self) -> int:
        """The number of shards that are there, whole."""
        return sum(self.read(start) is not None for start in range(0, len(self._digests), self.size))

    def size_in_bytes(self) -> int:
        """Of all shards together."""
        return sum(path.stat().st_size for path in self._directory.glob(SHARDS))


def read_header(path: Path) -> Header | None:
    """The header of the file `path`; None if it is missing or damaged.

    Raises:
        UsageError: it is a parquet file of another kind, or of another version.
    """
    try:
        metadata = pq.read_metadata(path).metadata or {}
    except (OSError, pa.ArrowException):
        return None
    if KEY not in metadata:
        raise UsageError(f"{path} has no answers of review-training answer: name a file or directory that it wrote")
    try:
        return Header.model_validate_json(metadata[KEY])
    except ValidationError as error:
        raise UsageError(f"{path} was written by another version: ask the teacher again, to another --out") from error


def read_columns(path: Path, labels: Sequence[str]) -> tuple[Digests, np.ndarray]:
    """The digests of `path`, (rows,), and the logits of `labels`, (rows, labels), in fp32.

    Raises:
        OSError, pyarrow.ArrowException: it is damaged.
    """
    table = pq.read_table(path)
    sums = b"".join(table["digest"].to_pylist())
    logits = np.zeros((table.num_rows, len(labels)), dtype=np.float32)
    for number, label in enumerate(labels[1:], start=1):
        logits[:, number] = table[_column(label)].to_numpy()
    return np.frombuffer(sums, dtype=">u8").astype(np.uint64), logits


def _column(label: str) -> str:
    return f"logit_{label}"
