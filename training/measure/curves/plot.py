"""Where everything in the plot of accuracy over cost is, in units of its SVG; y grows downwards."""

import math

from training.measure.curves.points import Point, ReadingCurve

WIDTH, HEIGHT = 520, 300

#: Numbers that an axis may show, times a power of ten.
ROUND = (1, 2, 3, 5, 7)


def drawn(curve: ReadingCurve) -> dict[str, object]:
    """Axes, one series for each kind of reading, and the line through the best points."""
    rates = [point.reviews_per_second for point in curve.points]
    left, right = math.log10(min(rates) / 1.15), math.log10(max(rates) * 1.25)
    step = _step(max(high for _, high in _intervals(curve)) - min(low for low, _ in _intervals(curve)))
    bottom = math.floor(min(low for low, _ in _intervals(curve)) / step) * step
    top = min(1.0, math.ceil(max(high for _, high in _intervals(curve)) / step) * step)

    def across(rate: float) -> float:
        return round(WIDTH * (math.log10(rate) - left) / (right - left), 1)

    def up(accuracy: float) -> float:
        return round(HEIGHT * (top - accuracy) / (top - bottom), 1)

    def place(point: Point) -> dict[str, object]:
        low, high = point.interval
        return {
            "x": across(point.reviews_per_second),
            "y": up(point.accuracy),
            "low": up(low),
            "high": up(high),
            "own": point.own,
            "length": point.max_length,
            "title": f"{point.name}: accuracy {point.accuracy:.2%} ({low:.2%} to {high:.2%}), "
            f"{point.reviews_per_second:.1f} reviews/s",
        }

    series: dict[str, list[dict[str, object]]] = {}
    for point in curve.points:
        series.setdefault(point.truncation, []).append(place(point))
    best = sorted((point for point in curve.points if point.best), key=lambda point: point.reviews_per_second)
    powers = range(math.floor(left) - 1, math.ceil(right) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in ROUND]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "across": [(f"{rate:g}", across(rate)) for rate in ticks if left <= math.log10(rate) <= right],
        "up": [
            (f"{100 * value:.{0 if step >= 0.01 else 1}f} %", up(value))
            for value in (bottom + step * number for number in range(round((top - bottom) / step) + 1))
        ],
        "series": series,
        "front": " ".join(f"{across(each.reviews_per_second)},{up(each.accuracy)}" for each in best),
    }


def _intervals(curve: ReadingCurve) -> list[tuple[float, float]]:
    return [point.interval for point in curve.points]


def _step(span: float) -> float:
    """Distance of the ticks of an axis that shows so much: about six of them."""
    return next((step for step in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1) if span / step <= 8), 0.2)
