"""Kubernetes events about a job, for `kubectl describe`: best effort, because the status says the same for ever."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from t2i_api.attempt import KIND
from t2i_api.job import API_VERSION, DiffusionTrainingJob
from t2i_operator.cluster import EVENTS, ApiError, Cluster
from t2i_operator.plan import Event

logger = logging.getLogger(__name__)

COMPONENT = "t2i-operator"
_LONGEST_MESSAGE = 1024
_REMEMBERED = 1024


class Events:
    """Writes events; the same one about the same object only once in a process's life."""

    def __init__(
        self, cluster: Cluster, *, identity: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._cluster = cluster
        self._identity = identity
        self._now = now
        self._last: dict[tuple[str, str], str] = {}  # (uid, reason) -> message

    async def emit(self, job: DiffusionTrainingJob, event: Event) -> None:
        """Write an event unless it repeats the last one of its reason; failures are logged."""
        known = (job.metadata.uid, event.reason)
        if self._last.get(known) == event.message:
            return
        self._last.pop(known, None)
        self._last[known] = event.message
        while len(self._last) > _REMEMBERED:
            self._last.pop(next(iter(self._last)))
        try:
            await self._cluster.create(EVENTS, job.metadata.namespace, self._document(job, event))
        except ApiError as error:
            logger.warning("%s/%s: event %s: %s", job.metadata.namespace, job.metadata.name, event.reason, error)

    def _document(self, job: DiffusionTrainingJob, event: Event) -> dict[str, Any]:
        now = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata = job.metadata
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{metadata.name}.", "namespace": metadata.namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": metadata.name,
                "namespace": metadata.namespace,
                "uid": metadata.uid,
            },
            "reason": event.reason,
            "message": event.message[:_LONGEST_MESSAGE],
            "type": event.type,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._identity[:128],
        }
