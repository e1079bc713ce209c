"""Texts of many files and folders, labelled or not: each once, and none that a file to measure on holds."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from consumer.errors import UsageError
from consumer.tables.files import format_of, refusing
from consumer.tables.formats import GRIDS, JSON, PARQUET
from consumer.tables.grids import open_grid
from consumer.tables.json_files import read_json
from consumer.tables.names import LABEL_NAMES, find_column
from consumer.tables.text_values import text_or_reason
from training.data.duplicates import normalised_all
from training.data.folders import files_sha256, has_class_folders
from training.data.prepare import DataOptions, check_leaks, read_and_report
from training.data.reviews import Reviews
from training.data.unlabeled import NONE, read_only_texts


def is_labelled(path: Path, options: DataOptions) -> bool:
    """Whether `path` has labels: a column of them by its name, or a folder of texts for each.

    Raises:
        UsageError: it does not exist or cannot be opened.
    """
    if not path.exists():
        raise UsageError(f"{path} does not exist")
    if path.is_dir():
        return has_class_folders(path)
    return find_column(_columns(path, options), options.columns.label, LABEL_NAMES) is not None


def read_corpus(path: Path, options: DataOptions, say: Callable[[str], None]) -> Reviews:
    """The texts of a file, or of a folder of .txt files that each hold one text; labels count for nothing.

    Raises:
        UsageError: it cannot be read, lacks the column, or has no text.
    """
    if path.is_dir() and has_class_folders(path):
        found = read_and_report(path, say, options, learned=False)
        return replace(found, labels=(NONE,) * len(found))
    if path.is_dir():
        return _folder(path, options, say)
    return read_only_texts(path, options.columns.text, options, say)


def without_repeats(
    parts: Sequence[Reviews], known: Iterable[Sequence[str]], say: Callable[[str], None]
) -> list[Reviews]:
    """`parts` with each text once, and without the texts in `known`; what is left out is reported."""
    seen = {key for texts in known for key in normalised_all(texts)}
    left: list[Reviews] = []
    for part in parts:
        rows: list[int] = []
        for row, key in enumerate(normalised_all(part.texts)):
            if key not in seen:
                seen.add(key)
                rows.append(row)
        if len(rows) < len(part):
            say(f"{part.path.name}: {len(part) - len(rows)} texts left out, which repeat others")
        left.append(part.only(rows))
    return left


def without_tests(part: Reviews, tests: Sequence[Reviews], options: DataOptions, say: Callable[[str], None]) -> Reviews:
    """`part` without texts that are, exactly or nearly, in one of the `tests`; how many is reported.

    Raises:
        UsageError: `part` is one of these files, or holds more of their texts than `options` allow.
    """
    left = part
    for test in tests:
        check_no_test_file(part, test)
        if not len(left):
            break
        leaks = check_leaks(left, test, options, say, what=part.path.name)
        if leaks:
            say(f"{len(leaks.train_rows)} texts of {part.path.name} are left out for it")
            left = left.only(row for row in range(len(left)) if row not in leaks.train_rows)
    return left


def check_no_test_file(part: Reviews, test: Reviews) -> None:
    """Raise `UsageError` if `part` is the file `test`, under whatever name."""
    if part.sha256 == test.sha256:
        raise UsageError(
            f"{part.path} is the test file {test.path}: a model that has learned from its texts cannot be measured on "
            "them; leave it out"
        )


def _columns(path: Path, options: DataOptions) -> Sequence[str]:
    """The names of the columns of a table; none for lines of text."""
    suffix = format_of(path)
    with refusing(path):
        if suffix in GRIDS:
            with open_grid(path, options.table, None, options.columns.text) as grid:
                return grid.header.names
        if suffix in JSON:
            return list(read_json(path, options.table).columns)
        if suffix == PARQUET:
            import pyarrow.parquet

            names: list[str] = pyarrow.parquet.read_schema(path).names
            return names
    return ()


def _folder(path: Path, options: DataOptions, say: Callable[[str], None]) -> Reviews:
    files = sorted(file for file in path.glob("*.txt") if not file.name.startswith("."))
    if not files:
        raise UsageError(f"{path} has no .txt files: give a folder in which each holds one text, or name its files")
    contents = [file.read_bytes() for file in files]
    found = [
        (file.name, text_or_reason(content.decode(options.table.encoding or "utf-8-sig", "surrogateescape"))[0])
        for file, content in zip(files, contents, strict=True)
    ]
    usable = [(name, text) for name, text in found if text is not None]
    if not usable:
        raise UsageError(f"{path} has no usable text: its {len(files)} files are empty or not UTF-8")
    if len(usable) < len(found):
        say(f"{path.name}: {len(found) - len(usable)} files left out: empty, or not UTF-8")
    sums = files_sha256(zip((file.name for file in files), contents, strict=True))
    texts = tuple(text for _, text in usable)
    return Reviews(path, sums, texts, (NONE,) * len(texts), places=tuple(name for name, _ in usable))
