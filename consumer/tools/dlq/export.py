"""`dlq export FILE`: dead letters as a CSV, JSON Lines or Parquet file."""

import argparse
import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from consumer.errors import UsageError
from consumer.tools.dlq.rows import FACTS, Content, add_content, facts
from consumer.tools.dlq.selection import Selection, add_selection, dead_letters
from consumer.tools.options import settings_of
from consumer.tools.output import progress

FORMATS = ("csv", "jsonl", "parquet")
#: Rows of a row group of Parquet, which is what is held in memory.
GROUP_ROWS = 5000
STEP = 500
Row = dict[str, object]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to, which ones, and which parts of them."""
    parser.add_argument("file", metavar="FILE", help="file to write; - writes CSV or JSON Lines to stdout")
    parser.add_argument(
        "--format", choices=FORMATS, help="format of the file [default: by the end of its name; jsonl for -]"
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")
    add_selection(parser)
    add_content(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the file; it appears under its name when it is complete.

    Raises:
        UsageError: the file exists, cannot be written, or has no known format.
    """
    selection, content = Selection.of(arguments), Content.of(arguments)
    form = _format(arguments)
    settings = settings_of(arguments)
    with dead_letters(settings) as reader, _writer(arguments.file, form, content, force=arguments.force) as write:
        count = 0
        with progress("exporting", selection.count) as advance:
            for count, letter in enumerate(selection.read(reader), 1):
                write({**facts(letter), **content.row(letter)})
                if count % STEP == 0:
                    advance(STEP)
    if arguments.file != "-":
        left_out = "" if content.columns else "; without their content, see --key, --value and --headers"
        sys.stderr.write(f"{count:,} dead letters in {arguments.file}{left_out}\n")
    return 0


def _format(arguments: argparse.Namespace) -> str:
    form = arguments.format or ("jsonl" if arguments.file == "-" else Path(arguments.file).suffix.removeprefix("."))
    if form not in FORMATS:
        raise UsageError(f"the name of the file must end in one of .{', .'.join(FORMATS)}; or set --format")
    if form == "parquet" and arguments.file == "-":
        raise UsageError("Parquet cannot be written to stdout; name a file")
    return str(form)


@contextmanager
def _writer(name: str, form: str, content: Content, *, force: bool) -> Iterator[Callable[[Row], object]]:
    columns = (*FACTS, *content.columns)
    if name == "-":
        with _text_writer(sys.stdout, form, columns) as write:
            yield write
        sys.stdout.flush()
        return
    path = Path(name)
    if path.exists() and not force:
        raise UsageError(f"{name} exists; add --force to replace it")
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        # Dead letters may hold personal data: the file is for its owner alone until they decide otherwise.
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UsageError(f"{name} cannot be written ({error.strerror}); choose another place") from error
    try:
        if form == "parquet":
            os.close(descriptor)
            with _parquet_writer(partial, columns) as write:
                yield write
        else:
            with (
                os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file,
                _text_writer(file, form, columns) as write,
            ):
                yield write
        partial.replace(path)
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


@contextmanager
def _text_writer(file: IO[str], form: str, columns: tuple[str, ...]) -> Iterator[Callable[[Row], object]]:
    if form == "jsonl":
        yield lambda row: print(json.dumps(row), file=file)
        return
    table = csv.DictWriter(file, columns, lineterminator="\n")
    table.writeheader()
    yield lambda row: table.writerow({name: _cell(value) for name, value in row.items()})


@contextmanager
def _parquet_writer(path: Path, columns: tuple[str, ...]) -> Iterator[Callable[[Row], object]]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError("Parquet needs the extra: pip install 'review-consumer[parquet]'") from error
    numbers = {"partition", "offset", "byte", "bytes", "attempts", "source_partition", "source_offset"}
    schema = pa.schema([(name, pa.int64() if name in numbers else pa.string()) for name in columns])
    rows: list[Row] = []
    with parquet.ParquetWriter(path, schema, compression="zstd") as file:

        def flush() -> None:
            file.write_table(pa.Table.from_pylist(rows, schema=schema))
            rows.clear()

        def write(row: Row) -> None:
            rows.append({name: value if name in numbers else _cell(value) for name, value in row.items()})
            if len(rows) >= GROUP_ROWS:
                flush()

        yield write
        flush()


def _cell(value: Any) -> Any:
    """Nested values as JSON, for formats whose cells are text."""
    return value if value is None or isinstance(value, str | int) else json.dumps(value)
