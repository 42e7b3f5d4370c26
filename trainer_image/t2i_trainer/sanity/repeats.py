"""Whether a run sees a batch again that it has seen, as after a resume that forgot its place. Pure but for a hash."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from t2i_api.findings import Finding, FindingName, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from t2i_trainer.data.feed import Batch

_NUMBERS = 64


def batch_fingerprint(batch: Batch) -> str | None:
    """Return 16 hex digits that two batches share exactly if their first samples drew the same noise and timestep.

    None on a GPU: reading it there would make the host wait.
    """
    if batch.noise.device.type != "cpu" or not len(batch.noise):
        return None
    noise = batch.noise[0].flatten()[:_NUMBERS].contiguous().numpy().tobytes()
    return hashlib.blake2b(noise + str(int(batch.timesteps[0])).encode(), digest_size=8).hexdigest()


class RepeatCheck:
    """Knows the fingerprint of every step of the run, those of earlier attempts from its metrics."""

    def __init__(self, seen: Mapping[int, str]) -> None:
        self._steps = {fingerprint: step for step, fingerprint in seen.items()}
        self._told = False

    def observe(self, step: int, fingerprint: str | None) -> list[Finding]:
        """Take in the batch of a step."""
        if fingerprint is None:
            return []
        before = self._steps.setdefault(fingerprint, step)
        if before >= step or self._told:
            return []
        self._told = True
        text = (
            f"step {step} trains on the very samples and noise of step {before}: the run's position in the data was "
            "lost, most likely by a resume, and some samples are seen twice while others are never seen. Look at how "
            "the feed is told its step"
        )
        return [Finding(name=FindingName.REPEATED_DATA, severity=Severity.ERROR, step=step, sentence=text)]
