"""What a storage worker does in a thread before an attempt: look at the bucket; outcomes, never exceptions."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import t2i_checkpoint.s3  # noqa: F401  # boto3 takes a second to import: at start, not in the first preflight
from t2i_api.job import DiffusionTrainingJob
from t2i_checkpoint.archive_resume import finish_archives
from t2i_checkpoint.choose import keeps_its_place
from t2i_checkpoint.inspect import Judgement, Survey, survey, survey_location
from t2i_checkpoint.open import open_location
from t2i_checkpoint.store import Credentials, StoreListener
from t2i_checkpoint.verdict import Wanted
from t2i_checkpoint.wanted import wanted_from
from t2i_operator.bucket import job_store, last_archive, refuse_directory, storage_error
from t2i_operator.observed import PreflightFacts, StorageError
from t2i_operator.probes import Probes

_WEIGHTS = "model.initialWeights"


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Credentials by purpose: None is the process's own identity, a StorageError why there are none.

    `initial_weights` are those of its own Secret; what cannot be read there matters only if the weights are needed.
    """

    checkpoint: Credentials | None
    initial_weights: Credentials | StorageError | None = None


def run_preflight(
    job: DiffusionTrainingJob, attempt: int, keys: Keys, probes: Probes, *, heard: StoreListener | None = None
) -> PreflightFacts:
    """Finish what a killed process left of an archive, then judge every checkpoint; blocking.

    `heard` is told of every request, from this thread and others.
    """
    facts = PreflightFacts(attempt=attempt)
    policy = job.spec.checkpoint.on_incompatible

    def keep(judgement: Judgement) -> bool:
        return keeps_its_place(judgement, policy)

    try:
        wanted = wanted_from(job.spec)
        store = job_store(job, keys.checkpoint, heard)

        def why_not_move() -> tuple[str, ...]:
            return probes.abilities(job.spec.checkpoint, store, keys.checkpoint).reasons

        finish_archives(store, wanted, keep=keep, why_not_move=why_not_move)
        found = survey(store, wanted)
        facts = replace(facts, survey=found, last_archive=last_archive(store, attempt))
    except Exception as error:  # noqa: BLE001  # the last boundary of the thread: whatever it was becomes an outcome
        return replace(facts, error=storage_error(error), finished_at=datetime.now(UTC))
    if job.spec.model.initial_weights is not None and found.resumable is None:
        weights = _survey_initial_weights(job, wanted, keys, heard)
        named = {"error": weights} if isinstance(weights, StorageError) else {"initial_weights": weights}
        facts = replace(facts, **named)
    return replace(facts, finished_at=datetime.now(UTC))


def _survey_initial_weights(
    job: DiffusionTrainingJob, wanted: Wanted, keys: Keys, heard: StoreListener | None
) -> Survey | StorageError:
    """Judge what lies at `model.initialWeights.uri`: only the model matters, for the run begins at step 0."""
    weights, checkpoint = job.spec.model.initial_weights, job.spec.checkpoint
    if weights is None or isinstance(keys.initial_weights, StorageError):
        return keys.initial_weights if isinstance(keys.initial_weights, StorageError) else Survey((), 0, 0, 0.0)
    try:
        refuse_directory(weights.uri, f"{_WEIGHTS}.uri")
        location = open_location(
            weights.uri,
            endpoint=weights.endpoint or checkpoint.endpoint,
            credentials=keys.initial_weights or keys.checkpoint,
            region=weights.region or checkpoint.region,
            heard=heard,
        )
        return survey_location(location.store, replace(wanted, run=None), key=location.key)
    except Exception as error:  # noqa: BLE001  # the last boundary of the thread: whatever it was becomes an outcome
        wrong = storage_error(error)
        return replace(wrong, message=f"{_WEIGHTS}.uri: {wrong.message}")
