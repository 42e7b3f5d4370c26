"""Gauges that have a sample only once their value is known.

A `prometheus_client.Gauge` without labels says 0 from the start, and 0 is a wrong time of the last checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import CollectorRegistry

    from t2i_api.metrics import Metric


class KnownGauges(Collector):
    """The values of some gauges by their labels; set by one thread, collected by any."""

    def __init__(self, metrics: Iterable[Metric], registry: CollectorRegistry) -> None:
        self._metrics = tuple(metrics)
        self._values: dict[str, dict[tuple[str, ...], float]] = {metric.name: {} for metric in self._metrics}
        registry.register(self)

    def set(self, metric: Metric, value: float | None, *labels: str) -> None:
        """Note a value under these label values; None: it is not known any more."""
        values = self._values[metric.name]
        if value is None:
            values.pop(labels, None)
        else:
            values[labels] = value

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return every family, those without a value empty."""
        for metric in self._metrics:
            family = GaugeMetricFamily(metric.name, metric.help, labels=metric.label_names)
            for labels, value in list(self._values[metric.name].items()):
                family.add_metric(labels, value)
            yield family
