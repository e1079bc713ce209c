"""A report as one HTML file: no script, nothing loaded from elsewhere, light and dark, for a phone and for paper."""

from importlib.resources import files

from training.measure.curves.plot import drawn
from training.measure.evaluate import wilson_interval
from training.measure.reports.report import Report

#: Side of the square in which the reliability diagram is drawn, in units of its SVG.
SIDE = 300


def as_html(report: Report) -> str:
    """The report as a self-contained page. Texts of reviews are escaped."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["share"] = lambda share: f"{share:.2%}"
    template = environment.from_string(
        files("training.measure.reports").joinpath("report.html.j2").read_text(encoding="utf-8")
    )
    curve = report.curve and drawn(report.curve)
    return template.render(report=report, diagram=_diagram(report), side=SIDE, curve=curve)


def _diagram(report: Report) -> dict[str, object]:
    """Where everything in the reliability diagram is; y grows downwards.

    The axes begin at the tenth below the lowest value, for the top probability of two labels is never below a half.
    """
    intervals = [wilson_interval(each.right, each.rows) for each in report.bins]
    lowest = min([each.low for each in report.bins] + [low for low, _ in intervals], default=0.0)
    begin = int(lowest * 10) / 10
    most = max((each.rows for each in report.bins), default=1)

    def place(value: float) -> float:
        return round(SIDE * (value - begin) / (1 - begin), 1)

    return {
        "ticks": [(f"{tick / 10:.1f}", place(tick / 10)) for tick in range(round(begin * 10), 11)],
        "points": [
            {
                "x": place(each.confidence),
                "y": SIDE - place(each.accuracy),
                "low": SIDE - place(low),
                "high": SIDE - place(high),
                "left": max(place(each.low), 0.0) + 1,
                "width": place(each.high) - max(place(each.low), 0.0) - 2,
                "height": round(70 * each.rows / most, 1),
                "title": f"probability {each.low:.2f} to {each.high:.2f}: {each.rows} answers, mean probability "
                f"{each.confidence:.1%}, right {each.accuracy:.1%} ({low:.1%} to {high:.1%})",
            }
            for each, (low, high) in zip(report.bins, intervals, strict=True)
        ],
        "most": most,
    }
