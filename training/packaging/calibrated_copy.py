"""A copy of a bundle with probabilities calibrated on labelled reviews that it was not trained on."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

from consumer.errors import UsageError
from consumer.model.bundle.manifest import Manifest
from consumer.model.cascade.bundle import CascadeBundle, load
from consumer.model.texts.encoder import Encoder
from training.data.prepare import DEFAULTS, DataOptions, prepare_test
from training.data.reviews import Reviews
from training.io.output import storing, write_text
from training.io.progress import say
from training.measure.calibrate import MIN_ROWS, calibrate, rescaled_answers
from training.measure.evaluate import check_known_labels, classify_all, open_classifier
from training.packaging.card import CARD, with_calibration
from training.packaging.golden import ask
from training.packaging.profile import write_profile
from training.packaging.sealing import check_outside, check_replaceable, replacing, seal, write_golden


def calibrated_copy(
    bundle: Path,
    file: Path,
    out: Path,
    precision: float,
    *,
    train_file: Path | None = None,
    options: DataOptions = DEFAULTS,
) -> Manifest:
    """Calibrate the served variant of `bundle` on `file` and write `out`, which may be `bundle` itself.

    With `train_file`, what the bundle was trained on, the rows are checked for leaks as `options` say. Version,
    golden answers and digest change; weights, tokenizer and labels do not. A bundle that was calibrated before is
    calibrated again.

    Returns:
        The manifest of the copy.

    Raises:
        UsageError: the file cannot be used, has leaked too much, or the bundle was made from it; `out` is no bundle, or
            holds one of the others.
        BundleError: the bundle is refused.
    """
    check_replaceable(out)  # first: it puts back a bundle that is to be calibrated in its place
    source = load(bundle)
    if isinstance(source, CascadeBundle):
        raise UsageError(
            f"{bundle} is a cascade, whose members are calibrated together: measure it again with review-training "
            "cascade --choose FILE"
        )
    manifest = source.manifest
    # The bundle itself may be replaced, but not be lost in another one.
    other = None if bundle.resolve() == out.resolve() else bundle
    check_outside("--out", out, [("--bundle", other), ("--data", file), ("--train", train_file)])
    reviews, _ = prepare_test(file, train_file, options, say)
    check_known_labels(reviews, manifest.labels)
    _check_new(manifest, reviews)
    if len(reviews) < MIN_ROWS:
        raise UsageError(f"{file} has {len(reviews)} usable rows; calibrating needs at least {MIN_ROWS}")
    with open_classifier(bundle, None) as classifier:
        classifier.self_check()
        answers = classify_all(classifier, reviews.texts, "asking the model")
    calibration = calibrate(
        answers,
        reviews,
        manifest.labels,
        variant=manifest.served,
        precision=precision,
        before=manifest.scaling,
    )
    now = datetime.now(UTC)
    facts = manifest.model_dump(exclude={"files"}) | {
        "version": f"{manifest.version.split('+')[0][:40]}+calibrated.{now:%Y%m%d.%H%M%S.%f}",
        "created": now,
        "calibration": calibration,
    }
    with replacing(out) as draft:
        for name in manifest.files:
            with storing(draft / name):
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bundle / name, draft / name)
        calibrated = rescaled_answers(answers, manifest.scaling, calibration.scaling)
        encoder = Encoder(source.tokenizer_json, manifest.reading)
        write_profile(draft, reviews, calibrated, encoder, manifest.labels)
        seal(draft, facts)
        write_golden(draft, ask(draft, [golden.text for golden in source.golden.texts], source.golden.tolerance))
        if (card := draft / CARD).is_file():
            write_text(card, with_calibration(card.read_text(encoding="utf-8"), calibration))
        copied = seal(draft, facts)
        for variant in copied.variants:
            with open_classifier(draft, variant) as classifier:
                classifier.self_check()
    return copied


def _check_new(manifest: Manifest, reviews: Reviews) -> None:
    """Raise `UsageError` if the bundle was trained or measured on `reviews`."""
    if any(reviews.sha256 == known.sha256 for known in manifest.training_data):
        raise UsageError(
            f"{reviews.path} is what {manifest.name} was trained or measured on: a model is more confident on "
            "such texts than on others; give reviews that it has not seen"
        )
