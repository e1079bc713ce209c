"""Loads a bundle so that the bytes that are served are the bytes that were verified.

Files are hashed in memory, and the model is built from that memory. What happens to a file on disk afterwards cannot
change a running worker: not a write in place, not a truncation, not a rename of the whole directory.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from pydantic import BaseModel, ValidationError

from consumer.errors import BundleError
from consumer.model.embedded import STUDENT, located
from consumer.model.manifest import GOLDEN, MANIFEST, TOKENIZER, FileSum, Golden, Manifest, Variant

#: Largest size of the files that are parsed, bytes. About 100 times what a bundle of today has.
MOST_BYTES = {MANIFEST: 1 << 20, GOLDEN: 1 << 24, TOKENIZER: 1 << 27}

_PIECE_BYTES = 1 << 20

_AnyModel = TypeVar("_AnyModel", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose listed files are all present and unchanged; `digest` is the SHA-256 of its manifest, in hex."""

    path: Path
    manifest: Manifest
    golden: Golden
    tokenizer_json: str
    digest: str

    def variant(self, name: str | None) -> tuple[str, Variant]:
        """The variant called `name`, or the one served by default.

        Raises:
            BundleError: there is no such variant.
        """
        name = name or self.manifest.served
        if name not in self.manifest.variants:
            raise BundleError(
                f"{self.path} has no variant {name!r}; it has {', '.join(sorted(self.manifest.variants))}"
            )
        return name, self.manifest.variants[name]

    def read(self, name: str) -> bytes:
        """The content of the listed file `name`, hashed after it was read: no later write can reach these bytes.

        Raises:
            BundleError: the file is missing, or no longer the one in the manifest.
        """
        return _read(self.path, name, self.manifest.files[name])


def load_bundle(path: Path, digest: str | None = None) -> Bundle:
    """Read and verify the bundle at `path`.

    Every file that the manifest lists has to be there: a bundle with a hole was copied badly. Files that it does not
    list are ignored and never opened; version control, volumes and file managers leave their own behind.

    Args:
        path: directory of the bundle, or the name of one that comes with the program.
        digest: SHA-256 that its manifest must have, in hex; None accepts any.

    Raises:
        BundleError: names the file that is missing, changed or invalid, and the remedy.
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
    manifest = _parsed(path / MANIFEST, Manifest, content)
    for name in (GOLDEN, TOKENIZER):
        if manifest.files[name].bytes > MOST_BYTES[name]:
            raise BundleError(f"{path / name} is larger than {MOST_BYTES[name]} bytes; rebuild the bundle")
    for name, expected in manifest.files.items():
        _verify(path, name, expected)
    golden = _parsed(path / GOLDEN, Golden, _read(path, GOLDEN, manifest.files[GOLDEN]))
    if missing := set(manifest.variants) - set(golden.tolerance):
        raise BundleError(f"{path / GOLDEN} has no golden answers for {', '.join(sorted(missing))}; rebuild the bundle")
    try:
        tokenizer_json = _read(path, TOKENIZER, manifest.files[TOKENIZER]).decode()
    except UnicodeDecodeError:
        raise BundleError(f"{path / TOKENIZER} is not UTF-8; rebuild the bundle") from None
    return Bundle(path, manifest, golden, tokenizer_json, found)


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


def _read(path: Path, name: str, expected: FileSum) -> bytes:
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


def _parsed(path: Path, model: type[_AnyModel], content: bytes) -> _AnyModel:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
    if any(problem["loc"] == ("format",) for problem in problems):
        raise BundleError(f"{path} has a format that this version does not know; upgrade review-consumer")
    where = " ".join(".".join(map(str, problems[0]["loc"])).split())[:100] or "file"
    what = problems[0]["msg"].removeprefix("Value error, ")
    raise BundleError(f"{path} is not valid ({where}: {what}); rebuild the bundle")
