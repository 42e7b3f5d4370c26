"""Where findings, evaluation and expectations become visible: the metrics of them, and the log line of each finding."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

from t2i_api import metrics as names
from t2i_api.findings import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prometheus_client import CollectorRegistry

    from t2i_api.findings import Finding

logger = logging.getLogger("t2i_trainer")

_SMOOTHING = 0.95


class NoticedMetrics:
    """The metrics of what a run notices about itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        findings, quartiles = names.trainer.FINDINGS, names.trainer.LOSS_BY_TIMESTEP
        evaluation, expected = names.trainer.EVALUATION_LOSS, names.trainer.AS_EXPECTED
        skipped, rollbacks = names.trainer.SKIPPED, names.trainer.ROLLBACKS
        self._findings = Counter(findings.name, findings.help, findings.label_names, registry=registry)
        self._quartiles = Gauge(quartiles.name, quartiles.help, quartiles.label_names, registry=registry)
        self._evaluation = Gauge(evaluation.name, evaluation.help, evaluation.label_names, registry=registry)
        self._expected = Gauge(expected.name, expected.help, registry=registry)
        self._skipped = Counter(skipped.name, skipped.help, registry=registry)
        self._rollbacks = Counter(rollbacks.name, rollbacks.help, registry=registry)
        self._expected.set(math.nan)
        self._smoothed: list[float | None] = [None] * 4

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
            self._quartiles.labels(str(index + 1)).set(now)

    def evaluated(self, losses: Mapping[str, float]) -> None:
        """Take in the evaluation losses by kind of caption."""
        for caption, loss in losses.items():
            self._evaluation.labels(caption).set(loss)

    def expects(self, *, as_expected: bool | None) -> None:
        """Note whether the loss lies in its bands."""
        self._expected.set(math.nan if as_expected is None else float(as_expected))

    def skipped(self) -> None:
        """Count a step that changed nothing."""
        self._skipped.inc()

    def rolled_back(self) -> None:
        """Count a return to a checkpoint."""
        self._rollbacks.inc()
