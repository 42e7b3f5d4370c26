"""The weights that a job names to begin with, judged as operator and trainer judge them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from t2i_checkpoint.inspect import Survey, survey_location
from t2i_checkpoint.open import open_location
from t2i_checkpoint.wanted import wanted_from

if TYPE_CHECKING:
    from t2i_api.job import DiffusionTrainingJob


def survey_initial_weights(job: DiffusionTrainingJob, endpoint: str | None) -> Survey | None:
    """Judge `model.initialWeights.uri`, or return None where the job names none.

    Seed and batch size take no part: the run begins anew. Credentials are those of this command line; a Secret that
    the job names cannot be read from here.
    """
    initial = job.spec.model.initial_weights
    if initial is None:
        return None
    location = open_location(
        initial.uri,
        endpoint=initial.endpoint or endpoint or job.spec.checkpoint.endpoint,
        region=initial.region or job.spec.checkpoint.region,
    )
    return survey_location(location.store, replace(wanted_from(job.spec), run=None), location.key)
