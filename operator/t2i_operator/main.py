"""The operator's process: options, lease, event pump, workers, and how they end together; nothing else."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from prometheus_client import disable_created_metrics

from t2i_api.attempt import KIND
from t2i_api.metrics.labels import Outcome
from t2i_operator import logs, signals, watch
from t2i_operator.apply import Applier
from t2i_operator.cache import JobCache, JobKey
from t2i_operator.cluster import TRAINING_JOBS, Cluster, ClusterError
from t2i_operator.http_server import HttpServer
from t2i_operator.lease import Lease, LeaseSettings
from t2i_operator.observe import Observer
from t2i_operator.outcomes import outcome_of
from t2i_operator.progress_poll import ProgressPoller
from t2i_operator.reconcile import Reconciler
from t2i_operator.settings import Settings, parse
from t2i_operator.status_write import StatusRefusedError
from t2i_operator.storage import StorageDesk
from t2i_operator.telemetry import Telemetry
from t2i_operator.workqueue import WorkQueue

log = logging.getLogger("t2i_operator")
_CRD_RETRY_SECONDS = 5


@dataclass
class Readiness:
    """Why the operator is not ready; empty when it is."""

    reason: str = "starting"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the operator until a signal (exit status 0) or until it must not go on (1)."""
    settings = parse(sys.argv[1:] if arguments is None else arguments)
    logs.configure(verbose=settings.verbose)
    # A second series beside each counter, which nothing reads.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    try:
        code = asyncio.run(run(settings))
    except KeyboardInterrupt:
        code = 0
    except (ClusterError, OSError) as error:
        log.error("%s", error)  # noqa: TRY400  # the message is the way out; a traceback would hide it
        code = 1
    logging.shutdown()
    # A thread may still copy a large object; any process can finish that archive, so nobody waits for it.
    os._exit(code)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What lives as long as the process."""

    settings: Settings
    cluster: Cluster
    queue: WorkQueue[JobKey]
    cache: JobCache
    lease: Lease
    telemetry: Telemetry

    @classmethod
    async def build(cls, settings: Settings) -> "Parts":
        """Connect everything; nothing runs yet."""
        telemetry = Telemetry()
        cluster = await Cluster.connect(
            kubeconfig=settings.kubeconfig, context=settings.context, heard=telemetry.asked_api
        )
        queue: WorkQueue[JobKey] = WorkQueue(waited=telemetry.waited)
        cache = JobCache(queue.add)
        names = LeaseSettings(
            namespace=settings.lease_namespace,
            name=settings.lease_name,
            identity=settings.identity,
            duration=settings.lease_seconds,
            give_up=settings.lease_seconds * 2 / 3,
            renew=settings.lease_seconds / 7,
        )
        lease = Lease(cluster, names, time.monotonic)
        telemetry.show(cache, queue, leading=lambda: lease.held)
        return cls(settings=settings, cluster=cluster, queue=queue, cache=cache, lease=lease, telemetry=telemetry)


async def run(settings: Settings) -> int:
    """Serve, wait to lead, lead; returns the exit status."""
    stop = signals.listen()
    parts = await Parts.build(settings)
    readiness = Readiness()
    server = HttpServer(parts.telemetry.registry, lambda: readiness.reason)
    await server.start(settings.metrics_host, settings.metrics_port)
    log.info("listening", extra={"host": settings.metrics_host, "port": server.port})
    try:
        if not await signals.unless(stop, _wait_for_crd(parts.cluster, readiness)):
            log.info("stopping on a signal")
            return 0
        readiness.reason = ""  # standing by is ready: a rollout waits for nobody
        try:
            if not await signals.unless(stop, parts.lease.acquire()):
                log.info("stopping on a signal")
                return 0
            return await _lead(parts, stop)
        finally:
            await parts.lease.release()
    finally:
        await server.close()
        await parts.cluster.close()


async def _lead(parts: Parts, stop: asyncio.Event) -> int:
    settings, cluster, queue = parts.settings, parts.cluster, parts.queue
    desk = StorageDesk(
        cluster,
        queue.add,
        workers=settings.storage_workers,
        ambient=settings.ambient_credentials,
        telemetry=parts.telemetry,
        allow=settings.storage_allow,
    )
    poller = ProgressPoller(time.monotonic, polled=parts.telemetry.polled)
    reconciler = Reconciler(
        cluster=cluster,
        cache=parts.cache,
        observer=Observer(cluster, desk, poller),
        applier=Applier(cluster, desk, defaults=settings.trainer_defaults),
        instance=settings.identity,
        remembering=(desk, poller),
    )
    reconcile = _measured(reconciler, parts.telemetry)
    kopf_parts = watch.build_registry(cluster, parts.cache), watch.build_settings()
    # Kopf ends every task that began after it; ours begin before, and end in our order.
    tasks = [asyncio.create_task(queue.work(reconcile), name=f"worker {n}") for n in range(settings.workers)]
    tasks.append(asyncio.create_task(_resync(settings, cluster, parts.cache), name="resync"))
    tasks.append(asyncio.create_task(parts.lease.keep(), name="lease"))
    signalled = asyncio.create_task(stop.wait(), name="signal")  # one that came before Kopf listened
    pump = asyncio.create_task(watch.pump(*kopf_parts, settings.namespaces), name="pump")
    done, pending = await asyncio.wait([*tasks, pump, signalled], return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    desk.close()
    await poller.close()
    if done <= {pump, signalled} and all(task.exception() is None for task in done):
        log.info("stopping on a signal")
        return 0
    for task in done:
        log.error("%s ended: %s", task.get_name(), task.exception() or "must not go on", exc_info=task.exception())
    return 1


def _measured(reconciler: Reconciler, telemetry: Telemetry) -> Callable[[JobKey], Awaitable[float | None]]:
    async def measured(key: JobKey) -> float | None:
        started, outcome = time.perf_counter(), Outcome.CANCELLED
        try:
            again = await reconciler.reconcile(key)
            outcome = Outcome.OK
        except Exception as error:
            outcome = outcome_of(error)
            if isinstance(error, StatusRefusedError):
                telemetry.status_refused()
            raise
        finally:
            telemetry.reconciled(outcome, time.perf_counter() - started)
        return again

    return measured


async def _wait_for_crd(cluster: Cluster, readiness: Readiness) -> None:
    told = ""
    while True:
        try:
            if await cluster.has_resource(TRAINING_JOBS):
                return
            reason = f"the cluster does not know {KIND}: kubectl apply -f crds/ (the Helm chart does it)"
        except ClusterError as error:
            reason = f"the API server does not answer: {error}"
        readiness.reason = reason
        if reason != told:
            log.warning("waiting: %s", reason)
            told = reason
        await asyncio.sleep(_CRD_RETRY_SECONDS)


async def _resync(settings: Settings, cluster: Cluster, cache: JobCache) -> None:
    """List everything once in a while: Kopf reports no deletion that happened while its watch was broken."""
    while True:
        await asyncio.sleep(settings.resync_seconds)
        try:
            namespaces = settings.namespaces or (None,)
            cache.replace([raw for name in namespaces for raw in await cluster.list(TRAINING_JOBS, name)])
        except ClusterError as error:
            log.warning("resync failed: %s", error)


if __name__ == "__main__":
    main()
