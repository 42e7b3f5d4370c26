"""A run without a cluster: this machine is the only pod, and the trainer itself asks what the run begins with.

The same function decides as in the operator; but nothing is put away here: archiving is the operator's and the CLI's.
"""

from __future__ import annotations

import secrets
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from t2i_api.attempt import METRICS_PORT, AttemptDocument, InitialWeightsDocument
from t2i_api.conditions import CheckpointReason
from t2i_api.progress import ExitCode
from t2i_checkpoint.choose import Archive, BeginWith, Resume, StartFresh, Stop, WeightsSource, choose
from t2i_checkpoint.inspect import Survey, survey, survey_location
from t2i_checkpoint.unet import UnsupportedConfigError
from t2i_checkpoint.wanted import wanted_from
from t2i_trainer.configuration import open_job_store, open_weights
from t2i_trainer.failures import TrainerError

if TYPE_CHECKING:
    from t2i_api.job import DiffusionTrainingJob, JobSpec
    from t2i_checkpoint.verdict import Wanted

_LOOPBACK = "127.0.0.1"


def local_attempt(
    job: DiffusionTrainingJob, *, processes: int | None = None, metrics_port: int = METRICS_PORT
) -> AttemptDocument:
    """Return the attempt of a run on this machine; `processes` defaults to the job's world size.

    Raises TrainerError where something lies there that a person has to look at, StoreError where it cannot be listed.
    """
    spec = job.spec
    if processes is not None and processes < 1:
        raise TrainerError(ExitCode.BAD_CONFIGURATION, f"processes is {processes}: a run has at least one")
    begin = beginning_of(spec)
    return AttemptDocument(
        job_name=job.metadata.name,
        job_namespace=job.metadata.namespace,
        job_uid=secrets.token_hex(4),  # makes the writer's name: two runs never share a checkpoint folder
        attempt=1,
        workers=1,
        processes_per_worker=spec.workers.world_size if processes is None else processes,
        resume_from=begin.judgement.name if isinstance(begin, Resume) else None,
        initial_weights=_document(spec, begin) if isinstance(begin, BeginWith) else None,
        rendezvous_address=_LOOPBACK,
        rendezvous_port=_free_port(),
        metrics_port=metrics_port,
    )


def beginning_of(spec: JobSpec) -> Resume | BeginWith | StartFresh:
    """Judge `checkpoint.uri`, and `model.initialWeights.uri` if need be; refuses where the operator would not start."""
    try:
        wanted = wanted_from(spec)
    except UnsupportedConfigError as error:
        raise TrainerError(ExitCode.BAD_CONFIGURATION, f"model.unet: {error}") from error
    uri = spec.checkpoint.uri
    found = survey(open_job_store(spec, uri), wanted)
    given = None if found.resumable is not None else _survey_initial_weights(spec, wanted)
    choice = choose(found, spec.checkpoint.on_incompatible, given)
    match choice:
        case Archive():
            first = choice.judgements[0]
            raise TrainerError(
                ExitCode.INCOMPATIBLE_WEIGHTS,
                f"{uri}/{first.folder} does not fit this job: {first.verdict.explanation}. Put it away with "
                f"`t2i checkpoint archive {uri} --job <file>`, or choose another checkpoint.uri; nothing was changed",
            )
        case Stop():
            unread = choice.reason is CheckpointReason.UNREADABLE
            code = ExitCode.STORAGE_UNAVAILABLE if unread else ExitCode.INCOMPATIBLE_WEIGHTS
            raise TrainerError(code, f"{uri}: {choice.message}. Nothing was changed")
        case _:
            return choice


def _survey_initial_weights(spec: JobSpec, wanted: Wanted) -> Survey | None:
    source = spec.model.initial_weights
    if source is None:
        return None
    location = open_weights(source.uri, *_server(spec))
    return survey_location(location.store, replace(wanted, run=None), key=location.key)


def _document(spec: JobSpec, begin: BeginWith) -> InitialWeightsDocument:
    source = spec.model.initial_weights
    given = source is not None and begin.source is WeightsSource.INITIAL_WEIGHTS
    endpoint, region = _server(spec) if given else (spec.checkpoint.endpoint, spec.checkpoint.region)
    return InitialWeightsDocument(
        uri=source.uri if source is not None and given else spec.checkpoint.uri,
        endpoint=endpoint,
        region=region,
        folder=begin.judgement.folder,
        verdict=begin.judgement.verdict.kind,
        allow_partial=begin.allow_partial,
    )


def _server(spec: JobSpec) -> tuple[str | None, str | None]:
    """Return endpoint and region of `model.initialWeights`: the job's own unless it names others."""
    source, own = spec.model.initial_weights, spec.checkpoint
    if source is None:
        return own.endpoint, own.region
    return source.endpoint or own.endpoint, source.region or own.region


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
