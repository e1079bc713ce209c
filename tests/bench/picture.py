"""The picture of a bench: accuracy over throughput of all that took part, on the same reviews."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from training.io.output import storing

#: Colour and marker of peers, classifiers and workers through Kafka.
STYLES = {
    "others": ("tab:gray", "s"),
    "this worker's classifier": ("tab:blue", "o"),
    "this worker, through Kafka": ("tab:orange", "D"),
}


@dataclass(frozen=True)
class Mark:
    """One of them: reviews/s, accuracy and its interval; `kind` is a key of `STYLES`."""

    name: str
    kind: str
    speed: float
    accuracy: float
    interval: tuple[float, float]


def draw(path: Path, marks: Sequence[Mark], limits: Mapping[str, float], rows: int, where: str) -> None:
    """Write the picture to `path`, as PNG.

    Args:
        path: of the file.
        marks: what took part.
        limits: by their names, in reviews/s, drawn as lines: what the cores reach in bare products of matrices.
        rows: that accuracy was measured on.
        where: processor, cores and date.

    Raises:
        GaveUp: it cannot be written, for example because the disk is full.
    """
    # `Figure` itself, not pyplot: no window system is asked for, and nothing is left open.
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    panel, key = figure.subplots(1, 2, width_ratios=(1.5, 1))
    ordered = sorted(marks, key=lambda mark: mark.speed)
    seen = set()
    for number, mark in enumerate(ordered, 1):
        colour, marker = STYLES[mark.kind]
        share = 100 * mark.accuracy
        ends = [[max(0.0, share - 100 * mark.interval[0])], [max(0.0, 100 * mark.interval[1] - share)]]
        panel.errorbar([mark.speed], [share], yerr=ends, fmt="none", ecolor=colour, alpha=0.35, capsize=2)
        label = mark.kind if mark.kind not in seen else None
        seen.add(mark.kind)
        panel.plot([mark.speed], [share], marker, color=colour, markersize=8, linestyle="", label=label)
        panel.annotate(
            str(number),
            (mark.speed, share),
            xytext=(0, -14 if marker == "D" else 7),  # a worker and its classifier are near each other
            textcoords="offset points",
            ha="center",
            color=colour,
            size=8,
            weight="bold",
        )
    for name, limit in limits.items():
        panel.axvline(limit, color="tab:red", linestyle=":", linewidth=1)
        panel.annotate(
            f"limit of the large model, {name}",
            (limit, 0.02),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            rotation=90,
            size=7,
            color="tab:red",
        )
    panel.set_xscale("log")
    for formatter in (panel.xaxis.set_major_formatter, panel.xaxis.set_minor_formatter):
        formatter(lambda rate, _: f"{rate:g}" if f"{rate:e}"[0] in "125" else "")
    panel.set_xlabel(f"reviews/s, {where}", size=8)
    panel.set_ylabel(f"accuracy on {rows:,} reviews, % (95 % interval)")
    panel.margins(x=0.08, y=0.1)
    panel.grid(alpha=0.3, which="both")
    key.axis("off")
    key.legend(*panel.get_legend_handles_labels(), loc="lower left", fontsize=8)
    lines = [
        f"{number:>2}  {mark.name}\n      {mark.speed:,.1f} reviews/s, {mark.accuracy:.2%}"
        for number, mark in enumerate(ordered, 1)
    ]
    key.text(0, 1, "\n".join(lines), va="top", size=7.5, linespacing=1.35, transform=key.transAxes)
    with storing(path):
        figure.savefig(path, format="png", dpi=120, metadata={"Software": None})
