"""Frozen models are fetched from where the job names them: safetensors and text, nothing that is unpickled."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import huggingface_hub.constants
import pytest
from tests.trainer.hub_server import COMMIT, REPOSITORY, Hub, serving

from t2i_api.job import JobSpec
from t2i_api.progress import ExitCode
from t2i_checkpoint.local import LocalStore
from t2i_trainer.failures import TrainerError
from t2i_trainer.sources import HubSource, StoreSource, fetch_files, fetch_model, wanted_files

# What HF_ENDPOINT and HF_HUB_OFFLINE set when the library is imported.
_CONSTANTS: Any = cast("Any", huggingface_hub.constants)

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


IN_HUB = {
    "README.md": b"of the whole repository",
    "pytorch_model.bin": b"pickle",
    "text_encoder/config.json": b"{}",
    "text_encoder/model.safetensors": b"weights" * 1000,
    "text_encoder/pytorch_model.bin": b"pickle",
    "tokenizer/vocab.json": b'{"a": 0}',
    "vae/config.json": b'{"vae": 1}',
    "vae/diffusion_pytorch_model.safetensors": b"other weights",
}
SETTING = "model.textEncoder.uri"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine that the library asks."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    hub = Hub(IN_HUB)
    with serving(hub) as address:
        monkeypatch.setattr(_CONSTANTS, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(_CONSTANTS, "ENDPOINT", address)
        monkeypatch.setattr(
            _CONSTANTS, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        yield hub


# The URI, and what lies here afterwards by the name it has there.
FETCHED = {
    f"hf://{REPOSITORY}": ["text_encoder/config.json", "text_encoder/model.safetensors", "tokenizer/vocab.json"],
    f"hf://{REPOSITORY}@main/": ["text_encoder/config.json", "text_encoder/model.safetensors", "tokenizer/vocab.json"],
    f"hf://{REPOSITORY}/vae": ["vae/config.json", "vae/diffusion_pytorch_model.safetensors"],
}


@pytest.mark.parametrize("uri", FETCHED)
def test_a_model_is_fetched_from_the_hub_at_one_commit(hub: Hub, uri: str, job_spec: JobSpec, tmp_path: Path) -> None:
    here = tmp_path / "here"
    fetch_model(job_spec, uri, here, setting=SETTING, parts=PARTS)
    found = {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()}
    assert found == {name.rpartition("/")[2]: IN_HUB[name] for name in FETCHED[uri]}
    asked_for_files = {path for path in hub.asked if "/resolve/" in path}
    assert asked_for_files == {f"/{REPOSITORY}/resolve/{COMMIT}/{name}" for name in FETCHED[uri]}


MODELS = "/api/models/"
# What the hub answers to what is asked of it, the URI, and how that is said.
UNREADABLE: dict[str, tuple[dict[str, tuple[HTTPStatus, str]], str, ExitCode, str]] = {
    "no such repository": ({}, "hf://org/other", ExitCode.BAD_CONFIGURATION, "is not there, or is private"),
    "no such revision": ({}, f"hf://{REPOSITORY}@v2", ExitCode.BAD_CONFIGURATION, "has no revision v2"),
    "consent is asked for": (
        {MODELS: (HTTPStatus.FORBIDDEN, "GatedRepo")},
        f"hf://{REPOSITORY}",
        ExitCode.BAD_CONFIGURATION,
        "asks for consent: give it on its page and set HF_TOKEN",
    ),
    "the hub is out of order": (
        {MODELS: (HTTPStatus.INTERNAL_SERVER_ERROR, "")},
        f"hf://{REPOSITORY}",
        ExitCode.STORAGE_UNAVAILABLE,
        "cannot be read now",
    ),
    "a file is out of order": (
        {f"/{REPOSITORY}/resolve/": (HTTPStatus.NOT_FOUND, "EntryNotFound")},
        f"hf://{REPOSITORY}",
        ExitCode.STORAGE_UNAVAILABLE,
        "cannot be read now",
    ),
    "no model in the folder": ({}, f"hf://{REPOSITORY}/unet", ExitCode.BAD_CONFIGURATION, r"has no config\.json"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_the_hub_refuses_is_told_from_what_it_cannot_do_now(
    hub: Hub, what: str, job_spec: JobSpec, tmp_path: Path
) -> None:
    refusals, uri, code, words = UNREADABLE[what]
    hub.refusals.update(refusals)
    with pytest.raises(TrainerError, match=words) as caught:
        fetch_model(job_spec, uri, tmp_path / "here", setting=SETTING, parts=PARTS)
    assert caught.value.code is code


def test_a_hub_that_may_not_be_asked_is_a_setting_and_not_waited_for(
    hub: Hub, job_spec: JobSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_CONSTANTS, "HF_HUB_OFFLINE", True)
    words = rf"{SETTING}: hf://{REPOSITORY} .*HF_HUB_OFFLINE.* to 0 .*workers\.template\.env.* or copy .*s3://"
    with pytest.raises(TrainerError, match=words) as caught:
        fetch_model(job_spec, f"hf://{REPOSITORY}", tmp_path / "here", setting=SETTING, parts=PARTS)
    assert caught.value.code is ExitCode.BAD_CONFIGURATION
    assert not hub.asked
