"""What the three dashboards have in common: kinds of panels, their place in the grid, variables, annotations, links.

In an expression, `@` in the braces of a metric stands for the job and the instances that the reader chose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import common as look
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
CHOSEN = 'job=~"$job", instance=~"$instance"'
#: Columns of Grafana's grid, and the rows of it that a panel takes.
COLUMNS, STAT_ROWS, TABLE_ROWS, PANEL_ROWS = 24, 4, 5, 8
#: Reviews are to be labelled within this many seconds of their timestamp; the alerts have the same figure.
TARGET_SECONDS = 300
GREEN, YELLOW, RED = "green", "orange", "red"

Panel = stat.Panel | timeseries.Panel | table.Panel
Kind = TypeVar("Kind", stat.Panel, timeseries.Panel, table.Panel)
#: Colours by the least value that has them; the first one has no lower end.
Steps = Sequence[tuple[float | None, str]]


def chosen(expression: str) -> str:
    """The expression for the chosen workers."""
    return expression.replace("@", CHOSEN)


def above(red: float, yellow: float | None = None) -> Steps:
    """Green below, and red from `red` up."""
    return [(None, GREEN), *([(yellow, YELLOW)] if yellow is not None else []), (red, RED)]


def below(red: float) -> Steps:
    """Red below, and green from `red` up."""
    return [(None, RED), (red, GREEN)]


def one(title: str, unit: str, about: str, queries: Mapping[str, str], runbook: str, *, steps: Steps) -> stat.Panel:
    """One or two figures of this moment; `queries` are expressions by what they are called."""
    panel = stat.Panel().height(STAT_ROWS).thresholds(_thresholds(steps)).decimals(_decimals(unit)).no_value("none")
    panel.color_mode(common.BigValueColorMode.VALUE).graph_mode(common.BigValueGraphMode.NONE)
    panel.reduce_options(look.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    for reference, (name, expression) in zip("ABCD", queries.items(), strict=False):
        query = prometheus.Dataquery().ref_id(reference).expr(chosen(expression)).legend_format(name).instant()
        panel.with_target(query)
    return _described(panel, title, unit, about, runbook)


def over_time(
    title: str,
    unit: str,
    about: str,
    queries: Mapping[str, str],
    runbook: str = "first-look",
    *,
    steps: Steps = (),
    stacked: bool = False,
) -> timeseries.Panel:
    """Lines, or areas on top of each other; `queries` are expressions by the legend of their series."""
    panel = timeseries.Panel().height(PANEL_ROWS).min(0).line_width(1).show_points(common.VisibilityMode.NEVER)
    panel.fill_opacity(40 if stacked else 10)
    if stacked:
        panel.stacking(look.StackingConfig().mode(common.StackingMode.NORMAL))
    if steps:
        panel.thresholds(_thresholds(steps))
        panel.thresholds_style(look.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED))
    panel.legend(
        look.VizLegendOptions().show_legend(True).placement(common.LegendPlacement.BOTTOM).calcs(["lastNotNull"])
    )
    panel.tooltip(look.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
    for reference, (legend, expression) in zip("ABCDEF", queries.items(), strict=False):
        query = prometheus.Dataquery().ref_id(reference).expr(chosen(expression)).legend_format(legend).range()
        panel.with_target(query)
    return _described(panel, title, unit, about, runbook)


def listed(
    title: str, about: str, expression: str, columns: Mapping[str, str], runbook: str, *, height: int = PANEL_ROWS
) -> table.Panel:
    """A row for each series of this moment; `columns` are their titles by label, and `Value` is the value."""
    panel = table.Panel().height(height).no_value("none").thresholds(_thresholds([(None, GREEN)]))
    query = prometheus.Dataquery().ref_id("A").expr(chosen(expression)).legend_format("").instant()
    panel.with_target(query.format(PromQueryFormat.TABLE))
    order = {label: place for place, label in enumerate(columns)}
    options = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": dict(columns)}
    panel.with_transformation(dashboard.DataTransformerConfig(id_val="organize", options=options))
    return _described(panel, title, "short", about, runbook)


def _described(panel: Kind, title: str, unit: str, about: str, runbook: str) -> Kind:
    page = f"docs/runbook.md#{runbook}"
    panel.title(title).unit(unit).description(f"{about}\n\nRunbook: {page}").datasource(SOURCE)
    panel.links([build.DashboardLink(f"Runbook: {runbook}").url(f"${{runbook:raw}}#{runbook}").target_blank(True)])
    return panel


def _decimals(unit: str) -> int:
    return {"short": 0, "percentunit": 1}.get(unit, 1)


def _thresholds(steps: Steps) -> build.ThresholdsConfig:
    made = [dashboard.Threshold(value=value, color=colour) for value, colour in steps]
    return build.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(made)


@dataclass(frozen=True)
class Row:
    """Panels under a question. Those of a line share its width; stats are a line of their own."""

    question: str
    panels: Sequence[Panel]
    per_line: int = 3


def assembled(uid: str, title: str, about: str, rows: Sequence[Row]) -> dashboard.Dashboard:
    """A dashboard with everything that all of them have, and `rows`."""
    board = build.Dashboard(title).uid(uid).description(about).tags(["review-consumer"]).timezone("browser")
    board.editable().refresh("10s").time("now-1h", "now").tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
    board.variables(_variables()).annotations(_annotations()).links(_links())
    number = 0
    for row in rows:
        number += 1
        board.with_row(build.Row(row.question).id(number))
        for first in range(0, len(row.panels), row.per_line):
            line = row.panels[first : first + row.per_line]
            for panel in line:
                number += 1
                board.with_panel(panel.id(number).span(COLUMNS // len(line)))
    return board.build()


def _variables() -> list[Builder[dashboard.VariableModel]]:
    every = dashboard.VariableOption(selected=True, text="All", value="$__all")
    source = build.DatasourceVariable("datasource").label("Data source").type("prometheus")
    job = build.QueryVariable("job").label("Job").query("label_values(reviews_ready, job)")
    job.description("A scrape job: an installation of the worker")
    instance = build.QueryVariable("instance").label("Instance").query('label_values(up{job=~"$job"}, instance)')
    instance.description("A worker")
    for variable in (job, instance):
        variable.datasource(SOURCE).multi(True).include_all(True).current(every)
        variable.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    runbook = build.TextBoxVariable("runbook").label("Runbook at").default_value(RUNBOOK)
    runbook.current(dashboard.VariableOption(text=RUNBOOK, value=RUNBOOK))
    runbook.description("Address of docs/runbook.md, for the links of the panels; each worker serves it as text")
    return [source, job, instance, runbook]


#: Where the worker of this machine serves it.
RUNBOOK = "http://localhost:9100/docs/runbook"


def _annotations() -> list[Builder[dashboard.AnnotationQuery]]:
    # A new digest, not a new worker with the one that another served five minutes ago.
    kinds = "name, version, digest"
    served = f"count by ({kinds}) (reviews_model_info{{@}} == 1)"
    before = f"count by ({kinds}) (last_over_time(reviews_model_info{{@}}[5m] offset $__interval))"
    rebalances = "increase(reviews_rebalance_seconds_count{@}[$__rate_interval])"
    # The value is the moment itself, in milliseconds.
    starts = _event("Starts", "blue", "process_start_time_seconds{@} * 1000").use_value_for_time(True)
    changes = _event("Model changes", "purple", f"{served} unless {before}")
    moves = _event("Rebalances", "orange", f"sum by (job) ({rebalances}) > 0")
    return [
        starts.title_format("Worker started").text_format("{{instance}}"),
        changes.title_format("Another model is served").text_format("{{name}} {{version}}, digest {{digest}}"),
        moves.title_format("Rebalance").text_format("Partitions of {{job}} change hands"),
    ]


def _event(name: str, colour: str, expression: str) -> build.AnnotationQuery:
    query = build.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(colour)
    return query.expr(chosen(expression))


def _links() -> list[Builder[dashboard.DashboardLink]]:
    others = build.DashboardLink("The other dashboards").type(dashboard.DashboardLinkType.DASHBOARDS)
    others.tags(["review-consumer"]).include_vars(True).keep_time(True).as_dropdown(False)
    runbook = build.DashboardLink("Runbook").type(dashboard.DashboardLinkType.LINK).url("${runbook:raw}")
    return [others, runbook.icon("doc").target_blank(True)]
