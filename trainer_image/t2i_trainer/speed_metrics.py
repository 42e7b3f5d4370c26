"""The metrics of how fast a run is: wait for data, utilisation, GPU memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

from t2i_api import metrics as names

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class SpeedMetrics:
    """Gauges are NaN until something is known."""

    def __init__(self, registry: CollectorRegistry) -> None:
        wait, utilisation, memory = names.trainer.DATA_WAIT, names.trainer.MFU, names.trainer.GPU_MEMORY
        self._wait = Counter(wait.name, wait.help, registry=registry)
        self._utilisation = Gauge(utilisation.name, utilisation.help, registry=registry)
        self._memory = Gauge(memory.name, memory.help, registry=registry)
        self._utilisation.set(math.nan)
        self._memory.set(math.nan)

    def waited(self, seconds: float) -> None:
        """Add the wait for one batch."""
        self._wait.inc(seconds)

    def utilised(self, ratio: float) -> None:
        """Note the model FLOPs utilisation of a step."""
        self._utilisation.set(ratio)

    def remembered(self, peak_bytes: int) -> None:
        """Note the most GPU memory so far."""
        self._memory.set(peak_bytes)
