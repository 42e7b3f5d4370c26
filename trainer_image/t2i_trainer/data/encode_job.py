"""Encodes a source for a job: fetches the job's frozen models, loads them and runs the encoding; without a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from t2i_api.progress import ExitCode
from t2i_trainer.data.encode import DEFAULT_WINDOW_SHARDS, Encoding
from t2i_trainer.data.encoding import Encoders, recipe_of, weights_sha256
from t2i_trainer.data.pictures import way_out_named
from t2i_trainer.data.sources import open_source
from t2i_trainer.errors import TrainerError
from t2i_trainer.text_encoder import TextEncoder, fetch_text_encoder
from t2i_trainer.vae import Vae, fetch_vae, load_vae

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from t2i_api.job import JobSpec
    from t2i_checkpoint.open import Location
    from t2i_checkpoint.store import Store
    from t2i_trainer.data.encode import Encoded
    from t2i_trainer.data.encode_progress import EncodeProgress

_WAY_OUT = "Mend it, or run the same command with --skip-broken, which leaves it out and goes on after the last shard"


@dataclass(frozen=True)
class EncodeOptions:
    """What is no part of the job; sizes as `t2i data encode` documents them. `scratch` is a folder of ours alone."""

    scratch: Path
    shard_mib: int = 256
    window_shards: int = DEFAULT_WINDOW_SHARDS
    skip_broken: bool = False
    device: str = "auto"


def encode_job(
    spec: JobSpec,
    source: Location,
    destination: Store,
    options: EncodeOptions,
    report: Callable[[EncodeProgress], None],
) -> Encoded:
    """Encode `source` for the job into `destination`; raises TrainerError, StoreError."""
    device = _device(options.device)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)  # two runs give the same bytes
    with way_out_named(_WAY_OUT):
        pictures = open_source(source, spec.data, options.scratch, skip_broken=options.skip_broken)
        encoders = _load(spec, options.scratch, device)
        return Encoding(
            source=pictures,
            destination=destination,
            encoders=encoders,
            recipe=recipe_of(spec, pictures, encoders, shard_mib=options.shard_mib, skip_broken=options.skip_broken),
            window_shards=options.window_shards,
            scratch=options.scratch,
            report=report,
        ).run()


def _load(spec: JobSpec, models: Path, device: torch.device) -> Encoders:
    fetch_text_encoder(spec, models / "text_encoder")
    text = TextEncoder(models / "text_encoder", spec.model.text_encoder.max_tokens, device)
    vae: Vae | None = None
    if spec.model.vae is not None:
        fetch_vae(spec, models / "vae")
        vae = load_vae(spec, models / "vae", device)
    return Encoders(
        text=text,
        text_sha256=weights_sha256(models / "text_encoder"),
        null_embedding=text.null_embedding(),
        vae=vae,
        vae_sha256=None if vae is None else weights_sha256(models / "vae"),
        device=device,
    )


def _device(wish: str) -> torch.device:
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wish not in {"cpu", "cuda"}:
        raise TrainerError(ExitCode.BAD_CONFIGURATION, f"--device {wish}: write auto, cpu or cuda")
    if wish == "cuda" and not torch.cuda.is_available():
        raise TrainerError(ExitCode.BAD_CONFIGURATION, "--device cuda: no CUDA device is there; write --device cpu")
    return torch.device(wish)
