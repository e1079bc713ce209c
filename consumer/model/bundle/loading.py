"""Loads a bundle so that the bytes that are served are the bytes that were verified.

Files are hashed in memory, and the model is built from that memory. What happens to a file on disk afterwards cannot
change a running worker: not a write in place, not a truncation, not a rename of the whole directory.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from consumer.errors import BundleError
from consumer.model.bundle.files import is_cascade, parsed, read_file, read_manifest, verify_files
from consumer.model.bundle.manifest import GOLDEN, MANIFEST, TOKENIZER, FileSum, Golden, Manifest, Variant
from consumer.model.bundle.profile import Profile, read_profile


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose listed files are all present and unchanged; `digest` is the SHA-256 of its manifest, in hex.

    `profile`: what its answers were like on texts of its own kind, if that was measured.
    """

    path: Path
    manifest: Manifest
    golden: Golden
    tokenizer_json: str
    digest: str
    profile: Profile | None = None

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
        return read_file(self.path, name, self.manifest.files[name])


def load_bundle(path: Path, digest: str | None = None) -> Bundle:
    """Read and verify the bundle of a single model at `path`; `consumer.model.cascade.bundle` also loads cascades.

    Every file that the manifest lists has to be there: a bundle with a hole was copied badly. Files that it does not
    list are ignored and never opened; version control, volumes and file managers leave their own behind.

    Args:
        path: directory of the bundle.
        digest: SHA-256 that its manifest must have, in hex; None accepts any.

    Raises:
        BundleError: names the file that is missing, changed or invalid, and the remedy; or the bundle is a cascade.
    """
    path, content, found = read_manifest(path, digest)
    if is_cascade(content):
        raise BundleError(
            f"{path} is a cascade of several models, and this needs a single model; name one of its members"
        )
    return verified_bundle(path, content, found)


def verified_bundle(path: Path, content: bytes, digest: str) -> Bundle:
    """The bundle of a single model whose manifest was read by `read_manifest`; raises as `load_bundle`."""
    manifest = parsed(path / MANIFEST, Manifest, content)
    verify_files(path, manifest.files)
    golden = read_golden(path, manifest.files, manifest.variants)
    try:
        tokenizer_json = read_file(path, TOKENIZER, manifest.files[TOKENIZER]).decode()
    except UnicodeDecodeError:
        raise BundleError(f"{path / TOKENIZER} is not UTF-8; rebuild the bundle") from None
    profile = read_profile(path, manifest.files, manifest.labels)
    return Bundle(path, manifest, golden, tokenizer_json, digest, profile)


def read_golden(path: Path, files: Mapping[str, FileSum], answering: Iterable[str]) -> Golden:
    """The golden texts of a bundle; those that are `answering` must all have answers.

    Raises:
        BundleError: they cannot be read, or answers are missing.
    """
    golden = parsed(path / GOLDEN, Golden, read_file(path, GOLDEN, files[GOLDEN]))
    if missing := set(answering) - set(golden.tolerance):
        raise BundleError(f"{path / GOLDEN} has no golden answers for {', '.join(sorted(missing))}; rebuild the bundle")
    return golden
