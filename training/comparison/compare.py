"""`review-training compare`: trains and measures several models, and measures bundles, all on the same rows."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from consumer.model.bundle.loading import Bundle
from consumer.model.bundle.manifest import Source
from consumer.model.cascade.bundle import load
from training.baselines.linear import NbSvm
from training.baselines.models import NETWORKS
from training.baselines.settings import BaselineSettings
from training.comparison.contestants import measure_bundle, measure_encoder, measure_small
from training.comparison.encoders import ENCODERS, check_base
from training.comparison.report import write_report
from training.comparison.results import Comparison, Majority, Result, read_results, write_results
from training.data.columns import MIN_ROWS_PER_LABEL
from training.data.one_file import prepare_either
from training.data.prepare import DEFAULTS, DataOptions, Prepared, check_unseen
from training.data.reviews import draw, file_sha256
from training.encoders.base import Base, find_base, quiet_transformers
from training.encoders.device import without_denormal_numbers
from training.io.names import check_utf8
from training.io.output import check_directory, writing
from training.io.progress import say
from training.measure.answering.kept_answers import key_sha256, rows_sha256
from training.packaging.sealing import check_outside
from training.settings import FitSettings


@dataclass(frozen=True)
class Task:
    """A model to measure: its name, what determines its result besides the data, how to measure it, and its base."""

    name: str
    identity: dict[str, Any]
    measure: Callable[[Prepared], Result]
    base: Base | None = None


@without_denormal_numbers()  # from the start, because torch's threads inherit it
def compare(
    *,
    train_file: Path,
    test_file: Path | None,
    out: Path,
    settings: BaselineSettings,
    encoder_settings: FitSettings,
    bases: Mapping[str, str | None],
    bundles: Sequence[Path] = (),
    vectors: Path | None = None,
    limit: int | None = None,
    options: DataOptions = DEFAULTS,
) -> Comparison:
    """Measure each model on the same rows; write `compare.json` after each, `compare.md` and `compare.png` at the end.

    Args:
        train_file: see `training.data.prepare.prepare`.
        test_file: see `training.data.prepare.prepare`; None: a share of `train_file` is held out to measure on.
        out: directory of the results and of the trained models; a result that is there already with the same data and
            settings is kept, and its model not trained again.
        settings: which models, and how the small ones are trained.
        encoder_settings: how bert and distilbert are fine-tuned; its seed is that of every model.
        bases: directory or hub name for `bert` and `distilbert`; None: the model is left out.
        bundles: bundles that are measured as they are.
        vectors: pretrained word vectors for bigru, see `read_vectors`.
        limit: rows drawn from each file; None: all.
        options: see `training.data.prepare.prepare`.

    Raises:
        UsageError: a file, a base or `out` cannot be used; raised before anything is trained.
        BundleError: a bundle is refused.
    """
    seed = encoder_settings.seed
    check_directory("--out", out)
    quiet_transformers()
    tasks, skipped = plan_tasks(
        out, settings, encoder_settings, bases=bases, bundles=bundles, vectors=vectors, options=options
    )
    if not tasks:
        raise UsageError(f"nothing to compare: {'; '.join(f'{name}: {why}' for name, why in skipped.items())}")
    data = prepare_either(train_file, test_file, seed, options, say)
    check_unseen([task.base.directory for task in tasks if task.base], data, lambda _: None)
    data = Prepared(draw(data.train, limit, seed), draw(data.test, limit, seed))
    check_labels(data, bundles)
    comparison = _comparison(out, data, limit, seed, skipped).model_copy(update={"test_share": options.test_share})
    for name, why in skipped.items():
        say(f"{name}: left out, {why}")
    for task in tasks:
        found = comparison.find(task.name)
        if found and found.identity == task.identity:
            say(f"{task.name}: measured before, {found.accuracy:.2%}")
        else:
            result = task.measure(data)
            say(f"{task.name}: {result.accuracy:.2%}")
            comparison = comparison.with_result(result)
            write_results(out, comparison)
    write_results(out, comparison)
    write_report(out, comparison)
    return comparison


def plan_tasks(
    out: Path,
    settings: BaselineSettings,
    encoder_settings: FitSettings,
    *,
    bases: Mapping[str, str | None],
    bundles: Sequence[Path],
    vectors: Path | None,
    options: DataOptions,
) -> tuple[list[Task], dict[str, str]]:
    """The models to measure, and why others are left out.

    Raises:
        UsageError: a base or the vectors cannot be used, or a base or bundle is where this command writes a model.
        BundleError: a bundle is refused.
    """
    tasks: list[Task] = []
    skipped: dict[str, str] = {}
    seed = encoder_settings.seed
    if vectors is not None and not vectors.is_file():
        raise UsageError(f"--vectors {vectors} does not exist")
    models = out / "models"
    read = [("--bundle", bundle) for bundle in bundles]
    for name in dict.fromkeys(settings.models):
        base: Base | None = None
        identity: dict[str, Any] = {"model": name, "seed": seed}
        if name in ENCODERS:
            base_name = bases.get(name)
            if base_name is None:
                skipped[name] = f"no pretrained encoder: give --base-{name} a directory or a hub name"
                continue
            base = find_base(base_name)
            read.append((f"--base-{name}", base.directory))
            check_base(base, encoder_settings)
            identity |= {
                "base_sha256": base.sha256,
                "settings": encoder_settings.identity() | {"max_length": encoder_settings.max_length},
            }
            # A run with other settings has a checkpoint of its own.
            digest = key_sha256(identity)[:8]
            measure = partial(
                measure_encoder,
                name,
                base,
                identity=identity,
                settings=encoder_settings,
                options=options,
                directory=models / name,
                checkpoints=models / f"{name}-{digest}.run",
            )
        else:
            if name == "nbsvm":
                identity["beta"] = NbSvm.BETA
            if name in NETWORKS:
                identity |= settings.model_dump(mode="json", exclude={"models"})
            own_vectors = vectors if name == "bigru" else None
            if own_vectors:
                identity["vectors_sha256"] = file_sha256(own_vectors)
            measure = partial(
                measure_small,
                name,
                identity=identity,
                settings=settings,
                seed=seed,
                vectors=own_vectors,
                directory=models / name,
            )
        tasks.append(Task(name, identity, measure, base))
    for task in tasks:
        check_outside("the model of --out", models / task.name, read)
    for bundle in dict.fromkeys(bundles):
        check_utf8(str(bundle))
        loaded = load(bundle)
        served = loaded.manifest.served if isinstance(loaded, Bundle) else loaded.manifest.variant
        identity = {"digest": loaded.digest, "variant": served}
        title = f"bundle {bundle}"
        tasks.append(Task(title, identity, _measuring(title, bundle, identity)))
    return tasks, skipped


def _measuring(name: str, bundle: Path, identity: dict[str, Any]) -> Callable[[Prepared], Result]:
    return lambda data: measure_bundle(name, bundle, data.test, identity)


def check_labels(data: Prepared, bundles: Sequence[Path]) -> None:
    """Raise `UsageError` if a label became too rare, or a bundle does not know the labels."""
    for reviews in (data.train, data.test):
        for label in data.train.label_names:
            if (count := reviews.labels.count(label)) < MIN_ROWS_PER_LABEL:
                raise UsageError(
                    f"{reviews.path.name}: only {count} rows of {label!r} to use, but {MIN_ROWS_PER_LABEL} are needed: "
                    "raise --limit"
                )
    for bundle in bundles:
        labels = load(bundle).manifest.labels
        if unknown := sorted(set(data.test.labels) - set(labels)):
            raise UsageError(
                f"the data has the labels {', '.join(unknown)}; {bundle} knows {', '.join(labels)}: rename them"
            )


def _comparison(out: Path, data: Prepared, limit: int | None, seed: int, skipped: dict[str, str]) -> Comparison:
    """The comparison in `out`, or a new one.

    Raises:
        UsageError: it is of other rows: its results fit no common table, and are not overwritten.
    """
    train, test = (Source(file=part.path.name, sha256=part.sha256, rows=len(part)) for part in (data.train, data.test))
    label, count = Counter(data.test.labels).most_common(1)[0]
    new = Comparison(
        train=train,
        test=test,
        train_rows_sha256=rows_sha256(data.train.texts, data.train.labels),
        test_rows_sha256=rows_sha256(data.test.texts, data.test.labels),
        labels=data.train.label_names,
        columns=asdict(data.train.columns),
        limit=limit,
        seed=seed,
        skipped=skipped,
        majority=Majority(label=label, accuracy=count / len(data.test)),
    )
    with writing("--out", out):
        out.mkdir(parents=True, exist_ok=True)
    found = read_results(out)
    if found is None:
        return new
    if not found.same_data(new):
        raise UsageError(
            f"{out} compares on other rows (files, columns, --test-share, --limit, --seed, --near-duplicate or "
            "--drop-leaked): name another --out, or remove that directory"
        )
    skipped = {name: why for name, why in skipped.items() if found.find(name) is None}
    return found.model_copy(update={"skipped": skipped, "majority": new.majority})
