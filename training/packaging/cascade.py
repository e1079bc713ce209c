"""From measured members to the bundle of a cascade: golden texts, manifest, times, picture, record and card."""

import json
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from consumer.model.bundle.loading import Bundle
from consumer.model.bundle.manifest import Golden, GoldenText
from consumer.model.cascade.bundle import load
from consumer.model.cascade.labeller import Cascade
from consumer.model.cascade.manifest import CascadeManifest, Measured, Member, Point
from consumer.model.classifier import Classifier
from consumer.model.engines import open_engine
from consumer.model.opening import open_labeller
from training.data.reviews import Reviews
from training.io.output import write_text
from training.measure.cascades.choosing import Asked, Decided, Measurement
from training.measure.curves.speed import Speed, time_cascade
from training.packaging.card import CARD
from training.packaging.cascade_views import PICTURE, as_card, draw_picture
from training.packaging.golden import TOLERANCE, Probabilities, answers_to
from training.packaging.record import BUNDLE_RECORD, versions
from training.packaging.sealing import replacing, seal_as, write_golden

#: Texts of which a model may be unsure, for members that answer no other golden text.
MIXED = (
    "It was a film.",
    "I have seen better and I have seen worse.",
    "Good actors, bad story.",
    "A great idea, badly done, but my children liked it.",
    "Not as bad as they say, not as good as the first one.",
    "I wanted to like it.",
)

#: Rows that are searched for texts that a member answers, the shortest ones.
SEARCHED = 200


@dataclass(frozen=True)
class Timing:
    """Texts to time on, and with how many threads; None: one for each core."""

    texts: Sequence[str]
    threads: int | None


def check_beside(out: Path, members: Sequence[Bundle]) -> None:
    """Check that `members` can be the members of a cascade at `out`.

    Raises:
        UsageError: one is elsewhere, is given twice, or they have different labels.
    """
    root = out.resolve().parent
    for member in members:
        if not member.path.is_relative_to(root):
            raise UsageError(
                f"{member.path} is not in {root}: a cascade and its members are copied together, so put --out and "
                "every --member into one directory"
            )
        if set(member.manifest.labels) != set(members[0].manifest.labels):
            raise UsageError(
                f"{member.manifest.name} knows the labels {', '.join(member.manifest.labels)}, but "
                f"{members[0].manifest.name} {', '.join(members[0].manifest.labels)}: members must share theirs"
            )
    names = [member.manifest.name for member in members]
    if len(set(names)) < len(names):
        raise UsageError(f"two members have the same name ({', '.join(names)}): they could not be told apart")


def write_cascade(
    out: Path,
    asked: Sequence[Asked],
    decided: Decided,
    measured: Measurement,
    *,
    name: str,
    choosing: Reviews,
    timing: Timing | None,
) -> Speed | None:
    """Write the bundle `out`, self-checked; nothing is at `out` until it is whole.

    Args:
        out: its directory.
        asked: its members.
        decided: their thresholds and calibrations.
        measured: what is reported.
        name: of the cascade.
        choosing: rows among which golden texts are looked for, if no other text is answered by each member.
        timing: what to time on; None: nothing is timed.

    Returns:
        How fast it is, if that was timed.
    """
    members = _members(out, asked, decided, measured)
    created = datetime.now(UTC)
    facts = {
        "name": name,
        "version": created.strftime("%Y.%m.%d"),
        "created": created,
        "labels": asked[0].bundle.manifest.labels,
        "members": members,
        "measured": Measured(
            file=measured.data.file,
            rows=measured.data.rows,
            accuracy=measured.evaluation.accuracy,
            lost=measured.loss.points,
            lost_interval=measured.loss.interval,
        ),
        "curve": [
            Point(below=each.below, passed_on=each.passed_on, accuracy=each.accuracy, lost=each.loss.points)
            for each in measured.points
        ],
        "training_data": (decided.data, measured.data),
    }
    golden = record_golden([each.bundle for each in asked], members, choosing)
    speed = None
    with replacing(out) as draft:
        write_golden(draft, golden)
        seal_as(CascadeManifest, draft, facts)
        with closing(open_labeller(load(draft), threads=timing.threads if timing else None)) as cascade:
            cascade.self_check()
            if timing and isinstance(cascade, Cascade):
                speed = time_cascade(cascade, [each.below for each in measured.points], timing.texts, timing.threads)
        draw_picture(draft / PICTURE, members, decided, measured, speed)
        record = as_record(members, decided, measured, speed)
        write_text(draft / BUNDLE_RECORD, json.dumps(record, indent=1, allow_nan=False) + "\n")
        write_text(draft / CARD, as_card(name, members, decided, measured, speed))
        seal_as(CascadeManifest, draft, facts)
        load(draft)
    return speed


