"""Processes that form a world as torchrun tells them to, each started afresh.

Forked from a process that has run other tests, they would inherit what those left in torch.distributed and Accelerate:
a rank then found itself in no group of the mesh.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from typing import TYPE_CHECKING

import pytest
import torch

from t2i_dev.paths import repository_root
from t2i_dev.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECONDS = 240


def run_ranks(work: Callable[[Path], None], folder: Path, size: int) -> None:
    """Run `work(folder)` in each rank of a world; what the ranks said fails the test with them."""
    context = multiprocessing.get_context("spawn")
    port = str(free_ports(1)[0])
    ranks = [context.Process(target=_rank, args=(work, folder, number, size, port)) for number in range(size)]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(repository_root())  # where a fresh process finds `tests`
        for each in ranks:
            each.start()
    for each in ranks:
        each.join(SECONDS)
    statuses = [each.exitcode for each in ranks]
    for each in ranks:
        each.kill()
    said = "\n".join(path.read_text() for path in sorted(folder.glob("rank-*.log")))
    assert statuses == [0] * size, said


def _rank(work: Callable[[Path], None], folder: Path, number: int, size: int, port: str) -> None:
    os.environ.update(
        RANK=str(number),
        LOCAL_RANK=str(number),
        WORLD_SIZE=str(size),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=port,
        OMP_NUM_THREADS="1",
        T2I_DEVICE="cpu",
    )
    torch.set_num_threads(1)
    output = os.open(folder / f"rank-{number}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    try:
        work(folder)
    except BaseException:  # noqa: BLE001  # a process group that is broken would block the interpreter's end
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)
