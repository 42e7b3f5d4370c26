"""What a run watches of itself, in one place for the training loop: gate, evaluation, expectations, steps left out.

The loop tells what it does; here it is looked at, said (log, metrics, progress, the step's row) and decided whether the
run must go back. Nothing here changes weights.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic.alias_generators import to_camel

from t2i_api.metrics.labels import Caption
from t2i_api.progress import ExitCode
from t2i_trainer.errors import TrainerError
from t2i_trainer.expectations import ExpectationCheck, bands_of
from t2i_trainer.non_finite import Continue, Fail, NonFinitePolicy, RollBack, loss_limit
from t2i_trainer.sanity.gate import SanityGate, Watched

if TYPE_CHECKING:
    from collections.abc import Iterable

    from t2i_api.findings import Finding
    from t2i_trainer.configuration import RunConfiguration
    from t2i_trainer.data.feed import Batch
    from t2i_trainer.non_finite import SkippedSteps
    from t2i_trainer.prepare import Prepared
    from t2i_trainer.step_result import StepResult
    from t2i_trainer.telemetry import Telemetry
    from t2i_trainer.world import World


class Watch:
    """One attempt's watch over itself; every rank calls the same methods in the same order."""

    def __init__(self, configuration: RunConfiguration, world: World, telemetry: Telemetry, prepared: Prepared) -> None:
        spec = configuration.spec
        self._spec = spec
        self._world = world
        self._telemetry = telemetry
        self._state = prepared.state
        self._metrics = prepared.metrics
        self._gate = SanityGate(
            Watched(
                spec=spec,
                world=world,
                state=prepared.state,
                feed=prepared.feed,
                null_embedding=prepared.facts.null_embedding,
                dataset_size=prepared.facts.dataset_size,
                is_fresh=prepared.state.step == 0 and prepared.facts.initial_weights is None,
                seen=prepared.metrics.batches(),
            )
        )
        self._expectations = ExpectationCheck(bands_of(spec.expectations, spec.training.steps))
        policy = spec.failure_policy
        self._policy = NonFinitePolicy(policy.max_skipped_steps, policy.max_rollbacks, prepared.skipped)
        self.roll_back: RollBack | None = self._policy.owed(self._state.step)
        self._tell(self._gate.begin(), max(self._state.step, 1))

    @property
    def skipped(self) -> tuple[SkippedSteps, ...]:
        """What was left out so far; it belongs into every checkpoint."""
        return self._policy.record

    @property
    def loss_limit(self) -> float:
        """Above it the next step is left out."""
        return loss_limit(self._state.step + 1, self._spec)

    @property
    def is_evaluation_due(self) -> bool:
        """Whether `evaluate` is to be called after this step."""
        return self._gate.is_evaluation_due()

    def before(self, batch: Batch) -> None:
        """Remember what is there before the next step."""
        self._gate.before(batch)

    def after(self, batch: Batch) -> None:
        """Look at the step that was just launched."""
        self._tell(self._gate.after(batch), self._state.step)

    def hear(self, result: StepResult) -> None:
        """Judge what a step measured; raises TrainerError(NON_FINITE_LOSS) beyond the job's bounds."""
        step = result.step
        mark, repeated = self._gate.recognise(step)
        if self._world.leads:
            if mark is not None:
                self._metrics.note(step, "batch", mark)
            losses = [None if loss is None or not math.isfinite(loss) else loss for loss in result.quartile_losses]
            self._metrics.note(step, "quartiles", losses)
        self._telemetry.noticed.losses_by_timestep(result.quartile_losses)
        self._tell([*repeated, *self._gate.observe(result)], step)
        self._decide(result)
        judgement = self._expectations.judge(step, self._telemetry.progress.loss_smoothed)
        if judgement is not None:
            self._telemetry.expects(as_expected=judgement.as_expected, sentence=judgement.sentence)
            self._tell([judgement.finding] if judgement.finding else [], step)

    def evaluate(self) -> None:
        """Evaluate the fixed grid and say what it shows."""
        gap, findings = self._gate.evaluate()
        if gap is None:
            return
        if self._world.leads:
            told = {to_camel(name): value for name, value in asdict(gap).items()}
            self._metrics.note(self._state.step, "evaluation", told)
        losses = {Caption.RIGHT: gap.right, Caption.WRONG: gap.wrong, Caption.NULL: gap.null}
        self._telemetry.noticed.evaluated(self._state.step, losses)
        self._tell(findings, self._state.step)

    def went_back(self, checkpoint_step: int) -> None:
        """Note that the tensors are those of an earlier checkpoint now."""
        wish, self.roll_back = self.roll_back, None
        self._policy.rolled_back(checkpoint_step, self._state.step)
        shortfall = None if wish is None else wish.shortfall(checkpoint_step, self._state.step)
        self._tell([shortfall] if shortfall else [], self._state.step)
        self._telemetry.noticed.rolled_back()
        self._gate.begin_again()

    def _decide(self, result: StepResult) -> None:
        if result.skipped:
            self._telemetry.noticed.skipped()
        if not result.finite:
            self._telemetry.noticed.met_non_finite()
        match self._policy.hear(result):
            case Continue(finding):
                self._tell([finding] if finding else [], result.step)
            case RollBack() as wish:
                self._tell([wish.finding], result.step)
                self.roll_back = self.roll_back or wish
            case Fail(message):
                known = self._telemetry.progress.last_checkpoint
                raise TrainerError(ExitCode.NON_FINITE_LOSS, f"{message}. The last checkpoint is {known or 'none'}")

    def _tell(self, findings: Iterable[Finding], step: int) -> None:
        for finding in findings:
            if self._world.leads:
                self._telemetry.found(finding)
                self._metrics.note(step, "findings", finding.to_wire())
