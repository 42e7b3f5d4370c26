"""Progress by HTTP from a pod that is not trusted: bounded, validated, and only of its own attempt."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from t2i_api.progress import MAXIMUM_PROGRESS_BYTES
from t2i_operator.observed import AttemptFacts, PodFacts, PodPhase
from t2i_operator.progress_poll import ProgressPoller

REPORT = '{"attempt": 2, "worldSize": 2, "step": 7, "targetSteps": 10, "updatedAt": "2026-01-01T00:00:00Z"}'


@asynccontextmanager
async def pod_that_says(text: str, *, status: int = 200) -> AsyncIterator[int]:
    """Serve `/progress` on a free loopback port."""

    async def progress(_request: web.Request) -> web.Response:
        return web.Response(text=text, status=status, headers={"Location": "/elsewhere"} if status == 302 else {})

    async def elsewhere(_request: web.Request) -> web.Response:
        return web.Response(text=REPORT)

    application = web.Application()
    application.router.add_get("/progress", progress)
    application.router.add_get("/elsewhere", elsewhere)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def attempt(number: int = 2, *, phase: PodPhase = PodPhase.RUNNING) -> AttemptFacts:
    pod = PodFacts(name="emoji-2-0-x", attempt=number, index=0, phase=phase, ip="127.0.0.1")
    return AttemptFacts(number=number, job_exists=True, pods=(pod,))


async def test_the_last_report_is_kept_when_the_pod_falls_silent() -> None:
    now = 0.0
    async with pod_that_says(REPORT) as port:
        poller = ProgressPoller(lambda: now, port=port)
        report = await poller.poll("u1", attempt())
        assert report is not None
        assert report.step == 7
    now = 10.0
    assert await poller.poll("u1", attempt()) == report
    assert await poller.poll("u1", attempt(phase=PodPhase.FAILED)) == report
    poller.forget("u1")
    assert await poller.poll("u1", attempt(phase=PodPhase.FAILED)) is None
    await poller.close()


@pytest.mark.parametrize(("text", "answered"), [(REPORT, True), ("{", False)])
async def test_every_look_is_told_with_whether_it_was_answered(text: str, answered: bool) -> None:  # noqa: FBT001
    told: list[bool] = []
    async with pod_that_says(text) as port:
        poller = ProgressPoller(lambda: 0.0, port=port, polled=told.append)
        await poller.poll("u1", attempt())
        await poller.poll("u1", attempt())  # not due yet
        await poller.poll("u2", attempt(phase=PodPhase.PENDING))  # nobody to ask
    assert told == [answered]
    await poller.close()


async def test_a_report_of_an_older_attempt_says_nothing_about_the_newer_one() -> None:
    async with pod_that_says(REPORT) as port:
        poller = ProgressPoller(lambda: 0.0, port=port)
        assert await poller.poll("u1", attempt(2)) is not None
        assert await poller.poll("u1", attempt(3)) is None
        await poller.close()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("not json", 200),
        ('{"attempt": 2}', 200),
        (REPORT.replace("7", "-7"), 200),
        (REPORT.replace('"attempt": 2', '"attempt": 3'), 200),
        (REPORT + " " * MAXIMUM_PROGRESS_BYTES, 200),
        (REPORT, 503),
        ("", 302),
    ],
)
async def test_what_is_no_report_of_this_attempt_is_no_report(text: str, status: int) -> None:
    async with pod_that_says(text, status=status) as port:
        poller = ProgressPoller(lambda: 0.0, port=port)
        assert await poller.poll("u1", attempt()) is None
        await poller.close()


async def test_a_pod_is_not_asked_more_often_than_every_so_many_seconds() -> None:
    now = 100.0
    async with pod_that_says(REPORT) as port:
        poller = ProgressPoller(lambda: now, every_seconds=3, port=port)
        await poller.poll("u1", attempt())
    # The pod is gone: only a second question would notice, and it is not asked.
    now = 101.0
    assert (await poller.poll("u1", attempt())) is not None
    await poller.close()
