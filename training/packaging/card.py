"""The model card of a bundle: what it is, how good it is, what it must not be used for."""

import re

from consumer.model.bundle.manifest import Calibration, Manifest
from consumer.model.inference.scaling import Scaling
from consumer.model.texts.reading import Truncation
from training.loop.schedule import describe
from training.measure.evaluate import Evaluation, as_text
from training.packaging.curve_plot import PICTURE
from training.packaging.record import RunRecord
from training.settings import DistilSettings, FitSettings

CARD = "MODEL_CARD.md"

_HEADING = "## Calibration"
_UNCALIBRATED = "The probabilities are not calibrated."


def model_card(manifest: Manifest, served: Evaluation, record: RunRecord) -> str:
    """The card in Markdown; every figure in it was measured when the bundle was made."""
    settings = record.settings
    accuracies = {name: variant.accuracy for name, variant in manifest.variants.items()} | manifest.measured_only
    lines = [
        f"| {name} | {accuracy.accuracy:.2%} | {accuracy.rows} | {'served' if name == manifest.served else ''} |"
        for name, accuracy in accuracies.items()
        if accuracy is not None
    ]
    data = [f"- `{part.file}`, {part.rows} rows used, SHA-256 `{part.sha256}`" for part in manifest.training_data]
    return f"""# {manifest.name}

Labels a review as {" or ".join(manifest.labels)}. {_origin(manifest, record)}. \
It reads up to {manifest.max_length} tokens at once; {what_is_read(manifest)}.

## Accuracy

{_measured_with(manifest, record)}

| variant | accuracy | rows | |
|---|---|---|---|
{chr(10).join(lines)}

The served variant {_measured_on(served, record)}:

```
{as_text(served)}
```
{_folds(record)}
## Data and training

{chr(10).join(data)}

Training: {_epochs(record)}, batches of {settings.batch_size}, peak learning rate {settings.learning_rate:g} \
({describe(settings)}), weight decay {settings.weight_decay:g}, \
{settings.train_max_length} tokens {"a window" if settings.reading.windows else "a review"}, seed {settings.seed}\
{_specials(settings)}.
{_picture(record)}{_distillation(record)}
{calibration_section(manifest.calibration)}
## Limits

The model knows the language and the kind of text that it was trained on. It labels other text too, and may be
confident and wrong. Do not use it to judge the people who wrote the reviews.
"""


def _epochs(record: RunRecord) -> str:
    """How many were trained, and which one is in the bundle."""
    trained, chosen = record.epochs[-1].epoch, record.packaged_epoch
    if record.settings.select == "none":
        return f"{trained:g} epochs"
    return f"{trained:g} epochs; the one that ended at {chosen:g} is packaged, the best by {record.settings.select}"


def _measured_with(manifest: Manifest, record: RunRecord) -> str:
    """The test file, or the share of the training file in its place."""
    file, share = manifest.training_data[-1].file, record.data_options.get("test_share")
    measured, apart = "Measured through the worker's own classifier on", "None of its texts is in the\ntraining rows."
    if record.folds and record.measured_by_folds:
        return (
            f"{measured} `{file}`, the training file, in {len(record.folds.folds)} folds: each of its\n"
            f"{record.folds.rows} rows was answered by a model that was made in the same way from the other folds.\n"
            "This model was trained on all folds, and no file has measured it. Reviews from elsewhere may be harder."
        )
    if share is None:
        return f"{measured} `{file}`. {apart}"
    return (
        f"{measured} {record.data['test'].rows} rows of `{file}`, the training file, that were held out of the "
        f"training ({share:.0%} of each label).\nThis is a share of the training file, not an independent file: "
        f"reviews from elsewhere may be harder. {apart}"
    )


def _folds(record: RunRecord) -> str:
    """The cross-validation before the run, if there was one."""
    if record.folds is None:
        return ""
    folds, (low, high) = record.folds, record.folds.interval
    return (
        f"\nCross-validation on `{record.data['train'].file}`, {len(folds.folds)} folds: accuracy "
        f"{folds.accuracy.mean:.2%} (standard deviation over the\nfolds {folds.accuracy.std:.2%}), "
        f"{folds.pooled_accuracy:.2%} ({low:.2%} to {high:.2%}) of the {folds.rows} out-of-fold answers.\n"
    )


