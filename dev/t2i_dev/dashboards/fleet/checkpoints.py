"""What a loss of nodes would cost now, and what preflight and archive did with old checkpoints."""

from grafana_foundation_sdk.models import units

from t2i_api.conditions import ConditionType, State
from t2i_api.metrics import job, operator
from t2i_dev.dashboards import colours, panels
from t2i_dev.dashboards.layout import Section
from t2i_dev.dashboards.panels import Panel, Query, Words
from t2i_dev.dashboards.scopes import A_JOB, EVERYTHING, FLEET, age


def section() -> Section:
    """Return the row."""
    return Section("Checkpoints and archives", (_ages(), _verdicts(), _preflight(), _archives(), _copied()))


def _ages() -> Panel:
    training = FLEET.of(job.CONDITION_NOW, condition=ConditionType.SUCCEEDED, reason=State.TRAINING)
    saved = FLEET.of(job.CHECKPOINT_TIMESTAMP)
    return panels.curves(
        Words(
            title="Checkpoint age of the jobs that train",
            description="What losing every node would cost now. One line above all others: its saves fail.",
            unit=units.Seconds,
        ),
        Query(f"({age(saved)}) and on ({A_JOB}) {training}", "{{job_namespace}}/{{job_name}}"),
    ).min(0)


def _verdicts() -> Panel:
    panel = panels.bars(
        Words(
            title="Verdicts",
            description="What the last preflight of each job said of the checkpoint that it found.",
            unit=units.Number,
        ),
        Query(f"sum by (verdict) ({FLEET.of(job.VERDICT_NOW)})", "{{verdict}}"),
        width=6,
    )
    return panels.coloured(panel, colours.VERDICTS)


def _preflight() -> Panel:
    return panels.curves(
        Words(
            title="Preflight",
            description="How long a look at a job's checkpoints takes; no GPU is requested meanwhile.",
            unit=units.Seconds,
        ),
        Query(EVERYTHING.quantile(0.5, operator.PREFLIGHT_SECONDS), "half of them"),
        Query(EVERYTHING.quantile(0.95, operator.PREFLIGHT_SECONDS), "95 % of them"),
        width=6,
    ).min(0)


def _archives() -> Panel:
    return panels.bars(
        Words(
            title="Archives and preflights by result",
            description="Since the operator started. A failed one is tried again; no delete without a verified copy.",
            unit=units.Number,
        ),
        Query(f"sum by (result) ({EVERYTHING.of(operator.ARCHIVES)})", "archive: {{result}}"),
        Query(f"sum by (result) ({EVERYTHING.of(operator.PREFLIGHTS)})", "preflight: {{result}}"),
    )


def _copied() -> Panel:
    return panels.curves(
        Words(
            title="Archived",
            description="Bytes of completed archives that the operator made since it started.",
            unit=units.BytesIEC,
        ),
        Query(f"sum({EVERYTHING.of(operator.ARCHIVED_BYTES)})", "bytes"),
    ).min(0)
