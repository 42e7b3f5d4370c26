"""A few requests to the API server with the administrator's certificate: readiness, set-up and the process node.

The official client takes most of a second to import, which would be half of a warm start's overhead.
"""

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from t2i_dev.cluster.layout import Files
from t2i_dev.errors import ComponentFailedError

REQUEST_TIMEOUT_SECONDS = 5.0
NOT_FOUND = 404


class RequestRefusedError(ComponentFailedError):
    """The API server answered with an HTTP error; `code` is its status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class ApiClient:
    """Requests to `url`, authenticated with the keys below `files`."""

    files: Files
    url: str

    def get(self, path: str) -> Any | None:
        """The decoded answer, or None for any failure: callers poll."""
        try:
            return self._request("GET", path)
        except (OSError, ComponentFailedError):
            return None

    def find(self, path: str) -> dict[str, Any] | None:
        """The object at `path`, or None where there is none. Raises for every other failure."""
        try:
            found: dict[str, Any] = self._request("GET", path)
        except RequestRefusedError as error:
            if error.code == NOT_FOUND:
                return None
            raise
        return found

    def create(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        """POST; returns what the server made of it."""
        made: dict[str, Any] = self._request("POST", path, document)
        return made

    def delete(self, path: str, options: dict[str, Any]) -> None:
        """Delete one object; `options` is a meta/v1 DeleteOptions. One that is gone is no error."""
        try:
            self._request("DELETE", path, options)
        except RequestRefusedError as error:
            if error.code != NOT_FOUND:
                raise

    def ready(self) -> bool:
        """Whether every start-up hook is done."""
        try:
            with self._open(urllib.request.Request(f"{self.url}/readyz")) as answer:  # noqa: S310  # always https
                return bool(answer.status == 200)  # noqa: PLR2004
        except OSError:
            return False

    def apply(self, path: str, document: dict[str, Any]) -> None:
        """Server-side apply of one object at its own path."""
        self._request("PATCH", f"{path}?fieldManager=t2i-dev&force=true", document, "application/apply-patch+yaml")

    def merge(self, path: str, patch: dict[str, Any]) -> None:
        """JSON merge patch."""
        self._request("PATCH", path, patch, "application/merge-patch+json")

    def _request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type}
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)  # noqa: S310  # always https
        try:
            with self._open(request) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise RequestRefusedError(f"{method} {path}: {error.code} {error.read().decode()}", error.code) from error

    def _open(self, request: urllib.request.Request) -> Any:
        context = ssl.create_default_context(cafile=str(self.files.pki / "ca.crt"))
        context.load_cert_chain(self.files.pki / "admin.crt", self.files.pki / "admin.key")
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        return opener.open(request, timeout=REQUEST_TIMEOUT_SECONDS)
