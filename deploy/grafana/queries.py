"""The committed dashboards as Grafana reads them, and their queries as it sends them to Prometheus."""

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parent / "dashboards"

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Query:
    """One query: its legend may have labels in double braces; `instant` asks for this moment alone."""

    expression: str
    legend: str
    instant: bool = False


@dataclass(frozen=True)
class Panel:
    """A panel, or the title of a row (of the kind `row`), at its place in the grid."""

    kind: str
    title: str
    unit: str
    x: int
    y: int
    width: int
    height: int
    about: str
    links: tuple[str, ...]
    queries: tuple[Query, ...]
    stacked: bool
    steps: tuple[tuple[float | None, str], ...]
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Board:
    """A dashboard: `events` are its annotations, `variables` their queries by name."""

    name: str
    title: str
    rows: tuple[Panel, ...]
    panels: tuple[Panel, ...]
    events: Mapping[str, Query]
    variables: Mapping[str, str]


def boards() -> list[Board]:
    """Every dashboard that is committed."""
    return [_board(path) for path in sorted(DIRECTORY.glob("*.json"))]


def _board(path: Path) -> Board:
    plain = json.loads(path.read_text("utf-8"))
    panels = [_panel(each) for each in plain["panels"]]
    return Board(
        name=path.stem,
        title=plain["title"],
        rows=tuple(each for each in panels if each.kind == "row"),
        panels=tuple(each for each in panels if each.kind != "row"),
        events={each["name"]: Query(each["expr"], each["titleFormat"]) for each in plain["annotations"]["list"]},
        variables={each["name"]: each["query"] for each in plain["templating"]["list"] if each["type"] == "query"},
    )


def _panel(plain: dict[str, Any]) -> Panel:
    place = plain["gridPos"]
    defaults = plain.get("fieldConfig", {}).get("defaults", {})
    organised = [each["options"] for each in plain.get("transformations", ())]
    columns = {
        label: options["renameByName"][label]
        for options in organised
        for label in sorted(options["indexByName"], key=options["indexByName"].__getitem__)
    }
    return Panel(
        kind=plain["type"],
        title=plain["title"],
        unit=defaults.get("unit", ""),
        x=place["x"],
        y=place["y"],
        width=place["w"],
        height=place["h"],
        about=plain.get("description", ""),
        links=tuple(each["url"] for each in plain.get("links", ())),
        queries=tuple(
            Query(each["expr"], each["legendFormat"], instant=bool(each.get("instant")))
            for each in plain.get("targets", ())
        ),
        stacked=defaults.get("custom", {}).get("stacking", {}).get("mode") == "normal",
        steps=tuple((each["value"], each["color"]) for each in defaults.get("thresholds", {}).get("steps", ())),
        columns=columns,
    )


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus, asked as Grafana asks it for the time from `start` to `end` (since 1970), every `step`.

    Attributes:
        url: such as http://localhost:9090.
        start: seconds.
        end: seconds.
        step: seconds between two points.
        scrape: seconds between two scrapes.
    """

    url: str
    start: float
    end: float
    step: float
    scrape: float

    def label_values(self, query: str, known: Mapping[str, str]) -> list[str]:
        """What a variable offers: `label_values(METRIC, LABEL)`."""
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
        if found is None:
            raise ValueError(f"not a query of a variable: {query}")
        matcher, label = found.groups()
        asked = {"match[]": self.filled(matcher, known), "start": self.start, "end": self.end}
        return sorted(self._get(f"label/{label}/values", asked))

    def everything(self, board: Board) -> dict[str, str]:
        """Each variable of `board` with the value that "All" has."""
        known: dict[str, str] = {}
        for name, query in board.variables.items():
            escaped = [re.escape(each).replace("\\", "\\\\") for each in self.label_values(query, known)]
            known[name] = f"({'|'.join(escaped)})"
        return known

    def filled(self, expression: str, known: Mapping[str, str]) -> str:
        """The expression without variables."""
        rate = max(self.step + self.scrape, 4 * self.scrape)
        seconds = {"__rate_interval": rate, "__interval": self.step, "__range": self.end - self.start}
        for name, value in {**{name: f"{each:.0f}s" for name, each in seconds.items()}, **known}.items():
            expression = expression.replace(f"${name}", value)
        return expression

    def now(self, query: Query, known: Mapping[str, str]) -> list[tuple[Labels, float]]:
        """Labels and value of each series at the end."""
        answer = self._get("query", {"query": self.filled(query.expression, known), "time": self.end})
        return [(each["metric"], float(each["value"][1])) for each in answer["result"]]

    def over_time(self, query: Query, known: Mapping[str, str]) -> list[tuple[Labels, list[tuple[float, float]]]]:
        """Labels and points (time, value) of each series."""
        asked = {"start": self.start, "end": self.end, "step": self.step}
        answer = self._get("query_range", {"query": self.filled(query.expression, known), **asked})
        return [
            (each["metric"], [(float(time), float(value)) for time, value in each["values"]])
            for each in answer["result"]
        ]

    def _get(self, path: str, asked: Mapping[str, object]) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the caller's own Prometheus
            return json.load(answer)["data"]
