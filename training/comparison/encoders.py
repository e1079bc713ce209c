"""bert and distilbert: the very run of `review-training fit`, on the rows that the other models see."""

from pathlib import Path

from consumer.errors import UsageError
from training.data.prepare import DataOptions, Prepared
from training.encoders.base import Base
from training.fit import fit_prepared
from training.loop import checkpoint
from training.measure.evaluate import Evaluation
from training.plan import Job
from training.settings import FitSettings, PackageSettings

ENCODERS = ("bert", "distilbert")


def fit_encoder(
    base: Base, data: Prepared, settings: FitSettings, *, options: DataOptions, out: Path, checkpoints: Path
) -> tuple[Evaluation, float]:
    """Fine-tune `base` into the bundle `out`, only its served variant kept; goes on where a killed run stopped.

    Returns:
        How the served variant did on all test rows, and the seconds of training, exporting and measuring left out.

    Raises:
        UsageError: torchrun started several processes.
    """
    job = Job(out, PackageSettings(keep=("int8",)), checkpoints, data_options=options)
    fitted = fit_prepared(data, base, settings, job)
    if fitted is None:
        raise UsageError("compare runs in one process: start it without torchrun")
    _, evaluation = fitted
    header = checkpoint.read_header(checkpoints)
    return evaluation, header[1].seconds if header else 0.0
