"""Figures and names of series as people read them."""

import re
from collections.abc import Mapping, Sequence


def figure(value: float, unit: str) -> str:
    """`value` in about three digits, with what it counts; `unit` is that of a panel."""
    if unit == "percentunit":
        return f"{_digits(100 * value)}%"
    sizes: Sequence[tuple[float, str]]
    if unit == "s":
        sizes = ((3600.0, " h"), (60.0, " min"), (1.0, " s"), (0.0, " ms"))
    elif unit == "bytes":
        sizes = ((2.0**30, " GiB"), (2.0**20, " MiB"), (0.0, " B"))
    else:
        sizes = ((1e6, " M"), (1e3, " k"), (0.0, ""))
    size, name = next((size, name) for size, name in sizes if abs(value) >= size)
    if value == 0 and unit == "s":
        return "0 s"
    scale = size or (0.001 if unit == "s" else 1)
    noun = unit.removeprefix("suffix:").strip() if unit.startswith("suffix:") else ""
    return f"{_digits(value / scale)}{name} {noun}".strip()


def named(legend: str, labels: Mapping[str, str]) -> str:
    """The legend with the labels of a series in place of their names in double braces."""
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), legend)


def _digits(value: float) -> str:
    places = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    shown = f"{value:.{places}f}"
    return shown.rstrip("0").rstrip(".") if places else shown
