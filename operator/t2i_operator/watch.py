"""Kopf as an event pump: every change goes into the cache and marks the job that it belongs to; nothing else.

Kopf keeps nothing on the objects (no finalizers, annotations or events of its own: only `on.event` handlers). A list of
our own at the start and every minute closes what a watch can miss: objects that vanished while it was reconnecting.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import kopf

from t2i_api.attempt import GROUP, LABEL_JOB, PLURAL, VERSION
from t2i_operator.cache import Cache, Kind
from t2i_operator.cluster import BATCH_JOBS, JOBS, PODS, ApiError, Cluster, Resource
from t2i_operator.keys import JobKey
from t2i_operator.settings import Settings

logger = logging.getLogger(__name__)

Mark = Callable[[JobKey], None]
_LISTED: dict[Kind, tuple[Resource, str | None]] = {
    Kind.JOB: (JOBS, None),
    Kind.BATCH_JOB: (BATCH_JOBS, LABEL_JOB),
    Kind.POD: (PODS, LABEL_JOB),
}
_RETRY_SECONDS = 2.0


async def fill(cluster: Cluster, cache: Cache, settings: Settings, mark: Mark) -> None:
    """List everything of ours once and mark what changed; raises ApiError."""
    namespaces: tuple[str | None, ...] = settings.namespaces or (None,)
    for kind, (resource, selector) in _LISTED.items():
        found: list[dict[str, Any]] = []
        versions: list[int] = []
        for namespace in namespaces:
            documents, version = await cluster.list_all(resource, namespace=namespace, label_selector=selector)
            found += documents
            versions.append(int(version))
        for key in cache.replace(kind, found, str(min(versions))):
            mark(key)


async def fill_at_start(cluster: Cluster, cache: Cache, settings: Settings, mark: Mark) -> None:
    """Fill the cache before the first decision, for however long the API server or the CRD is missing."""
    while True:
        try:
            await fill(cluster, cache, settings, mark)
        except ApiError as error:
            hint = f" Is the CRD {PLURAL}.{GROUP} installed?" if error.not_found else ""
            logger.warning("cannot list yet: %s%s", error, hint)
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return


async def resync(cluster: Cluster, cache: Cache, settings: Settings, mark: Mark) -> None:
    """Fill the cache again and again, for ever."""
    while True:
        await asyncio.sleep(settings.resync_interval.total_seconds())
        try:
            await fill(cluster, cache, settings, mark)
        except ApiError as error:
            logger.warning("resync failed, the watches go on: %s", error)


async def pump(cluster: Cluster, cache: Cache, settings: Settings, mark: Mark) -> None:
    """Run Kopf, for ever: watch jobs, their batch Jobs and their pods."""
    await kopf.operator(
        registry=_registry(cluster, cache, mark, in_cluster=settings.kubeconfig is None),
        settings=_kopf_settings(),
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=list(settings.namespaces),
    )


def _registry(cluster: Cluster, cache: Cache, mark: Mark, *, in_cluster: bool) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    def handle(kind: Kind, event: dict[str, Any]) -> None:
        # Kopf hands out views of its own memory; the cache keeps a plain copy of the top level.
        document = dict(event["object"])
        document["metadata"] = dict(document["metadata"])
        key = cache.remove(kind, document) if event["type"] == "DELETED" else cache.put(kind, document)
        if key is not None:
            mark(key)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def job_event(event: Any, **_: Any) -> None:
        handle(Kind.JOB, event)

    @kopf.on.event("batch", "v1", "jobs", labels={LABEL_JOB: kopf.PRESENT}, registry=registry)
    async def batch_job_event(event: Any, **_: Any) -> None:
        handle(Kind.BATCH_JOB, event)

    @kopf.on.event("", "v1", "pods", labels={LABEL_JOB: kopf.PRESENT}, registry=registry)
    async def pod_event(event: Any, **_: Any) -> None:
        handle(Kind.POD, event)

    @kopf.on.login(registry=registry, retries=3, backoff=1.0)
    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**kwargs) if in_cluster else await connection_info(cluster)

    return registry


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True  # no right to list CRDs or namespaces is needed
    settings.watching.server_timeout = 300.0
    settings.watching.connect_timeout = 10.0
    settings.watching.chunk_size = 500
    settings.watching.label_selectors["batch", "v1", "jobs"] = LABEL_JOB
    settings.watching.label_selectors["", "v1", "pods"] = LABEL_JOB
    return settings


async def connection_info(cluster: Cluster) -> kopf.ConnectionInfo:
    """Return the connection of a kubeconfig in Kopf's form."""
    configuration = cluster.configuration
    header = await configuration.get_api_key_with_prefix("BearerToken")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        username=configuration.username or None,
        password=configuration.password or None,
        token=header.split(" ", 1)[-1] if header else None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )
