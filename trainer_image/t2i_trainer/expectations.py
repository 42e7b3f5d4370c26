"""The losses that the job's owner expects, as bands over steps: a run outside of them is marked and goes on. Pure.

The preset's four bands are those of the story that this product comes from. Between two bands nothing is expected: the
loss needs that time to get from the one to the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from t2i_api.findings import Finding, FindingName, Severity
from t2i_api.spec_watch import ExpectationPreset, LossBand

if TYPE_CHECKING:
    from t2i_api.spec_watch import Expectations

# (share of the run's steps from, to, loss at least, at most): a model of pixels or latents from random weights, trained
# for as long as it takes. The first twentieth is left to the descent from 1.
FROM_SCRATCH_BANDS: Final = (
    (0.05, 0.20, 0.10, 0.15),
    (0.30, 0.50, 0.05, 0.08),
    (0.60, 0.80, 0.02, 0.05),
    (0.90, 1.00, 0.01, 0.02),
)


def bands_of(expectations: Expectations | None, steps: int) -> tuple[LossBand, ...]:
    """Return the bands of a run of this many steps: the preset's, then the job's own."""
    if expectations is None:
        return ()
    preset = expectations.preset is ExpectationPreset.FROM_SCRATCH_BANDS
    scaled = [
        LossBand(
            from_step=math.ceil(start * steps), to_step=math.floor(end * steps), loss_at_least=low, loss_at_most=high
        )
        for start, end, low, high in (FROM_SCRATCH_BANDS if preset else ())
        if math.ceil(start * steps) <= math.floor(end * steps)
    ]
    return (*scaled, *expectations.bands)


@dataclass(frozen=True)
class Judgement:
    """`as_expected` is None where no band is due; `finding` is new."""

    as_expected: bool | None
    sentence: str | None
    finding: Finding | None = None


@dataclass
class ExpectationCheck:
    """Holds the smoothed loss against the bands; a band that is left is told once."""

    bands: tuple[LossBand, ...]
    _told: set[int] = field(default_factory=set)

    def judge(self, step: int, loss: float | None) -> Judgement | None:
        """Return what is to be said after a step; None for a job without expectations."""
        if not self.bands:
            return None
        due = [(place, band) for place, band in enumerate(self.bands) if band.from_step <= step <= band.to_step]
        if not due or loss is None:
            return Judgement(None, None)
        for place, band in due:
            sentence = _outside(band, loss)
            if sentence is None:
                continue
            if place in self._told:
                return Judgement(as_expected=False, sentence=sentence)
            self._told.add(place)
            finding = Finding(
                name=FindingName.OUTSIDE_EXPECTATIONS, severity=Severity.WARNING, step=step, sentence=sentence
            )
            return Judgement(as_expected=False, sentence=sentence, finding=finding)
        band = due[0][1]
        text = f"smoothed loss {loss:.4g} lies {_range(band)}, as expected from step {band.from_step} to {band.to_step}"
        return Judgement(as_expected=True, sentence=text)


def _outside(band: LossBand, loss: float) -> str | None:
    if band.loss_at_most is not None and loss > band.loss_at_most:
        side, cause = "above", "learning rate, data or schedule may be wrong, or the run needs longer than it was given"
    elif band.loss_at_least is not None and loss < band.loss_at_least:
        side, cause = "below", "the data may be easier than thought, seen too often, or leak into the input"
    else:
        return None
    return (
        f"smoothed loss {loss:.4g} is {side} what is expected from step {band.from_step} to {band.to_step} "
        f"({_range(band)}): {cause}; training goes on"
    )


def _range(band: LossBand) -> str:
    if band.loss_at_least is None:
        return f"at most {band.loss_at_most:g}"
    if band.loss_at_most is None:
        return f"at least {band.loss_at_least:g}"
    return f"within {band.loss_at_least:g} to {band.loss_at_most:g}"
