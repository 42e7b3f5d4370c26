"""Frozen models are fetched from where the job names them: safetensors and text, nothing that is unpickled."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from t2i_api.progress import ExitCode
from t2i_checkpoint.local import LocalStore
from t2i_trainer.failures import TrainerError
from t2i_trainer.sources import HubSource, StoreSource, fetch_files, wanted_files

PARTS = ("text_encoder", "tokenizer")
# What a place holds, and what of it is fetched.
PLACES: dict[str, tuple[list[str], list[str]]] = {
    "one model": (
        ["config.json", "model.safetensors", "vocab.txt", "README.md", "pytorch_model.bin", "onnx/config.json"],
        ["config.json", "model.safetensors", "vocab.txt"],
    ),
    "other precisions and exports": (
        ["config.json", "model.safetensors", "model.fp16.safetensors", "flax_model.msgpack", "modeling_x.py"],
        ["config.json", "model.safetensors"],
    ),
    "a model in parts": (
        ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "spiece.model"],
        ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "spiece.model"],
    ),
    "a whole pipeline": (
        [
            "model_index.json",
            "text_encoder/config.json",
            "text_encoder/model.safetensors",
            "text_encoder/pytorch_model.bin",
            "tokenizer/merges.txt",
            "unet/config.json",
            "unet/diffusion_pytorch_model.safetensors",
        ],
        ["text_encoder/config.json", "text_encoder/model.safetensors", "tokenizer/merges.txt"],
    ),
    "no model": (["notes.txt", "unet/config.json"], []),
}


@pytest.mark.parametrize("place", PLACES)
def test_only_configuration_tokenizer_and_safetensors_are_wanted(place: str) -> None:
    there, wanted = PLACES[place]
    assert wanted_files(there, PARTS) == wanted


def test_a_model_is_fetched_from_the_store_without_its_subfolders(text_encoder_folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "store"
    shutil.copytree(text_encoder_folder, source)
    (source / "onnx").mkdir()
    (source / "onnx" / "config.json").write_text("{}")
    (source / "pytorch_model.bin").write_bytes(b"pickle")
    fetch_files(StoreSource(LocalStore(source)), tmp_path / "here", "model.textEncoder.uri", PARTS)
    fetched = {path.name for path in (tmp_path / "here").rglob("*") if path.is_file()}
    assert {"config.json", "model.safetensors"} <= fetched
    assert "pytorch_model.bin" not in fetched


# What lies there, and the words of the refusal.
REFUSED = {"notes.txt": r"has no config\.json", "config.json": "has no safetensors: save the model anew"}


@pytest.mark.parametrize("name", REFUSED)
def test_a_place_without_a_usable_model_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(TrainerError, match=REFUSED[name]) as caught:
        fetch_files(StoreSource(LocalStore(tmp_path)), tmp_path / "here", "model.textEncoder.uri", PARTS)
    assert caught.value.code is ExitCode.BAD_CONFIGURATION


def test_a_folder_of_a_hub_repository_is_read_like_a_place_of_its_own() -> None:
    source = HubSource("org/name", "0" * 40, ("vae/config.json", "unet/config.json", "config.json"), "vae")
    assert source.names() == ["config.json"]
