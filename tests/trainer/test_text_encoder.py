"""Captions become vectors alike on every rank and run, and what cannot be an encoder is refused with the way out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from t2i_api.progress import ExitCode
from t2i_trainer.failures import TrainerError
from t2i_trainer.text_encoder import TextEncoder, embedding_sha256

if TYPE_CHECKING:
    from collections.abc import Callable

CPU = torch.device("cpu")


def test_captions_are_padded_and_cut_to_the_wanted_tokens(text_encoder_folder: Path) -> None:
    encoder = TextEncoder(text_encoder_folder, 8, CPU)
    encoded = encoder.encode(["a red circle", "a red circle on white on white on white on white"])
    assert encoded.shape == (2, 8, 16)
    assert encoded.dtype is torch.float32
    assert not torch.equal(encoded[0], encoded[1])


def test_a_caption_is_encoded_alike_each_time(text_encoder_folder: Path) -> None:
    first, second = (TextEncoder(text_encoder_folder, 8, CPU).encode(["a blue square"]) for _ in range(2))
    assert torch.equal(first, second)


def test_the_null_embedding_is_the_empty_caption_and_its_hash_tells_encoders_apart(text_encoder_folder: Path) -> None:
    encoder = TextEncoder(text_encoder_folder, 8, CPU)
    null = encoder.null_embedding()
    assert torch.equal(null, encoder.encode([""])[0])
    assert embedding_sha256(null) == embedding_sha256(null.clone())
    assert embedding_sha256(null) != embedding_sha256(encoder.encode(["red"])[0])


def test_more_tokens_than_the_encoder_has_places_are_refused(text_encoder_folder: Path) -> None:
    with pytest.raises(TrainerError, match=r"model\.textEncoder\.maxTokens is 77, the encoder takes 32") as caught:
        TextEncoder(text_encoder_folder, 77, CPU)
    assert caught.value.code is ExitCode.BAD_CONFIGURATION


def test_pickled_weights_are_not_loaded(text_encoder_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(text_encoder_folder, folder)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(TrainerError, match=r"model\.textEncoder\.uri"):
        TextEncoder(folder, 8, CPU)


@pytest.fixture(scope="module")
def clip_folder(make_clip: Callable[[Path], None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    make_clip(folder)
    return folder


def test_clip_sees_its_padding_as_stable_diffusion_was_trained(clip_folder: Path) -> None:
    """Diffusers' pipelines and scripts give CLIP no attention mask."""
    encoder = TextEncoder(clip_folder, 8, CPU)
    tokens = encoder.tokenizer(["a red"], padding="max_length", max_length=8, return_tensors="pt")
    assert not tokens.attention_mask.all()
    unmasked = encoder.model(tokens.input_ids).last_hidden_state
    assert torch.equal(encoder.encode(["a red"]), unmasked)
    assert not encoder.masks_padding


@pytest.mark.parametrize("family", ["openclip", "t5"])
def test_any_encoder_of_transformers_serves(family: str, tmp_path: Path, clip_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(clip_folder)
    torch.manual_seed(0)
    if family == "openclip":  # OpenCLIP-H as Stable Diffusion 2 has it: another activation, the same class
        config = CLIPTextConfig.from_pretrained(clip_folder, hidden_act="gelu", hidden_size=8, num_attention_heads=1)
        CLIPTextModel(config).save_pretrained(tmp_path)
    else:
        sizes: dict[str, Any] = {"d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2}
        T5EncoderModel(T5Config(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    encoder = TextEncoder(tmp_path, 8, CPU)
    encoded = encoder.encode(["a red circle", ""])
    assert encoded.shape == (2, 8, 8)
    assert encoded.isfinite().all()
    assert encoder.masks_padding == (family == "t5")


def test_weights_that_the_file_lacks_are_not_made_up(clip_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(clip_folder, tmp_path, dirs_exist_ok=True)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors[next(name for name in tensors if "fc1" in name)]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainerError, match=r"lack 1 parameters .* which would be random"):
        TextEncoder(tmp_path, 8, CPU)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_weights_that_were_cut_off_are_refused(share: float, text_encoder_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(text_encoder_folder, tmp_path, dirs_exist_ok=True)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: int(share * weights.stat().st_size)])
    with pytest.raises(TrainerError, match=r"holds no usable model .*: Error while deserializing header") as caught:
        TextEncoder(tmp_path, 8, CPU)
    assert caught.value.code is ExitCode.BAD_CONFIGURATION


def test_a_long_reason_is_not_cut_off_at_its_first_line(text_encoder_folder: Path, tmp_path: Path) -> None:
    """A bare CLIP text model has no tokenizer class of its own, and transformers lists what it tried."""
    shutil.copytree(text_encoder_folder, tmp_path, dirs_exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "clip_text_model"}))
    with pytest.raises(TrainerError, match=r"from one of: \(1\) a `tokenizers` library serialization file, \(2\)"):
        TextEncoder(tmp_path, 8, CPU)
