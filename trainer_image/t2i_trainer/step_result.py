"""What one optimizer step measured: what log, metrics, trackers and the run's own watch over itself are made from."""

from __future__ import annotations

from dataclasses import dataclass

QUARTILES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """The measures of step `step` (1 is the first), over the global batch and alike on every rank but where said.

    `loss` is the unweighted mean; `own_gradient_norm` is this rank's, which is `gradient_norm` unless the gradients
    were not averaged. A skipped step changed neither weights nor averages. `quartile_losses` are means over the samples
    whose timestep fell into that quarter of the forward process (None: there were none), `quartile_powers` the means of
    those samples' squared targets: the loss of an answer of zero. `target_power` is that of the whole batch. `seconds`
    is from the end of the step before to the end of this one, on the device; `forward_seconds` is what this rank spent
    in forward passes. `wants_stop`: some rank was asked to stop.
    """

    step: int
    loss: float
    gradient_norm: float
    learning_rate: float
    own_gradient_norm: float | None = None
    finite: bool = True
    skipped: bool = False
    quartile_losses: tuple[float | None, ...] = (None,) * QUARTILES
    quartile_powers: tuple[float | None, ...] = (None,) * QUARTILES
    target_power: float | None = None
    seconds: float | None = None
    forward_seconds: float | None = None
    wants_stop: bool = False
