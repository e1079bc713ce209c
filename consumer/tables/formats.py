"""The formats that are read, by the suffix of a file's name."""

from pathlib import Path

from consumer.errors import UsageError
from consumer.tables.files import format_of, is_compressed
from consumer.tables.grids import WORKBOOKS

GRIDS = (*WORKBOOKS, ".csv", ".tsv")
JSON = (".jsonl", ".ndjson", ".json")
PARQUET = ".parquet"

#: The formats that are read as they are unpacked.
TEXT_FORMATS = (".csv", ".tsv", *JSON, ".txt")

#: What a message lists.
SUPPORTED = ".xlsx, .xlsm, .xls, .xlsb, .ods, .csv, .tsv, .jsonl, .json, .parquet"


def check_compression(path: Path) -> None:
    """Raise `UsageError` if `path` is compressed and of a format that cannot be read as it is unpacked."""
    if is_compressed(path) and format_of(path) not in TEXT_FORMATS:
        raise UsageError(
            f"{path} cannot be read as {path.suffix}: unpack it; {', '.join(TEXT_FORMATS)} can be compressed"
        )
