"""From an accepted checkpoint to a bundle: export, compare with transformers, quantise, judge, measure, seal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from consumer.model.bundle.manifest import Calibration, Manifest, Source
from consumer.model.inference.scaling import PLAIN
from consumer.model.texts.cleaning import AS_THEY_ARE
from consumer.model.texts.encoder import Encoder
from consumer.model.texts.reading import Reading
from training.adoption.card import adoption_card
from training.adoption.golden import record_golden
from training.adoption.order import check_order
from training.adoption.origin import Origin
from training.adoption.probes import PROBES
from training.adoption.record import AdoptionRecord, Compared
from training.adoption.reference import ask_transformers, check_alike
from training.adoption.rows import Rows
from training.io.output import write_text
from training.io.progress import say
from training.measure.calibrate import MIN_ROWS, as_line, calibrate, rescaled_answers
from training.measure.evaluate import Answer, Evaluation, classify_all, evaluate, open_classifier
from training.measure.gate import FAST, REFERENCE, Measured, choose_by_agreement, choose_served
from training.packaging import export
from training.packaging.card import CARD
from training.packaging.golden import nothing_to_replay
from training.packaging.package import remove_all_but, results
from training.packaging.profile import write_profile
from training.packaging.record import BUNDLE_RECORD
from training.packaging.scales import scale_windows
from training.packaging.sealing import replacing, seal, write_golden
from training.settings import AdoptSettings

#: Texts of the user on which the fp32 variant is compared with transformers, beside the probes.
COMPARED = 32


@dataclass(frozen=True)
class Adopted:
    """A checkpoint that was read and accepted.

    `outputs` are the names in its configuration, and `labels` what they are called from now on, both in the order of
    its logits. `tokenizer` is that of transformers, `tokenizer_json` the same for the worker.
    """

    model: Any
    tokenizer: Any
    tokenizer_json: str
    outputs: tuple[str, ...]
    labels: tuple[str, ...]
    reading: Reading
    origin: Origin


@dataclass
class Findings:
    """What was measured: the served variant, evaluations by variant, agreement with fp32, and the calibration.

    `answers` are those of the served variant to the rows that measure.
    """

    served: str = REFERENCE
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    agreement: dict[str, float] = field(default_factory=dict)
    calibration: Calibration | None = None
    answers: Sequence[Answer] = ()


def write_bundle(adopted: Adopted, rows: Rows, settings: AdoptSettings, out: Path) -> tuple[Manifest, Findings]:
    """Write the bundle `out`, compared, measured and self-checked; nothing is at `out` until it is whole.

    Raises:
        UsageError: on the labelled rows, the labels fit better in another order.
        BundleError: the exported model answers differently than transformers.
        GaveUp: it cannot be written, for example because the disk is full.
    """
    probes = (*PROBES, *rows.samples[:COMPARED])
    expected = ask_transformers(
        adopted.model, adopted.tokenizer, adopted.tokenizer_json, probes, adopted.reading.max_length
    )
    with replacing(out) as bundle:
        say("exporting: torch, OpenVINO fp32")
        export.export_tokenizer(adopted.tokenizer_json, bundle)
        export.export_torch(adopted.model, bundle)
        export.export_openvino(adopted.model, bundle)
        facts = _facts(adopted, settings, out)
        variants = {name: variant for name, variant in export.VARIANTS.items() if name != FAST}
        write_golden(bundle, nothing_to_replay())
        seal(bundle, facts | {"variants": variants, "served": REFERENCE})
        largest, compared = check_alike(bundle, expected, adopted.labels, adopted.reading)
        say(f"{REFERENCE} answers {compared} texts as transformers does: logits differ by at most {largest:.1e}")
        if rows.deciding:
            check_order(bundle, rows.deciding, adopted.labels)
        if rows.scales:
            say(f"quantising to int8 with {len(rows.scales)} texts")
            generator = np.random.default_rng(settings.seed)
            windows = scale_windows(adopted.tokenizer_json, adopted.reading, rows.scales, generator)
            export.export_int8(bundle, windows)
            variants = export.VARIANTS
            seal(bundle, facts | {"variants": variants, "served": REFERENCE})
        found = _measured(bundle, rows, adopted.labels, settings)
        file, length = rows.sources[-1].path.name if rows.sources else "", adopted.reading.max_length
        facts |= results(
            found.served, found.evaluations, keep=settings.keep, file=file, max_length=length, made=variants
        )
        facts["calibration"] = found.calibration
        remove_all_but(bundle, facts["variants"])
        seal(bundle, facts)
        write_golden(bundle, record_golden(bundle, tuple(facts["variants"]), rows.samples))
        if rows.measuring:
            encoder = Encoder(adopted.tokenizer_json, adopted.reading)
            write_profile(bundle, rows.measuring, found.answers, encoder, adopted.labels)
        else:
            say(f"so that the worker notices drift: review-training profile --bundle {out} --data FILE")
        manifest = seal(bundle, facts)
        record = AdoptionRecord(
            origin=adopted.origin,
            outputs=adopted.outputs,
            labels=adopted.labels,
            settings=settings,
            sources=tuple(Source(file=each.path.name, sha256=each.sha256, rows=len(each)) for each in rows.sources),
            compared=Compared(texts=compared, largest_difference=largest),
            agreement=found.agreement,
            agreement_texts=len(rows.samples) if found.agreement else 0,
            metrics={name: each.as_json() for name, each in found.evaluations.items()},
        )
        record.write(bundle / BUNDLE_RECORD)
        write_text(bundle / CARD, adoption_card(manifest, record, found.evaluations.get(found.served)))
        manifest = seal(bundle, facts)
        for variant in manifest.variants:
            with open_classifier(bundle, variant) as classifier:
                classifier.self_check()
    return manifest, found


def _facts(adopted: Adopted, settings: AdoptSettings, out: Path) -> dict[str, Any]:
    """The part of the manifest that nothing measured decides.

    It lists no training data: which texts a checkpoint was trained on is not known.
    """
    created = datetime.now(UTC)
    return {
        "format": AS_THEY_ARE,
        "name": settings.name or out.name,
        "version": created.strftime("%Y.%m.%d"),
        "created": created,
        "base_model": adopted.origin.name,
        "labels": adopted.labels,
        "max_length": adopted.reading.max_length,
        "truncation": adopted.reading.truncation,
        "windows": adopted.reading.windows,
        "parameters": sum(parameter.numel() for parameter in adopted.model.parameters()),
    }


def _measured(bundle: Path, rows: Rows, labels: Sequence[str], settings: AdoptSettings) -> Findings:
    """Choose the served variant and calibrate it on the rows that decide; measure it on the others."""
    found = Findings()
    if not rows.deciding or not rows.measuring or not rows.gate:
        if rows.gate and rows.scales:
            found.served, found.agreement = choose_by_agreement(bundle, rows.gate.texts, settings.min_agreement)
        return found
    measured: Mapping[str, Measured] = {}
    if rows.scales:
        found.served, measured = choose_served(bundle, rows.gate, labels, settings, seed=settings.seed, kept=None)
    with open_classifier(bundle, found.served) as classifier:
        deciding = classify_all(classifier, rows.deciding.texts, "calibrating")
        answers = classify_all(classifier, rows.measuring.texts, f"measuring {found.served}")
    # What the served variant answered to the rows that chose it says less than its answers to the others.
    measured = dict(measured) | {found.served: Measured(answers, rows.measuring.labels)}
    scaling = PLAIN
    if len(rows.deciding) >= MIN_ROWS:
        found.calibration = calibrate(
            deciding, rows.deciding, labels, variant=found.served, precision=settings.sure_precision
        )
        scaling = found.calibration.scaling
        say(as_line(found.calibration))
    else:
        say(f"{len(rows.deciding)} rows are too few to calibrate the probabilities on (minimum: {MIN_ROWS})")
    found.evaluations = {
        name: evaluate(rescaled_answers(each.answers, PLAIN, scaling), each.truth, labels)
        for name, each in measured.items()
    }
    found.answers = rescaled_answers(answers, PLAIN, scaling)
    return found
