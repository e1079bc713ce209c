"""The last steps of a bundle: golden texts and manifest written, the sums taken, and the whole put in its place."""

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from consumer.model.manifest import GOLDEN, MANIFEST, NAME, FileSum, Golden, Manifest
from training.data.reviews import file_sha256
from training.io.names import check_utf8


def check_replaceable(out: Path) -> None:
    """Raise `UsageError` where no bundle could be put to `out`: better heard before the training than behind it."""
    check_utf8(str(out.resolve()))
    if out.name in {"", ".."}:  # files beside it are named after it
        raise UsageError(f"--out {out} stands for a directory: name the directory itself")
    try:
        if out.is_symlink():
            raise UsageError(f"{out} is a link: name the directory that it stands for")
        if out.exists() and not (out / MANIFEST).is_file():
            raise UsageError(f"{out} exists and is no bundle: remove it or name another --out")
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise UsageError(f"{out} cannot be written ({error.strerror}): name another --out") from error


def check_outside(option: str, out: Path, paths: Iterable[tuple[str, Path | None]]) -> None:
    """See that none of `paths`, each with the option that names it, is the directory `out` or in it.

    Raises:
        UsageError: one would be lost when `out`, which `option` names, is replaced as a whole.
    """
    replaced = out.resolve()
    for name, path in paths:
        if path is not None and path.resolve().is_relative_to(replaced):
            raise UsageError(
                f"{name} {path} is in {option} {out}, which is replaced as a whole: name another place for one of them"
            )


def check_name(name: str | None, out: Path) -> None:
    """Raise `UsageError` where the model has no `name`, and that of the directory `out` cannot be one."""
    if name is None and not re.fullmatch(NAME, out.name):
        raise UsageError(
            f"{out.name!r} cannot be the name of a model (1 to 64 of a-z A-Z 0-9 . _ -): give one with --name"
        )


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A directory beside `out` that takes its place at the end, whole or not at all."""
    check_replaceable(out)
    # Hidden, for what is there is removed, and a user's own copy of a bundle may well be called OUT.old.
    partial, old = (out.with_name(f".{out.name}.{what}") for what in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    partial.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def write_golden(bundle: Path, golden: Golden) -> None:
    """Write `golden.json`."""
    (bundle / GOLDEN).write_text(golden.model_dump_json(indent=1) + "\n", encoding="utf-8")


def seal(bundle: Path, facts: dict[str, Any]) -> Manifest:
    """Write the manifest with `facts` and the sums of the files that are in `bundle` now, readable for every user."""
    files = sorted(path for path in bundle.rglob("*") if path.is_file() and path.name != MANIFEST)
    for path in files:
        path.chmod(0o644)
    sums = {
        path.relative_to(bundle).as_posix(): FileSum(bytes=path.stat().st_size, sha256=file_sha256(path))
        for path in files
    }
    manifest = Manifest.model_validate(facts | {"files": sums})
    (bundle / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return manifest
