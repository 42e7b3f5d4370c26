"""Several runs beside each other: over time, over steps, and in one table."""

from grafana_foundation_sdk.models import units

from t2i_api.conditions import ConditionType
from t2i_api.metrics import job, trainer
from t2i_api.metrics.labels import JOB_NAME
from t2i_dev.dashboards import panels
from t2i_dev.dashboards.layout import Section
from t2i_dev.dashboards.panels import Panel, Query, Words
from t2i_dev.dashboards.scopes import COMPARED

_A_RUN = JOB_NAME.name
_NAME = "{{job_name}}"


def section() -> Section:
    """Return the row."""
    return Section("Several runs", (_over_steps(), _over_time(), _throughput(), _table()))


def _smoothed() -> Query:
    return Query(f"avg by ({_A_RUN}) ({COMPARED.of(trainer.LOSS_SMOOTHED)})", _NAME)


def _over_steps() -> Panel:
    return panels.over_steps(
        Words(
            title="Loss over steps",
            description="Smoothed loss of the runs chosen under Compare, over the step that each had reached.",
            unit=units.Number,
        ),
        value=_smoothed(),
        step=Query(f"max by ({_A_RUN}) ({COMPARED.of(trainer.STEP)})", _NAME),
        run=_A_RUN,
    )


def _over_time() -> Panel:
    return panels.curves(
        Words(title="Loss over time", description="The same over wall-clock time.", unit=units.Number),
        _smoothed(),
        height=10,
    )


def _throughput() -> Panel:
    return panels.curves(
        Words(title="Throughput", description="Images per second of each run.", unit=panels.IMAGES_PER_SECOND),
        Query(f"sum by ({_A_RUN}) ({COMPARED.rate(trainer.IMAGES)})", _NAME),
        width=10,
    ).min(0)


def _table() -> Panel:
    state = COMPARED.of(job.CONDITION_NOW, condition=ConditionType.SUCCEEDED)
    table = panels.rows(
        Words(title="Runs", description="Where each run is, also after its pods are gone.", unit=units.Number),
        Query(f"max by ({_A_RUN}, reason) ({state})"),
        Query(f"max by ({_A_RUN}) ({COMPARED.of(job.STEP)})"),
        Query(f"max by ({_A_RUN}) ({COMPARED.of(job.LAST_LOSS_SMOOTHED)})"),
        Query(f"max by ({_A_RUN}) ({COMPARED.of(job.LAST_IMAGES_PER_SECOND)})"),
        Query(f"max by ({_A_RUN}) ({COMPARED.of(job.ATTEMPT)})"),
        width=14,
    )
    columns = {
        _A_RUN: "run",
        "reason": "state",
        "Value #B": "step",
        "Value #C": "smoothed loss",
        "Value #D": "images/s",
        "Value #E": "attempt",
    }
    return panels.merged(table, columns, hidden=["Value #A"])
