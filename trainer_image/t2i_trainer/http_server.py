"""`/progress`, `/metrics` and `/healthz` of one pod, served beside the training by a daemon thread."""

from __future__ import annotations

import logging
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_api.progress import Progress

logger = logging.getLogger("t2i_trainer")

_PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Told(Protocol):
    """What the pages are made from; read by the server's threads."""

    @property
    def progress(self) -> Progress:
        """The document of /progress."""

    def exposition(self) -> bytes:
        """Return the text of /metrics."""


def serve(
    told: Told, port: int, address: str = "", *, on_scrape: Callable[[], None] = lambda: None
) -> ThreadingHTTPServer | None:
    """Serve until the process ends, by default on every address: the operator and Prometheus come from outside.

    `on_scrape` is called whenever somebody has fetched /metrics whole. A port that is taken is said, and training goes
    on without.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            match self.path.partition("?")[0]:
                case "/progress":
                    body = told.progress.model_dump_json(by_alias=True, exclude_none=True).encode()
                    self._answer(HTTPStatus.OK, body, "application/json")
                case "/metrics":
                    self._answer(HTTPStatus.OK, told.exposition(), _PROMETHEUS_TEXT)
                    on_scrape()
                case "/healthz":
                    self._answer(HTTPStatus.OK, b"ok\n", "text/plain")
                case _:
                    self._answer(HTTPStatus.NOT_FOUND, b"/progress, /metrics, /healthz\n", "text/plain")

        def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            """Stay silent: the operator polls every few seconds."""

    try:
        server = ThreadingHTTPServer((address, port), Handler)
    except OSError as error:
        logger.warning(
            "port %d%s cannot be served (%s): no /progress and no /metrics; choose another with --port",
            port,
            f" of {address}" if address else "",
            error,
        )
        return None
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return server
