"""What a run keeps beside its bundle: how much it is, whether it may go, and its removal."""

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from consumer.errors import UsageError
from consumer.model.bundle.manifest import MANIFEST
from training.cross_validation.results import END, ended_with_folds, has_unfinished_folds
from training.encoders.parallel import LOCK
from training.io.output import storing
from training.loop.checkpoint import CHECKPOINT
from training.packaging.record import RECORD

RUN, TEACHERS = ".run", ".teachers"

#: Files that a run writes into its own directory, relative to it, besides `LOCK`; kills leave those with `.partial`.
#: A run with folds has a file for each finished fold, and a directory like its own for the one that is being trained.
_OF_A_RUN = re.compile(
    rf"(fold-\d+/)?({re.escape(CHECKPOINT)}|best-\d+\.safetensors|{re.escape(RECORD)}|answers/[\w.+-]+\.jsonl)"
    rf"(\.\d+)?(\.partial)?|(fold-\d+\.json|{re.escape(END)})(\.partial)?|fold-\d+/({LOCK}|\.?bundle(\.\w+)?/.+)"
)
#: Answers of teachers in their cache.
_OF_A_CACHE = re.compile(r"[0-9a-f]{16}/\d{8}\.safetensors(\.\d+)?(\.partial)?")

_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


@dataclass(frozen=True)
class Leftover:
    """A directory that a run keeps: `files` are those that it wrote, `foreign` what else is there, which is kept.

    `finished`: the bundle was written, so that nothing is resumed from here. `run` is the directory with the lock.
    """

    directory: Path
    what: str
    files: tuple[Path, ...]
    foreign: tuple[Path, ...]
    size: int
    finished: bool
    run: Path

    @property
    def as_line(self) -> str:
        """For the terminal."""
        state = "" if self.finished else "; NOT FINISHED, the same command resumes from it"
        kept = f"; {len(self.foreign)} other files stay" if self.foreign else ""
        return f"{self.directory}: {in_units(self.size)}, {self.what}{state}{kept}"


def leftovers_of(path: Path) -> list[Leftover]:
    """What runs keep: `path` itself, if it is that, and what is beside it, if it is a bundle or was one.

    Raises:
        UsageError: `path` is neither.
    """
    path = Path(str(path))  # without a slash at the end
    beside = [path.with_name(path.name + ending) for ending in (RUN, TEACHERS)]
    found = [left for each in (path, *beside) if (left := _leftover(each))]
    if found:
        return found
    if (path / MANIFEST).is_file():
        return []
    raise UsageError(
        f"{path} is no bundle, no directory of a run and no cache of teachers' answers, and has none beside it: name "
        "the --out, --checkpoints or --teacher-cache of a run"
    )


def remove(left: Leftover) -> None:
    """Remove what the run wrote, and its directories if they are then empty.

    Raises:
        UsageError: a run is active there.
        GaveUp: a file cannot be removed.
    """
    with _unused(left.run), storing(left.directory):
        for file in left.files:
            file.unlink(missing_ok=True)
        inside = {parent for file in left.files for parent in file.parents if parent.is_relative_to(left.directory)}
        for directory in sorted(inside | {left.directory}, key=lambda each: len(each.parts), reverse=True):
            if directory.is_dir() and not any(directory.iterdir()):
                directory.rmdir()


def check_unused(left: Leftover) -> None:
    """Raise `UsageError` if a run is active there."""
    with _unused(left.run):
        pass


def in_units(size: float) -> str:
    """Bytes as people read them."""
    name, unit = next(((name, unit) for name, unit in _UNITS if size >= unit), ("bytes", 1.0))
    return f"{size / unit:.1f} {name}" if unit > 1 else f"{size:.0f} bytes"


def _leftover(directory: Path) -> Leftover | None:
    """`directory`, if it is what a run keeps; a link to one is none."""
    if directory.is_symlink() or not directory.is_dir():
        return None
    everything = sorted(path for path in directory.rglob("*") if path.is_symlink() or not path.is_dir())
    of_run = [path for path in everything if _is(path, directory, _OF_A_RUN) or path == directory / LOCK]
    of_cache = [path for path in everything if _is(path, directory, _OF_A_CACHE)]
    is_run = (directory / LOCK).is_file() and not (directory / MANIFEST).exists()
    files = of_run if is_run else of_cache
    if all(path.name == LOCK for path in files):  # a lock alone may be anybody's
        return None
    bundle = directory.with_name(directory.name.removesuffix(RUN if is_run else TEACHERS))
    run = directory if is_run else bundle.with_name(bundle.name + RUN)
    done = not is_run or ((directory / RECORD).is_file() and not has_unfinished_folds(directory))
    return Leftover(
        directory=directory,
        what="checkpoint and measured answers of the run" if is_run else "answers of teachers",
        files=tuple(files),
        foreign=tuple(path for path in everything if path not in files),
        size=sum(path.lstat().st_size for path in files),
        finished=(done and (bundle == directory or (bundle / MANIFEST).is_file()))
        or (is_run and ended_with_folds(directory) and not (directory / CHECKPOINT).exists()),
        run=run,
    )


def _is(path: Path, directory: Path, pattern: re.Pattern[str]) -> bool:
    return not path.is_symlink() and bool(pattern.fullmatch(path.relative_to(directory).as_posix()))


@contextmanager
def _unused(run: Path) -> Iterator[None]:
    """Hold the lock of the run meanwhile, so that none begins."""
    try:
        lock = (run / LOCK).open("rb+")
    except FileNotFoundError:
        yield
        return
    except OSError as error:
        raise UsageError(f"{run / LOCK} cannot be opened ({error.strerror}): fix its permissions") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"a run is active in {run}: nothing is removed; wait until it ends") from error
        except OSError:
            pass  # the file system has no locks
        yield
