"""Stores of both kinds, and checkpoints by the real safetensors library: ours, other programs', the old UNet's."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save

from t2i_checkpoint import layout
from t2i_checkpoint.architecture import Architecture
from t2i_checkpoint.archive_plan import plan_archive
from t2i_checkpoint.inspect import survey
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.manifest import Manifest, ManifestFile, commit
from t2i_checkpoint.optimizer import optimizer_architecture
from t2i_checkpoint.s3 import S3Store
from t2i_checkpoint.store import Credentials, Store
from t2i_checkpoint.unet import unet_architecture_from_mapping
from t2i_checkpoint.verdict import Meaning, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping
    from pathlib import Path

    from t2i_checkpoint.archive import ArchiveIntent
    from t2i_dev.s3_server import S3Server

SMALL_UNET = {
    "block_out_channels": [4, 8],
    "layers_per_block": 1,
    "norm_num_groups": 2,
    "attention_head_dim": 2,
    "cross_attention_dim": 6,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
}
MEANING = Meaning("v_prediction", "squaredcos_cap_v2, 1000 steps", 1.0, "ab" * 32)
OLD_UNET = {
    "time_embed.0.weight": (16, 4),
    "input_blocks.0.weight": (4, 3, 3, 3),
    "down.0.in_layers.2.weight": (8, 4, 3, 3),
    "down.0.emb_layers.1.weight": (8, 16),
    "down.0.out_layers.3.weight": (8, 8, 3, 3),
    "down.0.skip_connection.weight": (8, 4, 1, 1),
    "out.2.weight": (3, 4, 3, 3),
}


@dataclass
class CheckpointWriter:
    """Writes checkpoints into one store as their programs would."""

    store: Store

    def own(
        self,
        step: int,
        architecture: Architecture,
        *,
        writer: str = "w1",
        without: Container[str] = (),
        replaced: Mapping[str, bytes] | None = None,
        **changes: Any,
    ) -> str:
        """Write and commit a checkpoint of our own layout; `changes` replace manifest fields."""
        folder = layout.checkpoint_folder(step, writer)
        files = own_files(architecture) | dict(replaced or {})
        entries = []
        for path, content in files.items():
            if path not in without:
                self.store.put(f"{folder}/{path}", content)
                entries.append(listed(path, content))
        manifest = a_manifest(architecture, step=step, writer=writer, files=tuple(entries), **changes)
        commit(self.store, folder, manifest)
        return folder

    def files(self, folder: str, files: Mapping[str, bytes]) -> str:
        """Write any files below a folder, or at the root."""
        for path, content in files.items():
            self.store.put(f"{folder}/{path}" if folder else path, content)
        return folder

    def tensors(self, architecture: Architecture) -> bytes:
        """Return a safetensors file with these names and shapes."""
        return tensors(architecture)

    def accelerate(self, step: int, architecture: Architecture, root: str = "") -> str:
        """Write what `accelerator.save_state` leaves."""
        files = {
            "model.safetensors": tensors(architecture),
            "optimizer.bin": b"PK\x03\x04 not opened",
            "scheduler.bin": b"PK",
            "random_states_0.pkl": b"\x80\x04.",
        }
        return self.files(f"{root}checkpoint-{step:08d}", files)


def own_files(architecture: Architecture) -> dict[str, bytes]:
    """Return every file but the manifest, as our trainer writes them."""
    return {
        layout.WEIGHTS: tensors(architecture),
        layout.WEIGHTS_CONFIG: b"{}",
        layout.EMA_WEIGHTS: tensors(architecture),
        layout.EMA_CONFIG: b"{}",
        layout.OPTIMIZER: tensors(optimizer_architecture(architecture)),
        layout.NULL_EMBEDDING: tensors(Architecture.from_shapes({"null_embedding": (2, 3)})),
        layout.TRAINER_STATE: b'{"epoch": 1}',
    }


def tensors(architecture: Architecture) -> bytes:
    """Return a safetensors file of seeded noise with the architecture's names and shapes."""
    noise = np.random.default_rng(len(architecture))
    return save({n: noise.standard_normal(p.shape, dtype=np.float32) for n, p in architecture.parameters.items()})


