"""Carries a plan's actions out: each is idempotent, because the process may be killed before, within and after it."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from t2i_api.attempt import child_name
from t2i_api.job import DiffusionTrainingJob
from t2i_operator.build import children
from t2i_operator.cache import Cache, Kind
from t2i_operator.cluster import BATCH_JOBS, CONFIG_MAPS, JOBS, SERVICES, ApiError, Cluster, Resource
from t2i_operator.keys import JobKey
from t2i_operator.plan import Action, CreateAttempt, DeleteAttempt, DeleteJob, StartArchive, StartPreflight
from t2i_operator.storage import Storage

logger = logging.getLogger(__name__)

_CHILDREN: Final = {"Service": SERVICES, "ConfigMap": CONFIG_MAPS, "Job": BATCH_JOBS}


class NameTakenError(Exception):
    """A child's name belongs to an object that is not this job's."""


class Applier:
    """Actions on the cluster and the bucket."""

    def __init__(self, cluster: Cluster, cache: Cache, storage: Storage, *, trainer_image: str) -> None:
        self._cluster = cluster
        self._cache = cache
        self._storage = storage
        self._trainer_image = trainer_image

    async def apply(self, job: DiffusionTrainingJob, action: Action) -> None:
        """Carry one action out; raises ApiError or NameTakenError, after which it may be repeated."""
        logger.info("%s/%s: %s", job.metadata.namespace, job.metadata.name, _named(action))
        match action:
            case StartPreflight():
                self._storage.start_preflight(job, action.attempt)
            case StartArchive():
                self._storage.start_archive(job, action.attempt, action.judgements)
            case CreateAttempt():
                await self._create_attempt(job, action)
            case DeleteAttempt():
                await self._delete_attempt(job, action.attempt)
            case DeleteJob():
                document = self._cache.job(JobKey(job.metadata.namespace, job.metadata.name))
                if document is not None and document["metadata"]["uid"] == job.metadata.uid:
                    await self._cluster.delete(JOBS, document)

    async def _create_attempt(self, job: DiffusionTrainingJob, action: CreateAttempt) -> None:
        documents = children(
            job, attempt=action.attempt, resume_from=action.resume_from, default_image=self._trainer_image
        )
        for document in documents:
            await self._create(job, _CHILDREN[document["kind"]], document)

    async def _create(self, job: DiffusionTrainingJob, resource: Resource, document: Mapping[str, Any]) -> None:
        namespace, name = job.metadata.namespace, document["metadata"]["name"]
        try:
            created = await self._cluster.create(resource, namespace, document)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            created = await self._cluster.get(resource, namespace, name)
            if not _is_child(created, job) or "deletionTimestamp" in created["metadata"]:
                message = (
                    f"{document['kind']} {namespace}/{name} exists already and is not of this job (or is being "
                    "deleted): delete it if it is yours; the operator tries again by itself"
                )
                raise NameTakenError(message) from error
        if resource is BATCH_JOBS:
            self._cache.put(Kind.BATCH_JOB, created)

    async def _delete_attempt(self, job: DiffusionTrainingJob, attempt: int) -> None:
        name = child_name(job.metadata.name, attempt)
        # The Job first: its pods get their grace while their Service and files are still there to be looked up.
        for resource, propagation in ((BATCH_JOBS, "Foreground"), (CONFIG_MAPS, "Background"), (SERVICES, "Background")):
            try:
                found = await self._cluster.get(resource, job.metadata.namespace, name)
            except ApiError as error:
                if error.not_found:
                    continue
                raise
            if _is_child(found, job) and "deletionTimestamp" not in found["metadata"]:
                await self._cluster.delete(resource, found, propagation=propagation)


def _is_child(document: Mapping[str, Any], job: DiffusionTrainingJob) -> bool:
    owners = document["metadata"].get("ownerReferences") or []
    return any(owner.get("uid") == job.metadata.uid for owner in owners)


def _named(action: Action) -> str:
    details = "".join(f" {name}={value}" for name, value in vars(action).items() if name != "judgements")
    return f"{type(action).__name__}{details}"
