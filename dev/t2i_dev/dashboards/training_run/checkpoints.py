"""What a kill would cost, what saving costs, and what became of old checkpoints."""

from grafana_foundation_sdk.models import common, units

from t2i_api.metrics import job, trainer
from t2i_dev.dashboards import colours, panels
from t2i_dev.dashboards.layout import Section
from t2i_dev.dashboards.panels import Panel, Query, Words
from t2i_dev.dashboards.scopes import A_JOB, RANGE, RUN, age


def section() -> Section:
    """Return the row."""
    return Section("Checkpoints and archive", (_age(), _unsaved(), _durations(), _failures(), _verdict(), _archive()))


def _age() -> Panel:
    return panels.curves(
        Words(
            title="Age of the newest checkpoint",
            description="Falls to zero at each commit. A saw that stops falling means that saves fail or hang.",
            unit=units.Seconds,
        ),
        Query(age(f"max by ({A_JOB}) ({RUN.of(trainer.CHECKPOINT_TIMESTAMP)})"), "age"),
        width=8,
    ).min(0)


def _unsaved() -> Panel:
    step, saved = (f"max by ({A_JOB}) ({RUN.of(metric)})" for metric in (trainer.STEP, trainer.CHECKPOINT_STEP))
    return panels.curves(
        Words(
            title="Steps that a kill would cost",
            description="Steps since the newest checkpoint, and how many the job allows between two.",
            unit=units.Number,
        ),
        Query(f"{step} - {saved}", "steps not saved"),
        Query(f"max by ({A_JOB}) ({RUN.of(trainer.CHECKPOINT_INTERVAL)})", "checkpoint.everySteps"),
        width=8,
    ).min(0)


def _durations() -> Panel:
    panel = panels.curves(
        Words(
            title="What a save takes",
            description="Whole: from the step to the commit. Blocked: training stood still. Upload: beside training.",
            unit=units.Seconds,
        ),
        Query(RUN.mean(trainer.CHECKPOINT_SECONDS, A_JOB), "whole"),
        Query(RUN.mean(trainer.CHECKPOINT_UPLOAD, A_JOB), "upload"),
        Query(RUN.mean(trainer.CHECKPOINT_BLOCKED, A_JOB), "blocked"),
        width=8,
    )
    return panel.show_points(common.VisibilityMode.ALWAYS).min(0)


def _failures() -> Panel:
    return panels.number(
        Words(
            title="Failed saves",
            description="In the time shown. The attempt ends with the reason; the checkpoint before stays good.",
            unit=units.Number,
        ),
        Query(f"sum by ({A_JOB}) ({RUN.increase(trainer.CHECKPOINT_FAILURES, RANGE)})"),
    ).decimals(0)


def _verdict() -> Panel:
    return panels.name(
        Words(
            title="Verdict",
            description="What the last preflight said of the checkpoint that it found. A dash: there was none.",
            unit=units.NoUnit,
        ),
        Query(RUN.of(job.VERDICT_NOW), "{{verdict}}"),
        colours.VERDICTS,
    )


def _archive() -> Panel:
    return panels.curves(
        Words(
            title="Archive",
            description="Bytes of checkpoints that do not fit, and how many are copied and verified so far.",
            unit=units.BytesIEC,
        ),
        Query(RUN.of(job.ARCHIVE_BYTES), "to be moved"),
        Query(RUN.of(job.ARCHIVED_BYTES), "copied"),
        width=16,
        height=4,
    ).min(0)
