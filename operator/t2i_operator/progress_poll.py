"""Asks rank 0 how far it is: a small HTTP GET with a short time limit; the last answer of each attempt is kept.

What a pod answers is not trusted: bounded in time and size, validated, and taken only for the pod's own attempt.
"""

import logging
from collections.abc import Callable

import aiohttp

from t2i_api.attempt import METRICS_PORT
from t2i_api.progress import MAXIMUM_PROGRESS_BYTES, Progress
from t2i_operator.observed import AttemptFacts, PodPhase

log = logging.getLogger(__name__)
_TIMEOUT = aiohttp.ClientTimeout(total=2, connect=1)
_HTTP_OK = 200


class ProgressPoller:
    """The newest report of every job, by uid; `polled` hears of every look whether there was an answer."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        every_seconds: float = 1.5,
        port: int = METRICS_PORT,
        polled: Callable[[bool], None] = lambda _answered: None,
    ) -> None:
        self._clock = clock
        self._polled = polled
        self._every = every_seconds
        self._port = port
        self._asked_at: dict[str, float] = {}
        self._last: dict[str, Progress] = {}
        self._session: aiohttp.ClientSession | None = None

    async def poll(self, uid: str, attempt: AttemptFacts | None) -> Progress | None:
        """Return the newest report of this attempt; asks again at most every `every_seconds`."""
        if attempt is None:
            return self._last.get(uid)
        address = next((pod.ip for pod in attempt.pods if pod.index == 0 and pod.phase is PodPhase.RUNNING), None)
        if address is not None and self._clock() - self._asked_at.get(uid, float("-inf")) >= self._every:
            self._asked_at[uid] = self._clock()
            report = await self._ask(address)
            self._polled(report is not None)
            if report is not None and report.attempt == attempt.number:
                self._last[uid] = report
        last = self._last.get(uid)
        return last if last is not None and last.attempt == attempt.number else None

    def forget(self, uid: str) -> None:
        """Drop a job that is gone."""
        self._asked_at.pop(uid, None)
        self._last.pop(uid, None)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _ask(self, address: str) -> Progress | None:
        host = f"[{address}]" if ":" in address else address
        url = f"http://{host}:{self._port}/progress"
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT, auto_decompress=False)
        try:
            async with self._session.get(url, allow_redirects=False) as answer:
                if answer.status != _HTTP_OK:
                    log.debug("no progress yet", extra={"url": url, "status": answer.status})
                    return None
                return Progress.model_validate_json(await _bounded(answer.content))
        except ValueError as error:  # pydantic's ValidationError is one
            log.warning("unreadable progress: %s", str(error).replace("\n", " ")[:300], extra={"url": url})
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.debug("no progress yet: %s", error, extra={"url": url})
        return None


async def _bounded(stream: aiohttp.StreamReader) -> bytes:
    content = bytearray()
    async for chunk in stream.iter_chunked(8192):
        content += chunk
        if len(content) > MAXIMUM_PROGRESS_BYTES:
            raise ValueError(f"more than {MAXIMUM_PROGRESS_BYTES} bytes")
    return bytes(content)