def listed(path: str, content: bytes) -> ManifestFile:
    header = 8 + int.from_bytes(content[:8], "little") if path.endswith(".safetensors") else None
    digest = hashlib.sha256(content).hexdigest()
    return ManifestFile(path=path, size=len(content), sha256=digest, header_bytes=header)


def a_manifest(architecture: Architecture, **changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "step": 5000,
        "writer": "w1",
        "created_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "architecture_fingerprint": architecture.fingerprint(),
        "parameter_order": architecture.names,
        "samples_seen": 320_000,
        "epoch": 2,
        "position_in_epoch": 17,
        "world_size": 2,
        "global_batch_size": 64,
        "seed": 7,
        "prediction_type": MEANING.prediction_type,
        "noise_schedule": MEANING.noise_schedule,
        "latent_scale": MEANING.latent_scale,
        "null_embedding_sha256": MEANING.null_embedding_sha256,
        "library_versions": {"torch": "2.15.0"},
        **changes,
    }
    return Manifest(**values)


@pytest.fixture
def make_manifest() -> Callable[..., Manifest]:
    return a_manifest


@pytest.fixture
def write_tensors() -> Callable[[Architecture], bytes]:
    return tensors


@pytest.fixture
def write_sharded() -> Callable[[Architecture], dict[str, bytes]]:
    """Return the files of a model in two shards, as transformers and Diffusers write them."""

    def write(architecture: Architecture) -> dict[str, bytes]:
        items = list(architecture.parameters.items())
        parts = {"model-1.safetensors": items[:40], "model-2.safetensors": items[40:]}
        index = {"weight_map": {name: shard for shard, part in parts.items() for name, _ in part}}
        files = {shard: tensors(Architecture(part)) for shard, part in parts.items()}
        return {**files, "model.safetensors.index.json": json.dumps(index).encode()}

    return write


@pytest.fixture
def small_unet() -> dict[str, Any]:
    return dict(SMALL_UNET)


@pytest.fixture
def wanted() -> Wanted:
    return Wanted(unet_architecture_from_mapping(SMALL_UNET), MEANING)


@pytest.fixture
def old_unet() -> Architecture:
    return Architecture.from_shapes(OLD_UNET)


@pytest.fixture
def directory_store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "bucket")


@pytest.fixture
def s3_store(s3_server: S3Server) -> S3Store:
    credentials = Credentials(s3_server.access_key, s3_server.secret_key)
    prefix = f"checkpoint-tests/{uuid.uuid4().hex}"
    return S3Store(s3_server.bucket, prefix, endpoint=s3_server.endpoint, credentials=credentials)


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    """The same tests on a directory and on the real S3 server."""
    chosen: Store = request.getfixturevalue(f"{request.param}_store")
    return chosen


@pytest.fixture
def checkpoints(store: Store) -> CheckpointWriter:
    return CheckpointWriter(store)


@pytest.fixture
def planned(checkpoints: CheckpointWriter, wanted: Wanted, old_unet: Architecture) -> ArchiveIntent:
    """A move of one checkpoint that another program wrote; files with other needs have their own."""
    checkpoints.accelerate(5000, old_unet)
    return plan_archive(
        survey(checkpoints.store, wanted).archivable, now=datetime(2025, 12, 14, 22, 17, 58, tzinfo=UTC)
    )


@pytest.fixture
def writer_of() -> Callable[[Store], CheckpointWriter]:
    return CheckpointWriter


@pytest.fixture
def json_header() -> Callable[..., bytes]:
    """Pack a dict as a safetensors file with `data` bytes after the header."""

    def pack(table: Any, data: int = 0, length: int | None = None) -> bytes:
        raw = table if isinstance(table, bytes) else json.dumps(table).encode()
        return (len(raw) if length is None else length).to_bytes(8, "little") + raw + bytes(data)

    return pack
