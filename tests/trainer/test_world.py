"""Ranks wait for each other as long as the work takes, and not for ever."""

from __future__ import annotations

import multiprocessing
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.distributed as dist
from tests.trainer.thread_world import on_every_rank

from t2i_api.spec_run import FailurePolicy
from t2i_trainer.world import World, collective_timeout

if TYPE_CHECKING:
    from pathlib import Path

NOBODY: Any = None
ALONE = World(NOBODY, 0, 0, 1, torch.device("cpu"))


@pytest.mark.parametrize(("stall", "minutes"), [(30, 10), (600, 10), (1800, 30), (86400, 1440)])
def test_a_collective_waits_as_long_as_the_job_calls_no_stall(stall: int, minutes: int) -> None:
    assert collective_timeout(FailurePolicy(stall_seconds=stall)) == timedelta(minutes=minutes)


def test_work_is_done_where_it_is_to_be_done_and_its_error_is_raised_there() -> None:
    seen: list[str] = []
    ALONE.run_where(True, lambda: seen.append(threading.current_thread().name))
    ALONE.run_where(False, lambda: seen.append("not here"))
    assert seen == ["work"]
    with pytest.raises(ZeroDivisionError):
        ALONE.run_where(True, lambda: 1 // 0)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("where", [None, 0, -1])
def test_what_holds_on_one_rank_holds_on_any(size: int, where: int | None) -> None:
    holder = None if where is None else where % size
    found = on_every_rank(size, lambda world: world.on_any(world.rank == holder))
    assert found == [where is not None] * size


def rank(number: int, store: str, out: str) -> None:
    """One of two processes whose collectives time out far sooner than the work of the first one ends."""
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=number, world_size=2, timeout=timedelta(seconds=2)
    )
    world = World(NOBODY, number, number, 2, torch.device("cpu"))
    began = time.monotonic()
    world.run_where(world.leads, lambda: time.sleep(5))
    with open(f"{out}/{number}", "w") as file:  # noqa: PTH123
        file.write(str(time.monotonic() - began))


def test_a_download_may_take_longer_than_a_collective_may_wait(tmp_path: Path) -> None:
    """Rank 0 fetched a large checkpoint for eleven minutes, and the others gave up after ten."""
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=rank, args=(n, str(tmp_path / "rendezvous"), str(tmp_path))) for n in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    waited = [float((tmp_path / str(number)).read_text()) for number in (0, 1)]
    assert min(waited) >= 5
