"""Files that a command writes. If one cannot be written, one line says so, before the work if possible."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from consumer.errors import GaveUp, UsageError
from training.io.names import check_utf8

#: What Python and safetensors raise if a file cannot be written.
UNWRITTEN = (OSError, SafetensorError)


def check_file(option: str, path: Path) -> None:
    """Check that a file can be written to `path`, the value of `option`.

    Raises:
        UsageError: it is a directory, its directory does not exist, or it may not be written.
    """
    with writing(option, path):  # even `is_dir` fails for a name that is too long
        if path.is_dir():
            raise UsageError(f"{option} {path} is a directory: name a file in it")
        if not path.parent.is_dir():
            raise UsageError(f"{option} {path}: its directory does not exist")
        if path.is_file():
            path.open("ab").close()
        elif not path.exists():  # opening and closing a pipe would end its reader
            with tempfile.TemporaryFile(dir=path.parent):
                pass


def check_not_read(option: str, path: Path, read: Iterable[tuple[str, Path | None]]) -> None:
    """Check that writing `path`, the value of `option`, overwrites nothing in `read`: pairs of an option and its value.

    Raises:
        UsageError: `path` is one of these files, or is inside one of these directories.
    """
    for name, each in read:
        if each is None or not each.exists():
            continue
        inside = each.is_dir() and path.resolve().is_relative_to(each.resolve())
        if inside or (path.exists() and path.samefile(each)):
            raise UsageError(f"{option} {path} is {'in' if inside else 'also'} {name} {each}: name another file")


def check_directory(option: str, path: Path) -> None:
    """Check that files can be written to the directory `path`, the value of `option`, which need not exist yet.

    Raises:
        UsageError: it cannot be created or written to, or its path is not UTF-8.
    """
    check_utf8(str(path.resolve()))  # the library that reads weights opens no other path
    with writing(option, path):
        there = next(each for each in (path, *path.parents) if each.exists())
        with tempfile.TemporaryFile(dir=there):
            pass


@contextmanager
def writing(option: str, path: Path) -> Iterator[None]:
    """Raise `UsageError` if writing `path`, the value of `option`, fails, for example because the disk is full."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be written ({error.strerror})") from error


@contextmanager
def storing(path: Path, failures: tuple[type[Exception], ...] = UNWRITTEN) -> Iterator[None]:
    """Turn the `failures` of code that writes `path` into one line.

    Raises:
        GaveUp: it cannot be written, for example because the disk is full.
    """
    try:
        yield
    except failures as error:
        raise GaveUp(
            f"{path} cannot be written ({getattr(error, 'strerror', None) or error}): free some space or fix its "
            "directory, then run the same command again; if it saves its progress, it resumes"
        ) from error


@contextmanager
def whole(path: Path, suffix: str = ".partial") -> Iterator[Path]:
    """A file beside `path` that replaces it at the end; the directory of `path` is created.

    `suffix` is added to the name of the file. It must differ between processes that write to the same `path`.

    Raises:
        GaveUp: the file cannot be written, for example because the disk is full. What was at `path` is unchanged.
    """
    partial = path.with_name(f"{path.name}{suffix}")
    with storing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            partial.replace(path)
        except UNWRITTEN:
            with suppress(OSError):
                partial.unlink()
            raise


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8.

    Raises:
        GaveUp: it cannot be written, for example because the disk is full.
    """
    with storing(path):
        path.write_text(text, encoding="utf-8")
