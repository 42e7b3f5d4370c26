"""The processes that train together: device, threads, and the few things that ranks tell each other.

Accelerate sets up the process group from torchrun's environment; the world size that was asked for is asserted,
because `accelerate launch --cpu` and a forgotten variable start a single process without a word.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch.nn.parallel import DistributedDataParallel

from t2i_api.progress import ExitCode
from t2i_api.spec_training import Precision
from t2i_trainer.failures import TrainerError
from t2i_trainer.shares import is_sharded

if TYPE_CHECKING:
    from collections.abc import Callable

    from t2i_api.spec_run import FailurePolicy
    from t2i_trainer.configuration import RunConfiguration

# Ranks meet every step, and `attend` lets them meet while one of them works alone, so this only has to be longer than
# what all do alike without meeting: a step, a first compilation, encoding. A dead peer closes its connection.
_SHORTEST_COLLECTIVE_TIMEOUT = timedelta(minutes=10)
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.005, 0.5
_SHA256_BYTES = 32


@dataclass(frozen=True)
class World:
    """This process among all of them."""

    accelerator: Accelerator
    rank: int
    local_rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, which writes checkpoints."""
        return self.rank == 0

    @property
    def leads_pod(self) -> bool:
        """Whether this is the first process of its pod, which serves HTTP and fetches files."""
        return self.local_rank == 0

    def average_gradients_of(self, module: torch.nn.Module) -> torch.nn.Module:
        """Return the module with gradients that are the mean over all ranks, exchanged while the backward pass runs.

        Not by `Accelerator.prepare`, whose wrapper for mixed precision cannot be compiled as one graph.
        """
        if self.size == 1 or is_sharded(module):  # which does so by itself
            return module
        return DistributedDataParallel(
            module,
            device_ids=[self.device] if self.device.type == "cuda" else None,
            forward_sync_buffers=False,  # a UNet has none that a step changes
            gradient_as_bucket_view=True,
        )

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Add up a tensor over all ranks, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def on_any(self, fact: bool) -> bool:  # noqa: FBT001  # reads as a sentence
        """Whether `fact` holds on any rank; all of them ask at the same place of their program."""
        if self.size == 1:
            return fact
        return bool(self.sum(torch.tensor(int(fact), dtype=torch.int32, device=self.device)))

    def wait(self) -> None:
        """Return when every rank has come here."""
        self.accelerator.wait_for_everyone()

    def attend(self, is_done: Callable[[], bool]) -> None:
        """Return on every rank when `is_done` holds on each; however long that takes, no collective times out."""
        pause = _FIRST_PAUSE_SECONDS
        while int(self.sum(torch.tensor([not is_done()], dtype=torch.int32, device=self.device))):
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def run_where(self, chosen: bool, work: Callable[[], object]) -> None:  # noqa: FBT001  # reads as a sentence
        """Run `work` on the ranks where `chosen` holds; each returns when all are done, or raises what its own met."""
        done: Future[None] = Future()
        if chosen:
            threading.Thread(target=_run, args=(work, done), name="work", daemon=True).start()
        else:
            done.set_result(None)
        self.attend(done.done)
        done.result()

    def share(self, tensor: torch.Tensor) -> None:
        """Overwrite a tensor with rank 0's, in place."""
        if self.size > 1:
            # Collectives take no other memory format, and NCCL no tensor of the host.
            plain = tensor.detach().to(self.device).contiguous()
            dist.broadcast(plain, src=0)
            tensor.detach().copy_(plain)

    def share_text(self, text: str) -> str:
        """Return rank 0's text on every rank; plain bytes, so that nothing is unpickled."""
        if self.size == 1:
            return text
        raw = bytearray(text.encode())
        length = torch.tensor([len(raw)], device=self.device)
        dist.broadcast(length, src=0)
        mine = torch.frombuffer(raw, dtype=torch.uint8) if self.leads else torch.empty(int(length), dtype=torch.uint8)
        shared = mine.to(self.device)
        dist.broadcast(shared, src=0)
        return shared.cpu().numpy().tobytes().decode()

    def gather_digests(self, hex_digest: str) -> tuple[str, ...]:
        """Return every rank's SHA-256, in rank order; plain bytes, so that nothing is unpickled."""
        mine = torch.tensor(list(bytes.fromhex(hex_digest)), dtype=torch.int64, device=self.device)
        if self.size == 1:
            return (hex_digest,)
        everyone = torch.zeros(self.size, _SHA256_BYTES, dtype=torch.int64, device=self.device)
        everyone[self.rank] = mine
        return tuple(bytes(row).hex() for row in self.sum(everyone).tolist())


def join_world(configuration: RunConfiguration) -> World:
    """Form the process group; raises TrainerError on the wrong world size or a missing GPU."""
    on_cpu = configuration.device == "cpu"
    if not on_cpu and not torch.cuda.is_available():
        raise TrainerError(
            ExitCode.BAD_CONFIGURATION,
            f"workers.gpusPerWorker is {configuration.spec.workers.gpus_per_worker}, but no CUDA device is there: run "
            "on a machine with GPUs, or set T2I_DEVICE=cpu (workers.template.env in a cluster) to train on CPUs",
        )
    accelerator = Accelerator(
        cpu=on_cpu,
        mixed_precision="bf16" if configuration.spec.training.precision is Precision.BF16 else "no",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=collective_timeout(configuration.spec.failure_policy))],
    )
    found, asked = accelerator.num_processes, configuration.attempt.world_size
    if found != asked:
        raise TrainerError(
            ExitCode.WORLD_SIZE_MISMATCH,
            f"{found} processes found each other, the attempt asks for {asked}: start the trainer by `t2i-trainer`, "
            "which starts them all",
        )
    return World(
        accelerator, accelerator.process_index, accelerator.local_process_index, found, torch.device(accelerator.device)
    )


def collective_timeout(policy: FailurePolicy) -> timedelta:
    """Return how long a rank waits for the others: what the job calls a stall, so that both agree on what hangs."""
    return max(_SHORTEST_COLLECTIVE_TIMEOUT, timedelta(seconds=policy.stall_seconds))


def _run(work: Callable[[], object], done: Future[None]) -> None:
    try:
        work()
    except BaseException as error:  # noqa: BLE001  # raised again where the result is asked for
        done.set_exception(error)
    else:
        done.set_result(None)


def make_deterministic(device: torch.device) -> None:
    """Fix what would let two runs of the same process differ: algorithms and thread count."""
    # Some CUDA kernels of the UNet (nearest upsampling) have no deterministic backward; torch then warns once.
    torch.use_deterministic_algorithms(mode=True, warn_only=device.type == "cuda")
    # Filling fresh memory only makes reads of it visible; it costs a pass over every tensor of every step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a property of the module
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads:
        torch.set_num_threads(int(threads))
