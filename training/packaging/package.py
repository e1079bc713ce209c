"""From a trained model to a bundle: export, int8 gate, golden texts, model card, manifest."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from consumer.model.bundle.manifest import Accuracy, Manifest, Source, Variant
from consumer.model.inference.scaling import PLAIN
from consumer.model.texts.cleaning import LATEST
from consumer.model.texts.encoder import Encoder, TokenIds
from training.data.prepare import Prepared
from training.data.reviews import Reviews, draw
from training.encoders.base import Base
from training.io.output import write_text
from training.io.progress import say
from training.measure.calibrate import as_line, calibrate, rescaled_answers
from training.measure.evaluate import Evaluation, classify_all, evaluate, open_classifier
from training.measure.gate import REFERENCE, Judged, Measured, choose_served
from training.packaging import export
from training.packaging.card import CARD, model_card
from training.packaging.curve_plot import PICTURE, plot_curve
from training.packaging.golden import nothing_to_replay, record_golden
from training.packaging.header import license_of, yaml_header
from training.packaging.profile import write_profile
from training.packaging.record import BUNDLE_RECORD, DataPart, RunRecord
from training.packaging.scales import scale_windows
from training.packaging.sealing import replacing, seal, write_golden
from training.settings import FitSettings, PackageSettings


class Packaged(NamedTuple):
    """The manifest of a bundle, and what was measured per variant, with the answers as the worker gives them."""

    manifest: Manifest
    evaluations: dict[str, Evaluation]
    measured: dict[str, Measured]


def package(
    model: Any,
    base: Base,
    data: Prepared,
    held_out: Reviews | None,
    *,
    settings: FitSettings,
    packaging: PackageSettings,
    out: Path,
    record: RunRecord,
    kept: Path,
    judged: Judged | None = None,
    ask_both: bool = False,
) -> Packaged:
    """Write the bundle `out`, measured and self-checked; nothing is at `out` until it is whole.

    Args:
        model: trained.
        base: what it was trained from.
        data: what it was trained on, and what measures it.
        held_out: rows it was not trained on, to calibrate its probabilities; None: they stay as they are.
        settings: what determined the weights.
        packaging: what determines the bundle.
        out: directory of the bundle.
        record: of the run; with the figures that are measured here, it is put into the bundle.
        kept: directory where the answers to the rows that measure and calibrate are kept: measuring may take hours, and
            a killed run resumes from there.
        judged: the variant to serve, with calibrated answers to all rows that measure it; None: this model is asked.
        ask_both: ask both variants that may be served about all rows, not only int8 if that is enough.

    Returns:
        What was measured of the served variant is on all rows that were to measure it.
    """
    test = draw(data.test, packaging.test_rows, settings.seed)
    with replacing(out) as bundle:
        say("exporting: torch, OpenVINO fp32, OpenVINO int8")
        export.export_tokenizer(base.tokenizer_json, bundle)
        export.export_torch(model, bundle)
        export.export_openvino(model, bundle)
        export.export_int8(bundle, calibration_set(base, data.train, settings, packaging.calibration_texts))
        created, labels = datetime.now(UTC), data.train.label_names
        facts = {
            "format": LATEST,
            "name": packaging.name or out.name,
            "version": created.strftime("%Y.%m.%d"),
            "created": created,
            "base_model": base.name,
            "labels": labels,
            "max_length": settings.max_length,
            "truncation": settings.truncation,
            "windows": settings.reading.windows,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "training_data": _training_data(record),
        }
        # Measuring goes through the worker's classifier, which reads a bundle: a draft, with nothing to replay yet.
        write_golden(bundle, nothing_to_replay())
        seal(bundle, facts | {"variants": export.VARIANTS, "served": REFERENCE})
        found = judged or choose_served(
            bundle, test, labels, packaging, seed=settings.seed, kept=kept, ask_both=ask_both
        )
        served, measured = found.served, found.measured
        if held_out:
            with open_classifier(bundle, served) as classifier:
                held_answers = classify_all(classifier, held_out.texts, "calibrating", kept)
            calibration = calibrate(held_answers, held_out, labels, variant=served, precision=packaging.sure_precision)
            say(as_line(calibration))
            facts["calibration"] = calibration
            if not judged:  # the worker scales the logits of every variant by it
                measured = {
                    name: replace(each, answers=rescaled_answers(each.answers, PLAIN, calibration.scaling))
                    for name, each in measured.items()
                }
        evaluations = {name: evaluate(each.answers, each.truth, labels) for name, each in measured.items()}
        facts |= results(served, evaluations, keep=packaging.keep, file=test.path.name, max_length=settings.max_length)
        remove_all_but(bundle, facts["variants"])
        seal(bundle, facts)
        write_golden(bundle, record_golden(bundle, tuple(facts["variants"]), data.train))
        encoder = Encoder(base.tokenizer_json, settings.reading)
        write_profile(bundle, test, measured[served].answers, encoder, labels)
        manifest = seal(bundle, facts)
        if record.curve:
            plot_curve(record, bundle / PICTURE)
        header = yaml_header(
            manifest.name,
            evaluations[served],
            file=f"{test.path.name}{_how_measured(record)}",
            license_name=packaging.license or license_of(base.directory),
            base_model=[base.name],
        )
        write_text(bundle / CARD, header + model_card(manifest, evaluations[served], record))
        record.measured(evaluations).write(bundle / BUNDLE_RECORD)
        manifest = seal(bundle, facts)
        for variant in manifest.variants:
            with open_classifier(bundle, variant) as classifier:
                classifier.self_check()
    return Packaged(manifest, evaluations, measured)


def _how_measured(record: RunRecord) -> str:
    """What to add to the name of the file that measured; nothing if it is a file of its own."""
    if record.measured_by_folds:
        return ", cross-validated"
    return "" if record.data_options.get("test_share") is None else ", a held-out share"


def calibration_set(base: Base, train: Reviews, settings: FitSettings, count: int) -> list[TokenIds]:
    """`count` training texts drawn with the seed, as `scale_windows` cuts them to the length that is served."""
    generator = np.random.default_rng(settings.seed)
    texts = [train.texts[row] for row in generator.permutation(len(train))[:count]]
    reading = replace(settings.reading, max_length=settings.max_length)
    return scale_windows(base.tokenizer_json, reading, texts, generator)


def _training_data(record: RunRecord) -> list[Source]:
    """The training data of this run, of its base and of its teachers, for the manifest; the test file comes last."""
    parts: tuple[DataPart, ...] = ("train", "unlabeled")
    own = [record.data[part] for part in parts if part in record.data]
    known = {part.sha256 for part in own}
    return [*own, *(part for part in record.inherited if part.sha256 not in known), record.data["test"]]


def results(
    served: str,
    evaluations: Mapping[str, Evaluation],
    *,
    keep: Collection[str],
    file: str,
    max_length: int,
    made: Mapping[str, Variant] = export.VARIANTS,
) -> dict[str, Any]:
    """The part of the manifest that measuring decides: which of the variants `made` stay, and how accurate each is."""
    accuracies = {
        name: Accuracy(file=file, rows=seen.rows, accuracy=seen.accuracy, max_length=max_length)
        for name, seen in evaluations.items()
    }
    kept = {
        name: variant.model_copy(update={"accuracy": accuracies.pop(name, None)})
        for name, variant in made.items()
        if name == served or name in keep
    }
    return {"served": served, "variants": kept, "measured_only": accuracies}


def remove_all_but(bundle: Path, kept: Mapping[str, Variant]) -> None:
    """Remove the weights from `bundle` that none of the variants `kept` reads."""
    needed = {file for variant in kept.values() for file in variant.files}
    for variant in export.VARIANTS.values():
        for file in set(variant.files) - needed:
            (bundle / file).unlink(missing_ok=True)
