"""The Kubernetes API, and the only module that talks to it: JSON in, JSON out, errors by what they mean.

Uses the transport and the configuration loaders of the official client (`kubernetes.aio`), not its generated models:
custom resources have none, and plain JSON keeps the operator small. https://kubernetes.io/docs/reference/using-api/
"""

import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio import config as kube_config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException

from t2i_api.attempt import GROUP, PLURAL, VERSION
from t2i_api.metrics.labels import Verb
from t2i_operator.workqueue import ExpectedError

FIELD_MANAGER: Final = "t2i-operator"
IN_CLUSTER_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)
_PAGE: Final = 500


@dataclass(frozen=True)
class Resource:
    """Where a kind lives below the API server's root."""

    api: str
    plural: str

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of the collection or of one object."""
        parts = [self.api]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts += [self.plural, *([quote(name, safe="")] if name else []), *([subresource] if subresource else [])]
        return "/" + "/".join(parts)


TRAINING_JOBS: Final = Resource(f"apis/{GROUP}/{VERSION}", PLURAL)
BATCH_JOBS: Final = Resource("apis/batch/v1", "jobs")
PODS: Final = Resource("api/v1", "pods")
SERVICES: Final = Resource("api/v1", "services")
CONFIG_MAPS: Final = Resource("api/v1", "configmaps")
SECRETS: Final = Resource("api/v1", "secrets")
EVENTS: Final = Resource("apis/events.k8s.io/v1", "events")
LEASES: Final = Resource("apis/coordination.k8s.io/v1", "leases")
BY_KIND: Final = {"Job": BATCH_JOBS, "Service": SERVICES, "ConfigMap": CONFIG_MAPS}


class ClusterError(ExpectedError):
    """The API server refused a request or could not be reached; the message is its own."""


class NotFoundError(ClusterError):
    """404: the object, its namespace or its kind is not there."""


class ConflictError(ClusterError):
    """409: the object changed, exists already, or is another one of the same name."""


class ForbiddenError(ClusterError):
    """403: the operator's role does not allow it."""


class InvalidError(ClusterError):
    """400 or 422: the object is wrong."""


class UnreachableError(ClusterError):
    """No answer, or one that asks to come back later."""


_METHODS: Final = {
    Verb.GET: "GET",
    Verb.LIST: "GET",
    Verb.CREATE: "POST",
    Verb.UPDATE: "PUT",
    Verb.DELETE: "DELETE",
}
_BY_STATUS: Final = {
    400: InvalidError,
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    422: InvalidError,
}


@dataclass(frozen=True, kw_only=True)
class ApiRequest:
    """A request that came to its end; `code` is the HTTP status of the answer, or `none` without one."""

    verb: Verb
    resource: str
    code: str
    seconds: float


