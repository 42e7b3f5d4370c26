"""What each process of a pod measures of itself, where the pod's first process can export it.

One process of a pod serves HTTP, but every one has a step time and waits for data. Each writes its figures into a small
file that it maps into memory: a write costs no system call and no lock, and a reader sees whole numbers. The
multi-process mode of prometheus_client does the same for every metric of a program, chosen by a variable of the
environment before it is imported, and cannot leave a gauge out that is not known (docs/decisions/0160).
"""

from __future__ import annotations

import math
import mmap
from array import array
from bisect import bisect_left
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from t2i_api.metrics import trainer as names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from prometheus_client.metrics_core import Metric as MetricFamily

    from t2i_api.metrics import Metric

_BUCKETS: Final = names.STEP_SECONDS.buckets
FIGURES: Final = "figures"  # folder below the run directory
_PREFIX: Final = "rank-"


class _Place(IntEnum):
    """Where a figure lies; the counts of the histogram's buckets follow, the last of them up to infinity."""

    FORWARD = 0
    DATA_WAIT = 1
    STEP_SECONDS = 2
    UTILISATION = 3
    MEMORY = 4
    MEMORY_SIZE = 5
    FIRST_BUCKET = 6


_LENGTH: Final = _Place.FIRST_BUCKET + len(_BUCKETS) + 1
_COUNTERS: Final = ((names.FORWARD_SECONDS, _Place.FORWARD), (names.DATA_WAIT, _Place.DATA_WAIT))
_GAUGES: Final = (
    (names.MFU, _Place.UTILISATION),
    (names.GPU_MEMORY, _Place.MEMORY),
    (names.GPU_MEMORY_SIZE, _Place.MEMORY_SIZE),
)


class RankFigures:
    """The figures of this process; with a directory, beside those of the others of its pod. Times in seconds."""

    def __init__(self, rank: int = 0, directory: Path | None = None) -> None:
        self.rank = rank
        self._directory = directory
        self._values = memoryview(self._map(directory)).cast("d")
        for _, place in _GAUGES:
            self._values[place] = math.nan

    def waited(self, seconds: float) -> None:
        """Add the wait for one batch."""
        self._values[_Place.DATA_WAIT] += seconds

    def stepped(self, seconds: float | None, forward_seconds: float | None) -> None:
        """Count a step, and add the time of its forward passes; None where it was not measured."""
        if seconds is not None:
            self._values[_Place.STEP_SECONDS] += seconds
            self._values[_Place.FIRST_BUCKET + bisect_left(_BUCKETS, seconds)] += 1
        if forward_seconds is not None:
            self._values[_Place.FORWARD] += forward_seconds

    def utilised(self, ratio: float) -> None:
        """Note the model FLOPs utilisation of a step."""
        self._values[_Place.UTILISATION] = ratio

    def remembered(self, peak_bytes: int, size_bytes: int) -> None:
        """Note the most GPU memory that was taken so far, and how much the GPU has."""
        self._values[_Place.MEMORY] = peak_bytes
        self._values[_Place.MEMORY_SIZE] = size_bytes

    def of_pod(self) -> Iterator[tuple[int, Sequence[float]]]:
        """Return the figures of every process of this pod with its rank, in no order."""
        if self._directory is None:
            yield self.rank, self._values.tolist()
            return
        for path in self._directory.glob(f"{_PREFIX}*"):
            content = path.read_bytes()
            if len(content) == _LENGTH * self._values.itemsize:  # else its process is about to make it
                yield int(path.name.removeprefix(_PREFIX)), array("d", content)

    def _map(self, directory: Path | None) -> mmap.mmap:
        size = _LENGTH * array("d").itemsize
        if directory is None:
            return mmap.mmap(-1, size)
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / f"{_PREFIX}{self.rank}").open("w+b") as file:
            file.truncate(size)
            return mmap.mmap(file.fileno(), size)


class RankCollector(Collector):
    """The metrics of every process of the pod."""

    def __init__(self, figures: RankFigures) -> None:
        self._figures = figures

    def collect(self) -> Iterable[MetricFamily]:
        """Return every family, with samples of each rank that measured something."""
        ranks = sorted((rank, list(values)) for rank, values in self._figures.of_pod())
        yield _histogram(names.STEP_SECONDS, ranks)
        for metric, place in _COUNTERS:
            counter = CounterMetricFamily(metric.family, metric.help, labels=metric.label_names)
            for rank, values in ranks:
                counter.add_metric([str(rank)], values[place])
            yield counter
        for metric, place in _GAUGES:
            gauge = GaugeMetricFamily(metric.name, metric.help, labels=metric.label_names)
            for rank, values in ranks:
                if not math.isnan(values[place]):
                    gauge.add_metric([str(rank)], values[place])
            yield gauge


def _histogram(metric: Metric, ranks: Sequence[tuple[int, Sequence[float]]]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.label_names)
    for rank, values in ranks:
        seen, buckets = 0.0, []
        for bound, count in zip((*metric.buckets, math.inf), values[_Place.FIRST_BUCKET :], strict=True):
            seen += count
            buckets.append(("+Inf" if math.isinf(bound) else str(float(bound)), seen))
        family.add_metric([str(rank)], buckets, values[_Place.STEP_SECONDS])
    return family
