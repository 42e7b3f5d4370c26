"""A text encoder without its tokenizer is refused: transformers would make one up, and every caption would be empty."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from transformers import (
    AutoTokenizer,
    BertTokenizer,
    ByT5Tokenizer,
    CLIPTokenizer,
    MPNetTokenizer,
    RobertaTokenizer,
    T5Tokenizer,
)

from t2i_api.progress import ExitCode
from t2i_checkpoint.local import LocalStore
from t2i_trainer.errors import TrainerError
from t2i_trainer.sources import StoreSource, fetch_files
from t2i_trainer.text_encoder import TextEncoder
from t2i_trainer.tokenizer import has_vocabulary, require_tokenizer, require_words

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS = ("text_encoder", "tokenizer")
# The files of a folder, and whether one of transformers' tokenizers reads its vocabulary from them.
VOCABULARIES: dict[str, tuple[set[str], bool]] = {
    "any fast tokenizer": ({"tokenizer.json", "tokenizer_config.json"}, True),
    "BERT or MPNet": ({"vocab.txt"}, True),
    "CLIP or RoBERTa": ({"vocab.json", "merges.txt"}, True),
    "T5": ({"spiece.model"}, True),
    "XLM-RoBERTa": ({"sentencepiece.bpe.model"}, True),
    "half of CLIP's": ({"vocab.json"}, False),
    "the other half": ({"merges.txt"}, False),
    "settings alone": ({"tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}, False),
    "the model alone": ({"config.json", "model.safetensors", "model.safetensors.index.json"}, False),
}
MADE_UP = (BertTokenizer, CLIPTokenizer, MPNetTokenizer, RobertaTokenizer, T5Tokenizer)


@pytest.mark.parametrize("kind", VOCABULARIES)
def test_a_tokenizer_is_known_by_the_files_of_its_vocabulary(kind: str) -> None:
    names, there = VOCABULARIES[kind]
    assert has_vocabulary(names) is there


@pytest.mark.parametrize("kind", MADE_UP, ids=lambda kind: kind.__name__)
def test_a_tokenizer_without_words_is_refused_even_where_its_files_are_saved(kind: type, tmp_path: Path) -> None:
    kind().save_pretrained(tmp_path)
    with pytest.raises(TrainerError, match="knows special tokens alone") as caught:
        require_words(AutoTokenizer.from_pretrained(tmp_path), "model.textEncoder.uri")
    assert caught.value.code is ExitCode.BAD_CONFIGURATION


def test_a_tokenizer_of_bytes_needs_no_vocabulary(tmp_path: Path) -> None:
    ByT5Tokenizer().save_pretrained(tmp_path)
    assert not has_vocabulary(path.name for path in tmp_path.iterdir())
    require_tokenizer(tmp_path, "model.textEncoder.uri")
    require_words(AutoTokenizer.from_pretrained(tmp_path), "model.textEncoder.uri")


@dataclass(frozen=True)
class Watched:
    """A place that tells what was fetched from it."""

    source: StoreSource
    fetched: list[str] = field(default_factory=list)

    def names(self) -> list[str]:
        return self.source.names()

    def download(self, name: str, path: Path) -> None:
        self.fetched.append(name)
        self.source.download(name, path)


def pipeline(model: Path, folder: Path) -> None:
    """Lay a model out as Stable Diffusion does: the encoder in one folder, its tokenizer in the one beside."""
    for name in ("text_encoder", "tokenizer"):
        (folder / name).mkdir(parents=True)
    for path in model.iterdir():
        shutil.copy(path, folder / ("text_encoder" if path.name.startswith(("config", "model")) else "tokenizer"))


@pytest.mark.parametrize("layout", ["one model", "a whole pipeline"])
def test_a_tokenizer_is_asked_for_before_any_weights_are_fetched(
    layout: str, text_encoder_folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    if layout == "one model":
        shutil.copytree(text_encoder_folder, place)
    else:
        pipeline(text_encoder_folder, place)
    fetch_files(StoreSource(LocalStore(place)), tmp_path / "whole", "here", PARTS, require_tokenizer)
    assert TextEncoder(tmp_path / "whole", 8, torch.device("cpu")).tokenizer.unk_token == "[UNK]"

    for name in ("tokenizer.json", "vocab.txt"):
        next(place.rglob(name)).unlink()
    watched = Watched(StoreSource(LocalStore(place)))
    with pytest.raises(TrainerError, match=r"^here has no tokenizer \(.*\): save the tokenizer there too") as caught:
        fetch_files(watched, tmp_path / "part", "here", PARTS, require_tokenizer)
    assert caught.value.code is ExitCode.BAD_CONFIGURATION
    assert "config.json" in {name.rpartition("/")[2] for name in watched.fetched}
    assert not any(name.endswith(".safetensors") for name in watched.fetched)


def test_an_encoder_with_another_kinds_vocabulary_is_refused(make_clip: Callable[[Path], None], tmp_path: Path) -> None:
    """CLIP's tokenizer does not look at BERT's `vocab.txt`."""
    make_clip(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    (tmp_path / "vocab.txt").write_text("a\nred\ncircle\n")
    require_tokenizer(tmp_path, "here")
    with pytest.raises(TrainerError, match=r"model\.textEncoder\.uri: its tokenizer \(CLIPTokenizer\) knows special"):
        TextEncoder(tmp_path, 8, torch.device("cpu"))
