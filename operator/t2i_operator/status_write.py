"""Writes a job's status, and takes for written only what the API server kept of it.

A CRD that is older than the operator has no place for newer fields, and the API server drops these without a word: an
attempt that was to begin with somebody's weights would then begin with random ones. So the server is asked to refuse
what it does not know, and an attempt is persisted only after a rehearsal showed that it would be kept whole.
https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation
"""

import logging
from datetime import UTC, datetime
from typing import Any, Final

from t2i_api.attempt import KIND
from t2i_api.conditions import ConditionType, State
from t2i_api.job import API_VERSION
from t2i_api.status import Condition, JobStatus
from t2i_operator.cache import RawObject
from t2i_operator.cluster import TRAINING_JOBS, Cluster, ClusterError, InvalidError
from t2i_operator.workqueue import ExpectedError

log = logging.getLogger(__name__)
_OLDER: Final = "the installed CRD is older than the operator: kubectl apply -f crds/ (of the operator's release)"
_PERHAPS: Final = "if the installed CRD is of another release than the operator: kubectl apply -f crds/"
_NO_DRY_RUN: Final = "does not support dry run"  # an admission webhook with side effects


class StatusRefusedError(ExpectedError):
    """The API server does not take the status, or drops parts of it; `raw` is the job as the server holds it."""

    def __init__(self, message: str, raw: RawObject) -> None:
        super().__init__(message)
        self.raw = raw


class StatusWriter:
    """Puts a status in place, whole or not at all."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def write(self, raw: RawObject, status: JobStatus) -> RawObject:
        """Return the job as written, on exactly the version that was read.

        Raises StatusRefusedError if it was not taken whole (the server's version then shows it where it can), else
        ClusterError.
        """
        document = status.to_wire()
        begun = document.get("attempt", {}).get("number") != (raw.get("status") or {}).get("attempt", {}).get("number")
        try:
            if begun:
                await self._rehearse(raw, document)
            written = await self._put(raw, document)
            _expect_attempt(document, written)
        except InvalidError as error:
            why = _OLDER if "unknown field" in str(error) else _PERHAPS
            message = f"the API server refuses this job's status: {why}. Until then nothing is begun; it said: {error}"
            raise StatusRefusedError(message, await self._show(raw, message)) from error
        except _DroppedError as error:
            message = f"the API server drops {error} from this job's status: {_OLDER}. Until then nothing is begun"
            raise StatusRefusedError(message, await self._show(raw, message)) from error
        return written

    async def _rehearse(self, raw: RawObject, document: dict[str, Any]) -> None:
        try:
            kept = await self._put(raw, document, dry_run=True)
        except InvalidError as error:
            if _NO_DRY_RUN in str(error):
                log.warning("an admission webhook keeps statuses from being tried first: %s", error)
                return
            raise
        _expect_attempt(document, kept)

    async def _put(self, raw: RawObject, document: dict[str, Any], *, dry_run: bool = False) -> RawObject:
        metadata = raw["metadata"]
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion")},
            "spec": raw["spec"],
            "status": document,
        }
        return await self._cluster.replace(TRAINING_JOBS, body, subresource="status", strict=True, dry_run=dry_run)

    async def _show(self, raw: RawObject, message: str) -> RawObject:
        """Say it in the summary condition, which every release knows; whatever else the status holds stays."""
        status = raw.get("status") or {}
        conditions = {item["type"]: item for item in status.get("conditions", [])}
        old = conditions.get(ConditionType.SUCCEEDED, {})
        if old.get("status", "Unknown") != "Unknown" or old.get("message") == message[:4096]:
            return raw
        new = Condition(
            type=ConditionType.SUCCEEDED,
            status="Unknown",
            reason=State.BLOCKED,
            message=message[:4096],
            last_transition_time=old.get("lastTransitionTime") or datetime.now(UTC).replace(microsecond=0),
            observed_generation=raw["metadata"].get("generation", 0),
        )
        conditions[ConditionType.SUCCEEDED] = new.to_wire()
        shown = {**status, "conditions": list(conditions.values()), "message": message[:4096]}
        try:
            return await self._put(raw, shown)
        except ClusterError as error:
            log.warning("what was refused cannot be shown in the job either: %s", error)
            return raw


class _DroppedError(Exception):
    """What the server did not keep, as paths below `status`."""


def _expect_attempt(sent: dict[str, Any], kept: RawObject) -> None:
    if "attempt" in sent:
        lost = sorted(_lost(sent["attempt"], (kept.get("status") or {}).get("attempt"), "status.attempt"))
        if lost:
            raise _DroppedError(", ".join(lost[:5]))


def _lost(sent: Any, kept: Any, path: str) -> list[str]:
    if isinstance(sent, dict) and isinstance(kept, dict):
        return [each for name, value in sent.items() for each in _lost(value, kept.get(name), f"{path}.{name}")]
    return [] if sent == kept else [path]
