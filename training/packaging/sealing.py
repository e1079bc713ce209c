"""The last steps of a bundle: write golden texts and manifest, take the checksums, put the whole in its place."""

import ctypes
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from consumer.errors import UsageError
from consumer.model.bundle.files import replaced_path
from consumer.model.bundle.manifest import GOLDEN, MANIFEST, NAME, FileSum, Golden, Manifest, Part
from training.data.reviews import file_sha256
from training.io.names import check_utf8
from training.io.output import storing, write_text
from training.io.progress import say

AnyManifest = TypeVar("AnyManifest", bound=Part)


def check_replaceable(out: Path) -> None:
    """Check that a bundle can be written to `out`, before hours of training rather than after.

    If an earlier process was killed while it replaced the bundle at `out`, the bundle that was there is put back.

    Raises:
        UsageError: `out` cannot be written, or is something other than a bundle.
    """
    check_utf8(str(out.resolve()))
    if out.name in {"", ".."}:  # files beside it are named after it
        raise UsageError(f"--out {out} stands for a directory: give the name of the directory itself")
    try:
        if out.is_symlink():
            raise UsageError(f"{out} is a link: name the directory that it points to")
        put_back(out)
        if out.exists() and not (out / MANIFEST).is_file():
            raise UsageError(f"{out} exists and is not a bundle: remove it or name another --out")
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise UsageError(f"{out} cannot be written ({error.strerror}): name another --out") from error


def put_back(out: Path) -> None:
    """Return the bundle that a killed process moved away from `out` to its place."""
    aside = replaced_path(out)
    if out.exists() or not (aside / MANIFEST).is_file():
        return
    with suppress(FileNotFoundError):  # another process of the same command was faster
        aside.rename(out)
        say(f"{out}: an earlier command was killed while it replaced this bundle; the bundle is back in its place")


def check_outside(option: str, out: Path, paths: Iterable[tuple[str, Path | None]]) -> None:
    """Check that none of `paths`, pairs of an option and its value, is the directory `out` or inside it.

    Raises:
        UsageError: one of them would be lost when `out`, the value of `option`, is replaced as a whole.
    """
    replaced = out.resolve()
    for name, path in paths:
        if path is not None and path.resolve().is_relative_to(replaced):
            raise UsageError(
                f"{name} {path} is in {option} {out}, which is replaced as a whole: name another place for one of them"
            )


def check_name(name: str | None, out: Path) -> None:
    """Raise `UsageError` if the model has no `name` and the name of the directory `out` cannot serve as one."""
    if name is None and not re.fullmatch(NAME, out.name):
        raise UsageError(
            f"{out.name!r} cannot be the name of a model (1 to 64 of a-z A-Z 0-9 . _ -): give one with --name"
        )


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A directory beside `out` that takes its place at the end, whole or not at all.

    On Linux the two directories are exchanged in one step, so that there is a bundle at `out` at any moment. Elsewhere,
    and on file systems without such an exchange, `out` is moved aside first. If the process is killed right then, the
    next command with the same `out` moves it back, and `load_bundle` says where it is.

    Raises:
        UsageError: see `check_replaceable`.
        GaveUp: `out` cannot be replaced.
    """
    check_replaceable(out)
    with placing(out) as partial:
        yield partial


@contextmanager
def placing(out: Path) -> Iterator[Path]:
    """As `replacing`, for a directory that need not be a bundle; whether `out` may be replaced is for the caller.

    If the block fails or is interrupted, nothing of it stays behind.

    Raises:
        GaveUp: `out` cannot be replaced.
    """
    # Hidden, because both are deleted, and a user's own copy of a bundle may well be called OUT.old.
    partial, aside = out.with_name(f".{out.name}.partial"), replaced_path(out)
    try:
        with storing(partial):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        yield partial
        with storing(out):
            if out.exists() and not exchanged(partial, out):
                shutil.rmtree(aside, ignore_errors=True)
                out.rename(aside)
            if not out.exists():
                partial.rename(out)
    finally:  # what it holds now is unfinished, or was replaced
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(aside, ignore_errors=True)


def exchanged(first: Path, second: Path) -> bool:
    """Swap two directories in one step, with renameat2(2) of Linux; False if system or file system cannot do that."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE
    return bool(renameat2(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0)


def write_golden(bundle: Path, golden: Golden) -> None:
    """Write `golden.json`."""
    write_text(bundle / GOLDEN, golden.model_dump_json(indent=1) + "\n")


def seal(bundle: Path, facts: dict[str, Any]) -> Manifest:
    """Write the manifest with `facts` and the checksums of the files in `bundle`; make these readable by everyone."""
    return seal_as(Manifest, bundle, facts)


def seal_as(kind: type[AnyManifest], bundle: Path, facts: dict[str, Any]) -> AnyManifest:
    """As `seal`, with a manifest of this `kind`."""
    files = sorted(path for path in bundle.rglob("*") if path.is_file() and path.name != MANIFEST)
    for path in files:
        path.chmod(0o644)
    sums = {
        path.relative_to(bundle).as_posix(): FileSum(bytes=path.stat().st_size, sha256=file_sha256(path))
        for path in files
    }
    manifest = kind.model_validate(facts | {"files": sums})
    write_text(bundle / MANIFEST, manifest.model_dump_json(indent=1) + "\n")
    return manifest
