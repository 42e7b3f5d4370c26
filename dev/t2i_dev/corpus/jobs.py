"""The jobs that the corpus is held against, as documents that every reader of a job accepts."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from t2i_api.presets import PRESETS
from t2i_dev.small_unet import small_unet

SEED: Final = 7
GLOBAL_BATCH_SIZE: Final = 8
LATENT_SCALE: Final = 0.18215  # of the VAE of SD 1.x and 2.x, and what a job assumes

TINY_UNET: Final[Mapping[str, Any]] = MappingProxyType(small_unet((8, 16), text_width=16, norm_num_groups=4))
# Self-attention blocks, whose parameters had other names before Diffusers 0.15.
ATTENTION_UNET: Final[Mapping[str, Any]] = MappingProxyType(
    {
        **TINY_UNET,
        "down_block_types": ["AttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "AttnUpBlock2D"],
    }
)
# What `stabilityai/stable-diffusion-xl-base-1.0` publishes in `unet/config.json`, as far as it shapes the model.
SDXL_UNET: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "sample_size": 128,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": 2,
        "cross_attention_dim": 2048,
        "transformer_layers_per_block": [1, 2, 10],
        "attention_head_dim": [5, 10, 20],
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    }
)


class Task(StrEnum):
    """What a job asks for, by name."""

    TINY = "tiny"
    ATTENTION = "attention"
    TINY_INPAINTING = "tiny-inpainting"
    SD1 = "sd1"
    SD1_INPAINTING = "sd1-inpainting"
    SD2 = "sd2"
    SDXL = "sdxl"


UNETS: Final[Mapping[Task, Mapping[str, Any]]] = MappingProxyType(
    {
        Task.TINY: TINY_UNET,
        Task.ATTENTION: ATTENTION_UNET,
        Task.TINY_INPAINTING: {**TINY_UNET, "in_channels": 9},
        Task.SD1: PRESETS["stable-diffusion-v1"].model_dump(exclude_defaults=True),
        Task.SD1_INPAINTING: {**PRESETS["stable-diffusion-v1"].model_dump(exclude_defaults=True), "in_channels": 9},
        Task.SD2: PRESETS["stable-diffusion-v2"].model_dump(exclude_defaults=True),
        Task.SDXL: SDXL_UNET,
    }
)
_LATENT_SIDE = 8  # pixels of a latent pixel's side, in every Stable Diffusion VAE
_PIXEL_SPACE = {Task.TINY, Task.ATTENTION}


def job_document(task: Task, uri: str, endpoint: str | None = None) -> dict[str, Any]:
    """Return the DiffusionTrainingJob of `task` whose checkpoints lie at `uri`."""
    unet = dict(UNETS[task])
    side = unet["sample_size"] * (1 if task in _PIXEL_SPACE else _LATENT_SIDE)
    model: dict[str, Any] = {"unet": {"config": unet}, "textEncoder": {"uri": "s3://t2i/models/encoder"}}
    if task not in _PIXEL_SPACE:
        model["vae"] = {"uri": "s3://t2i/models/vae"}
    checkpoint: dict[str, Any] = {"uri": uri, "everySteps": 100}
    if endpoint is not None:
        checkpoint["endpoint"] = endpoint
    return {
        "apiVersion": "training.t2i.dev/v1alpha1",
        "kind": "DiffusionTrainingJob",
        "metadata": {"name": f"corpus-{task}", "namespace": "corpus"},
        "spec": {
            "model": model,
            "data": {"uri": "s3://t2i/data/corpus", "resolution": side},
            "training": {
                "steps": 100_000,
                "globalBatchSize": GLOBAL_BATCH_SIZE,
                "learningRate": 0.001,
                "seed": SEED,
            },
            "checkpoint": checkpoint,
        },
    }
