"""From a trained model to a bundle: export, int8 gate, golden texts, model card, manifest."""

import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from consumer.bundle import GOLDEN, MANIFEST, Accuracy, FileSum, Golden, Manifest, Source, Variant
from consumer.encoder import Encoded, Encoder
from consumer.errors import UsageError
from training import export
from training.base import Base
from training.card import CARD, model_card
from training.data import Reviews, file_sha256
from training.evaluate import Evaluation, open_classifier
from training.gate import REFERENCE, choose_served
from training.golden import nothing_to_replay, record_golden
from training.prepare import Prepared
from training.progress import say
from training.record import BUNDLE_RECORD, RunRecord
from training.settings import FitSettings, PackageSettings


def package(
    model: Any,
    base: Base,
    data: Prepared,
    *,
    settings: FitSettings,
    packaging: PackageSettings,
    out: Path,
    record: RunRecord,
) -> tuple[Manifest, dict[str, Evaluation]]:
    """Write the bundle `out`, measured and self-checked; nothing is at `out` until it is whole.

    Returns:
        Its manifest, and what was measured per variant: that of the served one is on all test rows. `record`, with
        these figures, is in the bundle.
    """
    with _replacing(out) as bundle:
        say("exporting: torch, OpenVINO fp32, OpenVINO int8")
        export.export_tokenizer(base.tokenizer_json, bundle)
        export.export_torch(model, bundle)
        export.export_openvino(model, bundle)
        export.export_int8(bundle, calibration_set(base, data.train, settings, packaging.calibration_texts))
        created = datetime.now(UTC)
        facts = {
            "name": packaging.name or out.name,
            "version": created.strftime("%Y.%m.%d"),
            "created": created,
            "base_model": base.name,
            "labels": data.train.label_names,
            "max_length": settings.max_length,
            "truncation": settings.truncation,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "training_data": [
                Source(file=part.path.name, sha256=part.sha256, rows=len(part)) for part in (data.train, data.test)
            ],
        }
        # Measuring goes through the worker's classifier, which reads a bundle: a draft, with nothing to replay yet.
        _write_golden(bundle, nothing_to_replay())
        _seal(bundle, facts | {"variants": export.VARIANTS, "served": REFERENCE})
        served, evaluations = choose_served(bundle, data.test, packaging, settings.seed)
        facts |= _results(served, evaluations, packaging.keep, data.test.path.name, settings.max_length)
        _remove_all_but(bundle, facts["variants"])
        _seal(bundle, facts)
        _write_golden(bundle, record_golden(bundle, tuple(facts["variants"]), data.train))
        manifest = _seal(bundle, facts)
        (bundle / CARD).write_text(model_card(manifest, evaluations[served], settings), encoding="utf-8")
        record.measured(evaluations).write(bundle / BUNDLE_RECORD)
        manifest = _seal(bundle, facts)
        for variant in manifest.variants:
            with open_classifier(bundle, variant) as classifier:
                classifier.self_check()
    return manifest, evaluations


def calibration_set(base: Base, train: Reviews, settings: FitSettings, count: int) -> list[Encoded]:
    """`count` training texts drawn with the seed, a third each cut to a short, a middle and the full length."""
    drawn = np.random.default_rng(settings.seed).permutation(len(train))[:count]
    encoded: list[Encoded] = []
    for third, divisor in enumerate((8, 3, 1)):
        encoder = Encoder(base.tokenizer_json, max(settings.max_length // divisor, 8), settings.truncation)
        encoded += encoder.encode([train.texts[row] for row in drawn[third::3]])
    return encoded


def check_replaceable(out: Path) -> None:
    """Raise `UsageError` where `out` holds something else than a bundle: it would be deleted."""
    if out.exists() and not (out / MANIFEST).is_file():
        raise UsageError(f"{out} exists and is no bundle: remove it or name another --out")


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
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


def _results(
    served: str, evaluations: Mapping[str, Evaluation], keep: Collection[str], file: str, max_length: int
) -> dict[str, Any]:
    """The part of the manifest that measuring decides: what is kept and served, and how accurate each variant is."""
    accuracies = {
        name: Accuracy(file=file, rows=seen.rows, accuracy=seen.accuracy, max_length=max_length)
        for name, seen in evaluations.items()
    }
    kept = {
        name: variant.model_copy(update={"accuracy": accuracies.pop(name, None)})
        for name, variant in export.VARIANTS.items()
        if name == served or name in keep
    }
    return {"served": served, "variants": kept, "measured_only": accuracies}


def _write_golden(bundle: Path, golden: Golden) -> None:
    (bundle / GOLDEN).write_text(golden.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _seal(bundle: Path, facts: dict[str, Any]) -> Manifest:
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


def _remove_all_but(bundle: Path, kept: Mapping[str, Variant]) -> None:
    needed = {file for variant in kept.values() for file in variant.files}
    for variant in export.VARIANTS.values():
        for file in set(variant.files) - needed:
            (bundle / file).unlink(missing_ok=True)
