"""Job and attempt number to the objects of an attempt: one Service, one ConfigMap, one Indexed Job. Pure."""

from typing import Any

from t2i_api.job import DiffusionTrainingJob
from t2i_operator.build.beginning import Beginning
from t2i_operator.build.defaults import TrainerDefaults
from t2i_operator.build.documents import config_map
from t2i_operator.build.objects import batch_job, service

__all__ = ["Beginning", "TrainerDefaults", "children"]


def children(
    job: DiffusionTrainingJob, *, attempt: int, beginning: Beginning, defaults: TrainerDefaults
) -> tuple[dict[str, Any], ...]:
    """Return the attempt's objects in the order in which they are created: the Job, which asks for GPUs, last."""
    return (
        service(job, attempt),
        config_map(job, attempt, beginning),
        batch_job(job, attempt, beginning, defaults),
    )
