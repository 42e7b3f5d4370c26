"""The spec groups that say what a run watches of itself: a fixed evaluation grid, and the losses it should reach."""

from enum import StrEnum
from typing import Self

from pydantic import ConfigDict, Field, model_validator

from t2i_api.base import WireModel
from t2i_api.fields import rules

MAXIMUM_BANDS = 32


class Evaluation(WireModel):
    """The loss on a fixed grid: the same pictures, noise and timesteps every time."""

    every_steps: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000,
        description="Steps between evaluations. Default none: never. Example: 1000.",
    )
    images: int = Field(default=16, ge=1, le=1024, description="Pictures of the grid. Default 16. Example: 64.")


class ExpectationPreset(StrEnum):
    """Bands that ship with the product; see `t2i_trainer`'s expectations."""

    FROM_SCRATCH_BANDS = "FromScratchBands"


class LossBand(WireModel):
    """The smoothed loss between two steps."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.fromStep <= self.toStep",
                "expectations.bands: fromStep must not exceed toStep",
            ),
            (
                "has(self.lossAtLeast) || has(self.lossAtMost)",
                "expectations.bands: a band needs lossAtLeast, lossAtMost or both",
            ),
            (
                "!has(self.lossAtLeast) || !has(self.lossAtMost) || self.lossAtLeast <= self.lossAtMost",
                "expectations.bands: lossAtLeast must not exceed lossAtMost",
            ),
        )
    )

    from_step: int = Field(ge=0, le=100_000_000, description="First step of the band. No default. Example: 1000.")
    to_step: int = Field(ge=0, le=100_000_000, description="Last step of the band. No default. Example: 5000.")
    loss_at_least: float | None = Field(
        default=None, ge=0, le=1000, description="Loss below it is unexpected. Default none. Example: 0.05."
    )
    loss_at_most: float | None = Field(
        default=None, ge=0, le=1000, description="Loss above it is unexpected. Default none. Example: 0.08."
    )

    @model_validator(mode="after")
    def _is_a_band(self) -> Self:
        if self.from_step > self.to_step:
            raise ValueError("fromStep must not exceed toStep")
        if self.loss_at_least is None and self.loss_at_most is None:
            raise ValueError("a band needs lossAtLeast, lossAtMost or both")
        if self.loss_at_least is not None and self.loss_at_most is not None and self.loss_at_least > self.loss_at_most:
            raise ValueError("lossAtLeast must not exceed lossAtMost")
        return self


class Expectations(WireModel):
    """Losses that the job's owner expects; a job that leaves them is marked (condition AsExpected), never stopped."""

    preset: ExpectationPreset | None = Field(
        default=None, description="Bands by name, before those of bands. Default none. Example: FromScratchBands."
    )
    bands: list[LossBand] = Field(
        default=[],
        max_length=MAXIMUM_BANDS,
        description="Bands of one's own. Default none. Example: [{fromStep: 1000, toStep: 5000, lossAtMost: 0.08}].",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
