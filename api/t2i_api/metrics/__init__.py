"""Every metric that the trainer and the operator export: the single list that code, docs, dashboards and rules share.

One module an exporter (`trainer`, `operator`, `job`: what the operator says of jobs), `labels` with the values that
each label can have, `definition` with what a metric is.
"""

from typing import Final

from t2i_api.metrics import job, operator, trainer
from t2i_api.metrics.definition import Label, Metric, MetricType, Unit

__all__ = [
    "ALL_METRICS",
    "JOB_METRICS",
    "OPERATOR_METRICS",
    "TRAINER_METRICS",
    "Label",
    "Metric",
    "MetricType",
    "Unit",
    "job",
    "operator",
    "trainer",
]

TRAINER_METRICS: Final = (*trainer.RUN_METRICS, *trainer.RANK_METRICS)
JOB_METRICS: Final = job.JOB_METRICS
# Everything that a scrape of the operator holds.
OPERATOR_METRICS: Final = (*operator.OWN_METRICS, *operator.PROCESS_METRICS, *JOB_METRICS)
ALL_METRICS: Final = (*TRAINER_METRICS, *OPERATOR_METRICS)
