"""Carries out what a decision asks for. Every action may be repeated: a killed operator decides and applies again."""

import logging
from typing import Any

from t2i_api.attempt import child_name
from t2i_api.job import DiffusionTrainingJob
from t2i_operator.build import Beginning, TrainerDefaults, children
from t2i_operator.cluster import (
    BATCH_JOBS,
    BY_KIND,
    CONFIG_MAPS,
    SERVICES,
    TRAINING_JOBS,
    Cluster,
    ConflictError,
    NotFoundError,
    Resource,
)
from t2i_operator.facts import owned_by
from t2i_operator.plan import Action, CreateAttempt, DeleteAttempt, DeleteJob, StartArchive, StartPreflight
from t2i_operator.storage import StorageDesk

log = logging.getLogger(__name__)


class Applier:
    """Hands of the operator: children in the cluster, work at the bucket."""

    def __init__(self, cluster: Cluster, desk: StorageDesk, *, defaults: TrainerDefaults) -> None:
        self._cluster = cluster
        self._desk = desk
        self._defaults = defaults

    async def apply(self, job: DiffusionTrainingJob, action: Action) -> None:
        """Carry out one action; raises ClusterError when it must be tried again."""
        log.info("%s", type(action).__name__, extra={"job": f"{job.metadata.namespace}/{job.metadata.name}"})
        match action:
            case StartPreflight():
                self._desk.start_preflight(job, action.attempt)
            case StartArchive():
                self._desk.start_archive(job, action)
            case CreateAttempt():
                await self._create_attempt(job, action)
            case DeleteAttempt():
                await self._delete_attempt(job, action.attempt)
            case DeleteJob():
                metadata = job.metadata
                itself = {"namespace": metadata.namespace, "name": metadata.name, "uid": metadata.uid}
                await self._cluster.delete(TRAINING_JOBS, {"metadata": itself}, propagation="Background")

    async def _create_attempt(self, job: DiffusionTrainingJob, action: CreateAttempt) -> None:
        beginning = Beginning(resume_from=action.resume_from, initial_weights=action.initial_weights)
        for child in children(job, attempt=action.attempt, beginning=beginning, defaults=self._defaults):
            await self._create_or_confirm(job, child)
        self._desk.settle(job.metadata.uid, action.attempt)

    async def _create_or_confirm(self, job: DiffusionTrainingJob, child: dict[str, Any]) -> None:
        """Create a child. One that is there must be ours: it is by construction what a killed operator created."""
        resource = BY_KIND[child["kind"]]
        try:
            await self._cluster.create(resource, child)
        except ConflictError as error:
            metadata = child["metadata"]
            found = await self._find(resource, metadata["namespace"], metadata["name"])
            if found is not None and owned_by(found, job.metadata.uid) and "deletionTimestamp" not in found["metadata"]:
                return
            raise ConflictError(
                f"{child['kind']} {metadata['namespace']}/{metadata['name']} is in the way: it belongs to someone else "
                "or is being deleted. Delete it, or give the job another name; the operator tries again"
            ) from error

    async def _delete_attempt(self, job: DiffusionTrainingJob, attempt: int) -> None:
        """Delete an attempt's children.

        The Job comes last, so that whoever is killed on the way is asked again, and in the foreground: it is there
        until its pods are gone.
        """
        name = child_name(job.metadata.name, attempt)
        order = ((SERVICES, "Background"), (CONFIG_MAPS, "Background"), (BATCH_JOBS, "Foreground"))
        for resource, propagation in order:
            found = await self._find(resource, job.metadata.namespace, name)
            if found is not None and owned_by(found, job.metadata.uid) and "deletionTimestamp" not in found["metadata"]:
                await self._cluster.delete(resource, found, propagation=propagation)

    async def _find(self, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        try:
            return await self._cluster.get(resource, namespace, name)
        except NotFoundError:
            return None
