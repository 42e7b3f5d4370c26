"""A checkpoint URI to everything that lies there, judged: one LIST and at most three ranged reads a checkpoint."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from t2i_checkpoint.discovery import Candidate, CheckpointFormat, candidates
from t2i_checkpoint.layout import SURVEY_PREFIX, parse_folder
from t2i_checkpoint.reading import read_checkpoint
from t2i_checkpoint.verdict import Verdict, Wanted, compare

if TYPE_CHECKING:
    from t2i_checkpoint.manifest import Manifest
    from t2i_checkpoint.store import ObjectInfo, Store


@dataclass(frozen=True)
class ContentsSummary:
    """What a checkpoint holds, for people; `weights` is the file or folder part that the weights are in.

    `parameters` counts elements; `dtypes` as safetensors spells them, most elements first; `ema` and `optimizer` are
    phrases, None where there is none; `notes` name what else lies there.
    """

    weights: str | None = None
    tensors: int = 0
    parameters: int = 0
    dtypes: tuple[str, ...] = ()
    ema: str | None = None
    optimizer: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """One checkpoint folder (or single file) and its verdict.

    `folder` is relative to the store's root, empty where the root itself is the checkpoint; sizes in bytes.
    `bytes_read` and `requests` are what judging this one cost, without the listing.
    """

    name: str
    folder: str
    step: int
    format: CheckpointFormat
    size_bytes: int
    objects: tuple[ObjectInfo, ...]
    verdict: Verdict
    label: str
    manifest: Manifest | None
    contents_summary: ContentsSummary = ContentsSummary()
    bytes_read: int = 0
    requests: int = 0


@dataclass(frozen=True)
class Survey:
    """All judgements, newest first, and what they cost."""

    judgements: tuple[Judgement, ...]
    bytes_read: int
    requests: int
    seconds: float

    @property
    def resumable(self) -> Judgement | None:
        """The newest checkpoint that training can go on from exactly, or None."""
        return next((judgement for judgement in self.judgements if judgement.verdict.resumable), None)

    @property
    def archivable(self) -> tuple[Judgement, ...]:
        """Those that were read completely and cannot serve this job."""
        return tuple(judgement for judgement in self.judgements if judgement.verdict.archivable)


def survey(store: Store, wanted: Wanted) -> Survey:
    """Judge every checkpoint below the store's root. Raises StoreError only if the listing itself fails."""
    before, started = store.traffic, time.monotonic()
    found = candidates(store.list(SURVEY_PREFIX))
    judgements = tuple(_judge(store, candidate, wanted) for candidate in found)
    cost = store.traffic.since(before)
    return Survey(judgements, cost.bytes_read, cost.requests, time.monotonic() - started)


def judge_folder(store: Store, folder: str, wanted: Wanted) -> Judgement:
    """Judge one checkpoint: a folder or a single file relative to the store's root, empty for the root itself.

    One LIST. Nothing there gives INCOMPLETE (reason NotFound). Raises StoreError only if the listing fails.
    """
    name = parse_folder(folder)
    if name is None:
        raise NotImplementedError(folder)
    objects = {info.key.removeprefix(f"{folder}/"): info for info in store.list(f"{folder}/")}
    return _judge(store, Candidate(name, objects), wanted)


def survey_location(store: Store, wanted: Wanted | None, key: str | None = None) -> Survey:
    """Judge whatever an URI names: a job's root, one checkpoint folder, or one file (`key` below the store's root).

    Without `wanted` nothing is compared: the verdicts tell only what cannot be read (reason NotCompared otherwise).
    """
    if wanted is None or key is not None:
        raise NotImplementedError
    return survey(store, wanted)


def _judge(store: Store, candidate: Candidate, wanted: Wanted) -> Judgement:
    read = read_checkpoint(store, candidate, wanted.architecture)
    verdict = compare(read.stored, wanted)
    return Judgement(
        name=candidate.folder.name,
        folder=candidate.folder.folder,
        step=candidate.folder.step,
        format=read.format,
        size_bytes=candidate.size_bytes,
        objects=tuple(candidate.objects.values()),
        verdict=verdict,
        label=verdict.label,
        manifest=read.manifest,
    )
