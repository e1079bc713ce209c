"""The last steps of a bundle: golden texts and manifest written, the sums taken, and the whole put in its place."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from consumer.bundle import GOLDEN, MANIFEST, FileSum, Golden, Manifest
from consumer.errors import UsageError
from training.data import file_sha256


def check_replaceable(out: Path) -> None:
    """Raise `UsageError` where `out` holds something else than a bundle: it would be deleted."""
    if out.exists() and not (out / MANIFEST).is_file():
        raise UsageError(f"{out} exists and is no bundle: remove it or name another --out")


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A directory beside `out` that takes its place at the end, whole or not at all."""
    check_replaceable(out)
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)


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
