"""The tokenizer beside a text encoder: refused where there is none, because transformers makes one up in silence.

A made-up tokenizer knows its special tokens alone, so every caption becomes the same vector as the empty one. Its
files are asked for before the weights are fetched; what they hold is known once they are loaded.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from t2i_api.progress import ExitCode
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# What tokenizers of transformers save: a fast one its whole self, a slow one WordPiece, byte-pair or SentencePiece.
_VOCABULARIES = ({"tokenizer.json"}, {"vocab.txt"}, {"vocab.json", "merges.txt"})
_SENTENCE_PIECE = ".model"
# These spell bytes or code points, and save no vocabulary.
_WITHOUT_VOCABULARY = {"ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer"}
_CONFIGURATIONS = ("tokenizer_config.json", "config.json")


def require_tokenizer(folder: Path, where: str) -> None:
    """Raise TrainerError(BAD_CONFIGURATION) unless the model's folder holds a tokenizer's files."""
    if not has_vocabulary(path.name for path in folder.iterdir()) and not _needs_none(folder):
        raise _bad(
            f"{where} has no tokenizer (tokenizer.json, vocab.txt, vocab.json with merges.txt, or a *.model): save the "
            "tokenizer there too, or name the folder that text_encoder/ and tokenizer/ lie in"
        )


def has_vocabulary(names: Iterable[str]) -> bool:
    """Return whether file names include what one of transformers' tokenizers reads its vocabulary from."""
    known = set(names)
    return any(files <= known for files in _VOCABULARIES) or any(name.endswith(_SENTENCE_PIECE) for name in known)


def require_words(tokenizer: Any, where: str) -> None:
    """Raise TrainerError(BAD_CONFIGURATION) if a loaded tokenizer knows nothing but special tokens.

    So it is where the files belong to another kind of tokenizer than the configuration names, too.
    """
    special = set(tokenizer.all_special_tokens) | {str(token) for token in tokenizer.added_tokens_decoder.values()}
    # A made-up SentencePiece tokenizer has one more: the mark of a word's beginning.
    if len(set(tokenizer.get_vocab()) - special) <= 1:
        raise _bad(
            f"{where}: its tokenizer ({type(tokenizer).__name__}) knows special tokens alone, and every caption would "
            "be the empty one: save the tokenizer that the model was trained with there"
        )


def _needs_none(folder: Path) -> bool:
    for name in _CONFIGURATIONS:
        try:
            document = json.loads((folder / name).read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(document, dict) and document.get("tokenizer_class") in _WITHOUT_VOCABULARY:
            return True
    return False


def _bad(message: str) -> TrainerError:
    return TrainerError(ExitCode.BAD_CONFIGURATION, message)
