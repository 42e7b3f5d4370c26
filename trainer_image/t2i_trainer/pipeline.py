"""The finished model as a folder that stock Diffusers loads: EMA weights, scheduler, text encoder and autoencoder.

It lies at `model/step-…/` below checkpoint.uri. `model_index.json`, without which Diffusers loads nothing, is written
last and create-only, so that a folder looks whole exactly when it is; a run that is killed in between is resumed from
its last checkpoint and writes the rest. A model of other weights that an earlier run finished there is never touched.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import torch

from t2i_api.progress import ExitCode
from t2i_checkpoint.store import AlreadyExists, NotFound
from t2i_trainer.checkpointing.state import write_tensors
from t2i_trainer.diffusion import sampling_scheduler
from t2i_trainer.failures import TrainerError
from t2i_trainer.model import CLASS_NAME, write_config
from t2i_trainer.model_card import model_card
from t2i_trainer.sample import latent_shape, seed_of
from t2i_trainer.text_encoder import TextEncoder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from t2i_api.job import JobSpec
    from t2i_checkpoint.store import Store
    from t2i_trainer.vae import Vae

logger = logging.getLogger("t2i_trainer")

MODELS: Final = "model/"
INDEX: Final = "model_index.json"
FILES: Final = "FILES.json"
WEIGHTS: Final = "diffusion_pytorch_model.safetensors"
_SHA256_FIGURES = 8
_HASH_BLOCK_BYTES = 8 * 1024 * 1024
_NOTHING = [None, None]


@dataclass(frozen=True)
class FinishedModel:
    """What a pipeline is made of; the two folders are those that the frozen models were fetched into.

    `weights` are those of `unet`, whole and on the CPU.
    """

    spec: JobSpec
    step: int
    unet: torch.nn.Module
    weights: Mapping[str, torch.Tensor]
    text_encoder_folder: Path
    vae_folder: Path | None = None
    vae: Vae | None = None


def model_folder(step: int) -> str:
    """Return `model/step-00005000`: a run that is later made longer leaves the earlier model as it is."""
    return f"{MODELS}step-{step:08d}"


def write_pipeline(store: Store, directory: Path, model: FinishedModel) -> str:
    """Write the folder part by part and commit it; returns its URI. Does nothing where it is whole already.

    Where the usual folder holds other weights, the name of this one has the first figures of its weights' SHA-256
    besides. `directory` is scratch space of the size of the largest part. Raises StoreError, TrainerError.
    """
    folder = _folder_for(store, directory, model)
    if _is_whole(store, folder):
        logger.info("%s/%s is there already and stays as it is", store.uri, folder)
        return f"{store.uri}/{folder}"
    writer = _Writer(store, folder, directory)
    index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": version("diffusers")}
    components: dict[str, Any] = {
        "unet": writer.unet(model),
        "scheduler": writer.scheduler(model),
        **writer.text(model),
        "vae": writer.vae(model),
        "safety_checker": _NOTHING,
        "feature_extractor": _NOTHING,
        "image_encoder": _NOTHING,
        "requires_safety_checker": False,
    }
    writer.card(model)
    writer.commit({**index, **dict(sorted(components.items()))})
    logger.info("the finished model is %s/%s, a Diffusers pipeline", store.uri, folder)
    return f"{store.uri}/{folder}"


def _folder_for(store: Store, directory: Path, model: FinishedModel) -> str:
    usual = model_folder(model.step)
    if not _is_whole(store, usual):
        return usual
    write_tensors(directory / WEIGHTS, model.weights)
    mine = _sha256(directory / WEIGHTS)
    shutil.rmtree(directory)
    if _weights_sha256(store, usual) == mine:
        return usual
    folder = f"{usual}-{mine[:_SHA256_FIGURES]}"
    logger.warning(
        "%s/%s is another model of this step, of an earlier run, and stays as it is; this one lies in %s",
        store.uri,
        usual,
        folder,
    )
    return folder


def _is_whole(store: Store, folder: str) -> bool:
    return store.head(f"{folder}/{INDEX}") is not None


def _weights_sha256(store: Store, folder: str) -> str | None:
    """Return what the folder's list says of the UNet's weights; None where it says nothing that can be read."""
    try:
        listed = json.loads(store.read(f"{folder}/{FILES}"))
        return str(listed[f"unet/{WEIGHTS}"]["sha256"])
    except (NotFound, ValueError, KeyError, TypeError, RecursionError):
        return None


class _Writer:
    """Uploads the parts of one folder and remembers every file of them."""

    def __init__(self, store: Store, folder: str, directory: Path) -> None:
        self._store = store
        self._folder = folder
        self._directory = directory
        self._files: dict[str, dict[str, Any]] = {}

    def unet(self, model: FinishedModel) -> list[str]:
        """Write the averaged weights, and the picture size that they were trained for."""
        directory = self._fresh()
        write_tensors(directory / WEIGHTS, model.weights)
        write_config(model.unet, directory)
        path = directory / "config.json"
        _, side, _ = latent_shape(model.spec, model.vae)
        path.write_text(json.dumps({**json.loads(path.read_text()), "sample_size": side}, indent=2, sort_keys=True))
        self._send("unet", directory)
        return ["diffusers", CLASS_NAME]

    def scheduler(self, model: FinishedModel) -> list[str]:
        """Write the very scheduler that samples were drawn with."""
        directory = self._fresh()
        scheduler = sampling_scheduler(model.spec.diffusion)
        scheduler.save_pretrained(directory)
        self._send("scheduler", directory)
        return ["diffusers", type(scheduler).__name__]

    def text(self, model: FinishedModel) -> dict[str, list[str]]:
        """Write encoder and tokenizer such that stock code pads, cuts and masks captions as training did."""
        tokens = model.spec.model.text_encoder.max_tokens
        encoder = TextEncoder(model.text_encoder_folder, tokens, torch.device("cpu"))
        encoder.model.config.use_attention_mask = encoder.masks_padding
        encoder.tokenizer.model_max_length = tokens
        for name, part in (("text_encoder", encoder.model), ("tokenizer", encoder.tokenizer)):
            directory = self._fresh()
            part.save_pretrained(directory)
            self._send(name, directory)
        return {
            "text_encoder": ["transformers", type(encoder.model).__name__],
            "tokenizer": ["transformers", type(encoder.tokenizer).__name__],
        }

    def vae(self, model: FinishedModel) -> list[str] | list[None]:
        """Write the autoencoder as it was fetched."""
        if model.vae is None or model.vae_folder is None:
            return _NOTHING
        self._send("vae", model.vae_folder)
        return ["diffusers", type(model.vae.model).__name__]

    def card(self, model: FinishedModel) -> None:
        """Write the README."""
        directory = self._fresh()
        shift = 0.0 if model.vae is None else model.vae.shift
        text = model_card(model.spec, step=model.step, seed=seed_of(model.spec, 0), shift=shift)
        (directory / "README.md").write_text(text)
        self._send("", directory)

    def commit(self, index: dict[str, Any]) -> None:
        """List what was written, look at every file of it once more, and write the index last."""
        self._store.put(f"{self._folder}/{FILES}", _json(self._files))
        for name, file in self._files.items():
            found = self._store.head(f"{self._folder}/{name}")
            if found is None or found.size != file["size"]:
                what = "gone" if found is None else f"of {found.size} bytes"
                raise TrainerError(
                    ExitCode.STORAGE_UNAVAILABLE,
                    f"{self._store.uri}/{self._folder}/{name} is {what} right after {file['size']} bytes were written",
                )
        try:
            self._store.create(f"{self._folder}/{INDEX}", _json(index))
        except AlreadyExists:
            # Another attempt of the same step was faster; its weights are the same to the bit.
            logger.info("%s/%s was finished by another attempt", self._store.uri, self._folder)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _fresh(self) -> Path:
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True)
        return self._directory

    def _send(self, part: str, directory: Path) -> None:
        for path in _files(directory):
            name = f"{part}/{path.name}".lstrip("/")
            self._files[name] = {"size": path.stat().st_size, "sha256": _sha256(path)}
            self._store.upload(f"{self._folder}/{name}", path)  # checksummed end to end


def _files(directory: Path) -> Iterator[Path]:
    yield from sorted(path for path in directory.iterdir() if path.is_file())


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()
