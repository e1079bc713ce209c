"""Files that a command writes: what cannot be written is said in one line, if possible before the work."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from consumer.errors import GaveUp, UsageError
from training.io.names import check_utf8

#: What Python and safetensors raise where a file cannot be written.
UNWRITTEN = (OSError, SafetensorError)


def check_file(option: str, path: Path) -> None:
    """See that a file can be written to `path`, which `option` names.

    Raises:
        UsageError: it is a directory, stands in none, or may not be written.
    """
    with writing(option, path):  # a name that is too long is heard of at the first look at it
        if path.is_dir():
            raise UsageError(f"{option} {path} is a directory: name a file in it")
        if not path.parent.is_dir():
            raise UsageError(f"{option} {path}: its directory does not exist")
        if path.is_file():
            path.open("ab").close()
        elif not path.exists():  # a pipe would lose its reader again
            with tempfile.TemporaryFile(dir=path.parent):
                pass


def check_not_read(option: str, path: Path, read: Iterable[tuple[str, Path | None]]) -> None:
    """See that writing `path`, which `option` names, spoils nothing of `read`, each with the option that names it.

    Raises:
        UsageError: it is one of these files, or would be in one of these directories.
    """
    for name, each in read:
        if each is None or not each.exists():
            continue
        inside = each.is_dir() and path.resolve().is_relative_to(each.resolve())
        if inside or (path.exists() and path.samefile(each)):
            raise UsageError(f"{option} {path} is {'in' if inside else 'also'} {name} {each}: name another file")


def check_directory(option: str, path: Path) -> None:
    """See that files can be written to the directory `path`, which `option` names and which need not be there yet.

    Raises:
        UsageError: it cannot be made, nothing can be written to it, or its path is not UTF-8.
    """
    check_utf8(str(path.resolve()))  # the library that reads weights opens no other
    with writing(option, path):
        there = next(each for each in (path, *path.parents) if each.exists())
        with tempfile.TemporaryFile(dir=there):
            pass


@contextmanager
def writing(option: str, path: Path) -> Iterator[None]:
    """Raise `UsageError` where writing `path`, which `option` names, fails after all, as on a full disk."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be written ({error.strerror})") from error


@contextmanager
def storing(path: Path, failures: tuple[type[Exception], ...] = UNWRITTEN) -> Iterator[None]:
    """Around a library that writes `path`, and raises one of `failures` where it cannot.

    Raises:
        GaveUp: in the place of these, as on a full disk.
    """
    try:
        yield
    except failures as error:
        raise GaveUp(
            f"{path} cannot be written ({getattr(error, 'strerror', None) or error}): free some space or mend its "
            "directory; the same command then goes on from what is there"
        ) from error


@contextmanager
def whole(path: Path, suffix: str = ".partial") -> Iterator[Path]:
    """A file beside `path`, whose directory is made, that takes its place at the end.

    `suffix` is added to its name; where several processes write to `path`, it has to differ between them.

    Raises:
        GaveUp: it cannot be written, as on a full disk; what was at `path` is still there.
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
