"""Whether the model learns: loss, its parts, evaluation, learning rate and gradient norm."""

from grafana_foundation_sdk.builders.common import ScaleDistributionConfig
from grafana_foundation_sdk.models import common, dashboard, units

from t2i_api.metrics import trainer
from t2i_dev.dashboards import panels
from t2i_dev.dashboards.layout import Section
from t2i_dev.dashboards.panels import Panel, Query, Words
from t2i_dev.dashboards.scopes import A_JOB, RUN

_LOGARITHMIC = "logarithmic"
SCALES = ("linear", _LOGARITHMIC)
"""Values of the variable `scale`. It stands in the names of the series, and a rule on those names sets the axis:
Grafana has no variables in the axis itself."""


def section() -> Section:
    """Return the row."""
    return Section("Loss", (_loss(), _by_timestep(), _evaluation(), _rates()))


def scaled(description: str) -> str:
    """Say in a description how the axis is chosen."""
    return f"{description} `Loss axis` above makes the axis linear or logarithmic."


def _loss() -> Panel:
    panel = panels.curves(
        Words(
            title="Loss",
            description=scaled("Raw: the last global batch, with gaps where it was not finite. Smoothed: 0.98 a step."),
            unit=units.Number,
        ),
        Query(f"avg by ({A_JOB}) ({RUN.of(trainer.LOSS)})", "raw, $scale"),
        Query(f"avg by ({A_JOB}) ({RUN.of(trainer.LOSS_SMOOTHED)})", "smoothed, $scale"),
        width=16,
        height=10,
    )
    panel = panel.override_by_regexp("/^raw/", [_custom("lineWidth", 1), _custom("fillOpacity", 10)])
    axis = ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10).build()
    return panel.override_by_regexp(f"/{_LOGARITHMIC}$/", [_custom("scaleDistribution", axis)])


def _by_timestep() -> Panel:
    return panels.curves(
        Words(
            title="Loss by timestep",
            description="Smoothed, by quarter of the timesteps; 1 is the least noise. One that stands still is stuck.",
            unit=units.Number,
        ),
        Query(f"avg by (quartile) ({RUN.of(trainer.LOSS_BY_TIMESTEP)})", "quarter {{quartile}}"),
        width=8,
        height=10,
    )


def _evaluation() -> Panel:
    return panels.curves(
        Words(
            title="Evaluation",
            description=("Loss on the fixed grid. The right caption must come to lie below the wrong one."),
            unit=units.Number,
        ),
        Query(f"avg by (caption) ({RUN.of(trainer.EVALUATION_LOSS)})", "{{caption}} caption"),
    )


def _rates() -> Panel:
    panel = panels.curves(
        Words(
            title="Learning rate and gradient norm",
            description="Norm before clipping. If it grows while the loss does not fall, lower the rate.",
            unit=units.Number,
        ),
        Query(f"avg by ({A_JOB}) ({RUN.of(trainer.LEARNING_RATE)})", "learning rate"),
        Query(f"avg by ({A_JOB}) ({RUN.of(trainer.GRADIENT_NORM)})", "gradient norm"),
    )
    right = _custom("axisPlacement", common.AxisPlacement.RIGHT)
    return panel.override_by_name("learning rate", [panels.unit(units.ScientificNotation), right])


def _custom(name: str, value: object) -> dashboard.DynamicConfigValue:
    return dashboard.DynamicConfigValue(id_val=f"custom.{name}", value=value)
