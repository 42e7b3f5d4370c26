"""Which of a checkpoint's files is what: told by the names that the programs give them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_checkpoint.weights_files import CheckpointFormat, find_weights, folder_parts, is_average, is_resume_state

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize(
    ("paths", "weights", "average", "optimizer"),
    [
        (
            [
                UNET,
                "unet/config.json",
                "unet_ema/diffusion_pytorch_model.safetensors",
                "optimizer.bin",
                "scheduler.bin",
            ],
            UNET,
            "unet_ema/diffusion_pytorch_model.safetensors",
            "optimizer.bin",
        ),
        (["model.safetensors", "optimizer.bin", "optimizer_1.bin"], "model.safetensors", None, "optimizer.bin"),
        (
            ["unet/diffusion_pytorch_model.bin", "text_encoder/pytorch_model.bin"],
            "unet/diffusion_pytorch_model.bin",
            None,
            None,
        ),
        ([UNET, "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"], UNET, None, None),
        (
            ["unet/diffusion_pytorch_model.fp16.safetensors", "vae/diffusion_pytorch_model.fp16.safetensors"],
            "unet/diffusion_pytorch_model.fp16.safetensors",
            None,
            None,
        ),
        (["model.safetensors", "pytorch_model.bin"], "model.safetensors", None, None),
        (["weights.pt", "ema.pt", "optimizer.pt"], "weights.pt", "ema.pt", "optimizer.pt"),
        (["ema_0.9999_010000.pt"], "ema_0.9999_010000.pt", None, None),
        ([".metadata", "__0_0.distcp"], ".metadata", None, None),
        (["pytorch_model_fsdp_0/.metadata", "optimizer_0/.metadata"], "pytorch_model_fsdp_0/.metadata", None, None),
        (
            ["pytorch_model/mp_rank_00_model_states.pt", "pytorch_model/zero_pp_rank_0_mp_rank_00_optim_states.pt"],
            "pytorch_model/mp_rank_00_model_states.pt",
            None,
            None,
        ),
        (
            ["unet/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.safetensors"],
            "unet/diffusion_pytorch_model.bin",
            None,
            None,
        ),
        (
            ["pytorch_model.bin", "unet_ema/diffusion_pytorch_model.safetensors"],
            "pytorch_model.bin",
            "unet_ema/diffusion_pytorch_model.safetensors",
            None,
        ),
        (
            ["unet/diffusion_pytorch_model.bin.index.json", "unet/diffusion_pytorch_model-00001-of-00002.bin"],
            "unet/diffusion_pytorch_model.bin.index.json",
            None,
            None,
        ),
        (["model.bin.index.json", "model-00001-of-00002.bin"], "model.bin.index.json", None, None),
        (
            ["pytorch_model_fsdp.bin", "pytorch_model_fsdp_1.bin", "optimizer.bin"],
            "pytorch_model_fsdp.bin",
            None,
            "optimizer.bin",
        ),
        (["model.pt", "ema_0.9999.pt", "opt.pt"], "model.pt", "ema_0.9999.pt", None),
        (["pytorch_lora_weights.safetensors"], "pytorch_lora_weights.safetensors", None, None),
        (["random_states_0.pkl", "scaler.pt", "custom_checkpoint_0.pkl"], None, None, None),
    ],
)
def test_every_part_is_found(paths: list[str], weights: str | None, average: str | None, optimizer: str | None) -> None:
    parts = folder_parts(paths)
    assert parts.weights.path == weights
    assert (parts.average and parts.average.path) == average
    assert parts.optimizer == optimizer


@pytest.mark.parametrize(
    "paths",
    [
        ["a.pt", "b.pt"],
        ["a.safetensors", "b.safetensors"],
        ["a/.metadata", "b/.metadata"],
        ["unet/a.bin", "unet/b.bin"],
    ],
)
def test_what_cannot_be_decided_is_named_and_not_guessed(paths: list[str]) -> None:
    found = find_weights(paths)
    assert (found.path, found.paths) == (None, tuple(paths))


NAMES = (
    *("unet", "unet_ema", "vae", "optimizer.bin", "model.safetensors", "a.pt", "b.ckpt", ".metadata", "x.index.json"),
    *(
        "model.safetensors.index.json",
        "pytorch_model.bin.index.json",
        "MANIFEST.json",
        "scheduler.bin",
        "ema.safetensors",
        "__0_0.distcp",
    ),
)


@given(st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join), unique=True, max_size=8))
def test_any_folder_is_sorted_into_parts(paths: list[str]) -> None:
    parts = folder_parts(paths)
    assert parts == folder_parts(reversed(paths))
    named = [parts.weights.path, *parts.weights.paths, parts.optimizer, parts.average and parts.average.path]
    assert {path for path in named if path is not None} <= set(paths)
    assert parts.weights.path is None or not is_resume_state(parts.weights.path)
    assert (parts.weights.format is CheckpointFormat.UNKNOWN) == (
        parts.weights.path is None and not parts.weights.paths
    )
    assert parts.average is None or parts.average.path is None or is_average(parts.average.path)
