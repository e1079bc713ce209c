"""A cascade for people: what was measured as text, as a model card, and as a picture of accuracy over throughput."""

from collections.abc import Sequence
from pathlib import Path

from consumer.model.cascade.manifest import Member
from training.io.output import storing
from training.measure.cascades.choosing import AtThresholds, Decided, Measurement
from training.measure.curves.speed import Speed
from training.measure.evaluate import as_text as evaluation_text
from training.packaging.card import scaling_in_words

PICTURE = "cascade.png"


def as_text(names: Sequence[str], decided: Decided, measured: Measurement, speed: Speed | None) -> str:
    """What fits a terminal."""
    return "\n".join(
        [
            *(evaluation_text(measured.evaluation), ""),
            *(*_members_table(names, measured, speed), ""),
            *(_lost(measured), ""),
            *_points_table(decided, measured, speed),
        ]
    )


def as_card(name: str, members: Sequence[Member], decided: Decided, measured: Measurement, speed: Speed | None) -> str:
    """The card in Markdown; every figure in it was measured when the bundle was made."""
    names = [member.name for member in members]
    calibration = members[0].calibration
    bundles = [f"- `{member.name}` ({member.variant}), `{member.path}`, digest `{member.digest}`" for member in members]
    data = [
        f"- {what}: `{part.file}`, {part.rows} rows, SHA-256 `{part.sha256}`"
        for what, part in (("chose the thresholds and calibrated", decided.data), ("measured", measured.data))
    ]
    below = [
        f"`{member.name}` answers what it gives a probability of at least {member.below:.4f}, and passes on the rest."
        for member in members
        if member.below is not None
    ]
    scalings = ", ".join(f"{scaling_in_words(member.calibration.scaling)} ({member.name})" for member in members)
    unsure = (
        "No prediction is marked `unsure`."
        if calibration.threshold is None or calibration.unsure is None
        else f"A prediction with a probability below {calibration.threshold:.4f}, whoever made it, is marked `unsure`: "
        f"{calibration.unsure:.1%} of the reviews that chose. Of the others at least "
        f"{calibration.target_precision:.1%} were right."
    )
    figure = measured.figures.overall["calibration_error"]
    error = f"{figure.value:.2%} ({figure.low:.2%} to {figure.high:.2%})" if figure else "not known"
    timed = (
        f"Reviews/s: {speed.rows} drawn test rows, median of {speed.rounds} rounds, {speed.threads} threads of "
        f"{speed.processor}, {speed.date}, from text to label."
        if speed
        else "Its throughput was not measured."
    )
    return f"""# {name}

Labels a review as {" or ".join(measured.evaluation.confusion)}. A cascade: each model answers what it is sure of, and \
passes the rest on to the next one, which costs more.

{chr(10).join(bundles)}

{" ".join(below)} The members are bundles of their own and have their own cards.

## Accuracy

Measured through the worker's own classifier on the {measured.data.rows} rows of `{measured.data.file}` that are not
among those that chose the thresholds:

```
{evaluation_text(measured.evaluation)}
```

{chr(10).join(_members_table(names, measured, speed))}

{_lost(measured)}

![accuracy over throughput]({PICTURE})

## Other thresholds

Chosen for other losses on the rows that choose, and measured on the others. Points lost are against `{names[-1]}`
alone, with the 95 % interval of paired answers. {timed}

{chr(10).join(_points_table(decided, measured, speed))}

## Data

{chr(10).join(data)}

## Calibration

Logits are {scalings}, fitted for every member on the rows that chose. A probability means the same
whoever answers. On the rows that measured, the calibration error is {error}.

{unsure} This holds for reviews like these, not for other kinds of text.

## Limits

The models know the language and the kind of text that they were trained on. They label other text too, and may be
confident and wrong. Throughput falls if more reviews are passed on than here. Do not use it to judge the people who
wrote the reviews.
"""


def _lost(measured: Measurement) -> str:
    loss, on_all = measured.loss, measured.loss_on_all
    return (
        f"Points lost against the last member alone: {loss.points:.2f} (95 % interval {loss.interval[0]:.2f} to "
        f"{loss.interval[1]:.2f}): {loss.worse} rows that only it has right, {loss.better} that only the cascade has "
        f"right, p = {loss.p_value:.2g} (McNemar). On all {on_all.rows} rows of the file, with those that chose: "
        f"{on_all.points:.2f} ({on_all.interval[0]:.2f} to {on_all.interval[1]:.2f})."
    )


