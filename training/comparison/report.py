"""A comparison as one table in Markdown, one picture, and DistilBERT against BERT."""

from pathlib import Path
from typing import Any

from training.comparison.results import Claims, Comparison, Result
from training.io.output import storing, write_text

TABLE, PICTURE = "compare.md", "compare.png"

#: The claims about DistilBERT against BERT-base: Sanh et al. 2019, "DistilBERT, a distilled version of BERT". Table 3
#: has 110 and 66 M parameters and 668 and 410 s for the same texts on a CPU; 97 % is the mean over GLUE (table 1).
PUBLISHED = {"parameters_less": 0.40, "speed_up": 668 / 410, "accuracy_kept": 0.97}


def write_report(out: Path, comparison: Comparison) -> None:
    """Write `compare.md` and `compare.png` into `out`.

    Raises:
        GaveUp: one of them cannot be written, for example because the disk is full.
    """
    draw_picture(out / PICTURE, comparison)
    write_text(out / TABLE, as_markdown(comparison))


def as_markdown(comparison: Comparison) -> str:
    """The table, what was left out and why, and the claims if both models ran."""
    train = comparison.train
    drawn = (
        f" At most {comparison.limit} rows a side were drawn, with seed {comparison.seed}." if comparison.limit else ""
    )
    lines = [
        "# Comparison",
        "",
        f"Trained on {train.rows} rows of `{train.file}` and measured on {comparison.measured_on}.",
        f"No text is on both sides.{drawn}",
        "",
        table(comparison),
        "",
        "Intervals are Wilson's, 95 %. Training time depends on the machine. Reviews/s: from text to",
        f"label on the CPU, {cores(comparison)}. Size: weights and vocabulary, without the program that reads them.",
    ]
    lines += ["", *(f"- {name}: left out, {why}" for name, why in comparison.skipped.items())]
    lines += ["", f"![accuracy, size and speed of each model]({PICTURE})", ""]
    if comparison.distilbert_against_bert:
        lines += [claims(comparison, comparison.distilbert_against_bert), ""]
    return "\n".join(lines)


def table(comparison: Comparison) -> str:
    """One row per model."""
    lines = [
        "| model | accuracy | 95 % interval | parameters | training | reviews/s | size | |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    majority = comparison.majority
    if majority:
        lines.append(f"| (always {majority.label}) | {majority.accuracy:.2%} | | | | | | no model |")
    for result in comparison.results:
        low, high = result.interval
        speed = number(result.reviews_per_second)
        notes = [result.note, f"{result.failed} without an answer" if result.failed else ""]
        notes.append("NOT MEASURABLY BETTER THAN GUESSING" if majority and low <= majority.accuracy else "")
        note = ", ".join(filter(None, notes))
        lines.append(
            f"| {result.name} | {result.accuracy:.2%} | {low:.2%} to {high:.2%} | {result.parameters:,} | "
            f"{duration(result.training_seconds)} | {speed} | {result.bytes / 1e6:.1f} MB | "
            f"{note} |"
        )
    return "\n".join(lines)


def claims(comparison: Comparison, measured: Claims) -> str:
    """Each claim beside what was measured here."""
    bert, small = comparison.find("bert"), comparison.find("distilbert")
    overlap = bert and small and small.interval[1] >= bert.interval[0] and bert.interval[1] >= small.interval[0]
    return f"""## DistilBERT against BERT

| | claimed | measured here |
|---|--:|--:|
| parameters | {-PUBLISHED["parameters_less"]:+.0%} | {-measured.parameters_less:+.1%} |
| reviews/s | {PUBLISHED["speed_up"]:.2f} times | {measured.speed_up:.2f} times |
| training time | | {-measured.training_time_less:+.1%} |
| accuracy kept | {PUBLISHED["accuracy_kept"]:.0%} (GLUE) | {measured.accuracy_kept:.1%} |

Claimed by Sanh et al. 2019. The 95 % intervals of the two accuracies {"overlap" if overlap else "do not overlap"}."""


def duration(seconds: float | None) -> str:
    """Seconds for people; a dash where nothing was trained."""
    if seconds is None:
        return "-"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def cores(comparison: Comparison) -> str:
    """On how many cores the results were timed."""
    counts = sorted({result.cores for result in comparison.results})
    return " or ".join("1 core" if count == 1 else f"{count} cores" for count in counts)


def draw_picture(path: Path, comparison: Comparison) -> None:
    """One panel a figure, the models below each other, the most accurate on top."""
    from matplotlib.figure import Figure

    results = sorted(comparison.results, key=lambda result: result.accuracy)
    places = list(range(len(results)))
    # `Figure` itself, not pyplot: no window system is asked for, and nothing is left open.
    figure = Figure(figsize=(14, 1.6 + 0.45 * len(results)), layout="constrained")
    panels = figure.subplots(1, 5, sharey=True, width_ratios=(1.6, 1, 1, 1, 1))
    _accuracy_panel(panels[0], results)
    _bars(panels[1], [result.parameters / 1e6 for result in results], "parameters, million")
    _bars(panels[2], [result.training_seconds for result in results], "training, seconds")
    _bars(panels[3], [result.reviews_per_second for result in results], "reviews/s on CPU")
    _bars(panels[4], [result.bytes / 1e6 for result in results], "size on disk, MB")
    panels[0].set_yticks(places, [result.name for result in results])
    figure.suptitle(f"{comparison.train.rows:,} training rows, {comparison.test.rows:,} test rows")
    with storing(path):
        figure.savefig(path, dpi=120)


def number(value: float | None) -> str:
    """Three digits, and no powers of ten; a dash where there is none."""
    if not value:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _accuracy_panel(panel: Any, results: list[Result]) -> None:
    # Where all answers are right, rounding puts the end of Wilson's interval a hair below 1.
    shares = [100 * result.accuracy for result in results]
    low = [100 * max(0.0, result.accuracy - result.interval[0]) for result in results]
    high = [100 * max(0.0, result.interval[1] - result.accuracy) for result in results]
    panel.errorbar(shares, range(len(results)), xerr=[low, high], fmt="o", capsize=3, color="tab:blue")
    for place, share in enumerate(shares):
        panel.annotate(f"{share:.2f}", (share, place), xytext=(0, 6), textcoords="offset points", ha="center", size=8)
    panel.set_xlabel("accuracy, % (95 % interval)")
    panel.set_ylim(-0.6, len(results) - 0.3)
    panel.grid(axis="x", alpha=0.3)


def _bars(panel: Any, values: list[float | None], title: str) -> None:
    """Bars on a logarithmic axis, each with its number; a dash where there is none."""
    known = [value for value in values if value]
    panel.set_xlabel(title)
    if not known:
        panel.set_xticks([])
        return
    panel.set_xscale("log")
    left = min(known) / 3
    panel.set_xlim(left, max(known) * 8)
    for place, value in enumerate(values):
        if value:
            panel.barh(place, value - left, left=left, height=0.55, color="tab:blue", alpha=0.6)
        panel.annotate(
            number(value),
            (value or left, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            size=8,
        )
