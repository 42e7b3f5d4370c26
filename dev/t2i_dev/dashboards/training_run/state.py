"""How the run is right now: state, step, time left, loss, restarts, checkpoint."""

from grafana_foundation_sdk.builders.dashboard import DashboardLink
from grafana_foundation_sdk.models import units

from t2i_api.conditions import ConditionType
from t2i_api.metrics import job, trainer
from t2i_dev.dashboards import colours, panels
from t2i_dev.dashboards.layout import Section
from t2i_dev.dashboards.panels import Panel, Query, Words
from t2i_dev.dashboards.scopes import A_JOB, RUN, age

_SUMMARY = ConditionType.SUCCEEDED


def section() -> Section:
    """Return the row."""
    return Section("Run", (*_now(), _over_time(), _phases(), _links()))


def _now() -> tuple[Panel, ...]:
    step = panels.number(
        Words(title="Step", description="Optimizer steps done, as the operator last heard.", unit=units.Number),
        Query(RUN.of(job.STEP)),
        width=3,
    )
    progress = panels.number(
        Words(title="Progress", description="Share of the steps that are done.", unit=units.PercentUnit),
        Query(RUN.of(job.PROGRESS)),
        width=3,
    )
    return (
        panels.name(
            Words(
                title="State",
                description="What the job is doing, or how it ended: the reason of its condition Succeeded.",
                unit=units.NoUnit,
            ),
            Query(RUN.of(job.CONDITION_NOW, condition=_SUMMARY), "{{reason}}"),
            colours.STATES,
        ),
        step.decimals(0),
        progress.decimals(1),
        panels.number(
            Words(
                title="Time left",
                description="At the present pace, saves and pictures not counted. Empty unless it trains.",
                unit=units.Seconds,
            ),
            Query(f"max by ({A_JOB}) ({RUN.of(trainer.EXPECTED_END)}) - time() > 0"),
            width=3,
        ),
        panels.number(
            Words(title="Loss", description="Last known smoothed loss; outlives the pods.", unit=units.Number),
            Query(RUN.of(job.LAST_LOSS_SMOOTHED)),
            width=3,
        ).decimals(4),
        _as_expected(),
        panels.number(
            Words(title="Restarts", description="All causes. More than a few a day deserve a look.", unit=units.Number),
            Query(f"sum by ({A_JOB}) ({RUN.of(job.RESTARTS)}) or max by ({A_JOB}) ({RUN.of(job.ATTEMPT)}) * 0"),
            width=2,
        ),
        panels.number(
            Words(
                title="Checkpoint age",
                description="What a kill would cost now, at most. It grows without end once the job is over.",
                unit=units.Seconds,
            ),
            Query(age(RUN.of(job.CHECKPOINT_TIMESTAMP))),
            width=3,
        ),
    )


def _as_expected() -> Panel:
    panel = panels.number(
        Words(
            title="As expected",
            description="Whether the smoothed loss lies within spec.expectations. A dash while no band is due.",
            unit=units.BoolYesNo,
        ),
        Query(f"max by ({A_JOB}) ({RUN.of(trainer.AS_EXPECTED)})"),
        width=3,
    )
    return panel.color_scheme(panels.by_thresholds()).thresholds(panels.thresholds((None, "red"), (1, "green")))


def _over_time() -> Panel:
    return panels.timeline(
        Words(title="State over time", description="Every state that the job was in, and when.", unit=units.NoUnit),
        Query(RUN.of(job.CONDITION_NOW, condition=_SUMMARY), "{{reason}}"),
        colours=colours.STATES,
        width=12,
    )


def _phases() -> Panel:
    return panels.timeline(
        Words(
            title="What rank 0 does",
            description="Training should fill the time; saving and sampling stand in its way.",
            unit=units.NoUnit,
        ),
        Query(f"max by (phase) ({RUN.of(trainer.PHASE_NOW)}) > 0", "{{phase}}"),
        colours=colours.PHASES,
        width=12,
    )


def _links() -> Panel:
    """Return where the run writes; bucket and prefix are taken apart for the address of its pictures."""
    parts = r"s3://([^/]+)/(.*?)/?"
    info = f"max by ({A_JOB}, unet, checkpoint_uri) ({RUN.of(job.INFO)})"
    expr = (
        f'label_replace(label_replace({info}, "bucket", "$1", "checkpoint_uri", "{parts}"), '
        f'"prefix", "$2", "checkpoint_uri", "{parts}")'
    )
    table = panels.rows(
        Words(
            title="Where it writes",
            description=(
                "Checkpoints, archive, samples and report lie below checkpoint_uri. A click opens the pictures in the "
                "bucket browser that is named above."
            ),
            unit=units.NoUnit,
        ),
        Query(expr),
        height=4,
    )
    columns = ("job_namespace", "job_name", "unet", "checkpoint_uri", "bucket", "prefix")
    table = panels.merged(table, {name: name for name in columns}, hidden=["Value"])
    link = DashboardLink("pictures").url("${browser}${__data.fields.bucket}?prefix=${__data.fields.prefix}/samples/")
    return table.data_links([link.target_blank(True)])