def _members_table(names: Sequence[str], measured: Measurement, speed: Speed | None) -> list[str]:
    lines = ["| | accuracy | answers | reviews/s |", "|---|--:|--:|--:|"]
    for place, name in enumerate(names):
        rate = _rate(speed.members[place]) if speed else "-"
        lines.append(
            f"| {name} alone | {measured.alone[place].accuracy:.2%} | {measured.answered[place]:.1%} | {rate} |"
        )
    return [*lines, f"| cascade | {measured.evaluation.accuracy:.2%} | | {_rate(_own(measured, speed))} |"]


def _rate(reviews_per_second: float | None) -> str:
    """A throughput for people; a dash if there is none."""
    return f"{reviews_per_second:,.1f}" if reviews_per_second else "-"


def _own(measured: Measurement, speed: Speed | None) -> float | None:
    """Throughput of what was decided: at the thresholds of the loss that was asked for."""
    if speed is None:
        return None
    return next(
        (rate for point, rate in zip(measured.points, speed.points, strict=True) if _is_own(point, measured)), None
    )


def _is_own(point: AtThresholds, measured: Measurement) -> bool:
    return (point.accuracy, point.loss) == (measured.evaluation.accuracy, measured.loss)


def _points_table(decided: Decided, measured: Measurement, speed: Speed | None) -> list[str]:
    lines = [
        "| points allowed | passed on below | passed on | accuracy | points lost | reviews/s | times the last alone |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for place, point in enumerate(measured.points):
        rate = speed.points[place] if speed else None
        low, high = point.loss.interval
        own = " (this one)" if point.below == decided.below else ""
        lines.append(
            f"| {point.allowed:g}{own} | {' / '.join(f'{each:.4f}' for each in point.below)} | "
            f"{' / '.join(f'{each:.1%}' for each in point.passed_on)} | {point.accuracy:.2%} | "
            f"{point.loss.points:.2f} ({low:.2f} to {high:.2f}) | {_rate(rate)} | "
            f"{f'{rate / speed.members[-1]:.1f}' if rate and speed else '-'} |"
        )
    return lines


def draw_picture(
    path: Path, members: Sequence[Member], decided: Decided, measured: Measurement, speed: Speed | None
) -> None:
    """Accuracy over throughput: each member alone, and the cascade at each of its thresholds.

    Without times, accuracy over the share that is passed on by the first member.
    """
    from matplotlib.figure import Figure

    # `Figure` itself, not pyplot: no window system is asked for, and nothing is left open.
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    panel = figure.subplots()
    at = speed.points if speed else tuple(100 * point.passed_on[0] for point in measured.points)
    shares = [100 * point.accuracy for point in measured.points]
    panel.plot(at, shares, "o-", color="tab:blue", label="cascade")
    for x, point in zip(at, measured.points, strict=True):
        below = " / ".join(f"{each:.2f}" for each in point.below)
        chosen = point.below == decided.below
        panel.annotate(
            f"below {below}" + (", chosen" if chosen else ""),
            (x, 100 * point.accuracy),
            xytext=(-4, -12) if chosen else (5, 5),
            textcoords="offset points",
            ha="right" if chosen else "left",
            size=8,
            weight="bold" if chosen else "normal",
        )
    if speed:
        for member, rate, alone in zip(members, speed.members, measured.alone, strict=True):
            low, high = (100 * abs(end - alone.accuracy) for end in alone.interval)
            panel.errorbar([rate], [100 * alone.accuracy], yerr=[[low], [high]], fmt="s", capsize=3, color="tab:gray")
            panel.annotate(
                member.name, (rate, 100 * alone.accuracy), xytext=(5, -12), textcoords="offset points", size=8
            )
        panel.set_xscale("log")
        for axis in (panel.xaxis.set_major_formatter, panel.xaxis.set_minor_formatter):
            axis(lambda rate, _: f"{rate:,.0f}")
        panel.set_xlabel(f"reviews/s, {speed.threads} threads, {speed.processor}", size=8)
    else:
        panel.set_xlabel("passed on by the first member, %")
    panel.set_ylabel(f"accuracy on {measured.data.rows} rows, %")
    panel.margins(x=0.15, y=0.1)
    panel.grid(alpha=0.3, which="both")
    with storing(path):
        figure.savefig(path, dpi=100)
