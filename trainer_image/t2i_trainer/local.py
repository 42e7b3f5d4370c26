"""A run without a cluster: this machine is the only pod, and the trainer itself judges what lies at the checkpoint URI.

It resumes the newest checkpoint that fits and touches nothing else: archiving is the operator's and the CLI's.
"""

from __future__ import annotations

import secrets
import socket
from typing import TYPE_CHECKING

from t2i_api.attempt import METRICS_PORT, AttemptDocument
from t2i_api.progress import ExitCode
from t2i_api.status import VerdictKind
from t2i_checkpoint.inspect import Survey, survey
from t2i_checkpoint.unet import UnsupportedConfigError
from t2i_checkpoint.wanted import wanted_from
from t2i_trainer.configuration import open_job_store
from t2i_trainer.failures import TrainerError

if TYPE_CHECKING:
    from t2i_api.job import DiffusionTrainingJob
    from t2i_checkpoint.inspect import Judgement

_LOOPBACK = "127.0.0.1"


def local_attempt(
    job: DiffusionTrainingJob, *, processes: int | None = None, metrics_port: int = METRICS_PORT
) -> AttemptDocument:
    """Return the attempt of a run on this machine; `processes` defaults to the job's world size.

    Raises TrainerError(INCOMPATIBLE_WEIGHTS) where something lies there that does not fit or cannot be read.
    """
    spec = job.spec
    try:
        wanted = wanted_from(spec)
    except UnsupportedConfigError as error:
        raise TrainerError(ExitCode.BAD_CONFIGURATION, f"model.unet: {error}") from error
    chosen = choose_checkpoint(survey(open_job_store(spec, spec.checkpoint.uri), wanted), spec.checkpoint.uri)
    return AttemptDocument(
        job_name=job.metadata.name,
        job_namespace=job.metadata.namespace,
        job_uid=secrets.token_hex(4),  # makes the writer's name: two runs never share a checkpoint folder
        attempt=1,
        workers=1,
        processes_per_worker=processes or spec.workers.world_size,
        resume_from=chosen.name if chosen is not None else None,
        rendezvous_address=_LOOPBACK,
        rendezvous_port=_free_port(),
        metrics_port=metrics_port,
    )


def choose_checkpoint(found: Survey, uri: str) -> Judgement | None:
    """Return the checkpoint to resume, or None for a fresh start; refuses where a person has to look."""
    for judgement in found.judgements:
        kind = judgement.verdict.kind
        if kind is VerdictKind.FOREIGN:
            raise TrainerError(
                ExitCode.INCOMPATIBLE_WEIGHTS,
                f"{uri}/{judgement.folder} does not fit this job: {judgement.verdict.explanation}. Choose another "
                "checkpoint.uri, or move it below archive/; nothing was changed",
            )
        if kind is VerdictKind.UNREADABLE:
            raise TrainerError(
                ExitCode.STORAGE_UNAVAILABLE,
                f"{uri}/{judgement.folder} could not be read ({judgement.verdict.reason}): "
                f"{judgement.verdict.explanation}. Nothing was changed; look at it before training goes on",
            )
    return found.resumable


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
