"""Draws a dashboard with matplotlib, from the answers of a real Prometheus, in the grid that Grafana has."""

import math
import time
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, MultipleLocator
from PIL import Image

from deploy.grafana.figures import figure, named
from deploy.grafana.parts import COLUMNS
from deploy.grafana.queries import Board, Panel, Prometheus

#: Inches of a column and of a row of the grid, of the head, and between panels.
COLUMN, ROW, HEAD, GAP = 0.68, 0.36, 0.75, 0.07
PAGE, CARD, EDGE, INK, FAINT = "#f4f5f7", "#ffffff", "#dcdfe4", "#24292e", "#6b7280"
COLOURS = ("#3274d9", "#e0823d", "#56a64b", "#a352cc", "#e02f44", "#37a2a8", "#b8870b", "#8f6bb3", "#7a8794", "#c4527a")
NAMED = {"green": "#37872d", "orange": "#e0823d", "red": "#c4162a", "blue": "#1f60c4", "purple": "#8f3bb8"}
EVENTS = {"Starts": "blue", "Model changes": "purple", "Rebalances": "orange"}
SMALL, NORMAL = 7.5, 9.0

Series = list[tuple[str, list[tuple[float, float]]]]


class Drawing:
    """One page: everything is placed in inches from the upper left corner."""

    def __init__(self, board: Board, source: Prometheus) -> None:
        self._board = board
        self._source = source
        self._known = source.everything(board)
        rows = max(panel.y + panel.height for panel in board.panels)
        self._size = (COLUMNS * COLUMN + 4 * GAP, rows * ROW + HEAD + 2 * GAP)
        self._figure = Figure(figsize=self._size, facecolor=PAGE)
        FigureCanvasAgg(self._figure)  # it measures texts
        self._events = {
            name: [moment for _, points in self._answers(query) for moment in self._moments(name, points)]
            for name, query in board.events.items()
        }

    def save(self, path: Path) -> None:
        """Draw everything, as PNG."""
        self._head()
        for row in self._board.rows:
            x, y, _, _ = self._box(row)
            self._text(x, y + ROW * 0.62, f"▾  {row.title}", size=11, weight="bold")
        for panel in self._board.panels:
            self._card(panel)
            {"stat": self._stat, "table": self._table}.get(panel.kind, self._lines)(panel)
        drawn = BytesIO()
        self._figure.savefig(drawn, format="png", dpi=110)
        # 200 colours are all that one sees, and a third of the bytes.
        Image.open(drawn).convert("RGB").quantize(200, dither=Image.Dither.NONE).save(path, optimize=True)

    def _answers(self, query: Any) -> list[tuple[Mapping[str, str], list[tuple[float, float]]]]:
        return self._source.over_time(query, self._known)

    def _moments(self, name: str, points: Sequence[tuple[float, float]]) -> list[float]:
        """When events happened: Grafana takes the value as the moment, or the first of adjacent points."""
        if name == "Starts":
            found = sorted({value / 1000 for _, value in points})
            return [moment for moment in found if self._source.start <= moment <= self._source.end]
        times = [moment for moment, _ in points]
        return [
            moment
            for before, moment in zip([-math.inf, *times[:-1]], times, strict=True)
            if moment - before > 1.5 * self._source.step
        ]

    def _box(self, panel: Panel) -> tuple[float, float, float, float]:
        """Left, top, width and height of a panel."""
        left, top = 2 * GAP + panel.x * COLUMN, HEAD + panel.y * ROW
        return left + GAP / 2, top + GAP / 2, panel.width * COLUMN - GAP, panel.height * ROW - GAP

    def _text(self, x: float, y: float, words: str, **look: Any) -> Any:
        width, height = self._size
        full: dict[str, Any] = {"size": NORMAL, "color": INK, "va": "baseline", **look}
        return self._figure.text(x / width, 1 - y / height, words, **full)

    def _axes(self, left: float, top: float, across: float, down: float) -> Any:
        width, height = self._size
        return self._figure.add_axes((left / width, 1 - (top + down) / height, across / width, down / height))

    def _head(self) -> None:
        self._text(2 * GAP, 0.33, self._board.title, size=15, weight="bold")
        first, last = (time.strftime("%H:%M", time.gmtime(each)) for each in (self._source.start, self._source.end))
        chosen = "   ".join(f"{name.capitalize()}: All" for name in self._known)
        self._text(2 * GAP, 0.6, f"{chosen}   {first} to {last} UTC", color=FAINT)
        x = self._size[0] - 2 * GAP
        for name in reversed(list(self._board.events)):
            words = self._text(x, 0.6, f"┊ {name}", color=NAMED[EVENTS[name]], ha="right")
            x -= self._width(words) + 0.25

    def _width(self, words: Any) -> float:
        """Of a text, in inches."""
        return float(words.get_window_extent().width / self._figure.dpi)

    def _card(self, panel: Panel) -> None:
        left, top, across, down = self._box(panel)
        width, height = self._size
        card = FancyBboxPatch(
            (left / width, 1 - (top + down) / height),
            across / width,
            down / height,
            boxstyle="round,pad=0,rounding_size=0.003",
            mutation_aspect=width / height,
            facecolor=CARD,
            edgecolor=EDGE,
            linewidth=0.8,
            zorder=-1,  # axes come on top of it
            transform=self._figure.transFigure,
        )
        self._figure.add_artist(card)
        self._text(left + 0.12, top + 0.24, panel.title, size=9.5, weight="bold")

    def _stat(self, panel: Panel) -> None:
        left, top, across, down = self._box(panel)
        shown = [
            (named(query.legend, labels), value)
            for query in panel.queries
            for labels, value in self._source.now(query, self._known)
        ]
        for place, (name, value) in enumerate(shown):
            middle = left + across * (place + 0.5) / len(shown)
            number, _, noun = figure(value, panel.unit).partition(" ")
            self._text(
                middle, top + down * 0.68, number, size=21, ha="center", weight="bold", color=_colour(panel, value)
            )
            self._text(middle, top + down * 0.9, noun or name, color=FAINT, ha="center")
        if not shown:
            self._text(left + across / 2, top + down * 0.68, "none", size=16, ha="center", color=FAINT)

    def _table(self, panel: Panel) -> None:
        left, top, across, down = self._box(panel)
        (query,) = panel.queries
        rows = [
            {**labels, "Value": figure(value, panel.unit)} for labels, value in self._source.now(query, self._known)
        ]
        # A column is as wide as its longest cell.
        cells = [[title, *(_short(row.get(label, "")) for row in rows)] for label, title in panel.columns.items()]
        widths = [max(map(len, column)) + 3 for column in cells]
        x = left + 0.15
        for column, width in zip(cells, widths, strict=True):
            for number, words in enumerate(column[:7]):
                look = {"weight": "bold", "color": FAINT} if number == 0 else {}
                self._text(x, top + 0.6 + 0.29 * number, words, **look)
            x += (across - 0.3) * width / sum(widths)
        if not rows:
            self._text(left + across / 2, top + down * 0.6, "none", size=13, ha="center", color=FAINT)

    def _lines(self, panel: Panel) -> None:
        left, top, across, down = self._box(panel)
        series: Series = [
            (named(query.legend, labels), points) for query in panel.queries for labels, points in self._answers(query)
        ]
        lines = self._legend(panel, series)
        axes = self._axes(left + 0.72, top + 0.36, across - 0.86, down - 0.62 - 0.19 * lines)
        axes.set_facecolor(CARD)
        if panel.stacked:
            moments = sorted({moment for _, points in series for moment, _ in points})
            heights = [[dict(points).get(moment, 0.0) for moment in moments] for _, points in series]
            if series:
                axes.stackplot(moments, heights, colors=COLOURS, alpha=0.55, linewidth=0.5, edgecolor=CARD)
        else:
            for (_, points), colour in zip(series, COLOURS * 3, strict=False):
                solid, values = [moment for moment, _ in points], [value for _, value in points]
                axes.plot(solid, values, color=colour, linewidth=1.4)
        self._scale(axes, panel)
        for name, moments in self._events.items():
            for moment in moments:
                axes.axvline(moment, color=NAMED[EVENTS[name]], linewidth=0.9, linestyle=(0, (2, 2)), alpha=0.8)
        if not series:
            self._text(left + across / 2, top + down * 0.5, "none", size=13, ha="center", color=FAINT)

    def _scale(self, axes: Any, panel: Panel) -> None:
        start, end = self._source.start, self._source.end
        axes.set_xlim(start, end)
        high = axes.get_ylim()[1]
        axes.set_ylim(0, high if high > 0 else 1)
        for value, colour in panel.steps:
            if value is not None and value <= axes.get_ylim()[1]:
                axes.axhline(value, color=NAMED[colour], linewidth=1, linestyle="--")
        axes.yaxis.set_major_locator(_ticks(panel.unit, high))
        # The legend says what is counted.
        unit = "short" if panel.unit.startswith("suffix:") else panel.unit
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: figure(value, unit)))
        minutes = max(1, round((end - start) / 60 / 4))
        first = math.ceil(start / 60 / minutes) * 60 * minutes
        axes.set_xticks(range(first, int(end) + 1, 60 * minutes))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda moment, _: time.strftime("%H:%M", time.gmtime(moment))))
        axes.tick_params(labelsize=SMALL, colors=FAINT, length=0)
        axes.grid(color=EDGE, linewidth=0.6)
        axes.set_axisbelow(True)
        for side in axes.spines.values():
            side.set_visible(False)

    def _legend(self, panel: Panel, series: Series) -> int:
        """Names and last figures below the panel; returns the number of lines that they take."""
        left, top, across, down = self._box(panel)
        placed, x, line = [], 0.0, 0
        for (name, points), colour in zip(series, COLOURS * 3, strict=False):
            words = self._text(0, 0, f"{name}  {figure(points[-1][1], panel.unit)}", size=SMALL)
            width = self._width(words) + 0.32
            if x and x + width > across - 0.2:
                x, line = 0.0, line + 1
            placed.append((words, x, line, colour))
            x += width
        lines = line + 1
        for words, x, line, colour in placed:
            y = top + down - 0.1 - 0.19 * (lines - 1 - line)
            words.set_position(((left + 0.3 + x) / self._size[0], 1 - y / self._size[1]))
            self._text(left + 0.14 + x, y, "■", size=SMALL, color=colour)
        return lines


def _ticks(unit: str, high: float) -> Locator:
    """At most five ticks at round figures: minutes have sixty seconds, and a MiB is not a million."""
    sizes = {"s": (15, 30, 60, 120, 300, 900, 1800, 3600, 14_400), "bytes": [2**n for n in range(20, 40)]}
    if high > 45 and unit in sizes:
        return MultipleLocator(next((size for size in sizes[unit] if high / size <= 5), sizes[unit][-1]))
    return MaxNLocator(nbins=4, integer=unit == "short")


def _colour(panel: Panel, value: float) -> str:
    """That of the highest step that `value` reaches."""
    reached = [colour for least, colour in panel.steps if least is None or value >= least]
    return NAMED[reached[-1]]


def _short(words: str) -> str:
    """A digest is known by its beginning."""
    return words if len(words) < 40 else f"{words[:12]}…"
