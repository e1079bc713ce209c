"""Loads a cascade with its members: whoever verified its manifest has verified every byte that is served."""

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from consumer.errors import BundleError
from consumer.model.bundle.files import is_cascade, parsed, read_manifest, verify_files
from consumer.model.bundle.loading import Bundle, read_golden, verified_bundle
from consumer.model.bundle.manifest import MANIFEST, Golden, GoldenText
from consumer.model.bundle.profile import Profile, read_profile
from consumer.model.cascade.manifest import CascadeManifest, Member


@dataclass(frozen=True, slots=True)
class CascadeBundle:
    """A cascade and its members, all unchanged; `digest` is the SHA-256 of its manifest, which names theirs.

    `members` are ready to be asked: each with the calibration of the cascade, and with the golden texts of the cascade
    and its own answers to them.
    """

    path: Path
    manifest: CascadeManifest
    golden: Golden
    members: tuple[Bundle, ...]
    digest: str
    profile: Profile | None = None


def load(path: Path, digest: str | None = None) -> Bundle | CascadeBundle:
    """Read and verify the bundle at `path`, of a single model or a cascade; see `load_bundle`.

    Raises:
        BundleError: names the file that is missing, changed or invalid, and the remedy.
    """
    path, content, found = read_manifest(path, digest)
    if not is_cascade(content):
        return verified_bundle(path, content, found)
    manifest = parsed(path / MANIFEST, CascadeManifest, content)
    verify_files(path, manifest.files)
    golden = read_golden(path, manifest.files, (member.name for member in manifest.members))
    members = tuple(_member(path, manifest, member, golden) for member in manifest.members)
    profile = read_profile(path, manifest.files, manifest.labels)
    return CascadeBundle(path, manifest, golden, members, found, profile)


def models(loaded: Bundle | CascadeBundle) -> tuple[Bundle, ...]:
    """The bundle of the only model, or those of all members."""
    return loaded.members if isinstance(loaded, CascadeBundle) else (loaded,)


def _member(cascade: Path, manifest: CascadeManifest, member: Member, golden: Golden) -> Bundle:
    path, content, found = read_manifest(_directory(cascade, member))
    if found != member.digest:
        raise BundleError(
            f"{path} is not the member that {cascade} was measured with: its manifest has the digest {found}, not "
            f"{member.digest}; copy the member again, or measure the cascade again with review-training cascade"
        )
    if is_cascade(content):
        raise BundleError(f"{path} is a cascade itself; name its members instead")
    bundle = verified_bundle(path, content, found)
    if bundle.manifest.name != member.name or set(bundle.manifest.labels) != set(manifest.labels):
        raise BundleError(
            f"{path} has another name or other labels than {cascade / MANIFEST} says; rebuild the cascade"
        )
    return as_member(bundle, member, golden)


def as_member(bundle: Bundle, member: Member, golden: Golden) -> Bundle:
    """`bundle` as `member` of a cascade with these golden texts."""
    texts = tuple(
        GoldenText(text=each.text, probabilities={member.variant: each.probabilities[member.name]})
        for each in golden.texts
        if member.name in each.probabilities
    )
    if not texts:
        raise BundleError(f"no golden text has an answer of {member.name}; rebuild the cascade")
    return replace(
        bundle,
        manifest=bundle.manifest.model_copy(update={"calibration": member.calibration, "served": member.variant}),
        golden=Golden(tolerance={member.variant: golden.tolerance[member.name]}, texts=texts),
    )


def _directory(cascade: Path, member: Member) -> Path:
    """Directory of a member: in the cascade or beside it, links included.

    Raises:
        BundleError: it is missing, or a link leads out.
    """
    parts = PurePosixPath(member.path).parts
    root = cascade.parent if parts[0] == ".." else cascade
    path = root.joinpath(*(part for part in parts if part != ".."))
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        reason = getattr(error, "strerror", None) or "its links form a loop"
        raise BundleError(
            f"{path}, a member of {cascade}, cannot be read ({reason}); copy members and cascade together"
        ) from error
    if not real.is_relative_to(root) or cascade.is_relative_to(real):
        raise BundleError(f"{path}, a member of {cascade}, is not a directory below {root}; copy the member there")
    return real
