"""docs/metrics.md, made of the list in `t2i_api.metrics`: a metric is documented where it is defined."""

from collections.abc import Sequence
from pathlib import Path

from t2i_api.metrics import JOB_METRICS, Label, Metric, operator, trainer
from t2i_dev.paths import repository_root

PAGE = Path("docs/metrics.md")
_MANY = 7  # metrics of one label, of which only the number is said
_HEAD = """\
# Metrics

Trainers serve `/metrics` at port 9400 of every pod, the operator at port 8080. [monitoring.md](monitoring.md) says
how to scrape them and what to look at. This page is made of the list in `api/t2i_api/metrics` (`make metrics-docs`),
which dashboards and alerts derive from too.

Names keep [Prometheus' rules](https://prometheus.io/docs/practices/naming/): base units, `_total`, `_info`, times
instead of ages.

- **A value that is not known yet has no sample**: no checkpoint is not a checkpoint of 1970, a CPU has no GPU memory.
  A plain counter is there from the start, at 0.
- **NaN is safe**: `t2i_trainer_loss` and `t2i_trainer_gradient_norm` show NaN and Inf as they are; the smoothed loss
  takes in finite values only, and `t2i_trainer_non_finite_steps_total` counts the others.
- **Of values that exclude each other** (a condition's status and reason, a verdict) only the one that holds has a
  series, and it is 1.
- **No label is called job, namespace or pod**: those are the target's. Scraped as documented, trainers' series carry
  `job_namespace`, `job_name`, `attempt` and `pod`; the operator's series of jobs carry `job_namespace` and `job_name`
  themselves (`honorLabels`), so both join.
- **The last points are not lost.** A pod that has ended stays until it was scraped once more, at most two scrape
  intervals (`--scrape-interval` of the operator, `metrics.interval` of the chart; `T2I_LINGER_SECONDS` in
  `workers.template.env` for one job), and not at all if nobody scraped it for that long. What was known last stays in
  `t2i_job_*` until the job is deleted.
"""
_TABLE = "| name | type | unit | labels | what it says |\n|---|---|---|---|---|\n"
_SECTIONS: tuple[tuple[str, str, Sequence[Metric]], ...] = (
    ("A training run", "From the pod of rank 0 alone: one figure for the whole run.", trainer.RUN_METRICS),
    ("Every process of a run", "From every pod, for each of its processes.", trainer.RANK_METRICS),
    (
        "Jobs",
        "From the operator, computed from each job's object: they outlive pods and operator, and vanish with the job.",
        JOB_METRICS,
    ),
    ("The operator", "Of its own work.", operator.OWN_METRICS),
    ("The operator's process", "As Prometheus names them for every process.", operator.PROCESS_METRICS),
)
_LABELS_HEAD = """
## Labels

A query that asks for another value than these finds nothing.

| label | of | values |
|---|---|---|
"""


def page() -> str:
    """Return the whole page."""
    sections = [f"\n## {title}\n\n{text}\n\n{_TABLE}{_rows(metrics)}" for title, text, metrics in _SECTIONS]
    return _HEAD + "".join(sections) + _labels()


def _rows(metrics: Sequence[Metric]) -> str:
    return "".join(
        f"| `{metric.name}` | {metric.type} | {metric.unit} | {', '.join(metric.label_names)} | {metric.help} |\n"
        for metric in metrics
    )


def _labels() -> str:
    known: dict[Label, list[Metric]] = {}
    for _, _, metrics in _SECTIONS:
        for metric in metrics:
            for label in metric.labels:
                known.setdefault(label, []).append(metric)
    rows = [f"| `{label.name}` | {_where(metrics)} | {_values(label)} |\n" for label, metrics in known.items()]
    return _LABELS_HEAD + "".join(rows)


def _where(metrics: Sequence[Metric]) -> str:
    names = [f"`{metric.name}`" for metric in metrics]
    return ", ".join(names) if len(names) < _MANY else f"{len(names)} metrics"


def _values(label: Label) -> str:
    return ", ".join(f"`{value}`" for value in label.values) or label.bound


if __name__ == "__main__":
    (repository_root() / PAGE).write_text(page())