def _picture(record: RunRecord) -> str:
    """How the training went, in the picture beside the card."""
    return f"\n![training loss and learning rate by step]({PICTURE})\n" if record.curve else ""


def _measured_on(served: Evaluation, record: RunRecord) -> str:
    """On all rows of the test file, or on those that were drawn."""
    rows = record.data["test"].rows
    if record.measured_by_folds:
        return f"of each fold on its rows, {served.rows} in all"
    return "on all test rows" if served.rows == rows else f"on {served.rows} of {rows} test rows, drawn with the seed"


def _specials(settings: FitSettings) -> str:
    """Settings that few runs change."""
    frozen = f", the lowest {settings.freeze} layers and the embeddings frozen" if settings.freeze else ""
    return frozen + (", labels weighted by their rarity" if settings.class_weights == "balanced" else "")


def _origin(manifest: Manifest, record: RunRecord) -> str:
    size = f"({manifest.parameters / 1e6:.1f} M parameters)"
    if not record.teachers:
        return f"Fine-tuned from `{manifest.base_model}` {size}"
    teachers = " and ".join(f"`{teacher.name}`" for teacher in record.teachers)
    return f"Distilled from {teachers}, initialised from `{manifest.base_model}` {size}"


def _distillation(record: RunRecord) -> str:
    """What a student was trained on, by which teachers; nothing for other models."""
    settings = record.settings
    if not isinstance(settings, DistilSettings):
        return ""
    attention = f" + {settings.attention_weight:g} x its attention" if settings.attention_weight else ""
    teachers = "".join(f"- teacher `{teacher.name}`, SHA-256 `{teacher.sha256}`\n" for teacher in record.teachers)
    return f"""
{teachers}
Loss: {settings.soft_weight:g} x the mean answers of the teachers at temperature {settings.temperature:g}, + \
{settings.label_weight:g} x the labels + {settings.hidden_weight:g} x the last hidden state of the first teacher\
{attention}.
"""


def what_is_read(manifest: Manifest, *, trained: bool = True) -> str:
    """What the model reads of a longer review; `trained`: it was trained to read so."""
    if manifest.windows:
        return (
            f"a longer review is read in windows of that length, the first {manifest.windows.most} of them. Each "
            f"repeats {manifest.windows.overlap:.0%} of the one before, and their logits are averaged"
            f"{', in training too' if trained else ''}"
        )
    both = manifest.truncation is Truncation.HEAD_TAIL
    return f"of a longer review, it reads the first {'and the last ' if both else ''}tokens"


def scaling_in_words(scaling: Scaling) -> str:
    """What is done to logits before softmax."""
    divided = f"divided by {scaling.temperature:.3f}"
    if not scaling.sharpening:
        return divided
    return f"{divided} and then multiplied by 1 + {scaling.sharpening:.4f} m², m being the highest minus the second"


def calibration_section(calibration: Calibration | None) -> str:
    """What the probabilities mean, as a section of the card."""
    if calibration is None:
        return f"{_HEADING}\n\n{_UNCALIBRATED}\n"
    unsure = (
        f"No threshold reached {calibration.target_precision:.1%} accuracy there, so no prediction is marked `unsure`."
        if calibration.threshold is None or calibration.unsure is None
        else f"A prediction with a probability below {calibration.threshold:.4f} is marked `unsure`: "
        f"{calibration.unsure:.1%} of these reviews. Of the others at least {calibration.target_precision:.1%} were "
        "right."
    )
    return f"""{_HEADING}

Logits are {scaling_in_words(calibration.scaling)}, fitted on the answers of {calibration.variant} to \
{calibration.data.rows} reviews of `{calibration.data.file}` that the run did not train on. The expected calibration \
error (15 bins) on these reviews was {calibration.ece_before:.2%} before and is {calibration.ece_after:.2%} after.

{unsure} This holds for reviews like these, not for other kinds of text.
"""


def with_calibration(card: str, calibration: Calibration) -> str:
    """The card of a bundle that was calibrated after it was made; other log losses in it are from before."""
    section = (
        calibration_section(calibration) + "\nEvery log loss in this card was measured before this calibration.\n\n"
    )
    card = re.sub(rf"^{_HEADING}$.*?(?=^## |\Z)", "", card, flags=re.DOTALL | re.MULTILINE)
    card = card.replace(f"{_UNCALIBRATED} ", "")
    before, limits, after = card.partition("## Limits")
    return before.rstrip() + "\n\n" + section + limits + after
