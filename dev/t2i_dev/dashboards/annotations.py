"""Marks on every graph: checkpoints, restarts, archives, steps that were not finite.

The SDK for Grafana 10.4 does not know the fields that Prometheus adds to an annotation; the newest one does. They are
the same in every version since: https://grafana.com/docs/grafana/latest/datasources/prometheus/annotations/
"""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.models import dashboard

from t2i_dev.dashboards.panels import DATASOURCE

_STEP = "15s"  # events closer than this become one bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """An event: `expr` is above 0 while it lasts or, with `at_value`, its value is when it was, in milliseconds."""

    name: str
    expr: str
    text: str
    colour: str
    at_value: bool = False


class PrometheusAnnotation(dashboard.AnnotationQuery):
    """An annotation query with Prometheus' own fields."""

    def __init__(self, mark: Mark) -> None:
        super().__init__(
            name=mark.name, datasource=DATASOURCE, enable=True, hide=False, icon_color=mark.colour, expr=mark.expr
        )
        self.built_in = None
        self.mark = mark

    def to_json(self) -> dict[str, object]:
        """Return the JSON object."""
        own = {
            "step": _STEP,
            "titleFormat": self.mark.name,
            "textFormat": self.mark.text,
            "useValueForTime": self.mark.at_value,
        }
        return {**super().to_json(), **own}


def annotations(marks: Sequence[Mark]) -> dashboard.AnnotationContainer:
    """Return the section of a dashboard."""
    return dashboard.AnnotationContainer(list_val=[PrometheusAnnotation(mark) for mark in marks])
