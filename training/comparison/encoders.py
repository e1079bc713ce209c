"""bert and distilbert: a run of `review-training fit` on the rows that the other models see."""

from pathlib import Path
from typing import Any

from consumer.errors import UsageError
from training.data.prepare import DataOptions, Prepared
from training.encoders.base import Base, check_encoder, check_length, classifier_config, readable
from training.encoders.freezing import check_layers
from training.fine_tuning import fit_prepared
from training.loop import checkpoint
from training.measure.evaluate import Evaluation
from training.plan import Job
from training.settings import FitSettings, PackageSettings

ENCODERS = ("bert", "distilbert")


def check_base(base: Base, settings: FitSettings) -> None:
    """Check that `base` can be fine-tuned with `settings`, from its configuration and the names of its tensors.

    Raises:
        UsageError: it cannot be read, lacks weights of the encoder, reads fewer tokens than `--max-length` or has fewer
            layers than `--freeze`.
    """
    import torch
    from safetensors import safe_open
    from transformers import AutoModelForSequenceClassification

    config = classifier_config(base, ("0", "1"))
    check_length(config, settings.max_length, "--max-length")
    check_layers(config, settings.freeze)
    with readable(base.directory):
        with safe_open(base.directory / "model.safetensors", "pt") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - it has no iterator
        weights = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
        with torch.device("meta"):
            empty: Any = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
        model, loaded = type(empty).from_pretrained(
            None, config=config, state_dict=weights, device_map={"": "meta"}, output_loading_info=True
        )
    check_encoder(base.directory, model, loaded["missing_keys"])


def fit_encoder(
    base: Base, data: Prepared, settings: FitSettings, *, options: DataOptions, out: Path, checkpoints: Path
) -> tuple[Evaluation, float]:
    """Fine-tune `base` into the bundle `out` and keep only its served variant; resumes a killed run.

    Returns:
        How the served variant did on all test rows, and the seconds of training, exporting and measuring left out.

    Raises:
        UsageError: torchrun started several processes.
    """
    job = Job(out, PackageSettings(keep=("int8",)), checkpoints, data_options=options)
    fitted = fit_prepared(data, base, settings, job)
    if fitted is None:
        raise UsageError("compare runs in one process: start it without torchrun")
    header = checkpoint.read_header(checkpoints)
    return fitted.evaluation, header[1].seconds if header else 0.0
