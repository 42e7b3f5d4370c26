"""A whole dashboard: identity, variables, marks and rows, in the JSON of Grafana 10.4 and later."""

from dataclasses import dataclass

from grafana_foundation_sdk.builders.dashboard import Dashboard, DashboardLink
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard

from t2i_dev.dashboards.annotations import Mark, annotations
from t2i_dev.dashboards.layout import Section, placed

_TAG = "t2i"
_SCHEMA_VERSION = 39  # what Grafana 10.4 writes itself; later ones migrate it


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What is on a dashboard; `since` is where its time begins, such as now-6h."""

    uid: str
    title: str
    description: str
    since: str
    variables: tuple[Builder[dashboard.VariableModel], ...]
    marks: tuple[Mark, ...]
    sections: tuple[Section, ...]

    def build(self) -> dashboard.Dashboard:
        """Return the dashboard as the SDK's model."""
        link = DashboardLink("t2i dashboards").type(dashboard.DashboardLinkType.DASHBOARDS).tags([_TAG])
        builder = Dashboard(self.title).uid(self.uid).description(self.description).tags([_TAG])
        builder = builder.time(self.since, "now").refresh("30s").timezone("browser").editable()
        builder = builder.tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        builder = builder.link(link.as_dropdown(True).keep_time(True).include_vars(True))
        board = builder.variables(list(self.variables)).build()
        board.schema_version = _SCHEMA_VERSION
        board.annotations = annotations(self.marks)
        board.panels = placed(self.sections)
        return board
