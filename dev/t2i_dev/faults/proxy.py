"""A proxy in front of a real S3 server that does one planned fault to one client.

Every request is forwarded as it came, Host header included, so that signatures stay valid. Side effects pass one at a
time and are numbered in the order in which the client sent them; all attempts of one call (botocore marks them with an
invocation id) share a number, and a fault strikes the first of them only, so that retries meet what the first attempt
left. `watch` is called after every execution while nothing else can happen: it sees the bucket at every instant.

Runs in a thread of its own; parents that fork clients do so while no request is under way.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self, TypeVar

from aiohttp import ClientSession, DummyCookieJar, web
from multidict import CIMultiDict
from yarl import URL

from t2i_dev.errors import ComponentFailedError
from t2i_dev.faults import answers
from t2i_dev.faults.kinds import Answer, Behaviour, Fault, PlannedFault
from t2i_dev.faults.requests import S3Request, describe
from t2i_dev.ports import free_ports

# Hop by hop (RFC 9110), or answered by this server itself.
_NOT_FORWARDED = {"connection", "expect", "keep-alive", "transfer-encoding"}
_FIRST_REFUSAL = 300
_POLL_SECONDS = 0.005
_THREAD_SECONDS = 10.0
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Passed:
    """A side effect or a listing that came by; `number` counts each of the two from 1, attempts of a call share it."""

    request: S3Request
    number: int
    struck: bool


@dataclass(slots=True)
class _Raw:
    method: str
    path: str
    headers: CIMultiDict[str]
    body: bytes


@dataclass(slots=True)
class _Run:
    """What is known about one client while it runs."""

    plan: PlannedFault | None
    pid: int
    watch: Callable[[S3Request], None]
    meddle: Callable[[S3Request], None]
    earlier: tuple[answers.ListedObject, ...]
    passed: list[Passed] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: {"effect": 0, "listing": 0})
    again: list[_Raw] = field(default_factory=list)
    has_struck: bool = False
    failure: BaseException | None = None
    held: threading.Event = field(default_factory=threading.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, listener: Callable[[S3Request], None], request: S3Request) -> None:
        """Call the owner's function; what it raises is carried to the owner's thread by `end`."""
        try:
            listener(request)
        except BaseException as error:  # noqa: BLE001  # raised again by end()
            self.failure = self.failure or error

    def number(self, request: S3Request, kind: str) -> int:
        known = self.numbers.get(request.invocation)
        if known is None:
            self.counts[kind] += 1
            known = self.numbers[request.invocation or f"#{len(self.numbers)}"] = self.counts[kind]
        return known

    def strikes(self, request: S3Request, number: int) -> Behaviour | None:
        """Return what to do to this request, or None to let it pass."""
        if self.plan is None:
            return None
        behaviour = self.plan.behaviour
        if behaviour.lasting and self.has_struck:
            return behaviour
        is_listing = request.action == "ListObjectsV2"
        if is_listing != (self.plan.fault is Fault.STALE_LIST) or not behaviour.applies_to(request.action):
            return None
        if self.plan.fault is Fault.STALE_LIST:
            return behaviour if self.plan.at in {0, number} else None
        return behaviour if not self.has_struck and (behaviour.first_success or self.plan.at == number) else None


@dataclass(frozen=True, slots=True)
class Record:
    """What a client sent, in order, and whether the planned fault met it."""

    passed: tuple[Passed, ...]
    has_struck: bool

    @property
    def effects(self) -> tuple[S3Request, ...]:
        """One request for every side effect, retries left out."""
        first = {each.number: each.request for each in reversed(self.passed) if each.request.is_effect}
        return tuple(first[number] for number in sorted(first))

    @property
    def listings(self) -> int:
        """How many listings the client asked for."""
        return max((each.number for each in self.passed if not each.request.is_effect), default=0)


class FaultProxy:
    """Listens on a loopback port; one client at a time is under its eyes."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._port = free_ports(1)[0]
        self._run: _Run | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._session: ClientSession
        self._runner: web.AppRunner
        self._one_at_a_time = asyncio.Lock()

    @property
    def endpoint(self) -> str:
        """What clients use instead of the server's own endpoint."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()
        self._call(self._open())

    def stop(self) -> None:
        """Stop listening; connections are cut."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_THREAD_SECONDS)
        self._loop.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def begin(
        self,
        pid: int,
        plan: PlannedFault | None = None,
        *,
        watch: Callable[[S3Request], None] = lambda _request: None,
        meddle: Callable[[S3Request], None] = lambda _request: None,
        earlier: tuple[answers.ListedObject, ...] = (),
    ) -> None:
        """Await the requests of process `pid`; `earlier` is what a stale listing shows, `meddle` what others do."""
        self._run = _Run(plan, pid, watch, meddle, earlier)

    def end(self) -> Record:
        """Deliver what is to come late, and return what passed. Raises what `watch` raised."""
        run = self._current()
        self._call(self._deliver_again(run))
        self._run = None
        if run.failure is not None:
            raise run.failure
        return Record(tuple(run.passed), run.has_struck)

    def wait_stopped(self, seconds: float) -> bool:
        """Wait until the planned fault stopped the client; False if that did not come."""
        return self._current().held.wait(seconds)

    def release(self) -> None:
        """Let a stopped client go on."""
        self._loop.call_soon_threadsafe(self._current().released.set)

    def _current(self) -> _Run:
        if self._run is None:
            raise ComponentFailedError("the fault proxy watches no client: call begin() first")
        return self._run

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        future: Future[_T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(_THREAD_SECONDS)

    async def _open(self) -> None:
        self._session = ClientSession(auto_decompress=False, cookie_jar=DummyCookieJar())
        application = web.Application()
        application.router.add_route("*", "/{key:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def _close(self) -> None:
        await self._session.close()
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.content.read()
        headers = CIMultiDict(
            (name, value) for name, value in request.headers.items() if name.lower() not in _NOT_FORWARDED
        )
        raw = _Raw(request.method, request.raw_path, headers, body)
        seen = describe(raw.method, raw.path, headers, body)
        run = self._run
        if run is None:  # of a client that is gone
            return self._cut(request)
        if seen.is_effect:
            async with self._one_at_a_time:
                return await self._pass(run, request, raw, seen, "effect")
        if seen.action == "ListObjectsV2":
            return await self._pass(run, request, raw, seen, "listing")
        behaviour = run.plan.behaviour if run.plan is not None and run.has_struck else None
        if behaviour is not None and behaviour.lasting:
            return web.Response(status=behaviour.status, body=answers.error(behaviour.code))
        return await self._forward(raw)

    async def _pass(self, run: _Run, request: web.Request, raw: _Raw, seen: S3Request, kind: str) -> web.StreamResponse:
        number = run.number(seen, kind)
        behaviour = run.strikes(seen, number)
        run.passed.append(Passed(seen, number, behaviour is not None))
        if behaviour is None:
            return await self._execute(run, raw, seen)
        if behaviour.first_success:
            answer = await self._execute(run, raw, seen)
            if answer.status >= _FIRST_REFUSAL:
                return answer
            behaviour = replace(behaviour, executions=0)
        run.has_struck = True
        if run.plan is not None and run.plan.fault is Fault.STALE_LIST:
            return _xml(200, answers.listing(seen.prefix, run.earlier))
        response: web.StreamResponse | None = None
        for _ in range(behaviour.executions):
            response = await self._execute(run, raw, seen)
        if behaviour.meddles:
            run.tell(run.meddle, seen)
        if behaviour.again_at_end:
            run.again.append(raw)
        if behaviour.kills:
            _kill(run.pid)
        if behaviour.stops:
            await _hold(run)
            response = response or await self._execute(run, raw, seen)
        return await self._answer(behaviour, request, seen, response)

    async def _answer(
        self, behaviour: Behaviour, request: web.Request, seen: S3Request, response: web.StreamResponse | None
    ) -> web.StreamResponse:
        match behaviour.answer:
            case Answer.SILENCE:
                # The client gives up in its own time; aiohttp has no event for that.
                while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_SECONDS)
                return self._cut(request)
            case Answer.ERROR:
                return _xml(behaviour.status, answers.error(behaviour.code))
            case Answer.ERROR_IN_OK:
                return _xml(200, answers.error_in_ok(seen, behaviour.code))
            case Answer.SERVER if response is not None:
                return response
            case _:
                return self._cut(request)

    async def _execute(self, run: _Run, raw: _Raw, seen: S3Request) -> web.Response:
        response = await self._forward(raw)
        if seen.is_effect:
            run.tell(run.watch, seen)
        return response

    async def _forward(self, raw: _Raw) -> web.Response:
        async with self._session.request(
            raw.method,
            URL(self._upstream + raw.path, encoded=True),
            headers=raw.headers,
            data=raw.body or None,
            allow_redirects=False,
            skip_auto_headers={"Accept", "Accept-Encoding", "Content-Type", "User-Agent"},
        ) as answer:
            body = await answer.read()
            headers = [(k, v) for k, v in answer.headers.items() if k.lower() not in _NOT_FORWARDED]
            return web.Response(status=answer.status, headers=CIMultiDict(headers), body=body)

    async def _deliver_again(self, run: _Run) -> None:
        for raw in run.again:
            await self._execute(run, raw, describe(raw.method, raw.path, raw.headers, raw.body))

    def _cut(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()  # nobody gets it


def _xml(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/xml")


def _kill(pid: int) -> None:
    """SIGKILL, and wait for the end without collecting the process: that is its parent's part."""
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


async def _hold(run: _Run) -> None:
    os.kill(run.pid, signal.SIGSTOP)
    run.held.set()
    await run.released.wait()
    os.kill(run.pid, signal.SIGCONT)
