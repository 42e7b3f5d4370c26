"""Which series a panel is about, and the few forms of PromQL that the panels share."""

from dataclasses import dataclass, field
from typing import Final

from t2i_api.metrics import Metric, MetricType
from t2i_dev.promql import select

Values = str | tuple[str, ...]
RATE: Final = "[$__rate_interval]"  # a few scrapes
RANGE: Final = "[$__range]"  # the time that is shown
A_JOB: Final = "job_namespace, job_name"


@dataclass(frozen=True, slots=True)
class Scope:
    """Labels and their values that go into every selector of a panel."""

    labels: dict[str, Values] = field(default_factory=dict)

    def of(self, metric: Metric, **more: Values) -> str:
        """Select the series of a gauge or counter. Raises ValueError for what nobody exports."""
        return select(metric, "", **{**self.labels, **more})

    def rate(self, metric: Metric, **more: Values) -> str:
        """Return the increase per second of a counter."""
        return f"rate({self._counter(metric, more)}{RATE})"

    def increase(self, metric: Metric, within: str = RATE) -> str:
        """Return the increase of a counter, by default over a few scrapes."""
        return f"increase({self._counter(metric, {})}{within})"

    def mean(self, metric: Metric, by: str) -> str:
        """Return the mean of what a histogram observed lately, by labels."""
        total, count = (
            f"sum by ({by}) (rate({select(metric, suffix, **self.labels)}{RATE}))" for suffix in ("_sum", "_count")
        )
        return f"{total} / {count}"

    def quantile(self, quantile: float, metric: Metric, by: str = "") -> str:
        """Return a quantile of what a histogram observed lately, by labels."""
        labels = f"le, {by}" if by else "le"
        buckets = select(metric, "_bucket", **self.labels)
        return f"histogram_quantile({quantile}, sum by ({labels}) (rate({buckets}{RATE})))"

    def _counter(self, metric: Metric, more: dict[str, Values]) -> str:
        if metric.type is not MetricType.COUNTER:
            raise ValueError(f"{metric.name} is no counter")
        return self.of(metric, **more)


RUN: Final = Scope({"job_namespace": "$namespace", "job_name": "$job"})
COMPARED: Final = Scope({"job_namespace": "$namespace", "job_name": ("$compare",)})
NAMESPACE: Final = Scope({"job_namespace": "$namespace"})
FLEET: Final = Scope({"job_namespace": ("$namespace",)})
EVERYTHING: Final = Scope()


def age(timestamps: str) -> str:
    """Return how long ago something was, in seconds."""
    return f"time() - {timestamps}"


def milliseconds(timestamps: str) -> str:
    """Return timestamps as Grafana takes them."""
    return f"{timestamps} * 1000"
