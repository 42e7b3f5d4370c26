"""Leader election on one `coordination.k8s.io/v1` Lease: of several operators only the holder acts.

The algorithm is client-go's (tools/leaderelection): a lease is over when it did not change for its duration *by our own
clock* since we saw it, so no two clocks are compared. See docs/decisions/0043-own-leader-election.md.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from t2i_operator.cluster import LEASES, Cluster, ClusterError, NotFoundError

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LeaseSettings:
    """Who wants the lease, and its times in seconds: `renew` < `give_up` < `duration`."""

    namespace: str
    name: str
    identity: str
    duration: float = 15.0
    give_up: float = 10.0
    renew: float = 2.0


class Lease:
    """Our view of the lease."""

    def __init__(self, cluster: Cluster, settings: LeaseSettings, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._settings = settings
        self._clock = clock
        self._seen_version = ""
        self._seen_at = 0.0
        self.held = False

    async def acquire(self) -> None:
        """Wait until the lease is ours; a lease that our own identity holds is taken at once."""
        told = ""
        while True:
            try:
                holder = await self._try_once()
            except ClusterError as error:
                holder = f"nobody knows: {error}"
            if holder == self._settings.identity:
                self.held = True
                log.info("lease acquired", extra={"lease": self._settings.name, "holder": holder})
                return
            if holder != told:
                log.info("waiting for the lease", extra={"lease": self._settings.name, "holder": holder})
                told = holder
            await asyncio.sleep(min(self._settings.renew, self._remaining()))

    async def keep(self) -> None:
        """Renew until that fails for too long or another holder is seen; then the caller must stop acting at once."""
        renewed_at = self._clock()
        while (left := renewed_at + self._settings.give_up - self._clock()) > 0:
            await asyncio.sleep(min(self._settings.renew, left))
            # From before the request: a slow answer must not make the lease look younger than the server holds it.
            began = self._clock()
            try:
                async with asyncio.timeout(max(0.1, renewed_at + self._settings.give_up - began)):
                    holder = await self._try_once()
            except (ClusterError, TimeoutError) as error:
                log.warning("lease not renewed: %s", str(error) or "no answer", extra={"lease": self._settings.name})
                continue
            if holder != self._settings.identity:
                log.error("lease lost", extra={"lease": self._settings.name, "holder": holder})
                break
            renewed_at = began
        self.held = False

    async def release(self) -> None:
        """Give the lease back, so that a successor need not wait for its end; failing to is harmless."""
        if not self.held:
            return
        self.held = False
        try:
            raw = await self._cluster.get(LEASES, self._settings.namespace, self._settings.name)
            if raw.get("spec", {}).get("holderIdentity") == self._settings.identity:
                raw["spec"]["holderIdentity"] = ""
                await self._cluster.replace(LEASES, raw)
                log.info("lease released", extra={"lease": self._settings.name})
        except ClusterError as error:
            log.warning("lease not released: %s", error, extra={"lease": self._settings.name})

    async def _try_once(self) -> str:
        """Take or renew the lease if that is allowed; returns the holder. Every write is optimistic."""
        try:
            raw = await self._cluster.get(LEASES, self._settings.namespace, self._settings.name)
        except NotFoundError:
            return self._seen(await self._cluster.create(LEASES, self._body({}, None)))
        holder = raw.get("spec", {}).get("holderIdentity") or ""
        if raw["metadata"]["resourceVersion"] != self._seen_version:
            self._seen(raw)
        elif holder not in {"", self._settings.identity} and self._remaining() <= 0:
            log.warning("the lease is over and not renewed: taking it", extra={"holder": holder})
            holder = ""
        if holder not in {"", self._settings.identity}:
            return str(holder)
        return self._seen(await self._cluster.replace(LEASES, self._body(raw.get("spec", {}), raw["metadata"])))

    def _seen(self, raw: dict[str, Any]) -> str:
        self._seen_version = raw["metadata"]["resourceVersion"]
        self._seen_at = self._clock()
        return str(raw["spec"].get("holderIdentity") or "")

    def _remaining(self) -> float:
        return max(0.0, self._settings.duration - (self._clock() - self._seen_at))

    def _body(self, old: dict[str, Any], metadata: dict[str, Any] | None) -> dict[str, Any]:
        settings = self._settings
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        ours = old.get("holderIdentity") == settings.identity
        spec = {
            "holderIdentity": settings.identity,
            "leaseDurationSeconds": int(settings.duration),
            "renewTime": now,
            "acquireTime": old.get("acquireTime", now) if ours else now,
            "leaseTransitions": int(old.get("leaseTransitions") or 0) + (0 if ours or not old else 1),
        }
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata or {"namespace": settings.namespace, "name": settings.name},
            "spec": spec,
        }
