"""Kopf as event pump: its handlers put what they see into the cache and mark the owner's key; no I/O, nothing else.

Kopf keeps no state on objects here: with event handlers only there are no finalizers, annotations or patches; its own
events are off, and other operators' peering objects are not looked for (`standalone`).
https://docs.kopf.dev/en/stable/handlers/#event-watching-handlers
"""

from typing import Any, Final

import kopf

from t2i_api.attempt import GROUP, LABEL_JOB, PLURAL, VERSION
from t2i_operator.cache import JobCache
from t2i_operator.cluster import Cluster

_DELETED: Final = "DELETED"


def build_registry(cluster: Cluster, cache: JobCache) -> kopf.OperatorRegistry:
    """Return the handlers. A registry of our own has no fallback logins, which would load a second client."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry, errors=kopf.ErrorsMode.TEMPORARY, backoff=5)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await connection_info(cluster)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def training_job(event: kopf.RawEvent, **_: Any) -> None:
        raw = dict(event["object"])
        if event["type"] == _DELETED:
            cache.drop(raw)
        else:
            cache.put(raw)

    @kopf.on.event("batch", "v1", "jobs", registry=registry)
    @kopf.on.event("", "v1", "pods", registry=registry)
    async def child(event: kopf.RawEvent, **_: Any) -> None:
        cache.mark_owner(dict(event["object"]))

    return registry


def build_settings() -> kopf.OperatorSettings:
    """Return Kopf's settings: what it must not do, and which children the server shall send at all."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    for resource in (("batch", "v1", "jobs"), ("", "v1", "pods")):
        settings.watching.label_selectors[resource] = LABEL_JOB
    settings.watching.server_timeout = 300
    settings.process.ultimate_exiting_timeout = 20
    return settings


async def connection_info(cluster: Cluster) -> kopf.ConnectionInfo:
    """Return our own client's credentials in Kopf's words, so that both are one identity."""
    configuration = cluster.configuration
    bearer = await configuration.get_api_key_with_prefix("BearerToken")
    scheme, _, token = (bearer or "").partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        username=configuration.username or None,
        password=configuration.password or None,
        scheme=scheme.capitalize() or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
    )


async def pump(registry: kopf.OperatorRegistry, settings: kopf.OperatorSettings, namespaces: tuple[str, ...]) -> None:
    """Run Kopf until SIGTERM or SIGINT, or until a watch fails for good; returns on a signal, raises otherwise."""
    await kopf.operator(
        registry=registry,
        settings=settings,
        standalone=True,
        clusterwide=not namespaces,
        namespaces=list(namespaces),
    )
