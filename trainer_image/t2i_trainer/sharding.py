"""FSDP2 where the job asks for it: each rank holds a share of every weight, gradient, average and moment.

Weights are gathered for as long as a block computes. The rest of a run hardly knows (`shares.py`): what is saved is
whole tensors, so that a checkpoint does not tell how its run was held, and any other way of holding may resume it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from t2i_api.spec_training import Parallelism, Precision

if TYPE_CHECKING:
    from t2i_api.spec_training import Training
    from t2i_trainer.world import World

# What is gathered at a time, beside the root's few own layers: large enough to fill a network, at most 60 MB of Stable
# Diffusion's 3.4 GB.
_UNITS = (ResnetBlock2D, Transformer2DModel)


def shards(training: Training, world: World) -> bool:
    """Whether this run shards its model; a single process has nobody to share it with."""
    return training.parallelism is Parallelism.FULL_SHARD and world.size > 1


def building_device(training: Training, world: World) -> torch.device:
    """Return where the model is built: in host memory if it is to be sharded, since no GPU may hold it whole."""
    return torch.device("cpu") if shards(training, world) else world.device


def shard(module: torch.nn.Module, training: Training, world: World) -> None:
    """Leave this rank its share of every parameter, on its device and in place; ranks must hold equal values before.

    In bfloat16 runs weights travel and are used as bfloat16; shares are kept, and gradients added up, in float32.
    """
    bf16 = training.precision is Precision.BF16
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if bf16 else None,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,  # autocast knows better what to cast
    )
    mesh = init_device_mesh(world.device.type, (world.size,))
    module.to(memory_format=torch.contiguous_format)  # FSDP2 takes no other
    units = [each for each in module.modules() if isinstance(each, _UNITS)]
    for unit in (*units, module):
        # The root too, whose weights would otherwise stay whole after a forward pass that no backward pass follows.
        fully_shard(unit, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
        cast("FSDPModule", unit).set_force_sum_reduction_for_comms(enable=True)  # gloo knows no mean
