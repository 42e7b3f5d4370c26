"""Captions become vectors alike on every rank and run, and what cannot be an encoder is refused with the way out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from t2i_api.progress import ExitCode
from t2i_checkpoint.local import LocalStore
from t2i_trainer.failures import TrainerError
from t2i_trainer.text_encoder import TextEncoder, embedding_sha256, fetch_text_encoder

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


def test_the_model_is_fetched_from_the_store_without_its_subfolders(text_encoder_folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "store"
    shutil.copytree(text_encoder_folder, source)
    (source / "onnx").mkdir()
    (source / "onnx" / "config.json").write_text("{}")
    (source / "pytorch_model.bin").write_bytes(b"pickle")
    fetch_text_encoder(LocalStore(source), tmp_path / "here")
    fetched = {path.name for path in (tmp_path / "here").rglob("*") if path.is_file()}
    assert {"config.json", "model.safetensors"} <= fetched
    assert "pytorch_model.bin" not in fetched
    assert TextEncoder(tmp_path / "here", 8, CPU).encode(["red"]).shape == (1, 8, 16)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(TrainerError, match=r"has no config\.json") as caught:
        fetch_text_encoder(LocalStore(tmp_path), tmp_path / "here")
    assert caught.value.code is ExitCode.BAD_CONFIGURATION
