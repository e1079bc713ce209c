"""Files that a command writes for the user: what cannot be written is said in one line, if possible before the work."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from consumer.errors import UsageError


def check_file(option: str, path: Path) -> None:
    """See that a file can be written to `path`, which `option` names.

    Raises:
        UsageError: it is a directory, or stands in none.
    """
    with writing(option, path):  # a name that is too long is heard of at the first look at it
        if path.is_dir():
            raise UsageError(f"{option} {path} is a directory: name a file in it")
        if not path.parent.is_dir():
            raise UsageError(f"{option} {path}: its directory does not exist")


@contextmanager
def writing(option: str, path: Path) -> Iterator[None]:
    """Raise `UsageError` where writing `path`, which `option` names, fails after all, as on a full disk."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be written ({error.strerror})") from error
