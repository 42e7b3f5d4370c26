"""The house style of panels: every one has a description, a unit and the datasource that the reader chose.

Thin functions over the foundation SDK's builders, so that a row reads as a list of what it shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, statetimeline, table, timeseries, trend
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
IMAGES_PER_SECOND = "suffix: img/s"
Panel = Builder[dashboard.Panel]


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression and how each of its series is called."""

    expr: str
    legend: str = "__auto"


class _PanelBuilder(Protocol):
    """What the SDK's builders of panels have in common."""

    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def datasource(self, datasource: dashboard.DataSourceRef) -> Self: ...
    def unit(self, unit: str) -> Self: ...
    def span(self, w: int) -> Self: ...
    def height(self, h: int) -> Self: ...
    def override_by_name(self, name: str, properties: list[dashboard.DynamicConfigValue]) -> Self: ...
    def with_target(self, target: Builder[Dataquery]) -> Self: ...


_P = TypeVar("_P", bound=_PanelBuilder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What every panel says of itself: title, description (what a reader may conclude), unit as Grafana names it."""

    title: str
    description: str
    unit: str


def curves(words: Words, *queries: Query, width: int = 12, height: int = 8) -> timeseries.Panel:
    """Values over time."""
    panel = _dressed(timeseries.Panel(), words, width, height)
    legend = common.VizLegendOptions().show_legend(True).placement(shapes.LegendPlacement.BOTTOM)
    legend = legend.display_mode(shapes.LegendDisplayMode.LIST).calcs(["lastNotNull"])
    panel = panel.legend(legend).tooltip(_tooltip()).line_width(1.5).fill_opacity(0)
    panel = panel.show_points(shapes.VisibilityMode.AUTO).span_nulls(False)
    return _asking(panel, queries)


def stacked(words: Words, *queries: Query, width: int = 12, height: int = 8) -> timeseries.Panel:
    """Counts over time that add up."""
    panel = curves(words, *queries, width=width, height=height).fill_opacity(60).line_width(1)
    panel = panel.line_interpolation(shapes.LineInterpolation.STEP_AFTER)
    return panel.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A")).min(0)


def number(words: Words, query: Query, *, width: int = 4, height: int = 4) -> stat.Panel:
    """One figure, as it is now."""
    panel = _dressed(stat.Panel(), words, width, height).no_value("-")
    panel = panel.graph_mode(shapes.BigValueGraphMode.NONE).color_mode(shapes.BigValueColorMode.VALUE)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return _asking(panel.color_scheme(_fixed("text")), [query], instant=True)


def name(words: Words, query: Query, colours: Mapping[str, str], *, width: int = 4, height: int = 4) -> stat.Panel:
    """The name of the series that is there, such as a state; `colours` by that name."""
    panel = number(words, query, width=width, height=height).text_mode(shapes.BigValueTextMode.NAME)
    panel = panel.color_mode(shapes.BigValueColorMode.BACKGROUND)
    return coloured(panel, colours)


def timeline(words: Words, *queries: Query, colours: Mapping[str, str], width: int = 24, height: int = 6) -> Panel:
    """A bar for each series while it is 1."""
    panel = _dressed(statetimeline.Panel(), words, width, height)
    panel = panel.show_value(shapes.VisibilityMode.NEVER).row_height(0.8).fill_opacity(80).merge_values(True)
    panel = panel.legend(common.VizLegendOptions().show_legend(False)).tooltip(_tooltip())
    return _asking(coloured(panel, colours), queries)


def bars(words: Words, *queries: Query, width: int = 12, height: int = 8) -> bargauge.Panel:
    """One horizontal bar a series, as it is now."""
    panel = _dressed(bargauge.Panel(), words, width, height).orientation(shapes.VizOrientation.HORIZONTAL)
    panel = panel.display_mode(shapes.BarGaugeDisplayMode.BASIC).color_scheme(_fixed("blue")).min(0)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return _asking(panel, queries, instant=True)


def rows(words: Words, *queries: Query, width: int = 24, height: int = 8) -> table.Panel:
    """A table: a line for each set of labels, a column for each label and each query."""
    panel = _dressed(table.Panel(), words, width, height).show_header(True).no_value("-")
    return _asking(panel, queries, instant=True, as_table=True)


def over_steps(words: Words, *, value: Query, step: Query, run: str) -> Panel:
    """Values of several runs over the step that each had reached; `run` is the label that tells the runs apart.

    Grafana joins values and steps of equal time and run, and lays the runs side by side over the steps.
    """
    panel = _dressed(trend.Panel(), words, width=12, height=10)
    panel = _asking(panel, [value, step], as_table=True)
    x = f"step\\{run}"  # what the matrix calls its first column
    for step_id, options in (
        ("merge", {}),
        ("organize", {"excludeByName": {"Time": True}, "renameByName": {"Value #A": "value", "Value #B": "step"}}),
        ("groupingToMatrix", {"columnField": run, "rowField": "step", "valueField": "value", "emptyValue": "null"}),
        ("convertFieldType", {"conversions": [{"targetField": x, "destinationType": "number"}], "fields": {}}),
        ("sortBy", {"fields": {}, "sort": [{"field": x}]}),
    ):
        panel = panel.with_transformation(dashboard.DataTransformerConfig(id_val=step_id, options=options))
    legend = common.VizLegendOptions().show_legend(True).placement(shapes.LegendPlacement.BOTTOM)
    panel = panel.legend(legend.display_mode(shapes.LegendDisplayMode.LIST)).tooltip(_tooltip())
    return panel.x_field(x).span_nulls(True).line_width(1.5).fill_opacity(0)


def merged(panel: table.Panel, columns: Mapping[str, str], *, hidden: Sequence[str] = ()) -> table.Panel:
    """Make one line of what several queries say of the same labels; `columns`: their names in order -> titles."""
    options: dict[str, object] = {
        "excludeByName": dict.fromkeys(("Time", *hidden), True),
        "indexByName": {column: place for place, column in enumerate(columns)},
        "renameByName": dict(columns),
    }
    panel = panel.with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
    return panel.with_transformation(dashboard.DataTransformerConfig(id_val="organize", options=options))


def thresholds(*steps: tuple[float | None, str]) -> ThresholdsConfig:
    """Colours from values on; the first has None, for everything below the second."""
    levels = [dashboard.Threshold(value=value, color=colour) for value, colour in steps]
    return ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(levels)


def by_thresholds() -> FieldColor:
    """Colour a value by its thresholds."""
    return FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS)


def unit(name: str) -> dashboard.DynamicConfigValue:
    """The unit of an override."""
    return dashboard.DynamicConfigValue(id_val="unit", value=name)


def coloured(panel: _P, colours: Mapping[str, str]) -> _P:
    """Give series the colours of their names."""
    for series, colour in colours.items():
        value = {"mode": "fixed", "fixedColor": colour}
        panel = panel.override_by_name(series, [dashboard.DynamicConfigValue(id_val="color", value=value)])
    return panel


def _dressed(panel: _P, words: Words, width: int, height: int) -> _P:
    panel = panel.title(words.title).description(words.description).unit(words.unit)
    return panel.datasource(DATASOURCE).span(width).height(height)


def _asking(panel: _P, queries: Sequence[Query], *, instant: bool = False, as_table: bool = False) -> _P:
    for reference, query in zip(ascii_uppercase, queries, strict=False):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(reference)
        target = target.datasource(DATASOURCE)
        target = target.instant() if instant else target.range()
        target = target.format(PromQueryFormat.TABLE if as_table else PromQueryFormat.TIME_SERIES)
        panel = panel.with_target(target)
    return panel


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.NONE)


def _fixed(colour: str) -> FieldColor:
    return FieldColor().mode(dashboard.FieldColorModeId.FIXED).fixed_color(colour)
