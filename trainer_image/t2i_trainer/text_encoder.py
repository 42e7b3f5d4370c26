"""Captions to conditioning vectors: the frozen text encoder of the job, run once, its answers kept.

Any transformers model with safetensors and a tokenizer; nothing is fetched but from the job's store, no code of the
model's repository is run. The encoding of the empty caption is the null embedding of training and sampling alike.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer, CLIPTextModel, T5EncoderModel
from transformers.utils.logging import disable_progress_bar

from t2i_api.progress import ExitCode
from t2i_trainer.failures import TrainerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from t2i_checkpoint.store import Store

_BATCH = 64
_SUFFIXES = (".json", ".txt", ".safetensors", ".model")
# Folders of these types hold more than the encoder; AutoModel would load all of it.
_ENCODER_CLASSES = {"clip": CLIPTextModel, "t5": T5EncoderModel}


class TextEncoder:
    """Tokenizer and model from a folder; `encode` is deterministic for a fixed batch composition."""

    def __init__(self, folder: Path, max_tokens: int, device: torch.device) -> None:
        disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            chosen: Any = _ENCODER_CLASSES.get(config.model_type, AutoModel)
            model = chosen.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        except (OSError, ValueError, KeyError, ImportError) as error:
            first = str(error).strip().splitlines()[0]
            raise TrainerError(
                ExitCode.BAD_CONFIGURATION,
                f"model.textEncoder.uri holds no usable model (config.json, tokenizer, safetensors): {first}",
            ) from error
        self._model: Any = model.to(device).eval().requires_grad_(requires_grad=False)
        self._max_tokens = max_tokens
        self._device = device
        limit = getattr(config, "max_position_embeddings", max_tokens)
        if max_tokens > limit:
            raise TrainerError(
                ExitCode.BAD_CONFIGURATION, f"model.textEncoder.maxTokens is {max_tokens}, the encoder takes {limit}"
            )

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> torch.Tensor:
        """Return the last hidden states, float32 [len(captions), max_tokens, D], on the CPU."""
        parts = []
        for start in range(0, len(captions), _BATCH):
            tokens = self._tokenizer(
                list(captions[start : start + _BATCH]),
                padding="max_length",
                truncation=True,
                max_length=self._max_tokens,
                return_tensors="pt",
            ).to(self._device)
            parts.append(self._model(**tokens).last_hidden_state.float().cpu())
        return torch.cat(parts)

    def null_embedding(self) -> torch.Tensor:
        """Return the encoding of the empty caption, float32 [max_tokens, D]; alone in its batch, so always the same."""
        return self.encode([""])[0]


def fetch_text_encoder(store: Store, folder: Path) -> None:
    """Copy the model's files (top level only) from the store; raises TrainerError if there are none."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [info.key for info in store.list("") if "/" not in info.key and info.key.endswith(_SUFFIXES)]
    if "config.json" not in wanted:
        raise TrainerError(
            ExitCode.BAD_CONFIGURATION,
            f"{store.uri} has no config.json: model.textEncoder.uri must be a transformers model's folder",
        )
    for key in wanted:
        store.download(key, folder / key)


def embedding_sha256(embedding: torch.Tensor) -> str:
    """Return the hex SHA-256 over the float32 bytes of an embedding."""
    return hashlib.sha256(embedding.contiguous().float().numpy().tobytes()).hexdigest()
