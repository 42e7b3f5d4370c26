"""How long a holder goes on without an answer; taking, renewing and handing over are tested on a real API server."""

import asyncio
import time
from typing import Any

from t2i_operator.cluster import Cluster, Resource
from t2i_operator.lease import Lease, LeaseSettings


class SilentCluster(Cluster):
    """Answers the first renewal late and none after it, as an API server behind a dying link does."""

    def __init__(self, first_answer_after: float) -> None:
        self._wait = first_answer_after

    async def get(self, *_: Any) -> dict[str, Any]:
        wait, self._wait = self._wait, 3600.0
        await asyncio.sleep(wait)
        return {"metadata": {"resourceVersion": "1"}, "spec": {"holderIdentity": "us"}}

    async def replace(
        self, resource: Resource, body: dict[str, Any], *, subresource: str | None = None, **_: Any
    ) -> dict[str, Any]:
        del resource, subresource
        return {**body, "metadata": {"resourceVersion": "2"}}


async def test_a_holder_stops_before_its_lease_can_be_taken_however_slow_the_answers_are() -> None:
    # Was: the deadline began with the answer, so two operators could act for as long as an answer took.
    settings = LeaseSettings(namespace="n", name="l", identity="us", duration=1.5, give_up=1.0, renew=0.1)
    lease = Lease(SilentCluster(0.6), settings, time.monotonic)
    lease.held = True
    started = time.monotonic()

    await asyncio.wait_for(lease.keep(), timeout=5)

    assert not lease.held
    # The renewal that was answered began 0.1 s after the start; the lease is free 1.5 s after that.
    assert time.monotonic() - started < 0.1 + settings.duration
