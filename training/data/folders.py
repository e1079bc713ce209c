"""Labelled reviews in the layout of aclImdb: a folder of text files for each label."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from consumer.errors import UsageError
from consumer.tables.names import FILE_TEXT, FOLDER
from consumer.tables.table import Table
from training.io.names import check_utf8

#: Folder of aclImdb with unlabelled reviews.
UNLABELLED_FOLDER = "unsup"

#: Folders of aclImdb that are data sets of their own.
SPLITS = ("train", "test")

#: Columns of the table that a directory becomes. The stars are present if every file name has them.
STARS = "stars"

#: How aclImdb names its files: a number, and the stars that came with the review.
_NAME_WITH_STARS = re.compile(r"\d+_(\d+)\.txt")


def read_directory(path: Path, encoding: str | None = None) -> Table:
    """A directory in the layout of aclImdb: below it a folder of .txt files for each label, or a split with those.

    The files are in `encoding`; None: UTF-8.
    """
    classes = _class_folders(path)
    splits = [path / name for name in SPLITS if _class_folders(path / name)]
    if len(splits) + bool(classes) > 1:
        found = ", ".join(folder.name for folder in (*splits, *classes))
        raise UsageError(f"{path} holds {found}: name one of them, as in {splits[0]}")
    if splits:
        path, classes = splits[0], _class_folders(splits[0])
    if not classes:
        raise UsageError(f"{path} has no folders with .txt files; it needs one for each label, such as pos/ and neg/")
    # By name of the file, not of the folder: a sample from the start of the table has every label.
    files = sorted((file for folder in classes for file in _texts(folder)), key=lambda f: (f.name, f.parent.name))
    names = [file.relative_to(path).as_posix() for file in files]
    contents = [file.read_bytes() for file in files]
    columns: dict[str, list[object]] = {
        FILE_TEXT: [content.decode(encoding or "utf-8-sig", "surrogateescape") for content in contents],
        FOLDER: [file.parent.name for file in files],
    }
    stars = [named[1] for file in files if (named := _NAME_WITH_STARS.fullmatch(file.name))]
    if len(stars) == len(files):
        columns[STARS] = list(stars)
    return Table(columns, list(names), sha256=files_sha256(zip(names, contents, strict=True)))


def has_class_folders(path: Path) -> bool:
    """Whether the directory `path` has folders of texts for labels, or a split that has them."""
    return any(_class_folders(folder) for folder in (path, *(path / name for name in SPLITS)))


def _class_folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    folders = (folder for folder in sorted(path.iterdir()) if folder.is_dir() and folder.name != UNLABELLED_FOLDER)
    return [folder for folder in folders if not folder.name.startswith(".") and any(_texts(folder))]


def _texts(folder: Path) -> Iterator[Path]:
    """Its texts; what is hidden belongs to file systems and tools."""
    return (path for path in folder.glob("*.txt") if not path.name.startswith("."))


def files_sha256(files: Iterable[tuple[str, bytes]]) -> str:
    """One SHA-256 for many files: of the lines "SHA-256 of the content, name"."""
    total = hashlib.sha256()
    for name, content in files:
        check_utf8(name)
        total.update(f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode())
    return total.hexdigest()
