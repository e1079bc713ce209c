"""Puts a profile into a bundle, and into the members of a cascade; nothing else of them changes but digests."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from consumer.errors import UsageError
from consumer.model.bundle.files import read_manifest
from consumer.model.bundle.loading import load_bundle
from consumer.model.bundle.manifest import MANIFEST, PROFILE, Source
from consumer.model.bundle.profile import Profile
from consumer.model.cascade.bundle import CascadeBundle, load
from consumer.model.cascade.manifest import CascadeManifest
from consumer.model.opening import AnyBundle
from consumer.model.texts.encoder import Encoder
from training.data.prepare import DEFAULTS, DataOptions
from training.data.reviews import Reviews, draw
from training.data.unlabeled import read_only_texts
from training.io.output import storing, write_text
from training.io.progress import say
from training.measure.evaluate import Answer, open_classifier, score_all
from training.measure.profile import LEAST_ROWS, of_answers, of_scored, profile_of
from training.measure.reports.report import LIMIT_SEED
from training.packaging.card import CARD
from training.packaging.record import BUNDLE_RECORD
from training.packaging.sealing import check_outside, check_replaceable, replacing, seal_as


@dataclass(frozen=True)
class Order:
    """What is to be profiled, and on what; see the options of the command."""

    bundle: Path
    data: Path
    limit: int
    members: bool = False
    text_column: str | None = None
    keep: Path | None = None
    options: DataOptions = DEFAULTS


def profile(order: Order) -> dict[str, Profile]:
    """Put a profile into the bundle, in its place: weights, answers and version stay, the digest changes.

    Returns:
        The profile of each bundle that got one, by the name of its model.

    Raises:
        UsageError: the file or the bundle cannot be used, or a cascade refers to the bundle by its digest.
        BundleError: the bundle is refused.
    """
    source = load(order.bundle)
    if source.path != order.bundle.resolve():
        raise UsageError(f"{order.bundle} comes with the program: copy {source.path} and name the copy")
    check_outside("--bundle", order.bundle, [("--data", order.data), ("--keep-answers", order.keep)])
    members = [load_bundle(each.path) for each in source.members] if isinstance(source, CascadeBundle) else []
    if order.members and not members:
        raise UsageError(f"{order.bundle} is no cascade, so it has no members: leave out --members")
    profiled: list[AnyBundle] = [*(members if order.members else []), source]
    for each in profiled:
        check_replaceable(each.path)
        _check_no_other_cascade(each, source)
    texts = draw(read_only_texts(order.data, order.text_column, order.options, say), order.limit, LIMIT_SEED)
    profiles = {each.manifest.name: _measured(each, texts, order.keep) for each in profiled}
    digests: dict[str, str] = {}
    # All of them are written before the first one takes its place: a cascade refuses members with other digests.
    with ExitStack() as drafts:
        for each in profiled:
            draft = drafts.enter_context(_draft(each))
            write_text(draft / PROFILE, _as_json(profiles[each.manifest.name]))
            digests[each.digest] = _seal(draft, each, digests)
    load(order.bundle)
    return profiles


def write_profile(
    bundle: Path, texts: Reviews, answers: Sequence[Answer], encoder: Encoder, labels: Sequence[str]
) -> None:
    """Write the profile of a model that gave these `answers` into a `bundle` that is not sealed yet.

    If there are too few, it gets none, and that is said.
    """
    (bundle / PROFILE).unlink(missing_ok=True)
    answered = of_answers(texts.texts, answers, encoder)
    if len(answered) < LEAST_ROWS:
        say(f"no profile: {len(answered)} texts are too few, it takes {LEAST_ROWS}; see review-training profile")
        return
    data = Source(file=texts.path.name, sha256=texts.sha256, rows=len(answered))
    write_text(bundle / PROFILE, _as_json(profile_of(answered, labels, data)))


def _measured(bundle: AnyBundle, texts: Reviews, keep: Path | None) -> Profile:
    """Ask the served variant of `bundle`."""
    with open_classifier(bundle.path, None) as classifier:
        classifier.self_check()
        scored = score_all(classifier, texts.texts, f"{bundle.manifest.name}: profiling", keep)
    answered = of_scored(texts.texts, scored)
    if len(answered) < LEAST_ROWS:
        raise UsageError(f"{texts.path} has {len(answered)} usable texts; a profile needs at least {LEAST_ROWS}")
    data = Source(file=texts.path.name, sha256=texts.sha256, rows=len(answered))
    return profile_of(answered, bundle.manifest.labels, data)


def _as_json(profile: Profile) -> str:
    return profile.model_dump_json(indent=1) + "\n"


@contextmanager
def _draft(bundle: AnyBundle) -> Iterator[Path]:
    """A copy of `bundle`, without manifest and profile, that takes its place at the end."""
    with replacing(bundle.path) as draft:
        for name in bundle.manifest.files.keys() - {PROFILE}:
            with storing(draft / name):
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bundle.path / name, draft / name)
        yield draft


def _seal(draft: Path, bundle: AnyBundle, digests: Mapping[str, str]) -> str:
    """Write the manifest of `bundle` for its `draft`, members with their new `digests`; return its own new digest."""
    facts = bundle.manifest.model_dump(exclude={"files"})
    if isinstance(bundle, CascadeBundle):
        for path in (draft / BUNDLE_RECORD, draft / CARD):
            if path.is_file():
                write_text(path, _renamed(path.read_text(encoding="utf-8"), digests))
        facts["members"] = [each | {"digest": _renamed(each["digest"], digests)} for each in facts["members"]]
    seal_as(type(bundle.manifest), draft, facts)
    return read_manifest(draft)[2]


def _renamed(text: str, digests: Mapping[str, str]) -> str:
    for old, new in digests.items():
        text = text.replace(old, new)
    return text


def _check_no_other_cascade(bundle: AnyBundle, profiled: AnyBundle) -> None:
    """Check that no cascade near `bundle`, but the one that is `profiled` with it, names it by the digest it has now.

    Raises:
        UsageError: one does, and would refuse it.
    """
    for path in (*bundle.path.parent.glob(f"*/{MANIFEST}"), bundle.path.parent / MANIFEST):
        try:
            cascade = CascadeManifest.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            continue
        if path.parent != profiled.path and any(member.digest == bundle.digest for member in cascade.members):
            raise UsageError(
                f"{bundle.path} is a member of the cascade {path.parent}, which would refuse it with another digest: "
                f"profile both with --bundle {path.parent} --members"
            )
