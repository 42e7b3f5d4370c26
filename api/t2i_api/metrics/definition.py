"""What a metric is here: name, type, unit, labels and what bounds them, and the sentence that Prometheus shows.

The rules that every entry keeps (https://prometheus.io/docs/practices/naming/) are a test over the whole list: base
units as suffix, `_total` for counters, `_info` for facts, timestamps rather than ages, no label named job, namespace,
pod or instance (those are the target's), and labels whose values are bounded.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class MetricType(StrEnum):
    """Prometheus metric types that we use."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Unit(StrEnum):
    """What a value counts; dashboards choose their axis by it."""

    NONE = ""  # a number without a unit: a loss, a norm
    SECONDS = "seconds"
    TIMESTAMP = "seconds since the epoch"
    BYTES = "bytes"
    RATIO = "ratio, 0 to 1"
    STEPS = "steps"
    IMAGES = "images"
    IMAGES_PER_SECOND = "images per second"
    YES_NO = "1 or 0"
    COUNT = "count"


@dataclass(frozen=True, kw_only=True)
class Label:
    """A label; `values` are all that it can have, or `bound` says what else keeps them few."""

    name: str
    values: tuple[str, ...] = ()
    bound: str = ""

    @classmethod
    def of(cls, name: str, values: Iterable[str]) -> "Label":
        """Return a label with a fixed set of values, such as those of an enum."""
        return cls(name=name, values=tuple(str(value) for value in values))


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric family. `buckets` are the upper bounds of a histogram, without infinity."""

    name: str
    type: MetricType
    help: str
    unit: Unit
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of the labels, in order."""
        return tuple(label.name for label in self.labels)

    @property
    def family(self) -> str:
        """The name without `_total`, as the text format's parsers and OpenMetrics call the family."""
        return self.name.removesuffix("_total") if self.type is MetricType.COUNTER else self.name


def gauge(name: str, unit: Unit, text: str, *labels: Label) -> Metric:
    """Return a gauge."""
    return Metric(name=name, type=MetricType.GAUGE, help=text, unit=unit, labels=labels)


def counter(name: str, unit: Unit, text: str, *labels: Label) -> Metric:
    """Return a counter."""
    return Metric(name=name, type=MetricType.COUNTER, help=text, unit=unit, labels=labels)


def histogram(name: str, unit: Unit, text: str, buckets: tuple[float, ...], *labels: Label) -> Metric:
    """Return a histogram."""
    return Metric(name=name, type=MetricType.HISTOGRAM, help=text, unit=unit, labels=labels, buckets=buckets)
