"""PromQL made of the metrics of `t2i_api.metrics`: who names another metric, label or value fails here.

Only what a typo would break silently is checked; the rest of a query is PromQL as anyone writes it.
"""

from typing import Final

from t2i_api.metrics import Metric, MetricType, job

BY_JOB: Final = f"by ({', '.join(label.name for label in job.STEP.labels)})"
ON_JOB: Final = f"on ({', '.join(label.name for label in job.STEP.labels)})"
# What Prometheus puts onto the series of every target, and what the scrape configuration adds for trainers.
TARGET_LABELS: Final = ("job", "instance", "namespace", "pod", "container", "job_namespace", "job_name", "attempt")
_SUFFIXES: Final = ("_bucket", "_sum", "_count")


def select(metric: Metric, suffix: str = "", **labels: str | tuple[str, ...]) -> str:
    """Return a selector: `name{label="value", other=~"a|b"}`.

    `suffix` is `_bucket`, `_sum` or `_count`, for histograms and only for them; a tuple selects several values. Raises
    ValueError for a label that the metric has not, or a value that the label cannot have.
    """
    if (suffix in _SUFFIXES) != (metric.type is MetricType.HISTOGRAM):
        raise ValueError(f"{metric.name}: {metric.type} with suffix {suffix!r}")
    matchers = []
    for name, wanted in labels.items():
        values = (wanted,) if isinstance(wanted, str) else wanted
        _check(metric, name, values)
        operator = "=" if isinstance(wanted, str) else "=~"
        matchers.append(f'{name}{operator}"{"|".join(values)}"')
    return metric.name + suffix + (f"{{{', '.join(matchers)}}}" if matchers else "")


def _check(metric: Metric, name: str, values: tuple[str, ...]) -> None:
    label = next((label for label in metric.labels if label.name == name), None)
    if label is None and name not in TARGET_LABELS:
        raise ValueError(f"{metric.name} has no label {name}")
    unknown = [value for value in values if label is not None and label.values and value not in label.values]
    if unknown:
        raise ValueError(f"{metric.name}: {name} is never {', '.join(unknown)}")
