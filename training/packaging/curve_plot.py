"""The picture of a run in its bundle: loss and learning rate by step, drawn without a display."""

from pathlib import Path

from matplotlib.figure import Figure

from training.io.output import storing
from training.packaging.record import RunRecord

#: Its name in the bundle.
PICTURE = "loss.png"

BLUE, ORANGE, GREY = "#1f5fa8", "#d9730d", "#9a9a9a"


def plot_curve(record: RunRecord, path: Path) -> None:
    """Draw the training loss and the learning rate by step, and the validation loss by epoch, if there is one.

    Raises:
        GaveUp: `path` cannot be written, for example because the disk is full.
    """
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    losses = figure.subplots()
    rates = losses.twinx()
    steps = [point.step for point in record.curve]
    rates.plot(steps, [point.learning_rate for point in record.curve], color=GREY, linewidth=1, linestyle=":")
    rates.set_ylabel("learning rate (dotted)", color=GREY)
    rates.set_ylim(bottom=0)
    losses.plot(steps, [point.loss for point in record.curve], color=BLUE, linewidth=1.2, label="training")
    seen = [(epoch.step, epoch.validation.loss) for epoch in record.epochs if epoch.validation]
    if seen:
        losses.plot(*zip(*seen, strict=True), color=ORANGE, marker="o", label="validation")
    losses.set_ylim(bottom=0)
    losses.set_xlabel("step")
    losses.set_ylabel("loss (nats)")
    losses.grid(visible=True, alpha=0.3)
    losses.legend(loc="upper right")
    with storing(path):
        figure.savefig(path, dpi=100, metadata={"Software": None})
