"""Files of a bundle, read so that the bytes that are used are the bytes that were verified."""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from consumer.errors import BundleError
from consumer.model.bundle.embedded import STUDENT, located
from consumer.model.bundle.manifest import GOLDEN, MANIFEST, PROFILE, TOKENIZER, FileSum

#: Largest size of the files that are parsed, bytes. About 100 times what a bundle of today has.
MOST_BYTES = {MANIFEST: 1 << 20, PROFILE: 1 << 20, GOLDEN: 1 << 24, TOKENIZER: 1 << 27}

_PIECE_BYTES = 1 << 20

_AnyModel = TypeVar("_AnyModel", bound=BaseModel)


def read_manifest(path: Path, digest: str | None = None) -> tuple[Path, bytes, str]:
    """The manifest of the bundle at `path`, not parsed yet.

    Args:
        path: directory of the bundle, or the name of one that comes with the program.
        digest: SHA-256 that the manifest must have, in hex; None accepts any.

    Returns:
        The directory without links, the content of its manifest, and the SHA-256 of that in hex.

    Raises:
        BundleError: there is no bundle, or another one.
    """
    if not path.exists() and (aside := replaced_path(path)).is_dir():
        raise BundleError(f"{path} was moved to {aside} by a command that was killed while replacing it; move it back")
    path = located(path)
    if not path.is_dir():
        raise BundleError(
            f"bundle {path} is not a directory; name the directory of a bundle, or {STUDENT}, which comes with the "
            "program, or make one with review-training fit"
        )
    path = path.resolve()  # if path is a link that is moved meanwhile, all files still come from one bundle
    content = _manifest_bytes(path)
    found = hashlib.sha256(content).hexdigest()
    if digest is not None and found != digest:
        raise BundleError(
            f"bundle {path} has the digest {found}, but bundle_digest allows only {digest}; deploy the pinned bundle, "
            "or change bundle_digest"
        )
    return path, content, found


def is_cascade(manifest: bytes) -> bool:
    """Whether this is the manifest of a cascade of bundles, not of a single model."""
    try:
        found = from_json(manifest)
    except ValueError:  # whoever parses it as a manifest says so
        return False
    return isinstance(found, dict) and "members" in found


def verify_files(path: Path, files: Mapping[str, FileSum]) -> None:
    """Check that every file that the manifest lists is in the directory `path`, as it is listed.

    Raises:
        BundleError: names the one that is missing, changed or too large.
    """
    for name in set(MOST_BYTES) & set(files):
        if files[name].bytes > MOST_BYTES[name]:
            raise BundleError(f"{path / name} is larger than {MOST_BYTES[name]} bytes; rebuild the bundle")
    for name, expected in files.items():
        _verify(path, name, expected)


def _manifest_bytes(path: Path) -> bytes:
    if not os.path.lexists(path / MANIFEST):
        raise BundleError(
            f"{path} has no {MANIFEST}, so it is not a bundle; review-training fit makes a bundle from a Hugging Face "
            "checkpoint"
        )
    most = MOST_BYTES[MANIFEST]
    with _opened(path, MANIFEST) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise BundleError(f"{path / MANIFEST} is larger than {most} bytes; rebuild the bundle")
    return content


def replaced_path(path: Path) -> Path:
    """Where training keeps the bundle at `path` while it replaces it."""
    return path.with_name(f".{path.name}.old") if path.name else path


def _verify(path: Path, name: str, expected: FileSum) -> None:
    """Hash a file piece by piece: weights of other variants never have to fit into memory."""
    digest = hashlib.sha256()
    left = expected.bytes + 1  # a file that grows meanwhile is not read for ever
    with _opened(path, name, expected.bytes) as file:
        while left and (piece := file.read(min(left, _PIECE_BYTES))):
            digest.update(piece)
            left -= len(piece)
    _check_sum(path / name, digest.hexdigest(), expected)


def read_file(path: Path, name: str, expected: FileSum) -> bytes:
    """The content of a listed file, hashed after it was read: no later write can reach these bytes.

    Raises:
        BundleError: the file is missing, or not the `expected` one.
    """
    with _opened(path, name, expected.bytes) as file:
        content = file.read(expected.bytes + 1)
    _check_sum(path / name, hashlib.sha256(content).hexdigest(), expected)
    return content


def _check_sum(path: Path, found: str, expected: FileSum) -> None:
    if found != expected.sha256:
        raise BundleError(f"{path} was changed: its SHA-256 differs from the manifest; copy the bundle again")


@contextmanager
def _opened(bundle: Path, name: str, size: int | None = None) -> Iterator[IO[bytes]]:
    """A regular file inside the bundle, open for reading; an `OSError` within the block becomes a `BundleError`.

    Links are followed within the bundle only: one could point at anything that this user may read. A FIFO or a device
    is refused before it is opened.

    Args:
        bundle: resolved path of the bundle.
        name: of the file, relative to the bundle.
        size: what it must be, bytes; None accepts any.
    """
    path = bundle / name
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(bundle) or not real.is_file():
            raise BundleError(f"{path} is not a regular file inside the bundle; copy the bundle again")
        with open(real, "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())  # of what was opened: another file may have taken its place since
            if not stat.S_ISREG(status.st_mode):
                raise BundleError(f"{path} is not a regular file; copy the bundle again")
            if size is not None and status.st_size != size:
                raise BundleError(
                    f"{path} has {status.st_size} bytes, not the {size} of the manifest; copy the bundle again"
                )
            yield file
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        reason = getattr(error, "strerror", None) or "its links form a loop"
        raise BundleError(f"{path} cannot be read ({reason}); copy the bundle again") from error


def _open_without_waiting(path: str, flags: int) -> int:
    """Without O_NONBLOCK, opening a FIFO would block until another process writes to it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY)


def parsed(path: Path, model: type[_AnyModel], content: bytes) -> _AnyModel:
    """`content` of the file at `path` as a `model`.

    Raises:
        BundleError: it is none; says what is wrong with it.
    """
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
    if any(problem["loc"] == ("format",) for problem in problems):
        raise BundleError(f"{path} has a format that this version does not know; upgrade review-consumer")
    where = " ".join(".".join(map(str, problems[0]["loc"])).split())[:100] or "file"
    what = problems[0]["msg"].removeprefix("Value error, ")
    raise BundleError(f"{path} is not valid ({where}: {what}); rebuild the bundle")