def _members(out: Path, asked: Sequence[Asked], decided: Decided, measured: Measurement) -> tuple[Member, ...]:
    root = out.resolve()
    thresholds = (*decided.below, None)
    passed_on = (*measured.passed_on, *[None] * (len(asked) - len(measured.passed_on)))
    return tuple(
        Member(
            name=each.name,
            path=Path(os.path.relpath(each.bundle.path, root)).as_posix(),
            digest=each.bundle.digest,
            variant=each.bundle.manifest.served,
            calibration=calibration,
            below=below,
            passed_on=share,
        )
        for each, calibration, below, share in zip(asked, decided.calibrations, thresholds, passed_on, strict=True)
    )


def record_golden(bundles: Sequence[Bundle], members: Sequence[Member], choosing: Reviews) -> Golden:
    """Golden texts with the answers of every member, among them some that each member answers beyond doubt.

    They are those of the first member's bundle. If a member answers none of them, `MIXED` is searched, then the
    shortest texts of `choosing`.

    Raises:
        UsageError: a member answers none of all these texts.
    """
    texts = [each.text for each in bundles[0].golden.texts]
    shortest = sorted(choosing.texts, key=len)[:SEARCHED]
    more = [text for text in dict.fromkeys((*MIXED, *shortest)) if text not in texts]
    answers: dict[str, list[Probabilities]] = {}
    for bundle, member in zip(bundles, members, strict=True):
        manifest = bundle.manifest.model_copy(update={"calibration": member.calibration})
        calibrated = replace(bundle, manifest=manifest)
        with closing(Classifier(calibrated, open_engine(calibrated, member.variant))) as classifier:
            answers[member.name] = answers_to(classifier, [*texts, *more])
    tolerance = {member.name: TOLERANCE[member.variant] for member in members}
    rows = [{name: dict(each[place]) for name, each in answers.items()} for place in range(len(texts) + len(more))]
    chosen = list(range(len(texts)))
    for member in members:
        found = [place for place, row in enumerate(rows) if _answering(row, members, tolerance) == member.name]
        if not found:
            raise UsageError(f"no text was found that {member.name} answers beyond doubt: leave it out")
        if not set(found) & set(chosen):
            chosen.append(found[0])
    every = [*texts, *more]
    return Golden(
        tolerance=tolerance,
        texts=tuple(GoldenText(text=every[place], probabilities=rows[place]) for place in chosen),
    )


def _answering(row: dict[str, dict[str, float]], members: Sequence[Member], tolerance: dict[str, float]) -> str | None:
    """The member that answers a text; None if rounding could decide that."""
    for member in members:
        score = max(row[member.name].values())
        if member.below is None or score >= member.below + tolerance[member.name]:
            return member.name
        if score >= member.below - tolerance[member.name]:
            return None
    return None


def as_record(
    members: Sequence[Member], decided: Decided, measured: Measurement, speed: Speed | None
) -> dict[str, Any]:
    """What is in `run.json`: names and digests of members and files, what was chosen, and all that was measured."""
    return {
        "format": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "members": [member.model_dump(mode="json") for member in members],
        "max_loss": decided.max_loss,
        "data": {"choose": decided.data.model_dump(), "test": measured.data.model_dump()},
        "evaluation": measured.evaluation.as_json(),
        "alone": {member.name: each.as_json() for member, each in zip(members, measured.alone, strict=True)},
        "answered": dict(zip((member.name for member in members), measured.answered, strict=True)),
        "lost": _loss(measured),
        "figures": {key: each and asdict(each) for key, each in measured.figures.overall.items()},
        "points": [
            {
                "allowed": each.allowed,
                "below": each.below,
                "passed_on": each.passed_on,
                "accuracy": each.accuracy,
                "lost": each.loss.points,
                "lost_interval": each.loss.interval,
                "p_value": each.loss.p_value,
                "reviews_per_second": speed.points[place] if speed else None,
            }
            for place, each in enumerate(measured.points)
        ],
        "speed": speed and speed.as_json(),
        "versions": versions(),
    }


def _loss(measured: Measurement) -> dict[str, Any]:
    loss, on_all = measured.loss, measured.loss_on_all
    return {
        "points": loss.points,
        "interval": loss.interval,
        "worse_rows": loss.worse,
        "better_rows": loss.better,
        "p_value": loss.p_value,
        "on_all_rows": {"rows": on_all.rows, "points": on_all.points, "interval": on_all.interval},
    }
