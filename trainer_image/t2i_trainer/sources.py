"""Frozen models from where the job names them: the job's store, a directory, or a repository of the Hugging Face hub.

Only configuration, tokenizer files and safetensors are fetched: nothing that is unpickled, no code. A folder of
Diffusers' whole-pipeline kind (`text_encoder/`, `tokenizer/`, `vae/`) serves as well as that of a single model.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import httpx2
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from t2i_api.progress import ExitCode
from t2i_trainer.configuration import open_job_store
from t2i_trainer.failures import TrainerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from t2i_api.job import JobSpec
    from t2i_checkpoint.store import Store

logger = logging.getLogger("t2i_trainer")

_CONFIG = "config.json"
_TEXT_SUFFIXES = (".json", ".txt", ".model")
# Repositories keep other precisions and exports beside the weights: `model.fp16.safetensors`, `model_quantized…`.
_WEIGHTS = re.compile(r"(model|pytorch_model|diffusion_pytorch_model)(-\d+-of-\d+)?\.safetensors")
_HUB = re.compile(r"hf://(?P<repository>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?(/(?P<folder>.*?))?/?")


class Source(Protocol):
    """A place that holds files by name."""

    def names(self) -> list[str]:
        """Return every file's path below the place."""

    def download(self, name: str, path: Path) -> None:
        """Write one file to `path`."""


@dataclass(frozen=True)
class StoreSource:
    """A prefix of a store."""

    store: Store

    def names(self) -> list[str]:
        """Return the keys below the prefix."""
        return [info.key for info in self.store.list("")]

    def download(self, name: str, path: Path) -> None:
        """Write one object to `path`."""
        self.store.download(name, path)


@dataclass(frozen=True)
class HubSource:
    """A repository of the hub, or a folder in it, at one commit."""

    repository: str
    commit: str
    files: tuple[str, ...]
    folder: str

    def names(self) -> list[str]:
        """Return the files below the folder."""
        below = f"{self.folder}/" if self.folder else ""
        return [name.removeprefix(below) for name in self.files if name.startswith(below)]

    def download(self, name: str, path: Path) -> None:
        """Write one file to `path`; raises TrainerError(STORAGE_UNAVAILABLE)."""
        full = f"{self.folder}/{name}" if self.folder else name
        try:
            # The hub's client checks size and hash, and goes on with a download that was broken off.
            got = hf_hub_download(self.repository, full, revision=self.commit, local_dir=path.parent / ".hub")
        except (HfHubHTTPError, LocalEntryNotFoundError, httpx2.HTTPError, OSError) as error:
            raise _unavailable(f"hf://{self.repository}", error) from error
        path.parent.joinpath(".hub", got).replace(path)


def fetch_model(  # noqa: PLR0913  # keyword-only options
    spec: JobSpec,
    uri: str,
    folder: Path,
    *,
    setting: str,
    parts: tuple[str, ...],
    check: Callable[[Path, str], None] | None = None,
) -> None:
    """Copy a frozen model's files into `folder`; `parts` are its folders in a whole pipeline.

    `setting` names the field in errors; `check` is that of `fetch_files`. Raises TrainerError, StoreError.
    """
    fetch_files(_open(spec, uri, setting), folder, f"{setting} {uri}", parts, check)


def fetch_files(
    source: Source,
    folder: Path,
    where: str,
    parts: tuple[str, ...],
    check: Callable[[Path, str], None] | None = None,
) -> None:
    """Copy what `wanted_files` chooses into `folder`; `check` sees it, and `where`, before any weights come."""
    folder.mkdir(parents=True, exist_ok=True)
    names = source.names()
    wanted = wanted_files(names, parts)
    if not wanted:
        raise TrainerError(
            ExitCode.BAD_CONFIGURATION,
            f"{where} has no {_CONFIG} (nor {parts[0]}/{_CONFIG}): name the folder of a saved model",
        )
    weights = [name for name in wanted if _WEIGHTS.fullmatch(_base(name))]
    if not weights:
        raise TrainerError(
            ExitCode.BAD_CONFIGURATION,
            f"{where} has no safetensors: save the model anew with safe_serialization=True (nothing is unpickled here)",
        )
    for name in wanted:
        if name not in weights:
            source.download(name, folder / _base(name))
    if check is not None:
        check(folder, where)
    for name in weights:
        source.download(name, folder / _base(name))


def wanted_files(names: Iterable[str], parts: tuple[str, ...]) -> list[str]:
    """Choose a model's files: those at the top, or those of `parts` where the first of them holds the configuration."""
    by_folder: dict[str, list[str]] = {}
    for name in names:
        folder, _, base = name.rpartition("/")
        if base.endswith(_TEXT_SUFFIXES) or _WEIGHTS.fullmatch(base):
            by_folder.setdefault(folder, []).append(name)
    if _CONFIG in by_folder.get("", []):
        return sorted(by_folder[""])
    if f"{parts[0]}/{_CONFIG}" in by_folder.get(parts[0], []):
        return sorted(name for part in parts for name in by_folder.get(part, []))
    return []


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _open(spec: JobSpec, uri: str, setting: str) -> Source:
    found = _HUB.fullmatch(uri)
    if found is None:
        return StoreSource(open_job_store(spec, uri))
    return _open_hub(found["repository"], found["revision"], found["folder"] or "", setting)


def _open_hub(repository: str, revision: str | None, folder: str, setting: str) -> HubSource:
    """Ask the hub once which commit the revision is now, so that all files are of one."""
    try:
        info = HfApi().model_info(repository, revision=revision)
    except OfflineModeIsEnabled as error:
        what = (
            "is not asked for while HF_HUB_OFFLINE is set, as it is in the trainer's image: set it to 0 "
            "(workers.template.env; in your shell for t2i train), or copy the model to s3:// and name that"
        )
        raise _wrong(setting, repository, what) from error
    except GatedRepoError as error:
        what = "asks for consent: give it on its page and set HF_TOKEN (workers.template.env)"
        raise _wrong(setting, repository, what) from error
    except RevisionNotFoundError as error:
        raise _wrong(setting, repository, f"has no revision {revision}") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        what = "is not there, or is private: check its name, or set HF_TOKEN (workers.template.env)"
        raise _wrong(setting, repository, what) from error
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        raise _unavailable(f"hf://{repository}", error) from error
    if info.sha is None:
        raise _wrong(setting, repository, "has no commit")
    logger.info("%s: hf://%s@%s (pin it so in the job to train with these very files)", setting, repository, info.sha)
    return HubSource(repository, info.sha, tuple(file.rfilename for file in info.siblings or ()), folder)


def _wrong(setting: str, repository: str, what: str) -> TrainerError:
    return TrainerError(ExitCode.BAD_CONFIGURATION, f"{setting}: hf://{repository} {what}")


def _unavailable(where: str, error: Exception) -> TrainerError:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return TrainerError(ExitCode.STORAGE_UNAVAILABLE, f"{where} cannot be read now: {first}")
