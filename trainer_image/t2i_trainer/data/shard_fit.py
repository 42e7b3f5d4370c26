"""Whether a set of shards is what a job trains on: every reason why it is not, each with its way out."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load

from t2i_api.progress import ExitCode
from t2i_trainer.checkpointing.restore import is_same_null_embedding
from t2i_trainer.data.encoding import weights_sha256
from t2i_trainer.data.shard_index import Content
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from t2i_api.job import JobSpec
    from t2i_checkpoint.store import Store
    from t2i_trainer.data.shard_index import Recipe, ShardIndex

_MAXIMUM_NULL_BYTES = 64 * 1024 * 1024


def reasons_against(recipe: Recipe, spec: JobSpec, *, vae_sha256: str | None, text_sha256: str) -> list[str]:
    """Return why these shards do not fit the job; hashes are those of the weights that the job names. Pure."""
    found = []
    content = Content.PIXELS if spec.model.vae is None else Content.MOMENTS
    if recipe.content is not content:
        what = "pixels, the job has a model.vae" if content is Content.MOMENTS else "latents, the job has no model.vae"
        found.append(f"they hold {what}")
    elif recipe.vae_sha256 != vae_sha256:
        found.append("their latents are of another autoencoder than model.vae.uri names")
    if recipe.resolution != spec.data.resolution:
        found.append(f"their pictures are {recipe.resolution} pixels wide, data.resolution is {spec.data.resolution}")
    if recipe.text_encoder_sha256 != text_sha256:
        found.append("their captions were encoded by another text encoder than model.textEncoder.uri names")
    if recipe.max_tokens != spec.model.text_encoder.max_tokens:
        found.append(
            f"captions have {recipe.max_tokens} tokens, model.textEncoder.maxTokens is "
            f"{spec.model.text_encoder.max_tokens}"
        )
    return found


def check_fit(store: Store, index: ShardIndex, spec: JobSpec, models: Path, null_embedding: torch.Tensor) -> None:
    """Raise TrainerError unless the shards fit the job; `models` holds `text_encoder/` and, in latent space, `vae/`."""
    vae_sha256 = None if spec.model.vae is None else weights_sha256(models / "vae")
    text_sha256 = weights_sha256(models / "text_encoder")
    reasons = reasons_against(index.recipe, spec, vae_sha256=vae_sha256, text_sha256=text_sha256)
    if not reasons and not is_same_null_embedding(_stored_null(store, index), null_embedding):
        reasons.append("the empty caption gave another vector: another padding, mask or version of the encoder")
    if reasons:
        raise TrainerError(
            ExitCode.BAD_CONFIGURATION,
            f"data.uri {spec.data.uri} holds shards that do not fit this job: {'; '.join(reasons)}. Encode the "
            "pictures for this job (t2i data encode SOURCE DESTINATION --job FILE) and name DESTINATION in data.uri",
        )


def _stored_null(store: Store, index: ShardIndex) -> torch.Tensor:
    file = index.null_embedding
    raw = store.read(file.path, 0, min(file.size, _MAXIMUM_NULL_BYTES))
    if hashlib.sha256(raw).hexdigest() != file.sha256:
        raise _damaged(store, file.path, "is not the file that INDEX.json names")
    try:
        return load(raw)["null_embedding"].float()
    except (SafetensorError, KeyError, ValueError) as error:
        raise _damaged(store, file.path, f"holds no null embedding: {error}") from error


def _damaged(store: Store, path: str, what: str) -> TrainerError:
    return TrainerError(
        ExitCode.DATA_INVALID,
        f"{store.uri}/{path} {what}: it was damaged or replaced. Delete it and INDEX.json there and run the same "
        "`t2i data encode` again: no shard is encoded anew",
    )
