"""The work queue: one key, one reconcile at a time; nothing is forgotten, nothing is done twice."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from t2i_operator.workqueue import Backoff, ExpectedError, QueueState, WorkQueue

Reconcile = Callable[[str], Awaitable[float | None]]


async def run(queue: WorkQueue[str], reconcile: Reconcile, *, workers: int = 2, seconds: float = 0.2) -> None:
    """Let workers work for a while."""
    tasks = [asyncio.create_task(queue.work(reconcile)) for _ in range(workers)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_key_waits_once_however_often_it_is_marked() -> None:
    queue: WorkQueue[str] = WorkQueue()
    done: list[str] = []

    async def reconcile(key: str) -> None:
        done.append(key)

    for key in ("a", "b", "a", "a"):
        queue.add(key)
    assert len(queue) == 2
    await run(queue, reconcile, workers=1)
    assert done == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_is_never_worked_on_twice_at_a_time_and_comes_back_when_marked_meanwhile() -> None:
    queue: WorkQueue[str] = WorkQueue()
    at_work, most, times = 0, 0, 0

    async def reconcile(key: str) -> None:
        nonlocal at_work, most, times
        at_work, times = at_work + 1, times + 1
        most = max(most, at_work)
        if times < 3:
            queue.add(key)
            queue.add(key)
        await asyncio.sleep(0.01)
        at_work -= 1

    queue.add("a")
    await run(queue, reconcile, workers=4)
    assert (most, times) == (1, 3)


async def test_it_tells_for_how_long_keys_wait_and_are_worked_on() -> None:
    waits: list[float] = []
    queue: WorkQueue[str] = WorkQueue(waited=waits.append)
    seen: list[QueueState] = []

    async def reconcile(_key: str) -> None:
        await asyncio.sleep(0.02)
        queue.add("a")  # waits for its own end
        await asyncio.sleep(0.02)
        seen.append(queue.state())
        raise ExpectedError("again later")

    idle = queue.state()
    assert (idle.depth, idle.oldest_wait_seconds, idle.longest_work_seconds, idle.failing) == (0, None, None, 0)
    queue.add("a")
    await asyncio.sleep(0.02)
    waiting = queue.state()
    assert waiting.depth == 1
    assert waiting.oldest_wait_seconds is not None
    assert waiting.oldest_wait_seconds >= 0.02
    await run(queue, reconcile, workers=1)
    at_work = seen[0]
    assert at_work.depth == 1
    assert at_work.oldest_wait_seconds is not None
    assert at_work.longest_work_seconds is not None
    assert 0.02 <= at_work.oldest_wait_seconds < at_work.longest_work_seconds
    assert len(waits) == 1
    assert waits[0] >= 0.02
    assert queue.state().failing == 1


async def test_different_keys_are_worked_on_at_the_same_time() -> None:
    queue: WorkQueue[str] = WorkQueue()
    both = asyncio.Barrier(2)
    met: list[str] = []

    async def reconcile(key: str) -> None:
        await both.wait()
        met.append(key)

    queue.add("a")
    queue.add("b")
    await run(queue, reconcile)
    assert sorted(met) == ["a", "b"]


async def test_the_answer_of_a_reconcile_is_the_delay_until_the_next() -> None:
    queue: WorkQueue[str] = WorkQueue()
    at: list[float] = []

    async def reconcile(_key: str) -> float | None:
        at.append(asyncio.get_running_loop().time())
        return 0.05 if len(at) == 1 else None

    queue.add("a")
    await run(queue, reconcile)
    assert len(at) == 2
    assert at[1] - at[0] >= 0.05


async def test_the_earlier_of_two_delays_wins_and_news_wins_over_both() -> None:
    queue: WorkQueue[str] = WorkQueue()
    done: list[float] = []
    started = asyncio.get_running_loop().time()

    async def reconcile(_key: str) -> None:
        done.append(asyncio.get_running_loop().time() - started)

    queue.add_after("a", 30)
    queue.add_after("a", 0.05)
    queue.add_after("a", 60)
    queue.add_after("b", 30)
    queue.add("b")
    await run(queue, reconcile)
    assert len(done) == 2
    assert max(done) < 0.2


async def test_a_failing_key_comes_back_ever_later_and_holds_nobody_up() -> None:
    queue: WorkQueue[str] = WorkQueue(backoff=Backoff(first_seconds=0.02, maximum_seconds=0.04))
    at: list[float] = []
    others = 0

    async def reconcile(key: str) -> None:
        nonlocal others
        if key == "good":
            others += 1
            return
        at.append(asyncio.get_running_loop().time())
        if len(at) < 4:
            raise ExpectedError("the API server is busy")

    queue.add("bad")
    queue.add("good")
    await run(queue, reconcile, workers=1, seconds=0.4)
    gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert others == 1
    assert len(at) == 4
    assert gaps[0] >= 0.02
    assert gaps[1] >= 0.04
    assert gaps[2] >= 0.04


async def test_success_ends_the_backoff_and_an_unexpected_error_ends_no_worker() -> None:
    queue: WorkQueue[str] = WorkQueue(backoff=Backoff(first_seconds=0.01))
    outcomes = iter([RuntimeError("a bug"), None, ExpectedError("busy"), None])
    seen = 0

    async def reconcile(_key: str) -> float | None:
        nonlocal seen
        seen += 1
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome
        return 0.0 if seen == 2 else None

    queue.add("a")
    await run(queue, reconcile, workers=1)
    assert seen == 4


async def test_a_forgotten_key_does_not_come_back_by_itself() -> None:
    queue: WorkQueue[str] = WorkQueue()
    done: list[str] = []

    async def reconcile(key: str) -> None:
        done.append(key)

    queue.add_after("a", 0.01)
    queue.forget("a")
    await run(queue, reconcile, seconds=0.05)
    assert done == []


@pytest.mark.parametrize(("failures", "delay"), [(1, 0.5), (2, 1.0), (3, 2.0), (8, 60.0), (10_000, 60.0)])
def test_backoff_doubles_up_to_its_maximum(failures: int, delay: float) -> None:
    assert Backoff().delay(failures) == delay
