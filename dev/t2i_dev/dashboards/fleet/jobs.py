"""Which jobs there are, what they do, and which of them want a person."""

from grafana_foundation_sdk.builders.dashboard import DashboardLink
from grafana_foundation_sdk.models import units

from t2i_api.conditions import ConditionType, State
from t2i_api.metrics import job
from t2i_dev.dashboards import colours, panels
from t2i_dev.dashboards.layout import Section
from t2i_dev.dashboards.panels import Panel, Query, Words
from t2i_dev.dashboards.scopes import A_JOB, FLEET

_SUMMARY = ConditionType.SUCCEEDED
_NONE = "or vector(0)"


def section() -> Section:
    """Return the row."""
    return Section("Jobs", (*_figures(), _table(), _states(), _restarts(), _findings()))


def _count(title: str, description: str, **labels: str) -> Panel:
    expr = f"count({FLEET.of(job.CONDITION_NOW, condition=_SUMMARY, **labels)}) {_NONE}"
    words = Words(title=title, description=description, unit=units.Number)
    return panels.number(words, Query(expr)).decimals(0)


def _figures() -> tuple[Panel, ...]:
    training = FLEET.of(job.CONDITION_NOW, condition=_SUMMARY, reason=State.TRAINING)
    return (
        _count("Training", "Jobs whose pods train.", reason=State.TRAINING),
        _count("Not done", "Jobs that are still going, whatever they wait for.", status="Unknown"),
        _count("Failed", "Jobs that ended without success.", status="False"),
        _count("Completed", "Jobs that reached their last step.", status="True"),
        panels.number(
            Words(title="GPUs training", description="GPUs that the training jobs ask for.", unit=units.Number),
            Query(f"sum({FLEET.of(job.GPUS)} and on ({A_JOB}) {training}) {_NONE}"),
        ).decimals(0),
        panels.number(
            Words(
                title="Throughput",
                description="Images per second of all jobs that train.",
                unit=panels.IMAGES_PER_SECOND,
            ),
            Query(f"sum({FLEET.of(job.LAST_IMAGES_PER_SECOND)} and on ({A_JOB}) {training}) {_NONE}"),
        ),
    )


def _table() -> Panel:
    table = panels.rows(
        Words(
            title="Every job",
            description="As the operator last heard, also after the pods are gone. A click opens the run.",
            unit=units.Number,
        ),
        Query(f"max by ({A_JOB}, reason) ({FLEET.of(job.CONDITION_NOW, condition=_SUMMARY)})"),
        Query(f"max by ({A_JOB}) ({FLEET.of(job.PROGRESS)})"),
        Query(f"max by ({A_JOB}) ({FLEET.of(job.STEP)})"),
        Query(f"max by ({A_JOB}) ({FLEET.of(job.LAST_LOSS_SMOOTHED)})"),
        Query(f"max by ({A_JOB}) ({FLEET.of(job.LAST_IMAGES_PER_SECOND)})"),
        Query(f"max by ({A_JOB}) ({FLEET.of(job.GPUS)})"),
        Query(f"sum by ({A_JOB}) ({FLEET.of(job.RESTARTS)})"),
        Query(f"time() - max by ({A_JOB}) ({FLEET.of(job.CHECKPOINT_TIMESTAMP)})"),
        Query(f"time() - max by ({A_JOB}) ({FLEET.of(job.CREATED)})"),
        height=10,
    )
    columns = {
        "job_namespace": "namespace",
        "job_name": "job",
        "reason": "state",
        "Value #B": "progress",
        "Value #C": "step",
        "Value #D": "smoothed loss",
        "Value #E": "images/s",
        "Value #F": "GPUs",
        "Value #G": "restarts",
        "Value #H": "checkpoint age",
        "Value #I": "age",
    }
    table = panels.merged(table, columns, hidden=["Value #A"])
    table = table.override_by_name("progress", [panels.unit(units.PercentUnit)])
    for column in ("checkpoint age", "age"):
        table = table.override_by_name(column, [panels.unit(units.Seconds)])
    # The uid of the other dashboard is spelled here: its module imports nothing of this one, nor the other way round.
    link = DashboardLink("training run").url(
        "/d/t2i-training-run?var-datasource=${datasource}&var-namespace=${__data.fields.job_namespace}"
        "&var-job=${__data.fields.job_name}&${__url_time_range}"
    )
    return table.data_links([link])


def _states() -> Panel:
    panel = panels.stacked(
        Words(title="Jobs by state", description="Many that wait for long: quota, queue or nodes.", unit=units.Number),
        Query(f"count by (reason) ({FLEET.of(job.CONDITION_NOW, condition=_SUMMARY)})", "{{reason}}"),
        width=10,
    )
    return panels.coloured(panel, colours.STATES)


def _restarts() -> Panel:
    return panels.bars(
        Words(title="Restarts by cause", description="Of all jobs that exist.", unit=units.Number),
        Query(f"sum by (cause) ({FLEET.of(job.RESTARTS)})", "{{cause}}"),
        width=6,
    )


def _findings() -> Panel:
    table = panels.rows(
        Words(
            title="Findings",
            description="What runs noticed about themselves. A finding that many jobs share is in what they share.",
            unit=units.Number,
        ),
        Query(f"count by (finding, severity) ({FLEET.of(job.FINDING)})"),
        width=8,
    )
    return panels.merged(table, {"finding": "finding", "severity": "severity", "Value": "jobs"})
