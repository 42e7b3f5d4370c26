"""Whether captions reach the model and help it: the loss with the right caption against a wrong one. Pure.

With f(c) the prediction for caption c and m the best possible one, a wrong caption c' costs
G = |f(c') - m|^2 - |f(c) - m|^2, which for a model that has learnt f = m is S = |f(c') - f(c)|^2: the two are measured
on the same pictures, noise and timesteps, and G/S is 1 for captions that are understood, 0 for captions that are noise.
A model that is given other pictures' captions unlearns to listen: S itself goes to 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from t2i_api.findings import Finding, FindingName, Severity

# How often every picture must have been seen with its caption, and how many steps taken, before silence is a fault.
# Tiny healthy runs (docs/planted-faults.md) show the gap after 20 to 35 passes; a run over millions of pictures is
# never judged before it has seen each of them 45 times.
PASSES = 45
STEPS = 150
# A reaction of a thousandth of the target's power; healthy runs are at a tenth by then, runs on shuffled captions at
# a hundred-thousandth.
_DEAF = 1e-3
_CLEAR = 2.0
_ABSURD = 4.0


@dataclass(frozen=True)
class CaptionGap:
    """Of an evaluation: mean losses, E f(c)^2, S, E y^2, and how many standard errors G lies above 0."""

    right: float
    wrong: float
    null: float
    answer_power: float
    reaction: float
    target_power: float
    significance: float


def judge_gap(gap: CaptionGap, *, step: int, passes: float, trivial: float) -> list[Finding]:
    """Say where captions do not reach the model, do not help it, or make it worse than knowing nothing."""
    if not all(math.isfinite(each) for each in (gap.right, gap.wrong, gap.null, gap.reaction)):
        return []
    # An output layer that begins with zeros answers nothing at all yet: that is said of the output, if it stays so.
    if gap.reaction == 0 and gap.answer_power > 0:
        text = (
            "the UNet's answer is bit by bit the same for two different captions: conditioning does not reach it. Look "
            "at encoder_hidden_states, at the UNet's cross-attention blocks and at whether captions differ at all"
        )
        return [Finding(name=FindingName.CAPTIONS_IGNORED, severity=Severity.ERROR, step=step, sentence=text)]
    ready = step >= STEPS and passes >= PASSES
    if ready and gap.right < trivial and gap.reaction < _DEAF * gap.target_power and gap.significance < _CLEAR:
        text = (
            f"after {passes:.0f} passes over the data the model hardly reacts to captions (loss {gap.right:.4f} with "
            f"the right one, {gap.wrong:.4f} with a wrong one): captions and pictures do not belong together. Look at "
            "where they are paired and shuffled, and at metadata.jsonl"
        )
        return [Finding(name=FindingName.CAPTIONS_DO_NOT_HELP, severity=Severity.ERROR, step=step, sentence=text)]
    if ready and gap.right > _ABSURD * min(gap.wrong, gap.null) and gap.significance < -_CLEAR:
        text = (
            f"the right caption makes the loss {gap.right / gap.wrong:.1f} times that of a wrong one: training and "
            "evaluation encode captions differently. Look at the text encoder, its tokenizer and its precision"
        )
        return [Finding(name=FindingName.CAPTIONS_DO_NOT_HELP, severity=Severity.WARNING, step=step, sentence=text)]
    return []