class Cluster:
    """One API server and the identity that the operator has there; `heard` is told of every request."""

    def __init__(self, configuration: Any, heard: Callable[[ApiRequest], None] = lambda _request: None) -> None:
        self.configuration = configuration
        self._heard = heard
        self._client: Any = ApiClient(configuration)
        self._client.user_agent = FIELD_MANAGER

    @classmethod
    async def connect(
        cls,
        *,
        kubeconfig: str | None,
        context: str | None,
        heard: Callable[[ApiRequest], None] = lambda _request: None,
    ) -> "Cluster":
        """Read the service account of the pod, or a kubeconfig if one is given; raises ClusterError. Sends nothing."""
        configuration = Configuration()
        loaders: Any = kube_config  # untyped
        try:
            if kubeconfig is None and IN_CLUSTER_NAMESPACE.exists():
                loaders.load_incluster_config(client_configuration=configuration)
            else:
                await loaders.load_kube_config(
                    config_file=kubeconfig, context=context, client_configuration=configuration
                )
        except (ConfigException, OSError) as error:
            where = kubeconfig or "the default kubeconfig"
            raise ClusterError(f"no cluster in {where}: {error}. Give --kubeconfig or set KUBECONFIG") from error
        return cls(configuration, heard)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """Return one object."""
        return await self._call(Verb.GET, resource, resource.path(namespace, name))

    async def list(self, resource: Resource, namespace: str | None, selector: str = "") -> list[dict[str, Any]]:
        """Return all objects of a namespace (or of all), by label selector, page by page."""
        items: list[dict[str, Any]] = []
        following = ""
        while True:
            query = {"limit": str(_PAGE), "labelSelector": selector, "continue": following}
            given = {name: value for name, value in query.items() if value}
            page = await self._call(Verb.LIST, resource, resource.path(namespace), query=given)
            items += page.get("items") or []
            following = page.get("metadata", {}).get("continue", "")
            if not following:
                return items

    async def create(self, resource: Resource, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object; ConflictError if its name is taken."""
        path = resource.path(body["metadata"]["namespace"])
        return await self._call(Verb.CREATE, resource, path, query={"fieldManager": FIELD_MANAGER}, body=body)

    async def replace(
        self,
        resource: Resource,
        body: dict[str, Any],
        *,
        subresource: str | None = None,
        strict: bool = False,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Replace an object, or its status alone; ConflictError unless it is still at the body's resourceVersion.

        `strict`: InvalidError for fields that the server does not know, which it else drops. `dry_run`: return what
        would be kept, and keep nothing.
        """
        metadata = body["metadata"]
        path = resource.path(metadata["namespace"], metadata["name"], subresource)
        query = {"fieldManager": FIELD_MANAGER}
        query |= {"fieldValidation": "Strict"} if strict else {}
        query |= {"dryRun": "All"} if dry_run else {}
        return await self._call(Verb.UPDATE, resource, path, query=query, body=body)

    async def delete(self, resource: Resource, raw: dict[str, Any], *, propagation: str) -> None:
        """Delete exactly this object, not another one of its name; gone already is fine."""
        metadata = raw["metadata"]
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": {"uid": metadata["uid"]},
        }
        try:
            path = resource.path(metadata["namespace"], metadata["name"])
            await self._call(Verb.DELETE, resource, path, body=options)
        except NotFoundError:
            return

    async def has_resource(self, resource: Resource) -> bool:
        """Whether the API server knows the kind: for ours, whether the CRD is installed."""
        try:
            known = await self._call(Verb.GET, resource, f"/{resource.api}")
        except NotFoundError:
            return False
        return any(item.get("name") == resource.plural for item in known.get("resources", []))

    async def _call(
        self,
        verb: Verb,
        resource: Resource,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        url = path + ("?" + urlencode(query) if query else "")
        method, code, began_at = _METHODS[verb], "none", time.monotonic()
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        try:
            request = await self._client.param_serialize(
                method, url, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            answer = await self._client.call_api(*request, _request_timeout=_TIMEOUT)
            code, content = str(answer.status), await answer.read()
        except (TimeoutError, aiohttp.ClientError, ssl.SSLError, OSError) as error:
            raise UnreachableError(f"{method} {path}: {type(error).__name__} {error}".rstrip()) from error
        finally:
            seconds = time.monotonic() - began_at
            self._heard(ApiRequest(verb=verb, resource=resource.plural, code=code, seconds=seconds))
        return _parse(method, path, answer.status, content)


def _parse(method: str, path: str, status: int, content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except ValueError as error:
        raise UnreachableError(f"{method} {path}: status {status}, no JSON: {content[:200]!r}") from error
    if not isinstance(document, dict):
        raise UnreachableError(f"{method} {path}: status {status}, no object")
    if 200 <= status < 300:  # noqa: PLR2004  # HTTP's success class
        return document
    kind = _BY_STATUS.get(status, UnreachableError)
    raise kind(f"{method} {path}: {document.get('reason', status)}: {document.get('message', '')}")
