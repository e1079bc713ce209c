"""The plot of a learning-rate range test, drawn without a display and without matplotlib's global state."""

from pathlib import Path

from matplotlib.figure import Figure

from consumer.errors import UsageError
from training.io.output import check_file, writing
from training.loop.lr_find import RateTest

#: Formats that matplotlib writes without other programs.
FORMATS = (".png", ".svg", ".pdf")

GREY, BLUE, ORANGE, GREEN = "#b8b8b8", "#1f5fa8", "#d9730d", "#2b8a3e"


def check_plot(path: Path) -> None:
    """Raise `UsageError` if no plot can be written to `path`: better before a long test than after it."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"--out {path} is not a picture: end its name in {', '.join(FORMATS)}")
    check_file("--out", path)


def plot_rate_test(test: RateTest, path: Path) -> None:
    """Loss over learning rate, on a logarithmic axis, with the suggested rates marked.

    Raises:
        UsageError: `path` cannot be written.
    """
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot(test.rates, test.losses, color=GREY, linewidth=1, label="loss of a step")
    axes.plot(test.rates, test.smoothed, color=BLUE, linewidth=2, label="smoothed")
    for rate, color, name in (
        (test.steepest, ORANGE, "steepest descent"),
        (test.tenth_of_lowest, GREEN, "a tenth of the rate of the lowest loss"),
    ):
        if rate is not None:
            axes.axvline(rate, color=color, linestyle="--", label=f"{name}: {rate:.1e}")
    axes.set_xscale("log")
    # The loss before its lowest value sets the height: the divergence after it, many times higher, is cut off.
    lowest = test.smoothed.index(min(test.smoothed))
    axes.set_ylim(0, 1.4 * max(test.smoothed[: lowest + 1]))
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss (nats)")
    axes.set_title("Learning-rate range test")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(loc="lower left")
    with writing("--out", path):
        figure.savefig(path, dpi=120)
