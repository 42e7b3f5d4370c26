"""A server that answers like the Hugging Face hub for one repository, on this machine.

Routes and headers: https://huggingface.co/docs/hub/api and `huggingface_hub.file_download.get_hf_file_metadata`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REPOSITORY = "org/name"
COMMIT = "0123456789abcdef" * 2 + "01234567"


@dataclass
class Hub:
    """What the repository holds at its only commit; `refusals` answer for a path: status and the hub's error code."""

    files: Mapping[str, bytes]
    refusals: dict[str, tuple[HTTPStatus, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[HTTPStatus, dict[str, str], bytes]:
        """Return status, headers and body for a path."""
        self.asked.append(path)
        refusal = next((answer for prefix, answer in self.refusals.items() if path.startswith(prefix)), None)
        if refusal is not None:
            status, code = refusal
            return status, {"X-Error-Code": code}, b"{}"
        if path in (f"/api/models/{REPOSITORY}", f"/api/models/{REPOSITORY}/revision/main"):
            siblings = [{"rfilename": name} for name in self.files]
            document = {"id": REPOSITORY, "sha": COMMIT, "siblings": siblings}
            return HTTPStatus.OK, {"Content-Type": "application/json"}, json.dumps(document).encode()
        if path.startswith("/api/models/"):
            code = "RevisionNotFound" if path.startswith(f"/api/models/{REPOSITORY}/") else "RepoNotFound"
            return HTTPStatus.NOT_FOUND, {"X-Error-Code": code}, b"{}"
        content = self.files.get(path.removeprefix(f"/{REPOSITORY}/resolve/{COMMIT}/"))
        if content is None:
            return HTTPStatus.NOT_FOUND, {"X-Error-Code": "EntryNotFound"}, b""
        etag = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        return HTTPStatus.OK, {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'}, content


@contextlib.contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """Serve the hub on a free port; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._send()

        def do_GET(self) -> None:
            self.wfile.write(self._send())

        def _send(self) -> bytes:
            status, headers, body = hub.answer(self.path.partition("?")[0])
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            return body

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # the base class' name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
