"""What ranks exchange in a step that is cut into passes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from accelerate import Accelerator
from tests.trainer.checkpointing.conftest import fresh_state
from tests.trainer.sharding.ranks import run_ranks
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from t2i_api.job import JobSpec
from t2i_trainer.data.feed import Batch
from t2i_trainer.interruption import Interruption
from t2i_trainer.step import TrainStep
from t2i_trainer.world import World

if TYPE_CHECKING:
    from pathlib import Path

RANKS, SHARE = 2, 4


@dataclass(frozen=True)
class CountingWorld(World):
    """Notes every exchange of gradients."""

    exchanges: list[int] = field(default_factory=list)

    def average_gradients_of(self, module: torch.nn.Module) -> torch.nn.Module:
        model = super().average_gradients_of(module)
        assert isinstance(model, DistributedDataParallel)

        def exchange(group, bucket):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  # torch compares types
            self.exchanges.append(bucket.index())
            return allreduce_hook(group, bucket)

        model.register_comm_hook(dist.group.WORLD, exchange)
        return model


def test_gradients_are_exchanged_once_a_step_however_many_passes_it_takes(job_spec: JobSpec, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(job_spec.model_dump_json(by_alias=True))
    run_ranks(count_exchanges, tmp_path, RANKS)
    for rank in range(RANKS):
        in_one_pass, in_four, norms = json.loads((tmp_path / f"{rank}.json").read_text())
        assert in_one_pass
        assert in_four == in_one_pass
        assert abs(norms[0] - norms[1]) < 1e-5 * norms[0]


def count_exchanges(folder: Path) -> None:
    """Be one rank: the same step in one pass, and in one pass for each sample."""
    accelerator = Accelerator(cpu=True)
    rank = accelerator.process_index
    exchanged: list[list[int]] = []
    norms = []
    for passes in (1, SHARE):
        world = CountingWorld(accelerator, rank, rank, accelerator.num_processes, torch.device("cpu"))
        step = TrainStep(spec_of(folder, passes), world, fresh_state(spec_of(folder, passes)), Interruption())
        step.warm_up(batch(rank))  # DDP makes its buckets
        world.exchanges.clear()
        step.take(batch(rank))
        exchanged.append(list(world.exchanges))
        norms += [result.gradient_norm for result in step.stream.drain()]
    (folder / f"{rank}.json").write_text(json.dumps([*exchanged, norms]))
    dist.destroy_process_group()


def spec_of(folder: Path, passes: int) -> JobSpec:
    spec = JobSpec.model_validate_json((folder / "spec.json").read_text())
    sizes = {"global_batch_size": RANKS * SHARE, "micro_batch_size": SHARE // passes}
    return spec.model_copy(update={"training": spec.training.model_copy(update=sizes)})


def batch(rank: int) -> Batch:
    generator = torch.Generator().manual_seed(rank)
    latents, noise = torch.randn(2, SHARE, 12, 8, 8, generator=generator)
    timesteps = torch.randint(0, 1000, (SHARE,), generator=generator)
    return Batch(latents, noise, timesteps, torch.randn(SHARE, 8, 16, generator=generator))
