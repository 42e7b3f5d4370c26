"""What the run noticed about itself: findings, and steps that were left out."""

from grafana_foundation_sdk.models import common, units

from t2i_api.metrics import job, trainer
from t2i_dev.dashboards import panels
from t2i_dev.dashboards.layout import Section
from t2i_dev.dashboards.panels import Panel, Query, Words
from t2i_dev.dashboards.scopes import A_JOB, RUN


def section() -> Section:
    """Return the row."""
    return Section("Findings", (_findings(), _left_out()))


def _findings() -> Panel:
    table = panels.rows(
        Words(
            title="Findings",
            description="One line a name; cause and way out are in the log, the status and the report.",
            unit=units.NoUnit,
        ),
        Query(f"max by (finding, severity) ({RUN.of(job.FINDING)})"),
        width=8,
    )
    return panels.merged(table, {"finding": "finding", "severity": "severity"}, hidden=["Value"])


def _left_out() -> Panel:
    counters = ((trainer.NON_FINITE, "not finite"), (trainer.SKIPPED, "left out"), (trainer.ROLLBACKS, "went back"))
    panel = panels.curves(
        Words(
            title="Steps that did not count",
            description="Not finite, left out (also spikes), and returns to a checkpoint, since the attempt began.",
            unit=units.Number,
        ),
        *(Query(f"sum by ({A_JOB}) ({RUN.of(metric)})", legend) for metric, legend in counters),
        width=16,
    )
    return panel.line_interpolation(common.LineInterpolation.STEP_AFTER).decimals(0).min(0)
