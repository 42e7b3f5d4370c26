"""What is compared: what a job asks for, and what was read of a stored checkpoint. Frozen values. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from t2i_api.status import VerdictKind
    from t2i_checkpoint.architecture import Architecture


@dataclass(frozen=True)
class Meaning:
    """What the same tensors stand for; None for a null embedding that is not known here (then it is not compared)."""

    prediction_type: str
    noise_schedule: str
    latent_scale: float
    null_embedding_sha256: str | None = None

    def differences(self, wanted: Meaning) -> tuple[MeaningDifference, ...]:
        """Return the fields on which self, the stored side, and `wanted` disagree."""
        found = []
        for field in fields(Meaning):
            held, asked = getattr(self, field.name), getattr(wanted, field.name)
            if held is not None and asked is not None and held != asked:
                found.append(MeaningDifference(field.name, str(held), str(asked)))
        return tuple(found)


@dataclass(frozen=True)
class MeaningDifference:
    """One field of `Meaning` on which stored and wanted disagree."""

    field: str
    stored: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.field.replace('_', ' ')} is {self.stored}, the job asks for {self.wanted}"


@dataclass(frozen=True)
class RunIdentity:
    """What must stay the same for an exact resume although weights of any such run would fit."""

    seed: int
    global_batch_size: int


@dataclass(frozen=True)
class Wanted:
    """What the job asks for.

    `architecture` is empty for a model that cannot be derived from its config; `model_config_sha256` then decides with
    what the trainer wrote into the manifest. `run` is None where only the model is asked for.
    """

    architecture: Architecture
    meaning: Meaning
    run: RunIdentity | None = None
    model_config_sha256: str | None = None

    @property
    def is_derived(self) -> bool:
        """Whether names and shapes are known before the model is built."""
        return len(self.architecture) > 0


@dataclass(frozen=True)
class Fault:
    """Why a checkpoint could not be compared at all; `kind` is INCOMPLETE or UNREADABLE."""

    kind: VerdictKind
    reason: str
    detail: str


@dataclass(frozen=True)
class ResumeState:
    """What our own layout holds besides the weights; shapes by the stored names.

    `missing_files` are those that a resume needs and the manifest does not list; the rest is the manifest's.
    """

    meaning: Meaning
    optimizer: Architecture | None
    parameter_order: tuple[str, ...]
    ema: Architecture | None = None
    missing_files: tuple[str, ...] = ()
    run: RunIdentity | None = None
    step: int = 0
    samples_seen: int = 0
    model_config_sha256: str | None = None


@dataclass(frozen=True)
class OptimizerFacts:
    """The state of a torch optimizer: one shape for each parameter it holds moments for.

    torch numbers the parameters in the order in which the program passed them (`by_index`); FSDP and DCP write names
    (`by_name`). `described` says what it is ("AdamW state of 686 parameters").
    """

    described: str
    by_index: tuple[tuple[int, ...] | None, ...] = ()
    by_name: Mapping[str, tuple[int, ...]] | None = None


@dataclass(frozen=True)
class OtherProgram:
    """What another program's checkpoint holds besides the weights.

    `optimizer` is None where there is none or it was not read; `holds` names what else lies there ("scheduler.bin").
    """

    optimizer: OptimizerFacts | None = None
    holds: tuple[str, ...] = ()

    @property
    def resumes(self) -> bool:
        """Whether that program could go on from it: random states alone are not enough for that."""
        return self.optimizer is not None or any("optim" in held or "sched" in held for held in self.holds)


@dataclass(frozen=True)
class Stored:
    """What was read: either a fault, or weights.

    `resume` only for checkpoints of our own layout, `other` for those of other programs. `not_loadable` says why this
    program cannot put the weights' bytes together, and the way out; None where it can.
    """

    architecture: Architecture | None
    resume: ResumeState | None = None
    fault: Fault | None = None
    other: OtherProgram | None = None
    not_loadable: str | None = None
