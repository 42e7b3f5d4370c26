"""What the operator's own settings give every attempt, where the job says nothing else."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TrainerDefaults:
    """`linger_seconds`: how long at most a pod that has ended stays to be scraped once more."""

    image: str
    linger_seconds: float = 0.0
