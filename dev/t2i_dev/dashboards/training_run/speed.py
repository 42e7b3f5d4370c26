"""What the run costs: throughput, step time of each rank, waiting for data, utilisation."""

from grafana_foundation_sdk.models import units

from t2i_api.metrics import trainer
from t2i_api.metrics.labels import RANK
from t2i_dev.dashboards import panels
from t2i_dev.dashboards.layout import Section
from t2i_dev.dashboards.panels import Panel, Query, Words
from t2i_dev.dashboards.scopes import A_JOB, RUN

_BY_RANK = RANK.name
_RANK = "rank {{rank}}"


def section() -> Section:
    """Return the row."""
    return Section("Speed", (_throughput(), _data_wait(), _utilisation(), _step_time(), _forward(), _spread()))


def _throughput() -> Panel:
    return panels.curves(
        Words(
            title="Throughput",
            description="Images of all ranks, saves and pictures included: what the job really gets done.",
            unit=panels.IMAGES_PER_SECOND,
        ),
        Query(f"sum by ({A_JOB}) ({RUN.rate(trainer.IMAGES)})", "images per second"),
        width=8,
    ).min(0)


def _data_wait() -> Panel:
    return panels.curves(
        Words(
            title="Waiting for data",
            description="Share of the time in which a rank waited for its next batch. Above 10 % the GPUs are starved.",
            unit=units.PercentUnit,
        ),
        Query(f"sum by ({_BY_RANK}) ({RUN.rate(trainer.DATA_WAIT)})", _RANK),
        width=8,
    ).min(0)


def _utilisation() -> Panel:
    return panels.curves(
        Words(
            title="Model FLOPs utilisation",
            description="Share of the GPU's bfloat16 peak that the model's own arithmetic reached. Empty on CPUs.",
            unit=units.PercentUnit,
        ),
        Query(f"max by ({_BY_RANK}) ({RUN.of(trainer.MFU)})", _RANK),
        width=8,
    ).min(0)


def _step_time() -> Panel:
    return panels.curves(
        Words(
            title="Step time by rank",
            description="Mean. All ranks wait for the slowest, so these lie together; see Forward time for who it is.",
            unit=units.Seconds,
        ),
        Query(RUN.mean(trainer.STEP_SECONDS, _BY_RANK), _RANK),
        width=8,
    ).min(0)


def _forward() -> Panel:
    return panels.curves(
        Words(
            title="Forward time by rank",
            description="Per second of the run; the highest rank holds up all others. With FullShard all wait here.",
            unit=units.PercentUnit,
        ),
        Query(f"sum by ({_BY_RANK}) ({RUN.rate(trainer.FORWARD_SECONDS)})", _RANK),
        width=8,
    ).min(0)


def _spread() -> Panel:
    return panels.curves(
        Words(
            title="Spread of step times",
            description="Quantiles over all ranks; a 99th far above the median means stalls, not slow steps.",
            unit=units.Seconds,
        ),
        *(
            Query(RUN.quantile(quantile, trainer.STEP_SECONDS), f"{quantile:.0%} of steps")
            for quantile in (0.5, 0.9, 0.99)
        ),
        width=8,
    ).min(0)
