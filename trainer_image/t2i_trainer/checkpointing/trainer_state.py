"""`trainer_state.json`: what a resumed run wants to know besides tensors, in a form that people can read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from t2i_trainer.non_finite import SkippedSteps


class TrainerState(BaseModel):
    """Where the run stood; `dataset_*` let a changed data set be noticed."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    step: int = Field(ge=0)
    dataset_size: int = Field(ge=1)
    dataset_sha256: str
    loss_smoothed: float | None = None
    skipped: tuple[SkippedSteps, ...] = Field(default=(), description="Steps that left no trace in the weights.")
