"""Where findings, evaluation and expectations become visible: the metrics of them, and the log line of each finding."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from prometheus_client import Counter

from t2i_api.findings import Severity
from t2i_api.metrics import trainer as names
from t2i_trainer.known_gauges import KnownGauges
from t2i_trainer.step_result import QUARTILES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prometheus_client import CollectorRegistry

    from t2i_api.findings import Finding
    from t2i_api.metrics.labels import Caption

logger = logging.getLogger("t2i_trainer")

_SMOOTHING = 0.95


class NoticedMetrics:
    """The metrics of what a run notices about itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        gauges = (names.LOSS_BY_TIMESTEP, names.EVALUATION_LOSS, names.EVALUATION_STEP, names.AS_EXPECTED)
        self._gauges = KnownGauges(gauges, registry)
        findings = names.FINDINGS
        self._findings = Counter(findings.name, findings.help, findings.label_names, registry=registry)
        self._non_finite, self._skipped, self._rollbacks = (
            Counter(metric.name, metric.help, registry=registry)
            for metric in (names.NON_FINITE, names.SKIPPED, names.ROLLBACKS)
        )
        self._smoothed: list[float | None] = [None] * QUARTILES

    def found(self, finding: Finding) -> None:
        """Count a finding and say it."""
        self._findings.labels(finding.name, finding.severity).inc()
        level = logging.ERROR if finding.severity is Severity.ERROR else logging.WARNING
        logger.log(level, "step %d: %s: %s", finding.step, finding.name, finding.sentence)

    def losses_by_timestep(self, losses: Sequence[float | None]) -> None:
        """Take in the mean losses of a step by quarter of the timesteps; None where no sample fell."""
        for index, loss in enumerate(losses):
            if loss is None or not math.isfinite(loss):
                continue
            before = self._smoothed[index]
            now = loss if before is None else _SMOOTHING * before + (1 - _SMOOTHING) * loss
            self._smoothed[index] = now
            self._gauges.set(names.LOSS_BY_TIMESTEP, now, str(index + 1))

    def evaluated(self, step: int, losses: Mapping[Caption, float]) -> None:
        """Take in the evaluation losses after a step by kind of caption."""
        self._gauges.set(names.EVALUATION_STEP, step)
        for caption, loss in losses.items():
            self._gauges.set(names.EVALUATION_LOSS, loss, caption)

    def expects(self, *, as_expected: bool | None) -> None:
        """Note whether the loss lies in its bands."""
        self._gauges.set(names.AS_EXPECTED, None if as_expected is None else float(as_expected))

    def met_non_finite(self) -> None:
        """Count a step whose loss or gradient is not finite."""
        self._non_finite.inc()

    def skipped(self) -> None:
        """Count a step that changed nothing."""
        self._skipped.inc()

    def rolled_back(self) -> None:
        """Count a return to a checkpoint."""
        self._rollbacks.inc()
