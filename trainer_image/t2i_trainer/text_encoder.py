"""Captions to conditioning vectors: the frozen text encoder of the job, run once, its answers kept.

Any transformers model with safetensors and a tokenizer; no code of the model's repository is run. The encoding of the
empty caption is the null embedding of training and sampling alike.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, AutoTokenizer, CLIPTextModel, T5EncoderModel
from transformers.utils.logging import disable_progress_bar

from t2i_api.progress import ExitCode
from t2i_trainer.errors import words_of
from t2i_trainer.failures import TrainerError
from t2i_trainer.sources import fetch_model
from t2i_trainer.tokenizer import require_tokenizer, require_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from t2i_api.job import JobSpec

_BATCH = 64
# Folders of these types hold more than the encoder; AutoModel would load all of it.
_ENCODER_CLASSES = {
    "clip": CLIPTextModel,
    "clip_text_model": CLIPTextModel,
    "t5": T5EncoderModel,
}
# Stable Diffusion's convention: CLIP's causal attention sees the padding of a caption, every other encoder is masked.
_WITHOUT_MASK = {"clip", "clip_text_model"}
# Heads that are no part of the last hidden state; files of bare encoders lack them.
_UNUSED = ("pooler.", "text_projection.")
_SETTING = "model.textEncoder.uri"
_PARTS = ("text_encoder", "tokenizer")


class TextEncoder:
    """Tokenizer and model from a folder; `encode` is deterministic for a fixed batch composition."""

    def __init__(self, folder: Path, max_tokens: int, device: torch.device) -> None:
        disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            chosen: Any = _ENCODER_CLASSES.get(config.model_type, AutoModel)
            model, loaded = chosen.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
            raise _bad(
                f"{_SETTING} holds no usable model (config.json, tokenizer, safetensors): {words_of(error)}"
            ) from error
        require_words(self.tokenizer, _SETTING)
        missing = sorted(name for name in loaded["missing_keys"] if not name.startswith(_UNUSED))
        if missing:
            raise _bad(
                f"model.textEncoder.uri: the safetensors lack {len(missing)} parameters of config.json, as "
                f"{missing[0]}, which would be random"
            )
        # Files in half precision would be computed in it.
        self.model: Any = model.float().to(device).eval().requires_grad_(requires_grad=False)
        self.masks_padding = config.model_type not in _WITHOUT_MASK
        self._max_tokens = max_tokens
        self._device = device
        text = getattr(config, "text_config", config)
        limit = getattr(text, "max_position_embeddings", max_tokens)
        if max_tokens > limit:
            raise _bad(f"model.textEncoder.maxTokens is {max_tokens}, the encoder takes {limit}")

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> torch.Tensor:
        """Return the last hidden states, float32 [len(captions), max_tokens, D], on the CPU."""
        parts = []
        for start in range(0, len(captions), _BATCH):
            tokens = self.tokenizer(
                list(captions[start : start + _BATCH]),
                padding="max_length",
                truncation=True,
                max_length=self._max_tokens,
                return_tensors="pt",
            ).to(self._device)
            mask = tokens.attention_mask if self.masks_padding else None
            states = self.model(tokens.input_ids, attention_mask=mask).last_hidden_state
            parts.append(states.float().cpu())
        return torch.cat(parts)

    def null_embedding(self) -> torch.Tensor:
        """Return the encoding of the empty caption, float32 [max_tokens, D]; alone in its batch, so always the same."""
        return self.encode([""])[0]


def fetch_text_encoder(spec: JobSpec, folder: Path) -> None:
    """Copy the job's text encoder and its tokenizer into `folder`; raises TrainerError, StoreError."""
    uri = spec.model.text_encoder.uri
    fetch_model(spec, uri, folder, setting=_SETTING, parts=_PARTS, check=require_tokenizer)


def embedding_sha256(embedding: torch.Tensor) -> str:
    """Return the hex SHA-256 over the float32 bytes of an embedding."""
    return hashlib.sha256(embedding.contiguous().float().numpy().tobytes()).hexdigest()


def _bad(message: str) -> TrainerError:
    return TrainerError(ExitCode.BAD_CONFIGURATION, message)
