"""Small checkpoints for the matrix: real safetensors files and manifests in few objects, so that a cell is fast."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import numpy as np
from safetensors.numpy import save

from t2i_checkpoint import layout
from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.manifest import Manifest, ManifestFile
from t2i_checkpoint.unet import unet_architecture_from_mapping
from t2i_checkpoint.verdict import Meaning, Wanted

UNET: Mapping[str, Any] = MappingProxyType(
    {
        "block_out_channels": [4, 8],
        "layers_per_block": 1,
        "norm_num_groups": 2,
        "attention_head_dim": 2,
        "cross_attention_dim": 6,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    }
)
OLD_UNET = Architecture.from_shapes(
    {
        "time_embed.0.weight": (16, 4),
        "input_blocks.0.weight": (4, 3, 3, 3),
        "down.0.in_layers.2.weight": (8, 4, 3, 3),
        "down.0.emb_layers.1.weight": (8, 16),
        "down.0.out_layers.3.weight": (8, 8, 3, 3),
        "down.0.skip_connection.weight": (8, 4, 1, 1),
        "out.2.weight": (3, 4, 3, 3),
    }
)
MEANING = Meaning("v_prediction", "squaredcos_cap_v2, 1000 steps", 1.0, "ab" * 32)


def wanted() -> Wanted:
    """What the job of the matrix asks for."""
    return Wanted(unet_architecture_from_mapping(UNET), MEANING)


def of_another_meaning(step: int) -> dict[str, bytes]:
    """Return a committed checkpoint of our own layout that was trained to predict something else, by key."""
    architecture = wanted().architecture
    folder = layout.checkpoint_folder(step, "w1")
    files = {layout.WEIGHTS: tensors(architecture)}
    manifest = Manifest(
        step=step,
        writer="w1",
        created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        files=tuple(_listed(path, content) for path, content in files.items()),
        architecture_fingerprint=architecture.fingerprint(),
        parameter_order=architecture.names,
        samples_seen=64 * step,
        epoch=2,
        position_in_epoch=17,
        world_size=2,
        global_batch_size=64,
        seed=7,
        prediction_type="epsilon",
        noise_schedule=MEANING.noise_schedule,
        latent_scale=MEANING.latent_scale,
        null_embedding_sha256=MEANING.null_embedding_sha256,
        library_versions={"torch": "2.15.0"},
    )
    return {f"{folder}/{path}": content for path, content in {**files, layout.MANIFEST: manifest.to_json()}.items()}


def of_the_old_unet(step: int, weights: bytes | None = None) -> dict[str, bytes]:
    """Return what another program left of the old home-made UNet, by key."""
    files = {"model.safetensors": weights or tensors(OLD_UNET), "optimizer.bin": b"PK\x03\x04 not opened"}
    return {f"checkpoint-{step}/{path}": content for path, content in files.items()}


def tensors(architecture: Architecture) -> bytes:
    """Return a safetensors file of seeded noise with the architecture's names and shapes."""
    noise = np.random.default_rng(len(architecture))
    return save({n: noise.standard_normal(p.shape, dtype=np.float32) for n, p in architecture.parameters.items()})


def _listed(path: str, content: bytes) -> ManifestFile:
    header = 8 + int.from_bytes(content[:8], "little")
    return ManifestFile(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest(), header_bytes=header)
