"""What a reader chooses at the top of a dashboard."""

from dataclasses import dataclass

from grafana_foundation_sdk.builders.dashboard import CustomVariable, DatasourceVariable, QueryVariable, TextBoxVariable
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard

from t2i_api.metrics import Label
from t2i_dev.dashboards.panels import DATASOURCE

ALL = dashboard.VariableOption(selected=True, text="All", value="$__all")


def datasource() -> DatasourceVariable:
    """Which Prometheus."""
    return DatasourceVariable("datasource").label("Prometheus").type("prometheus")


def values_of(name: str, title: str, label: Label, series: str, description: str) -> QueryVariable:
    """One of the values that a label has among series."""
    variable = QueryVariable(name).label(title).description(description).datasource(DATASOURCE)
    variable = variable.query(f"label_values({series}, {label.name})")
    return variable.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(
        dashboard.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC
    )


def several(variable: QueryVariable) -> QueryVariable:
    """Allow any number of the values, all of them at first."""
    return variable.multi(True).include_all(True).current(ALL)


def choice(name: str, title: str, values: tuple[str, ...], description: str) -> CustomVariable:
    """One of fixed values, the first at first."""
    options = [dashboard.VariableOption(selected=value == values[0], text=value, value=value) for value in values]
    variable = CustomVariable(name).label(title).description(description).values(",".join(values))
    return variable.options(options).current(options[0])


def text(name: str, title: str, value: str, description: str) -> Builder[dashboard.VariableModel]:
    """Free text, `value` at first."""
    model = TextBoxVariable(name).label(title).description(description).default_value(value).build()
    # The builder leaves this out, and Grafana would begin with an empty field.
    model.current = dashboard.VariableOption(selected=True, text=value, value=value)
    return _Made(model)


@dataclass(frozen=True, slots=True)
class _Made(Builder[dashboard.VariableModel]):
    """A variable that is built already."""

    model: dashboard.VariableModel

    def build(self) -> dashboard.VariableModel:
        """Return it."""
        return self.model
